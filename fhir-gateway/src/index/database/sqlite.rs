//! Statements on SQLite.

use std::path::Path;

use rusqlite::{
    Connection, ErrorCode, OpenFlags,
    config::DbConfig,
    types::{ToSqlOutput, ValueRef},
};

use super::{Answer, Fault, Row, Value};

/// How long a connection waits for another to finish, in milliseconds.
const BUSY_TIMEOUT_MS: u32 = 10_000;
/// Statements that a connection keeps prepared.
const STATEMENTS_MAX: usize = 64;
/// How a file is encrypted; docs/adr/0044-groups-share-a-transaction-of-the-index.md says why. Each page that a
/// commit touches is encrypted as a whole, so that smaller ones cost less; processors have instructions for SHA-256.
const ENCRYPTION: &str = "PRAGMA cipher_page_size = 2048; PRAGMA cipher_hmac_algorithm = HMAC_SHA256";
/// Bytes that the log keeps of the disk when it begins anew, however long a reader has made it.
const LOG_BYTES: u32 = 100_000_000;
/// Memory of the connection that writes for pages, in KiB: what grows at its end is not decrypted for each write.
const WRITER_CACHE_KIB: u32 = 16_000;

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Also make the file.
    Write,
    /// Nothing but read, with so much memory for pages.
    Read { cache_kib: u32 },
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
        }))
    }
}

/// Opens a file with its key.
pub fn connect(path: &Path, key: &str, access: Access) -> Answer<Connection> {
    let flags = match access {
        Access::Write => OpenFlags::default(),
        Access::Read { .. } => OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    };
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    unlock(&connection, key)?;
    connection.execute_batch(ENCRYPTION).map_err(fault)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS.into())).map_err(fault)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Else a statement is planned anew whenever what it binds changed, although nothing about it depends on that.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(fault)?;
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(fault)?;
    let cache_kib = match access {
        Access::Write => WRITER_CACHE_KIB,
        Access::Read { cache_kib } => cache_kib,
    };
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib)).map_err(fault)?;
    if access == Access::Write {
        connection.pragma_update(None, "journal_mode", "WAL").map_err(fault)?;
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(fault)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES).map_err(fault)?;
    }
    Ok(connection)
}

fn unlock(connection: &Connection, key: &str) -> Answer<()> {
    // The raw form: the key is random already, so no derivation.
    connection.pragma_update(None, "key", format!("x'{key}'")).map_err(fault)
}

/// Opens a file with its key as SQLCipher encrypts it when it is not told how, as earlier programs did. None where the
/// key does not open it so.
pub fn connect_to_earlier(path: &Path, key: &str) -> Answer<Option<Connection>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fault)?;
    unlock(&connection, key)?;
    match connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(())).map_err(fault) {
        Err(fault) if fault.is_no_database() => Ok(None),
        opened => opened.map(|()| Some(connection)),
    }
}

/// Removes a file and its companions, these first: they are nothing without it.
pub fn remove(path: &Path) -> Answer<()> {
    ["-wal", "-shm", ""].into_iter().try_for_each(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!(%error, "an index of an earlier program cannot be removed");
                Err(Fault::Sqlite(Some(ErrorCode::CannotOpen)))
            }
            _ => Ok(()),
        }
    })
}

pub fn query(connection: &Connection, sql: &str, values: Vec<Value>) -> Answer<Vec<Row>> {
    let mut statement = connection.prepare_cached(sql).map_err(fault)?;
    let width = statement.column_count();
    let read = |row: &rusqlite::Row<'_>| (0..width).map(|column| Ok(value(row.get_ref(column)?))).collect();
    let rows = statement.query_map(rusqlite::params_from_iter(values), read).map_err(fault)?;
    rows.map(|row| row.map(Row).map_err(fault)).collect()
}

pub fn insert(connection: &Connection, table: &str, columns: &[&str], rows: Vec<Vec<Value>>) -> Answer<()> {
    let places: Vec<String> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
    let (columns, places) = (columns.join(", "), places.join(", "));
    let sql = format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})");
    let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
    rows.into_iter().try_for_each(|row| statement.execute(rusqlite::params_from_iter(row)).map(|_| ()).map_err(fault))
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(value) => Value::Text(String::from_utf8_lossy(value).into_owned()),
        ValueRef::Null | ValueRef::Blob(_) => Value::Null,
    }
}

/// A fault of the database. Its message may hold values, so only its code is kept.
pub fn fault(error: rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Fault::Full,
        code => Fault::Sqlite(code),
    }
}
