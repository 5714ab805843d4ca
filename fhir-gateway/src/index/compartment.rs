//! Everything about one patient, of all types, in the order in which it became known.

use sea_query::{Cond, Expr, ExprTrait as _, Order, Query as Build, SelectStatement};

use super::{
    database::{Answer, Connection, Purpose},
    include::Beside,
    range::Range,
    select::{counted, newest},
    sight::Sight,
};
use crate::search::Cursor;

/// What of a patient's compartment is asked for.
#[derive(Debug, Clone)]
pub struct Compartment {
    /// Id of the Patient.
    pub patient: String,
    /// Numbers of the parameters by which resources are in the compartment.
    pub parameters: Vec<i64>,
    /// Types that count; all if none.
    pub types: Option<Vec<&'static str>>,
    /// What pages are made of.
    pub pages: Pages,
    /// What the caller may see.
    pub sight: Sight,
    /// Written then or later, Unix seconds.
    pub since: Option<i64>,
    /// Whose principal date is in this range; what has none counts as in it.
    pub dated: Option<Range>,
    /// Where the page begins.
    pub cursor: Option<Cursor>,
    /// Entries of a page.
    pub count: u32,
}

/// What the pages of a compartment are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// What is of the types.
    OfTypes,
    /// All there is, for who looks for what it refers to.
    OfAll,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The resources that it is made of.
    pub found: Vec<Beside>,
    /// All there are of the types, on all pages.
    pub total: u64,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// One page of a compartment, as it was when the first one was asked for.
pub fn page(connection: &Connection, asked: &Compartment) -> Answer<Part> {
    connection.within(Purpose::Read, |connection| page_now(connection, asked))
}

fn page_now(connection: &Connection, asked: &Compartment) -> Answer<Part> {
    let snapshot = match asked.cursor {
        Some(cursor) => cursor.snapshot,
        None => newest(connection)?,
    };
    let total = match asked.cursor.and_then(|cursor| cursor.total) {
        Some(total) => total,
        None => {
            let mut select = matching(asked, snapshot);
            of_types(&mut select, asked);
            counted(connection, select.expr(Expr::cust("count(*)")))?
        }
    };
    let mut select = matching(asked, snapshot);
    if asked.pages == Pages::OfTypes {
        of_types(&mut select, asked);
    }
    if let Some(cursor) = asked.cursor {
        select.and_where(Expr::col("number").gt(cursor.after));
    }
    select.columns(["number", "type", "id"]).order_by("number", Order::Asc).limit(u64::from(asked.count) + 1);
    let mut found = connection.rows(&select, Beside::read)?;
    let has_more = found.len() > asked.count as usize;
    found.truncate(asked.count as usize);
    let next =
        found.last().filter(|_| has_more).map(|last| Cursor { snapshot, after: last.number, total: Some(total) });
    Ok(Part { found, total, next })
}

fn matching(asked: &Compartment, snapshot: i64) -> SelectStatement {
    let mut about = Build::select();
    about.column("resource").from("reference").and_where(Expr::col("target").eq(asked.patient.as_str()));
    about.and_where(Expr::col("type").eq("Patient"));
    about.and_where(Expr::col("parameter").is_in(asked.parameters.iter().copied()));
    let itself = Cond::all().add(Expr::col("type").eq("Patient")).add(Expr::col("id").eq(asked.patient.as_str()));
    let mut select = Build::select();
    select.from("resource").and_where(Expr::col("deleted").eq(0)).and_where(Expr::col("number").lte(snapshot));
    select.cond_where(Cond::any().add(itself).add(Expr::col("number").in_subquery(about)));
    select.cond_where(asked.sight.condition());
    if let Some(since) = asked.since {
        select.and_where(Expr::col("updated").gte(since));
    }
    if let Some(Range { low, high }) = asked.dated {
        let within = Cond::all().add(Expr::col("dated").gte(low)).add(Expr::col("dated").lte(high));
        select.cond_where(Cond::any().add(Expr::col("dated").eq(i64::MIN)).add(within));
    }
    select
}

fn of_types(select: &mut SelectStatement, asked: &Compartment) {
    if let Some(types) = &asked.types {
        select.and_where(Expr::col("type").is_in(types.clone()));
    }
}
