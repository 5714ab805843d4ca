//! What every interaction that writes ends with: everything that was proposed takes effect, with what
//! it asks for on the ledger, or nothing does (docs/api/http.md).

use std::collections::BTreeSet;

use super::{Context, binary::permit_pointers, documents, log, log_for, reach, sighted::permit_requesters};
use crate::{
    audit::Action,
    hooks::{self, Effects, Proposed},
    organization::Organization,
    outcome::Refusal,
    records::{Content, Stored},
};

/// Commits all of `proposed` with what the hooks ask for, or nothing. Gives what was stored, in
/// the order of `proposed`.
pub async fn commit(context: &Context<'_>, proposed: Vec<Proposed>) -> Result<Vec<Stored>, Refusal> {
    let asked = proposed.len();
    let proposed = documents::complete(context, proposed).await?;
    reach::permit_written(context, &proposed).await?;
    permit_pointers(context, &proposed).await?;
    permit_requesters(context, &proposed)?;
    documents::check(context, &proposed).await?;
    let accounts = hooks::accounts(&proposed)?;
    let _held = context.conditions.hold_accounts(&accounts).await?;
    let effects = hooks::before_commit(context.organization, &proposed).await?;
    relay(context, &proposed, &effects).await?;
    let places = Places::of(&proposed);
    let changes = proposed.into_iter().map(|proposed| proposed.change).chain(effects.also).collect();
    let committed = context.organization.records.commit(changes, effects.messages).await;
    context.organization.subscriptions.wake();
    let mut stored = committed.map_err(|refusal| places.refused(context, refusal))?;
    for version in &stored {
        let action = match (&version.content, version.version) {
            (Content::Deleted, _) => Action::Delete,
            (_, 1) => Action::Create,
            _ => Action::Update,
        };
        log(context, action, version).await?;
        log_moved(context, action, version).await?;
    }
    for work in effects.after {
        work(stored.clone()).await;
    }
    stored.truncate(asked);
    Ok(stored)
}

/// A version that is about somebody else than the one before it is in the log of that patient, too.
async fn log_moved(context: &Context<'_>, action: Action, version: &Stored) -> Result<(), Refusal> {
    if version.version == 1 || version.resource_type == "Patient" {
        return Ok(());
    }
    let records = &context.organization.records;
    let before = records.any_version(&version.resource_type, &version.id, version.version - 1).await?;
    match before.about() {
        Some(patient) if version.about() != Some(patient) => {
            log_for(context, action, version, &BTreeSet::from([patient.to_owned()])).await
        }
        _ => Ok(()),
    }
}

/// Relays what patients signed, after everything of the request was rehearsed: each of these is a
/// transaction of its own, and what the ledger took of them cannot be taken back.
async fn relay(context: &Context<'_>, proposed: &[Proposed], effects: &Effects) -> Result<(), Refusal> {
    if effects.relay.is_empty() {
        return Ok(());
    }
    let Organization { ledger, records, .. } = context.organization;
    let places = Places::of(proposed);
    places.check(context)?;
    let changes = proposed.iter().map(|proposed| &proposed.change).chain(&effects.also);
    records.rehearse(changes, &effects.messages).await?;
    let mut rehearsal = ledger.rehearsal();
    for relay in &effects.relay {
        rehearsal.next(&relay.transaction).await.map_err(|refusal| refusal.of_entry(relay.entry))?;
    }
    for relay in &effects.relay {
        ledger.relay(relay.transaction.clone()).await.map_err(|refusal| refusal.of_entry(relay.entry))?;
    }
    hooks::consent::still_granted(context.organization, &effects.granted).await
}

/// What the entries of a transaction change, to say which of them was at fault.
struct Places(Vec<(String, String, Option<u32>, Option<usize>)>);

impl Places {
    fn of(proposed: &[Proposed]) -> Self {
        let place = |proposed: &Proposed| {
            let (resource_type, id, expected) = proposed.change.target();
            (resource_type.to_owned(), id.to_owned(), expected, proposed.entry)
        };
        Self(proposed.iter().map(place).collect())
    }

    /// Refuses where another request changed what this one is about to change.
    fn check(&self, context: &Context<'_>) -> Result<(), Refusal> {
        for (resource_type, id, expected, entry) in &self.0 {
            if !context.organization.records.is_current(resource_type, id, *expected)? {
                return Err(Refusal::VersionConflict.of_entry(*entry));
            }
        }
        Ok(())
    }

    /// The same refusal, with the entry that conflicts where it is a conflict.
    fn refused(&self, context: &Context<'_>, refusal: Refusal) -> Refusal {
        match (refusal, self.check(context)) {
            (Refusal::VersionConflict, Err(named @ Refusal::Entry { .. })) => named,
            (refusal, _) => refusal,
        }
    }
}
