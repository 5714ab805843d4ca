//! The two databases that an index may be in, behind one set of statements. Each statement is built once,
//! with sea-query, and written out for the one that runs it.

mod file;
mod log;
mod postgresql;
mod readers;
mod sqlite;

use std::path::PathBuf;

use sea_query::{PostgresQueryBuilder, SelectStatement, SqliteQueryBuilder, Values};

use file::File;

use crate::{
    outcome::Refusal,
    postgres::{Fault as PostgresFault, Postgres, Session},
};

/// A value of a column, or one that a statement binds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Whole number.
    Integer(i64),
    /// Number.
    Real(f64),
    /// Text.
    Text(String),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}

impl From<sea_query::Value> for Value {
    fn from(value: sea_query::Value) -> Self {
        use sea_query::Value as Built;
        match value {
            Built::Bool(Some(value)) => Self::Integer(value.into()),
            Built::Int(Some(value)) => Self::Integer(value.into()),
            Built::Unsigned(Some(value)) => Self::Integer(value.into()),
            Built::BigInt(Some(value)) => Self::Integer(value),
            Built::BigUnsigned(Some(value)) => Self::Integer(i64::try_from(value).unwrap_or(i64::MAX)),
            Built::Double(Some(value)) => Self::Real(value),
            Built::String(Some(value)) => Self::Text(value),
            // The statements of the index bind nothing else.
            _ => Self::Null,
        }
    }
}

/// Why a database did not do what it was asked. Values never appear in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No space.
    Full,
    /// The answer has another shape than the statement asks for.
    Shape,
    /// SQLite's code.
    Sqlite(Option<rusqlite::ErrorCode>),
    /// PostgreSQL's.
    Postgres(PostgresFault),
}

impl Fault {
    /// Whether a file is none of SQLite's, or not one that the key opens.
    fn is_no_database(&self) -> bool {
        matches!(self, Self::Sqlite(Some(rusqlite::ErrorCode::NotADatabase)))
    }
}

/// What a database says.
pub type Answer<T> = Result<T, Fault>;

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full | Fault::Postgres(PostgresFault::Full) => Self::StorageFull,
            fault => {
                tracing::error!(?fault, "the search index failed");
                Self::Internal("search index")
            }
        }
    }
}

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(Vec<Value>);

impl Row {
    /// The value of a column.
    pub fn value(&self, column: usize) -> Answer<&Value> {
        self.0.get(column).ok_or(Fault::Shape)
    }

    /// A whole number.
    pub fn integer(&self, column: usize) -> Answer<i64> {
        match self.value(column)? {
            Value::Integer(value) => Ok(*value),
            _ => Err(Fault::Shape),
        }
    }

    /// The version of a resource, or a count.
    pub fn count(&self, column: usize) -> Answer<u32> {
        u32::try_from(self.integer(column)?).map_err(|_| Fault::Shape)
    }

    /// Text, where there is any.
    pub fn optional_text(&self, column: usize) -> Answer<Option<String>> {
        match self.value(column)? {
            Value::Null => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    /// Text.
    pub fn text(&self, column: usize) -> Answer<String> {
        match self.value(column)? {
            Value::Text(value) => Ok(value.clone()),
            _ => Err(Fault::Shape),
        }
    }
}

/// A connection for one piece of work.
pub enum Connection {
    /// To a file, or to memory.
    Sqlite(rusqlite::Connection),
    /// To a server.
    Postgres(Session),
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// All of it sees one state.
    Read,
    /// All of it takes effect, or nothing does.
    Write,
}

impl Connection {
    /// A database of its own in memory, without tables.
    pub fn in_memory() -> Answer<Self> {
        rusqlite::Connection::open_in_memory().map(Self::Sqlite).map_err(sqlite::fault)
    }

    /// The rows of a query.
    pub fn rows<T>(&self, select: &SelectStatement, read: impl FnMut(&Row) -> Answer<T>) -> Answer<Vec<T>> {
        let (sql, Values(values)) = match self {
            Self::Sqlite(_) => select.build(SqliteQueryBuilder),
            Self::Postgres(_) => select.build(PostgresQueryBuilder),
        };
        self.query(&sql, values.into_iter().map(Value::from).collect())?.iter().map(read).collect()
    }

    /// The first row of a query.
    pub fn first<T>(&self, select: &SelectStatement, read: impl FnMut(&Row) -> Answer<T>) -> Answer<Option<T>> {
        Ok(self.rows(select, read)?.into_iter().next())
    }

    /// The rows of a statement that both databases read alike. Parameters are `$1`, `$2` and so on.
    pub fn query(&self, sql: &str, values: Vec<Value>) -> Answer<Vec<Row>> {
        match self {
            Self::Sqlite(connection) => sqlite::query(connection, sql, values),
            Self::Postgres(session) => postgresql::query(session, sql, values),
        }
    }

    /// Statements without parameters, one after the other.
    pub fn batch(&self, sql: &str) -> Answer<()> {
        match self {
            Self::Sqlite(connection) => connection.execute_batch(sql).map_err(sqlite::fault),
            Self::Postgres(session) => {
                // What fails may leave a transaction open.
                let was_open = session.set_open(true);
                postgresql::batch(session, sql)?;
                session.set_open(was_open);
                Ok(())
            }
        }
    }

    /// Adds rows; one that is there stays as it is.
    pub fn insert(&self, table: &str, columns: &[&str], rows: Vec<Vec<Value>>) -> Answer<()> {
        if rows.is_empty() {
            return Ok(());
        }
        match self {
            Self::Sqlite(connection) => sqlite::insert(connection, table, columns, rows),
            Self::Postgres(session) => postgresql::insert(session, table, columns, rows),
        }
    }

    /// Runs `work` in one transaction.
    pub fn within<T>(&self, purpose: Purpose, work: impl FnOnce(&Self) -> Answer<T>) -> Answer<T> {
        self.begin(purpose)?;
        let outcome = work(self).and_then(|value| self.end("COMMIT").map(|()| value));
        if outcome.is_err() {
            // What cannot even be undone is undone when the connection is closed.
            let _ = self.end("ROLLBACK");
        }
        outcome
    }

    fn begin(&self, purpose: Purpose) -> Answer<()> {
        match (self, purpose) {
            (Self::Sqlite(_), Purpose::Read) => self.batch("BEGIN"),
            (Self::Sqlite(_), Purpose::Write) => self.batch("BEGIN IMMEDIATE"),
            (Self::Postgres(session), _) => {
                session.set_open(true);
                self.batch(match purpose {
                    Purpose::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                    // One writer at a time, among all processes: numbers follow one another.
                    Purpose::Write => "BEGIN; SELECT applied FROM progress FOR UPDATE",
                })
            }
        }
    }

    fn end(&self, how: &str) -> Answer<()> {
        self.batch(how)?;
        if let Self::Postgres(session) = self {
            session.set_open(false);
        }
        Ok(())
    }
}

/// Where an index is.
pub enum Place {
    /// A file, encrypted.
    File(Box<File>),
    /// A server.
    Server(Postgres),
}

impl Place {
    /// Opens or makes a file. One that an earlier program encrypted otherwise under the same key is made anew, empty; the
    /// number is that of the last change that was applied to it, 0 where none was removed.
    pub fn file(path: PathBuf, key: &[u8; 32]) -> Answer<(Self, i64)> {
        let (file, removed) = File::open(path, key)?;
        Ok((Self::File(Box::new(file)), removed))
    }

    /// Runs `work` on a connection that may write.
    pub fn with_writer<T>(&self, work: impl FnOnce(&Connection) -> Answer<T>) -> Answer<T> {
        match self {
            Self::File(file) => work(&file.writer.lock()),
            Self::Server(postgres) => work(&session(postgres)?),
        }
    }

    /// Runs `work` on a connection that reads.
    pub fn with_reader<T>(&self, work: impl FnOnce(&Connection) -> Answer<T>) -> Answer<T> {
        match self {
            Self::File(file) => file.readers.with(work),
            Self::Server(postgres) => work(&session(postgres)?),
        }
    }
}

fn session(postgres: &Postgres) -> Answer<Connection> {
    postgres.session().map(Connection::Postgres).map_err(Fault::Postgres)
}
