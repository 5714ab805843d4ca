//! What is put right after a crash, a time-out or a full disk, without guessing: the ledger says
//! which versions it committed, the vault's journal says which of them the index lacks.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use careledger_app::{keys, limits::UNORDERED_SECONDS_MAX};
use careledger_wire::{ids::RecordId, proto::state};

use super::{
    Core, Held, Listed, Rebuilt, Stored, entry,
    pipeline::{Hold, JOURNAL, Prepared, blocking},
    sequence_of,
};
use crate::{
    ledger::Ledger,
    outcome::Refusal,
    vault::{Pair, Space},
};

/// Versions that one transaction of the index takes.
const INDEX_VERSIONS_PER_BATCH: usize = 500;
/// Keys that one page of a scan over the vault holds.
const SCAN_KEYS_PER_PAGE: usize = 1000;
/// Time between two attempts to find out what became of writes with an unknown outcome.
const SETTLE_INTERVAL: Duration = Duration::from_secs(15);

/// What was put right at the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Versions that the ledger had committed and that were not visible yet.
    pub published: u64,
    /// Versions that the ledger never committed; they were never acknowledged.
    pub dropped: u64,
    /// Versions that the ledger may still commit.
    pub undecided: u64,
    /// Versions that the index lacked.
    pub indexed: u64,
}

/// How far a rebuild of the index is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Resources looked at.
    pub done: u64,
    /// Resources that the ledger knows of this organization.
    pub total: u64,
}

/// What a rebuild of the index found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reindexed {
    /// Resources in the index now.
    pub indexed: u64,
    /// Resources whose current version is not the one on the ledger, nor the one before a version that the ledger has
    /// already and that is about to become visible; they are not indexed.
    pub unanchored: u64,
    /// Resources whose body is missing or altered; they are not indexed.
    pub damaged: u64,
    /// Records on the ledger that the vault does not have, visible or about to be.
    pub missing: u64,
}

/// What the ledger says about one prepared version.
enum Verdict {
    Committed(i64),
    Never,
    Undecided,
}

/// A page of the journal for the index: its last sequence, what became visible, and what of it can be read.
type Page = (u64, Vec<Listed>, Vec<Arc<Stored>>);

impl Core {
    /// Decides every pending version, and from then on those that can be decided later.
    pub(super) async fn repair(self: &Arc<Self>) -> Result<Repaired, Refusal> {
        let repaired = self.decide_all().await?;
        tokio::spawn(settle_now_and_then(Arc::downgrade(self)));
        Ok(repaired)
    }

    /// Decides every pending version.
    pub(super) async fn decide_all(self: &Arc<Self>) -> Result<Repaired, Refusal> {
        let mut repaired = Repaired::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(Space::Pending, &[], after.as_deref(), SCAN_KEYS_PER_PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, pending) in &page {
                let (record, version) = entry::record_and_version(key)?;
                match self.decide(record, version, pending).await? {
                    Some(Verdict::Committed(_)) => repaired.published += 1,
                    Some(Verdict::Never) | None => repaired.dropped += 1,
                    Some(Verdict::Undecided) => {
                        repaired.undecided += 1;
                        self.held.lock().insert(record, Held::Unknown);
                    }
                }
            }
        }
        Ok(repaired)
    }

    /// Gives the index what it lacks, and says how much that was.
    pub(super) async fn bring_up_to_date(self: &Arc<Self>) -> Result<u64, Refusal> {
        let _in_order = self.sequence.lock().await;
        let _others = self.store.exclusive(vec![JOURNAL.to_owned()]).await?;
        self.catch_up().await
    }

    /// Finds out what became of earlier writes to these records, where that is unknown.
    pub(super) async fn settle(self: &Arc<Self>, records: &[RecordId]) -> Result<(), Refusal> {
        if self.store.is_shared() {
            let records = records.to_vec();
            self.asking(move |core| core.notice_others(&records)).await?;
        }
        for record in records {
            let Some(hold) = Hold::take_unknown(self, *record) else { continue };
            let undecided = match self.settle_one(record).await {
                Ok(undecided) => undecided,
                Err(refusal) => {
                    hold.keep_as_unknown();
                    return Err(refusal);
                }
            };
            if undecided {
                hold.keep_as_unknown();
            }
        }
        Ok(())
    }

    /// What another process writes, or wrote when it ended, has an unknown outcome here.
    fn notice_others(&self, records: &[RecordId]) -> Result<(), Refusal> {
        for record in records {
            let is_own = || self.held.lock().contains_key(record);
            if !is_own() && !self.store.scan(Space::Pending, record.as_bytes(), None, 1)?.is_empty() {
                self.held.lock().entry(*record).or_insert(Held::Unknown);
            }
        }
        Ok(())
    }

    async fn settle_one(self: &Arc<Self>, record: &RecordId) -> Result<bool, Refusal> {
        let mut undecided = false;
        let prefix = record.to_vec();
        let pending = move |core: &Self| Ok(core.store.scan(Space::Pending, &prefix, None, SCAN_KEYS_PER_PAGE)?);
        for (key, pending) in self.asking(pending).await? {
            let (record, version) = entry::record_and_version(&key)?;
            undecided |= matches!(self.decide(record, version, &pending).await?, Some(Verdict::Undecided));
        }
        Ok(undecided)
    }

    /// Publishes or drops one pending version, or leaves it. `None` where it has no description:
    /// only its mark was left, and that is removed.
    async fn decide(
        self: &Arc<Self>,
        record: RecordId,
        version: u32,
        pending: &[u8],
    ) -> Result<Option<Verdict>, Refusal> {
        let Some(entry) = self.asking(move |core| core.entry(&record, version)).await? else {
            self.drop_mark(&entry::key(&record, version), pending).await?;
            return Ok(None);
        };
        let prepared = Prepared { record, version, entry, content: None };
        let verdict = self.verdict(&prepared, pending).await?;
        match verdict {
            Verdict::Committed(time) => {
                self.publish(vec![(prepared, time)]).await?;
            }
            Verdict::Never => self.drop_versions(&[prepared], Some(pending)).await?,
            Verdict::Undecided => {}
        }
        Ok(Some(verdict))
    }

    async fn verdict(&self, prepared: &Prepared, pending: &[u8]) -> Result<Verdict, Refusal> {
        let key = keys::record(&self.keys.signer.address(), &prepared.record);
        let commitment = prepared.entry.commitment(prepared.version);
        // Before the ledger is asked: what expires while its answer is on the way may have been committed after it.
        let may_still_commit = self.may_still_commit(pending)?;
        match self.ledger.get(&key).await? {
            Some(record) if record.version == prepared.version && record.commitment == commitment.as_bytes() => {
                Ok(Verdict::Committed(record.recorded_at))
            }
            Some(record) if record.version >= prepared.version => {
                tracing::error!(record = %prepared.record, "the ledger has another version of a record than the vault");
                Ok(Verdict::Never)
            }
            _ if may_still_commit => {
                self.look_at_the_time(pending, &key).await?;
                Ok(Verdict::Undecided)
            }
            _ => Ok(Verdict::Never),
        }
    }

    /// Learns the time of a node's last block where only that keeps a version undecided: it is known as far as this process
    /// asked, and one that writes nothing does not. It counts the next time: the answer at hand is older.
    async fn look_at_the_time(&self, pending: &[u8], key: &keys::Key<state::Record>) -> Result<(), Refusal> {
        let (since, _) = entry::since_and_run(pending)?;
        let may_be_over = self.ledger.now() > since.saturating_add(UNORDERED_SECONDS_MAX);
        if may_be_over && matches!(self.ledger, Ledger::Comet(_)) {
            // Without an answer it stays undecided, as it is.
            let _ = self.ledger.get_proven(key).await;
        }
        Ok(())
    }

    /// Whether the transaction of a pending version can still be waiting for a block. It expires
    /// with the time of blocks; an embedded ledger forgets what waited when its process ends, but not
    /// what another process sends after that.
    fn may_still_commit(&self, pending: &[u8]) -> Result<bool, Refusal> {
        let (since, run) = entry::since_and_run(pending)?;
        let expired = self.ledger.time() > since.saturating_add(UNORDERED_SECONDS_MAX);
        let is_embedded = matches!(self.ledger, Ledger::Embedded(_));
        let forgotten = is_embedded && run != self.run && !self.store.is_shared();
        Ok(!expired && !forgotten)
    }

    /// Feeds the index what the journal has beyond it. The caller holds the sequence.
    pub(super) async fn catch_up(self: &Arc<Self>) -> Result<u64, Refusal> {
        let mut indexed = 0;
        while let Some((through, listed, versions)) = self.asking(Self::beyond_the_index).await? {
            indexed += versions.len() as u64;
            let feed = Arc::clone(&self.feed);
            blocking(move || feed.apply(through, &listed, &versions)).await?;
        }
        Ok(indexed)
    }

    /// The next page of what the journal has beyond the index: its last sequence, and the versions on it.
    fn beyond_the_index(&self) -> Result<Option<Page>, Refusal> {
        let after = self.feed.applied()?.to_be_bytes();
        let page = self.store.scan(Space::Journal, &[], Some(&after), INDEX_VERSIONS_PER_BATCH)?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        let through = sequence_of(last)?;
        let mut versions = Vec::with_capacity(page.len());
        for (_, key) in &page {
            let (record, version) = entry::record_and_version(key)?;
            versions.extend(self.readable(&record, version)?);
        }
        Ok(Some((through, self.listed(&page)?, versions)))
    }

    /// The versions on a page of the journal.
    fn listed(&self, page: &[Pair]) -> Result<Vec<Listed>, Refusal> {
        let mut listed = Vec::with_capacity(page.len());
        for (sequence, key) in page {
            let (record, version) = entry::record_and_version(key)?;
            let Some(committed) = self.store.get(Space::Committed, key)? else { continue };
            let Some(entry) = self.entry(&record, version)? else { continue };
            listed.push(entry.listed(sequence_of(sequence)?, version, entry::version_and_time(&committed)?.1));
        }
        Ok(listed)
    }

    /// The order in which all versions became visible, after the index was emptied.
    async fn list_all(&self) -> Result<(), Refusal> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(Space::Journal, &[], after.as_deref(), SCAN_KEYS_PER_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let (feed, listed) = (Arc::clone(&self.feed), self.listed(&page)?);
            blocking(move || feed.list(&listed)).await?;
        }
    }

    /// A version, or `None` with a line in the log where its body is damaged: one damaged
    /// document must not keep the gateway from starting.
    fn readable(&self, record: &RecordId, version: u32) -> Result<Option<Arc<Stored>>, Refusal> {
        match self.stored(record, version) {
            Ok(stored) => Ok(stored.map(Arc::new)),
            Err(Refusal::Internal(fault) | Refusal::Lost(fault)) => {
                tracing::error!(%record, version, fault, "a record is damaged");
                Ok(None)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// The body of [`super::Records::reindex`].
    pub(super) async fn reindex(&self, mut progress: impl FnMut(Progress) + Send) -> Result<Reindexed, Refusal> {
        let _in_order = self.sequence.lock().await;
        let _others = self.store.exclusive(vec![JOURNAL.to_owned()]).await?;
        let anchored = self.anchored().await?;
        let total = anchored.len() as u64;
        let mut seen = HashSet::new();
        // One that was interrupted goes on; what it has is compared with the ledger once more, and not read.
        let mut rebuilt = match self.feed.rebuilt()? {
            Some(rebuilt) => rebuilt,
            None => {
                // Before, too: a process that ends right after it was emptied leaves what looks like an index that
                // is behind, and whoever fills that says nothing.
                self.stamp_index().await?;
                self.feed.clear()?;
                Rebuilt::default()
            }
        };
        // After it was emptied and before it is filled: whoever looked before, and looks again after, knows.
        self.stamp_index().await?;
        let mut found = Reindexed { damaged: rebuilt.damaged, ..Reindexed::default() };
        let (carried, mut known) = (rebuilt.damaged, 0_u64);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(Space::Current, &[], after.as_deref(), INDEX_VERSIONS_PER_BATCH)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let mut versions = Vec::with_capacity(page.len());
            for (key, value) in &page {
                let record = RecordId::try_from(key.as_slice());
                let record = record.map_err(|_| Refusal::Internal("a record id of the vault has another length"))?;
                let (version, _) = entry::version_and_time(value)?;
                seen.insert(record);
                if !self.is_anchored(&record, version, anchored.get(&record))? {
                    found.unanchored += 1;
                } else if *key <= rebuilt.after {
                    known += 1;
                } else if let Some(stored) = self.readable(&record, version)? {
                    versions.push(stored);
                } else {
                    found.damaged += 1;
                }
            }
            found.indexed += versions.len() as u64;
            if *last > rebuilt.after {
                // Not yet "applied": a crash in here lets the next start apply all changes, and the next
                // rebuild go on.
                rebuilt = Rebuilt { after: last.clone(), damaged: found.damaged };
                let (feed, rebuilt) = (Arc::clone(&self.feed), rebuilt.clone());
                blocking(move || feed.rebuild(&rebuilt, &versions)).await?;
            }
            progress(Progress { done: seen.len() as u64, total });
        }
        self.list_all().await?;
        // The damaged ones are counted apart; all others of before are in the index.
        found.indexed += known.saturating_sub(carried);
        let (feed, through) = (Arc::clone(&self.feed), self.last_sequence()?);
        blocking(move || feed.apply(through, &[], &[])).await?;
        for (record, on_ledger) in anchored.iter().filter(|(record, _)| !seen.contains(record)) {
            // A first version that is about to become visible is not missing.
            found.missing += u64::from(!self.is_to_be_published(record, on_ledger)?);
        }
        Ok(found)
    }
}

async fn settle_now_and_then(core: Weak<Core>) {
    loop {
        tokio::time::sleep(SETTLE_INTERVAL).await;
        let Some(core) = core.upgrade() else { return };
        let unknown = |(record, held): (&RecordId, &Held)| (*held == Held::Unknown).then_some(*record);
        let records: Vec<RecordId> = core.held.lock().iter().filter_map(unknown).collect();
        if let Err(refusal) = core.settle(&records).await {
            tracing::warn!(%refusal, waiting = records.len(), "writes with an unknown outcome still wait");
        }
    }
}
