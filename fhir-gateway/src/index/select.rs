//! Searches as SQL. Pages neither skip nor repeat, whatever is written between them: a search
//! sees the resources that existed when it began, in the order that they then had.

use rusqlite::{Connection, OptionalExtension as _, types::Value as Sql};
use sea_query::{
    Cond, Expr, ExprTrait as _, Order, Query as Build, SelectStatement, SqliteQueryBuilder, Value, Values,
};

use super::{
    extract::{SYSTEM_BY_BINDING, folded},
    range::{Amount, Range},
};
use crate::{
    resources::{Resource, parameters::SearchType},
    search::{Criterion, Cursor, Modifier, Prefix, Query, Sort, SortKey, Subject, Wanted},
};

/// The number of the resource that a search looks at.
const NUMBER: (&str, &str) = ("resource", "number");

/// A resource that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Its number in this index.
    pub number: i64,
    /// Id.
    pub id: String,
    /// The version that matched.
    pub version: u32,
}

/// One page of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order that was asked for.
    pub hits: Vec<Hit>,
    /// Matches when the search began, if that was asked for.
    pub total: Option<u64>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// One page of `query`.
pub fn page(connection: &Connection, query: &Query) -> rusqlite::Result<Page> {
    // One state of the index for everything below.
    let transaction = connection.unchecked_transaction()?;
    let snapshot = match query.cursor {
        Some(cursor) => cursor.snapshot,
        None => transaction
            .prepare_cached("SELECT coalesce(max(sequence), 0) FROM revision")?
            .query_row([], |row| row.get(0))?,
    };
    if query.only_count {
        let total = match query.cursor {
            Some(cursor) => cursor.total,
            None => Some(count(&transaction, query, snapshot)?),
        };
        return Ok(Page { hits: Vec::new(), total, next: None });
    }
    let mut select = matching(query, snapshot);
    let key = sort_key(query.sort, snapshot);
    if let Some(cursor) = query.cursor {
        let Some(after) = after(&transaction, &key, query.sort, cursor.after)? else {
            return Ok(Page { hits: Vec::new(), total: cursor.total, next: None });
        };
        select.and_where(after);
    }
    let order = if query.sort.descending { Order::Desc } else { Order::Asc };
    if query.sort.key != SortKey::Arrival {
        select.order_by_expr(Expr::cust(key), order.clone());
    }
    select.order_by("number", order).limit(u64::from(query.count) + 1);
    let mut hits = run(&transaction, &select)?;
    let has_more = hits.len() > query.count as usize;
    hits.truncate(query.count as usize);
    let total = match query.cursor {
        Some(cursor) => cursor.total,
        None if !query.with_total => None,
        None if has_more => Some(count(&transaction, query, snapshot)?),
        // The first page is all there is.
        None => Some(hits.len() as u64),
    };
    let next = hits.last().filter(|_| has_more).map(|last| Cursor { snapshot, after: last.number, total });
    Ok(Page { hits, total, next })
}

/// Up to `limit` matches, in order of arrival.
pub fn matches(connection: &Connection, query: &Query, limit: u32) -> rusqlite::Result<Vec<Hit>> {
    let mut select = matching(query, i64::MAX);
    select.order_by("number", Order::Asc).limit(limit.into());
    run(connection, &select)
}

/// Everything that meets the criteria and was there at `snapshot`, in no order.
pub(super) fn matching(query: &Query, snapshot: i64) -> SelectStatement {
    let mut select = Build::select();
    select.columns(["number", "id", "version"]).from("resource");
    restrict(&mut select, query.resource, &query.criteria);
    select.and_where(Expr::col("number").lte(snapshot));
    select
}

/// What a criterion does in a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Lists resources, which the others are asked about.
    Lists,
    /// Is asked about one resource at a time.
    Checks,
}

fn restrict(select: &mut SelectStatement, resource: &Resource, criteria: &[Criterion]) {
    select.and_where(Expr::col("type").eq(resource.name)).and_where(Expr::col("deleted").eq(0));
    let ranked = criteria.iter().enumerate().filter_map(|(at, criterion)| Some((rank(criterion)?, at)));
    let first = ranked.min().map(|(_, at)| at);
    for (at, criterion) in criteria.iter().enumerate() {
        // One list only: of two, SQLite looks up every pair.
        select.cond_where(condition(criterion, if first == Some(at) { Role::Lists } else { Role::Checks }));
    }
}

/// The lower, the fewer resources a criterion lists, as a rule; none where it would list nearly all.
fn rank(criterion: &Criterion) -> Option<u8> {
    let Subject::Parameter(parameter) = criterion.subject else {
        return matches!(criterion.subject, Subject::Id).then_some(0);
    };
    if matches!(criterion.modifier, Modifier::Not | Modifier::Missing) {
        return None;
    }
    Some(match parameter.search_type {
        SearchType::Token if parameter.code == "identifier" => 1,
        SearchType::Reference if criterion.chain.is_none() => 2,
        SearchType::Reference | SearchType::String | SearchType::Uri => 3,
        SearchType::Token => 4,
        SearchType::Date | SearchType::Quantity | SearchType::Number => 5,
    })
}

fn count(connection: &Connection, query: &Query, snapshot: i64) -> rusqlite::Result<u64> {
    let mut select = matching(query, snapshot);
    select.clear_selects().expr(Expr::cust("count(*)"));
    let (sql, values) = select.build(SqliteQueryBuilder);
    connection.prepare_cached(&sql)?.query_row(bound(values), |row| row.get::<_, u32>(0)).map(u64::from)
}

/// The values of a query, as SQLite takes them.
pub(super) fn bound(values: Values) -> impl rusqlite::Params {
    rusqlite::params_from_iter(values.0.into_iter().map(value))
}

fn run(connection: &Connection, select: &SelectStatement) -> rusqlite::Result<Vec<Hit>> {
    let (sql, values) = select.build(SqliteQueryBuilder);
    let mut statement = connection.prepare_cached(&sql)?;
    let hit = |row: &rusqlite::Row<'_>| Ok(Hit { number: row.get(0)?, id: row.get(1)?, version: row.get(2)? });
    statement.query_map(bound(values), hit)?.collect()
}

fn value(value: Value) -> Sql {
    match value {
        Value::Bool(Some(value)) => Sql::Integer(value.into()),
        Value::Int(Some(value)) => Sql::Integer(value.into()),
        Value::Unsigned(Some(value)) => Sql::Integer(value.into()),
        Value::BigInt(Some(value)) => Sql::Integer(value),
        Value::BigUnsigned(Some(value)) => Sql::Integer(i64::try_from(value).unwrap_or(i64::MAX)),
        Value::Double(Some(value)) => Sql::Real(value),
        Value::String(Some(value)) => Sql::Text(value),
        // The queries of this file bind nothing else.
        _ => Sql::Null,
    }
}

/// What the search is ordered by, as it was when the search began: a resource that was written
/// since then keeps its place.
fn sort_key(sort: Sort, snapshot: i64) -> String {
    let column = match sort.key {
        SortKey::Arrival => return "number".to_string(),
        SortKey::Id => return "id".to_string(),
        SortKey::LastUpdated => "updated",
        SortKey::Date => "dated",
    };
    format!(
        "CASE WHEN sequence <= {snapshot} THEN {column} ELSE \
         (SELECT revision.{column} FROM revision WHERE revision.resource = number \
         AND revision.sequence <= {snapshot} ORDER BY revision.sequence DESC LIMIT 1) END"
    )
}

/// The condition for what comes after the resource `number`; none if there is no such resource.
fn after(connection: &Connection, key: &str, sort: Sort, number: i64) -> rusqlite::Result<Option<Expr>> {
    let comparison = if sort.descending { "<" } else { ">" };
    let sql = format!("SELECT {key} FROM resource WHERE number = ?1");
    let last: Option<Sql> = connection.prepare_cached(&sql)?.query_row([number], |row| row.get(0)).optional()?;
    let condition = format!("({key}, number) {comparison} (?, ?)");
    Ok(match last {
        None => None,
        Some(Sql::Text(last)) => Some(Expr::cust_with_values(condition, [Value::from(last), Value::from(number)])),
        Some(Sql::Integer(last)) => Some(Expr::cust_with_values(condition, [Value::from(last), Value::from(number)])),
        Some(_) => None,
    })
}

fn condition(criterion: &Criterion, role: Role) -> Cond {
    let parameter = match criterion.subject {
        Subject::Id => {
            let ids: Vec<&str> = criterion.wanted.iter().filter_map(|wanted| id_of(wanted)).collect();
            return Cond::all().add(Expr::col("id").is_in(ids));
        }
        Subject::LastUpdated => {
            return criterion.wanted.iter().fold(Cond::any(), |any, wanted| match wanted {
                Wanted::Date { prefix, range } => any.add(updated(*prefix, *range)),
                _ => any,
            });
        }
        Subject::Parameter(parameter) => parameter,
    };
    let table = match (parameter.search_type, criterion.modifier) {
        (SearchType::Token, _) | (SearchType::Reference, Modifier::Identifier) => "token",
        (SearchType::Date, _) => "period",
        (SearchType::Reference, _) => "reference",
        (SearchType::String, _) => "text",
        (SearchType::Quantity | SearchType::Number, _) => "amount",
        (SearchType::Uri, _) => "uri",
    };
    let mut found = Build::select();
    found.from(table).and_where(Expr::col("parameter").eq(parameter.number));
    if criterion.modifier == Modifier::Missing {
        let there = of_this_resource(found);
        let is_missing = criterion.wanted.contains(&Wanted::Missing(true));
        return Cond::all().add(if is_missing { there.not() } else { there });
    }
    match &criterion.chain {
        Some((target, inner)) => {
            let mut named = Build::select();
            named.column("id").from("resource");
            restrict(&mut named, target, std::slice::from_ref(&**inner));
            found.and_where(Expr::col("type").eq(target.name)).and_where(Expr::col("target").in_subquery(named));
        }
        None => {
            let any =
                criterion.wanted.iter().fold(Cond::any(), |any, wanted| any.add(compare(wanted, criterion.modifier)));
            found.cond_where(any);
        }
    }
    Cond::all().add(match (criterion.modifier, role) {
        (Modifier::Not, _) => of_this_resource(found).not(),
        (_, Role::Lists) => Expr::col(NUMBER).in_subquery(found.column("resource").take()),
        (_, Role::Checks) => of_this_resource(found),
    })
}

/// Whether `found`, which selects no column yet, has a row of the resource at hand.
fn of_this_resource(mut found: SelectStatement) -> Expr {
    Expr::exists(found.expr(Expr::val(1)).and_where(Expr::col("resource").equals(NUMBER)).take())
}

fn id_of(wanted: &Wanted) -> Option<&str> {
    match wanted {
        Wanted::Id(id) => Some(id),
        _ => None,
    }
}

/// One alternative against one row of its table.
fn compare(wanted: &Wanted, modifier: Modifier) -> Cond {
    let all = Cond::all();
    match wanted {
        Wanted::Token { system, code } => {
            let all = match code {
                Some(code) => all.add(Expr::col("code").eq(code.as_str())),
                None => all,
            };
            match system.as_deref() {
                None => all,
                Some("") => all.add(Expr::col("system").eq("")),
                Some(system) => all.add(Expr::col("system").is_in([system, SYSTEM_BY_BINDING])),
            }
        }
        Wanted::Date { prefix, range } => period(*prefix, *range),
        Wanted::Amount { prefix, amount: wanted, system, code } => {
            let all = amount(*prefix, *wanted);
            let all = match system {
                Some(system) => all.add(Expr::col("system").eq(system.as_str())),
                None => all,
            };
            match code {
                Some(code) => all
                    .add(Cond::any().add(Expr::col("code").eq(code.as_str())).add(Expr::col("unit").eq(code.as_str()))),
                None => all,
            }
        }
        Wanted::Reference { resource_type, target } => {
            let all = all.add(Expr::col("target").eq(target.as_str()));
            match resource_type {
                Some(resource_type) => all.add(Expr::col("type").eq(resource_type.as_str())),
                None => all.add(Expr::col("type").ne("")),
            }
        }
        Wanted::Text(text) => all.add(match modifier {
            Modifier::Exact => Expr::col("exact").eq(text.as_str()),
            Modifier::Contains => Expr::cust_with_values("instr(folded, ?) > 0", [folded(text)]),
            _ => return starts_with("folded", &folded(text)),
        }),
        Wanted::Uri(uri) => match modifier {
            Modifier::Below => starts_with("value", uri),
            _ => all.add(Expr::col("value").eq(uri.as_str())),
        },
        Wanted::Id(_) | Wanted::Missing(_) => all,
    }
}

/// A range that an index can use, unlike LIKE.
fn starts_with(column: &'static str, text: &str) -> Cond {
    Cond::all().add(Expr::col(column).gte(text)).add(Expr::col(column).lt(format!("{text}\u{10FFFF}")))
}

fn period(prefix: Prefix, Range { low, high }: Range) -> Cond {
    let within = || Cond::all().add(Expr::col("low").gte(low)).add(Expr::col("high").lte(high));
    match prefix {
        Prefix::Eq => within(),
        Prefix::Ne => Cond::any().add(Expr::col("low").lt(low)).add(Expr::col("high").gt(high)),
        Prefix::Gt => Cond::all().add(Expr::col("high").gt(high)),
        Prefix::Lt => Cond::all().add(Expr::col("low").lt(low)),
        Prefix::Ge => Cond::any().add(Expr::col("high").gt(high)).add(within()),
        Prefix::Le => Cond::any().add(Expr::col("low").lt(low)).add(within()),
        Prefix::Sa => Cond::all().add(Expr::col("low").gt(high)),
        Prefix::Eb => Cond::all().add(Expr::col("high").lt(low)),
        Prefix::Ap => {
            let now = time::OffsetDateTime::now_utc().unix_timestamp().saturating_mul(1000);
            let slack = (now - low.clamp(i64::MIN / 2, i64::MAX / 2)).abs() / 10;
            Cond::all()
                .add(Expr::col("high").gte(low.saturating_sub(slack)))
                .add(Expr::col("low").lte(high.saturating_add(slack)))
        }
    }
}

fn amount(prefix: Prefix, Amount { value, slack }: Amount) -> Cond {
    let column = || Expr::col("value");
    let within = |slack: f64| Cond::all().add(column().gte(value - slack)).add(column().lte(value + slack));
    match prefix {
        Prefix::Eq => within(slack),
        Prefix::Ne => Cond::any().add(column().lt(value - slack)).add(column().gt(value + slack)),
        Prefix::Gt | Prefix::Sa => Cond::all().add(column().gt(value)),
        Prefix::Lt | Prefix::Eb => Cond::all().add(column().lt(value)),
        Prefix::Ge => Cond::all().add(column().gte(value)),
        Prefix::Le => Cond::all().add(column().lte(value)),
        Prefix::Ap => within((value.abs() / 10.0).max(slack)),
    }
}

/// `_lastUpdated`, which is kept in whole seconds.
fn updated(prefix: Prefix, Range { low, high }: Range) -> Cond {
    let first = low.div_euclid(1000) + i64::from(low.rem_euclid(1000) > 0);
    let last = high.div_euclid(1000);
    let column = || Expr::col("updated");
    match prefix {
        Prefix::Eq | Prefix::Ap => Cond::all().add(column().gte(first)).add(column().lte(last)),
        Prefix::Ne => Cond::any().add(column().lt(first)).add(column().gt(last)),
        Prefix::Gt | Prefix::Sa => Cond::all().add(column().gt(last)),
        Prefix::Lt | Prefix::Eb => Cond::all().add(column().lt(first)),
        Prefix::Ge => Cond::all().add(column().gte(first)),
        Prefix::Le => Cond::all().add(column().lte(last)),
    }
}
