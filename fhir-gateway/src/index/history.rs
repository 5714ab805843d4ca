//! Every version in the order in which it became visible: what `_history` is read from.

use sea_query::{Cond, Expr, ExprTrait as _, Order, Query as Build, SelectStatement};

use super::{
    database::{Answer, Connection, Purpose},
    range::Range,
    schema,
    select::counted,
    sight::Limited,
};
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
    /// Types of which the caller may see what meets search parameters now; whether a version did is left to
    /// whoever reads it.
    pub limited: Vec<Limited>,
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
pub fn list(connection: &Connection, versions: &[Listed]) -> Answer<()> {
    let row = |listed: &Listed| {
        let sequence = i64::try_from(listed.sequence).unwrap_or(i64::MAX);
        let Listed { resource_type, id, version, last_updated, patient, .. } = listed;
        vec![
            sequence.into(),
            resource_type.as_str().into(),
            id.as_str().into(),
            (*version).into(),
            (*last_updated).into(),
            patient.as_deref().into(),
        ]
    };
    connection.insert("history", &schema::columns("history"), versions.iter().map(row).collect())
}

/// A page of at most `count` versions, newest first; none where `before` names no version that the
/// caller may see.
pub fn page(connection: &Connection, versions: &Versions, count: u32) -> Answer<Option<Listing>> {
    connection.within(Purpose::Read, |connection| page_now(connection, versions, count))
}

fn page_now(connection: &Connection, versions: &Versions, count: u32) -> Answer<Option<Listing>> {
    let total = counted(connection, asked(versions).expr(Expr::cust("count(*)")))?;
    let mut select = asked(versions);
    if let Some((resource_type, id, version)) = &versions.before {
        let mut last = visible(versions);
        last.expr(Expr::col("sequence")).and_where(Expr::col("type").eq(resource_type.as_str()));
        last.and_where(Expr::col("id").eq(id.as_str())).and_where(Expr::col("version").eq(*version));
        match connection.first(&last, |row| row.integer(0))? {
            Some(sequence) => select.and_where(Expr::col("sequence").lt(sequence)),
            None => return Ok(None),
        };
    }
    select.columns(["type", "id", "version"]).order_by("sequence", Order::Desc).limit(u64::from(count) + 1);
    let mut rows = connection
        .rows(&select, |row| Ok(Row { resource_type: row.text(0)?, id: row.text(1)?, version: row.count(2)? }))?;
    let has_more = rows.len() > count as usize;
    rows.truncate(count as usize);
    Ok(Some(Listing { rows, total, has_more }))
}

/// Whether the caller may see any version of the resource, whatever else is asked.
pub fn exists(connection: &Connection, versions: &Versions) -> Answer<bool> {
    let mut select = visible(versions);
    Ok(connection.first(select.column("sequence").limit(1), |_| Ok(()))?.is_some())
}

/// Whether any version of a resource, or the one that is named, was about a patient. Looked up under the
/// patient's name alone, so that what is another's costs what costs that which is not there.
pub fn is_of(
    connection: &Connection,
    patient: &str,
    resource_type: &str,
    id: &str,
    version: Option<u32>,
) -> Answer<bool> {
    let mut select = Build::select();
    select.column("version").from("history").and_where(Expr::col("patient").eq(patient));
    select.and_where(Expr::col("type").eq(resource_type)).and_where(Expr::col("id").eq(id));
    if let Some(version) = version {
        select.and_where(Expr::col("version").eq(version));
    }
    Ok(connection.first(select.limit(1), |_| Ok(()))?.is_some())
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
    for limited in &versions.limited {
        let mut now = Build::select();
        now.expr(Expr::val(1)).from("resource").and_where(Expr::col(("resource", "deleted")).eq(0));
        now.and_where(Expr::col(("resource", "type")).equals(("history", "type")));
        now.and_where(Expr::col(("resource", "id")).equals(("history", "id")));
        now.cond_where(limited.condition(versions.patient.as_deref()));
        let is_it = Expr::col("type").eq(limited.resource.name);
        may_see = may_see.add(Cond::all().add(is_it).add(Expr::exists(now)));
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
                     AND next.version = history.version + 1 AND next.updated <= ";
        select.and_where(Expr::cust(format!("{ended}({}))", low.div_euclid(1000))));
    }
    select
}
