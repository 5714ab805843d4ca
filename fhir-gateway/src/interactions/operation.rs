//! `$operations`: docs/api/operations.md

use actix_web::{http::StatusCode, web::Bytes};
use serde_json::json;

use super::{Answer, Context, permit};
use crate::{auth::scopes::Interaction, naming, outcome::Refusal};

/// An operation on a type, or on one resource of it.
pub async fn run(
    context: &Context<'_>,
    resource_type: &str,
    id: Option<&str>,
    name: &str,
    _body: &Bytes,
) -> Result<Answer, Refusal> {
    match (resource_type, id, name) {
        ("Patient", Some(id), "$subject") => subject(context, id).await,
        _ => Err(Refusal::NotFound),
    }
}

/// `Patient/{id}/$subject`: the subject that the patient is on the ledger.
async fn subject(context: &Context<'_>, id: &str) -> Result<Answer, Refusal> {
    permit(context, "Patient", Interaction::Read)?;
    let stored = context.organization.records.read("Patient", id).await?;
    context.caller.may_see(Interaction::Read, &stored)?;
    let subject = context.organization.records.subject_of(id)?.ok_or(Refusal::NotFound)?;
    let value = json!({"system": naming::SUBJECT, "value": subject.to_string()});
    let parameters = json!({
        "resourceType": "Parameters",
        "parameter": [{"name": "subject", "valueIdentifier": value}],
    });
    Ok(Answer::fhir(StatusCode::OK, parameters.to_string().into_bytes()))
}
