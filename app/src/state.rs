//! Reading and writing state as typed values, and overlays that can be thrown away.

use std::collections::BTreeMap;

use crate::keys::{Key, Value};

/// What to put at each key, or to delete (`None`).
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Pairs of key and value, in key order.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// State that can be read.
pub trait StateRead {
    /// The value at `key`.
    fn get_bytes(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Pairs whose key starts with `prefix` and comes after `after`, in key order, at most `limit`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Pairs;

    /// The value at `key`.
    ///
    /// # Panics
    /// When the stored bytes are not a `V`: that is a fault of this node, which must stop rather
    /// than reject what other validators accept.
    fn get<V: Value>(&self, key: &Key<V>) -> Option<V> {
        let bytes = self.get_bytes(key.as_bytes())?;
        Some(V::decode(bytes.as_slice()).expect("state holds only what a typed key wrote"))
    }

    /// Whether there is a value at `key`.
    fn has<V: Value>(&self, key: &Key<V>) -> bool {
        self.get_bytes(key.as_bytes()).is_some()
    }
}

/// State that can be written. Writing cannot fail: a full disk stops the node at commit.
pub trait StateWrite: StateRead {
    /// Sets the value at `key`.
    fn put_bytes(&mut self, key: Vec<u8>, value: Vec<u8>);

    /// Removes the value at `key`, if any.
    fn delete_bytes(&mut self, key: &[u8]);

    /// Sets the value at `key`.
    fn put<V: Value>(&mut self, key: &Key<V>, value: &V) {
        self.put_bytes(key.as_bytes().to_vec(), value.encode_to_vec());
    }

    /// Removes the value at `key`, if any.
    fn delete<V: Value>(&mut self, key: &Key<V>) {
        self.delete_bytes(key.as_bytes());
    }
}

/// Changes over a state that stays untouched. Dropping it leaves nothing; overlays nest, so that
/// a transaction is an overlay over its block's.
pub struct Overlay<'a, S> {
    base: &'a S,
    changes: Changes,
}

impl<'a, S: StateRead> Overlay<'a, S> {
    /// No changes yet.
    pub fn new(base: &'a S) -> Self {
        Self::with_changes(base, Changes::new())
    }

    /// Continues from `changes`.
    pub fn with_changes(base: &'a S, changes: Changes) -> Self {
        Self { base, changes }
    }

    /// What was changed, with deletions of what the base does not hold: for an overlay over the
    /// same base.
    pub fn into_all_changes(self) -> Changes {
        self.changes
    }

    /// What was changed. A deletion of what the base does not hold is no change.
    pub fn into_changes(self) -> Changes {
        let base = self.base;
        let mut changes = self.changes;
        changes.retain(|key, value| value.is_some() || base.get_bytes(key).is_some());
        changes
    }

    /// Takes over the changes of an overlay over this one.
    pub fn apply(&mut self, changes: Changes) {
        self.changes.extend(changes);
    }
}

impl<S: StateRead> StateRead for Overlay<'_, S> {
    fn get_bytes(&self, key: &[u8]) -> Option<Vec<u8>> {
        match self.changes.get(key) {
            Some(changed) => changed.clone(),
            None => self.base.get_bytes(key),
        }
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Pairs {
        let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
        let changed = self.changes.range(from.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        let changed = changed.filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after));
        let (put, removed): (Vec<_>, Vec<_>) = changed.partition(|(_, value)| value.is_some());
        // Each removal hides at most one pair of the base, so these are enough for `limit`; and what was
        // put after `limit` others cannot be among the first.
        let below = self.base.scan(prefix, after, limit.saturating_add(removed.len()));
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = below.into_iter().collect();
        for (key, _) in removed {
            merged.remove(key);
        }
        let put = put.into_iter().take(limit).filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        merged.extend(put);
        merged.into_iter().take(limit).collect()
    }
}

impl<S: StateRead> StateWrite for Overlay<'_, S> {
    fn put_bytes(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert(key, Some(value));
    }

    fn delete_bytes(&mut self, key: &[u8]) {
        self.changes.insert(key.to_vec(), None);
    }
}

impl StateRead for BTreeMap<Vec<u8>, Vec<u8>> {
    fn get_bytes(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key).cloned()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Pairs {
        let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
        self.range(from.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Map = BTreeMap<Vec<u8>, Vec<u8>>;

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0u8..3, 0..4)
    }

    proptest! {
        #[test]
        fn an_overlay_reads_as_its_changes_applied(
            base in proptest::collection::btree_map(keys(), any::<u8>().prop_map(|byte| vec![byte]), 0..30),
            below in proptest::collection::btree_map(keys(), proptest::option::of(any::<u8>().prop_map(|byte| vec![byte])), 0..15),
            above in proptest::collection::btree_map(keys(), proptest::option::of(any::<u8>().prop_map(|byte| vec![byte])), 0..15),
            prefix in keys(), after in proptest::option::of(keys()), limit in 0usize..8,
        ) {
            let base: Map = base;
            let mut block = Overlay::new(&base);
            block.apply(below.clone());
            let transaction = Overlay::with_changes(&block, above.clone());
            let mut model = base.clone();
            for (key, value) in below.iter().chain(&above) {
                match value {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(key),
                };
            }
            let expected = StateRead::scan(&model, &prefix, after.as_deref(), limit);
            prop_assert_eq!(transaction.scan(&prefix, after.as_deref(), limit), expected);
            prop_assert_eq!(transaction.get_bytes(&prefix), model.get(&prefix).cloned());

            let changes = transaction.into_changes();
            let mut kept = Overlay::new(&base);
            kept.apply(below);
            kept.apply(changes);
            let applied = kept.into_changes();
            prop_assert!(applied.iter().all(|(key, value)| value.is_some() || base.contains_key(key)));
            let mut result = base;
            for (key, value) in applied {
                match value {
                    Some(value) => result.insert(key, value),
                    None => result.remove(&key),
                };
            }
            prop_assert_eq!(result, model);
        }
    }
}
