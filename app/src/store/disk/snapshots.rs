//! Snapshots in a folder beside the state: `<height>/manifest`, `<height>/<chunk>`.
//!
//! A snapshot is written by a thread of its own, from a checkpoint of the database (hard links), so
//! that no block waits for it. What was not finished has another name and is removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use parking_lot::Mutex;
use rocksdb::{DB, IteratorMode, checkpoint::Checkpoint};
use sha2::{Digest as _, Sha256};

use super::layout::{STATE, database, families};
use crate::snapshot::{self, Manifest};

/// The manifest's file.
const MANIFEST: &str = "manifest";
/// Folder of the checkpoint that a snapshot is written from.
const CHECKPOINT: &str = "checkpoint";
/// Folder of a snapshot that is being written.
const PARTIAL: &str = "partial";

/// When snapshots are taken and how many stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Every so many heights; 0 for never.
    pub interval: u64,
    /// Newest ones that stay; at least 1.
    pub keep: usize,
}

/// A folder of snapshots.
pub(super) struct Snapshots {
    folder: PathBuf,
    schedule: Schedule,
    writing: Mutex<Option<JoinHandle<()>>>,
}

impl Snapshots {
    /// Opens the folder and removes what was not finished.
    pub(super) fn open(folder: PathBuf, schedule: Schedule) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        remove(&folder.join(CHECKPOINT))?;
        remove(&folder.join(PARTIAL))?;
        // Earlier versions took one of a genesis.
        remove(&folder.join("0"))?;
        Ok(Self { folder, schedule, writing: Mutex::default() })
    }

    /// Manifests of what is there, the newest first.
    pub(super) fn list(&self) -> Vec<Manifest> {
        let manifest = |height: u64| fs::read(self.folder.join(height.to_string()).join(MANIFEST)).ok();
        let read = heights(&self.folder).into_iter().rev().filter_map(manifest);
        read.filter_map(|bytes| Manifest::decode(&bytes)).collect()
    }

    /// Heights of finished snapshots from `height` on.
    pub(super) fn from(&self, height: u64) -> Vec<u64> {
        heights(&self.folder).into_iter().filter(|taken| *taken >= height).collect()
    }

    /// Removes those: they are of blocks that are undone.
    pub(super) fn remove_from(&self, height: u64) -> io::Result<()> {
        self.from(height).iter().try_for_each(|taken| remove(&self.folder.join(taken.to_string())))
    }

    /// One chunk, if it is there and as it was written.
    pub(super) fn chunk(&self, height: u64, index: u32) -> Option<Vec<u8>> {
        let folder = self.folder.join(height.to_string());
        let manifest = Manifest::decode(&fs::read(folder.join(MANIFEST)).ok()?)?;
        let bytes = fs::read(folder.join(index.to_string())).ok()?;
        let is_whole = manifest.chunks.get(index as usize) == Some(&Sha256::digest(&bytes).into());
        if !is_whole {
            tracing::error!(height, index, "a chunk of a snapshot is damaged on this disk and is not served");
        }
        is_whole.then_some(bytes)
    }

    /// Begins a snapshot of what `db` holds, where one is due and none is being written.
    pub(super) fn take(&self, db: &DB, height: u64, time: i64) {
        let is_due = self.schedule.interval != 0 && height.is_multiple_of(self.schedule.interval);
        let mut writing = self.writing.lock();
        if !is_due || writing.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let checkpoint = self.folder.join(CHECKPOINT);
        let made = remove(&checkpoint).map_err(|error| error.to_string()).and_then(|()| {
            let made = Checkpoint::new(db).and_then(|database| database.create_checkpoint(&checkpoint));
            made.map_err(|error| error.to_string())
        });
        if let Err(error) = made {
            // The node goes on: it has all that it needs.
            tracing::warn!(height, error, "no snapshot was taken");
            return;
        }
        let (folder, keep) = (self.folder.clone(), self.schedule.keep.max(1));
        let thread = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
            match write(&folder, height, time) {
                Ok(chunks) => tracing::info!(height, chunks, "a snapshot was taken"),
                Err(error) => tracing::warn!(height, error, "no snapshot was taken"),
            }
            forget(&folder, keep);
        });
        *writing = thread.map_err(|error| tracing::warn!(height, %error, "no snapshot was taken")).ok();
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        if let Some(thread) = self.writing.get_mut().take() {
            // A panic there was already reported by its thread.
            let _ = thread.join();
        }
    }
}

/// Writes the snapshot of the checkpoint; gives the number of its chunks.
fn write(folder: &Path, height: u64, time: i64) -> Result<usize, String> {
    let (checkpoint, partial) = (folder.join(CHECKPOINT), folder.join(PARTIAL));
    let text = |error: io::Error| error.to_string();
    remove(&partial).and_then(|()| fs::create_dir(&partial)).map_err(text)?;
    let db = DB::open_cf_descriptors_read_only(&database(), &checkpoint, families(None), false);
    let db = db.map_err(|error| error.to_string())?;
    let state = db.cf_handle(STATE).ok_or("the checkpoint has no state")?;
    let mut failed = None;
    let pairs = db.iterator_cf(state, IteratorMode::Start).map_while(|pair| match pair {
        Ok((key, value)) => Some((key.into_vec(), value.into_vec())),
        Err(error) => {
            failed = Some(error.to_string());
            None
        }
    });
    let chunks = snapshot::chunk(pairs, |index, bytes| write_durably(&partial.join(index.to_string()), &bytes));
    let chunks = chunks.map_err(text)?;
    if let Some(error) = failed {
        return Err(error);
    }
    let count = chunks.len();
    if count > snapshot::CHUNKS_MAX {
        return Err(format!("the state has {count} chunks, more than a snapshot can have"));
    }
    let manifest = Manifest { height, time, chunks };
    write_durably(&partial.join(MANIFEST), &manifest.encode()).map_err(text)?;
    drop(db);
    remove(&checkpoint).map_err(text)?;
    let finished = folder.join(height.to_string());
    remove(&finished).and_then(|()| fs::rename(&partial, &finished)).map_err(text)?;
    Ok(count)
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()
}

/// Removes all but the newest `keep`.
fn forget(folder: &Path, keep: usize) {
    let heights = heights(folder);
    for height in heights.iter().rev().skip(keep) {
        if let Err(error) = remove(&folder.join(height.to_string())) {
            tracing::warn!(height, %error, "an old snapshot cannot be removed");
        }
    }
}

/// Heights of the finished snapshots, ascending.
fn heights(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut heights: Vec<u64> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    heights.sort_unstable();
    heights
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
