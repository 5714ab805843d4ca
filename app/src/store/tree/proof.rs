//! ICS 23 proofs of a value, or of its absence, under the root of the tree.

use std::{cmp::Ordering, sync::Arc};

// `ics23` is built on an older prost than ours; cosmrs names the same one.
use cosmrs::proto::traits::Message as _;
use ics23::{
    CommitmentProof, ExistenceProof, HashOp, HostFunctionsManager, InnerOp, InnerSpec, LeafOp, LengthOp,
    NonExistenceProof, ProofSpec, commitment_proof::Proof,
};

use super::{EMPTY_ROOT, INNER_DOMAIN, LEAF_DOMAIN, Leaf, Subtree, Tree, bit, key_hash};
use crate::store::Proven;

/// Type of the proof operation that carries a [`CommitmentProof`] in an ABCI query's answer.
pub const PROOF_TYPE: &str = "ics23:jmt";

/// Longest proof that [`verify`] reads. One of a million keys has about 3 KiB.
pub const PROOF_BYTES_MAX: usize = 64 * 1024;

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

impl Tree {
    /// The value of `key` in this version, with a proof of it or of its absence. `value` gives the
    /// value of a key that is in this version. `None` where nothing can be proven, because the
    /// tree is empty.
    pub fn prove(&self, key: &[u8], value: impl Fn(&[u8]) -> Vec<u8>) -> Option<Proven> {
        if matches!(self.0, Subtree::Empty) {
            return None;
        }
        let hash = key_hash(key);
        let existence = |leaf: &Arc<Leaf>| ExistenceProof {
            key: leaf.key.to_vec(),
            value: value(&leaf.key),
            leaf: Some(leaf_op()),
            path: self.0.path(&leaf.key_hash),
        };
        let (answer, proof) = match self.0.find(&hash) {
            Some(leaf) => {
                let proof = existence(leaf);
                (Some(proof.value.clone()), Proof::Exist(proof))
            }
            None => {
                let left = self.0.neighbour(&hash, Ordering::Less, 0).map(existence);
                let right = self.0.neighbour(&hash, Ordering::Greater, 0).map(existence);
                (None, Proof::Nonexist(NonExistenceProof { key: key.to_vec(), left, right }))
            }
        };
        let proof = CommitmentProof { proof: Some(proof) }.encode_to_vec();
        Some(Proven { value: answer, proof })
    }
}

impl Subtree {
    pub(super) fn find(&self, hash: &[u8; 32]) -> Option<&Arc<Leaf>> {
        let (mut place, mut depth) = (self, 0);
        loop {
            match place {
                Self::Empty => return None,
                Self::Leaf(leaf) => return (leaf.key_hash == *hash).then_some(leaf),
                Self::Inner(inner) => place = if bit(hash, depth) { &inner.right } else { &inner.left },
            }
            depth += 1;
        }
    }

    /// The siblings on the way from the leaf with this hash up to the root.
    fn path(&self, hash: &[u8; 32]) -> Vec<InnerOp> {
        let mut operations = Vec::new();
        let mut place = self;
        while let Self::Inner(inner) = place {
            let is_right = bit(hash, operations.len());
            let sibling = if is_right { &inner.left } else { &inner.right }.hash();
            operations.push(if is_right {
                inner_op([INNER_DOMAIN, sibling].concat(), Vec::new())
            } else {
                inner_op(INNER_DOMAIN.to_vec(), sibling.to_vec())
            });
            place = if is_right { &inner.right } else { &inner.left };
        }
        operations.reverse();
        operations
    }

    /// The leaf whose hash is the closest to `hash` that is less than it, or greater.
    fn neighbour(&self, hash: &[u8; 32], side: Ordering, depth: usize) -> Option<&Arc<Leaf>> {
        match self {
            Self::Empty => None,
            Self::Leaf(leaf) => (leaf.key_hash.cmp(hash) == side).then_some(leaf),
            Self::Inner(inner) => match (bit(hash, depth), side) {
                (true, Ordering::Less) => {
                    inner.right.neighbour(hash, side, depth + 1).or_else(|| inner.left.outermost(side))
                }
                (false, Ordering::Greater) => {
                    inner.left.neighbour(hash, side, depth + 1).or_else(|| inner.right.outermost(side))
                }
                (true, _) => inner.right.neighbour(hash, side, depth + 1),
                (false, _) => inner.left.neighbour(hash, side, depth + 1),
            },
        }
    }
}

/// Checks that `proof` leads from `key` with `value` (`None`: from its absence) to `root`.
pub fn verify(root: &[u8; 32], key: &[u8], value: Option<&[u8]>, proof: &[u8]) -> Result<(), ProofError> {
    if proof.len() > PROOF_BYTES_MAX {
        return Err(ProofError::Malformed);
    }
    let proof = CommitmentProof::decode(proof).map_err(|_| ProofError::Malformed)?;
    let root = root.to_vec();
    let leads = match (&proof.proof, value) {
        (Some(Proof::Exist(_)), Some(value)) => {
            ics23::verify_membership::<HostFunctionsManager>(&proof, &spec(), &root, key, value)
        }
        (Some(Proof::Nonexist(_)), None) => {
            ics23::verify_non_membership::<HostFunctionsManager>(&proof, &spec(), &root, key)
        }
        (Some(Proof::Exist(_) | Proof::Nonexist(_)), _) => return Err(ProofError::Kind),
        _ => return Err(ProofError::Malformed),
    };
    leads.then_some(()).ok_or(ProofError::Root)
}

/// The ICS 23 specification of this tree, for verifiers.
pub fn spec() -> ProofSpec {
    let domain_bytes = i32::try_from(INNER_DOMAIN.len()).expect("a short constant");
    ProofSpec {
        leaf_spec: Some(leaf_op()),
        inner_spec: Some(InnerSpec {
            child_order: vec![0, 1],
            child_size: 32,
            min_prefix_length: domain_bytes,
            max_prefix_length: domain_bytes,
            empty_child: EMPTY_ROOT.to_vec(),
            hash: HashOp::Sha256.into(),
        }),
        // Two keys may agree in all bits but the last: whoever chooses ids can make such leaves.
        max_depth: 256,
        min_depth: 0,
        prehash_key_before_comparison: true,
    }
}

fn leaf_op() -> LeafOp {
    LeafOp {
        hash: HashOp::Sha256.into(),
        prehash_key: HashOp::Sha256.into(),
        prehash_value: HashOp::Sha256.into(),
        length: LengthOp::NoPrefix.into(),
        prefix: LEAF_DOMAIN.to_vec(),
    }
}

fn inner_op(prefix: Vec<u8>, suffix: Vec<u8>) -> InnerOp {
    InnerOp { hash: HashOp::Sha256.into(), prefix, suffix }
}
