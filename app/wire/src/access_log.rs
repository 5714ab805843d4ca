//! The Merkle tree over a batch of access-log leaves: RFC 6962 section 2.1, with SHA-256.

use sha2::{Digest as _, Sha256};

use crate::ids::Digest;

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

    /// The values of the test tree in RFC 6962's reference implementation.
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        assert_eq!(root(&[]).to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(root(&[leaf(b"")]).to_string(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let two = [leaf(b""), leaf(&[0])];
        assert_eq!(root(&two).to_string(), "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
    }
}
