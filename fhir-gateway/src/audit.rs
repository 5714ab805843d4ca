//! The access log: a leaf for every permit and every denial.
//!
//! - A leaf is sealed into the vault before the answer goes out: synced for releases to other
//!   organizations, in order with everything else for local reads and writes.
//! - Leaves are gathered into batches; the Merkle root of each batch (RFC 6962 hashing) is
//!   anchored on the ledger, so that nothing can be altered or left out afterwards unseen.
//! - An AuditEvent is a leaf, rendered when somebody asks (`audit/event.rs`). No client makes or
//!   changes one.
//!
//! Leaf number n is the n-th leaf, from 1, without gaps in what is anchored.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{
    auth::clock,
    config,
    envelope::ValueKey,
    keys::{OrganizationKeys, Secret},
    ledger::Ledger,
    outcome::Refusal,
    records::{asking, blocking},
    vault::{Batch, Durability, Space, Store, StoreError},
};

mod anchoring;
pub mod event;
mod leaf;
mod of_patients;
#[cfg(test)]
pub(crate) mod tests;

pub use careledger_app::audit::Inclusion;
pub use leaf::{Access, Action, Agent, AnchoredBatch, Disclosure, Entity, Leaf, Origin, Outcome, Verdict};

/// Leaves that are read at once.
const LEAVES_PER_PAGE: usize = if cfg!(test) { 4 } else { 1000 };

/// The access log of one organization. Cheap to clone.
#[derive(Clone)]
pub struct AuditLog {
    core: Arc<Core>,
}

struct Core {
    keys: Arc<OrganizationKeys>,
    leaf_key: ValueKey,
    /// Hides whom the rows of [`of_patients`] are about.
    patient_key: Secret,
    store: Arc<dyn Store>,
    ledger: Ledger,
    /// Number of the last leaf. Held while a leaf is handed to the store, so that leaves are
    /// written in the order of their numbers and none appears below an anchored one.
    last: Mutex<u64>,
    /// Where other processes write leaves too, this one writes one at a time.
    turn: tokio::sync::Mutex<()>,
    /// One anchoring at a time.
    anchoring: tokio::sync::Mutex<()>,
    wake: Arc<tokio::sync::Notify>,
    batch_leaves: u64,
}

impl AuditLog {
    /// Opens the log and starts to anchor its batches. Must run inside a tokio runtime.
    pub async fn open(
        keys: Arc<OrganizationKeys>,
        store: Arc<dyn Store>,
        ledger: Ledger,
        settings: &config::Audit,
    ) -> Result<Self, Refusal> {
        let leaf_key = keys.storage.derive("careledger/audit-leaf/1");
        let core = Arc::new(Core {
            patient_key: leaf_key.derive(of_patients::PURPOSE),
            leaf_key: ValueKey::of(&leaf_key),
            keys,
            store,
            ledger,
            last: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            anchoring: tokio::sync::Mutex::default(),
            wake: Arc::default(),
            batch_leaves: settings.batch_leaves.into(),
        });
        let newest = asking(&core, &*core.store, Core::newest).await?;
        *core.last.lock() = newest;
        core.list_older().await?;
        let interval = Duration::from_secs(settings.batch_seconds.into());
        tokio::spawn(anchoring::anchor_now_and_then(Arc::downgrade(&core), Arc::clone(&core.wake), interval));
        Ok(Self { core })
    }

    /// Logs an access and gives the number of its leaf. With [`Durability::Synced`] it is on the
    /// disk when this returns: a release to another organization waits for it.
    pub async fn record(&self, access: Access, durability: Durability) -> Result<u64, Refusal> {
        self.record_and_take(access, durability, None).await
    }

    /// As [`Self::record`], and with the same write takes the note at that key away
    /// ([`crate::records::Records::note_key`]).
    pub async fn record_and_take(
        &self,
        access: Access,
        durability: Durability,
        note: Option<&[u8]>,
    ) -> Result<u64, Refusal> {
        if self.core.store.is_shared() {
            return self.record_among_others(access, durability, note).await;
        }
        let number = loop {
            let (number, written) = {
                let mut last = self.core.last.lock();
                let number = *last + 1;
                *last = number;
                (number, self.core.store.commit(self.core.written(number, access.clone(), note), durability))
            };
            match written.await {
                Ok(()) => break number,
                // A write that was said to have failed is there after all, as after a sync that failed: its
                // leaf stays, and this one stands after it and after what is being written.
                Err(StoreError::Taken) => {
                    let newest = self.core.newest()?;
                    let mut last = self.core.last.lock();
                    *last = newest.max(*last);
                }
                Err(error) => {
                    // The number is free again, unless a later leaf went on from it, or it is there all the same.
                    let is_free = self.core.newest().is_ok_and(|newest| newest < number);
                    let mut last = self.core.last.lock();
                    if *last == number && is_free {
                        *last = number - 1;
                    }
                    return Err(error.into());
                }
            }
        };
        if number.is_multiple_of(self.core.batch_leaves) {
            self.core.wake.notify_one();
        }
        Ok(number)
    }

    /// As [`Self::record`], where other processes write leaves too: each takes the number after the last
    /// one that is there, so that none appears below an anchored one, and tries the next where another
    /// process was first.
    async fn record_among_others(
        &self,
        access: Access,
        durability: Durability,
        note: Option<&[u8]>,
    ) -> Result<u64, Refusal> {
        let _in_order = self.core.turn.lock().await;
        let mut number = *self.core.last.lock() + 1;
        loop {
            match self.core.store.commit(self.core.written(number, access.clone(), note), durability).await {
                Ok(()) => break,
                Err(StoreError::Taken) => number = asking(&self.core, &*self.core.store, Core::newest).await? + 1,
                Err(error) => return Err(error.into()),
            }
        }
        *self.core.last.lock() = number;
        if number.is_multiple_of(self.core.batch_leaves) {
            self.core.wake.notify_one();
        }
        Ok(number)
    }

    /// Logs what another organization was told, durably: the answer waits for it.
    pub async fn disclosed(&self, disclosure: Disclosure) -> Result<(), Refusal> {
        let Disclosure { organization, practitioner, purpose, grant, resource_type, ids, patient, verdict, origin } =
            disclosure;
        let entity = |id| Entity { resource_type: resource_type.clone(), id, version: None, query: None };
        let entities =
            if ids.is_empty() { vec![entity(None)] } else { ids.into_iter().map(Some).map(entity).collect() };
        let access = Access {
            action: Action::Read,
            outcome: match verdict {
                Verdict::Permitted => Outcome::Permitted,
                Verdict::Denied(rule) => Outcome::Denied(rule.name()),
            },
            agent: Agent::Organization { organization, practitioner: Some(practitioner) },
            purpose: Some(purpose),
            patient,
            entities,
            grant: Some(grant),
            origin,
        };
        self.record(access, Durability::Synced).await?;
        Ok(())
    }

    /// A leaf; `None` where there is none.
    pub fn leaf(&self, number: u64) -> Result<Option<Leaf>, Refusal> {
        let key = number.to_be_bytes();
        let sealed = self.core.store.get(Space::Leaf, &key)?;
        sealed.map(|sealed| self.core.open(&key, &sealed)).transpose()
    }

    /// Asks it where that holds up nobody else: here, where the vault is on this machine's disk, or on a thread for what
    /// blocks, where a server answers.
    pub async fn asking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        if !self.core.store.is_shared() {
            return ask(self);
        }
        let log = self.clone();
        blocking(move || ask(&log)).await
    }
}

impl Core {
    /// Number of the newest leaf in the vault; 0 where there is none.
    fn newest(&self) -> Result<u64, Refusal> {
        self.store.last(Space::Leaf)?.map_or(Ok(0), |(key, _)| number_of(&key))
    }

    /// The write of a leaf, and of the end of a note.
    fn written(&self, number: u64, access: Access, note: Option<&[u8]>) -> Batch {
        let (leaf, key) = (Leaf::new(number, clock(), access), number.to_be_bytes());
        let mut batch = Batch::default();
        self.list(&leaf, &mut batch);
        note.iter().for_each(|note| batch.delete(Space::State, *note));
        batch.put_new(Space::Leaf, key, self.leaf_key.seal(&leaf.bytes(), &key));
        batch
    }

    fn open(&self, key: &[u8], sealed: &[u8]) -> Result<Leaf, Refusal> {
        let fault = |_| Refusal::Internal("a leaf of the access log does not open");
        let bytes = self.leaf_key.open(sealed, key).map_err(fault)?;
        serde_json::from_slice(&bytes).map_err(|_| Refusal::Internal("a leaf of the access log does not decode"))
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

fn number_of(key: &[u8]) -> Result<u64, Refusal> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| Refusal::Internal("a key of the access log is not 8 bytes"))
}
