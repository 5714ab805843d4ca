//! A server that has the vault, for tests: whoever asks it on a thread that has other things to do is refused.

use std::{
    path::Path,
    sync::Arc,
    thread::{self, ThreadId},
};

use parking_lot::Mutex;

use super::{Pair, Space, Store, StoreError, forwarding::forward, local::LocalStore};

/// A vault of several processes that answers no question which holds up the thread that asked for some work.
pub struct Distant {
    store: LocalStore,
    /// The thread that has other things to do, while it does the work.
    busy: Mutex<Option<ThreadId>>,
}

impl Distant {
    /// One in `folder`.
    pub fn new(folder: &Path) -> Arc<Self> {
        Arc::new(Self { store: LocalStore::open(folder).unwrap(), busy: Mutex::default() })
    }

    /// Does `work`, and all that it begins on the same thread; whatever of it asks there is refused, be it the first
    /// question or a later one.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        *self.busy.lock() = Some(thread::current().id());
        let done = work.await;
        *self.busy.lock() = None;
        done
    }

    fn asked(&self) -> Result<(), StoreError> {
        match *self.busy.lock() {
            Some(busy) if busy == thread::current().id() => {
                Err(StoreError::Fault("a thread that has other things to do waits for the server".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

impl Store for Distant {
    forward!([store]: commit);

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.asked()?;
        self.store.get(space, key)
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.asked()?;
        self.store.scan(space, prefix, after, limit)
    }

    fn last(&self, space: Space) -> Result<Option<Pair>, StoreError> {
        self.asked()?;
        self.store.last(space)
    }

    fn is_shared(&self) -> bool {
        true
    }
}
