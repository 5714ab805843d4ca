//! Sealed bodies on disk.
