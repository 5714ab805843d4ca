//! A file of SQLite: one connection that writes, some that read, and the log between them.

use std::path::PathBuf;

use parking_lot::Mutex;

use super::{Answer, Connection, log::Log, readers::Readers, sqlite};
use crate::index::schema;

/// An index in a file. Its parts are closed in their order: who only reads cannot put the log into the file.
pub struct File {
    log: Log,
    /// Who reads.
    pub readers: Readers,
    /// Who writes.
    pub writer: Mutex<Connection>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_closed_has_all_that_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("index.db");
        let (file, _) = File::open(path.clone(), &[4; 32]).expect("opens");
        file.writer.lock().batch("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (7)").expect("writes");
        let read = |file: &File| file.readers.with(|reader| reader.query("SELECT n FROM t", Vec::new()));
        assert_eq!(read(&file).expect("reads").len(), 1);
        drop(file);
        assert!(!directory.path().join("index.db-wal").exists(), "the log is left");
        let (again, _) = File::open(path, &[4; 32]).expect("opens again");
        assert_eq!(read(&again).expect("reads").len(), 1);
    }
}
