//! A store whose use is counted ([`crate::work`]).

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{Batch, Durability, Exclusive, Pair, Space, Store, StoreError};
use crate::work::Counters;

/// Any store, counted.
pub struct Counted {
    store: Arc<dyn Store>,
    counters: Arc<Counters>,
}

impl Counted {
    /// Counts what is asked of `store` from now on.
    pub fn over(store: Arc<dyn Store>, counters: Arc<Counters>) -> Self {
        Self { store, counters }
    }
}

fn bytes<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> usize {
    pairs.into_iter().map(|(key, value)| key.len() + value.len()).sum()
}

impl Store for Counted {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.store.get(space, key)?;
        self.counters.vault_read(value.as_ref().map_or(0, Vec::len));
        Ok(value)
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let pairs = self.store.scan(space, prefix, after, limit)?;
        self.counters.vault_read(bytes(&pairs));
        Ok(pairs)
    }

    fn last(&self, space: Space) -> Result<Option<Pair>, StoreError> {
        let pair = self.store.last(space)?;
        self.counters.vault_read(bytes(&pair));
        Ok(pair)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        self.counters.vault_write();
        self.store.commit(batch, durability)
    }

    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    fn exclusive(&self, names: Vec<String>) -> BoxFuture<'static, Result<Exclusive, StoreError>> {
        self.store.exclusive(names)
    }

    fn try_exclusive(&self, name: &str) -> BoxFuture<'static, Result<Option<Exclusive>, StoreError>> {
        self.store.try_exclusive(name)
    }
}
