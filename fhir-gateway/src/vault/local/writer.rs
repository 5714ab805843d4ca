//! Who writes: the thread that takes what waits, and in quiet times whoever has something to write.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    sync::{Arc, atomic::Ordering, mpsc},
};

use careledger_app::store::disk::DatabaseMemory;
use rocksdb::{DB, ErrorKind, WriteBatch, WriteOptions};

use super::{Done, Shared, failure, family, open, open_read_only};
use crate::vault::{Batch, Durability, Space, StoreError};

/// Batches that one write may hold.
const GROUP_BATCHES_MAX: usize = 512;
/// Bytes after which a group takes no further batch. Bounds memory and the time of one write.
const GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes up to which a batch may be written by who has it: more than a line of the access log.
const AT_ONCE_BYTES_MAX: usize = 64 * 1024;
/// Changes up to which it may: each that must be new is looked up.
const AT_ONCE_CHANGES_MAX: usize = 16;
/// Bytes that must fit on the disk before a failed store is opened again.
const PROBE_BYTES: usize = 1024 * 1024;

/// A place that a batch wants to be the first to fill.
type Place = (Space, Vec<u8>);

/// A batch that was given to the writer.
pub(super) struct Waiting {
    pub batch: Batch,
    pub durability: Durability,
    pub done: Done,
}

impl Shared {
    /// Writes a small batch without the threads where these have nothing to do: then nothing overtakes anything, and no
    /// sync is under way that a write could wait for. Gives it back otherwise, and where RocksDB would make it wait
    /// for what it has to tidy up, which is for a thread that nobody else needs.
    pub(super) fn write_at_once(&self, batch: Batch) -> Result<Result<(), StoreError>, Batch> {
        let is_small = batch.bytes() <= AT_ONCE_BYTES_MAX && batch.changes().len() <= AT_ONCE_CHANGES_MAX;
        // Looked at first, so that the lock is not taken from the writer while it has work.
        let is_busy = || self.unanswered.load(Ordering::Acquire) > 0;
        if !is_small || batch.has_seen() || is_busy() {
            return Err(batch);
        }
        let Some(_turn) = self.turn.try_lock() else { return Err(batch) };
        // In this order: a sync that fails says so before it is done.
        if is_busy() || self.failed.load(Ordering::Acquire) {
            return Err(batch);
        }
        match self.with(|database| is_taken(database, &batch, &BTreeSet::new())) {
            Ok(false) => {}
            Ok(true) => return Ok(Err(StoreError::Taken)),
            Err(error) => return Ok(Err(error)),
        }
        let mut options = WriteOptions::default();
        options.set_no_slowdown(true);
        let written = self.with(|database| {
            let merged = merged(database, [&batch].into_iter())?;
            match database.write_opt(merged, &options) {
                Err(error) if error.kind() == ErrorKind::Incomplete => Ok(false),
                outcome => outcome.map(|()| true).map_err(failure),
            }
        });
        match written {
            Ok(true) => Ok(Ok(())),
            Ok(false) => Err(batch),
            Err(error) => {
                self.failed.store(true, Ordering::Release);
                Ok(Err(error))
            }
        }
    }
}

/// The thread that writes.
pub(super) struct Writer {
    pub folder: PathBuf,
    pub memory: DatabaseMemory,
    pub shared: Arc<Shared>,
    /// Who waits for the disk.
    pub written: mpsc::Sender<Vec<Done>>,
}

impl Writer {
    pub fn run(self, receiver: &mpsc::Receiver<Waiting>) {
        while let Ok(first) = receiver.recv() {
            let mut bytes = first.batch.bytes();
            let mut group = vec![first];
            while group.len() < GROUP_BATCHES_MAX && bytes < GROUP_BYTES_MAX {
                let Ok(next) = receiver.try_recv() else { break };
                bytes += next.batch.bytes();
                group.push(next);
            }
            let taken = group.len();
            let turn = self.shared.turn.lock();
            // First, because what a failed write left behind is seen again only when it is opened again.
            let ready = if self.shared.failed.load(Ordering::Acquire) { self.reopen() } else { Ok(()) };
            if ready.is_ok() {
                self.turn_away(&mut group);
            }
            let outcome = if group.is_empty() { ready } else { ready.and_then(|()| self.write(&group)) };
            let waits = |waiting: &Waiting| outcome.is_ok() && waiting.durability == Durability::Synced;
            let (to_sync, answered): (Vec<Waiting>, Vec<Waiting>) = group.into_iter().partition(waits);
            self.shared.unanswered.fetch_sub(taken - to_sync.len(), Ordering::AcqRel);
            drop(turn);
            for Waiting { done, .. } in answered {
                // Whoever stopped waiting does not need the answer; the write stands.
                let _ = done.send(outcome.clone());
            }
            let to_sync: Vec<Done> = to_sync.into_iter().map(|waiting| waiting.done).collect();
            if !to_sync.is_empty() && self.written.send(to_sync).is_err() {
                // Those who wait hear that nobody will answer.
                tracing::error!("the vault's syncing thread has stopped");
            }
        }
    }

    /// Answers those whose new pairs are there already, also by another of the group.
    fn turn_away(&self, group: &mut Vec<Waiting>) {
        let guard = self.shared.database.read();
        let Some(database) = guard.as_ref() else { return };
        let mut new = BTreeSet::new();
        let mut kept = Vec::with_capacity(group.len());
        for waiting in group.drain(..) {
            let refused = match is_taken(database, &waiting.batch, &new) {
                Ok(true) => StoreError::Taken,
                Ok(false) => {
                    new.extend(places(&waiting.batch));
                    kept.push(waiting);
                    continue;
                }
                Err(error) => error,
            };
            // Whoever stopped waiting does not need the answer.
            let _ = waiting.done.send(Err(refused));
        }
        *group = kept;
    }

    /// Writes a group to the log, which the system then has.
    fn write(&self, group: &[Waiting]) -> Result<(), StoreError> {
        let outcome = self.shared.with(|database| {
            let merged = merged(database, group.iter().map(|waiting| &waiting.batch))?;
            database.write(merged).map_err(failure)
        });
        if outcome.is_err() {
            self.shared.failed.store(true, Ordering::Release);
        }
        outcome
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.probe()?;
        let mut guard = self.shared.database.write();
        // Closed before it is opened again: RocksDB locks its folder.
        *guard = None;
        match open(&self.folder, &self.memory) {
            Ok(database) => {
                *guard = Some(database);
                self.shared.failed.store(false, Ordering::Release);
                tracing::info!("the vault was opened again after a failed write");
                Ok(())
            }
            Err(error) => {
                *guard = open_read_only(&self.folder, &self.memory).ok();
                Err(error)
            }
        }
    }

    /// Whether there is space again. Reads go on meanwhile, which they would not while closed.
    fn probe(&self) -> Result<(), StoreError> {
        let path = self.folder.join("space-probe");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&vec![0; PROBE_BYTES])?;
            file.sync_all()
        });
        let removed = fs::remove_file(&path);
        written.and(removed).map_err(|_| StoreError::Full)
    }
}

fn places(batch: &Batch) -> impl Iterator<Item = Place> {
    batch.fresh().map(|(space, key)| (space, key.to_vec()))
}

/// Whether anything that a batch wants to be new is there already, or among `new`.
fn is_taken(database: &DB, batch: &Batch, new: &BTreeSet<Place>) -> Result<bool, StoreError> {
    for place in places(batch) {
        let (space, key) = &place;
        let is_there = || database.get_pinned_cf(family(database, *space), key).map_err(failure);
        if new.contains(&place) || is_there()?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What batches change, one after the other. What is removed only if it is as it was seen is looked up, after what
/// was changed before that.
fn merged<'a>(database: &DB, batches: impl Iterator<Item = &'a Batch> + Clone) -> Result<WriteBatch, StoreError> {
    let is_looked_up = batches.clone().any(Batch::has_seen);
    let mut earlier: BTreeMap<(Space, &[u8]), Option<&[u8]>> = BTreeMap::new();
    let mut merged = WriteBatch::default();
    for batch in batches {
        for (place, (space, key, value)) in batch.changes().iter().enumerate() {
            let family = family(database, *space);
            if let Some(seen) = batch.seen(place) {
                let is_as_seen = match earlier.get(&(*space, key.as_slice())) {
                    Some(value) => *value == Some(seen),
                    None => database.get_pinned_cf(family, key).map_err(failure)?.is_some_and(|value| *value == *seen),
                };
                if !is_as_seen {
                    continue;
                }
            }
            if is_looked_up {
                earlier.insert((*space, key), value.as_deref());
            }
            match value {
                Some(value) => merged.put_cf(family, key, value),
                None => merged.delete_cf(family, key),
            }
        }
    }
    Ok(merged)
}
