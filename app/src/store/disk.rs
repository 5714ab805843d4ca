//! The store on disk: RocksDB, and the Merkle tree over it in memory.
//!
//! | column family | key | value |
//! |---|---|---|
//! | `meta` | `tip` | what was committed last: height, time, root, oldest height that can be proven, chain |
//! | `meta` | `tip/`, height | what `tip` was after each height that can be proven, so that a block can be undone |
//! | `state` | key | value; the newest state only |
//! | `replaced` | height, key | what this height replaced at the key: a value, or nothing |
//! | `results` | transaction hash | its outcome |
//! | `results-by-height` | height, transaction hash | nothing |
//!
//! A block is one write batch, on disk before [`Store::commit`] returns, unless whoever makes the
//! blocks keeps them ([`DiskStore::after_kept_blocks`]): a crash leaves all of it or nothing, and
//! nothing without the blocks before it. What older heights alone need goes with the batch that
//! leaves the window. A disk that fails stops the process: see [`crate::fault`].
//!
//! The tree is made from `state` when the store is opened, and must have the root that was
//! committed; older versions are made from it by undoing `replaced`.

mod layout;
mod loading;
mod memory;
mod open_error;
mod recent;
mod results;
mod rollback;
mod snapshots;
mod window;
mod writing;

use std::path::Path;

use careledger_wire::{ids::TransactionHash, proto::query::TransactionResult};
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, WriteBatch};

use layout::{FAMILIES, FORMAT, META, REPLACED, STATE, TIP, Tip, database, families, replaced_key, tip_key};

pub use memory::DatabaseMemory;
pub use open_error::OpenError;
use open_error::not_opened;
use recent::Recent;
pub use rollback::{Undo, UndoError};
pub use snapshots::Schedule;
use snapshots::Snapshots;
use window::Window;
use writing::Syncing;

use crate::{
    fault, keys,
    limits::RESULTS_RETAINED_BLOCKS,
    snapshot::{Manifest, Restored},
    state::{Changes, Pairs, StateRead},
    store::{ChainMeta, Proven, Staged, Store},
};

/// Pairs of a snapshot that are written at once.
const INSTALLED_PER_BATCH: usize = 10_000;

/// How long what is no longer newest stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Heights whose state can be proven, the newest among them; at least 2, because the header
    /// that seals a height comes with the next.
    pub heights: u64,
    /// Changes of state that all but the two newest of these heights have together: each costs
    /// memory in every version of the tree. Busy networks retain fewer heights for it. What an
    /// upgrade's block changes is not counted.
    pub changes: usize,
    /// Blocks whose transactions' outcomes can be asked for.
    pub results_blocks: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { heights: 100_000, changes: 200_000, results_blocks: RESULTS_RETAINED_BLOCKS }
    }
}

/// Committed state in a folder of its own.
pub struct DiskStore {
    db: DB,
    retention: Retention,
    syncing: Syncing,
    tip: Tip,
    /// The heights that can be proven.
    window: Window,
    /// What `state` holds at some keys.
    recent: Recent,
    /// Rows of `replaced` below this height are removed. Only saves looking there again.
    pruned_height: u64,
    /// Those for others, if this node takes any.
    snapshots: Option<Snapshots>,
}

impl DiskStore {
    /// Opens the state in `path`, making an empty one where there is none.
    pub fn open(path: &Path, retention: Retention) -> Result<Self, OpenError> {
        Self::open_with(path, retention, None)
    }

    /// As [`Self::open`], of a program that does much else: the database shares `memory` with others, and fewer
    /// values are remembered.
    pub fn open_within(path: &Path, retention: Retention, memory: &DatabaseMemory) -> Result<Self, OpenError> {
        Self::open_with(path, retention, Some(memory))
    }

    fn open_with(path: &Path, retention: Retention, memory: Option<&DatabaseMemory>) -> Result<Self, OpenError> {
        let mut options = database();
        memory.iter().for_each(|memory| memory.bind(&mut options));
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_open_files(512);
        options.set_keep_log_file_num(4);
        options.set_max_total_wal_size(256 * 1024 * 1024);
        let db = DB::open_cf_descriptors(&options, path, families(memory));
        let keys_max = if memory.is_some() { recent::KEYS_SHARED_MAX } else { recent::KEYS_MAX };
        Self::of(db.map_err(|error| not_opened(path, &error))?, retention, Recent::of(keys_max))
    }

    /// The same, for whoever keeps every block durably before its state is committed, and executes again
    /// at the next start those that the state lacks: then a commit need not wait for the disk, and after
    /// a power cut the state may be some blocks behind, never with a gap.
    #[must_use]
    pub fn after_kept_blocks(self) -> Self {
        Self { syncing: Syncing::Beginnings, ..self }
    }

    /// Removes everything; there is no tip then.
    fn clear(&mut self) {
        let mut batch = WriteBatch::default();
        for family in FAMILIES {
            batch.delete_range_cf(self.family(family), &[][..], &[0xff; 128][..]);
        }
        self.write(batch);
        self.window = Window::default();
        self.recent.clear();
        self.pruned_height = 0;
        self.tip.oldest = 0;
    }

    /// Opens the state in `path` to read what is committed now, also while a node runs on it.
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        let db = DB::open_cf_descriptors_read_only(&database(), path, families(None), false);
        let recent = Recent::of(recent::KEYS_MAX);
        Self::of(db.map_err(|error| not_opened(path, &error))?, Retention::default(), recent)
    }

    fn of(db: DB, retention: Retention, recent: Recent) -> Result<Self, OpenError> {
        let retention = Retention { heights: retention.heights.max(2), ..retention };
        let tip = Tip { format: FORMAT, height: 0, time: 0, app_hash: [0; 32], oldest: 0, chain: None };
        let (window, syncing) = (Window::default(), Syncing::EachBlock);
        let mut store = Self { db, retention, syncing, tip, window, recent, pruned_height: 0, snapshots: None };
        let Some(bytes) = store.read(META, TIP) else { return Ok(store) };
        let format = bytes.first_chunk().map(|first| u32::from_le_bytes(*first)).ok_or(OpenError::Damaged)?;
        if format != FORMAT {
            return Err(OpenError::Format(format));
        }
        store.tip = borsh::from_slice(&bytes).map_err(|_| OpenError::Damaged)?;
        if store.tip.chain.is_some() {
            store.window = store.load()?;
        }
        Ok(store)
    }

    /// Takes snapshots into `folder`, and gives those that are there to nodes that join.
    pub fn with_snapshots(mut self, folder: &Path, schedule: Schedule) -> std::io::Result<Self> {
        self.snapshots = Some(Snapshots::open(folder.to_owned(), schedule)?);
        Ok(self)
    }

    /// Rows of each column family, counted by reading them all.
    pub fn rows(&self) -> Vec<(&'static str, usize)> {
        FAMILIES.iter().map(|family| (*family, self.pairs_from(family, &[]).count())).collect()
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("every column family was opened")
    }

    fn read(&self, family: &str, key: &[u8]) -> Option<Vec<u8>> {
        self.db.get_cf(self.family(family), key).unwrap_or_else(|error| fault::stop("reading the state", error))
    }

    /// Pairs from `from` on, in key order, for as long as the caller takes them.
    fn pairs_from<'a>(&'a self, family: &str, from: &'a [u8]) -> impl Iterator<Item = (Box<[u8]>, Box<[u8]>)> + 'a {
        self.db
            .iterator_cf(self.family(family), IteratorMode::From(from, Direction::Forward))
            .map(|pair| pair.unwrap_or_else(|error| fault::stop("reading the state", error)))
    }

    /// The value that a key had after `height`, in whose tree it is.
    fn value_at(&self, key: &[u8], height: u64) -> Option<Vec<u8>> {
        match self.window.replaced_by(key, height) {
            None => self.get_bytes(key),
            Some(later) => decode_replaced(&self.read(REPLACED, &replaced_key(later, key))?),
        }
    }

    /// The chain's first height, as the state says.
    fn initial_height(&self) -> u64 {
        self.get(&keys::chain()).map_or(1, |chain| chain.initial_height.max(1))
    }

    /// The oldest height within the window of heights.
    fn first_kept(&self, height: u64) -> u64 {
        (height + 1).saturating_sub(self.retention.heights)
    }
}

impl StateRead for DiskStore {
    fn get_bytes(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.recent.get(key, || self.read(STATE, key))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Pairs {
        let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
        self.pairs_from(STATE, from)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| &key[..] > after))
            .take(limit)
            .map(|(key, value)| (key.into_vec(), value.into_vec()))
            .collect()
    }
}

impl Store for DiskStore {
    fn height(&self) -> u64 {
        self.tip.height
    }

    fn app_hash(&self) -> [u8; 32] {
        self.tip.app_hash
    }

    fn time(&self) -> i64 {
        self.tip.time
    }

    fn chain(&self) -> Option<ChainMeta> {
        let (chain_id, genesis_time) = self.tip.chain.clone()?;
        Some(ChainMeta { chain_id, genesis_time, initial_height: self.initial_height() })
    }

    fn init(&mut self, chain: ChainMeta, genesis: Changes) -> [u8; 32] {
        assert!(self.is_before_first_block(), "genesis comes before the first block");
        self.clear();
        let height = chain.initial_height - 1;
        self.tip.oldest = height;
        self.tip.chain = Some((chain.chain_id, chain.genesis_time));
        let staged = self.stage(height, chain.genesis_time, genesis, Vec::new());
        self.commit(staged);
        self.tip.app_hash
    }

    fn stage(
        &self,
        height: u64,
        time: i64,
        changes: Changes,
        results: Vec<(TransactionHash, TransactionResult)>,
    ) -> Staged {
        let tree = self.window.newest_tree().with(&changes);
        Staged { height, time, app_hash: tree.root(), changes, tree, results }
    }

    fn commit(&mut self, staged: Staged) {
        let Staged { height, time, app_hash, changes, tree, results } = staged;
        self.window.push(height, tree, &changes);
        self.window.forget(&self.retention);
        let oldest = self.window.oldest();
        let mut batch = WriteBatch::default();
        let pruned_height = self.prune_replaced(&mut batch, oldest);
        self.write_state(&mut batch, height, &changes, oldest);
        self.write_results(&mut batch, height, results);
        let tip = Tip { height, time, app_hash, oldest, ..self.tip.clone() };
        self.write_tip(&mut batch, &tip);
        for left in self.tip.oldest..oldest {
            batch.delete_cf(self.family(META), tip_key(left));
        }
        self.write_block(batch);
        self.recent.update(&changes);
        self.tip = tip;
        self.pruned_height = pruned_height;
        // A genesis is nobody's to join from: no header seals it, and CometBFT drops a peer that offers height 0.
        if let Some(snapshots) = self.snapshots.as_ref().filter(|_| !self.is_before_first_block()) {
            snapshots.take(&self.db, height, time);
        }
    }

    fn install(&mut self, restored: Restored) {
        assert!(self.is_before_first_block(), "a node joins before its first block");
        self.clear();
        let Restored { chain, height, time, pairs, tree } = restored;
        for pairs in pairs.chunks(INSTALLED_PER_BATCH) {
            let mut batch = WriteBatch::default();
            for (key, value) in pairs {
                batch.put_cf(self.family(STATE), key, value);
            }
            self.write(batch);
        }
        let chain = Some((chain.chain_id, chain.genesis_time));
        let tip = Tip { format: FORMAT, height, time, app_hash: tree.root(), oldest: height, chain };
        // Last: without it there is no state.
        let mut batch = WriteBatch::default();
        self.write_tip(&mut batch, &tip);
        self.write(batch);
        self.tip = tip;
        self.window.push(height, tree, &Changes::new());
        self.pruned_height = height + 1;
    }

    fn snapshots(&self) -> Vec<Manifest> {
        self.snapshots.as_ref().map(Snapshots::list).unwrap_or_default()
    }

    fn snapshot_chunk(&self, height: u64, index: u32) -> Option<Vec<u8>> {
        self.snapshots.as_ref()?.chunk(height, index)
    }

    fn result(&self, hash: &TransactionHash) -> Option<TransactionResult> {
        self.read_result(hash.as_bytes())
    }

    fn oldest_height(&self) -> u64 {
        self.window.oldest()
    }

    fn prove(&self, key: &[u8], height: u64) -> Option<Proven> {
        let value =
            |key: &[u8]| self.value_at(key, height).unwrap_or_else(|| fault::stop("proving a value", "it is gone"));
        self.window.tree(height)?.prove(key, value)
    }
}

fn decode_replaced(row: &[u8]) -> Option<Vec<u8>> {
    borsh::from_slice(row).unwrap_or_else(|error| fault::stop("reading what was replaced", error))
}
