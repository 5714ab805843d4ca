//! `POST /{type}`: docs/api/create.md

use actix_web::http::StatusCode;

use super::{
    Answer, Context, Incoming, accepted, check, commit, condition, idempotency, log, permit, permit_about, writable,
};
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
    let id = id_of_new(context, resource_type);
    let conditions = if_none_exist.into_iter().chain(context.key.map(|_| id.as_str()));
    let conditions: Vec<_> = conditions.map(|condition| (resource_type, condition)).collect();
    let _held = context.conditions.hold(&conditions).await;
    let accepted = accepted(context, kind, &id, incoming)?;
    if context.key.is_some()
        && let Some(stored) = idempotency::earlier(context, resource_type, &id, &accepted).await?
    {
        log(context, Action::Read, &stored).await?;
        return Ok(Answer::written(context, StatusCode::CREATED, &stored));
    }
    if let Some(condition) = if_none_exist
        && let Some(id) = condition::one(context, kind, condition).await?
    {
        let stored = context.organization.records.read(resource_type, &id).await?;
        context.caller.may_see(Interaction::Read, &stored)?;
        log(context, Action::Read, &stored).await?;
        return Ok(Answer::written(context, StatusCode::OK, &stored));
    }
    permit_about(context, resource_type, Interaction::Create, accepted.patient.as_deref())?;
    let change = Change::Create {
        resource_type: resource_type.to_string(),
        id,
        content: accepted.content,
        patient: accepted.patient,
    };
    let stored = commit(context, vec![Proposed { change, document: accepted.document, entry: None }]).await?;
    let stored = stored.first().ok_or(Refusal::Internal("a create stored nothing"))?;
    Ok(Answer::written(context, StatusCode::CREATED, stored))
}

/// The id of a new resource: a fresh one, or that of the request's key.
pub fn id_of_new(context: &Context<'_>, resource_type: &str) -> String {
    context.key.map_or_else(|| uuid::Uuid::new_v4().to_string(), |key| key.id(context, resource_type))
}
