//! Searches that are sorted by what the index does not keep the past of: their order is kept while
//! they are paged through, so that pages neither skip nor repeat whatever is written meanwhile.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use crate::keys::random;

/// Most matches of one such search.
pub const MATCHES_MAX: u32 = 50_000;
/// Most such searches that are paged through at the same time; the oldest is forgotten first.
const SEARCHES_MAX: usize = 64;

/// Orders of searches, by a number that nobody can guess.
#[derive(Default)]
pub struct Kept(Mutex<VecDeque<(i64, Arc<[i64]>)>>);

impl Kept {
    /// Keeps an order; gives its number.
    pub fn keep(&self, order: Vec<i64>) -> i64 {
        let number = i64::from_be_bytes(random()) & i64::MAX;
        let mut kept = self.0.lock();
        if kept.len() >= SEARCHES_MAX {
            kept.pop_front();
        }
        kept.push_back((number, order.into()));
        number
    }

    /// The order of that number; none where it was forgotten.
    pub fn order(&self, number: i64) -> Option<Arc<[i64]>> {
        let kept = self.0.lock();
        kept.iter().find(|(found, _)| *found == number).map(|(_, order)| Arc::clone(order))
    }
}
