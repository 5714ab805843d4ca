//! What every interaction that writes ends with: everything that was proposed takes effect, with what
//! it asks for on the ledger, or nothing does (docs/api/http.md).

use super::{Context, binary::permit_pointers, documents, owed::log_written, reach, sighted::permit_requesters};
use crate::{
    hooks::{self, Effects, Proposed},
    organization::Organization,
    outcome::Refusal,
    records::Stored,
    value_sets::TYPE,
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
    let has_value_sets = places.0.iter().any(|(resource_type, ..)| resource_type == TYPE);
    let changes = proposed.into_iter().map(|proposed| proposed.change).chain(effects.also).collect();
    let Organization { records, subscriptions, owed, .. } = context.organization;
    let committed = records.commit_noted(changes, effects.messages, owed.note(context)).await;
    subscriptions.wake();
    // What the request searches for after its writes, it searches for by the value sets as they are then; what was refused
    // may have taken effect, too, where the ledger has not answered in time.
    if let (Some(lookups), true) = (context.value_sets, has_value_sets) {
        lookups.forget().await;
    }
    let mut stored = match committed {
        Ok(stored) => stored,
        Err(refusal) => return Err(places.refused(context, refusal).await),
    };
    for version in &stored {
        log_written(context, version).await;
    }
    for work in effects.after {
        work(stored.clone()).await;
    }
    stored.truncate(asked);
    Ok(stored)
}

/// Relays what patients signed, after everything of the request was rehearsed: each of these is a
/// transaction of its own, and what the ledger took of them cannot be taken back.
async fn relay(context: &Context<'_>, proposed: &[Proposed], effects: &Effects) -> Result<(), Refusal> {
    if effects.relay.is_empty() {
        return Ok(());
    }
    let Organization { ledger, records, .. } = context.organization;
    let places = Places::of(proposed);
    places.check(context).await?;
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
    async fn check(&self, context: &Context<'_>) -> Result<(), Refusal> {
        for (resource_type, id, expected, entry) in &self.0 {
            if !context.organization.records.is_current(resource_type, id, *expected).await? {
                return Err(Refusal::VersionConflict.of_entry(*entry));
            }
        }
        Ok(())
    }

    /// The same refusal, with the entry that conflicts where it is a conflict.
    async fn refused(&self, context: &Context<'_>, refusal: Refusal) -> Refusal {
        if refusal != Refusal::VersionConflict {
            return refusal;
        }
        match (refusal, self.check(context).await) {
            (Refusal::VersionConflict, Err(named @ Refusal::Entry { .. })) => named,
            (refusal, _) => refusal,
        }
    }
}
