//! Searches that are sorted by what the index does not keep the past of: their order is kept while
//! they are paged through, so that pages neither skip nor repeat whatever is written meanwhile.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use crate::keys::random;

/// Most matches of one such search.
pub const MATCHES_MAX: u32 = 50_000;
/// Most such searches that are paged through at the same time; the oldest is forgotten first.
const SEARCHES_MAX: usize = 64;
/// Most matches of all of them together: eight bytes each.
const MATCHES_KEPT_MAX: usize = 1_000_000;
const _: () = assert!(MATCHES_MAX as usize <= MATCHES_KEPT_MAX, "the newest search is always kept");

/// Orders of searches, by a number that nobody can guess.
#[derive(Default)]
pub struct Kept(Mutex<VecDeque<(i64, Arc<[i64]>)>>);

impl Kept {
    /// Keeps an order; gives its number.
    pub fn keep(&self, order: Vec<i64>) -> i64 {
        let number = i64::from_be_bytes(random()) & i64::MAX;
        let mut kept = self.0.lock();
        kept.push_back((number, order.into()));
        let matches = |kept: &VecDeque<(i64, Arc<[i64]>)>| kept.iter().map(|(_, order)| order.len()).sum::<usize>();
        while kept.len() > SEARCHES_MAX || matches(&kept) > MATCHES_KEPT_MAX {
            kept.pop_front();
        }
        number
    }

    /// The order of that number; none where it was forgotten.
    pub fn order(&self, number: i64) -> Option<Arc<[i64]>> {
        let kept = self.0.lock();
        kept.iter().find(|(found, _)| *found == number).map(|(_, order)| Arc::clone(order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_searches_are_kept_within_a_bound_of_matches_too() {
        let kept = Kept::default();
        let order: Vec<i64> = (0..i64::from(MATCHES_MAX)).collect();
        let first = kept.keep(order.clone());
        let small = kept.keep(vec![7]);
        for _ in 0..MATCHES_KEPT_MAX / order.len() - 1 {
            kept.keep(order.clone());
        }
        assert!(kept.order(first).is_none(), "twenty of the largest and one more are too many");
        assert_eq!(kept.order(small).as_deref(), Some(&[7][..]));
        let newest = kept.keep(order.clone());
        assert_eq!(kept.order(newest).as_deref(), Some(order.as_slice()));
    }
}
