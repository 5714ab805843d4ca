//! Tables of the index, once for both databases. Changing them, or the table of search parameters, empties
//! the index: it is derived, so that is its migration.

use sea_query::{ColumnDef, Index, PostgresQueryBuilder, SqliteQueryBuilder, Table as Build, TableCreateStatement};

use super::database::{Answer, Connection, Purpose, Value};
use crate::resources::parameters;

/// Raised with every change to [`TABLES`], and to what values are kept as in them.
const SCHEMA_VERSION: u32 = 12;

/// Type of a column. Text is compared by its bytes in both databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Real,
    Text,
    /// Text, or nothing.
    Maybe,
}

use Kind::{Integer, Maybe, Real, Text};

/// Place of `progress.earlier` among the columns.
const EARLIER: usize = 3;

struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    /// Columns of the primary key; none where there is one row.
    key: &'static [&'static str],
    unique: &'static [&'static str],
    /// Further indexes, by the end of their names.
    indexes: &'static [(&'static str, &'static [&'static str])],
}

/// `resource.number` is given at a resource's first version and never changes: it orders pages.
/// `revision` keeps by what a resource was sorted when a search began. `history` has every version,
/// in the order of the vault's journal. `progress` has one row: the last change that is applied; or, while
/// an index is rebuilt, how far that is; and what was applied to the index that an earlier program had in its place. `whole` has a text that is longer than what its key holds.
const TABLES: &[Table] = &[
    Table {
        name: "progress",
        columns: &[("applied", Integer), ("rebuilt", Text), ("damaged", Integer), ("earlier", Integer)],
        key: &[],
        unique: &[],
        indexes: &[],
    },
    Table {
        name: "resource",
        columns: &[
            ("number", Integer),
            ("type", Text),
            ("id", Text),
            ("version", Integer),
            ("updated", Integer),
            ("dated", Integer),
            ("deleted", Integer),
            ("sequence", Integer),
            ("patient", Maybe),
        ],
        key: &["number"],
        unique: &["type", "id"],
        indexes: &[
            ("by_type", &["type", "number"]),
            ("by_patient", &["patient", "type", "number"]),
            ("by_time", &["type", "updated"]),
        ],
    },
    Table {
        name: "revision",
        columns: &[("resource", Integer), ("sequence", Integer), ("updated", Integer), ("dated", Integer)],
        key: &["resource", "sequence"],
        unique: &[],
        indexes: &[("by_sequence", &["sequence"])],
    },
    Table {
        name: "history",
        columns: &[
            ("sequence", Integer),
            ("type", Text),
            ("id", Text),
            ("version", Integer),
            ("updated", Integer),
            ("patient", Maybe),
        ],
        key: &["sequence"],
        unique: &["type", "id", "version"],
        indexes: &[
            ("by_type", &["type", "sequence"]),
            ("by_patient", &["patient", "sequence"]),
            // What is another patient's is elsewhere in it, as what is not there.
            ("by_sight", &["patient", "type", "id", "version"]),
        ],
    },
    value_table(
        "token",
        &[("parameter", Integer), ("code", Text), ("system", Text), ("resource", Integer)],
        &["parameter", "code", "system", "resource"],
    ),
    value_table(
        "reference",
        &[("parameter", Integer), ("target", Text), ("type", Text), ("resource", Integer)],
        &["parameter", "target", "type", "resource"],
    ),
    value_table(
        "text",
        &[("parameter", Integer), ("folded", Text), ("exact", Text), ("whole", Text), ("resource", Integer)],
        &["parameter", "folded", "exact", "resource"],
    ),
    value_table(
        "period",
        &[("parameter", Integer), ("low", Integer), ("high", Integer), ("resource", Integer)],
        &["parameter", "low", "high", "resource"],
    ),
    value_table(
        "amount",
        &[
            ("parameter", Integer),
            ("lowest", Real),
            ("highest", Real),
            ("system", Text),
            ("code", Text),
            ("unit", Text),
            ("resource", Integer),
        ],
        &["parameter", "lowest", "highest", "system", "code", "unit", "resource"],
    ),
    value_table(
        "uri",
        &[("parameter", Integer), ("value", Text), ("whole", Text), ("resource", Integer)],
        &["parameter", "value", "resource"],
    ),
    value_table(
        "place",
        &[("parameter", Integer), ("latitude", Real), ("longitude", Real), ("resource", Integer)],
        &["parameter", "latitude", "longitude", "resource"],
    ),
    value_table(
        "pair",
        &[
            ("parameter", Integer),
            ("first", Text),
            ("first_system", Text),
            ("code", Text),
            ("system", Text),
            ("low", Integer),
            ("high", Integer),
            ("lowest", Real),
            ("highest", Real),
            ("unit", Text),
            ("folded", Text),
            ("exact", Text),
            ("whole", Text),
            ("resource", Integer),
        ],
        &[
            "parameter",
            "first",
            "first_system",
            "code",
            "system",
            "low",
            "high",
            "lowest",
            "highest",
            "unit",
            "exact",
            "resource",
        ],
    ),
];

/// A table of what a kind of search parameter found.
const fn value_table(
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    key: &'static [&'static str],
) -> Table {
    Table { name, columns, key, unique: &[], indexes: &[("by_resource", &["resource"])] }
}

/// Tables that hold what search parameters found.
pub const VALUE_TABLES: &[&str] = &["token", "reference", "text", "period", "amount", "uri", "place", "pair"];

/// The columns of a table, in their order.
pub fn columns(table: &str) -> Vec<&'static str> {
    let found = TABLES.iter().find(|found| found.name == table);
    found.map_or_else(Vec::new, |found| found.columns.iter().map(|(name, _)| *name).collect())
}

/// Whether the tables are those of this program.
pub fn is_current(connection: &Connection) -> Answer<bool> {
    let found = match connection {
        Connection::Sqlite(_) => connection.query("PRAGMA user_version", Vec::new())?[0].integer(0)?,
        Connection::Postgres(_) => {
            let is_there = "SELECT to_regclass('schema_version') IS NOT NULL";
            if connection.query(is_there, Vec::new())?[0].integer(0)? == 0 {
                return Ok(false);
            }
            let rows = connection.query("SELECT version FROM schema_version WHERE part = 'index'", Vec::new())?;
            rows.first().map_or(Ok(0), |row| row.integer(0))?
        }
    };
    Ok(found == i64::from(version()))
}

/// Empties the index and makes its tables anew.
pub fn clear(connection: &Connection) -> Answer<()> {
    make(connection, 0)
}

/// Makes the tables anew, in place of an index that had applied changes up to `earlier`.
fn make(connection: &Connection, earlier: i64) -> Answer<()> {
    let (drops, made) = match connection {
        Connection::Sqlite(_) => {
            let tables = connection.query("SELECT name FROM sqlite_master WHERE type = 'table'", Vec::new())?;
            let names = tables.iter().map(|row| row.text(0)).collect::<Answer<Vec<_>>>()?;
            let drops: String = names.iter().map(|name| format!("DROP TABLE \"{name}\";")).collect();
            (drops, format!("PRAGMA user_version = {}", version()))
        }
        Connection::Postgres(_) => {
            let drops = TABLES.iter().map(|table| format!("DROP TABLE IF EXISTS \"{}\";", table.name)).collect();
            let made = format!(
                "CREATE OR REPLACE FUNCTION instr(text, text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
                 AS 'SELECT strpos($1, $2)';
                 CREATE OR REPLACE FUNCTION json_each(text) RETURNS TABLE (value text) LANGUAGE sql IMMUTABLE
                 PARALLEL SAFE AS 'SELECT pg_catalog.jsonb_array_elements_text($1::jsonb)';
                 INSERT INTO schema_version VALUES ('index', {}) ON CONFLICT (part) DO UPDATE SET version = excluded.version",
                version()
            );
            (drops, made)
        }
    };
    let tables: String = TABLES.iter().map(|table| format!("{};", made_for(connection, table))).collect();
    connection
        .batch(&format!("BEGIN; {drops} {tables} INSERT INTO progress VALUES (0, '', 0, {earlier}); {made}; COMMIT"))
}

fn made_for(connection: &Connection, table: &Table) -> String {
    let is_server = matches!(connection, Connection::Postgres(_));
    let mut create = Build::create();
    create.table(table.name);
    for (name, kind) in table.columns {
        create.col(column(name, *kind, is_server));
    }
    let mut statements = vec![keys(&mut create, table, is_server)];
    for (end, columns) in table.indexes {
        let mut index = Index::create();
        index.name(format!("{}_{end}", table.name)).table(table.name);
        for column in *columns {
            index.col(*column);
        }
        statements.push(if is_server {
            index.to_string(PostgresQueryBuilder)
        } else {
            index.to_string(SqliteQueryBuilder)
        });
    }
    statements.join(";")
}

fn column(name: &'static str, kind: Kind, is_server: bool) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    match kind {
        // SQLite has one size of integers; only by this name is one the row's own number.
        Integer if is_server => column.big_integer(),
        Integer => column.integer(),
        Real => column.double(),
        Text | Maybe => column.text(),
    };
    if matches!(kind, Text | Maybe) && is_server {
        column.extra("COLLATE \"C\"");
    }
    if kind != Maybe {
        column.not_null();
    }
    column
}

fn keys(create: &mut TableCreateStatement, table: &Table, is_server: bool) -> String {
    let list = |columns: &[&str]| {
        let mut index = Index::create();
        columns.iter().for_each(|column| {
            index.col((*column).to_owned());
        });
        index
    };
    if let [number] = table.key {
        // As a constraint of its own, SQLite would not take it for the row's number.
        let kind = table.columns.iter().find(|(name, _)| name == number).map_or(Integer, |(_, kind)| *kind);
        let mut rest = Build::create();
        rest.table(table.name);
        for (name, other) in table.columns {
            let mut definition = column(name, *other, is_server);
            if name == number && kind == Integer {
                definition.primary_key();
            }
            rest.col(definition);
        }
        *create = rest;
    } else if !table.key.is_empty() {
        create.primary_key(&mut list(table.key));
        if !is_server {
            create.extra("WITHOUT ROWID");
        }
    }
    if !table.unique.is_empty() {
        create.index(list(table.unique).unique());
    }
    if is_server { create.to_string(PostgresQueryBuilder) } else { create.to_string(SqliteQueryBuilder) }
}

/// How far a rebuild is: the last record that was looked at, in hexadecimal, and how many were damaged.
pub fn rebuilt(connection: &Connection) -> Answer<Option<(String, u64)>> {
    let rows =
        connection.query("SELECT rebuilt, damaged FROM progress WHERE applied = 0 AND rebuilt <> ''", Vec::new())?;
    rows.first().map(|row| Ok((row.text(0)?, row.count(1)?.into()))).transpose()
}

/// Remembers the last change that is applied, which ends a rebuild.
pub fn set_applied(connection: &Connection, applied: i64) -> Answer<()> {
    let sql = "UPDATE progress SET applied = $1, rebuilt = '', damaged = 0";
    connection.query(sql, vec![Value::from(applied)]).map(|_| ())
}

/// Remembers how far a rebuild is.
pub fn set_rebuilt(connection: &Connection, record: &str, damaged: u64) -> Answer<()> {
    let damaged = i64::try_from(damaged).unwrap_or(i64::MAX);
    let sql = "UPDATE progress SET applied = 0, rebuilt = $1, damaged = $2";
    connection.query(sql, vec![Value::from(record), Value::from(damaged)]).map(|_| ())
}

/// Makes the tables, if they are not those of this program. What those of an earlier one, or the index that was
/// `removed` before, had applied is kept: a vault that lacks it went back to an earlier time.
pub fn prepare(connection: &Connection, removed: i64) -> Answer<()> {
    if is_current(connection)? {
        return Ok(());
    }
    make(connection, applied_by_any(connection)?.max(removed))
}

/// Sequence of the last change that was applied by whatever program made the tables, or to the index before them; 0
/// where there are none.
pub fn applied_by_any(connection: &Connection) -> Answer<i64> {
    let is_there = match connection {
        Connection::Sqlite(_) => "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'progress'",
        Connection::Postgres(_) => "SELECT (to_regclass('progress') IS NOT NULL)::integer::bigint",
    };
    if connection.query(is_there, Vec::new())?[0].integer(0)? == 0 {
        return Ok(0);
    }
    // All programs have this column, the first.
    let rows = connection.query("SELECT * FROM progress", Vec::new())?;
    let Some(row) = rows.first() else { return Ok(0) };
    Ok(row.integer(0)?.max(row.integer(EARLIER).unwrap_or(0)))
}

/// What was applied to the index before this one ([`prepare`]).
pub fn earlier(connection: &Connection) -> Answer<i64> {
    connection.query("SELECT earlier FROM progress", Vec::new())?[0].integer(0)
}

/// Sequence of the last change that is applied. A transaction that waited while the tables were made anew sees them
/// without a row: then there is none.
pub fn applied(connection: &Connection) -> Answer<i64> {
    connection.query("SELECT applied FROM progress", Vec::new())?.first().map_or(Ok(0), |row| row.integer(0))
}

/// Runs `work` as one write.
pub fn writing<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Answer<T>) -> Answer<T> {
    connection.within(Purpose::Write, work)
}

/// Within the positive half of 32 bits, as the pragma keeps it; never the 0 of a new file.
fn version() -> u32 {
    (parameters::fingerprint().wrapping_add(SCHEMA_VERSION) & 0x7fff_ffff).max(1)
}
