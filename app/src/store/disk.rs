//! The store on disk: RocksDB.
//!
//! | column family | key | value |
//! |---|---|---|
//! | `meta` | `tip` | what was committed last: height, time, root, tree version, chain |
//! | `state` | key | value; the newest state only |
//! | `nodes` | version, nibbles | node of the Merkle tree |
//! | `values` | key hash, version | key and value from that version on |
//! | `heights` | height | tree version after it |
//! | `stale` | version, kind, key | a node or value that this version made needless |
//! | `results` | transaction hash | its outcome |
//! | `results-by-height` | height, transaction hash | nothing |
//!
//! A block is one write batch, on disk before [`Store::commit`] returns: a crash leaves all of it
//! or nothing. What older heights alone need goes with the batch that leaves the window. A disk
//! that fails stops the process: see [`crate::fault`].

mod layout;

use std::path::Path;

use careledger_wire::{ids::TransactionHash, proto::query::TransactionResult};
use prost::Message as _;
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions};

use layout::{
    FAMILIES, FORMAT, HEIGHTS, META, NODES, RESULTS, RESULTS_BY_HEIGHT, STALE, STALE_NODE, STALE_VALUE, STATE, TIP,
    Tip, VALUES, ValueRow, families, stale_key, value_key, version_of,
};

use super::tree::{self, Change, Nodes, Update};
use crate::{
    fault,
    limits::RESULTS_RETAINED_BLOCKS,
    state::{Changes, Pairs, StateRead},
    store::{ChainMeta, Proven, Staged, Store},
};

/// Needless nodes and values that one block removes at most, so that a shorter window does not
/// make one block slow.
const PRUNED_PER_BLOCK_MAX: usize = 50_000;
/// Heights that one block removes at most: one leaves the window with each block, more only after
/// the window was made shorter.
const HEIGHTS_PRUNED_PER_BLOCK_MAX: u64 = 1_000;

/// How long what is no longer newest stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Heights whose state can be proven, the newest among them; at least 2, because the header
    /// that seals a height comes with the next.
    pub heights: u64,
    /// Blocks whose transactions' outcomes can be asked for.
    pub results_blocks: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { heights: 1_000, results_blocks: RESULTS_RETAINED_BLOCKS }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// RocksDB's own words: another process has it open, the disk is full, files are damaged.
    #[error("the state in {path} cannot be opened: {reason}")]
    Database {
        /// Folder of the database.
        path: String,
        /// What RocksDB said.
        reason: String,
    },
    /// Another version of this program wrote it.
    #[error("the state was written in format {0}, this program reads format {FORMAT}")]
    Format(u32),
    /// The state's own description cannot be read.
    #[error("the description of the state is damaged")]
    Damaged,
}

/// Committed state in a folder of its own.
pub struct DiskStore {
    db: DB,
    retention: Retention,
    tip: Tip,
    /// Versions up to this one have nothing needless left. Only saves looking there again.
    pruned_version: u64,
    /// Heights below this one are removed. Never a range: a range tombstone for each block costs
    /// RocksDB memory and time with the square of their number.
    pruned_height: u64,
}

impl DiskStore {
    /// Opens the state in `path`, making an empty one where there is none.
    pub fn open(path: &Path, retention: Retention) -> Result<Self, OpenError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_open_files(512);
        options.set_keep_log_file_num(4);
        options.set_max_total_wal_size(256 * 1024 * 1024);
        let db = DB::open_cf_descriptors(&options, path, families());
        Self::of(db.map_err(|error| database(path, &error))?, retention)
    }

    /// Opens the state in `path` to read what is committed now, also while a node runs on it.
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        let db = DB::open_cf_descriptors_read_only(&Options::default(), path, families(), false);
        Self::of(db.map_err(|error| database(path, &error))?, Retention::default())
    }

    fn of(db: DB, retention: Retention) -> Result<Self, OpenError> {
        let retention = Retention { heights: retention.heights.max(2), ..retention };
        let empty = Tip { format: FORMAT, height: 0, time: 0, app_hash: [0; 32], version: None, chain: None };
        let mut store = Self { db, retention, tip: empty, pruned_version: 0, pruned_height: 0 };
        let oldest = store.pairs_from(HEIGHTS, &[]).next().and_then(|(key, _)| version_of(&key));
        store.pruned_height = oldest.unwrap_or_default();
        if let Some(bytes) = store.read(META, TIP) {
            store.tip = borsh::from_slice(&bytes).map_err(|_| OpenError::Damaged)?;
        }
        match store.tip.format {
            FORMAT => Ok(store),
            other => Err(OpenError::Format(other)),
        }
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

    /// The newest row of a key that is at most `version`, and its version.
    fn value_row(&self, key_hash: &[u8; 32], version: u64) -> Option<(u64, ValueRow)> {
        let last = value_key(key_hash, version);
        let mode = IteratorMode::From(&last, Direction::Reverse);
        let newest = self.db.iterator_cf(self.family(VALUES), mode).next();
        let (key, bytes) = newest?.unwrap_or_else(|error| fault::stop("reading the state", error));
        let found = u64::from_be_bytes(key.strip_prefix(key_hash)?.try_into().ok()?);
        let row = borsh::from_slice(&bytes).unwrap_or_else(|error| fault::stop("reading a value", error));
        Some((found, row))
    }

    fn write(&self, batch: WriteBatch) {
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        self.db.write_opt(batch, &durable).unwrap_or_else(|error| fault::stop("writing a block", error));
    }

    fn write_tip(&self, batch: &mut WriteBatch, tip: &Tip) {
        batch.put_cf(self.family(META), TIP, borsh::to_vec(tip).expect("a vector grows as needed"));
    }

    /// Adds the new state and its tree to the batch, and remembers what `version` made needless.
    fn write_state(&self, batch: &mut WriteBatch, version: u64, update: Update) {
        let (nodes, values) = (self.family(NODES), self.family(VALUES));
        let (state, stale) = (self.family(STATE), self.family(STALE));
        for (key, node) in update.nodes {
            batch.put_cf(nodes, key, node);
        }
        for node in update.stale {
            batch.put_cf(stale, stale_key(version, STALE_NODE, &node), []);
        }
        for Change { key_hash, key, value } in update.values {
            let row = value_key(&key_hash, version);
            if self.get_bytes(&key).is_some()
                && let Some((replaced, _)) = self.value_row(&key_hash, version)
            {
                batch.put_cf(stale, stale_key(version, STALE_VALUE, &value_key(&key_hash, replaced)), []);
            }
            match &value {
                Some(value) => batch.put_cf(state, &key, value),
                None => {
                    batch.delete_cf(state, &key);
                    // Once nothing older is left, this row says no more than its absence.
                    batch.put_cf(stale, stale_key(version, STALE_VALUE, &row), []);
                }
            }
            batch.put_cf(values, row, borsh::to_vec(&ValueRow { key, value }).expect("a vector grows as needed"));
        }
    }

    /// The oldest height that can be proven.
    fn first_kept(&self, height: u64) -> u64 {
        (height + 1).saturating_sub(self.retention.heights)
    }

    /// Removes what only heights outside the window need. Goes before the new writes of the same
    /// batch, which win over it. Returns the height and the version that are now the oldest.
    fn prune_state(&self, batch: &mut WriteBatch, height: u64) -> (u64, u64) {
        let step = self.pruned_height.saturating_add(HEIGHTS_PRUNED_PER_BLOCK_MAX);
        let pruned_height = self.first_kept(height).min(step).max(self.pruned_height);
        for gone in self.pruned_height..pruned_height {
            batch.delete_cf(self.family(HEIGHTS), gone.to_be_bytes());
        }
        // What a height that is still there needs stays, also where the window was made longer.
        let oldest = self.read(HEIGHTS, &pruned_height.to_be_bytes()).and_then(|bytes| version_of(&bytes));
        let Some(oldest) = oldest else { return (pruned_height, self.pruned_version) };
        let from = self.pruned_version.to_be_bytes();
        let mut pruned_version = oldest;
        for (count, (key, _)) in self.pairs_from(STALE, &from).enumerate() {
            let Some(version) = version_of(&key).filter(|version| *version <= oldest) else { break };
            if count == PRUNED_PER_BLOCK_MAX {
                pruned_version = version;
                break;
            }
            let family = if key[8] == STALE_NODE { NODES } else { VALUES };
            batch.delete_cf(self.family(family), &key[9..]);
            batch.delete_cf(self.family(STALE), &key);
        }
        (pruned_height, pruned_version)
    }

    /// Adds the outcomes of a block and removes those of the block that leaves the window.
    fn write_results(&self, batch: &mut WriteBatch, height: u64, outcomes: Vec<(TransactionHash, TransactionResult)>) {
        let (results, by_height) = (self.family(RESULTS), self.family(RESULTS_BY_HEIGHT));
        let first_kept = (height + 1).saturating_sub(self.retention.results_blocks);
        for (key, _) in self.pairs_from(RESULTS_BY_HEIGHT, &[]) {
            let Some(old) = version_of(&key).filter(|old| *old < first_kept) else { break };
            let hash = &key[8..];
            if self.read_result(hash).is_some_and(|result| result.height as u64 == old) {
                batch.delete_cf(results, hash);
            }
            batch.delete_cf(by_height, &key);
        }
        for (hash, result) in outcomes {
            // The same bytes may stand in a later block again, refused: what took effect stays known.
            if self.read_result(hash.as_bytes()).is_some_and(|earlier| earlier.code == 0) {
                continue;
            }
            batch.put_cf(results, hash.as_bytes(), result.encode_to_vec());
            batch.put_cf(by_height, [&height.to_be_bytes()[..], hash.as_bytes()].concat(), []);
        }
    }

    fn read_result(&self, hash: &[u8]) -> Option<TransactionResult> {
        let bytes = self.read(RESULTS, hash)?;
        Some(TransactionResult::decode(bytes.as_slice()).unwrap_or_else(|error| fault::stop("reading a result", error)))
    }

    fn next_version(&self) -> u64 {
        self.tip.version.map_or(0, |version| version + 1)
    }
}

impl StateRead for DiskStore {
    fn get_bytes(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.read(STATE, key)
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
        Some(ChainMeta { chain_id, genesis_time })
    }

    fn init(&mut self, chain: ChainMeta, genesis: Changes) -> [u8; 32] {
        assert_eq!(self.tip.height, 0, "genesis comes before the first block");
        let mut batch = WriteBatch::default();
        for family in FAMILIES {
            batch.delete_range_cf(self.family(family), &[][..], &[0xff; 128][..]);
        }
        self.write(batch);
        (self.pruned_height, self.pruned_version) = (0, 0);
        self.tip.version = None;
        self.tip.app_hash = [0; 32];
        self.tip.chain = Some((chain.chain_id, chain.genesis_time));
        let staged = self.stage(0, chain.genesis_time, genesis, Vec::new());
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
        if changes.is_empty() {
            return Staged { height, time, app_hash: self.tip.app_hash, changes, tree: None, results };
        }
        let update = tree::update(self, self.next_version(), &changes)
            .unwrap_or_else(|error| fault::stop("computing the state's root", error));
        Staged { height, time, app_hash: update.root, changes, tree: Some(update), results }
    }

    fn commit(&mut self, staged: Staged) {
        let Staged { height, time, app_hash, tree: update, results, .. } = staged;
        let mut batch = WriteBatch::default();
        let (pruned_height, pruned_version) = self.prune_state(&mut batch, height);
        let mut tip = Tip { height, time, app_hash, ..self.tip.clone() };
        if let Some(update) = update {
            let version = self.next_version();
            self.write_state(&mut batch, version, update);
            tip.version = Some(version);
        }
        if let Some(version) = tip.version {
            batch.put_cf(self.family(HEIGHTS), height.to_be_bytes(), version.to_be_bytes());
        }
        self.write_results(&mut batch, height, results);
        self.write_tip(&mut batch, &tip);
        self.write(batch);
        self.tip = tip;
        self.pruned_version = pruned_version;
        self.pruned_height = pruned_height;
    }

    fn result(&self, hash: &TransactionHash) -> Option<TransactionResult> {
        self.read_result(hash.as_bytes())
    }

    fn prove(&self, key: &[u8], height: u64) -> Option<Proven> {
        if height < self.first_kept(self.tip.height) {
            return None;
        }
        let version = version_of(&self.read(HEIGHTS, &height.to_be_bytes())?)?;
        let proven = tree::prove(self, version, key).unwrap_or_else(|error| fault::stop("proving a value", error));
        proven.map(|(value, proof)| Proven { value, proof })
    }
}

impl Nodes for DiskStore {
    fn node(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.read(NODES, key)
    }

    fn value(&self, version: u64, key_hash: &[u8; 32]) -> Option<Vec<u8>> {
        self.value_row(key_hash, version)?.1.value
    }

    fn key(&self, key_hash: &[u8; 32]) -> Option<Vec<u8>> {
        // Every row of a key carries it, so the newest will do.
        Some(self.value_row(key_hash, u64::MAX)?.1.key)
    }
}

fn database(path: &Path, error: &rocksdb::Error) -> OpenError {
    OpenError::Database { path: path.display().to_string(), reason: error.to_string() }
}
