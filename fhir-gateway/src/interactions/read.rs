//! `GET /{type}/{id}`: docs/api/read.md

use actix_web::http::StatusCode;

use super::{
    Answer, Body, Context, audit_event, binary, kept, log_access, log_for, permit, reach, readable, served,
    sighted::in_sight, subscriptions, subset, transaction::entry,
};
use crate::{
    audit::{Action, Entity},
    auth::scopes::Interaction,
    outcome::Refusal,
    records::{Content, Stored},
    remote::{merge, rewrite::RemoteId},
    resources::Access,
    search::Shape,
};

/// What a client accepts, and what it has already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// `Accept`.
    pub accept: Option<&'a str>,
    /// `If-None-Match`: entity tags, or `*`.
    pub if_none_match: Option<&'a str>,
    /// `If-Modified-Since`, Unix seconds; counts only without `If-None-Match` (RFC 9110, 13.2.2).
    pub if_modified_since: Option<i64>,
    /// What of the resource is wanted: `_summary` and `_elements`.
    pub shape: Option<&'a Shape>,
}

impl Wanted<'_> {
    /// What of a resource the client wants.
    pub fn shaped(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        match self.shape {
            Some(shape) => subset::shaped(bytes, shape, true),
            None => Ok(bytes),
        }
    }

    /// Whether the client has this version already.
    pub fn is_known(&self, version: u32, last_modified: i64) -> bool {
        match (self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => tags.trim() == "*" || tags.split(',').any(|tag| entry::version_of(tag) == Some(version)),
            (None, since) => since.is_some_and(|since| last_modified <= since),
        }
    }
}

/// The current version. An id that names another custodian's resource is read there.
pub async fn read(context: &Context<'_>, resource_type: &str, id: &str, wanted: Wanted<'_>) -> Result<Answer, Refusal> {
    let kind = kept(resource_type)?;
    permit(context, resource_type, Interaction::Read)?;
    match kind.access {
        Access::Full => {}
        Access::ReadOnly => return audit_event::read(context, id, wanted).await,
        Access::Own => return subscriptions::read(context, id, wanted).await,
    }
    if let Some(remote) = RemoteId::parse(id) {
        return elsewhere(context, resource_type, id, &remote, wanted).await;
    }
    in_sight(context, Interaction::Read, resource_type, id).await?;
    let found = context.organization.records.latest(resource_type, id).await;
    let stored = reach::or_as_hidden(context, Interaction::Read, resource_type, found).await?;
    let patients = readable(context, &stored).await?;
    if stored.content == Content::Deleted {
        return Err(Refusal::Gone);
    }
    log_for(context, Action::Read, &stored, &patients).await?;
    shown(&stored, wanted)
}

/// A version as an answer.
pub fn shown(stored: &Stored, wanted: Wanted<'_>) -> Result<Answer, Refusal> {
    let known = wanted.is_known(stored.version, stored.last_updated);
    let body = match stored.resource_type.as_str() {
        _ if known => None,
        "Binary" => Some(binary::negotiated(stored, wanted.accept)?),
        _ => Some(Body::fhir(wanted.shaped(served(stored))?)),
    };
    Ok(Answer {
        status: if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK },
        body,
        version: Some(stored.version),
        last_modified: Some(stored.last_updated),
        location: None,
    })
}

async fn elsewhere(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    remote: &RemoteId,
    wanted: Wanted<'_>,
) -> Result<Answer, Refusal> {
    let own = context.caller.compartment(Interaction::Read, resource_type);
    let by = context.caller.on_behalf_of(Interaction::Read, resource_type);
    let opened = merge::read(context.organization, resource_type, remote, own, by).await?;
    reach::may_read_opened(context, resource_type, id, &opened).await?;
    let entity = Entity {
        resource_type: resource_type.to_owned(),
        id: Some(id.to_owned()),
        version: Some(opened.version),
        query: None,
    };
    log_access(context, Action::Read, Some(&opened.patient), entity).await?;
    let (version, last_modified) = (Some(opened.version), Some(opened.last_updated));
    if wanted.is_known(opened.version, opened.last_updated) {
        let status = StatusCode::NOT_MODIFIED;
        return Ok(Answer { status, body: None, version, last_modified, location: None });
    }
    let body = match resource_type {
        "Binary" => binary::of_remote(id, opened, wanted.accept)?,
        // Nothing but FHIR JSON is opened of any other type.
        _ => Body::fhir(wanted.shaped(opened.bytes)?),
    };
    Ok(Answer { status: StatusCode::OK, body: Some(body), version, last_modified, location: None })
}
