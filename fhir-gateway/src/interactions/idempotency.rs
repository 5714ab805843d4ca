//! `Idempotency-Key`: a create that is sent again under its key is the same create.
//! docs/api/create.md
//!
//! Nothing is remembered besides the resource: its id follows from who asks and the key, so that a
//! second try finds what the first one stored, also after a time-out or a restart.

use careledger_wire::commitment;

use super::{Accepted, Context, documents};
use crate::{
    outcome::Refusal,
    records::{Content, Stored},
};

/// Longest key, in bytes.
pub const KEY_LENGTH_MAX: usize = 128;

/// The key of a request, and the place in its Bundle of the entry that uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    text: &'a str,
    place: usize,
}

impl<'a> Key<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] unless it is 1 to [`KEY_LENGTH_MAX`] visible ASCII characters.
    pub fn read(text: &'a str) -> Result<Self, Refusal> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > KEY_LENGTH_MAX || !is_plain {
            let problem = format!("Idempotency-Key must be 1 to {KEY_LENGTH_MAX} visible ASCII characters");
            return Err(Refusal::BadRequest(problem));
        }
        Ok(Self { text, place: 0 })
    }

    /// The key of the entry at `place`: each entry of a Bundle has its own.
    pub fn of_entry(self, place: usize) -> Self {
        Self { place, ..self }
    }

    /// The id of the resource that this client creates under the key. Nobody else can foresee it.
    pub fn id(&self, context: &Context<'_>, resource_type: &str) -> String {
        let purpose = "careledger/idempotent-id/1";
        let secret = context.organization.keys.record_ids.derive(purpose);
        let client = context.caller.client.as_bytes();
        let place = u64::try_from(self.place).expect("a Bundle's entries are counted").to_be_bytes();
        let parts = [secret.as_bytes(), client, self.text.as_bytes(), resource_type.as_bytes(), &place];
        let hash = commitment::hash(purpose, &parts);
        let bytes = *hash.first_chunk().expect("a hash has 32 bytes");
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// What an earlier try under the same key stored as `id`; `None` where there was none.
///
/// # Errors
/// [`Refusal::LedgerUnavailable`] while it is not known whether the earlier try took effect;
/// [`Refusal::Rule`] where it sent something else.
pub async fn earlier(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    accepted: &Accepted,
) -> Result<Option<Stored>, Refusal> {
    let records = &context.organization.records;
    if records.settled(resource_type, id).await?.is_none() {
        return Ok(None);
    }
    let stored = records.any_version(resource_type, id, 1).await?;
    if stored.content == accepted.content {
        return Ok(Some(stored));
    }
    // Of a document that came with its data, what is stored points at it.
    if let Some(document) = accepted.document.as_ref().filter(|_| resource_type == "DocumentReference")
        && let Some(published) = documents::published(document, id)?
        && stored.content == Content::Json(published.document.bytes().clone())
    {
        return Ok(Some(stored));
    }
    Err(another_body())
}

/// The refusal of a key that was used for something else.
pub fn another_body() -> Refusal {
    Refusal::Rule("the Idempotency-Key was used for another body; a new request needs a new key".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_visible() {
        let longest = "k".repeat(KEY_LENGTH_MAX);
        for text in ["k", "8e03978e-40d5-43e8-bc93-6894a57f9324", "\"quoted\"", &longest] {
            assert!(Key::read(text).is_ok(), "{text}");
        }
        for text in ["", "two words", "tab\t", "é", &format!("{longest}k")] {
            assert!(matches!(Key::read(text), Err(Refusal::BadRequest(_))), "{text:?}");
        }
    }
}
