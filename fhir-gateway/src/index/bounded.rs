//! Text as it stands in a key. PostgreSQL takes a key of at most a third of a page, so that what is longer
//! keeps its beginning, by which it is sorted and found from the left, and a hash of all of it, by which it
//! is found as a whole.

use std::borrow::Cow;

use careledger_wire::commitment;

/// Longest text in a key, in bytes. Six of them fit into the 2,704 bytes that PostgreSQL allows.
const KEY_BYTES_MAX: usize = 400;
/// How much of a longer one is its beginning; the rest is a hash in hexadecimal.
pub const BEGINNING_BYTES: usize = KEY_BYTES_MAX - 64;

/// The text in a key.
pub fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= KEY_BYTES_MAX {
        return text.into();
    }
    let end = (0..=BEGINNING_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let hash = commitment::hash("careledger/index-key/1", &[text.as_bytes()]);
    format!("{}{}", &text[..end], hex::encode(hash)).into()
}

/// All of a text that its key does not hold; nothing where it does.
pub fn rest(text: &str) -> &str {
    if text.len() <= KEY_BYTES_MAX { "" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_begins_like_its_text_and_is_that_texts_alone() {
        assert_eq!((bounded("short").as_ref(), rest("short")), ("short", ""));
        let just = "a".repeat(KEY_BYTES_MAX);
        assert_eq!((bounded(&just).as_ref(), rest(&just)), (just.as_str(), ""));
        // Two bytes each, so that the beginning ends within none of them.
        let (one, other) = ("é".repeat(300), format!("{}e", "é".repeat(300)));
        let (key, other_key) = (bounded(&one), bounded(&other));
        assert!(key.len() <= KEY_BYTES_MAX && key.starts_with(&"é".repeat(BEGINNING_BYTES / 2)), "{}", key.len());
        assert_eq!(key[..BEGINNING_BYTES], other_key[..BEGINNING_BYTES]);
        assert_ne!(key, other_key);
        assert_eq!(rest(&one), one);
    }
}
