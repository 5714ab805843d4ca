//! The search index: SQL, encrypted, derived.
