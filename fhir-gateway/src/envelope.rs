//! Sealed bodies: a key per document, a wrap per recipient.
