//! What a block writes, and whether it waits for the disk.

use rocksdb::{WriteBatch, WriteOptions};

use super::{
    DiskStore,
    layout::{META, REPLACED, STATE, TIP, Tip, height_of, replaced_key, tip_key},
};
use crate::{
    fault,
    state::{Changes, StateRead as _},
    store::Store as _,
};

/// Needless rows that one block removes at most, so that a shorter window does not make one block
/// slow.
const PRUNED_PER_BLOCK_MAX: usize = 50_000;

/// Whether a block's state waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syncing {
    /// Before the block's commit returns.
    EachBlock,
    /// Genesis and what is installed do; a block's state comes with the system's own writing.
    Beginnings,
}

impl DiskStore {
    /// Writes durably.
    pub(super) fn write(&self, batch: WriteBatch) {
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        self.db.write_opt(batch, &durable).unwrap_or_else(|error| fault::stop("writing a block", error));
    }

    /// Writes the state of a block.
    pub(super) fn write_block(&self, batch: WriteBatch) {
        // What the first block follows on is nobody's to execute again.
        if self.syncing == Syncing::EachBlock || self.is_before_first_block() {
            return self.write(batch);
        }
        self.db.write(batch).unwrap_or_else(|error| fault::stop("writing a block", error));
    }

    /// Writes the tip, under its height too.
    pub(super) fn write_tip(&self, batch: &mut WriteBatch, tip: &Tip) {
        let (meta, bytes) = (self.family(META), borsh::to_vec(tip).expect("a vector grows as needed"));
        batch.put_cf(meta, TIP, &bytes);
        batch.put_cf(meta, tip_key(tip.height), bytes);
    }

    /// Adds the new state to the batch, and what it replaces where an older height is retained.
    pub(super) fn write_state(&self, batch: &mut WriteBatch, height: u64, changes: &Changes, oldest: u64) {
        let (state, replaced) = (self.family(STATE), self.family(REPLACED));
        for (key, value) in changes {
            if height > oldest {
                let old = borsh::to_vec(&self.get_bytes(key)).expect("a vector grows as needed");
                batch.put_cf(replaced, replaced_key(height, key), old);
            }
            match value {
                Some(value) => batch.put_cf(state, key, value),
                None => batch.delete_cf(state, key),
            }
        }
    }

    /// Removes what only heights before `oldest` need, a bounded number of rows. Returns the height
    /// below which nothing is left.
    pub(super) fn prune_replaced(&self, batch: &mut WriteBatch, oldest: u64) -> u64 {
        // What `oldest` itself replaced is needed by the height before it alone.
        let from = self.pruned_height.to_be_bytes();
        for (count, (row, _)) in self.pairs_from(REPLACED, &from).enumerate() {
            let Some(height) = height_of(&row).filter(|height| *height <= oldest) else { break };
            if count == PRUNED_PER_BLOCK_MAX {
                return height;
            }
            batch.delete_cf(self.family(REPLACED), &row);
        }
        oldest + 1
    }
}
