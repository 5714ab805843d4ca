//! What a write leaves beside its versions until somebody has taken it: durable before the ledger is asked, gone with
//! a version that the ledger did not take.

use super::{Core, Records, Stored, entry};
use crate::{
    outcome::Refusal,
    vault::{Pair, Space},
};

/// Before the keys of all notes, in [`Space::State`].
const NOTES: &[u8] = b"note/";
/// Notes that are looked at together.
const NOTES_PER_PAGE: usize = 1000;

/// Where the note of a version is; `version` is the version's own key.
pub(super) fn key(version: &[u8]) -> Vec<u8> {
    [NOTES, version].concat()
}

impl Records {
    /// Where the note of a version is, in [`Space::State`]: whoever takes it removes the pair, with what came of it.
    pub fn note_key(&self, stored: &Stored) -> Vec<u8> {
        key(&entry::key(&self.core.keys.record_id(&stored.resource_type, &stored.id), stored.version))
    }

    /// The notes that nobody took yet, by their keys: those after `after`, a page of them.
    pub async fn notes(&self, after: Option<&[u8]>) -> Result<Vec<Pair>, Refusal> {
        let after = after.map(<[u8]>::to_vec);
        let page = move |core: &Core| {
            let notes = core.store.scan(Space::State, NOTES, after.as_deref(), NOTES_PER_PAGE)?;
            let open = |(key, sealed): Pair| core.open_note(&key, &sealed).map(|note| (key, note));
            notes.into_iter().map(open).collect()
        };
        self.core.asking(page).await
    }

    /// The version that a note is beside; none while the ledger may still take it, or where it did not.
    pub async fn of_note(&self, key: &[u8]) -> Result<Option<Stored>, Refusal> {
        let version = key.strip_prefix(NOTES).ok_or(Refusal::Internal("a note of the vault is another's"))?;
        let (record, version) = entry::record_and_version(version)?;
        self.core.asking(move |core| core.stored(&record, version)).await
    }
}

impl Core {
    pub(super) fn seal_note(&self, key: &[u8], note: &[u8]) -> Vec<u8> {
        self.entry_key.seal(note, key)
    }

    fn open_note(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Refusal> {
        let note = self.entry_key.open(sealed, key);
        note.map_err(|_| Refusal::Internal("a note of the vault does not open"))
    }
}
