//! The versions of the tree that can be proven, in memory.

use std::collections::VecDeque;

use super::Retention;
use crate::{state::Changes, store::tree::Tree, upgrade};

/// Consecutive heights, the newest last. A height that changed nothing shares its tree with the one
/// before, so that a long window of a quiet network costs little.
#[derive(Default)]
pub(super) struct Window {
    /// Height of the newest version.
    newest: u64,
    versions: VecDeque<Version>,
    /// Keys that the versions changed together, as [`counted`] counts them.
    changes: usize,
}

/// The tree after one height.
struct Version {
    tree: Tree,
    /// Keys that this height changed, as [`counted`] counts them.
    changes: usize,
}

/// How many changes count against [`Retention::changes`]: none of a block that came with an upgrade. A migration writes
/// each value once at most, so it costs as much memory as one more tree, while the heights before it are kept; counted, it
/// would forget all of them at once, and with them who could see what.
fn counted(changes: &Changes) -> usize {
    if upgrade::is_made_in(changes) { 0 } else { changes.len() }
}

impl Window {
    /// A window that holds nothing and ends at `newest`.
    pub(super) fn ending_at(newest: u64) -> Self {
        Self { newest, ..Self::default() }
    }

    /// Adds the version before the oldest, of what its height changed.
    pub(super) fn push_older(&mut self, tree: Tree, changes: &Changes) {
        let changes = counted(changes);
        self.versions.push_front(Version { tree, changes });
        self.changes += changes;
    }

    /// Adds the version after the newest, of this height and of what it changed.
    pub(super) fn push(&mut self, height: u64, tree: Tree, changes: &Changes) {
        let changes = counted(changes);
        self.newest = height;
        self.versions.push_back(Version { tree, changes });
        self.changes += changes;
    }

    /// Forgets the newest version: its block was undone.
    pub(super) fn pop(&mut self) {
        if let Some(undone) = self.versions.pop_back() {
            self.newest -= 1;
            self.changes -= undone.changes;
        }
    }

    /// Forgets the versions that are outside the window, of heights or of changes.
    pub(super) fn forget(&mut self, retention: &Retention) {
        while self.exceeds(retention) {
            self.changes -= self.versions.pop_front().map_or(0, |version| version.changes);
        }
    }

    /// Whether there are more versions than the window has, of heights or of changes.
    pub(super) fn exceeds(&self, retention: &Retention) -> bool {
        let first_kept = (self.newest + 1).saturating_sub(retention.heights);
        self.versions.len() > 2 && (self.oldest() < first_kept || self.changes > retention.changes)
    }

    /// The oldest height that can be proven; the one after the newest where there is none.
    pub(super) fn oldest(&self) -> u64 {
        (self.newest + 1).saturating_sub(self.versions.len() as u64)
    }

    /// The newest tree; the empty one where there is none.
    pub(super) fn newest_tree(&self) -> Tree {
        self.versions.back().map(|version| version.tree.clone()).unwrap_or_default()
    }

    /// The tree after `height`.
    pub(super) fn tree(&self, height: u64) -> Option<&Tree> {
        Some(&self.versions.get(self.index(height)?)?.tree)
    }

    /// The first height after `height` that wrote `key`, which is in the tree of `height`; `None` where
    /// none did. Looks at few versions, however long the window is.
    pub(super) fn replaced_by(&self, key: &[u8], height: u64) -> Option<u64> {
        let index = self.index(height)?;
        let tree = &self.versions.get(index)?.tree;
        let (mut first, mut end) = (index + 1, self.versions.len());
        while first < end {
            let middle = first.midpoint(end);
            if self.versions[middle].tree.shares(tree, key) { first = middle + 1 } else { end = middle }
        }
        (first < self.versions.len()).then(|| self.oldest() + first as u64)
    }

    fn index(&self, height: u64) -> Option<usize> {
        usize::try_from(height.checked_sub(self.oldest())?).ok()
    }
}
