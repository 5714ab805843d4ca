//! The store on this machine's disk: RocksDB, bodies in blob files, group commit.
//!
//! One thread writes: it takes every batch that waits and writes them as one, without waiting for
//! the disk. Who asked for no more is answered then. Another thread syncs the log, once for all
//! that were written until it begins, and answers those who asked for that: sixteen writers share
//! one fsync instead of queueing for sixteen, and nobody else waits for it.
//!
//! When the disk is full, RocksDB stops taking writes until it is opened again. The writer does
//! that by itself on the next batch, so that freeing space is all an operator has to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use careledger_app::store::disk::DatabaseMemory;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use rocksdb::{ColumnFamilyDescriptor, DB, DBCompressionType, Direction, ErrorKind, IteratorMode, Options, WriteBatch};
use tokio::sync::oneshot;

use super::{Batch, Durability, Pair, Space, Store, StoreError};
use crate::damage;

/// Batches that may wait for the writer; more block their senders.
const WAITING_BATCHES_MAX: usize = 4096;
/// Batches that one write may hold.
const GROUP_BATCHES_MAX: usize = 512;
/// Bytes after which a group takes no further batch. Bounds memory and the time of one write.
const GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bodies from this size on go to blob files, where compaction does not copy them again.
const BLOB_BYTES_MIN: u64 = 1024;
/// Size of one blob file.
const BLOB_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// What a store keeps in memory, where nobody says otherwise.
const MEMORY_BYTES: usize = 32 * 1024 * 1024;
/// Write-ahead log before the oldest is written out.
const WAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Files that RocksDB keeps open.
const OPEN_FILES_MAX: i32 = 512;
/// Bytes that must fit on the disk before a failed store is opened again.
const PROBE_BYTES: usize = 1024 * 1024;

type Done = oneshot::Sender<Result<(), StoreError>>;

struct Waiting {
    batch: Batch,
    durability: Durability,
    done: Done,
}

/// What both threads work on.
struct Shared {
    /// `None` only while the writer opens it again.
    database: RwLock<Option<DB>>,
    /// A write or a sync failed: it has to be opened again before the next.
    failed: AtomicBool,
}

/// The store in one folder. One process at a time.
pub struct LocalStore {
    shared: Arc<Shared>,
    sender: Option<mpsc::SyncSender<Waiting>>,
    writer: Option<thread::JoinHandle<()>>,
}

impl LocalStore {
    /// Opens the store, or makes an empty one.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_within(folder, &DatabaseMemory::of(MEMORY_BYTES))
    }

    /// As [`Self::open`], with this memory for what it read and for what is not written out yet.
    pub fn open_within(folder: &Path, memory: &DatabaseMemory) -> Result<Self, StoreError> {
        let database = RwLock::new(Some(open(folder, memory)?));
        let shared = Arc::new(Shared { database, failed: AtomicBool::new(false) });
        let (sender, receiver) = mpsc::sync_channel(WAITING_BATCHES_MAX);
        let (written, to_sync) = mpsc::channel();
        let syncer = started("vault-syncer", {
            let shared = Arc::clone(&shared);
            move || shared.sync(&to_sync)
        })?;
        let (folder, memory) = (folder.to_owned(), memory.clone());
        let writer = Writer { folder, memory, shared: Arc::clone(&shared), written };
        let writer = started("vault-writer", move || {
            writer.run(&receiver);
            // It ends after the last that was written; a panic there was already reported by its thread.
            let _ = syncer.join();
        })?;
        Ok(Self { shared, sender: Some(sender), writer: Some(writer) })
    }

    fn with<T>(&self, read: impl FnOnce(&DB) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.shared.with(read)
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&DB) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.database.read().as_ref() {
            Some(database) => work(database),
            None => Err(StoreError::Full),
        }
    }

    /// Answers those whose batches are written, once they are on the disk.
    fn sync(&self, written: &mpsc::Receiver<Vec<Done>>) {
        while let Ok(mut waiting) = written.recv() {
            waiting.extend(written.try_iter().flatten());
            let outcome = self.with(|database| database.flush_wal(true).map_err(failure));
            if outcome.is_err() {
                self.failed.store(true, Ordering::Release);
            }
            for done in waiting {
                // Whoever stopped waiting does not need the answer; the write stands.
                let _ = done.send(outcome.clone());
            }
        }
    }
}

fn started(name: &str, work: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, StoreError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|error| StoreError::Fault(error.to_string()))
}

impl Store for LocalStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|database| database.get_cf(family(database, space), key).map_err(unread))
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let start = after.map_or(prefix, |after| after.max(prefix));
        self.with(|database| {
            let mut pairs = Vec::new();
            for pair in database.iterator_cf(family(database, space), IteratorMode::From(start, Direction::Forward)) {
                let (key, value) = pair.map_err(failure)?;
                if !key.starts_with(prefix) || pairs.len() == limit {
                    break;
                }
                if after != Some(key.as_ref()) {
                    pairs.push((key.into_vec(), value.into_vec()));
                }
            }
            Ok(pairs)
        })
    }

    fn last(&self, space: Space) -> Result<Option<Pair>, StoreError> {
        self.with(|database| {
            let last = database.iterator_cf(family(database, space), IteratorMode::End).next();
            let last = last.transpose().map_err(failure)?;
            Ok(last.map(|(key, value)| (key.into_vec(), value.into_vec())))
        })
    }

    fn commit(&self, batch: Batch, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        let (done, answer) = oneshot::channel();
        let stopped = || StoreError::Fault("the vault's writer has stopped".to_owned());
        let sent = match &self.sender {
            Some(sender) => sender.send(Waiting { batch, durability, done }).map_err(|_| stopped()),
            None => Err(stopped()),
        };
        Box::pin(async move {
            sent?;
            answer.await.map_err(|_| stopped())?
        })
    }
}

impl Drop for LocalStore {
    /// Waits until what was accepted is written, so that the folder can be opened again at once.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has already reported it; there is nothing more to wait for.
            let _ = writer.join();
        }
    }
}

struct Writer {
    folder: PathBuf,
    memory: DatabaseMemory,
    shared: Arc<Shared>,
    /// Who waits for the disk.
    written: mpsc::Sender<Vec<Done>>,
}

impl Writer {
    fn run(self, receiver: &mpsc::Receiver<Waiting>) {
        while let Ok(first) = receiver.recv() {
            let mut bytes = first.batch.bytes();
            let mut group = vec![first];
            while group.len() < GROUP_BATCHES_MAX && bytes < GROUP_BYTES_MAX {
                let Ok(next) = receiver.try_recv() else { break };
                bytes += next.batch.bytes();
                group.push(next);
            }
            // First, because what a failed write left behind is seen again only when it is opened again.
            let ready = if self.shared.failed.load(Ordering::Acquire) { self.reopen() } else { Ok(()) };
            if ready.is_ok() {
                self.turn_away(&mut group);
            }
            if group.is_empty() {
                continue;
            }
            let outcome = ready.and_then(|()| self.write(&group));
            let mut to_sync = Vec::new();
            for Waiting { durability, done, .. } in group {
                if outcome.is_ok() && durability == Durability::Synced {
                    to_sync.push(done);
                } else {
                    // Whoever stopped waiting does not need the answer; the write stands.
                    let _ = done.send(outcome.clone());
                }
            }
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
            let keys: Vec<(Space, Vec<u8>)> = waiting.batch.fresh().map(|(space, key)| (space, key.to_vec())).collect();
            let is_there = |(space, key): &(Space, Vec<u8>)| database.get_pinned_cf(family(database, *space), key);
            let found = keys.iter().map(|place| Ok(new.contains(place) || is_there(place)?.is_some()));
            let refused = match found.collect::<Result<Vec<bool>, rocksdb::Error>>() {
                Ok(found) if found.contains(&true) => StoreError::Taken,
                Ok(_) => {
                    new.extend(keys);
                    kept.push(waiting);
                    continue;
                }
                Err(error) => failure(error),
            };
            // Whoever stopped waiting does not need the answer.
            let _ = waiting.done.send(Err(refused));
        }
        *group = kept;
    }

    /// Writes a group to the log, which the system then has.
    fn write(&self, group: &[Waiting]) -> Result<(), StoreError> {
        let outcome = self.shared.with(|database| {
            let merged = merged(database, group)?;
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

/// What a group changes. What is removed only if it is as it was seen is looked up, after what the group changed
/// before that.
fn merged(database: &DB, group: &[Waiting]) -> Result<WriteBatch, StoreError> {
    let is_looked_up = group.iter().any(|waiting| waiting.batch.has_seen());
    let mut earlier: BTreeMap<(Space, &[u8]), Option<&[u8]>> = BTreeMap::new();
    let mut merged = WriteBatch::default();
    for batch in group.iter().map(|waiting| &waiting.batch) {
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

fn open(folder: &Path, memory: &DatabaseMemory) -> Result<DB, StoreError> {
    let opened = DB::open_cf_descriptors(&options(memory), folder, families(memory));
    opened.map_err(|error| unopened(folder, error))
}

fn open_read_only(folder: &Path, memory: &DatabaseMemory) -> Result<DB, StoreError> {
    let opened = DB::open_cf_descriptors_read_only(&options(memory), folder, families(memory), false);
    opened.map_err(|error| unopened(folder, error))
}

fn families(memory: &DatabaseMemory) -> impl Iterator<Item = ColumnFamilyDescriptor> {
    Space::ALL.into_iter().map(|space| ColumnFamilyDescriptor::new(space.name(), family_options(space, memory)))
}

fn options(memory: &DatabaseMemory) -> Options {
    let mut options = damage::options();
    memory.bind(&mut options);
    options.create_missing_column_families(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    // The info log names files and sizes only; one old file of it is enough.
    options.set_keep_log_file_num(1);
    options
}

fn family_options(space: Space, memory: &DatabaseMemory) -> Options {
    let mut options = Options::default();
    let tables = memory.tables(&mut options);
    options.set_block_based_table_factory(&tables);
    // Everything in here is ciphertext, which does not compress.
    options.set_compression_type(DBCompressionType::None);
    if space == Space::Body {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(BLOB_BYTES_MIN);
        options.set_blob_file_size(BLOB_FILE_BYTES);
        options.set_blob_compression_type(DBCompressionType::None);
        options.set_enable_blob_gc(true);
    }
    options
}

fn family(database: &DB, space: Space) -> &rocksdb::ColumnFamily {
    database.cf_handle(space.name()).expect("every space was opened with the database")
}

fn unopened(folder: &Path, error: rocksdb::Error) -> StoreError {
    failure_of(damage::unopened(folder, &error))
}

/// What lies in a damaged part of the disk is lost, also while all else can be read.
fn unread(error: rocksdb::Error) -> StoreError {
    if error.kind() == ErrorKind::Corruption { StoreError::Lost(error.into_string()) } else { failure(error) }
}

fn failure(error: rocksdb::Error) -> StoreError {
    failure_of(error.into_string())
}

fn failure_of(message: String) -> StoreError {
    let full = ["No space left on device", "File too large", "Disk quota exceeded"];
    if full.iter().any(|sign| message.contains(sign)) { StoreError::Full } else { StoreError::Fault(message) }
}
