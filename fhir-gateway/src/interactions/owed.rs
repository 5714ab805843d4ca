//! Lines of the access log that writes owe it. A line says what happened, so it comes after the ledger has the write;
//! then it can no longer be refused, and is not to be lost. So a note of who writes is durable before the ledger is
//! asked, and goes with the line. What could not be logged, or was not because the process ended, is logged later.
//! docs/api/audit-event.md

use std::{collections::BTreeSet, sync::Weak, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Context, condition, logging, patients_of_version};
use crate::{
    audit::{Action, Origin},
    auth::{Caller, NEVER, clock, scopes::Scopes},
    keys::random,
    organization::Organization,
    outcome::Refusal,
    records::{Content, Stored},
};

/// A note of a request that is still answered is younger than this, in seconds.
const REQUEST_SECONDS_MAX: i64 = 600;
/// Between two looks at what is owed.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Between two attempts at what could not be logged.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Who writes, as it is noted beside what is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Author {
    client: String,
    #[serde(default)]
    origin: Origin,
    /// Which run of the gateway answers the request.
    run: String,
    /// When it was noted, Unix seconds.
    since: i64,
}

/// What an organization owes its access log.
pub struct Owed {
    run: String,
    /// Notes of this run whose line failed.
    failed: Mutex<BTreeSet<Vec<u8>>>,
}

impl Default for Owed {
    fn default() -> Self {
        Self { run: hex::encode(random::<16>()), failed: Mutex::default() }
    }
}

impl Owed {
    /// The note of the caller's write.
    pub fn note(&self, context: &Context<'_>) -> Vec<u8> {
        let (client, origin) = (context.caller.client.clone(), context.origin.clone());
        let author = Author { client, origin, run: self.run.clone(), since: clock() };
        serde_json::to_vec(&author).expect("text always serialises")
    }

    /// Whether nobody who answers a request is about to log it.
    fn is_due(&self, key: &[u8], author: &Author, is_shared: bool) -> bool {
        let is_left_behind = author.run != self.run && !is_shared;
        is_left_behind || self.failed.lock().contains(key) || clock() > author.since.saturating_add(REQUEST_SECONDS_MAX)
    }
}

/// Logs what the caller wrote. It took effect, so that this is no reason to say that it failed.
pub async fn log_written(context: &Context<'_>, stored: &Stored) {
    if let Err(refusal) = pay(context, stored).await {
        let Organization { name, records, owed, .. } = context.organization;
        tracing::error!(name, %refusal, "a write is not in the access log yet; it is tried until it is");
        owed.failed.lock().insert(records.note_key(stored));
    }
}

/// One line for each patient whom the version is about, or whom the one before it was about.
async fn pay(context: &Context<'_>, stored: &Stored) -> Result<(), Refusal> {
    let action = match (&stored.content, stored.version) {
        (Content::Deleted, _) => Action::Delete,
        (_, 1) => Action::Create,
        _ => Action::Update,
    };
    let mut patients = patients_of_version(context, stored).await?;
    patients.extend(left(context, stored).await?);
    let note = context.organization.records.note_key(stored);
    logging::log_noted(context, action, stored, &patients, &note).await
}

/// The patient whom the version before was about, if this one is about another.
async fn left(context: &Context<'_>, stored: &Stored) -> Result<Option<String>, Refusal> {
    if stored.version == 1 || stored.resource_type == "Patient" {
        return Ok(None);
    }
    let records = &context.organization.records;
    let before = records.any_version(&stored.resource_type, &stored.id, stored.version - 1).await?;
    Ok(before.about().filter(|patient| stored.about() != Some(patient)).map(str::to_owned))
}

/// Logs what is owed, now and then, until the organization is gone.
pub async fn work(organization: Weak<Organization>) {
    loop {
        let Some(owner) = organization.upgrade() else { return };
        if let Err(refusal) = settle(&owner).await {
            tracing::warn!(name = owner.name, %refusal, "what is owed to the access log could not be logged");
        }
        let pause = if owner.owed.failed.lock().is_empty() { LOOK_INTERVAL } else { RETRY_INTERVAL };
        drop(owner);
        tokio::time::sleep(pause).await;
    }
}

/// Logs what is owed and due.
pub async fn settle(organization: &Organization) -> Result<(), Refusal> {
    let (records, owed) = (&organization.records, &organization.owed);
    let conditions = condition::Locks::of(records.clone());
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = records.notes(after.as_deref()).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, note) in page {
            let author: Author =
                serde_json::from_slice(&note).map_err(|_| Refusal::Internal("a note of a write does not decode"))?;
            if !owed.is_due(&key, &author, records.are_shared()) {
                continue;
            }
            // What the ledger may still take is looked at again.
            let Some(stored) = records.of_note(&key).await? else { continue };
            let scopes = Scopes::default();
            let caller = Caller { client: author.client, scopes, patient: None, expires_at: NEVER, person: None };
            let context =
                Context { origin: &author.origin, ..Context::in_background(organization, &conditions, &caller) };
            pay(&context, &stored).await?;
            owed.failed.lock().remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
