//! What an opened store has in memory before it is used: the tree of every height that can be proven.

use rocksdb::IteratorMode;

use super::{
    DiskStore, OpenError, decode_replaced,
    layout::{REPLACED, STATE, Tip, height_of},
    window::Window,
};
use crate::{fault, state::Changes, store::tree::Tree};

impl DiskStore {
    /// Makes the tree of every height that can be proven, from the newest state backwards.
    pub(super) fn load(&self) -> Result<Window, OpenError> {
        let Tip { height: newest, oldest, app_hash, .. } = self.tip;
        let pairs = self.pairs_from(STATE, &[]);
        let mut tree = Tree::of(pairs.map(|(key, value)| (key.into_vec(), value.into_vec())));
        if tree.root() != app_hash {
            return Err(OpenError::Root(newest));
        }
        let oldest = oldest.max(self.first_kept(newest));
        // From the newest height backwards, and no further than is kept: all of it at once would be most of what the
        // process ever needs.
        let mut rows = self.replaced_backwards().peekable();
        let mut window = Window::ending_at(newest);
        for height in (oldest..=newest).rev() {
            let mut undone = Changes::new();
            while let Some((row, old)) = rows.next_if(|(row, _)| height_of(row).is_none_or(|found| found >= height)) {
                if height_of(&row) == Some(height) {
                    undone.insert(row[8..].to_vec(), decode_replaced(&old));
                }
            }
            window.push_older(tree.clone(), &undone);
            if window.exceeds(&self.retention) {
                break;
            }
            if !undone.is_empty() {
                tree = tree.with(&undone);
            }
        }
        window.forget(&self.retention);
        Ok(window)
    }

    /// What every height changed, as it was before, the newest height first.
    fn replaced_backwards(&self) -> impl Iterator<Item = (Box<[u8]>, Box<[u8]>)> + '_ {
        self.db
            .iterator_cf(self.family(REPLACED), IteratorMode::End)
            .map(|pair| pair.unwrap_or_else(|error| fault::stop("reading the state", error)))
    }

    /// What `height` changed, as it was before.
    pub(super) fn replaced_at(&self, height: u64) -> Changes {
        let from = height.to_be_bytes();
        let rows = self.pairs_from(REPLACED, &from).take_while(|(row, _)| height_of(row) == Some(height));
        rows.map(|(row, old)| (row[8..].to_vec(), decode_replaced(&old))).collect()
    }
}
