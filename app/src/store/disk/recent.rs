//! Values of the newest state that were read or written lately, in memory.
//!
//! Every transaction is tried several times before its block is kept: in the mempool, for the proposal,
//! and again while it waits. What it reads each time is mostly what it read before.

use parking_lot::Mutex;

use crate::{remembered::Remembered, state::Changes};

/// Keys that a node remembers.
pub(super) const KEYS_MAX: usize = 65_536;
/// Keys that are remembered where a node is one part of a program.
pub(super) const KEYS_SHARED_MAX: usize = 16_384;
/// Largest value that is remembered. Bounds memory, with the number of keys; most are a tenth of it.
const VALUE_BYTES_MAX: usize = 1024;

/// What the newest state holds at some keys; `None` where it holds nothing there. What is not
/// remembered is asked of the disk: forgetting changes no answer.
pub(super) struct Recent {
    values: Mutex<Remembered<Vec<u8>, Option<Vec<u8>>>>,
}

impl Recent {
    /// Remembers at most so many keys.
    pub(super) fn of(keys_max: usize) -> Self {
        Self { values: Mutex::new(Remembered::new(keys_max)) }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.values.get_mut().clear();
    }

    /// The value at `key`, which `read` gives where it is not remembered.
    pub(super) fn get(&self, key: &[u8], read: impl FnOnce() -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        if let Some(value) = self.values.lock().get(key) {
            return value;
        }
        let value = read();
        self.note(key, &value);
        value
    }

    /// Takes over what was just written.
    pub(super) fn update(&self, changes: &Changes) {
        for (key, value) in changes {
            self.note(key, value);
        }
    }

    fn note(&self, key: &[u8], value: &Option<Vec<u8>>) {
        let mut values = self.values.lock();
        if value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
            values.forget(key);
        } else {
            values.insert(key.to_vec(), value.clone());
        }
    }
}
