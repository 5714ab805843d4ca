//! The store on this machine's disk: RocksDB, bodies in blob files, group commit.
//!
//! One thread writes: it takes every batch that waits and writes them as one, without waiting for
//! the disk. Who asked for no more is answered then. Another thread syncs the log, once for all
//! that were written until it begins, and answers those who asked for that: sixteen writers share
//! one fsync instead of queueing for sixteen, and nobody else waits for it.
//!
//! While neither has anything to do, who has a small batch that need not wait for the disk writes it there and then:
//! that takes less than to wake another thread and to be woken by it (ADR 51).
//!
//! When the disk is full, RocksDB stops taking writes until it is opened again. The writer does
//! that by itself on the next batch, so that freeing space is all an operator has to do.

use std::{
    future::ready,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use careledger_app::store::disk::DatabaseMemory;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use rocksdb::{ColumnFamilyDescriptor, DB, DBCompressionType, Direction, ErrorKind, IteratorMode, Options};
use tokio::sync::oneshot;

use super::{Batch, Durability, Pair, Space, Store, StoreError};
use crate::damage;

mod writer;

use writer::{Waiting, Writer};

/// Batches that may wait for the writer; more block their senders.
const WAITING_BATCHES_MAX: usize = 4096;
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

type Done = oneshot::Sender<Result<(), StoreError>>;

/// What both threads work on, and who writes by themselves.
struct Shared {
    /// `None` only while the writer opens it again.
    database: RwLock<Option<DB>>,
    /// A write or a sync failed: it has to be opened again before the next.
    failed: AtomicBool,
    /// Held while anything is written.
    turn: Mutex<()>,
    /// Batches that the threads were given and have not done: none of them is answered with success before it is not
    /// counted any more.
    unanswered: AtomicUsize,
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
        let shared = Arc::new(Shared {
            database,
            failed: AtomicBool::new(false),
            turn: Mutex::default(),
            unanswered: AtomicUsize::new(0),
        });
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
            self.unanswered.fetch_sub(waiting.len(), Ordering::AcqRel);
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
        let batch = match durability {
            Durability::Synced => batch,
            Durability::Ordered => match self.shared.write_at_once(batch) {
                Ok(outcome) => return Box::pin(ready(outcome)),
                Err(batch) => batch,
            },
        };
        let (done, answer) = oneshot::channel();
        let stopped = || StoreError::Fault("the vault's writer has stopped".to_owned());
        self.shared.unanswered.fetch_add(1, Ordering::AcqRel);
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

#[cfg(test)]
mod tests;
