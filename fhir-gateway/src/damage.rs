//! How every RocksDB of the gateway is opened, and what an operator is told of one that is damaged.
//!
//! RocksDB's own default replays its log up to the first record that it cannot read and goes on from
//! there without a word: one damaged byte takes back what was acknowledged after it. Here only the
//! end of a log may be incomplete, as a crash leaves it; anything else is refused.

use std::path::Path;

use rocksdb::{DBRecoveryMode, ErrorKind, Options};

/// What an operator is asked to do about damage.
const ADVICE: &str = "its files were changed or lost. Nothing was removed. Keep this folder and restore it from a backup; \
                      docs/RUNBOOK.md says how";

/// Options of a database that is made where there is none and never skips a part of its log.
pub fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options
}

/// Why the database in `folder` does not open, and what to do.
pub fn unopened(folder: &Path, error: &rocksdb::Error) -> String {
    let advice = if error.kind() == ErrorKind::Corruption { format!(": {ADVICE}") } else { String::new() };
    format!("{} does not open ({error}){advice}", folder.display())
}
