//! `POST /{type}`: docs/api/create.md

use actix_web::http::StatusCode;

use super::{
    Answer, Context, Incoming, accepted, check, commit, condition, idempotency, is_own, log, may_see, permit,
    permit_about, subscriptions, writable,
};
use crate::{
    audit::Action, auth::scopes::Interaction, hooks::Proposed, outcome::Refusal, records::Change, resources::Resource,
};

/// Stores a new resource under an id that the server chooses; with `if_none_exist`, only if no
/// resource meets it.
pub async fn create(
    context: &Context<'_>,
    resource_type: &str,
    incoming: &Incoming,
    if_none_exist: Option<&str>,
) -> Result<Answer, Refusal> {
    if is_own(resource_type) {
        return subscriptions::create(context, incoming, if_none_exist).await;
    }
    let kind = writable(resource_type)?;
    permit(context, resource_type, Interaction::Create)?;
    check(resource_type, incoming)?;
    let if_none_exist = if_none_exist.map(|condition| condition::criteria(resource_type, condition)).transpose()?;
    let keyed = context.key.map(|key| key.id(context, resource_type));
    let conditions: Vec<_> =
        if_none_exist.into_iter().chain(keyed.as_deref()).map(|condition| (resource_type, condition)).collect();
    condition::look_up(context, conditions.iter().copied()).await?;
    let _held = context.conditions.hold(&conditions).await?;
    if let Some(id) = &keyed {
        let accepted = accepted(context, kind, id, incoming)?;
        if let Some(stored) = idempotency::earlier(context, resource_type, id, &accepted).await? {
            log(context, Action::Read, &stored).await?;
            return Ok(Answer::written(context, StatusCode::CREATED, &stored));
        }
    }
    let Some(condition) = if_none_exist else {
        let id = keyed.unwrap_or_else(|| id_of_new(context, resource_type));
        return create_as(context, kind, id, incoming).await;
    };
    // A body that would be refused is refused whether or not there is one already.
    accepted(context, kind, &id_of_new(context, resource_type), incoming)?;
    if let Some(id) = condition::one(context, kind, condition).await? {
        return existing(context, resource_type, &id).await;
    }
    let planned = match keyed {
        Some(id) => condition::Planned::New(id),
        None => condition::plan(context, kind, condition).await?,
    };
    let id = match planned {
        condition::Planned::New(id) => id,
        condition::Planned::Exists(id) => return existing(context, resource_type, &id).await,
    };
    match create_as(context, kind, id, incoming).await {
        Err(refusal) => {
            let id = condition::winner(context, kind, condition, refusal).await?;
            existing(context, resource_type, &id).await
        }
        created => created,
    }
}

/// Answers with what meets the condition already.
pub async fn existing(context: &Context<'_>, resource_type: &str, id: &str) -> Result<Answer, Refusal> {
    let stored = context.organization.records.read(resource_type, id).await?;
    // Who may search and not read was told of it by the condition.
    let may_read = context.caller.may(Interaction::Read, resource_type).is_ok();
    may_see(context, if may_read { Interaction::Read } else { Interaction::Search }, &stored).await?;
    log(context, Action::Read, &stored).await?;
    Ok(Answer::written(context, StatusCode::OK, &stored))
}

/// Stores a new resource under `id`, which nobody has.
pub async fn create_as(
    context: &Context<'_>,
    kind: &'static Resource,
    id: String,
    incoming: &Incoming,
) -> Result<Answer, Refusal> {
    permit(context, kind.name, Interaction::Create)?;
    let accepted = accepted(context, kind, &id, incoming)?;
    permit_about(context, kind.name, Interaction::Create, accepted.patient.as_deref())?;
    let change = Change::Create {
        resource_type: kind.name.to_string(),
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
