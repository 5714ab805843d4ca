//! Why the state on disk cannot be used.

use std::path::Path;

use super::layout::FORMAT;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// RocksDB's own words: another process has it open, the disk is full, files are damaged.
    #[error("the state in {path} cannot be opened: {reason}")]
    Database {
        /// Folder of the database.
        path: String,
        /// What RocksDB said.
        reason: String,
    },
    /// Another version of this program wrote it.
    #[error("the state was written in format {0}, this program reads format {FORMAT}")]
    Format(u32),
    /// The state's own description cannot be read.
    #[error("the description of the state is damaged")]
    Damaged,
    /// A file was changed or lost.
    #[error(
        "the state does not have the root that was committed at height {0}: its files are damaged (docs/RUNBOOK.md)"
    )]
    Root(u64),
}

pub(super) fn database(path: &Path, error: &rocksdb::Error) -> OpenError {
    OpenError::Database { path: path.display().to_string(), reason: error.to_string() }
}
