//! One file per FHIR interaction. Each reads as the flow that it implements, takes what HTTP or a
//! Bundle entry said, and gives an [`Answer`] that either can show.

pub mod audit_event;
pub mod batch;
pub mod binary;
pub mod bundle;
pub mod capabilities;
mod commit;
pub mod condition;
pub mod create;
pub mod delete;
pub mod documents;
pub mod everything;
pub mod export;
pub mod history;
pub mod idempotency;
mod logging;
pub mod openapi;
pub mod operation;
pub mod owed;
pub mod patch;
pub mod person;
pub mod reach;
pub mod read;
pub mod search;
pub mod sighted;
pub mod subscriptions;
pub mod subset;
pub mod transaction;
pub mod update;
pub mod validate;
pub mod vread;

use std::collections::BTreeSet;

use actix_web::{http::StatusCode, web::Bytes};
use fhir_sdk::r4b::codes::{IssueSeverity, IssueType};

use crate::{
    audit::Origin,
    auth::{Caller, scopes::Interaction},
    index::extract::{self, Term},
    json::{self, Document, Serving},
    organization::Organization,
    outcome::{FHIR_WANTED, Issue, Refusal, operation_outcome},
    records::{Content, Stored},
    resources::{Access, Resource, resource},
    search::Handling,
    validate::{self as validation, Link, LinkKind},
};

pub use commit::commit;
pub use logging::{log, log_access, log_for, log_patients, patients_of_page, refused};
pub use reach::{may_see, readable, sight};

/// Methods of an address whose resource clients may only read.
pub const READ_ONLY: &str = "GET, HEAD, OPTIONS";

/// What every interaction needs besides its own input.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Whose server this is.
    pub organization: &'a Organization,
    /// Locks of conditional writes.
    pub conditions: &'a condition::Locks,
    /// Who asks.
    pub caller: &'a Caller,
    /// What the client prefers.
    pub prefer: Prefer,
    /// Under which key it creates, where it names one.
    pub key: Option<idempotency::Key<'a>>,
    /// Where the request came from.
    pub origin: &'a Origin,
    /// What its searches found of value sets so far; none where no request has several searches.
    pub value_sets: Option<&'a search::value_sets::Lookups>,
}

impl<'a> Context<'a> {
    /// Of what the gateway does by itself for `caller`, when no request is waiting for it.
    pub fn in_background(organization: &'a Organization, conditions: &'a condition::Locks, caller: &'a Caller) -> Self {
        let (prefer, key, origin, value_sets) = (Prefer::default(), None, Origin::UNKNOWN, None);
        Self { organization, conditions, caller, prefer, key, origin, value_sets }
    }
}

/// `Prefer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefer {
    /// What to do with unknown search parameters.
    pub handling: Handling,
    /// What to answer to a write.
    pub returning: Returning,
}

/// `Prefer: return`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Returning {
    /// No body.
    Minimal,
    /// The resource.
    #[default]
    Representation,
    /// An OperationOutcome.
    OperationOutcome,
}

/// What a client sent.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// FHIR, as JSON.
    Json(Document),
    /// A Binary in its own format.
    Raw {
        /// Its media type.
        content_type: String,
        /// Its bytes.
        bytes: Bytes,
        /// `X-Security-Context`: the resource that it is about.
        security_context: Option<String>,
    },
}

impl Incoming {
    /// The resource, where it came as one.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedMedia`] for a Binary in its own format.
    pub fn document(self) -> Result<Document, Refusal> {
        match self {
            Self::Json(document) => Ok(document),
            Self::Raw { .. } => Err(Refusal::UnsupportedMedia(FHIR_WANTED)),
        }
    }
}

/// What a client gets, over HTTP or in a Bundle entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Body, if any.
    pub body: Option<Body>,
    /// Version, for `ETag`.
    pub version: Option<u32>,
    /// Unix seconds, for `Last-Modified`.
    pub last_modified: Option<i64>,
    /// URL of a new version.
    pub location: Option<String>,
}

/// A body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Media type; FHIR JSON if none, which is sent in the format that the client wants.
    pub content_type: Option<String>,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What `X-Security-Context` says of a file: the reference that FHIR has beside its bytes.
    pub security_context: Option<String>,
}

impl Body {
    /// FHIR JSON.
    pub fn fhir(bytes: Vec<u8>) -> Self {
        Self { content_type: None, bytes, security_context: None }
    }
}

impl Answer {
    /// A FHIR body with a status and nothing else.
    pub fn fhir(status: StatusCode, bytes: Vec<u8>) -> Self {
        let body = Some(Body::fhir(bytes));
        Self { status, body, version: None, last_modified: None, location: None }
    }

    /// A status and nothing else.
    pub fn status(status: StatusCode) -> Self {
        Self { status, body: None, version: None, last_modified: None, location: None }
    }

    /// The answer to a write that gave `stored`.
    pub fn written(context: &Context<'_>, status: StatusCode, stored: &Stored) -> Self {
        let bytes = match context.prefer.returning {
            Returning::Minimal => None,
            Returning::Representation => Some(served(stored)),
            Returning::OperationOutcome => Some(success()),
        };
        let url = &context.organization.base_url;
        let location = format!("{url}/{}/{}/_history/{}", stored.resource_type, stored.id, stored.version);
        Self {
            status,
            body: bytes.map(Body::fhir),
            version: Some(stored.version),
            last_modified: Some(stored.last_updated),
            location: Some(location),
        }
    }
}

/// An OperationOutcome that says that all is well.
fn success() -> Vec<u8> {
    let done = Issue::new(IssueSeverity::Information, IssueType::Informational, "done");
    operation_outcome([done]).to_string().into_bytes()
}

/// The bytes of a version as clients see it: as accepted, with `meta` spliced in.
pub fn served(stored: &Stored) -> Vec<u8> {
    let serving = Serving { version: stored.version, last_updated: stored.last_updated, source: None };
    match &stored.content {
        Content::Json(bytes) => json::served(bytes, &serving).expect("what is stored was parsed when it was accepted"),
        Content::Raw { content_type, bytes } => binary::as_json(stored, content_type, bytes),
        Content::Deleted => Vec::new(),
    }
}

/// The kept type of that name, which clients may read.
pub fn kept(resource_type: &str) -> Result<&'static Resource, Refusal> {
    resource(resource_type).ok_or(Refusal::UnsupportedResource)
}

/// Whether each client has its own resources of that type, apart from records.
pub fn is_own(resource_type: &str) -> bool {
    resource(resource_type).is_some_and(|kind| kind.access == Access::Own)
}

/// The kept type of that name, which clients may send.
pub fn sendable(resource_type: &str) -> Result<&'static Resource, Refusal> {
    if is_own(resource_type) { kept(resource_type) } else { writable(resource_type) }
}

/// The kept type of that name, which clients may write as records.
pub fn writable(resource_type: &str) -> Result<&'static Resource, Refusal> {
    let resource = kept(resource_type)?;
    match resource.access {
        Access::Full => Ok(resource),
        Access::ReadOnly => Err(Refusal::MethodNotAllowed { allow: READ_ONLY }),
        Access::Own => Err(Refusal::Unsupported("this interaction with a type of which each client has its own")),
    }
}

/// Checks what was sent for `resource_type`, and finds its links.
pub fn check(resource_type: &str, incoming: &Incoming) -> Result<Vec<Link>, Refusal> {
    match incoming {
        Incoming::Raw { .. } if resource_type == "Binary" => Ok(Vec::new()),
        Incoming::Raw { .. } => Err(Refusal::UnsupportedMedia(FHIR_WANTED)),
        Incoming::Json(document) => {
            // First: what is wrong with another type's elements is nothing that the client asked.
            if document.resource_type().is_some_and(|found| found != resource_type) {
                return Err(Refusal::invalid(resource_type, "resourceType is not that of the address"));
            }
            let links = validation::resource(document)?;
            subset::must_be_whole(document, document.root())?;
            if let Some(link) = links.iter().find(|link| is_conditional(link)) {
                return Err(Refusal::invalid(
                    link.path.clone(),
                    "a conditional reference stands outside a transaction",
                ));
            }
            Ok(links)
        }
    }
}

/// A reference of the form `Type?query`.
pub fn is_conditional(link: &Link) -> bool {
    let text = link.node.as_str().unwrap_or_default();
    link.kind == LinkKind::Reference && text.contains('?') && !text.starts_with("http") && !text.starts_with("urn:")
}

/// The local Patient that a resource is about: itself, or what its parameter `patient` finds.
pub fn patient_of(context: &Context<'_>, kind: &Resource, id: &str, document: &Document) -> Option<String> {
    if kind.name == "Patient" {
        return Some(id.to_string());
    }
    let base_url = &context.organization.base_url;
    let Some(parameter) = kind.parameter("patient") else {
        let about = document.root().get("securityContext")?.text("reference")?;
        return local_patient(about, base_url);
    };
    extract::of_parameter(document, parameter, base_url).into_iter().find_map(|term| match term {
        Term::Reference { resource_type, target } if resource_type == "Patient" => Some(target),
        _ => None,
    })
}

/// The id of the local Patient that a reference names.
pub fn local_patient(reference: &str, base_url: &str) -> Option<String> {
    let (resource_type, id) = extract::local_reference(reference, base_url)?;
    (resource_type == "Patient").then(|| id.to_string())
}

/// What was sent, with its id, as it will be sealed.
pub fn accepted(context: &Context<'_>, kind: &Resource, id: &str, incoming: &Incoming) -> Result<Accepted, Refusal> {
    match incoming {
        Incoming::Json(document) => {
            let document = match document.id_edit(id) {
                Some(edit) => Document::parse(document.edited(vec![edit]))?,
                None => document.clone(),
            };
            let patient = patient_of(context, kind, id, &document);
            let content = Content::Json(document.bytes().clone());
            Ok(Accepted { content, patient, document: Some(document) })
        }
        Incoming::Raw { content_type, bytes, security_context } => {
            let about = |reference: &String| {
                local_patient(reference, &context.organization.base_url)
                    .ok_or_else(|| Refusal::invalid("X-Security-Context", "must be Patient/{id} of this server"))
            };
            let patient = security_context.as_ref().map(about).transpose()?;
            let content = Content::Raw { content_type: content_type.clone(), bytes: bytes.clone() };
            Ok(Accepted { content, patient, document: None })
        }
    }
}

/// A body that is ready to be sealed.
pub struct Accepted {
    /// What is sealed.
    pub content: Content,
    /// Local Patient id.
    pub patient: Option<String>,
    /// The parsed body.
    pub document: Option<Document>,
}

/// Refuses what the caller's token does not allow.
pub fn permit(context: &Context<'_>, resource_type: &str, interaction: Interaction) -> Result<(), Refusal> {
    context.caller.may(interaction, resource_type)
}

/// Refuses a write that would leave the compartment of a caller who is limited to one.
pub fn permit_about(
    context: &Context<'_>,
    resource_type: &str,
    interaction: Interaction,
    patient: Option<&str>,
) -> Result<(), Refusal> {
    match context.caller.compartment(interaction, resource_type) {
        Some(own) if patient != Some(own) => Err(Refusal::NotFound),
        _ => Ok(()),
    }
}

/// The local Patients whom a version is about.
pub async fn patients_of_version(context: &Context<'_>, stored: &Stored) -> Result<BTreeSet<String>, Refusal> {
    match stored.resource_type.as_str() {
        "Binary" => binary::patients(context, stored).await,
        _ => Ok(stored.about().map(str::to_owned).into_iter().collect()),
    }
}
