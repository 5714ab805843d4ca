//! `POST /DocumentReference/$generate-metadata` (IHE MHD, ITI-106): docs/api/documents.md
//!
//! The document is kept as it was sent; what its DocumentReference says is what the document says of
//! itself, and the patient is one whom an identifier in it names, never one of the same name.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_wire::commitment;
use serde_json::json;

use super::{super::condition, hash};
use crate::{
    auth::{clock, scopes::Interaction},
    format::FHIR_JSON,
    hooks::Proposed,
    interactions::{Answer, Context, commit, idempotency, kept, local_patient, operation, permit, permit_about},
    json::{Document, Node},
    mapping::{
        cda,
        document::{self, Attachment, Described, submission_set},
    },
    outcome::Refusal,
    records::{Change, Content},
    validate,
};

/// A document as it was sent, and what it says.
struct Sent {
    content_type: String,
    bytes: Vec<u8>,
    described: Described,
    /// The Patient whom the sender named.
    about: Option<String>,
}

/// Stores a document with a DocumentReference and a SubmissionSet that are made from it, and says
/// which DocumentReference that is.
pub async fn generate(context: &Context<'_>, parameters: &Document) -> Result<Answer, Refusal> {
    for resource_type in ["Binary", "DocumentReference", "List"] {
        permit(context, resource_type, Interaction::Create)?;
    }
    let sent = read(context, parameters)?;
    let patient = patient(context, &sent).await?;
    for resource_type in ["Binary", "DocumentReference", "List"] {
        permit_about(context, resource_type, Interaction::Create, patient.as_deref())?;
    }
    let mut id = match context.key {
        Some(key) => key.id(context, "DocumentReference"),
        None => id_of(context, &sent, patient.as_deref(), 0),
    };
    // Who sends it at the same time finds it afterwards.
    let _held = context.conditions.hold(&[("DocumentReference", &id)]).await?;
    let mut deleted = 0;
    while is_again(context, &id, &sent).await? {
        if context.key.is_some() || is_there(context, &id).await? {
            return answer(&id);
        }
        // What was deleted stays so: this is another one.
        deleted += 1;
        id = id_of(context, &sent, patient.as_deref(), deleted);
    }
    let now = clock();
    let attachment = Attachment {
        binary: id.clone(),
        content_type: sent.content_type.clone(),
        hash: hash(&sent.bytes),
        size: sent.bytes.len(),
    };
    let reference = document::reference(&id, &sent.described, &attachment, patient.as_deref(), now);
    let list = submission_set(&id, &reference, &context.organization.address(), now);
    let create = |resource_type: &str, content: Content, document: Option<Document>| {
        let (resource_type, id, patient) = (resource_type.to_owned(), id.clone(), patient.clone());
        Proposed { change: Change::Create { resource_type, id, content, patient }, document, entry: None }
    };
    let binary = Content::Raw { content_type: sent.content_type, bytes: sent.bytes.into() };
    let mut proposed = vec![create("Binary", binary, None)];
    for (resource_type, made) in [("DocumentReference", reference), ("List", list)] {
        let made = Document::parse(made.to_string())?;
        // What a document says of itself need not be what FHIR allows.
        validate::resource(&made)?;
        proposed.push(create(resource_type, Content::Json(made.bytes().clone()), Some(made)));
    }
    commit(context, proposed).await?;
    answer(&id)
}

fn answer(id: &str) -> Result<Answer, Refusal> {
    let reference = json!({"valueReference": {"reference": format!("DocumentReference/{id}")}});
    operation::parameters_of(&[("DocumentReference", reference)])
}

/// The id of what a client has generated of a document that is about a patient, or about nobody: sent again, it is the
/// same, unless what came of it was `deleted` so many times. Nobody else can foresee it.
fn id_of(context: &Context<'_>, sent: &Sent, patient: Option<&str>, deleted: u32) -> String {
    let purpose = "careledger/generated-id/1";
    let secret = context.organization.keys.record_ids.derive(purpose);
    let (client, about) = (context.caller.client.as_bytes(), patient.unwrap_or_default().as_bytes());
    let deleted = deleted.to_be_bytes();
    let parts = [secret.as_bytes(), client, about, sent.content_type.as_bytes(), &sent.bytes, &deleted];
    let hash = commitment::hash(purpose, &parts);
    let bytes = *hash.first_chunk().expect("a hash has 32 bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// Whether what was generated was not deleted since.
async fn is_there(context: &Context<'_>, id: &str) -> Result<bool, Refusal> {
    match context.organization.records.read("DocumentReference", id).await {
        Ok(_) => Ok(true),
        Err(Refusal::Gone | Refusal::NotFound) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Whether an earlier try stored this document.
async fn is_again(context: &Context<'_>, id: &str, sent: &Sent) -> Result<bool, Refusal> {
    let records = &context.organization.records;
    if records.settled("Binary", id).await?.is_none() {
        return Ok(false);
    }
    let (content_type, bytes) = (sent.content_type.clone(), sent.bytes.clone().into());
    if records.any_version("Binary", id, 1).await?.content == (Content::Raw { content_type, bytes }) {
        return Ok(true);
    }
    Err(idempotency::another_body())
}

fn read(context: &Context<'_>, parameters: &Document) -> Result<Sent, Refusal> {
    let problem = "must be Parameters with one document: a Binary, or a Bundle of type document";
    let all = parameters.root().get("parameter").map_or(&[][..], Node::items);
    let mut documents = all.iter().filter(|parameter| parameter.text("name") == Some("document"));
    let (Some(found), None) = (documents.next().and_then(|parameter| parameter.get("resource")), documents.next())
    else {
        return Err(Refusal::invalid("Parameters.parameter", problem));
    };
    let resource = parameters.extract(found)?;
    validate::resource(&resource)?;
    match resource.resource_type() {
        Some("Binary") => binary(context, &resource),
        Some("Bundle") if resource.root().text("type") == Some("document") => {
            let described = document::of_bundle(&resource.to_value()).ok_or_else(|| {
                Refusal::invalid("Bundle.entry[0].resource", "must be the Composition of the document")
            })?;
            let bytes = resource.bytes().to_vec();
            Ok(Sent { content_type: FHIR_JSON.to_owned(), bytes, described, about: None })
        }
        _ => Err(Refusal::invalid("Parameters.parameter.resource", problem)),
    }
}

fn binary(context: &Context<'_>, binary: &Document) -> Result<Sent, Refusal> {
    let content_type = binary.root().text("contentType").unwrap_or_default().to_owned();
    let data: String = binary.root().text("data").unwrap_or_default().split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(data).map_err(|_| Refusal::invalid("Binary.data", "is not base64"))?;
    let about = binary.root().get("securityContext").and_then(|about| about.text("reference"));
    let about = about.map(|reference| {
        let local = local_patient(reference, &context.organization.base_url);
        local.ok_or_else(|| Refusal::invalid("Binary.securityContext", "must be a Patient of this server"))
    });
    let described = cda::described(&bytes).unwrap_or_default();
    Ok(Sent { content_type, bytes, described, about: about.transpose()? })
}

/// The local Patient whom the document is about: the one that was named, or the one whom the
/// document's identifiers name, if they name one that the caller may find.
async fn patient(context: &Context<'_>, sent: &Sent) -> Result<Option<String>, Refusal> {
    if sent.about.is_some() {
        return Ok(sent.about.clone());
    }
    if permit(context, "Patient", Interaction::Search).is_err() {
        return Ok(None);
    }
    let mut found: Option<String> = None;
    for (system, value) in &sent.described.patients {
        let escape =
            |text: &str| text.replace('\\', "\\\\").replace(',', "\\,").replace('|', "\\|").replace('$', "\\$");
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        let condition = pairs.append_pair("identifier", &format!("{}|{}", escape(system), escape(value))).finish();
        match condition::one(context, kept("Patient")?, &condition).await? {
            Some(id) if found.as_ref().is_some_and(|other| *other != id) => {
                return Err(Refusal::MultipleMatches);
            }
            Some(id) => found = Some(id),
            None => {}
        }
    }
    Ok(found)
}
