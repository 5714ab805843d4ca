//! Records: seal, store, anchor, index, answer.
//!
//! The order of a write is: body sealed and durable in the vault → pointer committed by the
//! ledger → version visible → told to the index → answer. A crash between any two of these is repaired at
//! the next start (`records/repair.rs`): a version whose anchor is not known to be committed is
//! looked up on the ledger and made visible or dropped.
//!
//! Writes that wait for a block at the same time share a transaction (`records/anchoring.rs`), and those that wait to
//! become visible share one of the index (`records/publishing.rs`).
//!
//! FHIR version n is ledger version n. A deletion is a version whose body is empty.
//!
//! Absent on purpose: nothing here decides who may read; that is `auth` for local callers and
//! `release` for other organizations.

use std::{collections::HashMap, sync::Arc};

use careledger_wire::{
    ids::{EncryptionKey, RecordId},
    message::Message,
};
use parking_lot::Mutex;

use crate::{
    envelope::{self, Document, StorageKey, ValueKey, Wrap},
    keys::{OrganizationKeys, random},
    ledger::Ledger,
    outcome::Refusal,
    vault::{self, Exclusive, Space, Store},
};

mod anchored;
mod anchoring;
mod dropping;
mod entry;
mod feed;
mod links;
mod notes;
mod pipeline;
mod publishing;
mod repair;
mod verify;
mod version;
mod visible;

pub use anchoring::ANCHORING_MESSAGES_MAX;
use entry::Entry;
pub use feed::{Feed, Rebuilt};
pub(crate) use pipeline::{asking, blocking};
pub use repair::{Progress, Reindexed, Repaired};
pub use verify::{Flaw, Flawed, Verified};
pub use version::{Change, Content, Listed, Sealed, Stored};

/// An organization's records. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    core: Arc<Core>,
    anchoring: anchoring::Queue,
}

/// What the parts of the pipeline share.
struct Core {
    keys: Arc<OrganizationKeys>,
    /// Seals descriptions of documents.
    entry_key: ValueKey,
    /// Wraps the keys of documents.
    storage_key: StorageKey,
    store: Arc<dyn Store>,
    ledger: Ledger,
    feed: Arc<dyn Feed>,
    /// Names this opening of the records: what an earlier process sent to an embedded ledger and
    /// did not see committed is forgotten by it.
    run: [u8; 16],
    /// Records that a write holds, or whose last write has an unknown outcome.
    held: Mutex<HashMap<RecordId, Held>>,
    /// What the ledger has and whose turn has not come.
    waiting: publishing::Waiting,
    /// Held while changes become visible and are indexed, so that the index sees them in order.
    sequence: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// A write is under way.
    Writing,
    /// The ledger did not say in time whether it committed this version.
    Unknown,
}

impl Records {
    /// Opens the records of one organization over its vault, ledger and index, and repairs what a
    /// crash left behind. Must run inside a tokio runtime.
    pub async fn open(
        keys: Arc<OrganizationKeys>,
        store: Arc<dyn Store>,
        ledger: Ledger,
        feed: Arc<dyn Feed>,
    ) -> Result<(Self, Repaired), Refusal> {
        let (records, mut repaired) = Self::open_unindexed(keys, store, ledger, feed).await?;
        repaired.indexed = records.core.bring_up_to_date().await?;
        Ok((records, repaired))
    }

    /// As [`Self::open`]; the index stays as it is, to be rebuilt.
    pub async fn open_unindexed(
        keys: Arc<OrganizationKeys>,
        store: Arc<dyn Store>,
        ledger: Ledger,
        feed: Arc<dyn Feed>,
    ) -> Result<(Self, Repaired), Refusal> {
        let core = Arc::new(Core {
            entry_key: ValueKey::of(&keys.storage.derive("careledger/vault-entry/1")),
            storage_key: StorageKey::of(&keys.storage),
            keys,
            store,
            run: random(),
            ledger,
            feed,
            held: Mutex::default(),
            waiting: publishing::Waiting::default(),
            sequence: tokio::sync::Mutex::default(),
        });
        let repaired = core.repair().await?;
        let anchoring = anchoring::Queue::start(&core);
        Ok((Self { core, anchoring }, repaired))
    }

    /// Makes all of `changes` in one ledger transaction together with `extra`, or none of them.
    /// Returns when the versions are durable, committed and found by whoever asks the index.
    ///
    /// # Errors
    /// [`Refusal::VersionConflict`] where a version is not the expected one or another write is
    /// under way; [`Refusal::Ledger`] where the ledger refused; [`Refusal::LedgerUnavailable`]
    /// where it did not answer in time: the outcome is found out later, and until then writes to
    /// these records get the same answer; [`Refusal::StorageFull`].
    pub async fn commit(&self, changes: Vec<Change>, extra: Vec<Message>) -> Result<Vec<Stored>, Refusal> {
        self.commit_with(changes, extra, None).await
    }

    /// As [`Self::commit`], and leaves `note` beside each version, durably before the ledger is asked, until
    /// somebody takes it ([`Self::note_key`]).
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn commit_noted(
        &self,
        changes: Vec<Change>,
        extra: Vec<Message>,
        note: Vec<u8>,
    ) -> Result<Vec<Stored>, Refusal> {
        self.commit_with(changes, extra, Some(note)).await
    }

    async fn commit_with(
        &self,
        changes: Vec<Change>,
        extra: Vec<Message>,
        note: Option<Vec<u8>>,
    ) -> Result<Vec<Stored>, Refusal> {
        let records = self.clone();
        // In a task of its own: a client that hangs up must not leave a write half-way.
        let task = tokio::spawn(async move { records.write(changes, extra, note.as_deref()).await });
        task.await.map_err(|_| Refusal::Internal("a write was interrupted"))?
    }

    /// The current version.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], or [`Refusal::Gone`] after a deletion.
    pub async fn read(&self, resource_type: &str, id: &str) -> Result<Stored, Refusal> {
        match self.latest(resource_type, id).await? {
            Stored { content: Content::Deleted, .. } => Err(Refusal::Gone),
            stored => Ok(stored),
        }
    }

    /// The current version, a deletion too: whose it was decides who may learn that it is gone.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where the resource never existed.
    pub async fn latest(&self, resource_type: &str, id: &str) -> Result<Stored, Refusal> {
        let record = self.core.keys.record_id(resource_type, id);
        let latest = move |core: &Core| {
            let (version, time) = core.current(&record)?.ok_or(Refusal::NotFound)?;
            core.stored_at(&record, version, time)?.ok_or(Refusal::NotFound)
        };
        self.core.asking(latest).await
    }

    /// The version that is current, a deletion too, once it is known what became of every earlier
    /// write; `None` where the resource never existed.
    ///
    /// # Errors
    /// [`Refusal::LedgerUnavailable`] while the ledger may still commit an earlier write;
    /// [`Refusal::VersionConflict`] while the first version is being written.
    pub async fn settled(&self, resource_type: &str, id: &str) -> Result<Option<u32>, Refusal> {
        let record = self.core.keys.record_id(resource_type, id);
        let core = Arc::clone(&self.core);
        // In a task of its own: a client that hangs up must not leave half-way what is found out for all.
        let settled = tokio::spawn(async move { core.settle(&[record]).await });
        settled.await.map_err(|_| Refusal::Internal("a write was interrupted"))??;
        let held = self.core.held.lock().get(&record).copied();
        match (held, self.core.asking(move |core| core.current(&record)).await?) {
            (Some(Held::Unknown), _) => Err(Refusal::LedgerUnavailable),
            (Some(Held::Writing), None) => Err(Refusal::VersionConflict),
            (_, current) => Ok(current.map(|(version, _)| version)),
        }
    }

    /// Whether the vault has this version of a resource, or a later one.
    pub fn has(&self, resource_type: &str, id: &str, version: u32) -> Result<bool, Refusal> {
        let current = self.core.current(&self.core.keys.record_id(resource_type, id))?;
        Ok(current.is_some_and(|(current, _)| current >= version))
    }

    /// Marks of the versions that are prepared and not visible yet, at most `limit`.
    pub async fn waiting(&self, limit: usize) -> Result<Vec<Vec<u8>>, Refusal> {
        let marks = self.core.asking(move |core| Ok(core.store.scan(Space::Pending, &[], None, limit)?)).await?;
        Ok(marks.into_iter().map(|(mark, _)| mark).collect())
    }

    /// Sequence of the last visible change; 0 where there is none. Whoever asks waits for nobody who makes others visible:
    /// these may wait long for the journal, or fill the index.
    pub async fn last_change(&self) -> Result<u64, Refusal> {
        self.core.asking(Core::last_sequence).await
    }

    /// Whether other processes may write here too.
    pub fn are_shared(&self) -> bool {
        self.core.store.is_shared()
    }

    /// Holds `names` against the other processes of the organization, until the answer is dropped. The
    /// caller lets no two of its own tasks ask for one name at once.
    pub async fn exclusive(&self, names: Vec<String>) -> Result<Exclusive, Refusal> {
        Ok(self.core.store.exclusive(names).await?)
    }

    /// One version, a deletion too.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Lost`] where it was committed and the vault has it no more.
    pub async fn any_version(&self, resource_type: &str, id: &str, version: u32) -> Result<Stored, Refusal> {
        let record = self.core.keys.record_id(resource_type, id);
        self.core.asking(move |core| core.stored(&record, version)).await?.ok_or(Refusal::NotFound)
    }

    /// One committed version as it lies in the vault.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], or [`Refusal::Gone`] where the version is a deletion.
    pub async fn sealed_version(&self, resource_type: &str, id: &str, version: u32) -> Result<Sealed, Refusal> {
        let record = self.core.keys.record_id(resource_type, id);
        self.core.asking(move |core| core.sealed_version(record, version)).await
    }

    /// Wraps the document key of `sealed` for another organization's registered key. The caller
    /// has decided that it may have it, and has logged that.
    pub fn wrap_for(&self, sealed: &Sealed, recipient: &EncryptionKey) -> Result<Wrap, Refusal> {
        let key = envelope::unwrap_own(&sealed.document, &sealed.own_wrap, &self.core.storage_key)
            .map_err(|_| Refusal::Internal("an own wrap does not open"))?;
        envelope::wrap_for(&sealed.document, &key, recipient)
            .map_err(|_| Refusal::Rule("the requester's registered encryption key is not usable".to_owned()))
    }

    /// Builds the index anew from the vault, checking every current version against the ledger.
    /// Writes wait meanwhile. `progress` is called now and then.
    pub async fn reindex(&self, progress: impl FnMut(Progress) + Send) -> Result<Reindexed, Refusal> {
        self.core.reindex(progress).await
    }

    /// Reads every committed version as if it were asked for, and compares the current ones with the
    /// ledger. Changes nothing. `progress` is called now and then.
    pub async fn verify(&self, progress: impl FnMut(Progress) + Send) -> Result<Verified, Refusal> {
        self.core.verify(progress).await
    }
}

impl Core {
    /// Asks the vault where that holds up nobody else.
    async fn asking<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        asking(self, &*self.store, ask).await
    }

    fn sealed_version(&self, record: RecordId, version: u32) -> Result<Sealed, Refusal> {
        let committed = self.store.get(Space::Committed, &entry::key(&record, version))?;
        let (_, time) = entry::version_and_time(&committed.ok_or(Refusal::NotFound)?)?;
        let entry = self.entry(&record, version)?.ok_or(Refusal::NotFound)?;
        if entry.is_deletion() {
            return Err(Refusal::Gone);
        }
        let document = Document::new(record, version);
        Ok(Sealed {
            document,
            body: vault::get_body(self.store.as_ref(), &entry.address)?,
            own_wrap: self.own_wrap(&document)?,
            content_type: entry.content_type(),
            resource_type: entry.resource_type,
            id: entry.id,
            last_updated: time,
            patient: entry.patient,
            subject: entry.subject,
            salt: entry.salt,
        })
    }

    /// Sequence of the last visible change; 0 where there is none.
    fn last_sequence(&self) -> Result<u64, Refusal> {
        self.store.last(Space::Journal)?.map_or(Ok(0), |(key, _)| sequence_of(&key))
    }

    /// Version and time of the current version.
    fn current(&self, record: &RecordId) -> Result<Option<(u32, i64)>, Refusal> {
        let value = self.store.get(Space::Current, record.as_bytes())?;
        value.map(|value| entry::version_and_time(&value)).transpose()
    }

    fn entry(&self, record: &RecordId, version: u32) -> Result<Option<Entry>, Refusal> {
        let key = entry::key(record, version);
        let Some(sealed) = self.store.get(Space::Entry, &key)? else { return Ok(None) };
        Entry::open(&self.entry_key, &key, &sealed).map(Some)
    }

    /// A committed version with its content.
    fn stored(&self, record: &RecordId, version: u32) -> Result<Option<Stored>, Refusal> {
        let Some(time) = self.store.get(Space::Committed, &entry::key(record, version))? else { return Ok(None) };
        let (_, time) = entry::version_and_time(&time)?;
        self.stored_at(record, version, time)
    }

    /// The same, where it is known to be committed, and when.
    fn stored_at(&self, record: &RecordId, version: u32, time: i64) -> Result<Option<Stored>, Refusal> {
        let Some(entry) = self.entry(record, version)? else { return Ok(None) };
        let document = Document::new(*record, version);
        let own = self.own_wrap(&document)?;
        let refused = |_| Refusal::Lost("a document of the vault does not open");
        let key = envelope::unwrap_own(&document, &own, &self.storage_key).map_err(refused)?;
        let sealed = vault::get_body(self.store.as_ref(), &entry.address)?;
        let plaintext = envelope::open(&document, &key, &sealed).map_err(refused)?;
        let content = entry.content(plaintext);
        Ok(Some(entry.stored(version, time, content)))
    }

    fn own_wrap(&self, document: &Document) -> Result<Wrap, Refusal> {
        let key = entry::wrap_key(document, self.storage_key.id());
        let wrap = self.store.get(Space::Wrap, &key)?.ok_or(Refusal::Lost("a document has no own wrap"))?;
        serde_json::from_slice(&wrap).map_err(|_| Refusal::Lost("a wrap of the vault does not decode"))
    }
}

fn sequence_of(key: &[u8]) -> Result<u64, Refusal> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| Refusal::Internal("a journal key is not 8 bytes"))
}

#[cfg(test)]
mod tests;
