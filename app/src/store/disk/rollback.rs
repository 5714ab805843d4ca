//! Undoing the newest block, as `cometbft rollback` does with the node's own state.
//!
//! The state goes back by the rows of `replaced`, and must then have the root that was committed at
//! the height before. Outcomes of the block's transactions are forgotten, and so are snapshots of what
//! is undone. Outcomes that the block overwrote or pushed out of the window do not come back: they are
//! this node's own memory and no part of the state.

use std::io;

use rocksdb::WriteBatch;

use super::{
    DiskStore,
    layout::{META, REPLACED, RESULTS, RESULTS_BY_HEIGHT, STATE, Tip, height_of, replaced_key, tip_key},
    snapshots::Snapshots,
};
use crate::state::Changes;

/// What undoing the newest block does; [`DiskStore::roll_back`] does it.
#[derive(Debug)]
pub struct Undo {
    /// The block that is undone.
    pub height: u64,
    /// Time of the block before it, Unix seconds.
    pub time: i64,
    /// Root of the state after it is undone.
    pub app_hash: [u8; 32],
    /// Heights of the snapshots that are removed.
    pub snapshots: Vec<u64>,
    /// What the block replaced.
    changes: Changes,
    /// Rows of `results-by-height` that the block wrote.
    outcomes: Vec<Box<[u8]>>,
    before: Tip,
}

impl Undo {
    /// Keys of the state that get back what they had.
    pub fn keys(&self) -> usize {
        self.changes.len()
    }

    /// Transactions whose outcome is forgotten.
    pub fn outcomes(&self) -> usize {
        self.outcomes.len()
    }
}

/// Why the newest block cannot be undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// There is no block.
    #[error("no block was committed yet")]
    NoBlock,
    /// The state of the height before is gone, or never was here.
    #[error(
        "the state at height {0} is not kept: the node joined from a snapshot after it, or all that is kept was undone"
    )]
    NotKept(u64),
    /// An older program wrote it.
    #[error("height {0} was committed by a version that did not note what undoing needs")]
    NotNoted(u64),
    /// What the block replaced was changed or lost.
    #[error(
        "undoing block {0} does not give the root that was committed before it: what it replaced is damaged on this disk"
    )]
    Damaged(u64),
}

impl DiskStore {
    /// What undoing the newest block would do, or why it cannot be done. Changes nothing.
    pub fn undo(&self) -> Result<Undo, UndoError> {
        let height = self.tip.height;
        if height < self.initial_height() {
            return Err(UndoError::NoBlock);
        }
        let to = height - 1;
        let tree = self.window.tree(to).ok_or(UndoError::NotKept(to))?;
        let before = self.read(META, &tip_key(to)).ok_or(UndoError::NotNoted(to))?;
        let before: Tip = borsh::from_slice(&before).map_err(|_| UndoError::Damaged(height))?;
        let is_before = before.height == to && before.chain == self.tip.chain;
        if !is_before || before.app_hash != tree.root() {
            return Err(UndoError::Damaged(height));
        }
        let from = height.to_be_bytes();
        let outcomes = self.pairs_from(RESULTS_BY_HEIGHT, &from).map(|(row, _)| row);
        Ok(Undo {
            height,
            time: before.time,
            app_hash: before.app_hash,
            snapshots: self.snapshots.as_ref().map(|snapshots| snapshots.from(height)).unwrap_or_default(),
            changes: self.replaced_at(height),
            outcomes: outcomes.take_while(|row| height_of(row) == Some(height)).collect(),
            before: Tip { oldest: self.tip.oldest, ..before },
        })
    }

    /// Undoes the newest block, durably: all of it or, after a crash, perhaps only the removal of
    /// its snapshots.
    ///
    /// # Errors
    /// When a snapshot cannot be removed; the state is untouched then.
    pub fn roll_back(&mut self, undo: Undo) -> io::Result<()> {
        self.snapshots.as_ref().map_or(Ok(()), |snapshots: &Snapshots| snapshots.remove_from(undo.height))?;
        let mut batch = WriteBatch::default();
        let (state, replaced) = (self.family(STATE), self.family(REPLACED));
        for (key, value) in &undo.changes {
            batch.delete_cf(replaced, replaced_key(undo.height, key));
            match value {
                Some(value) => batch.put_cf(state, key, value),
                None => batch.delete_cf(state, key),
            }
        }
        for row in undo.outcomes {
            // A row is the height and the transaction's hash.
            batch.delete_cf(self.family(RESULTS), &row[8..]);
            batch.delete_cf(self.family(RESULTS_BY_HEIGHT), row);
        }
        batch.delete_cf(self.family(META), tip_key(undo.height));
        self.write_tip(&mut batch, &undo.before);
        self.write(batch);
        self.recent.update(&undo.changes);
        self.tip = undo.before;
        self.window.pop();
        Ok(())
    }
}
