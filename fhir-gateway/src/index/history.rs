//! Every version in the order in which it became visible: what `_history` is read from.

use rusqlite::{Connection, OptionalExtension as _, types::Value as Sql};
use sea_query::{Cond, Expr, ExprTrait as _, Order, Query as Build, SelectStatement, SqliteQueryBuilder};

use super::{range::Range, select::bound};
use crate::records::Listed;

/// Which versions are asked for, and which of them the caller may see.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    /// Types of which the caller may see everything.
    pub whole: Vec<&'static str>,
    /// Types of which the caller may see what is about `patient`.
    pub own: Vec<&'static str>,
    /// The patient to whom the caller is limited.
    pub patient: Option<String>,
    /// Of `own`, also what is about nobody.
    pub unnamed_too: bool,
    /// One resource only.
    pub id: Option<String>,
    /// Written then or later, Unix seconds.
    pub since: Option<i64>,
    /// Current at some moment of this range.
    pub at: Option<Range>,
    /// Older than this version, by type, id and number.
    pub before: Option<(String, String, u32)>,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Resource type.
    pub resource_type: String,
    /// Resource id.
    pub id: String,
    /// Version.
    pub version: u32,
}

/// One page of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Newest first.
    pub rows: Vec<Row>,
    /// All that are asked for, on all pages.
    pub total: u64,
    /// Whether more follow.
    pub has_more: bool,
}

/// Adds versions; those that are there stay as they are.
pub fn list(connection: &Connection, versions: &[Listed]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO history (sequence, type, id, version, updated, patient) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for listed in versions {
        let sequence = i64::try_from(listed.sequence).unwrap_or(i64::MAX);
        let Listed { resource_type, id, version, last_updated, patient, .. } = listed;
        insert.execute(rusqlite::params![sequence, resource_type, id, version, last_updated, patient])?;
    }
    Ok(())
}

/// A page of at most `count` versions, newest first; none where `before` names no version that the
/// caller may see.
pub fn page(connection: &Connection, versions: &Versions, count: u32) -> rusqlite::Result<Option<Listing>> {
    let transaction = connection.unchecked_transaction()?;
    let total = run(&transaction, asked(versions).expr(Expr::cust("count(*)")), |row| row.get::<_, i64>(0))?;
    let total = total.first().copied().and_then(|total| u64::try_from(total).ok()).unwrap_or_default();
    let mut select = asked(versions);
    if let Some((resource_type, id, version)) = &versions.before {
        let mut last = visible(versions);
        last.expr(Expr::col("sequence")).and_where(Expr::col("type").eq(resource_type.as_str()));
        last.and_where(Expr::col("id").eq(id.as_str())).and_where(Expr::col("version").eq(*version));
        match run(&transaction, &last, |row| row.get::<_, i64>(0))?.first() {
            Some(sequence) => select.and_where(Expr::col("sequence").lt(*sequence)),
            None => return Ok(None),
        };
    }
    select.columns(["type", "id", "version"]).order_by("sequence", Order::Desc).limit(u64::from(count) + 1);
    let mut rows = run(&transaction, &select, |row| {
        Ok(Row { resource_type: row.get(0)?, id: row.get(1)?, version: row.get(2)? })
    })?;
    let has_more = rows.len() > count as usize;
    rows.truncate(count as usize);
    Ok(Some(Listing { rows, total, has_more }))
}

/// Whether the caller may see any version of the resource, whatever else is asked.
pub fn exists(connection: &Connection, versions: &Versions) -> rusqlite::Result<bool> {
    let mut select = visible(versions);
    let (sql, values) = select.expr(Expr::val(1)).limit(1).build(SqliteQueryBuilder);
    connection
        .prepare_cached(&sql)?
        .query_row(bound(values), |row| row.get::<_, Sql>(0))
        .optional()
        .map(|row| row.is_some())
}

/// What the caller may see.
fn visible(versions: &Versions) -> SelectStatement {
    let mut select = Build::select();
    let mut may_see = Cond::any().add(Expr::col("type").is_in(versions.whole.clone()));
    if let Some(patient) = &versions.patient {
        let mut about = Cond::any().add(Expr::col("patient").eq(patient.as_str()));
        if versions.unnamed_too {
            about = about.add(Expr::col("patient").is_null());
        }
        may_see = may_see.add(Cond::all().add(Expr::col("type").is_in(versions.own.clone())).add(about));
    }
    select.from("history").cond_where(may_see);
    if let Some(id) = &versions.id {
        select.and_where(Expr::col("id").eq(id.as_str()));
    }
    select
}

/// What of it is asked for.
fn asked(versions: &Versions) -> SelectStatement {
    let mut select = visible(versions);
    if let Some(since) = versions.since {
        select.and_where(Expr::col("updated").gte(since));
    }
    if let Some(Range { low, high }) = versions.at {
        // Current from its own time to that of the next version of the resource.
        select.and_where(Expr::col("updated").lte(high.div_euclid(1000)));
        let ended = "NOT EXISTS (SELECT 1 FROM history AS next WHERE next.type = history.type AND next.id = history.id \
                     AND next.version = history.version + 1 AND next.updated <= ?)";
        select.and_where(Expr::cust_with_values(ended, [low.div_euclid(1000)]));
    }
    select
}

fn run<T>(
    connection: &Connection,
    select: &SelectStatement,
    read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let (sql, values) = select.build(SqliteQueryBuilder);
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(bound(values), |row| read(row))?.collect()
}
