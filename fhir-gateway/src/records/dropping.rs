//! What the ledger did not take is forgotten, and nothing that others wrote since.

use std::sync::Arc;

use super::{
    Core,
    entry::{self, Entry},
    notes,
    pipeline::{JOURNAL, Prepared},
};
use crate::{
    envelope::Document,
    outcome::Refusal,
    vault::{Batch, Durability, Space},
};

impl Core {
    /// Forgets versions that the ledger did not take, as far as they are still there: another process may have
    /// found that out, too, and somebody have written the same version since. `judged` is the mark that was looked
    /// at, where they were found pending.
    pub(super) async fn drop_versions(
        self: &Arc<Self>,
        versions: &[Prepared],
        judged: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        // What a version is called can be taken only where it is free, and is freed and published only under this
        // lock: what is looked at here stays until it is removed.
        let _in_order = self.sequence.lock().await;
        let _others = self.store.exclusive(vec![JOURNAL.to_owned()]).await?;
        let (versions, judged) = (versions.to_vec(), judged.map(<[u8]>::to_vec));
        let batch = self.asking(move |core| core.removal(&versions, judged.as_deref())).await?;
        if batch.is_empty() {
            return Ok(());
        }
        Ok(self.store.commit(batch, Durability::Ordered).await?)
    }

    /// What is to be removed of versions that are there as they were judged.
    fn removal(&self, versions: &[Prepared], judged: Option<&[u8]>) -> Result<Batch, Refusal> {
        let mut batch = Batch::default();
        for Prepared { record, version, entry, .. } in versions {
            let document = Document::new(*record, *version);
            let key = entry::key(record, *version);
            let wrap_key = entry::wrap_key(&document, self.storage_key.id());
            // The mark is read last: while it is as it was judged, the others are what it marks.
            let wrap = self.store.get(Space::Wrap, &wrap_key)?;
            let note_key = notes::key(&key);
            let note = self.store.get(Space::State, &note_key)?;
            let Some(sealed) = self.store.get(Space::Entry, &key)? else { continue };
            let Some(mark) = self.store.get(Space::Pending, &key)? else { continue };
            let is_as_judged = judged.is_none_or(|judged| mark == judged);
            if !is_as_judged || Entry::open(&self.entry_key, &key, &sealed)?.address != entry.address {
                continue;
            }
            batch.delete(Space::Body, entry.address.to_vec());
            // A connection that breaks lets go of the lock, which is not seen here until it is too late: then somebody
            // may have written another version under these names, and that one stays.
            if let Some(wrap) = wrap {
                batch.delete_seen(Space::Wrap, wrap_key, wrap);
            }
            if let Some(note) = note {
                batch.delete_seen(Space::State, note_key, note);
            }
            batch.delete_seen(Space::Entry, key.clone(), sealed);
            batch.delete_seen(Space::Pending, key, mark);
        }
        Ok(batch)
    }

    /// Removes the mark of a version that has nothing else, if it is still this one.
    pub(super) async fn drop_mark(self: &Arc<Self>, key: &[u8], judged: &[u8]) -> Result<(), Refusal> {
        let _in_order = self.sequence.lock().await;
        let _others = self.store.exclusive(vec![JOURNAL.to_owned()]).await?;
        let entry_key = key.to_vec();
        let is_alone = self.asking(move |core| Ok(core.store.get(Space::Entry, &entry_key)?.is_none())).await?;
        if !is_alone {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.delete_seen(Space::Pending, key, judged);
        Ok(self.store.commit(batch, Durability::Ordered).await?)
    }
}
