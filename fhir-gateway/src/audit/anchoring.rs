//! Batches of leaves on the ledger.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Weak},
    time::Duration,
};

use careledger_app::{keys, limits::ACCESS_LOG_LEAVES_MAX};
use careledger_wire::{access_log, ids::Digest, proto::audit::MsgAnchorAccessLog};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{AnchoredBatch, AuditLog, Core, Inclusion, LEAVES_PER_PAGE, number_of};
use crate::{
    outcome::Refusal,
    records::{asking, blocking},
    vault::{Batch, Durability, Space},
};

/// Name of the lock under which batches are anchored.
const ANCHORING: &str = "access-log";

/// When everything is tried again after that failed, if that is sooner than it is due.
const AGAIN: Duration = Duration::from_secs(15);

/// Where the vault says up to which batch it lacks batches, and that this was accepted.
const LOST: &[u8] = b"access-log/lost";

/// Which batches a pass anchors, of the leaves that are there when it begins: others follow all the time where there is
/// much to log, and a pass that waited for the last of them would anchor few at once and never end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Full ones, and what ends where a number is missing.
    Full,
    /// All of them, and the rest.
    Whole,
}

impl AuditLog {
    /// Anchors every leaf that is there and not anchored yet, in batches. Returns how many leaves that was, with those of the
    /// last batch that came meanwhile.
    pub async fn anchor(&self) -> Result<u64, Refusal> {
        self.core.anchor(Pass::Whole).await
    }

    /// How many batches the ledger has and the vault lacks; their leaves are lost.
    pub async fn lacking(&self) -> Result<u64, Refusal> {
        let next = asking(&self.core, &*self.core.store, Core::next_batch).await?;
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
        for (sequence, batch) in asking(&self.core, &*self.core.store, Core::batches).await? {
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
    pub(super) fn batches(&self) -> Result<Vec<(u64, AnchoredBatch)>, Refusal> {
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

    pub(super) async fn anchor(self: &Arc<Self>, pass: Pass) -> Result<u64, Refusal> {
        let _one_at_a_time = self.anchoring.lock().await;
        let _others = self.store.exclusive(vec![ANCHORING.to_owned()]).await?;
        let newest = asking(self, &*self.store, Self::newest).await?;
        let least = if pass == Pass::Full { self.leaves_max() } else { 1 };
        let mut anchored = 0;
        let last = asking(self, &*self.store, |core| Ok(core.store.last(Space::Batch)?)).await?;
        let mut after = 0;
        if let Some((key, value)) = last {
            let batch: AnchoredBatch = serde_json::from_slice(&value)
                .map_err(|_| Refusal::Internal("a batch of the access log does not decode"))?;
            // The intent is written before the ledger is asked, so this one may not be there.
            self.submit(number_of(&key)?, &batch).await?;
            after = *batch.leaves.end();
        }
        let mut next = asking(self, &*self.store, Self::next_batch).await?;
        if self.batches_on_ledger().await? >= next {
            return Err(Refusal::Internal("the ledger has batches of the access log that the vault lacks"));
        }
        while newest.saturating_sub(after) >= least {
            let Some(batch) = self.next_after(after).await? else { break };
            let intent = serde_json::to_vec(&batch).expect("text always serialises");
            let mut write = Batch::default();
            write.put_new(Space::Batch, next.to_be_bytes(), intent);
            self.store.commit(write, Durability::Synced).await?;
            self.submit(next, &batch).await?;
            anchored += batch.leaves.end() - batch.leaves.start() + 1;
            (next, after) = (next + 1, *batch.leaves.end());
        }
        Ok(anchored)
    }

    /// Leaves of a full batch.
    fn leaves_max(&self) -> u64 {
        self.batch_leaves.min(ACCESS_LOG_LEAVES_MAX.into())
    }

    /// As [`Self::gather`], on a thread for what blocks: to open and hash thousands of leaves takes a while.
    async fn next_after(self: &Arc<Self>, after: u64) -> Result<Option<AnchoredBatch>, Refusal> {
        let core = Arc::clone(self);
        blocking(move || core.gather(after)).await
    }

    /// The next batch after leaf `after`; `None` where there is no leaf.
    pub(super) fn gather(&self, after: u64) -> Result<Option<AnchoredBatch>, Refusal> {
        let leaves_max = usize::try_from(self.leaves_max()).unwrap_or(usize::MAX);
        let mut hashes: Vec<Digest> = Vec::new();
        let (mut first, mut last, mut period) = (after, after, (i64::MAX, i64::MIN));
        while hashes.len() < leaves_max {
            let limit = LEAVES_PER_PAGE.min(leaves_max - hashes.len());
            let page = self.store.scan(Space::Leaf, &[], Some(&last.to_be_bytes()), limit)?;
            let is_last = page.len() < limit;
            for (key, sealed) in page {
                let leaf = self.open(&key, &sealed)?;
                // A batch has no gaps: a number whose write failed stands between two batches.
                if !hashes.is_empty() && leaf.number != last + 1 {
                    return Ok(Some(AnchoredBatch { leaves: first..=last, root: access_log::root(&hashes), period }));
                }
                if hashes.is_empty() {
                    first = leaf.number;
                }
                last = leaf.number;
                // A clock that was set back must not make a period that ends before it starts.
                period = (period.0.min(leaf.time), period.1.max(leaf.time));
                hashes.push(leaf.hash());
            }
            if is_last {
                break;
            }
        }
        let root = access_log::root(&hashes);
        Ok((!hashes.is_empty()).then_some(AnchoredBatch { leaves: first..=last, root, period }))
    }

    /// Anchors a batch, unless the ledger has it already.
    pub(super) async fn submit(&self, sequence: u64, batch: &AnchoredBatch) -> Result<(), Refusal> {
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

/// Anchors what fills a batch whenever somebody wakes it, and everything whenever the interval is over.
pub(super) async fn anchor_now_and_then(core: Weak<Core>, wake: Arc<Notify>, interval: Duration) {
    let mut whole = Instant::now() + interval;
    loop {
        // Until either; who wakes it all the time does not put off the other.
        let _ = timeout_at(whole, wake.notified()).await;
        let pass = if Instant::now() < whole { Pass::Full } else { Pass::Whole };
        let Some(core) = core.upgrade() else { return };
        let anchored = core.anchor(pass).await;
        if pass == Pass::Whole {
            whole = Instant::now() + if anchored.is_ok() { interval } else { interval.min(AGAIN) };
        }
        if let Err(refusal) = anchored {
            tracing::warn!(%refusal, "the access log could not be anchored; it is tried again");
        }
    }
}
