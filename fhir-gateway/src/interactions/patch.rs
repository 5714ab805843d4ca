//! `PATCH /{type}/{id}` and `PATCH /{type}?{condition}`: docs/api/patch.md

use actix_web::http::StatusCode;

use super::{
    Answer, Context, Incoming, check, commit, condition, is_own, may_see, permit, subscriptions, update, writable,
};
use crate::{
    auth::scopes::Interaction,
    hooks::Proposed,
    json::Document,
    outcome::Refusal,
    patch::Patch,
    records::{Content, blocking},
    resources::Resource,
};

/// Changes what a patch names in the current version, and stores it as the next one.
pub async fn patch(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    patch: &Patch,
    if_match: Option<u32>,
) -> Result<Answer, Refusal> {
    if is_own(resource_type) {
        return subscriptions::patch(context, id, patch, if_match).await;
    }
    let kind = writable(resource_type)?;
    permit_patch(context, kind)?;
    let proposed = propose(context, kind, id, patch, if_match).await?;
    let stored = commit(context, vec![proposed]).await.map_err(|refusal| update::raced(refusal, if_match))?;
    let stored = stored.first().ok_or(Refusal::Internal("a patch stored nothing"))?;
    Ok(Answer::written(context, StatusCode::OK, stored))
}

/// As [`patch`], of the one resource that meets `condition`.
pub async fn patch_by_condition(
    context: &Context<'_>,
    resource_type: &str,
    condition: &str,
    patch: &Patch,
    if_match: Option<u32>,
) -> Result<Answer, Refusal> {
    let kind = writable(resource_type)?;
    permit_patch(context, kind)?;
    condition::look_up(context, [(resource_type, condition)]).await?;
    let _held = context.conditions.hold(&[(resource_type, condition)]).await?;
    let id = condition::one(context, kind, condition).await?.ok_or(Refusal::NotFound)?;
    self::patch(context, resource_type, &id, patch, if_match).await
}

/// A patch tells what it found: by the answer, and by whether its tests hold.
pub fn permit_patch(context: &Context<'_>, kind: &Resource) -> Result<(), Refusal> {
    permit(context, kind.name, Interaction::Update)?;
    permit(context, kind.name, Interaction::Read)
}

/// The change that a patch makes of what is under `id`.
pub async fn propose(
    context: &Context<'_>,
    kind: &'static Resource,
    id: &str,
    patch: &Patch,
    if_match: Option<u32>,
) -> Result<Proposed, Refusal> {
    match update::current(context, kind.name, id, Interaction::Update).await? {
        update::Current::Present(_) => {}
        update::Current::Absent => return Err(Refusal::NotFound),
        update::Current::Deleted(_) => return Err(Refusal::Gone),
    }
    let stored = context.organization.records.read(kind.name, id).await?;
    may_see(context, Interaction::Update, &stored).await?;
    may_see(context, Interaction::Read, &stored).await?;
    let Content::Json(bytes) = stored.content else {
        return Err(Refusal::Rule("a Binary that was sent in its own format has no elements to patch".to_owned()));
    };
    let patch = patch.clone();
    let patched = blocking(move || patch.apply(&Document::parse(bytes)?)).await?;
    let document = Document::parse(patched)?;
    if document.resource_type() != Some(kind.name) || document.id() != Some(id) {
        return Err(Refusal::invalid(kind.name, "a patch changes neither resourceType nor id"));
    }
    let incoming = Incoming::Json(document);
    check(kind.name, &incoming)?;
    let current = update::Current::Present(update::Present { version: stored.version, patient: stored.patient });
    update::propose(context, kind, id, &incoming, current, if_match).map(|(proposed, _)| proposed)
}
