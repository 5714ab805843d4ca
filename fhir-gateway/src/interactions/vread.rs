//! `GET /{type}/{id}/_history/{version}`: docs/api/vread.md

use super::{
    Answer, Context, audit_event, kept, log_for, permit, reach,
    read::{Wanted, shown},
    readable,
    sighted::version_in_sight,
};
use crate::{audit::Action, auth::scopes::Interaction, outcome::Refusal, records::Content, resources::Access};

/// One version.
pub async fn vread(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    version: &str,
    wanted: Wanted<'_>,
) -> Result<Answer, Refusal> {
    let kind = kept(resource_type)?;
    permit(context, resource_type, Interaction::Read)?;
    if kind.access == Access::Own {
        return Err(Refusal::Unsupported("a version of a Subscription; only the current one is kept"));
    }
    if kind.access == Access::ReadOnly {
        // A line of the access log never changes.
        return if version == "1" { audit_event::read(context, id, wanted).await } else { Err(Refusal::NotFound) };
    }
    let version = version.parse().map_err(|_| Refusal::NotFound)?;
    version_in_sight(context, Interaction::Read, resource_type, id, Some(version)).await?;
    let found = context.organization.records.any_version(resource_type, id, version).await;
    let stored = reach::or_as_hidden(context, Interaction::Read, resource_type, found).await?;
    let patients = readable(context, &stored).await?;
    if stored.content == Content::Deleted {
        return Err(Refusal::Gone);
    }
    log_for(context, Action::Read, &stored, &patients).await?;
    shown(&stored, wanted)
}
