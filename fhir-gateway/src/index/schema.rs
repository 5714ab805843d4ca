//! Tables of the index. Changing them, or the table of search parameters, empties the index.

use rusqlite::Connection;

use crate::resources::parameters;

/// Raised with every change to [`TABLES`].
const SCHEMA_VERSION: u32 = 5;

/// `resource.number` is given at a resource's first version and never changes: it orders pages.
/// `revision` keeps by what a resource was sorted when a search began. `history` has every version,
/// in the order of the vault's journal.
const TABLES: &str = "
CREATE TABLE progress (applied INTEGER NOT NULL);
INSERT INTO progress VALUES (0);
CREATE TABLE resource (
    number INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
    updated INTEGER NOT NULL, dated INTEGER NOT NULL, deleted INTEGER NOT NULL, sequence INTEGER NOT NULL,
    patient TEXT, UNIQUE (type, id));
CREATE INDEX resource_by_type ON resource (type, number);
CREATE INDEX resource_by_patient ON resource (patient, type, number);
CREATE INDEX resource_by_time ON resource (type, updated);
CREATE TABLE revision (
    resource INTEGER NOT NULL, sequence INTEGER NOT NULL, updated INTEGER NOT NULL, dated INTEGER NOT NULL,
    PRIMARY KEY (resource, sequence)) WITHOUT ROWID;
CREATE INDEX revision_by_sequence ON revision (sequence);
CREATE TABLE history (
    sequence INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
    updated INTEGER NOT NULL, patient TEXT, UNIQUE (type, id, version));
CREATE INDEX history_by_type ON history (type, sequence);
CREATE INDEX history_by_patient ON history (patient, sequence);
CREATE TABLE token (
    parameter INTEGER NOT NULL, code TEXT NOT NULL, system TEXT NOT NULL, resource INTEGER NOT NULL,
    PRIMARY KEY (parameter, code, system, resource)) WITHOUT ROWID;
CREATE INDEX token_by_resource ON token (resource);
CREATE TABLE reference (
    parameter INTEGER NOT NULL, target TEXT NOT NULL, type TEXT NOT NULL, resource INTEGER NOT NULL,
    PRIMARY KEY (parameter, target, type, resource)) WITHOUT ROWID;
CREATE INDEX reference_by_resource ON reference (resource);
CREATE TABLE text (
    parameter INTEGER NOT NULL, folded TEXT NOT NULL, exact TEXT NOT NULL, resource INTEGER NOT NULL,
    PRIMARY KEY (parameter, folded, exact, resource)) WITHOUT ROWID;
CREATE INDEX text_by_resource ON text (resource);
CREATE TABLE period (
    parameter INTEGER NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL, resource INTEGER NOT NULL,
    PRIMARY KEY (parameter, low, high, resource)) WITHOUT ROWID;
CREATE INDEX period_by_resource ON period (resource);
CREATE TABLE amount (
    parameter INTEGER NOT NULL, value REAL NOT NULL, system TEXT NOT NULL, code TEXT NOT NULL, unit TEXT NOT NULL,
    resource INTEGER NOT NULL, PRIMARY KEY (parameter, value, system, code, unit, resource)) WITHOUT ROWID;
CREATE INDEX amount_by_resource ON amount (resource);
CREATE TABLE uri (
    parameter INTEGER NOT NULL, value TEXT NOT NULL, resource INTEGER NOT NULL,
    PRIMARY KEY (parameter, value, resource)) WITHOUT ROWID;
CREATE INDEX uri_by_resource ON uri (resource);
CREATE TABLE place (
    parameter INTEGER NOT NULL, latitude REAL NOT NULL, longitude REAL NOT NULL, resource INTEGER NOT NULL,
    PRIMARY KEY (parameter, latitude, longitude, resource)) WITHOUT ROWID;
CREATE INDEX place_by_resource ON place (resource);
CREATE TABLE pair (
    parameter INTEGER NOT NULL, first TEXT NOT NULL, first_system TEXT NOT NULL, code TEXT NOT NULL,
    system TEXT NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL, value REAL NOT NULL, unit TEXT NOT NULL,
    folded TEXT NOT NULL, exact TEXT NOT NULL, resource INTEGER NOT NULL,
    PRIMARY KEY (parameter, first, first_system, code, system, low, high, value, unit, exact, resource)) WITHOUT ROWID;
CREATE INDEX pair_by_resource ON pair (resource);
";

/// Tables that hold what search parameters found.
pub const VALUE_TABLES: &[&str] = &["token", "reference", "text", "period", "amount", "uri", "place", "pair"];

/// Makes the tables, anew if they are not those of this program.
pub fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == version() { Ok(()) } else { clear(connection) }
}

/// Empties the index.
pub fn clear(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")?;
    let tables: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let drops: String = tables.iter().map(|table| format!("DROP TABLE \"{table}\";")).collect();
    let version = version();
    connection.execute_batch(&format!("BEGIN; {drops} {TABLES} PRAGMA user_version = {version}; COMMIT;"))
}

/// Within the positive half of 32 bits, as the pragma keeps it; never the 0 of a new file.
fn version() -> u32 {
    (parameters::fingerprint().wrapping_add(SCHEMA_VERSION) & 0x7fff_ffff).max(1)
}
