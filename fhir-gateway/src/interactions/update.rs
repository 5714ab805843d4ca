//! `PUT /{type}/{id}`: docs/api/update.md

use actix_web::http::StatusCode;

use super::{Answer, Context, Incoming, accepted, check, commit, permit, permit_about, writable};
use crate::{
    auth::scopes::Interaction,
    hooks::Proposed,
    outcome::Refusal,
    records::{Change, Content},
    remote::rewrite::RemoteId,
    resources::Resource,
    validate::is_id,
};

/// What is under an id now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Current {
    /// Nothing, ever.
    Absent,
    /// A resource.
    Present(u32),
    /// A deletion.
    Deleted(u32),
}

/// Stores the next version of a resource, or its first one under the client's id.
pub async fn update(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    incoming: &Incoming,
    if_match: Option<u32>,
) -> Result<Answer, Refusal> {
    let kind = writable(resource_type)?;
    permit(context, resource_type, Interaction::Update)?;
    check(resource_type, incoming)?;
    if let Incoming::Json(document) = incoming
        && document.id() != Some(id)
    {
        return Err(Refusal::BadRequest("the resource must have the id of the address".to_string()));
    }
    let current = current(context, resource_type, id, Interaction::Update).await?;
    let (proposed, status) = propose(context, kind, id, incoming, current, if_match)?;
    let stored = commit(context, vec![proposed]).await.map_err(|refusal| match (refusal, if_match) {
        (Refusal::VersionConflict, Some(_)) => Refusal::PreconditionFailed("If-Match names another version"),
        (refusal, _) => refusal,
    })?;
    let stored = stored.first().ok_or(Refusal::Internal("an update stored nothing"))?;
    Ok(Answer::written(context, status, stored))
}

/// What is under `id`, as far as the caller may know: what is another patient's is absent. What
/// became of an earlier write is found out first, so that a repeated one is the next version.
pub async fn current(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    interaction: Interaction,
) -> Result<Current, Refusal> {
    let records = &context.organization.records;
    let settled = records.settled(resource_type, id).await;
    let stored = match records.latest(resource_type, id).await {
        Ok(stored) if context.caller.may_see(interaction, &stored).is_ok() => stored,
        Ok(_) => return Ok(Current::Absent),
        // Who is limited to one patient learns nothing of a write to what may be another's.
        Err(Refusal::NotFound) if context.caller.compartment(interaction, resource_type).is_some() => {
            return Ok(Current::Absent);
        }
        Err(Refusal::NotFound) => return settled.map(|_| Current::Absent),
        Err(other) => return Err(other),
    };
    settled?;
    Ok(match stored.content {
        Content::Deleted => Current::Deleted(stored.version),
        Content::Json(_) | Content::Raw { .. } => Current::Present(stored.version),
    })
}

/// The change that makes `incoming` what is under `id`, and the status that says so.
pub fn propose(
    context: &Context<'_>,
    kind: &'static Resource,
    id: &str,
    incoming: &Incoming,
    current: Current,
    if_match: Option<u32>,
) -> Result<(Proposed, StatusCode), Refusal> {
    if !is_id(id) || RemoteId::parse(id).is_some() {
        return Err(Refusal::BadRequest("the id is not one that clients may choose".to_string()));
    }
    // Who is limited to one patient cannot tell an id that is free from one that is another
    // patient's, and so chooses none.
    if current == Current::Absent && context.caller.compartment(Interaction::Update, kind.name).is_some() {
        return Err(Refusal::NotFound);
    }
    let found = match current {
        Current::Present(version) => Some(version),
        Current::Absent | Current::Deleted(_) => None,
    };
    if if_match.is_some() && if_match != found {
        return Err(Refusal::PreconditionFailed("If-Match names another version"));
    }
    let accepted = accepted(context, kind, id, incoming)?;
    permit_about(context, kind.name, Interaction::Update, accepted.patient.as_deref())?;
    let (resource_type, id) = (kind.name.to_string(), id.to_string());
    let (content, patient) = (accepted.content, accepted.patient);
    let (change, status) = match current {
        Current::Absent => {
            permit(context, kind.name, Interaction::Create)?;
            permit_about(context, kind.name, Interaction::Create, patient.as_deref())?;
            (Change::Create { resource_type, id, content, patient }, StatusCode::CREATED)
        }
        Current::Present(expected) => {
            (Change::Update { resource_type, id, content, patient, expected }, StatusCode::OK)
        }
        Current::Deleted(expected) => {
            permit(context, kind.name, Interaction::Create)?;
            permit_about(context, kind.name, Interaction::Create, patient.as_deref())?;
            (Change::Update { resource_type, id, content, patient, expected }, StatusCode::CREATED)
        }
    };
    Ok((Proposed { change, document: accepted.document, entry: None }, status))
}
