//! Searches as SQL. Pages neither skip nor repeat, whatever is written between them: a search
//! sees the resources that existed when it began, in the order that they then had.

use sea_query::{Cond, Expr, ExprTrait as _, Order, Query as Build, SelectStatement, UnionType};

use super::{
    compare::{compare, updated},
    database::{Answer, Connection, Purpose, Row, Value},
    sight::Sight,
};
use crate::{
    resources::{
        Resource,
        parameters::{Parameter, SearchType},
    },
    search::{Criterion, Cursor, Link, Modifier, Query, Sort, SortKey, Subject, Wanted},
};

/// The number of the resource that a search looks at.
const NUMBER: (&str, &str) = ("resource", "number");

/// [`i64::MIN`], the date of what has none: the least number has no name of its own in PostgreSQL.
const UNDATED: &str = "-9223372036854775807 - 1";

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

/// The one key by which pages can go on from their last hit; none where the order has to be kept.
pub fn key_of(query: &Query) -> Option<Sort> {
    match query.sort.as_slice() {
        [] => Some(Sort::default()),
        [sort] if !matches!(sort.key, SortKey::Parameter(_)) => Some(*sort),
        _ => None,
    }
}

/// Numbers of all matches in the order of any keys, `limit` at most.
pub fn ordered(connection: &Connection, query: &Query, limit: u32) -> Answer<Vec<i64>> {
    let mut select = matching(query, i64::MAX);
    select.clear_selects().column("number");
    for Sort { key, descending } in &query.sort {
        let order = if *descending { Order::Desc } else { Order::Asc };
        let expression = match key {
            SortKey::Arrival => "number".to_owned(),
            SortKey::Id => "id".to_owned(),
            SortKey::LastUpdated => "updated".to_owned(),
            SortKey::Date => format!("nullif(dated, {UNDATED})"),
            SortKey::Parameter(parameter) => {
                let (table, least, greatest) = columns(parameter.search_type);
                let value = if *descending { format!("max({greatest})") } else { format!("min({least})") };
                let number = parameter.number;
                format!("(SELECT {value} FROM {table} WHERE parameter = {number} AND resource = resource.number)")
                    .replace("= resource.number", "= \"resource\".\"number\"")
            }
        };
        // What has no value stands last, whatever the direction.
        select.order_by_expr(Expr::cust(format!("{expression} IS NULL")), Order::Asc);
        select.order_by_expr(Expr::cust(expression), order);
    }
    select.order_by("number", Order::Asc).limit(limit.into());
    connection.rows(&select, |row| row.integer(0))
}

/// The table of a kind of parameter, and the columns that say its least and its greatest value.
fn columns(search_type: SearchType) -> (&'static str, &'static str, &'static str) {
    match search_type {
        SearchType::Token => ("token", "code", "code"),
        SearchType::Date => ("period", "low", "high"),
        SearchType::Reference => ("reference", "target", "target"),
        SearchType::String => ("text", "folded", "folded"),
        SearchType::Quantity | SearchType::Number => ("amount", "lowest", "highest"),
        SearchType::Uri => ("uri", "value", "value"),
        SearchType::Special => ("place", "latitude", "latitude"),
        SearchType::Composite => ("pair", "first", "first"),
    }
}

/// Those of `numbers` that still match, in their order.
pub fn hits(connection: &Connection, query: &Query, numbers: &[i64]) -> Answer<Vec<Hit>> {
    let mut select = matching(query, i64::MAX);
    select.and_where(Expr::col("number").is_in(numbers.iter().copied()));
    let mut hits = run(connection, &select)?;
    hits.sort_by_key(|hit| numbers.iter().position(|number| *number == hit.number));
    Ok(hits)
}

/// One page of `query`, by one key.
pub fn page(connection: &Connection, query: &Query, sort: Sort) -> Answer<Page> {
    // One state of the index for everything below.
    connection.within(Purpose::Read, |connection| page_now(connection, query, sort))
}

fn page_now(connection: &Connection, query: &Query, sort: Sort) -> Answer<Page> {
    let snapshot = match query.cursor {
        Some(cursor) => cursor.snapshot,
        None => newest(connection)?,
    };
    if query.only_count {
        let total = match query.cursor {
            Some(cursor) => cursor.total,
            None => Some(count(connection, query, snapshot)?),
        };
        return Ok(Page { hits: Vec::new(), total, next: None });
    }
    let mut select = matching(query, snapshot);
    let key = sort_key(sort, snapshot);
    if let Some(cursor) = query.cursor {
        let Some(after) = after(connection, &key, sort, cursor.after)? else {
            return Ok(Page { hits: Vec::new(), total: cursor.total, next: None });
        };
        select.and_where(after);
    }
    let order = if sort.descending { Order::Desc } else { Order::Asc };
    if sort.key != SortKey::Arrival {
        select.order_by_expr(Expr::cust(key), order.clone());
    }
    select.order_by("number", order).limit(u64::from(query.count) + 1);
    let mut hits = run(connection, &select)?;
    let has_more = hits.len() > query.count as usize;
    hits.truncate(query.count as usize);
    let total = match query.cursor {
        Some(cursor) => cursor.total,
        None if !query.with_total => None,
        None if has_more => Some(count(connection, query, snapshot)?),
        // The first page is all there is.
        None => Some(hits.len() as u64),
    };
    let next = hits.last().filter(|_| has_more).map(|last| Cursor { snapshot, after: last.number, total });
    Ok(Page { hits, total, next })
}

/// Number of the newest change in the index: what a search that begins now sees.
pub(super) fn newest(connection: &Connection) -> Answer<i64> {
    connection.query("SELECT coalesce(max(sequence), 0) FROM revision", Vec::new())?[0].integer(0)
}

/// Up to `limit` matches, in order of arrival.
pub fn matches(connection: &Connection, query: &Query, limit: u32) -> Answer<Vec<Hit>> {
    let mut select = matching(query, i64::MAX);
    select.order_by("number", Order::Asc).limit(limit.into());
    run(connection, &select)
}

/// Everything that meets the criteria and was there at `snapshot`, in no order.
pub(super) fn matching(query: &Query, snapshot: i64) -> SelectStatement {
    let mut select = Build::select();
    select.columns(["number", "id", "version"]).from("resource");
    restrict(&mut select, query.resource, &query.criteria, query.sight.as_ref());
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

fn restrict(select: &mut SelectStatement, resource: &Resource, criteria: &[Criterion], sight: Option<&Sight>) {
    select.and_where(Expr::col("type").eq(resource.name)).and_where(Expr::col("deleted").eq(0));
    // One scope's search parameters are criteria as the search's own are; of several, one will do.
    let of_scope = sight.and_then(|sight| sight.limited(resource.name)?.only_criteria());
    if of_scope.is_none()
        && let Some(limit) = sight.and_then(|sight| sight.of_type(resource.name))
    {
        select.cond_where(limit);
    }
    let criteria: Vec<&Criterion> = criteria.iter().chain(of_scope.into_iter().flatten()).collect();
    let ranked = criteria.iter().enumerate().filter_map(|(at, criterion)| Some((rank(criterion)?, at)));
    let first = ranked.min().map(|(_, at)| at);
    for (at, criterion) in criteria.iter().enumerate() {
        // One list only: of two, SQLite looks up every pair.
        let role = if first == Some(at) { Role::Lists } else { Role::Checks };
        select.cond_where(condition(criterion, role, resource, sight));
    }
}

/// The lower, the fewer resources a criterion lists, as a rule; none where it would list nearly all.
fn rank(criterion: &Criterion) -> Option<u8> {
    let parameter = match criterion.subject {
        Subject::Id => return Some(0),
        Subject::Compartment(_) => return Some(2),
        Subject::LastUpdated | Subject::Reverse(_) => return None,
        Subject::Parameter(parameter) => parameter,
    };
    if matches!(criterion.modifier, Modifier::Not | Modifier::Missing) {
        return None;
    }
    Some(match parameter.search_type {
        SearchType::Token if parameter.code == "identifier" => 1,
        SearchType::Reference if criterion.links.is_empty() => 2,
        SearchType::Reference | SearchType::String | SearchType::Uri => 3,
        SearchType::Token | SearchType::Composite => 4,
        SearchType::Date | SearchType::Quantity | SearchType::Number | SearchType::Special => 5,
    })
}

fn count(connection: &Connection, query: &Query, snapshot: i64) -> Answer<u64> {
    let mut select = matching(query, snapshot);
    select.clear_selects().expr(Expr::cust("count(*)"));
    counted(connection, &select)
}

/// The number that a query of one row and column gives.
pub(super) fn counted(connection: &Connection, select: &SelectStatement) -> Answer<u64> {
    Ok(connection.first(select, |row| row.count(0))?.unwrap_or_default().into())
}

fn run(connection: &Connection, select: &SelectStatement) -> Answer<Vec<Hit>> {
    let hit = |row: &Row| Ok(Hit { number: row.integer(0)?, id: row.text(1)?, version: row.count(2)? });
    connection.rows(select, hit)
}

/// What the search is ordered by, as it was when the search began: a resource that was written
/// since then keeps its place.
fn sort_key(sort: Sort, snapshot: i64) -> String {
    let column = match sort.key {
        // Any other parameter's order is kept: `ordered`.
        SortKey::Arrival | SortKey::Parameter(_) => return "number".to_string(),
        SortKey::Id => return "id".to_string(),
        SortKey::LastUpdated => "updated",
        SortKey::Date => "dated",
    };
    let value = format!(
        "CASE WHEN sequence <= {snapshot} THEN {column} ELSE \
         (SELECT revision.{column} FROM revision WHERE revision.resource = number \
         AND revision.sequence <= {snapshot} ORDER BY revision.sequence DESC LIMIT 1) END"
    );
    match sort.key {
        // What has no date has the least number, which is last in descending order only.
        SortKey::Date if !sort.descending => format!("coalesce(nullif({value}, {UNDATED}), {})", i64::MAX),
        _ => value,
    }
}

/// The condition for what comes after the resource `number`; none if there is no such resource.
fn after(connection: &Connection, key: &str, sort: Sort, number: i64) -> Answer<Option<Expr>> {
    let mut select = Build::select();
    select.expr(Expr::cust(key.to_owned())).from("resource").and_where(Expr::col("number").eq(number));
    let last = match connection.first(&select, |row| row.value(0).cloned())? {
        Some(Value::Text(last)) => Expr::val(last),
        Some(Value::Integer(last)) => Expr::val(last),
        _ => return Ok(None),
    };
    let here = Expr::tuple([Expr::cust(key.to_owned()), Expr::col("number")]);
    let there = Expr::tuple([last, Expr::val(number)]);
    Ok(Some(if sort.descending { here.lt(there) } else { here.gt(there) }))
}

/// The condition that one resource of a type meets a criterion which is about itself.
pub(super) fn check(criterion: &Criterion, resource: &Resource) -> Cond {
    condition(criterion, Role::Checks, resource, None)
}

fn condition(criterion: &Criterion, role: Role, resource: &Resource, sight: Option<&Sight>) -> Cond {
    let (parameter, found) = match &criterion.subject {
        Subject::Id => {
            let ids: Vec<&str> = criterion.wanted.iter().filter_map(|wanted| id_of(wanted)).collect();
            return Cond::all().add(Expr::col(("resource", "id")).is_in(ids));
        }
        Subject::LastUpdated => {
            return criterion.wanted.iter().fold(Cond::any(), |any, wanted| match wanted {
                Wanted::Date { prefix, range } => any.add(updated(*prefix, *range)),
                _ => any,
            });
        }
        Subject::Reverse(parameter) => return referred_to(criterion, parameter.number, resource, sight),
        Subject::Compartment(numbers) => (None, Expr::col("parameter").is_in(numbers.iter().copied())),
        Subject::Parameter(parameter) => (Some(parameter), Expr::col("parameter").eq(parameter.number)),
    };
    let mut rows = Build::select();
    rows.from(table_of(parameter.copied(), criterion.modifier)).and_where(found.clone());
    if criterion.modifier == Modifier::Missing {
        let mut there = Cond::any().add(of_this_resource(rows));
        if let Some(table) = parameter.and_then(|parameter| table_beside(parameter)) {
            let mut beside = Build::select();
            beside.from(table).and_where(found);
            there = there.add(of_this_resource(beside));
        }
        return if criterion.wanted.contains(&Wanted::Missing(true)) { there.not() } else { there };
    }
    let any = criterion.wanted.iter().fold(Cond::any(), |any, wanted| any.add(compare(wanted, criterion.modifier)));
    let any = criterion.links.iter().fold(any, |any, link| {
        let mut named = Build::select();
        named.column("id").from("resource");
        restrict(&mut named, link.resource, std::slice::from_ref(&*link.inner), sight);
        let is_named = Expr::col("target").in_subquery(named);
        any.add(Cond::all().add(Expr::col("type").eq(link.resource.name)).add(is_named))
    });
    rows.cond_where(any);
    let contained = parameter.into_iter().flat_map(|by| criterion.links.iter().filter_map(|link| within(by, link)));
    match (criterion.modifier, role) {
        (Modifier::Not, _) => Cond::all().add(of_this_resource(rows).not()),
        (_, Role::Lists) => {
            let mut listed = rows.column("resource").take();
            for mut inner in contained {
                listed.union(UnionType::All, inner.column("resource").take());
            }
            Cond::all().add(Expr::col(NUMBER).in_subquery(listed))
        }
        (_, Role::Checks) => {
            contained.fold(Cond::any().add(of_this_resource(rows)), |any, inner| any.add(of_this_resource(inner)))
        }
    }
}

/// The table that has what a criterion compares.
fn table_of(parameter: Option<&Parameter>, modifier: Modifier) -> &'static str {
    match (parameter.map(|parameter| parameter.search_type), modifier) {
        (Some(SearchType::Token), Modifier::Text) => "text",
        (Some(SearchType::Reference), Modifier::Identifier) => "token",
        (Some(search_type), _) => columns(search_type).0,
        (None, _) => "reference",
    }
}

/// The other table in which a parameter may have values: the text of a concept without a code, the identifier of
/// a reference that names no resource.
fn table_beside(parameter: &Parameter) -> Option<&'static str> {
    match parameter.search_type {
        SearchType::Token => Some("text"),
        SearchType::Reference => Some("token"),
        _ => None,
    }
}

/// A chain's last step into a contained resource, which no search lists: its rows are its
/// container's. Without columns yet. None where what is sought is that something is not there.
fn within(by: &Parameter, link: &Link) -> Option<SelectStatement> {
    let Criterion { subject: Subject::Parameter(sought), modifier, wanted, links } = &*link.inner else { return None };
    if !links.is_empty() || matches!(modifier, Modifier::Not | Modifier::Missing) {
        return None;
    }
    let mut rows = Build::select();
    rows.from(table_of(Some(sought), *modifier)).and_where(Expr::col("parameter").eq(by.into_contained(sought)));
    rows.cond_where(wanted.iter().fold(Cond::any(), |any, wanted| any.add(compare(wanted, *modifier))));
    Some(rows)
}

/// `_has`: whether a resource that meets the inner criterion, and that the caller may see, refers to
/// the one at hand.
fn referred_to(criterion: &Criterion, parameter: i64, resource: &Resource, sight: Option<&Sight>) -> Cond {
    criterion.links.iter().fold(Cond::any(), |any, link| {
        let mut holders = Build::select();
        holders.column("number").from("resource");
        restrict(&mut holders, link.resource, std::slice::from_ref(&*link.inner), sight);
        let mut targets = Build::select();
        targets.column("target").from("reference").and_where(Expr::col("parameter").eq(parameter));
        targets.and_where(Expr::col("type").eq(resource.name)).and_where(Expr::col("resource").in_subquery(holders));
        any.add(Expr::col(("resource", "id")).in_subquery(targets))
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
