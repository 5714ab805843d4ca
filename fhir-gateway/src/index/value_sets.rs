//! ValueSets by their canonical URL: what decides which of several is meant.

use sea_query::{Expr, Order};

use super::{
    Index,
    database::{Answer, Connection},
    select::matching,
    sight::Sight,
};
use crate::{
    outcome::Refusal,
    resources::{Resource, parameters::Parameter, resource},
    search::{Criterion, Modifier, Query, Subject, Wanted},
    value_sets::{Edition, TYPE},
};

/// A ValueSet that has the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// What decides between it and others.
    pub edition: Edition,
}

impl Index {
    /// Up to `limit` ValueSets of a URL, and of a version where one is named, as far as the caller may see them.
    ///
    /// # Errors
    /// Faults of the index.
    pub fn value_sets(
        &self,
        url: &str,
        version: Option<&str>,
        sight: Sight,
        limit: u32,
    ) -> Result<Vec<Candidate>, Refusal> {
        let kind = resource(TYPE).ok_or(Refusal::Internal("ValueSet is not kept"))?;
        let mut criteria = vec![criterion(kind, "url", Wanted::Uri(url.to_owned()))?];
        if let Some(version) = version {
            let wanted = Wanted::Token { system: None, code: Some(version.to_owned()) };
            criteria.push(criterion(kind, "version", wanted)?);
        }
        let mut query = Query { criteria, ..Query::all(kind) };
        query.see(sight)?;
        self.with_reader(|reader| candidates(reader, &query, limit))
    }
}

fn parameter(kind: &'static Resource, code: &str) -> Result<&'static Parameter, Refusal> {
    kind.parameter(code).ok_or(Refusal::Internal("a search parameter of ValueSet is not in the table"))
}

fn criterion(kind: &'static Resource, code: &str, wanted: Wanted) -> Result<Criterion, Refusal> {
    let subject = Subject::Parameter(parameter(kind, code)?);
    Ok(Criterion { subject, modifier: Modifier::None, wanted: vec![wanted], links: Vec::new() })
}

fn candidates(connection: &Connection, query: &Query, limit: u32) -> Answer<Vec<Candidate>> {
    let mut select = matching(query, i64::MAX);
    select.clear_selects().columns(["id", "dated", "sequence"]);
    for code in ["version", "status"] {
        let number = query.resource.parameter(code).map_or(-1, |parameter| parameter.number);
        select.expr(Expr::cust(format!(
            "(SELECT max(code) FROM token WHERE parameter = {number} AND resource = \"resource\".\"number\")"
        )));
    }
    select.order_by("number", Order::Asc).limit(limit.into());
    connection.rows(&select, |row| {
        let is_active = row.optional_text(4)?.as_deref() == Some("active");
        let edition =
            Edition { is_active, version: row.optional_text(3)?, dated: row.integer(1)?, sequence: row.integer(2)? };
        Ok(Candidate { id: row.text(0)?, edition })
    })
}
