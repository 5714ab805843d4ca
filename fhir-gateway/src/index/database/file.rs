//! A file of SQLite: one connection that writes, some that read, and the log between them.

use std::path::PathBuf;

use parking_lot::Mutex;

use super::{Answer, Connection, log::Log, readers::Readers, sqlite};
use crate::index::schema;

/// An index in a file.
pub struct File {
    /// Who writes.
    pub writer: Mutex<Connection>,
    /// Who reads.
    pub readers: Readers,
    log: Log,
}

impl File {
    /// Opens or makes it: [`super::Place::file`].
    pub fn open(path: PathBuf, key: &[u8; 32]) -> Answer<(Self, i64)> {
        let key = hex::encode(key);
        let (mut connection, removed) = match sqlite::connect(&path, &key, sqlite::Access::Write) {
            Err(refused) if refused.is_no_database() => {
                let Some(earlier) = sqlite::connect_to_earlier(&path, &key)?.map(Connection::Sqlite) else {
                    return Err(refused);
                };
                let applied = schema::applied_by_any(&earlier)?;
                drop(earlier);
                tracing::warn!(
                    "the search index is of an earlier program; it is removed, and made anew from the vault"
                );
                sqlite::remove(&path)?;
                (sqlite::connect(&path, &key, sqlite::Access::Write)?, applied)
            }
            connected => (connected?, 0),
        };
        let log = Log::of(&path, &key, &mut connection)?;
        let writer = Mutex::new(Connection::Sqlite(connection));
        Ok((Self { writer, readers: Readers::of(path, key), log }, removed))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Connection::Sqlite(writer) = self.writer.get_mut() {
            self.log.end(writer);
        }
    }
}
