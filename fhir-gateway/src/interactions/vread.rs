//! `GET /{type}/{id}/_history/{version}`: docs/api/vread.md

use super::{
    Answer, Context, kept, log, permit,
    read::{Wanted, shown},
};
use crate::{audit::Action, auth::scopes::Interaction, outcome::Refusal, records::Content};

/// One version.
pub async fn vread(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    version: &str,
    wanted: Wanted<'_>,
) -> Result<Answer, Refusal> {
    kept(resource_type)?;
    permit(context, resource_type, Interaction::Read)?;
    let version = version.parse().map_err(|_| Refusal::NotFound)?;
    let stored = context.organization.records.any_version(resource_type, id, version).await?;
    context.caller.may_see(Interaction::Read, &stored)?;
    if stored.content == Content::Deleted {
        return Err(Refusal::Gone);
    }
    log(context, Action::Read, &stored).await?;
    shown(&stored, wanted)
}
