//! `DELETE /{type}/{id}` and `DELETE /{type}?{condition}`: docs/api/delete.md

use actix_web::http::StatusCode;

use super::{Answer, Context, commit, condition, is_own, permit, subscriptions, update, writable};
use crate::{auth::scopes::Interaction, hooks::Proposed, outcome::Refusal, records::Change};

/// Ends a resource. Its versions stay readable by version; ending it twice is no error.
pub async fn delete(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    if_match: Option<u32>,
) -> Result<Answer, Refusal> {
    if is_own(resource_type) {
        return subscriptions::delete(context, id, if_match).await;
    }
    writable(resource_type)?;
    permit(context, resource_type, Interaction::Delete)?;
    let Some(proposed) = propose(context, resource_type, id, if_match).await? else {
        return Ok(Answer::status(StatusCode::NO_CONTENT));
    };
    let stored = commit(context, vec![proposed]).await.map_err(|refusal| update::raced(refusal, if_match))?;
    let version = stored.first().map(|stored| stored.version);
    Ok(Answer { version, ..Answer::status(StatusCode::NO_CONTENT) })
}

/// As [`delete`], of the one resource that meets `condition`; where none does, nothing is ended.
pub async fn delete_by_condition(
    context: &Context<'_>,
    resource_type: &str,
    condition: &str,
    if_match: Option<u32>,
) -> Result<Answer, Refusal> {
    let kind = writable(resource_type)?;
    permit(context, resource_type, Interaction::Delete)?;
    condition::look_up(context, [(resource_type, condition)]).await?;
    let _held = context.conditions.hold(&[(resource_type, condition)]).await?;
    match condition::one(context, kind, condition).await? {
        Some(id) => delete(context, resource_type, &id, if_match).await,
        None => Ok(Answer::status(StatusCode::NO_CONTENT)),
    }
}

/// The change that ends what is under `id`; none if nothing is.
pub async fn propose(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    if_match: Option<u32>,
) -> Result<Option<Proposed>, Refusal> {
    let current = update::current(context, resource_type, id, Interaction::Delete).await?;
    let update::Current::Present(update::Present { version: expected, .. }) = current else {
        return match if_match {
            Some(_) => Err(Refusal::PreconditionFailed("If-Match names another version")),
            None => Ok(None),
        };
    };
    if if_match.is_some_and(|version| version != expected) {
        return Err(Refusal::PreconditionFailed("If-Match names another version"));
    }
    let change = Change::Delete { resource_type: resource_type.to_string(), id: id.to_string(), expected };
    Ok(Some(Proposed { change, document: None, entry: None }))
}
