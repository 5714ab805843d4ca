//! All resources of one type in the order of their ids, part by part: what an export goes through.
//!
//! A part begins after an id, which stays what it is when the index is built anew; numbers would not.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use sea_query::{Cond, Expr, ExprTrait as _, Order, Query as Build, SelectStatement, SqliteQueryBuilder};

use super::select::{bound, matching};
use crate::{resources::Resource, search::Query};

/// Which resources of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that are there.
    Live,
    /// Those that were deleted, whatever they said.
    Deleted,
}

/// Whom they must be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// Anybody or nobody.
    Anybody,
    /// A Patient: those in the compartment of one, and the Patients themselves.
    Patients,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The type, the criteria of those that are live, and what the caller may see.
    pub query: Query,
    /// Which of them.
    pub which: Which,
    /// Whom they are about.
    pub whom: Whom,
    /// Written then or later, Unix seconds.
    pub since: Option<i64>,
    /// Those with a greater id.
    pub after: String,
    /// How many at most.
    pub count: u32,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Its newest version.
    pub version: u32,
    /// The Patients in whose compartment it is, where it was asked whom it is about.
    pub patients: BTreeSet<String>,
}

/// The next resources, by id.
pub fn part(connection: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<Row>> {
    // One state of the index for all of it.
    let transaction = connection.unchecked_transaction()?;
    let kind = wanted.query.resource;
    let mut select = match wanted.which {
        Which::Live => matching(&wanted.query, i64::MAX),
        Which::Deleted => deleted(&wanted.query),
    };
    if wanted.whom == Whom::Patients && kind.name != "Patient" {
        select.and_where(match wanted.which {
            Which::Live => Expr::exists(
                of_patients(kind)
                    .expr(Expr::val(1))
                    .and_where(Expr::col("resource").equals(("resource", "number")))
                    .take(),
            ),
            // What it referred to is forgotten with it, but for the patient.
            Which::Deleted => Expr::col("patient").is_not_null(),
        });
    }
    if let Some(since) = wanted.since {
        select.and_where(Expr::col("updated").gte(since));
    }
    select.and_where(Expr::col("id").gt(wanted.after.as_str()));
    select.clear_selects().columns(["number", "id", "version", "patient"]);
    select.order_by("id", Order::Asc).limit(wanted.count.into());
    let (sql, values) = select.build(SqliteQueryBuilder);
    let mut statement = transaction.prepare_cached(&sql)?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, u32>(2)?, row.get::<_, Option<String>>(3)?))
    };
    let found = statement.query_map(bound(values), read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let numbers = found.iter().map(|(number, ..)| *number).collect();
    let mut named = match (wanted.whom, wanted.which) {
        (Whom::Patients, Which::Live) => named(&transaction, kind, numbers)?,
        _ => BTreeMap::new(),
    };
    let row = |(number, id, version, patient): (i64, String, u32, Option<String>)| {
        let mut patients = named.remove(&number).unwrap_or_default();
        patients.extend(patient);
        if kind.name == "Patient" {
            patients.insert(id.clone());
        }
        Row { id, version, patients }
    };
    Ok(found.into_iter().map(row).collect())
}

/// Time of the newest version, Unix seconds; 0 where there is none. Versions become visible in nearly the order of
/// their blocks, so only the last ones are looked at.
pub fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(max(updated), 0) FROM (SELECT updated FROM history ORDER BY sequence DESC LIMIT 10000)";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// The references by which resources of a type are in the compartment of a Patient.
fn of_patients(kind: &Resource) -> SelectStatement {
    let numbers = kind.compartment.iter().filter_map(|code| kind.parameter(code)).map(|parameter| parameter.number);
    let mut select = Build::select();
    select.from("reference").and_where(Expr::col("type").eq("Patient"));
    select.and_where(Expr::col("parameter").is_in(numbers));
    select
}

/// The Patients in whose compartments resources are.
fn named(
    connection: &Connection,
    kind: &Resource,
    numbers: Vec<i64>,
) -> rusqlite::Result<BTreeMap<i64, BTreeSet<String>>> {
    let mut select = of_patients(kind);
    select.columns(["resource", "target"]).and_where(Expr::col("resource").is_in(numbers));
    let (sql, values) = select.build(SqliteQueryBuilder);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut named: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    let rows = statement.query_map(bound(values), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    for row in rows {
        let (number, target) = row?;
        named.entry(number).or_default().insert(target);
    }
    Ok(named)
}

/// Those that were deleted, as far as the caller may see whose they were.
fn deleted(query: &Query) -> SelectStatement {
    let name = query.resource.name;
    let mut select = Build::select();
    select.from("resource").and_where(Expr::col("type").eq(name)).and_where(Expr::col("deleted").eq(1));
    let limit = query.sight.as_ref().and_then(|sight| sight.of_type("resource", name));
    select.cond_where(limit.unwrap_or_else(Cond::all));
    select
}
