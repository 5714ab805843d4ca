//! What became visible after a change, in that order: what Subscriptions are notified of.

use sea_query::{Expr, ExprTrait as _, Order, Query as Build};

use super::{
    database::{Answer, Connection, Purpose},
    schema,
};

/// Which changes are asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of this type.
    pub resource_type: &'static str,
    /// After this change.
    pub after: u64,
    /// Only what is about this Patient.
    pub patient: Option<String>,
    /// How many at most.
    pub count: u32,
}

/// A version that became visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its place in the order in which versions became visible.
    pub sequence: u64,
    /// Resource id.
    pub id: String,
    /// Version, from 1.
    pub version: u32,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The changes, oldest first.
    pub changes: Vec<Change>,
    /// Up to and with this change nothing is missing.
    pub through: u64,
}

/// The newest change of each type that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// By type.
    pub of_types: Vec<(String, u64)>,
    /// Up to and with this change nothing is missing.
    pub through: u64,
}

/// The newest change of each type of which there is one after `after`.
pub fn newest(connection: &Connection, after: u64) -> Answer<Newest> {
    connection.within(Purpose::Read, |connection| {
        let applied = schema::applied(connection)?;
        let mut select = Build::select();
        select.column("type").expr(Expr::cust("max(sequence)")).from("history").group_by_col("type");
        select.and_where(Expr::col("sequence").gt(i64_of(after))).and_where(Expr::col("sequence").lte(applied));
        let of_types = connection.rows(&select, |row| Ok((row.text(0)?, u64_of(row.integer(1)?))))?;
        // An index that is being rebuilt has applied nothing yet, and goes on to where it was.
        Ok(Newest { of_types, through: std::cmp::max(u64_of(applied), after) })
    })
}

/// The next changes of a type.
pub fn after(connection: &Connection, wanted: &Wanted) -> Answer<Found> {
    // One state of the index: what is applied is listed.
    connection.within(Purpose::Read, |connection| after_now(connection, wanted))
}

fn after_now(connection: &Connection, wanted: &Wanted) -> Answer<Found> {
    let applied = schema::applied(connection)?;
    let mut select = Build::select();
    select.from("history").columns(["sequence", "id", "version"]);
    select.and_where(Expr::col("type").eq(wanted.resource_type));
    select.and_where(Expr::col("sequence").gt(i64_of(wanted.after))).and_where(Expr::col("sequence").lte(applied));
    if let Some(patient) = &wanted.patient {
        let column = if wanted.resource_type == "Patient" { "id" } else { "patient" };
        select.and_where(Expr::col(column).eq(patient.as_str()));
    }
    select.order_by("sequence", Order::Asc).limit(wanted.count.into());
    let changes = connection.rows(&select, |row| {
        Ok(Change { sequence: u64_of(row.integer(0)?), id: row.text(1)?, version: row.count(2)? })
    })?;
    let last = changes.last().filter(|_| changes.len() == wanted.count as usize);
    // An index that is being rebuilt has applied nothing yet, and goes on to where it was.
    let through = last.map_or(std::cmp::max(u64_of(applied), wanted.after), |last| last.sequence);
    Ok(Found { changes, through })
}

fn i64_of(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn u64_of(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
