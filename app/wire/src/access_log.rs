//! Merkle trees as in RFC 6962 section 2.1, with SHA-256: one over each batch of access-log leaves,
//! one over an organization's batches, in order, that only grows, and one over each batch of records.
//!
//! Whoever holds the leaves computes proofs: [`inclusion_path`], [`consistency_path`]. Whoever
//! holds a root verifies them. The ledger holds a [`Frontier`], which is all that appending needs.

use sha2::{Digest as _, Sha256};

use crate::ids::{Commitment, Digest, RecordId};

/// Hash of one leaf's bytes.
pub fn leaf(bytes: &[u8]) -> Digest {
    Digest::new(Sha256::new().chain_update([0]).chain_update(bytes).finalize().into())
}

/// Root over leaf hashes, in order. The root of no leaves is SHA-256 of nothing.
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::new(Sha256::digest([]).into()),
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// Sibling hashes that lead from the leaf at `index` to the root, from the leaf up.
/// `None` where there is no such leaf.
pub fn inclusion_path(leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
    if index >= leaves.len() {
        return None;
    }
    if leaves.len() == 1 {
        return Some(Vec::new());
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, sibling) = if index < left.len() {
        (inclusion_path(left, index)?, root(right))
    } else {
        (inclusion_path(right, index - left.len())?, root(left))
    };
    path.push(sibling);
    Some(path)
}

/// Whether `path` leads from `leaf` at `index` of `count` leaves to `root` (RFC 9162 section 2.1.3.2).
pub fn verify_inclusion(leaf: &Digest, index: usize, count: usize, path: &[Digest], root: &Digest) -> bool {
    climb(leaf, index, count, path).is_some_and(|climbed| climbed == *root)
}

fn climb(leaf: &Digest, index: usize, count: usize, path: &[Digest]) -> Option<Digest> {
    if index >= count {
        return None;
    }
    if count == 1 {
        return path.is_empty().then_some(*leaf);
    }
    let (sibling, below) = path.split_last()?;
    let left = split(count);
    if index < left {
        Some(node(&climb(leaf, index, left, below)?, sibling))
    } else {
        Some(node(sibling, &climb(leaf, index - left, count - left, below)?))
    }
}

/// Hash of a record's first version, as a leaf of a batch of records.
pub fn record_leaf(record: &RecordId, commitment: &Commitment) -> Digest {
    leaf(&[*record.as_bytes(), *commitment.as_bytes()].concat())
}

/// Hash of a batch, as a leaf of its organization's log.
pub fn batch_leaf(root: &Digest, count: u32, period_start: i64, period_end: i64) -> Digest {
    let period = [period_start.to_be_bytes(), period_end.to_be_bytes()].concat();
    leaf(&[root.as_bytes().as_slice(), &count.to_be_bytes(), &period].concat())
}

/// Hashes that show that the tree of the first `older` leaves is the beginning of the tree of all
/// of them (RFC 6962 section 2.1.2). `None` where there are not as many.
pub fn consistency_path(leaves: &[Digest], older: usize) -> Option<Vec<Digest>> {
    match older {
        0 => Some(Vec::new()),
        older if older > leaves.len() => None,
        older => Some(subproof(leaves, older, Known::Yes)),
    }
}

/// Whether the verifier knows the root of the part that is looked at.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    Yes,
    No,
}

fn subproof(leaves: &[Digest], older: usize, known: Known) -> Vec<Digest> {
    if older == leaves.len() {
        return if known == Known::Yes { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, sibling) = if older <= left.len() {
        (subproof(left, older, known), root(right))
    } else {
        (subproof(right, older - left.len(), Known::No), root(left))
    };
    path.push(sibling);
    path
}

/// A log's number of leaves and its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
}

/// Whether `path` shows that `newer` only appends to `older` (RFC 9162 section 2.1.4.2).
pub fn verify_consistency(older: &Head, newer: &Head, path: &[Digest]) -> bool {
    if older.size > newer.size {
        return false;
    }
    if older.size == 0 {
        return path.is_empty() && older.root == root(&[]);
    }
    if older.size == newer.size {
        return path.is_empty() && older.root == newer.root;
    }
    // A perfect tree is a node of the newer one: its root is where the path begins.
    let starts_known = older.size.is_power_of_two();
    let mut rest = path.iter();
    let Some(start) = (if starts_known { Some(&older.root) } else { rest.next() }) else { return false };
    let (mut old, mut new) = (older.size - 1, newer.size - 1);
    while old & 1 == 1 {
        (old, new) = (old >> 1, new >> 1);
    }
    let (mut old_root, mut new_root) = (*start, *start);
    for sibling in rest {
        if new == 0 {
            return false;
        }
        if old & 1 == 1 || old == new {
            (old_root, new_root) = (node(sibling, &old_root), node(sibling, &new_root));
            while old & 1 == 0 && old != 0 {
                (old, new) = (old >> 1, new >> 1);
            }
        } else {
            new_root = node(&new_root, sibling);
        }
        (old, new) = (old >> 1, new >> 1);
    }
    new == 0 && old_root == older.root && new_root == newer.root
}

/// What appending to a tree needs of it: the roots of its perfect subtrees, the largest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of a tree of `size` leaves; `None` where it has another number of peaks.
    pub fn new(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Appends a leaf's hash.
    pub fn push(&mut self, leaf: Digest) {
        let (mut merged, mut below) = (leaf, self.size);
        while below & 1 == 1 {
            let left = self.peaks.pop().expect("a tree has a peak for each bit of its size");
            merged = node(&left, &merged);
            below >>= 1;
        }
        self.peaks.push(merged);
        self.size += 1;
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect subtrees, the largest first.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Root of the tree, as [`root`] over its leaves.
    pub fn root(&self) -> Digest {
        let joined = self.peaks.iter().rev().copied().reduce(|right, left| node(&left, &right));
        joined.unwrap_or_else(|| root(&[]))
    }
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let hash = Sha256::new().chain_update([1]).chain_update(left.as_bytes()).chain_update(right.as_bytes());
    Digest::new(hash.finalize().into())
}

/// Largest power of two smaller than `count`, which is at least 2.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|index| leaf(&index.to_be_bytes())).collect()
    }

    #[test]
    fn every_leaf_is_proven_and_no_other_place_is() {
        for count in 1..20 {
            let leaves = leaves(count);
            let root = root(&leaves);
            for index in 0..count {
                let path = inclusion_path(&leaves, index).unwrap();
                for claimed in 0..count {
                    let accepted = verify_inclusion(&leaves[index], claimed, count, &path, &root);
                    assert_eq!(accepted, claimed == index, "leaf {index} as {claimed} of {count}");
                }
            }
            assert_eq!(inclusion_path(&leaves, count), None);
        }
    }

    #[test]
    fn a_dropped_or_altered_leaf_changes_the_root() {
        let all = leaves(7);
        let mut altered = all.clone();
        altered[3] = leaf(b"altered");
        assert_ne!(root(&all), root(&altered));
        assert_ne!(root(&all), root(&all[..6]));
        assert_ne!(root(&all), root(&all[1..]));
    }

    #[test]
    fn a_frontier_grows_into_the_tree_of_its_leaves() {
        let all = leaves(70);
        let mut frontier = Frontier::default();
        for size in 0..all.len() {
            assert_eq!(frontier.root(), root(&all[..size]), "{size}");
            let again = Frontier::new(size as u64, frontier.peaks().to_vec()).unwrap();
            assert_eq!(again, frontier);
            assert_eq!(Frontier::new(size as u64, vec![all[0]; 9]), None);
            frontier.push(all[size]);
        }
    }

    #[test]
    fn every_older_log_is_the_beginning_of_every_newer_one_and_of_no_other() {
        let all = leaves(20);
        let head = |leaves: &[Digest]| Head { size: leaves.len() as u64, root: root(leaves) };
        for newer in 0..=all.len() {
            for older in 0..=newer {
                let path = consistency_path(&all[..newer], older).unwrap();
                assert!(verify_consistency(&head(&all[..older]), &head(&all[..newer]), &path), "{older} of {newer}");
                for (place, other) in (0..older).map(|place| (place, leaf(b"altered"))) {
                    let mut altered = all[..older].to_vec();
                    altered[place] = other;
                    assert!(!verify_consistency(&head(&altered), &head(&all[..newer]), &path), "{older}, {place}");
                }
                for place in 0..path.len() {
                    let mut altered = path.clone();
                    altered[place] = leaf(b"altered");
                    assert!(!verify_consistency(&head(&all[..older]), &head(&all[..newer]), &altered));
                    let shorter = [&path[..place], &path[place + 1..]].concat();
                    assert!(!verify_consistency(&head(&all[..older]), &head(&all[..newer]), &shorter));
                }
                let longer = [path.as_slice(), &[leaf(b"more")]].concat();
                assert!(!verify_consistency(&head(&all[..older]), &head(&all[..newer]), &longer));
            }
            assert_eq!(consistency_path(&all[..newer], newer + 1), None);
        }
        assert!(!verify_consistency(&head(&all), &head(&all[..3]), &[]));
    }

    /// The values of the test tree in RFC 6962's reference implementation.
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        assert_eq!(root(&[]).to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(root(&[leaf(b"")]).to_string(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let two = [leaf(b""), leaf(&[0])];
        assert_eq!(root(&two).to_string(), "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
    }
}
