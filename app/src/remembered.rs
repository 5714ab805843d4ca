//! What a node remembers so as not to do it twice, in bounded memory.
//!
//! Looked up by key alone and never gone through, so that no order can reach a block. Hashed, because a
//! sorted map follows a pointer for each key that it compares: with tens of thousands of keys that cost as
//! much as reading the disk's cache.

#![expect(clippy::disallowed_types, reason = "never gone through: see above")]

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// A bounded memory of two generations: when the younger is full, the older is forgotten.
pub(crate) struct Remembered<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation_max: usize,
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    /// Holds at most `entries_max`.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_max: (entries_max / 2).max(1) }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.young.get(key).or_else(|| self.old.get(key)).cloned()
    }

    pub(crate) fn forget<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.young.remove(key);
        self.old.remove(key);
    }

    pub(crate) fn clear(&mut self) {
        self.young = HashMap::new();
        self.old = HashMap::new();
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_recent() {
        let mut remembered = Remembered::new(10);
        for number in 0..1_000 {
            remembered.insert(number, number);
            assert!(remembered.young.len() + remembered.old.len() <= 10);
            assert_eq!(remembered.get(&number), Some(number));
        }
        assert_eq!(remembered.get(&0), None);
        remembered.insert(998, 0);
        assert_eq!(remembered.get(&998), Some(0), "the newest value counts, also where both generations know the key");
        remembered.forget(&998);
        assert_eq!(remembered.get(&998), None);
        remembered.clear();
        assert_eq!(remembered.get(&999), None);
    }
}
