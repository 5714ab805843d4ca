//! What resources refer to, and what refers to them, as far as the caller may see it.

use sea_query::{Expr, ExprTrait as _, Query as Build, SelectStatement};

use super::{
    database::{Answer, Connection, Row},
    sight::Sight,
};
use crate::{resources::parameters::SearchType, search::Include};

/// A resource beside the matches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Beside {
    /// Its number in this index.
    pub number: i64,
    /// Resource type.
    pub resource_type: String,
    /// Resource id.
    pub id: String,
}

/// Up to `limit` resources that `include` adds to those with `numbers`, by number.
pub fn beside(
    connection: &Connection,
    numbers: &[i64],
    include: &Include,
    sight: Option<&Sight>,
    limit: usize,
) -> Answer<Vec<Beside>> {
    let mut select = if include.is_reverse { backward(numbers, include) } else { forward(numbers, include) };
    select.distinct().columns([("resource", "number"), ("resource", "type"), ("resource", "id")]);
    select.and_where(Expr::col(("resource", "deleted")).eq(0));
    if let Some(parameters) = parameters(include) {
        select.and_where(Expr::col(("reference", "parameter")).is_in(parameters));
    }
    if let Some(sight) = sight {
        select.cond_where(sight.condition());
    }
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    select.order_by(("resource", "number"), sea_query::Order::Asc).limit(limit);
    connection.rows(&select, Beside::read)
}

impl Beside {
    /// Reads its number, type and id.
    pub(super) fn read(row: &Row) -> Answer<Self> {
        Ok(Self { number: row.integer(0)?, resource_type: row.text(1)?, id: row.text(2)? })
    }
}

/// The references that count, by number; all if none.
fn parameters(include: &Include) -> Option<Vec<i64>> {
    match (include.parameter, include.source) {
        (Some(parameter), _) => Some(vec![parameter.number]),
        (None, Some(source)) => {
            let references = source.parameters.iter().filter(|found| found.search_type == SearchType::Reference);
            Some(references.map(|found| found.number).collect())
        }
        (None, None) => None,
    }
}

fn forward(numbers: &[i64], include: &Include) -> SelectStatement {
    let mut select = Build::select();
    let is_named = Expr::col(("resource", "type"))
        .equals(("reference", "type"))
        .and(Expr::col(("resource", "id")).equals(("reference", "target")));
    select.from("reference").inner_join("resource", is_named);
    select.and_where(Expr::col(("reference", "resource")).is_in(numbers.iter().copied()));
    if let Some(target) = include.target {
        select.and_where(Expr::col(("resource", "type")).eq(target));
    }
    select
}

fn backward(numbers: &[i64], include: &Include) -> SelectStatement {
    let mut select = Build::select();
    let names_it = Expr::col(("reference", "type"))
        .equals(("hit", "type"))
        .and(Expr::col(("reference", "target")).equals(("hit", "id")));
    select.from_as("resource", "hit").inner_join("reference", names_it);
    select.inner_join("resource", Expr::col(("resource", "number")).equals(("reference", "resource")));
    select.and_where(Expr::col(("hit", "number")).is_in(numbers.iter().copied()));
    if let Some(source) = include.source {
        select.and_where(Expr::col(("resource", "type")).eq(source.name));
    }
    if let Some(target) = include.target {
        select.and_where(Expr::col(("hit", "type")).eq(target));
    }
    select
}
