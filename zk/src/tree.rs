//! An append-only Merkle tree of fixed depth over nodes that the caller stores.
//!
//! Four children a node: a level costs the circuit 306 constraints and covers
//! two index bits, where two binary levels would cost 490. Attestations and
//! enrolments are two instances; the kind of the leaf keeps them apart.
//!
//! A node is addressed by `(level, index)`: leaves are at level 0, the root at
//! ([`DEPTH`], 0). A node that was never written is the root of an empty subtree.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::{
    binding,
    field::Element,
    poseidon::{Domain, hash},
};

/// Levels above the leaves.
pub const DEPTH: u8 = 16;
/// Children of an inner node.
pub const ARITY: usize = 4;
/// Leaves a tree can hold: 4¹⁶.
pub const LEAVES_MAX: u64 = 1 << (2 * DEPTH as u64);

/// A leaf. There is one way to make each kind, and it takes the **sender** of
/// the transaction: what an organization anchors is bound to it, so that no
/// accredited organization can attest in another's name, and no insurer can
/// enrol its members in another's plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf(Element);

impl Leaf {
    /// Replaces a leaf whose attestation or enrolment no longer holds.
    pub const REVOKED: Self = Self(Element::ZERO);

    /// A leaf of the attestation tree: the commitment, and the organization
    /// that signed the transaction which anchors it.
    pub fn attestation(commitment: Element, organization: &[u8; 20]) -> Self {
        let issuer = binding::issuer_of(organization);
        Self(hash(Domain::ATTESTATION_LEAF, [commitment, issuer]))
    }

    /// A leaf of the enrolment tree: the commitment, and the insurer that
    /// signed the transaction which anchors it.
    pub fn enrolment(commitment: Element, insurer: &[u8; 20]) -> Self {
        let scope = binding::scope_of(insurer);
        Self(hash(Domain::ENROLMENT_LEAF, [commitment, scope]))
    }

    /// The leaf as a node of the tree.
    pub fn node(self) -> Element {
        self.0
    }
}

/// The way from a leaf to the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// Which leaf, counted from zero.
    pub index: u64,
    /// The other three children at each level, in order, from the leaves up.
    pub siblings: Vec<[Element; ARITY - 1]>,
}

impl Path {
    /// The root that this path and this leaf give.
    pub fn root(&self, leaf: Element) -> Element {
        let mut node = leaf;
        let mut index = self.index;
        for siblings in &self.siblings {
            let position = (index % ARITY as u64) as usize;
            node = hash(Domain::NODE, children(node, position, siblings));
            index /= ARITY as u64;
        }
        node
    }
}

/// Four children in order: `node` at `position` and its siblings around it.
pub fn children(node: Element, position: usize, siblings: &[Element; ARITY - 1]) -> [Element; ARITY] {
    let mut all = [node; ARITY];
    let others = (0..ARITY).filter(|place| *place != position);
    for (place, sibling) in others.zip(siblings) {
        all[place] = *sibling;
    }
    all
}

/// Sets leaf `index`, and gives every node that changes, from the leaf to the
/// root (the last one). `read` is the caller's store: `(level, index)` to a
/// node, `None` where nothing was written. Writing [`Leaf::REVOKED`] at an
/// index that is taken revokes it.
///
/// Reads 3 and writes 1 node a level; 16 hashes.
///
/// # Panics
/// Where `index` is not below [`LEAVES_MAX`]; the caller counts its leaves.
pub fn append(index: u64, leaf: Leaf, read: impl FnMut(u8, u64) -> Option<Element>) -> Vec<(u8, u64, Element)> {
    let path = path(index, read);
    let mut writes = Vec::with_capacity(usize::from(DEPTH) + 1);
    let mut node = leaf.node();
    let mut index = index;
    writes.push((0, index, node));
    for (level, siblings) in (1..).zip(&path.siblings) {
        let position = (index % ARITY as u64) as usize;
        node = hash(Domain::NODE, children(node, position, siblings));
        index /= ARITY as u64;
        writes.push((level, index, node));
    }
    writes
}

/// The path of leaf `index` in the tree as `read` knows it.
///
/// # Panics
/// Where `index` is not below [`LEAVES_MAX`].
pub fn path(index: u64, mut read: impl FnMut(u8, u64) -> Option<Element>) -> Path {
    assert!(index < LEAVES_MAX, "a tree has 2^32 leaves");
    let siblings = (0..DEPTH)
        .map(|level| {
            let own = index >> (2 * level);
            let first = own - own % ARITY as u64;
            let mut places = (first..first + ARITY as u64).filter(|place| *place != own);
            std::array::from_fn(|_| {
                let place = places.next().expect("three of four places are not our own");
                read(level, place).unwrap_or_else(|| empty_node(level))
            })
        })
        .collect();
    Path { index, siblings }
}

/// The root of the tree as `read` knows it.
pub fn root(mut read: impl FnMut(u8, u64) -> Option<Element>) -> Element {
    read(DEPTH, 0).unwrap_or_else(empty_root)
}

/// The root of a tree in which nothing was written.
pub fn empty_root() -> Element {
    empty_node(DEPTH)
}

/// The root of an empty subtree of `level` levels.
pub fn empty_node(level: u8) -> Element {
    static EMPTY: LazyLock<Vec<Element>> = LazyLock::new(|| {
        std::iter::successors(Some(Element::ZERO), |node| Some(hash(Domain::NODE, [*node; ARITY])))
            .take(usize::from(DEPTH) + 1)
            .collect()
    });
    EMPTY[usize::from(level)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Nodes = BTreeMap<(u8, u64), Element>;

    fn write(nodes: &mut Nodes, index: u64, leaf: Leaf) -> Element {
        let writes = append(index, leaf, |level, place| nodes.get(&(level, place)).copied());
        let root = writes.last().expect("a write ends at the root");
        assert_eq!((root.0, root.1), (DEPTH, 0));
        let root = root.2;
        nodes.extend(writes.into_iter().map(|(level, place, node)| ((level, place), node)));
        root
    }

    #[test]
    fn a_revoked_leaf_leaves_an_empty_tree() {
        let mut nodes = Nodes::new();
        let leaf = Leaf::attestation(Element::from(9), &[1; 20]);
        assert_ne!(write(&mut nodes, 7, leaf), empty_root());
        assert_eq!(write(&mut nodes, 7, Leaf::REVOKED), empty_root());
    }

    #[test]
    fn a_leaf_is_bound_to_its_sender_and_its_tree() {
        let commitment = Element::from(9);
        let leaves = [
            Leaf::attestation(commitment, &[1; 20]),
            Leaf::attestation(commitment, &[2; 20]),
            Leaf::enrolment(commitment, &[1; 20]),
            Leaf::enrolment(commitment, &[2; 20]),
        ];
        for (number, leaf) in leaves.iter().enumerate() {
            assert!(!leaves[..number].contains(leaf));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_leaf_leads_to_the_root_and_no_other_value_does(
            indices in proptest::collection::btree_set(0..LEAVES_MAX, 1..8),
            near in proptest::collection::btree_set(0_u64..20, 1..8),
        ) {
            let mut nodes = Nodes::new();
            let mut last = empty_root();
            for index in indices.union(&near) {
                last = write(&mut nodes, *index, Leaf::attestation(Element::from(*index), &[3; 20]));
            }
            for index in indices.union(&near) {
                let path = path(*index, |level, place| nodes.get(&(level, place)).copied());
                let leaf = Leaf::attestation(Element::from(*index), &[3; 20]);
                prop_assert_eq!(path.root(leaf.node()), last);
                prop_assert_ne!(path.root(Element::from(*index)), last);
            }
            prop_assert_eq!(root(|level, place| nodes.get(&(level, place)).copied()), last);
        }
    }
}
