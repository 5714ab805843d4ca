//! Where sealed bodies, wraps and what belongs to them are kept.
//!
//! A store keeps pairs in [`Space`]s and takes them in [`Batch`]es: all of a batch or nothing.
//! [`local`] is the store on this machine's disk, [`postgresql`] one that several processes share. What
//! the pairs mean is `records`'s business; nothing in clear text ever reaches a store.
//!
//! [`put_body`] and [`get_body`] address a body by its content: SHA3-256 of the sealed bytes,
//! checked on every read.

use std::collections::BTreeMap;

use careledger_wire::{commitment, ids::Digest};
use futures::future::BoxFuture;

use crate::outcome::Refusal;

pub mod counted;
#[cfg(test)]
pub(crate) mod distant;
#[cfg(test)]
pub(crate) mod filling;
#[cfg(test)]
pub(crate) mod forwarding;
pub mod local;
pub mod postgresql;

/// A kind of pairs. Each is stored apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Content address → sealed body.
    Body,
    /// Record, version, key id → wrapped document key.
    Wrap,
    /// Record, version → sealed description.
    Entry,
    /// Record → current version and its time.
    Current,
    /// Record, version → the version again and its time, for every committed version.
    Committed,
    /// Record, version → since when its anchor is not known to be committed.
    Pending,
    /// Sequence → record, version: committed versions in the order in which they are indexed.
    Journal,
    /// Local patient → subject on the ledger, and back; account → local practitioner. Keyed and sealed.
    Subject,
    /// Sequence → sealed audit leaf.
    Leaf,
    /// Audit batch → what was anchored.
    Batch,
    /// Everything else, below an ASCII prefix of its user.
    State,
    /// Bulk exports: what was asked for and how far it is, and sealed lists of what is in their files.
    Export,
}

impl Space {
    /// Every space.
    pub const ALL: [Self; 12] = [
        Self::Body,
        Self::Wrap,
        Self::Entry,
        Self::Current,
        Self::Committed,
        Self::Pending,
        Self::Journal,
        Self::Subject,
        Self::Leaf,
        Self::Batch,
        Self::State,
        Self::Export,
    ];

    /// Its name on disk; never renamed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Wrap => "wrap",
            Self::Entry => "entry",
            Self::Current => "current",
            Self::Committed => "committed",
            Self::Pending => "pending",
            Self::Journal => "journal",
            Self::Subject => "subject",
            Self::Leaf => "leaf",
            Self::Batch => "batch",
            Self::State => "state",
            Self::Export => "export",
        }
    }
}

/// A key and its new value; `None` removes the pair.
pub type Change = (Space, Vec<u8>, Option<Vec<u8>>);

/// Changes that take effect together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    changes: Vec<Change>,
    /// Of these, the places of pairs that must not be there yet.
    fresh: Vec<usize>,
    /// Of these, the places of pairs that are removed only if they still have this value.
    seen: BTreeMap<usize, Vec<u8>>,
    bytes: usize,
}

impl Batch {
    /// Puts a pair.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.changes.push((space, key, Some(value)));
    }

    /// Puts a pair that must not be there yet: where it is, nothing of the batch takes effect.
    pub fn put_new(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.fresh.push(self.changes.len());
        self.put(space, key, value);
    }

    /// Removes a pair.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.bytes += key.len();
        self.changes.push((space, key, None));
    }

    /// Removes a pair if its value is still `seen`; another one stays, and the rest of the batch takes effect.
    pub fn delete_seen(&mut self, space: Space, key: impl Into<Vec<u8>>, seen: impl Into<Vec<u8>>) {
        let seen = seen.into();
        self.bytes += seen.len();
        self.seen.insert(self.changes.len(), seen);
        self.delete(space, key);
    }

    /// The changes, in the order in which they were made. Who applies them asks [`Self::seen`] too.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The pairs that must not be there yet.
    pub fn fresh(&self) -> impl Iterator<Item = (Space, &[u8])> {
        self.fresh.iter().map(|at| (self.changes[*at].0, self.changes[*at].1.as_slice()))
    }

    /// The value that the pair of the change at `place` must still have to be removed; none where any is removed.
    pub fn seen(&self, place: usize) -> Option<&[u8]> {
        self.seen.get(&place).map(Vec::as_slice)
    }

    /// Whether any pair is removed only if it still has some value.
    pub fn has_seen(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// When a batch is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before the commit returns.
    Synced,
    /// At the latest together with the next synced batch, and never without the batches before
    /// it. A killed process loses nothing; a power cut may.
    Ordered,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space, no quota, or a limit on the size of files.
    #[error("the disk is full")]
    Full,
    /// A pair that must not be there yet is there.
    #[error("somebody else was first")]
    Taken,
    /// What must be there is not, or is not what it was. It is no use to ask again.
    #[error("{0}")]
    Lost(String),
    /// Another process holds what is wanted, and does not let go.
    #[error("another process does not let go of what is wanted")]
    Held,
    /// Anything else, as the storage engine puts it. Keys and values never appear in it.
    #[error("the vault failed: {0}")]
    Fault(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::StorageFull,
            StoreError::Taken => Self::VersionConflict,
            StoreError::Lost(message) => {
                tracing::error!(message, "vault");
                Self::Lost("a body of the vault is missing or was changed")
            }
            StoreError::Held => Self::Busy,
            StoreError::Fault(message) => {
                tracing::error!(message, "vault");
                Self::Internal("the vault failed")
            }
        }
    }
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A store of pairs. Cheap to share behind an `Arc`.
pub trait Store: Send + Sync {
    /// The value of a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` pairs below `prefix` with a key greater than `after`, in key order.
    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// The pair with the greatest key of a space.
    fn last(&self, space: Space) -> Result<Option<Pair>, StoreError>;

    /// Applies a batch; on an error none of it is visible, unless the disk failed while it was made
    /// durable: then it may be there, as after a crash. Batches take effect in the order of the
    /// calls, whether or not the returned futures are awaited.
    fn commit(&self, batch: Batch, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Whether other processes may read and write here too: what this one remembers may be old then.
    fn is_shared(&self) -> bool {
        false
    }

    /// Waits until no other process holds any of `names`, and holds them until the answer is dropped. It
    /// is for the processes only: the caller lets no two of its own tasks ask for one name at once.
    fn exclusive(&self, names: Vec<String>) -> BoxFuture<'static, Result<Exclusive, StoreError>> {
        drop(names);
        Box::pin(std::future::ready(Ok(Exclusive(None))))
    }

    /// As [`Self::exclusive`] of one name, without waiting: none where another process holds it.
    fn try_exclusive(&self, _name: &str) -> BoxFuture<'static, Result<Option<Exclusive>, StoreError>> {
        Box::pin(std::future::ready(Ok(Some(Exclusive(None)))))
    }
}

/// How a store holds something against other processes: until it is dropped, or lost.
pub trait Hold: Send + Sync {
    /// Whether it is held no more, because the connection broke that held it.
    fn is_lost(&self) -> bool;
}

/// What is held against other processes, until it is dropped. A store of one process holds nothing.
pub struct Exclusive(Option<Box<dyn Hold>>);

impl Exclusive {
    /// What is held by a store's own means.
    pub fn by(hold: impl Hold + 'static) -> Self {
        Self(Some(Box::new(hold)))
    }

    /// Whether it is held no more, because the connection broke that held it.
    pub fn is_lost(&self) -> bool {
        self.0.as_ref().is_some_and(|hold| hold.is_lost())
    }
}

/// Adds a body to a batch and returns its address.
pub fn put_body(batch: &mut Batch, sealed: Vec<u8>) -> Digest {
    let address = commitment::digest(&sealed);
    batch.put(Space::Body, address.to_vec(), sealed);
    address
}

/// The body at an address, checked against it.
///
/// # Errors
/// [`StoreError::Lost`] where the body is missing or is not what its address says: what is on the disk was
/// changed behind the gateway's back.
pub fn get_body(store: &dyn Store, address: &Digest) -> Result<Vec<u8>, StoreError> {
    let sealed = store.get(Space::Body, address.as_bytes())?;
    let sealed = sealed.ok_or_else(|| StoreError::Lost(format!("body {address} is missing")))?;
    if commitment::digest(&sealed) != *address {
        return Err(StoreError::Lost(format!("body {address} is not what its address says")));
    }
    Ok(sealed)
}

#[cfg(test)]
mod tests;
