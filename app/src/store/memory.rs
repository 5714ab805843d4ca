//! A store in memory: for tests, and to hold the disk store equal to.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use careledger_wire::{ids::TransactionHash, proto::query::TransactionResult};

use crate::{
    limits::RESULTS_RETAINED_BLOCKS,
    snapshot::{self, Manifest, Restored},
    state::{Changes, Pairs, StateRead},
    store::{ChainMeta, Proven, Staged, Store, tree::Tree},
};

/// Everything in memory. Retains every height.
#[derive(Clone, Default)]
pub struct MemoryStore {
    chain: Option<ChainMeta>,
    height: u64,
    time: i64,
    app_hash: [u8; 32],
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The tree after each height.
    trees: BTreeMap<u64, Tree>,
    /// What each height wrote at a key.
    written: BTreeMap<(Vec<u8>, u64), Option<Vec<u8>>>,
    results: BTreeMap<TransactionHash, TransactionResult>,
    results_by_height: BTreeSet<(u64, TransactionHash)>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every pair of the state.
    pub fn pairs(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.state
    }

    fn tree(&self) -> Tree {
        self.trees.last_key_value().map(|(_, tree)| tree.clone()).unwrap_or_default()
    }
}

impl StateRead for MemoryStore {
    fn get_bytes(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.state.get_bytes(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Pairs {
        self.state.scan(prefix, after, limit)
    }
}

impl Store for MemoryStore {
    fn height(&self) -> u64 {
        self.height
    }

    fn app_hash(&self) -> [u8; 32] {
        self.app_hash
    }

    fn time(&self) -> i64 {
        self.time
    }

    fn chain(&self) -> Option<ChainMeta> {
        self.chain.clone()
    }

    fn init(&mut self, chain: ChainMeta, genesis: Changes) -> [u8; 32] {
        assert!(self.is_before_first_block(), "genesis comes before the first block");
        *self = Self::new();
        let staged = self.stage(chain.initial_height - 1, chain.genesis_time, genesis, Vec::new());
        self.chain = Some(chain);
        self.commit(staged);
        self.app_hash
    }

    fn stage(
        &self,
        height: u64,
        time: i64,
        changes: Changes,
        results: Vec<(TransactionHash, TransactionResult)>,
    ) -> Staged {
        let tree = self.tree().with(&changes);
        Staged { height, time, app_hash: tree.root(), changes, tree, results }
    }

    fn commit(&mut self, staged: Staged) {
        for (key, value) in staged.changes {
            match &value {
                Some(value) => self.state.insert(key.clone(), value.clone()),
                None => self.state.remove(&key),
            };
            self.written.insert((key, staged.height), value);
        }
        (self.height, self.time, self.app_hash) = (staged.height, staged.time, staged.app_hash);
        self.trees.insert(staged.height, staged.tree);
        for (hash, result) in staged.results {
            self.results.insert(hash, result);
            self.results_by_height.insert((staged.height, hash));
        }
        let first_retained = staged.height.saturating_sub(RESULTS_RETAINED_BLOCKS);
        while let Some((height, hash)) = self.results_by_height.first().copied()
            && height < first_retained
        {
            self.results_by_height.pop_first();
            self.results.remove(&hash);
        }
    }

    fn install(&mut self, restored: Restored) {
        assert!(self.is_before_first_block(), "a node joins before its first block");
        *self = Self::new();
        (self.height, self.time, self.app_hash) = (restored.height, restored.time, restored.tree.root());
        self.chain = Some(restored.chain);
        self.trees.insert(restored.height, restored.tree);
        for (key, value) in restored.pairs {
            self.written.insert((key.clone(), restored.height), Some(value.clone()));
            self.state.insert(key, value);
        }
    }

    /// One: of the newest state.
    fn snapshots(&self) -> Vec<Manifest> {
        if self.is_before_first_block() {
            return Vec::new();
        }
        let chunks =
            snapshot::chunk(self.state.clone(), |_, _| Ok::<(), Infallible>(())).unwrap_or_else(|error| match error {});
        vec![Manifest { height: self.height, time: self.time, chunks }]
    }

    fn snapshot_chunk(&self, height: u64, index: u32) -> Option<Vec<u8>> {
        let mut wanted = None;
        let keep = |number: usize, bytes| {
            if number == index as usize {
                wanted = Some(bytes);
            }
            Ok::<(), Infallible>(())
        };
        if height == self.height {
            snapshot::chunk(self.state.clone(), keep).unwrap_or_else(|error| match error {});
        }
        wanted
    }

    fn result(&self, hash: &TransactionHash) -> Option<TransactionResult> {
        self.results.get(hash).cloned()
    }

    fn oldest_height(&self) -> u64 {
        self.trees.first_key_value().map_or(self.height, |(height, _)| *height)
    }

    fn prove(&self, key: &[u8], height: u64) -> Option<Proven> {
        let value = |key: &[u8]| {
            let newest = self.written.range((key.to_vec(), 0)..=(key.to_vec(), height)).next_back();
            newest.and_then(|(_, value)| value.clone()).expect("a key of the tree was written")
        };
        self.trees.get(&height)?.prove(key, value)
    }
}
