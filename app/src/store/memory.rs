//! A store in memory: for tests, and to hold the disk store equal to.

use std::collections::{BTreeMap, BTreeSet};

use careledger_wire::{ids::TransactionHash, proto::query::TransactionResult};

use crate::{
    limits::RESULTS_RETAINED_BLOCKS,
    state::{Changes, Pairs, StateRead},
    store::{
        ChainMeta, Proven, Staged, Store,
        tree::{self, Nodes, Update},
    },
};

/// Everything in memory. Retains every height.
#[derive(Clone, Default)]
pub struct MemoryStore {
    chain: Option<ChainMeta>,
    height: u64,
    time: i64,
    app_hash: [u8; 32],
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    tree: MemoryNodes,
    /// Tree version after each height. Versions have no gap; empty blocks add none.
    versions: BTreeMap<u64, u64>,
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

    fn version(&self) -> Option<u64> {
        self.versions.last_key_value().map(|(_, version)| *version)
    }

    fn next_version(&self) -> u64 {
        self.version().map_or(0, |version| version + 1)
    }

    fn write(&mut self, version: u64, changes: Changes, update: Update) {
        for (key, value) in changes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        self.tree.nodes.extend(update.nodes);
        for change in update.values {
            self.tree.keys.insert(change.key_hash, change.key);
            self.tree.values.insert((change.key_hash, version), change.value);
        }
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
        assert_eq!(self.height, 0, "genesis comes before the first block");
        *self = Self::new();
        let staged = self.stage(0, chain.genesis_time, genesis, Vec::new());
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
        if changes.is_empty() {
            return Staged { height, time, app_hash: self.app_hash, changes, tree: None, results };
        }
        let update = tree::update(&self.tree, self.next_version(), &changes)
            .expect("a tree in memory holds every node of its current version");
        Staged { height, time, app_hash: update.root, changes, tree: Some(update), results }
    }

    fn commit(&mut self, staged: Staged) {
        let version = if staged.tree.is_some() { Some(self.next_version()) } else { self.version() };
        if let (Some(update), Some(version)) = (staged.tree, version) {
            self.write(version, staged.changes, update);
        }
        (self.height, self.time, self.app_hash) = (staged.height, staged.time, staged.app_hash);
        if let Some(version) = version {
            self.versions.insert(staged.height, version);
        }
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

    fn result(&self, hash: &TransactionHash) -> Option<TransactionResult> {
        self.results.get(hash).cloned()
    }

    fn prove(&self, key: &[u8], height: u64) -> Option<Proven> {
        let version = *self.versions.get(&height)?;
        let (value, proof) =
            tree::prove(&self.tree, version, key).expect("a tree in memory holds every node of every version")?;
        Some(Proven { value, proof })
    }
}

/// Nodes and values of the tree, of every version.
#[derive(Clone, Default)]
struct MemoryNodes {
    nodes: BTreeMap<Vec<u8>, Vec<u8>>,
    values: BTreeMap<([u8; 32], u64), Option<Vec<u8>>>,
    keys: BTreeMap<[u8; 32], Vec<u8>>,
}

impl Nodes for MemoryNodes {
    fn node(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.nodes.get(key).cloned()
    }

    fn value(&self, version: u64, key_hash: &[u8; 32]) -> Option<Vec<u8>> {
        let newest = self.values.range((*key_hash, 0)..=(*key_hash, version)).next_back();
        newest.and_then(|(_, value)| value.clone())
    }

    fn key(&self, key_hash: &[u8; 32]) -> Option<Vec<u8>> {
        self.keys.get(key_hash).cloned()
    }
}
