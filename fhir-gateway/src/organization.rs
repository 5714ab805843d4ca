//! One organization: its keys, vault, index and records.
