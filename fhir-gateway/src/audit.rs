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

use std::{
    ops::RangeInclusive,
    sync::{Arc, Weak},
    time::Duration,
};

use careledger_app::keys;
use careledger_wire::{access_log, ids::Digest, proto::audit::MsgAnchorAccessLog};
use parking_lot::Mutex;

use crate::{
    auth::clock,
    config, envelope,
    keys::{OrganizationKeys, Secret},
    ledger::Ledger,
    outcome::Refusal,
    records::blocking,
    vault::{Batch, Durability, Space, Store, StoreError},
};

pub mod event;
mod leaf;
mod of_patients;
#[cfg(test)]
pub(crate) mod tests;

pub use careledger_app::audit::Inclusion;
pub use leaf::{Access, Action, Agent, AnchoredBatch, Disclosure, Entity, Leaf, Origin, Outcome, Verdict};

/// Leaves that are read at once.
const LEAVES_PER_PAGE: usize = 1000;

/// Name of the lock under which batches are anchored.
const ANCHORING: &str = "access-log";

/// Where the vault says up to which batch it lacks batches, and that this was accepted.
const LOST: &[u8] = b"access-log/lost";

/// The access log of one organization. Cheap to clone.
#[derive(Clone)]
pub struct AuditLog {
    core: Arc<Core>,
}

struct Core {
    keys: Arc<OrganizationKeys>,
    leaf_key: Secret,
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
        let core = Core {
            leaf_key: keys.storage.derive("careledger/audit-leaf/1"),
            keys,
            store,
            ledger,
            last: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            anchoring: tokio::sync::Mutex::default(),
            wake: Arc::default(),
            batch_leaves: settings.batch_leaves.into(),
        };
        *core.last.lock() = core.newest()?;
        let core = Arc::new(core);
        core.list_older().await?;
        let interval = Duration::from_secs(settings.batch_seconds.into());
        tokio::spawn(anchor_now_and_then(Arc::downgrade(&core), Arc::clone(&core.wake), interval));
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
                Err(StoreError::Taken) => number = self.core.newest()? + 1,
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

    /// Anchors every leaf that is not anchored yet, in batches. Returns how many leaves that was.
    pub async fn anchor(&self) -> Result<u64, Refusal> {
        self.core.anchor().await
    }

    /// How many batches the ledger has and the vault lacks; their leaves are lost.
    pub async fn lacking(&self) -> Result<u64, Refusal> {
        let next = self.core.next_batch()?;
        Ok((self.core.batches_on_ledger().await? + 1).saturating_sub(next))
    }

    /// Goes on after the batches that the vault lacks, which can be shown to nobody any more.
    pub async fn accept_loss(&self) -> Result<(), Refusal> {
        let _one_at_a_time = self.core.anchoring.lock().await;
        let mut batch = Batch::default();
        batch.put(Space::State, LOST, self.core.batches_on_ledger().await?.to_be_bytes());
        Ok(self.core.store.commit(batch, Durability::Synced).await?)
    }

    /// What a patient or auditor needs to check a leaf against the ledger: the batch's sequence,
    /// the leaf's place and the path from its hash to the batch's root. `None` while it is not
    /// anchored.
    pub async fn inclusion(&self, number: u64) -> Result<Option<Inclusion>, Refusal> {
        for (sequence, batch) in self.core.batches()? {
            if batch.leaves.contains(&number) {
                // A batch is written down before the ledger is asked.
                let key = keys::access_log_batch(&self.core.keys.signer.address(), sequence);
                if self.core.ledger.get(&key).await?.is_none() {
                    return Ok(None);
                }
                let (core, leaves) = (Arc::clone(&self.core), batch.leaves.clone());
                let hashes = blocking(move || core.hashes(&leaves)).await?;
                let index = usize::try_from(number - batch.leaves.start())
                    .map_err(|_| Refusal::Internal("a batch is larger than memory"))?;
                let path = access_log::inclusion_path(&hashes, index)
                    .ok_or(Refusal::Internal("a leaf of an anchored batch is missing"))?;
                return Ok(Some(Inclusion { sequence, index, count: hashes.len(), path, root: batch.root }));
            }
        }
        Ok(None)
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
        batch.put_new(Space::Leaf, key, envelope::seal_value(&self.leaf_key, &leaf.bytes(), &key));
        batch
    }

    fn open(&self, key: &[u8], sealed: &[u8]) -> Result<Leaf, Refusal> {
        let fault = |_| Refusal::Internal("a leaf of the access log does not open");
        let bytes = envelope::open_value(&self.leaf_key, sealed, key).map_err(fault)?;
        serde_json::from_slice(&bytes).map_err(|_| Refusal::Internal("a leaf of the access log does not decode"))
    }

    fn batches(&self) -> Result<Vec<(u64, AnchoredBatch)>, Refusal> {
        let pairs = self.store.scan(Space::Batch, &[], None, usize::MAX)?;
        let decode = |(key, value): (Vec<u8>, Vec<u8>)| {
            let batch = serde_json::from_slice(&value);
            Ok((number_of(&key)?, batch.map_err(|_| Refusal::Internal("a batch of the access log does not decode"))?))
        };
        pairs.into_iter().map(decode).collect()
    }

    fn hashes(&self, leaves: &RangeInclusive<u64>) -> Result<Vec<Digest>, Refusal> {
        let hash = |number: u64| {
            let key = number.to_be_bytes();
            let sealed = self.store.get(Space::Leaf, &key)?;
            let sealed = sealed.ok_or(Refusal::Internal("a leaf of an anchored batch is missing"))?;
            Ok(self.open(&key, &sealed)?.hash())
        };
        leaves.clone().map(hash).collect()
    }

    /// The sequence of the next batch: after the vault's last one, and after those that are lost.
    fn next_batch(&self) -> Result<u64, Refusal> {
        let own = self.store.last(Space::Batch)?.map_or(Ok(0), |(key, _)| number_of(&key))?;
        let lost = self.store.get(Space::State, LOST)?.map_or(Ok(0), |value| number_of(&value))?;
        Ok(own.max(lost) + 1)
    }

    async fn batches_on_ledger(&self) -> Result<u64, Refusal> {
        let log = self.ledger.get(&keys::access_log(&self.keys.signer.address())).await?;
        Ok(log.map_or(0, |log| log.batches))
    }

    async fn anchor(&self) -> Result<u64, Refusal> {
        let _one_at_a_time = self.anchoring.lock().await;
        let _others = self.store.exclusive(vec![ANCHORING.to_owned()]).await?;
        let mut anchored = 0;
        let last = self.store.last(Space::Batch)?;
        let mut next = match last {
            Some((key, value)) => {
                let batch: AnchoredBatch = serde_json::from_slice(&value)
                    .map_err(|_| Refusal::Internal("a batch of the access log does not decode"))?;
                // The intent is written before the ledger is asked, so this one may not be there.
                self.submit(number_of(&key)?, &batch).await?;
                (self.next_batch()?, *batch.leaves.end())
            }
            None => (self.next_batch()?, 0),
        };
        if self.batches_on_ledger().await? >= next.0 {
            return Err(Refusal::Internal("the ledger has batches of the access log that the vault lacks"));
        }
        while let Some(batch) = self.gather(next.1)? {
            let intent = serde_json::to_vec(&batch).expect("text always serialises");
            let mut write = Batch::default();
            write.put_new(Space::Batch, next.0.to_be_bytes(), intent);
            self.store.commit(write, Durability::Synced).await?;
            self.submit(next.0, &batch).await?;
            anchored += batch.leaves.end() - batch.leaves.start() + 1;
            next = (next.0 + 1, *batch.leaves.end());
        }
        Ok(anchored)
    }

    /// The next batch after leaf `after`; `None` where there is no leaf.
    fn gather(&self, after: u64) -> Result<Option<AnchoredBatch>, Refusal> {
        let limit = LEAVES_PER_PAGE.min(usize::try_from(self.batch_leaves).unwrap_or(usize::MAX));
        let page = self.store.scan(Space::Leaf, &[], Some(&after.to_be_bytes()), limit)?;
        let mut leaves = page.iter().map(|(key, sealed)| self.open(key, sealed)).collect::<Result<Vec<_>, _>>()?;
        // A batch has no gaps: a number whose write failed stands between two batches.
        let unbroken = leaves.windows(2).take_while(|pair| pair[1].number == pair[0].number + 1).count();
        leaves.truncate(unbroken + 1);
        let (Some(first), Some(last)) = (leaves.first(), leaves.last()) else { return Ok(None) };
        let hashes: Vec<Digest> = leaves.iter().map(Leaf::hash).collect();
        let times = leaves.iter().map(|leaf| leaf.time);
        // A clock that was set back must not make a period that ends before it starts.
        let period = (times.clone().min().unwrap_or(first.time), times.max().unwrap_or(last.time));
        Ok(Some(AnchoredBatch { leaves: first.number..=last.number, root: access_log::root(&hashes), period }))
    }

    /// Anchors a batch, unless the ledger has it already.
    async fn submit(&self, sequence: u64, batch: &AnchoredBatch) -> Result<(), Refusal> {
        let organization = self.keys.signer.address();
        if self.batches_on_ledger().await? >= sequence {
            return Ok(());
        }
        let count = batch.leaves.end() - batch.leaves.start() + 1;
        let message = MsgAnchorAccessLog {
            sender: organization.to_string(),
            sequence,
            root: batch.root.to_vec(),
            count: u32::try_from(count).map_err(|_| Refusal::Internal("a batch has too many leaves"))?,
            period_start: batch.period.0,
            period_end: batch.period.1,
        };
        self.ledger.submit(&self.keys.signer, vec![message.into()]).await?;
        Ok(())
    }
}

async fn anchor_now_and_then(core: Weak<Core>, wake: Arc<tokio::sync::Notify>, interval: Duration) {
    loop {
        // Until somebody wakes it or the interval is over: both are reasons to anchor.
        let _ = tokio::time::timeout(interval, wake.notified()).await;
        let Some(core) = core.upgrade() else { return };
        if let Err(refusal) = core.anchor().await {
            tracing::warn!(%refusal, "the access log could not be anchored; it is tried again");
        }
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
