//! The Merkle tree over the state: Jellyfish Merkle tree hashing, ICS23 proofs.
//!
//! The only module that names `jmt`. It knows nothing of disks: a [`Nodes`] gives it what was
//! written before, and it answers with what is to be written. Another tree with the same hashes
//! can take its place behind these functions.

use std::collections::BTreeMap;

// `ics23` is built on an older prost than ours; cosmrs names the same one.
use cosmrs::proto::traits::Message as _;
use ics23::{CommitmentProof, HostFunctionsManager, commitment_proof::Proof};
use jmt::{
    JellyfishMerkleTree, KeyHash, OwnedValue, SimpleHasher, Version,
    storage::{HasPreimage, LeafNode, Node, NodeKey, TreeReader},
};
use sha2::{Digest as _, Sha256};

/// Root of the tree without any key.
pub const EMPTY_ROOT: [u8; 32] = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

/// Type of the proof operation that carries a [`CommitmentProof`] in an ABCI query's answer.
pub const PROOF_TYPE: &str = "ics23:jmt";

/// Longest proof that [`verify`] reads. One of a million keys has about 3 KiB.
pub const PROOF_BYTES_MAX: usize = 64 * 1024;

/// What was written before. A disk error must stop the process instead of answering.
pub trait Nodes {
    /// The node that was written under `key`.
    fn node(&self, key: &[u8]) -> Option<Vec<u8>>;
    /// The value of the key with this hash in the newest version that is at most `version`.
    fn value(&self, version: u64, key_hash: &[u8; 32]) -> Option<Vec<u8>>;
    /// The key with this hash.
    fn key(&self, key_hash: &[u8; 32]) -> Option<Vec<u8>>;
}

/// What one version of the tree adds and what it no longer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Root of this version.
    pub root: [u8; 32],
    /// Nodes to write.
    pub nodes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Values to write: hash of the key, the key, its value in this version.
    pub values: Vec<Change>,
    /// Nodes that this version replaced; needed only as long as an older version is kept.
    pub stale: Vec<Vec<u8>>,
}

/// The value of one key from one version on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// SHA-256 of the key.
    pub key_hash: [u8; 32],
    /// The key.
    pub key: Vec<u8>,
    /// The value; `None` where it was deleted.
    pub value: Option<Vec<u8>>,
}

/// The tree's own data is missing or damaged: a fault of this node, never of a transaction.
#[derive(Debug, thiserror::Error)]
#[error("the Merkle tree cannot be read: {0}")]
pub struct TreeFault(String);

/// A proof that does not show what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not an ICS23 commitment proof, or too long.
    #[error("the answer carries no ICS23 proof")]
    Malformed,
    /// The proof is about another kind of answer: presence for an absent key, or the reverse.
    #[error("the proof is about presence and the answer about absence, or the reverse")]
    Kind,
    /// The proof does not lead to the root.
    #[error("the proof does not lead from this key and value to the app hash")]
    Root,
}

/// Computes `version` of the tree: the one before with `changes`, of which there must be some.
/// Versions start at 0 and have no gap.
pub fn update(
    nodes: &impl Nodes,
    version: u64,
    changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
) -> Result<Update, TreeFault> {
    let reader = Reader(nodes);
    let tree = JellyfishMerkleTree::<_, TreeHasher>::new(&reader);
    let hashed: Vec<Change> = changes
        .iter()
        .map(|(key, value)| Change { key_hash: key_hash(key), key: key.clone(), value: value.clone() })
        .collect();
    let set = hashed.iter().map(|change| (KeyHash(change.key_hash), change.value.clone()));
    let (root, batch) = tree.put_value_set(set, version).map_err(fault)?;
    let mut written = Vec::with_capacity(batch.node_batch.nodes().len());
    for (key, node) in batch.node_batch.nodes() {
        written.push((node_key(key), borsh::to_vec(node).map_err(fault)?));
    }
    let stale = batch.stale_node_index_batch.iter().map(|index| node_key(&index.node_key)).collect();
    Ok(Update { root: root.0, nodes: written, values: hashed, stale })
}

/// The value of `key` in `version`, and an encoded ICS23 proof of it or of its absence. `None`
/// where nothing can be proven, because the tree is empty.
#[expect(clippy::type_complexity, reason = "a value and its proof")]
pub fn prove(nodes: &impl Nodes, version: u64, key: &[u8]) -> Result<Option<(Option<Vec<u8>>, Vec<u8>)>, TreeFault> {
    let reader = Reader(nodes);
    let tree = JellyfishMerkleTree::<_, TreeHasher>::new(&reader);
    if tree.get_root_hash(version).map_err(fault)?.0 == EMPTY_ROOT {
        return Ok(None);
    }
    let (value, proof) = tree.get_with_ics23_proof(key.to_vec(), version).map_err(fault)?;
    Ok(Some((value, proof.encode_to_vec())))
}

/// Checks that `proof` leads from `key` with `value` (`None`: from its absence) to `root`.
pub fn verify(root: &[u8; 32], key: &[u8], value: Option<&[u8]>, proof: &[u8]) -> Result<(), ProofError> {
    if proof.len() > PROOF_BYTES_MAX {
        return Err(ProofError::Malformed);
    }
    let proof = CommitmentProof::decode(proof).map_err(|_| ProofError::Malformed)?;
    let root = root.to_vec();
    let spec = jmt::ics23_spec();
    let leads = match (&proof.proof, value) {
        (Some(Proof::Exist(_)), Some(value)) => {
            ics23::verify_membership::<HostFunctionsManager>(&proof, &spec, &root, key, value)
        }
        (Some(Proof::Nonexist(_)), None) => {
            ics23::verify_non_membership::<HostFunctionsManager>(&proof, &spec, &root, key)
        }
        (Some(Proof::Exist(_) | Proof::Nonexist(_)), _) => return Err(ProofError::Kind),
        _ => return Err(ProofError::Malformed),
    };
    leads.then_some(()).ok_or(ProofError::Root)
}

/// Hash under which the tree keeps `key`.
pub fn key_hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Version first, so that what belongs together in time lies together on disk.
fn node_key(key: &NodeKey) -> Vec<u8> {
    let path = key.nibble_path();
    let mut bytes = Vec::with_capacity(9 + path.num_nibbles());
    bytes.extend_from_slice(&key.version().to_be_bytes());
    bytes.extend(path.nibbles().map(u8::from));
    bytes
}

fn fault(error: impl std::fmt::Display) -> TreeFault {
    TreeFault(error.to_string())
}

/// SHA-256 for `jmt`, which is built on another version of the hashing traits.
#[derive(Debug)]
struct TreeHasher(Sha256);

impl SimpleHasher for TreeHasher {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

struct Reader<'a, N>(&'a N);

impl<N: Nodes> TreeReader for Reader<'_, N> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        self.0.node(&node_key(key)).map(|bytes| Ok(borsh::from_slice(&bytes)?)).transpose()
    }

    fn get_value_option(&self, version: Version, key: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(self.0.value(version, &key.0))
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("trees are not restored leaf by leaf here")
    }
}

impl<N: Nodes> HasPreimage for Reader<'_, N> {
    fn preimage(&self, key: KeyHash) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.0.key(&key.0))
    }
}
