//! Committed state, its Merkle root, and proofs. What is not here never happened.

pub mod disk;
pub mod memory;
pub mod tree;

use careledger_wire::{
    ids::TransactionHash,
    proto::{query::TransactionResult, state::Chain},
};

use tree::Tree;

use crate::{
    snapshot::{Manifest, Restored},
    state::{Changes, StateRead},
};

/// What a node knows of its chain outside the Merkle state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainMeta {
    /// In every sign document.
    pub chain_id: String,
    /// Genesis time, Unix seconds.
    pub genesis_time: i64,
    /// Height of the first block: 1, or the next after the chain that this one continues.
    pub initial_height: u64,
}

impl From<Chain> for ChainMeta {
    fn from(chain: Chain) -> Self {
        let Chain { chain_id, genesis_time, initial_height } = chain;
        Self { chain_id, genesis_time, initial_height: initial_height.max(1) }
    }
}

/// A block's result, computed and not durable.
#[derive(Debug, Clone)]
pub struct Staged {
    /// Height of the block.
    pub height: u64,
    /// Time of the block, Unix seconds.
    pub time: i64,
    /// Root after the changes.
    pub app_hash: [u8; 32],
    /// Changes of the state; deletions only of what is there.
    pub changes: Changes,
    /// The Merkle tree after the changes.
    pub tree: Tree,
    /// Outcome of each transaction, local to this node and pruned.
    pub results: Vec<(TransactionHash, TransactionResult)>,
}

/// A value, or its absence, with the proof of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// `None` when the proof is one of absence.
    pub value: Option<Vec<u8>>,
    /// ICS 23 `CommitmentProof` under [`tree::spec`], protobuf bytes.
    pub proof: Vec<u8>,
}

/// Committed state. A disk error stops the process: it must never become a rejection that other
/// validators do not see.
pub trait Store: StateRead + Send + Sync {
    /// Height of the last committed block; before the first that before the chain's first, which is 0
    /// unless the chain continues another.
    fn height(&self) -> u64;

    /// Root after the last committed block, or after [`Store::init`]; zeros before.
    fn app_hash(&self) -> [u8; 32];

    /// Time of the last committed block, or of genesis; 0 before. Unix seconds.
    fn time(&self) -> i64;

    /// The chain, once [`Store::init`] was called.
    fn chain(&self) -> Option<ChainMeta>;

    /// Whether no block of the chain was committed.
    fn is_before_first_block(&self) -> bool {
        self.chain().is_none_or(|chain| self.height() < chain.initial_height)
    }

    /// Makes `genesis` the state before the chain's first height, durably, and gives its root.
    /// Replaces whatever an earlier `init` wrote: CometBFT sends InitChain again until a block was committed.
    ///
    /// # Panics
    /// When a block was committed already.
    fn init(&mut self, chain: ChainMeta, genesis: Changes) -> [u8; 32];

    /// The root after `changes`, nothing durable. Without changes the root is the one before:
    /// an empty block that changed the app hash would make CometBFT produce blocks for ever.
    fn stage(
        &self,
        height: u64,
        time: i64,
        changes: Changes,
        results: Vec<(TransactionHash, TransactionResult)>,
    ) -> Staged;

    /// State, results, height, time and root in one durable step.
    fn commit(&mut self, staged: Staged);

    /// Takes the place of everything that is there, durably: how a node joins.
    ///
    /// # Panics
    /// When a block was committed already.
    fn install(&mut self, restored: Restored);

    /// Manifests of the snapshots that this node can give to others.
    fn snapshots(&self) -> Vec<Manifest>;

    /// A chunk of one of them.
    fn snapshot_chunk(&self, height: u64, index: u32) -> Option<Vec<u8>>;

    /// Outcome of a recent transaction ([`crate::limits::RESULTS_RETAINED_BLOCKS`]).
    fn result(&self, hash: &TransactionHash) -> Option<TransactionResult>;

    /// The oldest height whose state can be proven; every later one up to [`Store::height`] can be too.
    fn oldest_height(&self) -> u64;

    /// The value at `key` after block `height`, with its proof; `None` when `height` is not retained.
    fn prove(&self, key: &[u8], height: u64) -> Option<Proven>;
}
