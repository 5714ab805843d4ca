//! `POST /{type}`: docs/api/create.md

use actix_web::http::StatusCode;

use super::{Answer, Context, Incoming, accepted, check, commit, condition, log, permit, permit_about, writable};
use crate::{audit::Action, auth::scopes::Interaction, hooks::Proposed, outcome::Refusal, records::Change};

/// Stores a new resource under an id that the server chooses; with `if_none_exist`, only if no
/// resource meets it.
pub async fn create(
    context: &Context<'_>,
    resource_type: &str,
    incoming: &Incoming,
    if_none_exist: Option<&str>,
) -> Result<Answer, Refusal> {
    let kind = writable(resource_type)?;
    permit(context, resource_type, Interaction::Create)?;
    check(resource_type, incoming)?;
    let conditions: Vec<_> = if_none_exist.iter().map(|condition| (resource_type, *condition)).collect();
    let _held = context.conditions.hold(&conditions).await;
    if let Some(condition) = if_none_exist
        && let Some(id) = condition::one(context, kind, condition).await?
    {
        let stored = context.organization.records.read(resource_type, &id).await?;
        context.caller.may_see(Interaction::Read, &stored)?;
        log(context, Action::Read, &stored).await?;
        return Ok(Answer::written(context, StatusCode::OK, &stored));
    }
    let id = new_id();
    let accepted = accepted(context, kind, &id, incoming)?;
    permit_about(context, resource_type, Interaction::Create, accepted.patient.as_deref())?;
    let change = Change::Create {
        resource_type: resource_type.to_string(),
        id,
        content: accepted.content,
        patient: accepted.patient,
    };
    let stored = commit(context, vec![Proposed { change, document: accepted.document }]).await?;
    let stored = stored.first().ok_or(Refusal::Internal("a create stored nothing"))?;
    Ok(Answer::written(context, StatusCode::CREATED, stored))
}

/// A fresh id.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
