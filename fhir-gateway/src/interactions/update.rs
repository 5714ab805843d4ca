//! `PUT /{type}/{id}` and `PUT /{type}?{condition}`: docs/api/update.md

use actix_web::http::StatusCode;

use super::{
    Answer, Context, Incoming, accepted, binary, check, commit, condition, create, is_own, may_see, permit,
    permit_about, reach, sighted::in_sight, subscriptions, writable,
};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Current {
    /// Nothing, ever.
    Absent,
    /// A resource.
    Present(Present),
    /// A deletion.
    Deleted(u32),
}

/// What an update needs to know of the version that it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Which it is.
    pub version: u32,
    /// Local id of the Patient that it is about.
    pub patient: Option<String>,
}

/// What must hold before a resource is replaced.
#[derive(Debug, Clone, Copy, Default)]
pub struct Preconditions {
    /// `If-Match`: this version is current.
    pub if_match: Option<u32>,
    /// `If-None-Match: *`: nothing is there.
    pub must_be_absent: bool,
}

/// Stores the next version of a resource, or its first one under the client's id.
pub async fn update(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    incoming: &Incoming,
    preconditions: Preconditions,
) -> Result<Answer, Refusal> {
    if is_own(resource_type) {
        return subscriptions::update(context, id, incoming, preconditions).await;
    }
    let kind = writable(resource_type)?;
    permit(context, resource_type, Interaction::Update)?;
    check(resource_type, incoming)?;
    if let Incoming::Json(document) = incoming
        && document.id() != Some(id)
    {
        return Err(Refusal::BadRequest("the resource must have the id of the address".to_string()));
    }
    put(context, kind, id, incoming, preconditions).await
}

/// As [`update`], of the one resource that meets `condition`; where none does, stores a new one,
/// under the body's id if it has one (FHIR R4, 3.1.0.4.3).
pub async fn update_by_condition(
    context: &Context<'_>,
    resource_type: &str,
    condition: &str,
    incoming: &Incoming,
    preconditions: Preconditions,
) -> Result<Answer, Refusal> {
    let kind = writable(resource_type)?;
    permit(context, resource_type, Interaction::Update)?;
    check(resource_type, incoming)?;
    condition::look_up(context, [(resource_type, condition)]).await?;
    let _held = context.conditions.hold(&[(resource_type, condition)]).await?;
    let found = condition::one(context, kind, condition).await?;
    let Some(id) = id_by_condition(found.as_deref(), incoming)? else {
        if preconditions.if_match.is_some() {
            return Err(Refusal::PreconditionFailed("If-Match names another version"));
        }
        let id = condition::plan(context, kind, condition).await?.new_id()?;
        return create::create_as(context, kind, id, incoming).await;
    };
    if found.is_none() {
        must_be_free(context, kind, &id).await?;
    }
    put(context, kind, &id, incoming, preconditions).await
}

/// The id that a conditional update is about: what it found, or what the body names; none where
/// the server chooses.
///
/// # Errors
/// [`Refusal::BadRequest`] where the body names another one than the condition found.
pub fn id_by_condition(found: Option<&str>, incoming: &Incoming) -> Result<Option<String>, Refusal> {
    let named = match incoming {
        Incoming::Json(document) => document.id(),
        Incoming::Raw { .. } => None,
    };
    match (found, named) {
        (Some(found), Some(named)) if found != named => {
            Err(Refusal::BadRequest("the resource has another id than the one that the condition found".to_string()))
        }
        (found, named) => Ok(found.or(named).map(str::to_string)),
    }
}

/// Refuses an id whose resource the condition of an update does not find: it would be replaced by
/// what was meant for another one.
pub async fn must_be_free(context: &Context<'_>, kind: &Resource, id: &str) -> Result<(), Refusal> {
    match current(context, kind.name, id, Interaction::Update).await? {
        Current::Present(_) => Err(Refusal::VersionConflict),
        Current::Absent | Current::Deleted(_) => Ok(()),
    }
}

async fn put(
    context: &Context<'_>,
    kind: &'static Resource,
    id: &str,
    incoming: &Incoming,
    Preconditions { if_match, must_be_absent }: Preconditions,
) -> Result<Answer, Refusal> {
    let current = current(context, kind.name, id, Interaction::Update).await?;
    if must_be_absent && matches!(current, Current::Present(_)) {
        return Err(Refusal::PreconditionFailed("If-None-Match: * and there is one"));
    }
    let (proposed, status) = propose(context, kind, id, incoming, current, if_match)?;
    let stored = commit(context, vec![proposed]).await.map_err(|refusal| raced(refusal, if_match))?;
    let stored = stored.first().ok_or(Refusal::Internal("an update stored nothing"))?;
    Ok(Answer::written(context, status, stored))
}

/// What another request at the same moment comes to for one that named a version.
pub fn raced(refusal: Refusal, if_match: Option<u32>) -> Refusal {
    match (refusal, if_match) {
        (Refusal::VersionConflict, Some(_)) => Refusal::PreconditionFailed("If-Match names another version"),
        (refusal, _) => refusal,
    }
}

/// What is under `id`, as far as the caller may know: what is out of the caller's scopes is absent. What
/// became of an earlier write is found out first, so that a repeated one is the next version.
pub async fn current(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    interaction: Interaction,
) -> Result<Current, Refusal> {
    match in_sight(context, interaction, resource_type, id).await {
        Ok(()) => {}
        // Nor is it told what became of an earlier write to what may be another's.
        Err(Refusal::NotFound) => return Ok(Current::Absent),
        Err(other) => return Err(other),
    }
    let records = &context.organization.records;
    let settled = records.settled(resource_type, id).await;
    let found = records.latest(resource_type, id).await;
    let stored = match reach::or_as_hidden(context, interaction, resource_type, found).await {
        Ok(stored) => match may_see(context, interaction, &stored).await {
            Ok(()) => stored,
            Err(Refusal::NotFound) => return Ok(Current::Absent),
            Err(other) => return Err(other),
        },
        // Who is limited to some resources learns nothing of a write to what may be none of them.
        Err(Refusal::NotFound) if context.caller.reach(interaction, resource_type).is_limited() => {
            return Ok(Current::Absent);
        }
        Err(Refusal::NotFound) => return settled.map(|_| Current::Absent),
        Err(other) => return Err(other),
    };
    settled?;
    Ok(match stored.content {
        Content::Deleted => Current::Deleted(stored.version),
        Content::Json(_) | Content::Raw { .. } => {
            Current::Present(Present { version: stored.version, patient: stored.patient })
        }
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
    // Who is limited to some resources cannot tell an id that is free from one of another resource, and so
    // chooses none.
    if current == Current::Absent && context.caller.reach(Interaction::Update, kind.name).is_limited() {
        return Err(Refusal::NotFound);
    }
    let (found, before) = match &current {
        Current::Present(present) => (Some(present.version), present.patient.as_deref()),
        Current::Absent | Current::Deleted(_) => (None, None),
    };
    if if_match.is_some() && if_match != found {
        return Err(Refusal::PreconditionFailed("If-Match names another version"));
    }
    let accepted = accepted(context, kind, id, incoming)?;
    let patient = match kind.name {
        "Binary" => binary::owner(incoming, accepted.patient, before)?,
        _ => accepted.patient,
    };
    permit_about(context, kind.name, Interaction::Update, patient.as_deref())?;
    let (resource_type, id, content) = (kind.name.to_string(), id.to_string(), accepted.content);
    let (change, status) = match current {
        Current::Absent => {
            permit(context, kind.name, Interaction::Create)?;
            permit_about(context, kind.name, Interaction::Create, patient.as_deref())?;
            (Change::Create { resource_type, id, content, patient }, StatusCode::CREATED)
        }
        Current::Present(Present { version: expected, .. }) => {
            (Change::Update { resource_type, id, content, patient, expected }, StatusCode::OK)
        }
        Current::Deleted(expected) => {
            permit(context, kind.name, Interaction::Create)?;
            // Where what it says decides whether it may be created, it is created under a new id.
            if context.caller.reach(Interaction::Create, kind.name).is_constrained() {
                return Err(Refusal::Forbidden(format!("system/{}.c", kind.name)));
            }
            permit_about(context, kind.name, Interaction::Create, patient.as_deref())?;
            (Change::Update { resource_type, id, content, patient, expected }, StatusCode::CREATED)
        }
    };
    Ok((Proposed { change, document: accepted.document, entry: None }, status))
}
