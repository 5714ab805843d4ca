//! Why the state on disk cannot be used.

use std::path::Path;

use rocksdb::ErrorKind;

use super::layout::FORMAT;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the state in {path} is in use by another process: {reason}")]
    InUse {
        /// Folder of the database.
        path: String,
        /// What RocksDB said.
        reason: String,
    },
    /// A file is not as RocksDB wrote it, or is missing.
    #[error("the state in {path} is damaged: {reason}")]
    Corrupt {
        /// Folder of the database.
        path: String,
        /// What RocksDB said.
        reason: String,
    },
    /// RocksDB's own words for anything else: the disk is full, the folder is not ours.
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

/// RocksDB has one kind for every answer of the system, so its words tell a lock and a lost file from
/// a full disk.
pub(super) fn not_opened(path: &Path, error: &rocksdb::Error) -> OpenError {
    let has_files = path.join("CURRENT").exists();
    let (path, reason) = (path.display().to_string(), error.to_string());
    let says = |words: &str| reason.contains(words);
    match error.kind() {
        ErrorKind::IOError if says("While lock file") || says("lock hold by current process") => {
            OpenError::InUse { path, reason }
        }
        ErrorKind::Corruption => OpenError::Corrupt { path, reason },
        // Where nothing names the files, there is no state that could have lost one.
        ErrorKind::IOError if has_files && says("No such file or directory") => OpenError::Corrupt { path, reason },
        _ => OpenError::Database { path, reason },
    }
}
