//! Disks that fill up or fail, for tests.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::future::BoxFuture;

use super::{Batch, Durability, Space, Store, StoreError, forwarding::forward, local::LocalStore};

/// A store that is full when it is told to be.
pub struct Filling {
    store: LocalStore,
    full: Arc<AtomicBool>,
}

impl Filling {
    /// A store in `folder` that is full while `full` says so.
    pub fn new(folder: &Path, full: &Arc<AtomicBool>) -> Self {
        Self { store: LocalStore::open(folder).unwrap(), full: Arc::clone(full) }
    }
}

impl Store for Filling {
    forward!([store]: get, scan, last);

    fn commit(&self, batch: Batch, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        if self.full.load(Ordering::Relaxed) {
            return Box::pin(async { Err(StoreError::Full) });
        }
        self.store.commit(batch, durability)
    }
}

/// A store whose disk fails, when it is told to, after a batch was written and before it is durable.
pub struct Failing {
    store: LocalStore,
    fails: Arc<AtomicBool>,
}

impl Failing {
    /// A store in `folder` that fails while `fails` says so.
    pub fn new(folder: &Path, fails: &Arc<AtomicBool>) -> Self {
        Self { store: LocalStore::open(folder).unwrap(), fails: Arc::clone(fails) }
    }
}

impl Store for Failing {
    forward!([store]: get, scan, last);

    fn commit(&self, batch: Batch, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        let (written, fails) = (self.store.commit(batch, durability), self.fails.load(Ordering::Relaxed));
        Box::pin(async move {
            written.await?;
            if fails { Err(StoreError::Fault("the disk failed".to_owned())) } else { Ok(()) }
        })
    }
}

/// A store that answers no question about a key, when it is told to.
pub struct Mute {
    store: LocalStore,
    is_mute: Arc<AtomicBool>,
}

impl Mute {
    /// A store in `folder` that does not answer while `is_mute` says so.
    pub fn new(folder: &Path, is_mute: &Arc<AtomicBool>) -> Self {
        Self { store: LocalStore::open(folder).unwrap(), is_mute: Arc::clone(is_mute) }
    }
}

impl Store for Mute {
    forward!([store]: scan, last, commit);

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if self.is_mute.load(Ordering::Relaxed) {
            return Err(StoreError::Fault("the disk failed".to_owned()));
        }
        self.store.get(space, key)
    }
}
