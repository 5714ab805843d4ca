//! The Merkle tree over the state, in memory and copy-on-write: old versions share what did not
//! change, so that keeping one costs what changed since.
//!
//! Hashes are those of the Jellyfish Merkle tree: a binary tree over SHA-256 of the keys, in which
//! a subtree with one leaf is that leaf, and an empty one a placeholder. The `jmt` crate is the
//! oracle that tests hold roots and proofs equal to.

mod proof;

use std::{cmp::Ordering, sync::Arc};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

pub use proof::{PROOF_BYTES_MAX, PROOF_TYPE, ProofError, spec, verify};

use crate::state::Changes;

/// Root of the tree without any key.
pub const EMPTY_ROOT: [u8; 32] = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

const LEAF_DOMAIN: &[u8] = b"JMT::LeafNode";
const INNER_DOMAIN: &[u8] = b"JMT::IntrnalNode";

/// Changes that are worth more than one core.
const PARALLEL_MIN: usize = 128;

/// One version of the tree. A clone costs nothing and shares everything.
#[derive(Debug, Clone, Default)]
pub struct Tree(Subtree);

#[derive(Debug, Clone, Default)]
enum Subtree {
    #[default]
    Empty,
    Leaf(Arc<Leaf>),
    Inner(Arc<Inner>),
}

#[derive(Debug)]
struct Leaf {
    key: Box<[u8]>,
    key_hash: [u8; 32],
    hash: [u8; 32],
}

#[derive(Debug)]
struct Inner {
    left: Subtree,
    right: Subtree,
    hash: [u8; 32],
}

/// What becomes of one key.
struct Change {
    key_hash: [u8; 32],
    /// `None` where it is removed.
    leaf: Option<Arc<Leaf>>,
}

impl Tree {
    /// The tree of these pairs, in any order. Keys are distinct.
    pub fn of(pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let mut leaves: Vec<Change> = pairs.into_iter().map(|(key, value)| Change::put(&key, &value)).collect();
        leaves.par_sort_by_key(|change| change.key_hash);
        Self(Subtree::Empty.with(&leaves, 0))
    }

    /// Root.
    pub fn root(&self) -> [u8; 32] {
        *self.0.hash()
    }

    /// Whether this version has at `key` what `older` has: the same leaf, not one of equal content.
    /// A leaf that was replaced never comes back, so of versions that follow one another those that
    /// share it are the first ones. `false` where `older` has no such key.
    pub fn shares(&self, older: &Self, key: &[u8]) -> bool {
        let hash = key_hash(key);
        match (self.0.find(&hash), older.0.find(&hash)) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            _ => false,
        }
    }

    /// The tree after `changes`.
    pub fn with(&self, changes: &Changes) -> Self {
        let change = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| match value {
            Some(value) => Change::put(key, value),
            None => Change { key_hash: key_hash(key), leaf: None },
        };
        let mut sorted: Vec<Change> = if changes.len() < PARALLEL_MIN {
            changes.iter().map(change).collect()
        } else {
            changes.par_iter().map(change).collect()
        };
        sorted.sort_unstable_by_key(|change| change.key_hash);
        Self(self.0.with(&sorted, 0))
    }
}

impl Change {
    fn put(key: &[u8], value: &[u8]) -> Self {
        let key_hash = key_hash(key);
        let value_hash: [u8; 32] = Sha256::digest(value).into();
        let hash = Sha256::new().chain_update(LEAF_DOMAIN).chain_update(key_hash).chain_update(value_hash).finalize();
        Self { key_hash, leaf: Some(Arc::new(Leaf { key: key.into(), key_hash, hash: hash.into() })) }
    }
}

impl Subtree {
    fn hash(&self) -> &[u8; 32] {
        match self {
            Self::Empty => &EMPTY_ROOT,
            Self::Leaf(leaf) => &leaf.hash,
            Self::Inner(inner) => &inner.hash,
        }
    }

    /// What both children make: a lone leaf moves up.
    fn join(left: Self, right: Self) -> Self {
        match (&left, &right) {
            (Self::Empty, Self::Empty | Self::Leaf(_)) => right,
            (Self::Leaf(_), Self::Empty) => left,
            _ => {
                let hash = Sha256::new().chain_update(INNER_DOMAIN).chain_update(left.hash());
                let hash = hash.chain_update(right.hash()).finalize().into();
                Self::Inner(Arc::new(Inner { left, right, hash }))
            }
        }
    }

    /// The subtree at `depth` after `changes`, sorted by hash of the key, all of them below it.
    fn with(&self, changes: &[Change], depth: usize) -> Self {
        match (self, changes) {
            (_, []) => self.clone(),
            (Self::Empty, [only]) => only.subtree(),
            (Self::Leaf(leaf), [only]) if leaf.key_hash == only.key_hash => only.subtree(),
            (Self::Leaf(leaf), [only]) if only.leaf.is_none() => Self::Leaf(Arc::clone(leaf)),
            _ => {
                let (left, right) = self.children(depth);
                let middle = changes.partition_point(|change| !bit(&change.key_hash, depth));
                let (below, above) = changes.split_at(middle);
                let (left, right) = if changes.len() < PARALLEL_MIN {
                    (left.with(below, depth + 1), right.with(above, depth + 1))
                } else {
                    rayon::join(|| left.with(below, depth + 1), || right.with(above, depth + 1))
                };
                Self::join(left, right)
            }
        }
    }

    fn children(&self, depth: usize) -> (Self, Self) {
        match self {
            Self::Empty => (Self::Empty, Self::Empty),
            Self::Leaf(leaf) if bit(&leaf.key_hash, depth) => (Self::Empty, self.clone()),
            Self::Leaf(_) => (self.clone(), Self::Empty),
            Self::Inner(inner) => (inner.left.clone(), inner.right.clone()),
        }
    }

    /// The leaf that is last below this, or first.
    fn outermost(&self, side: Ordering) -> Option<&Arc<Leaf>> {
        match self {
            Self::Empty => None,
            Self::Leaf(leaf) => Some(leaf),
            Self::Inner(inner) => {
                let (near, far) = match side {
                    Ordering::Less => (&inner.right, &inner.left),
                    _ => (&inner.left, &inner.right),
                };
                near.outermost(side).or_else(|| far.outermost(side))
            }
        }
    }
}

impl Change {
    fn subtree(&self) -> Subtree {
        self.leaf.as_ref().map_or(Subtree::Empty, |leaf| Subtree::Leaf(Arc::clone(leaf)))
    }
}

/// Hash under which the tree keeps `key`.
pub fn key_hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The bit that decides at `depth`, the highest first.
fn bit(hash: &[u8; 32], depth: usize) -> bool {
    hash[depth / 8] >> (7 - depth % 8) & 1 == 1
}
