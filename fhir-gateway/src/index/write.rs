//! Putting one version into the index.

use careledger_wire::{commitment, ids::Address};
use rusqlite::{Transaction, params};

use super::{
    Entry, Indexed,
    extract::{self, Term},
    schema::VALUE_TABLES,
};
use crate::{
    json::Document,
    naming,
    resources::{Resource, resource},
};

/// What terms depend on besides the resource.
pub struct Context<'a> {
    pub base_url: &'a str,
    pub organization: &'a Address,
}

/// Applies `entry`, unless that version or a newer one is there.
pub fn apply(transaction: &Transaction<'_>, context: &Context<'_>, entry: &Entry<'_>) -> rusqlite::Result<()> {
    let mut known = transaction.prepare_cached("SELECT number, version FROM resource WHERE type = ?1 AND id = ?2")?;
    let mut rows = known.query(params![entry.resource_type, entry.id])?;
    let known: Option<(i64, u32)> = match rows.next()? {
        Some(row) => Some((row.get(0)?, row.get(1)?)),
        None => None,
    };
    if known.is_some_and(|(_, version)| version >= entry.version) {
        return Ok(());
    }
    let sequence: i64 = transaction
        .prepare_cached("SELECT coalesce(max(sequence), 0) + 1 FROM revision")?
        .query_row([], |row| row.get(0))?;
    let kind = resource(entry.resource_type);
    let dated = match (entry.content, kind) {
        (Indexed::Resource(document), Some(kind)) => principal_time(document, kind, context),
        _ => i64::MIN,
    };
    let number = known.map_or(sequence, |(number, _)| number);
    if known.is_some() {
        forget(transaction, number)?;
    }
    let is_deleted = matches!(entry.content, Indexed::Deleted);
    transaction
        .prepare_cached(
            "INSERT INTO resource (number, type, id, version, updated, dated, deleted, sequence, patient)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (number) DO UPDATE SET version = ?4, updated = ?5, dated = ?6, deleted = ?7,
             sequence = ?8, patient = ?9",
        )?
        .execute(params![
            number,
            entry.resource_type,
            entry.id,
            entry.version,
            entry.last_updated,
            dated,
            is_deleted,
            sequence,
            entry.patient
        ])?;
    transaction
        .prepare_cached("INSERT INTO revision (resource, sequence, updated, dated) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![number, sequence, entry.last_updated, dated])?;
    if let (Indexed::Resource(document), Some(kind)) = (entry.content, kind) {
        for (parameter, term) in extract::terms(document, kind, context.base_url) {
            insert(transaction, parameter, &term, number)?;
        }
        for (parameter, term) in subjects(document, kind, context) {
            insert(transaction, parameter, &term, number)?;
        }
    }
    Ok(())
}

/// A patient is also found by subject, which follows from the account that the patient gave.
fn subjects(document: &Document, kind: &Resource, context: &Context<'_>) -> Vec<(i64, Term)> {
    let Some(parameter) = kind.parameter("identifier").filter(|_| kind.name == "Patient") else {
        return Vec::new();
    };
    let identifiers = document.root().get("identifier").map_or(&[][..], |node| node.items());
    let accounts = identifiers.iter().filter(|identifier| identifier.text("system") == Some(naming::ACCOUNT));
    accounts
        .filter_map(|identifier| identifier.text("value")?.parse::<Address>().ok())
        .map(|account| {
            let code = commitment::subject_id(context.organization, &account).to_string();
            (parameter.number, Term::Token { system: naming::SUBJECT.to_string(), code })
        })
        .collect()
}

/// The first moment of the type's principal date, in milliseconds.
fn principal_time(document: &Document, kind: &Resource, context: &Context<'_>) -> i64 {
    let Some(parameter) = kind.principal_date() else { return i64::MIN };
    let terms = extract::of_parameter(document, parameter, context.base_url);
    let lows = terms.iter().filter_map(|term| match term {
        Term::Period(range) => Some(range.low),
        _ => None,
    });
    lows.min().unwrap_or(i64::MIN)
}

fn forget(transaction: &Transaction<'_>, number: i64) -> rusqlite::Result<()> {
    for table in VALUE_TABLES {
        transaction.prepare_cached(&format!("DELETE FROM {table} WHERE resource = ?1"))?.execute([number])?;
    }
    Ok(())
}

fn insert(transaction: &Transaction<'_>, parameter: i64, term: &Term, number: i64) -> rusqlite::Result<()> {
    let into = |sql: &str| transaction.prepare_cached(sql);
    match term {
        Term::Token { system, code } => into("INSERT OR IGNORE INTO token VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![parameter, code, system, number])?,
        Term::Period(range) => into("INSERT OR IGNORE INTO period VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![parameter, range.low, range.high, number])?,
        Term::Reference { resource_type, target } => into("INSERT OR IGNORE INTO reference VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![parameter, target, resource_type, number])?,
        Term::Text(text) => into("INSERT OR IGNORE INTO text VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            parameter,
            extract::folded(text),
            text,
            number
        ])?,
        Term::Amount { value, system, code, unit } => {
            into("INSERT OR IGNORE INTO amount VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![parameter, value, system, code, unit, number])?
        }
        Term::Place { latitude, longitude } => into("INSERT OR IGNORE INTO place VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![parameter, latitude, longitude, number])?,
        Term::Pair(first, second) => insert_pair(transaction, parameter, first, second, number)?,
        Term::Uri(value) => {
            into("INSERT OR IGNORE INTO uri VALUES (?1, ?2, ?3)")?.execute(params![parameter, value, number])?
        }
    };
    Ok(())
}

/// A composite: its first half in columns of its own, its second in those of its kind.
fn insert_pair(
    transaction: &Transaction<'_>,
    parameter: i64,
    first: &Term,
    second: &Term,
    number: i64,
) -> rusqlite::Result<usize> {
    let (first, first_system) = match first {
        Term::Token { system, code } => (code, system),
        Term::Reference { resource_type, target } => (target, resource_type),
        // The text of a code is no half of a composite.
        _ => return Ok(0),
    };
    let mut half = Half::default();
    match second {
        Term::Token { system, code } => (half.code, half.system) = (code, system),
        Term::Period(range) => (half.low, half.high) = (range.low, range.high),
        Term::Amount { value, system, code, unit } => {
            (half.value, half.system, half.code, half.unit) = (*value, system, code, unit);
        }
        Term::Text(text) => (half.folded, half.exact) = (extract::folded(text), text),
        _ => return Ok(0),
    }
    let Half { code, system, low, high, value, unit, folded, exact } = half;
    transaction
        .prepare_cached("INSERT OR IGNORE INTO pair VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?
        .execute(params![parameter, first, first_system, code, system, low, high, value, unit, folded, exact, number])
}

/// The second half of a composite.
#[derive(Default)]
struct Half<'a> {
    code: &'a str,
    system: &'a str,
    low: i64,
    high: i64,
    value: f64,
    unit: &'a str,
    folded: String,
    exact: &'a str,
}
