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
    let before: Option<Tree> = state.get(&id.tree());
    let index = before.as_ref().map_or(0, |tree| tree.leaves);
    let written = tree::append(index, leaf, |level, index| node(id, level, index, state));
    let (_, _, root) = *written.last().expect("a tree has a root");
    for (level, index, element) in written {
        state.put(&id.node(level, index), &element.to_bytes().to_vec());
    }
    if let Some(before) = before {
        retire(id, &before.root, block, state);
    }
    let root = field_bytes(root);
    let height = height(block);
    state.put(&id.root(&root), &Root { since_height: height, until_height: 0 });
    state.put(&id.tree(), &Tree { leaves: index + 1, root: root.to_vec() });
    state.put(&id.leaf(commitment), &Leaf { index, issuer: issuer.to_vec() });
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
