//! All resources of one type in the order of their ids, part by part: what an export goes through.
//!
//! A part begins after an id, which stays what it is when the index is built anew; numbers would not.

use std::collections::{BTreeMap, BTreeSet};

use sea_query::{Cond, Expr, ExprTrait as _, Order, Query as Build, SelectStatement};

use super::{
    database::{Answer, Connection, Purpose},
    schema,
    select::matching,
};
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
    /// Sequence of the last change that the index must have.
    pub through: u64,
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

/// The next resources, by id; none where the index lacks changes that it must have, as while it is made anew.
pub fn part(connection: &Connection, wanted: &Wanted) -> Answer<Option<Vec<Row>>> {
    // One state of the index for all of it, and for how far it is filled.
    connection.within(Purpose::Read, |connection| {
        let is_filled = u64::try_from(schema::applied(connection)?).is_ok_and(|applied| applied >= wanted.through);
        is_filled.then(|| part_now(connection, wanted)).transpose()
    })
}

fn part_now(connection: &Connection, wanted: &Wanted) -> Answer<Vec<Row>> {
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
    let found =
        connection.rows(&select, |row| Ok((row.integer(0)?, row.text(1)?, row.count(2)?, row.optional_text(3)?)))?;
    let numbers = found.iter().map(|(number, ..)| *number).collect();
    let mut named = match (wanted.whom, wanted.which) {
        (Whom::Patients, Which::Live) => named(connection, kind, numbers)?,
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
pub fn newest(connection: &Connection) -> Answer<i64> {
    let sql = "SELECT coalesce(max(updated), 0) \
               FROM (SELECT updated FROM history ORDER BY sequence DESC LIMIT 10000) AS newest";
    let rows = connection.query(sql, Vec::new())?;
    rows.first().map_or(Ok(0), |row| row.integer(0))
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
fn named(connection: &Connection, kind: &Resource, numbers: Vec<i64>) -> Answer<BTreeMap<i64, BTreeSet<String>>> {
    let mut select = of_patients(kind);
    select.columns(["resource", "target"]).and_where(Expr::col("resource").is_in(numbers));
    let mut named: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for (number, target) in connection.rows(&select, |row| Ok((row.integer(0)?, row.text(1)?)))? {
        named.entry(number).or_default().insert(target);
    }
    Ok(named)
}

/// Those that were deleted, as far as the caller may see whose they were.
fn deleted(query: &Query) -> SelectStatement {
    let name = query.resource.name;
    let mut select = Build::select();
    select.from("resource").and_where(Expr::col("type").eq(name)).and_where(Expr::col("deleted").eq(1));
    let limit = query.sight.as_ref().and_then(|sight| sight.of_deleted(name));
    select.cond_where(limit.unwrap_or_else(Cond::all));
    select
}
