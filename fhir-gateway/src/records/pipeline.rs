//! The write path of one request, step by step.

use std::sync::Arc;

use careledger_wire::{
    ids::{RecordId, SubjectId},
    message::Message,
    proto::records::{Anchor, Supersession},
};

use super::{
    Change, Content, Core, Held, Records, Stored,
    anchoring::Unit,
    entry::{self, About, Entry},
    notes,
};
use crate::{
    envelope::{self, Document, DocumentKey},
    keys::random,
    outcome::Refusal,
    vault::{self, Batch, Durability, Space, Store, StoreError},
};

/// Name of the lock under which changes become visible.
pub(super) const JOURNAL: &str = "journal";

/// A version that is in the vault and not yet visible.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub record: RecordId,
    pub version: u32,
    pub entry: Entry,
    /// `None` where it was read back after a crash.
    pub content: Option<Content>,
}

impl Prepared {
    /// The anchor of a first version.
    pub fn anchor(&self) -> Option<Anchor> {
        (self.version == 1)
            .then(|| Anchor { record: self.record.to_vec(), commitment: self.entry.commitment(self.version).to_vec() })
    }

    /// The supersession of a later version.
    pub fn supersession(&self) -> Option<Supersession> {
        (self.version > 1).then(|| Supersession {
            record: self.record.to_vec(),
            version: self.version,
            commitment: self.entry.commitment(self.version).to_vec(),
        })
    }
}

/// Why changes were not prepared; then nothing of them is in the vault.
#[derive(Debug)]
pub(super) enum Unprepared {
    /// Another process prepared one of these versions.
    Taken,
    /// Anything else.
    Refused(Refusal),
}

/// Records that one write holds; let go when dropped, unless the outcome is unknown.
pub(super) struct Hold {
    core: Arc<Core>,
    records: Vec<RecordId>,
}

impl Hold {
    fn take(core: &Arc<Core>, records: Vec<RecordId>) -> Result<Self, Refusal> {
        let mut held = core.held.lock();
        for record in &records {
            match held.get(record) {
                None => {}
                Some(Held::Writing) => return Err(Refusal::VersionConflict),
                Some(Held::Unknown) => return Err(Refusal::LedgerUnavailable),
            }
        }
        let distinct: std::collections::BTreeSet<_> = records.iter().collect();
        if distinct.len() != records.len() {
            return Err(Refusal::Rule("one transaction may change a resource only once".to_owned()));
        }
        held.extend(records.iter().map(|record| (*record, Held::Writing)));
        drop(held);
        Ok(Self { core: Arc::clone(core), records })
    }

    /// Holds a record whose last write has an unknown outcome, to find it out. `None` where
    /// somebody else already does, or did.
    pub fn take_unknown(core: &Arc<Core>, record: RecordId) -> Option<Self> {
        let mut held = core.held.lock();
        let state = held.get_mut(&record).filter(|state| **state == Held::Unknown)?;
        *state = Held::Writing;
        Some(Self { core: Arc::clone(core), records: vec![record] })
    }

    /// Keeps the records closed to writes until the ledger's answer is known.
    pub fn keep_as_unknown(self) {
        let mut held = self.core.held.lock();
        for record in &self.records {
            held.insert(*record, Held::Unknown);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.core.held.lock();
        for record in &self.records {
            if held.get(record) == Some(&Held::Writing) {
                held.remove(record);
            }
        }
    }
}

impl Records {
    /// The body of [`Records::commit`].
    pub(super) async fn write(
        &self,
        changes: Vec<Change>,
        extra: Vec<Message>,
        note: Option<&[u8]>,
    ) -> Result<Vec<Stored>, Refusal> {
        let unit = self.core.unit(changes, extra, note).await?;
        let stored = self.anchoring.commit(unit).await?;
        Ok(stored.into_iter().map(Arc::unwrap_or_clone).collect())
    }
}

impl Records {
    /// Whether a change of `resource_type`/`id` that replaces version `expected` fits to what is
    /// current. Only the commit decides: others write meanwhile.
    pub async fn is_current(&self, resource_type: &str, id: &str, expected: Option<u32>) -> Result<bool, Refusal> {
        let record = self.core.keys.record_id(resource_type, id);
        let current = self.core.asking(move |core| core.current(&record)).await?;
        Ok(current.map(|(version, _)| version) == expected)
    }

    /// What the ledger would say now to the transaction of `changes` and `extra`, before anything
    /// is sealed: other digests than theirs stand in it.
    ///
    /// # Errors
    /// [`Refusal::Ledger`] when it would refuse.
    pub async fn rehearse(&self, changes: impl Iterator<Item = &Change>, extra: &[Message]) -> Result<(), Refusal> {
        let (mut anchors, mut supersessions) = (Vec::new(), Vec::new());
        for change in changes {
            let (record, commitment) = (self.core.record_of(change).to_vec(), random::<32>().to_vec());
            match change.target() {
                (_, _, None) => anchors.push(Anchor { record, commitment }),
                (_, _, Some(expected)) => {
                    supersessions.push(Supersession { record, version: expected.saturating_add(1), commitment });
                }
            }
        }
        let signer = &self.core.keys.signer;
        let messages = super::anchoring::messages(&signer.address(), extra.to_vec(), anchors, supersessions);
        if messages.is_empty() { Ok(()) } else { self.core.ledger.rehearse(signer, &messages).await }
    }
}

impl Core {
    /// The write of `changes`, durable in the vault with a note beside each, and ready to be anchored.
    pub(super) async fn unit(
        self: &Arc<Self>,
        changes: Vec<Change>,
        extra: Vec<Message>,
        note: Option<&[u8]>,
    ) -> Result<Unit, Refusal> {
        let records = changes.iter().map(|change| self.record_of(change)).collect::<Vec<_>>();
        self.settle(&records).await?;
        let hold = Hold::take(self, records)?;
        let since = self.ledger.now();
        match self.prepare(changes, note).await {
            Ok(prepared) => Ok(Unit { prepared, extra, hold, since }),
            // Another process writes one of them, or ended while it did: what became of that is found out
            // before the next write.
            Err(Unprepared::Taken) => {
                hold.keep_as_unknown();
                Err(Refusal::VersionConflict)
            }
            Err(Unprepared::Refused(refusal)) => Err(refusal),
        }
    }

    pub(super) fn record_of(&self, change: &Change) -> RecordId {
        let (resource_type, id, _) = change.target();
        self.keys.record_id(resource_type, id)
    }

    /// Seals every change and makes it durable in the vault, not yet visible.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        changes: Vec<Change>,
        note: Option<&[u8]>,
    ) -> Result<Vec<Prepared>, Unprepared> {
        let note = note.map(<[u8]>::to_vec);
        let sealed = self.asking(move |core| core.seal_all(changes, note.as_deref())).await;
        let (prepared, batch) = sealed.map_err(Unprepared::Refused)?;
        if !batch.is_empty() {
            self.store.commit(batch, Durability::Synced).await.map_err(|error| match error {
                StoreError::Taken => Unprepared::Taken,
                error => Unprepared::Refused(error.into()),
            })?;
        }
        Ok(prepared)
    }

    /// Every change sealed, and what is to be written of them.
    fn seal_all(&self, changes: Vec<Change>, note: Option<&[u8]>) -> Result<(Vec<Prepared>, Batch), Refusal> {
        let mut batch = Batch::default();
        let sealed = changes.into_iter().map(|change| self.seal(change, &mut batch)).collect::<Result<Vec<_>, _>>();
        let prepared = sealed?;
        for Prepared { record, version, .. } in &prepared {
            let key = notes::key(&entry::key(record, *version));
            note.iter().for_each(|note| batch.put(Space::State, key.clone(), self.seal_note(&key, note)));
        }
        Ok((prepared, batch))
    }

    pub(super) fn seal(&self, change: Change, batch: &mut Batch) -> Result<Prepared, Refusal> {
        let record = self.record_of(&change);
        let current = self.current(&record)?.map(|(version, _)| version);
        let (about, content, expected) = match change {
            Change::Create { resource_type, id, content, patient } => {
                let subject = self.subject_for(patient.as_deref())?;
                (About { resource_type, id, patient, subject }, content, None)
            }
            Change::Update { resource_type, id, content, patient, expected } => {
                let subject = self.subject_for(patient.as_deref())?;
                (About { resource_type, id, patient, subject }, content, Some(expected))
            }
            Change::Delete { resource_type, id, expected } => {
                // A deletion belongs to whomever the deleted version was about.
                let before = self.entry(&record, expected)?.ok_or(Refusal::VersionConflict)?;
                let about = About { resource_type, id, patient: before.patient, subject: before.subject };
                (about, Content::Deleted, Some(expected))
            }
        };
        if current != expected {
            return Err(Refusal::VersionConflict);
        }
        let version = current.unwrap_or(0).checked_add(1).ok_or(Refusal::Internal("a version number overflowed"))?;
        let document = Document::new(record, version);
        let document_key = DocumentKey::random();
        let address = vault::put_body(batch, envelope::seal(&document, &document_key, content.bytes()));
        let wrap = envelope::wrap_own(&document, &document_key, &self.storage_key);
        let wrap_key = entry::wrap_key(&document, &wrap.key_id);
        let entry = Entry::new(about, &content, random(), address);
        let key = entry::key(&record, version);
        batch.put(Space::Wrap, wrap_key, serde_json::to_vec(&wrap).expect("text always serialises"));
        // New, both: no other process seals another body under the same version, be it still pending or published
        // since this one looked.
        batch.put_new(Space::Entry, key.clone(), entry.seal(&self.entry_key, &key));
        batch.put_new(Space::Pending, key, entry::pending_value(self.ledger.now(), &self.run));
        Ok(Prepared { record, version, entry, content: Some(content) })
    }

    fn subject_for(&self, patient: Option<&str>) -> Result<Option<SubjectId>, Refusal> {
        patient.map_or(Ok(None), |patient| self.subject_of(patient))
    }

    /// Whether what the vault has under this version is what was prepared, and no other writer's.
    pub(super) fn holds(&self, prepared: &Prepared) -> Result<bool, Refusal> {
        let there = self.entry(&prepared.record, prepared.version)?;
        Ok(there.is_some_and(|there| there.address == prepared.entry.address))
    }
}

/// Runs work that blocks (SQL) away from the threads that answer requests.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let task = tokio::task::spawn_blocking(work);
    task.await.map_err(|_| Refusal::Internal("the index stopped in the middle of its work"))?
}

/// Asks `owner` for what it has in `store` where that holds up nobody else: here, where that answers from this
/// machine's disk, which takes less than another thread does; on a thread for what blocks, where a server answers.
pub(crate) async fn asking<O: Send + Sync + 'static, T: Send + 'static>(
    owner: &Arc<O>,
    store: &dyn Store,
    ask: impl FnOnce(&O) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if !store.is_shared() {
        return ask(owner);
    }
    let owner = Arc::clone(owner);
    blocking(move || ask(&owner)).await
}
