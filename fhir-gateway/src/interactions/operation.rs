//! `$operations`: docs/api/operations.md

use actix_web::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Answer, Context, Incoming, audit_event, check, create, documents, everything, log, may_see, permit, reach, served,
    sighted::in_sight, subscriptions, validate,
};
use crate::{
    audit::Action,
    auth::scopes::Interaction,
    hooks::{attest, coverage, eligibility, plan},
    json::Document,
    mapping::eligibility as claim,
    naming::{self, OPERATION},
    outcome::Refusal,
    records::{Content, Stored},
    resources::elements::definition,
};

/// What was sent to an operation.
pub struct Sent<'a> {
    /// Whether there is no body.
    pub is_empty: bool,
    /// Reads the body as FHIR.
    pub document: &'a dyn Fn() -> Result<Document, Refusal>,
    /// The parameters in the address.
    pub pairs: &'a [(String, String)],
}

/// The operation that every resource type of FHIR has, kept or not.
pub const VALIDATE: &str = "validate";

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Subject,
    Attest,
    Docref,
    Everything,
    GenerateMetadata,
    Inclusion,
    Opening,
    Plan,
    Status,
    Submit,
}

/// Resource type, whether it is on one resource, name without the dollar sign.
const OPERATIONS: &[(&str, bool, &str, Operation)] = &[
    ("AuditEvent", true, "inclusion", Operation::Inclusion),
    ("Coverage", true, "opening", Operation::Opening),
    ("CoverageEligibilityRequest", false, "submit", Operation::Submit),
    ("DocumentReference", false, "docref", Operation::Docref),
    ("DocumentReference", false, "generate-metadata", Operation::GenerateMetadata),
    ("InsurancePlan", true, "plan", Operation::Plan),
    ("Patient", true, "attest", Operation::Attest),
    ("Patient", true, "everything", Operation::Everything),
    ("Patient", true, "subject", Operation::Subject),
    ("Subscription", false, "status", Operation::Status),
    ("Subscription", true, "status", Operation::Status),
];

/// The names of the operations on a type and its resources.
pub fn names(resource_type: &str) -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().filter(move |(of, ..)| *of == resource_type).map(|(_, _, name, _)| *name)
}

/// The operations on a type, and whether each is on one resource of it. `$validate` is on both.
pub fn on(resource_type: &str) -> impl Iterator<Item = (bool, &'static str)> {
    let own = OPERATIONS.iter().filter(move |(of, ..)| *of == resource_type);
    own.map(|(_, on_resource, name, _)| (*on_resource, *name)).chain([(false, VALIDATE), (true, VALIDATE)])
}

/// The canonical URL of what an operation's name stands for: a guide's, or one of our own.
pub fn definition_of(name: &str) -> String {
    match name {
        "docref" => "http://hl7.org/fhir/us/core/OperationDefinition/docref".to_owned(),
        "everything" => "http://hl7.org/fhir/OperationDefinition/Patient-everything".to_owned(),
        "status" => {
            "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-status".to_owned()
        }
        "generate-metadata" => "https://profiles.ihe.net/ITI/MHD/OperationDefinition/generate-metadata".to_owned(),
        _ => format!("{OPERATION}:{name}"),
    }
}

/// Whether there is such an operation on a type, or on its resources. `name` starts with a dollar sign.
pub fn exists(resource_type: &str, on_resource: bool, name: &str) -> bool {
    let name = name.trim_start_matches('$');
    let is_defined = || definition(resource_type).is_some_and(|found| found.is_resource);
    OPERATIONS.iter().any(|row| (row.0, row.1, row.2) == (resource_type, on_resource, name))
        || (name == VALIDATE && is_defined())
}

/// Whether an operation changes nothing and needs no body, so that a GET will do.
pub fn only_reads(name: &str) -> bool {
    !matches!(name, "$attest" | "$submit" | "$validate")
}

/// Whether an operation's inputs may stand in its address.
pub fn reads_parameters(name: &str) -> bool {
    matches!(name, "$everything" | "$docref" | "$status" | "$validate")
}

/// An operation on a type, or on one resource of it. `name` starts with a dollar sign.
pub async fn run(
    context: &Context<'_>,
    resource_type: &str,
    id: Option<&str>,
    name: &str,
    sent: &Sent<'_>,
) -> Result<Answer, Refusal> {
    let name = name.trim_start_matches('$');
    if name == VALIDATE {
        return validate::validate(resource_type, id, sent);
    }
    let is_it = |row: &&(&str, bool, &str, Operation)| row.0 == resource_type && row.1 == id.is_some() && row.2 == name;
    let operation = OPERATIONS.iter().find(is_it).map(|(.., operation)| *operation);
    match (operation, id) {
        (Some(Operation::Subject), Some(id)) => subject(context, id).await,
        (Some(Operation::Attest), Some(id)) => attest(context, id, sent).await,
        (Some(Operation::Status), id) => subscriptions::status(context, id, sent).await,
        (Some(Operation::Inclusion), Some(id)) => inclusion(context, id).await,
        (Some(Operation::Opening), Some(id)) => opening(context, id).await,
        (Some(Operation::Plan), Some(id)) => plan(context, id).await,
        (Some(Operation::Everything), Some(id)) => everything::everything(context, id, sent).await,
        (Some(Operation::Docref), None) => everything::docref(context, sent).await,
        (Some(Operation::GenerateMetadata), None) => documents::generate::generate(context, &(sent.document)()?).await,
        (Some(Operation::Submit), None) => submit(context, sent).await,
        _ => Err(Refusal::Unsupported("the operation")),
    }
}

/// Refuses what the caller's token does not allow, also where it allows it for some resources of the type by
/// what they say: the operation looks at all of them.
fn permit_unconstrained(context: &Context<'_>, resource_type: &str, interaction: Interaction) -> Result<(), Refusal> {
    permit(context, resource_type, interaction)?;
    if context.caller.reach(interaction, resource_type).is_constrained() {
        return Err(Refusal::Forbidden(format!("system/{resource_type}.{}", interaction.letter())));
    }
    Ok(())
}

/// A resource that the caller may see. Whose it was comes before that it is gone.
async fn seen(
    context: &Context<'_>,
    interaction: Interaction,
    resource_type: &str,
    id: &str,
) -> Result<Stored, Refusal> {
    in_sight(context, interaction, resource_type, id).await?;
    let found = context.organization.records.latest(resource_type, id).await;
    let stored = reach::or_as_hidden(context, interaction, resource_type, found).await?;
    may_see(context, interaction, &stored).await?;
    if stored.content == Content::Deleted { Err(Refusal::Gone) } else { Ok(stored) }
}

/// `Patient/{id}/$subject`: the subject that the patient is on the ledger.
async fn subject(context: &Context<'_>, id: &str) -> Result<Answer, Refusal> {
    permit(context, "Patient", Interaction::Read)?;
    let stored = seen(context, Interaction::Read, "Patient", id).await?;
    let subject = context.organization.records.subject_of(id).await?.ok_or(Refusal::NotFound)?;
    log(context, Action::Execute, &stored).await?;
    let value = json!({"system": naming::SUBJECT, "value": subject.to_string()});
    let parameters = json!({
        "resourceType": "Parameters",
        "parameter": [{"name": "subject", "valueIdentifier": value}],
    });
    Ok(Answer::fhir(StatusCode::OK, parameters.to_string().into_bytes()))
}

/// `Patient/{id}/$attest`: docs/api/eligibility.md. It says something about the patient to the
/// ledger, so it needs what changing the patient needs.
async fn attest(context: &Context<'_>, id: &str, sent: &Sent<'_>) -> Result<Answer, Refusal> {
    permit(context, "Patient", Interaction::Update)?;
    permit_unconstrained(context, "Condition", Interaction::Search)?;
    let stored = seen(context, Interaction::Update, "Patient", id).await?;
    let parameters = (sent.document)()?.to_value();
    log(context, Action::Execute, &stored).await?;
    let opening = attest::attest(context.organization, id, &parameters).await?;
    let commitment = opening.commitment().map_err(|error| Refusal::Rule(error.to_string()))?;
    parameters_of(&[("commitment", json!({"valueString": commitment})), ("opening", file(&opening)?)])
}

/// `AuditEvent/{id}/$inclusion`: docs/api/audit-event.md
async fn inclusion(context: &Context<'_>, id: &str) -> Result<Answer, Refusal> {
    permit(context, "AuditEvent", Interaction::Read)?;
    audit_event::inclusion(context, id).await
}

/// `Coverage/{id}/$opening`: docs/api/coverage.md
async fn opening(context: &Context<'_>, id: &str) -> Result<Answer, Refusal> {
    permit(context, "Coverage", Interaction::Read)?;
    let stored = seen(context, Interaction::Read, "Coverage", id).await?;
    log(context, Action::Execute, &stored).await?;
    let opening = coverage::opening(context.organization, id).await?;
    let commitment = json!({"valueString": opening.commitment()});
    parameters_of(&[("commitment", commitment), ("opening", file(&opening)?)])
}

/// `InsurancePlan/{id}/$plan`: docs/api/insurance-plan.md
async fn plan(context: &Context<'_>, id: &str) -> Result<Answer, Refusal> {
    permit(context, "InsurancePlan", Interaction::Read)?;
    let stored = seen(context, Interaction::Read, "InsurancePlan", id).await?;
    log(context, Action::Execute, &stored).await?;
    let plan = plan::published(context.organization, id).await?;
    let commitment = json!({"valueString": plan.commitment()});
    let policy = json!({"valueString": plan.policy_id});
    parameters_of(&[("commitment", commitment), ("policy-id", policy), ("plan", file(&plan)?)])
}

/// `CoverageEligibilityRequest/$submit`: a create that answers with the response.
async fn submit(context: &Context<'_>, sent: &Sent<'_>) -> Result<Answer, Refusal> {
    permit_unconstrained(context, "CoverageEligibilityResponse", Interaction::Read)?;
    let document = (sent.document)()?;
    let request = Incoming::Json(document.clone());
    check("CoverageEligibilityRequest", &request)?;
    let own = context.organization.address();
    if claim::claim(&document.to_value(), &own)?.is_none() {
        return Err(Refusal::Rule("the request carries no proof, so there is nothing to answer".to_owned()));
    }
    let created = create::create(context, "CoverageEligibilityRequest", &request, None).await?;
    let id = created.location.as_deref().and_then(|url| url.split('/').rev().nth(2));
    let id = id.ok_or(Refusal::Internal("a create has no location"))?;
    let response = eligibility::response_id(id);
    let stored = context.organization.records.read("CoverageEligibilityResponse", &response).await?;
    Ok(Answer::fhir(StatusCode::OK, served(&stored)))
}

/// A Parameters resource.
pub fn parameters_of(parameters: &[(&str, Value)]) -> Result<Answer, Refusal> {
    let parameter = |(name, value): &(&str, Value)| {
        let mut parameter = value.clone();
        parameter["name"] = json!(name);
        parameter
    };
    let all: Vec<Value> = parameters.iter().map(parameter).collect();
    let resource = json!({"resourceType": "Parameters", "parameter": all});
    Ok(Answer::fhir(StatusCode::OK, resource.to_string().into_bytes()))
}

/// A file for the `prove` program, as it is.
fn file<T: Serialize>(content: &T) -> Result<Value, Refusal> {
    let bytes = serde_json::to_vec(content).map_err(|_| Refusal::Internal("a file does not serialise"))?;
    Ok(json!({"valueBase64Binary": STANDARD.encode(bytes)}))
}
