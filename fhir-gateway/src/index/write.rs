//! Putting versions into the index.

use std::collections::BTreeMap;

use careledger_wire::{commitment, ids::Address};

use super::{
    Entry, Indexed,
    bounded::{bounded, rest},
    database::{Answer, Connection, Value},
    extract::{self, Term},
    letters,
    schema::{self, VALUE_TABLES},
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

/// Rows that wait to be added, by table.
type Rows = BTreeMap<&'static str, Vec<Vec<Value>>>;

/// Applies `entries` in their order, each unless that version or a newer one is there.
pub fn apply(connection: &Connection, context: &Context<'_>, entries: &[Entry<'_>]) -> Answer<()> {
    let mut rows = Rows::new();
    // Nobody else writes meanwhile.
    let last = "SELECT coalesce(max(sequence), 0) FROM revision";
    let mut sequence = connection.query(last, Vec::new())?[0].integer(0)?;
    for entry in entries {
        let known = connection.query(
            "SELECT number, version FROM resource WHERE type = $1 AND id = $2",
            vec![entry.resource_type.into(), entry.id.into()],
        )?;
        let known = known.first().map(|row| Ok((row.integer(0)?, row.count(1)?))).transpose()?;
        if known.is_some_and(|(_, version)| version >= entry.version) {
            continue;
        }
        if let Some((number, _)) = known {
            // What an earlier entry of these added must be there to be forgotten.
            flush(connection, &mut rows)?;
            forget(connection, number)?;
        }
        sequence += 1;
        put(connection, context, entry, known.map(|(number, _)| number), sequence, &mut rows)?;
    }
    flush(connection, &mut rows)
}

fn put(
    connection: &Connection,
    context: &Context<'_>,
    entry: &Entry<'_>,
    known: Option<i64>,
    sequence: i64,
    rows: &mut Rows,
) -> Answer<()> {
    let kind = resource(entry.resource_type);
    let dated = match (entry.content, kind) {
        (Indexed::Resource(document), Some(kind)) => principal_time(document, kind, context),
        _ => i64::MIN,
    };
    let is_deleted = i64::from(matches!(entry.content, Indexed::Deleted));
    let number = known.unwrap_or(sequence);
    let values = vec![
        number.into(),
        entry.resource_type.into(),
        entry.id.into(),
        entry.version.into(),
        entry.last_updated.into(),
        dated.into(),
        is_deleted.into(),
        sequence.into(),
        entry.patient.into(),
    ];
    let put = "INSERT INTO resource (number, type, id, version, updated, dated, deleted, sequence, patient)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (number) DO UPDATE SET version = excluded.version, updated = excluded.updated,
         dated = excluded.dated, deleted = excluded.deleted, sequence = excluded.sequence, patient = excluded.patient";
    connection.query(put, values)?;
    let revision = vec![number.into(), sequence.into(), entry.last_updated.into(), dated.into()];
    rows.entry("revision").or_default().push(revision);
    if let (Indexed::Resource(document), Some(kind)) = (entry.content, kind) {
        let terms = extract::terms(document, kind, context.base_url).into_iter();
        for (parameter, term) in terms.chain(subjects(document, kind, context)) {
            if let Some((table, row)) = row_of(parameter, &term, number) {
                rows.entry(table).or_default().push(row);
            }
        }
    }
    Ok(())
}

fn flush(connection: &Connection, rows: &mut Rows) -> Answer<()> {
    std::mem::take(rows)
        .into_iter()
        .try_for_each(|(table, rows)| connection.insert(table, &schema::columns(table), rows))
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

fn forget(connection: &Connection, number: i64) -> Answer<()> {
    VALUE_TABLES.iter().try_for_each(|table| {
        connection.query(&format!("DELETE FROM {table} WHERE resource = $1"), vec![number.into()]).map(|_| ())
    })
}

fn key(text: &str) -> Value {
    Value::Text(bounded(text).into_owned())
}

/// The table of a term, and its row in the order of the table's columns; none for what is no term of a
/// composite.
fn row_of(parameter: i64, term: &Term, number: i64) -> Option<(&'static str, Vec<Value>)> {
    let (parameter, number) = (Value::from(parameter), Value::from(number));
    Some(match term {
        Term::Token { system, code } => ("token", vec![parameter, key(code), key(system), number]),
        Term::Period(range) => ("period", vec![parameter, range.low.into(), range.high.into(), number]),
        Term::Reference { resource_type, target } => {
            ("reference", vec![parameter, key(target), key(resource_type), number])
        }
        Term::Text(text) => {
            let folded = letters::folded(text);
            ("text", vec![parameter, key(&folded), key(text), rest(&folded).into(), number])
        }
        Term::Amount { lowest, highest, system, code, unit } => {
            let (lowest, highest) = ((*lowest).into(), (*highest).into());
            ("amount", vec![parameter, lowest, highest, key(system), key(code), key(unit), number])
        }
        Term::Place { latitude, longitude } => {
            ("place", vec![parameter, (*latitude).into(), (*longitude).into(), number])
        }
        Term::Pair(first, second) => ("pair", pair(parameter, first, second, number)?),
        Term::Uri(value) => ("uri", vec![parameter, key(value), rest(value).into(), number]),
    })
}

/// A composite: its first half in columns of its own, its second in those of its kind.
fn pair(parameter: Value, first: &Term, second: &Term, number: Value) -> Option<Vec<Value>> {
    let (first, first_system) = match first {
        Term::Token { system, code } => (code, system),
        Term::Reference { resource_type, target } => (target, resource_type),
        // The text of a code is no half of a composite.
        _ => return None,
    };
    let mut half = Half::default();
    match second {
        Term::Token { system, code } => (half.code, half.system) = (code, system),
        Term::Period(range) => (half.low, half.high) = (range.low, range.high),
        Term::Amount { lowest, highest, system, code, unit } => {
            (half.lowest, half.highest) = (*lowest, *highest);
            (half.system, half.code, half.unit) = (system, code, unit);
        }
        Term::Text(text) => (half.folded, half.exact) = (letters::folded(text), text),
        _ => return None,
    }
    let Half { code, system, low, high, lowest, highest, unit, folded, exact } = half;
    Some(vec![
        parameter,
        key(first),
        key(first_system),
        key(code),
        key(system),
        low.into(),
        high.into(),
        lowest.into(),
        highest.into(),
        key(unit),
        key(&folded),
        key(exact),
        rest(&folded).into(),
        number,
    ])
}

/// The second half of a composite.
#[derive(Default)]
struct Half<'a> {
    code: &'a str,
    system: &'a str,
    low: i64,
    high: i64,
    lowest: f64,
    highest: f64,
    unit: &'a str,
    folded: String,
    exact: &'a str,
}
