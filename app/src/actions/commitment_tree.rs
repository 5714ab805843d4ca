//! Append-only trees of commitments, and the roots that proofs may still name.

use careledger_wire::{
    ids::{Address, FieldBytes},
    proto::state::{Leaf, Root, Tree},
};
use careledger_zk::{field::Element, tree};

use super::fields::field_bytes;
use crate::{
    keys::TreeId,
    limits::ROOT_WINDOW_BLOCKS,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::BlockContext,
};

/// Whether there is a place for a commitment that is not there yet.
pub(super) fn check_append(id: &TreeId, commitment: &FieldBytes, state: &impl StateRead) -> Result<(), Reject> {
    if state.has(&id.leaf(commitment)) {
        return Err(Reject::CommitmentExists);
    }
    let leaves = state.get(&id.tree()).unwrap_or_default().leaves;
    if leaves < tree::LEAVES_MAX { Ok(()) } else { Err(Reject::TreeFull) }
}

/// Appends a leaf that [`check_append`] allowed, and makes the new root current.
pub(super) fn append(
    id: &TreeId,
    commitment: &FieldBytes,
    issuer: &Address,
    leaf: tree::Leaf,
    block: &BlockContext,
    state: &mut impl StateWrite,
) {
    let index = state.get(&id.tree()).map_or(0, |tree| tree.leaves);
    let root = set(id, index, leaf, state);
    make_current(id, root, index + 1, block, state);
    state.put(&id.leaf(commitment), &Leaf { index, issuer: issuer.to_vec(), revoked_height: 0 });
}

/// Revokes leaves that are there and are not revoked, and makes the new root current. Proofs under an
/// earlier root are accepted as long as under any that was replaced.
pub(super) fn revoke(id: &TreeId, commitments: &[FieldBytes], block: &BlockContext, state: &mut impl StateWrite) {
    let before = state.get(&id.tree()).expect("a leaf that is there is in a tree");
    let mut root = None;
    for commitment in commitments {
        let leaf = state.get(&id.leaf(commitment)).expect("check found it");
        root = Some(set(id, leaf.index, tree::Leaf::REVOKED, state));
        state.put(&id.leaf(commitment), &Leaf { revoked_height: height(block), ..leaf });
    }
    if let Some(root) = root {
        make_current(id, root, before.leaves, block, state);
    }
}

/// Sets one leaf; gives the root after it.
fn set(id: &TreeId, index: u64, leaf: tree::Leaf, state: &mut impl StateWrite) -> Element {
    let written = tree::append(index, leaf, |level, index| node(id, level, index, state));
    let (_, _, root) = *written.last().expect("a tree has a root");
    for (level, index, element) in written {
        state.put(&id.node(level, index), &element.to_bytes().to_vec());
    }
    root
}

/// Replaces the current root. One that was current before (revoking the newest leaf leaves the tree that
/// was there before it) keeps the height since which it is known: proofs against it may be on their way.
fn make_current(id: &TreeId, root: Element, leaves: u64, block: &BlockContext, state: &mut impl StateWrite) {
    if let Some(before) = state.get(&id.tree()) {
        retire(id, &before.root, block, state);
    }
    let root = field_bytes(root);
    let since_height = state.get(&id.root(&root)).map_or(height(block), |known| known.since_height);
    state.put(&id.root(&root), &Root { since_height, until_height: 0 });
    state.put(&id.tree(), &Tree { leaves, root: root.to_vec() });
}

/// Whether a proof may still name `root`.
pub(super) fn is_recent(id: &TreeId, root: &FieldBytes, block: &BlockContext, state: &impl StateRead) -> bool {
    let Some(root) = state.get(&id.root(root)) else { return false };
    let window = ROOT_WINDOW_BLOCKS as i64;
    root.until_height == 0 || height(block) - root.until_height <= window
}

/// A node of the tree, where one was written.
pub(crate) fn node(id: &TreeId, level: u8, index: u64, state: &impl StateRead) -> Option<Element> {
    let bytes = state.get(&id.node(level, index))?;
    let bytes = bytes.as_slice().try_into().expect("a node is written with 32 bytes");
    Some(Element::from_bytes(bytes).expect("a node is written canonically"))
}

/// Ends the time of the root that is being replaced. One that this very block made was never
/// committed, so nobody can have proven against it.
fn retire(id: &TreeId, root: &[u8], block: &BlockContext, state: &mut impl StateWrite) {
    let key = id.root(&FieldBytes::try_from(root).expect("a root is written with 32 bytes"));
    let replaced: Root = state.get(&key).expect("the current root is known");
    if replaced.since_height == height(block) {
        state.delete(&key);
    } else {
        state.put(&key, &Root { until_height: height(block), ..replaced });
    }
}

fn height(block: &BlockContext) -> i64 {
    i64::try_from(block.height).expect("CometBFT's heights are positive 64-bit integers")
}
