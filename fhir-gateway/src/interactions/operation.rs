//! `$operations`: docs/api/operations.md

use actix_web::{http::StatusCode, web::Bytes};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Context, Incoming, create, log, permit, served};
use crate::{
    audit::Action,
    auth::scopes::Interaction,
    hooks::{attest, coverage, eligibility, plan},
    json::Document,
    naming,
    outcome::Refusal,
};

/// An operation on a type, or on one resource of it.
pub async fn run(
    context: &Context<'_>,
    resource_type: &str,
    id: Option<&str>,
    name: &str,
    body: &Bytes,
) -> Result<Answer, Refusal> {
    match (resource_type, id, name) {
        ("Patient", Some(id), "$subject") => subject(context, id).await,
        ("Patient", Some(id), "$attest") => attest(context, id, body).await,
        ("Coverage", Some(id), "$opening") => opening(context, id).await,
        ("InsurancePlan", Some(id), "$plan") => plan(context, id).await,
        ("CoverageEligibilityRequest", None, "$submit") => submit(context, body).await,
        _ => Err(Refusal::NotFound),
    }
}

/// `Patient/{id}/$subject`: the subject that the patient is on the ledger.
async fn subject(context: &Context<'_>, id: &str) -> Result<Answer, Refusal> {
    permit(context, "Patient", Interaction::Read)?;
    let stored = context.organization.records.read("Patient", id).await?;
    context.caller.may_see(Interaction::Read, &stored)?;
    let subject = context.organization.records.subject_of(id)?.ok_or(Refusal::NotFound)?;
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
async fn attest(context: &Context<'_>, id: &str, body: &Bytes) -> Result<Answer, Refusal> {
    permit(context, "Patient", Interaction::Update)?;
    permit(context, "Condition", Interaction::Search)?;
    let stored = context.organization.records.read("Patient", id).await?;
    context.caller.may_see(Interaction::Update, &stored)?;
    let parameters = Document::parse(body.clone())?.to_value();
    log(context, Action::Execute, &stored).await?;
    let opening = attest::attest(context.organization, id, &parameters).await?;
    let commitment = opening.commitment().map_err(|error| Refusal::Rule(error.to_string()))?;
    parameters_of(&[("commitment", json!({"valueString": commitment})), ("opening", file(&opening)?)])
}

/// `Coverage/{id}/$opening`: docs/api/coverage.md
async fn opening(context: &Context<'_>, id: &str) -> Result<Answer, Refusal> {
    permit(context, "Coverage", Interaction::Read)?;
    let stored = context.organization.records.read("Coverage", id).await?;
    context.caller.may_see(Interaction::Read, &stored)?;
    log(context, Action::Execute, &stored).await?;
    let opening = coverage::opening(context.organization, id).await?;
    let commitment = json!({"valueString": opening.commitment()});
    parameters_of(&[("commitment", commitment), ("opening", file(&opening)?)])
}

/// `InsurancePlan/{id}/$plan`: docs/api/insurance-plan.md
async fn plan(context: &Context<'_>, id: &str) -> Result<Answer, Refusal> {
    permit(context, "InsurancePlan", Interaction::Read)?;
    let plan = plan::published(context.organization, id).await?;
    let commitment = json!({"valueString": plan.commitment()});
    let policy = json!({"valueString": plan.policy_id});
    parameters_of(&[("commitment", commitment), ("policy-id", policy), ("plan", file(&plan)?)])
}

/// `CoverageEligibilityRequest/$submit`: a create that answers with the response.
async fn submit(context: &Context<'_>, body: &Bytes) -> Result<Answer, Refusal> {
    permit(context, "CoverageEligibilityResponse", Interaction::Read)?;
    let request = Incoming::Json(Document::parse(body.clone())?);
    let created = create::create(context, "CoverageEligibilityRequest", &request, None).await?;
    let id = created.location.as_deref().and_then(|url| url.split('/').rev().nth(2));
    let id = id.ok_or(Refusal::Internal("a create has no location"))?;
    let response = eligibility::response_id(id);
    let stored = context.organization.records.read("CoverageEligibilityResponse", &response).await;
    match stored {
        Ok(stored) => Ok(Answer::fhir(StatusCode::OK, served(&stored))),
        Err(Refusal::NotFound) => {
            Err(Refusal::Rule("the request is kept; it carries no proof, so there is nothing to answer".to_owned()))
        }
        Err(other) => Err(other),
    }
}

fn parameters_of(parameters: &[(&str, Value)]) -> Result<Answer, Refusal> {
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
