//! One alternative of a criterion against one row of the table of its kind.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use sea_query::{Cond, Expr, ExprTrait as _, Func, Query as Build, SelectStatement};

use super::{
    bounded::{BEGINNING_BYTES, bounded},
    extract::SYSTEM_BY_BINDING,
    letters::folded,
    range::{Amount, Range},
};
use crate::{
    search::{Modifier, Prefix, Wanted},
    value_sets::{Codes, Members},
};

/// One alternative against one row of its table.
pub fn compare(wanted: &Wanted, modifier: Modifier) -> Cond {
    let all = Cond::all();
    match wanted {
        Wanted::Token { system, code } => {
            let all = match code {
                Some(code) => all.add(Expr::col("code").eq(bounded(code))),
                None => all,
            };
            match system.as_deref() {
                None => all,
                Some("") => all.add(Expr::col("system").eq("")),
                Some(system) => all.add(Expr::col("system").is_in([bounded(system).as_ref(), SYSTEM_BY_BINDING])),
            }
        }
        Wanted::Date { prefix, range } => period(*prefix, *range),
        Wanted::Amount { prefix, amount: wanted, system, code } => {
            let all = amount(*prefix, *wanted);
            let all = match system {
                Some(system) => all.add(Expr::col("system").eq(bounded(system))),
                None => all,
            };
            match code {
                Some(code) => all
                    .add(Cond::any().add(Expr::col("code").eq(bounded(code))).add(Expr::col("unit").eq(bounded(code)))),
                None => all,
            }
        }
        Wanted::Reference { resource_type, target } => {
            let all = all.add(Expr::col("target").eq(bounded(target)));
            match resource_type {
                Some(resource_type) => all.add(Expr::col("type").eq(resource_type.as_str())),
                None => all.add(Expr::col("type").ne("")),
            }
        }
        Wanted::Text(text) => match modifier {
            Modifier::Exact => all.add(Expr::col("exact").eq(bounded(text))),
            Modifier::Contains | Modifier::Text => contains("folded", &folded(text)),
            _ => begins_with("folded", &folded(text)),
        },
        Wanted::Uri(uri) => match modifier {
            Modifier::Below => begins_with("value", uri),
            Modifier::Above => begins("value", uri),
            _ => all.add(Expr::col("value").eq(bounded(uri))),
        },
        Wanted::Near { latitude, longitude, kilometres } => near(*latitude, *longitude, *kilometres),
        Wanted::Pair(first, second) => all.add(leading(first)).add(compare(second, modifier)),
        Wanted::Members(members) => member(members),
        Wanted::Id(_) | Wanted::Missing(_) => all,
    }
}

/// A code of a value set.
fn member(members: &Members) -> Cond {
    // A condition of nothing would be met by everything.
    if members.is_empty() {
        return Cond::all().add(Expr::cust("FALSE"));
    }
    members.systems().fold(Cond::any(), |any, (system, codes)| {
        let key = bounded(system);
        any.add(match codes {
            Codes::Only(codes) => Cond::all()
                .add(Expr::col("system").is_in([key.as_ref(), SYSTEM_BY_BINDING]))
                .add(Expr::col("code").in_subquery(listed(codes))),
            Codes::AllBut(codes) if codes.is_empty() => Cond::all().add(Expr::col("system").eq(key)),
            Codes::AllBut(codes) => {
                Cond::all().add(Expr::col("system").eq(key)).add(Expr::col("code").not_in_subquery(listed(codes)))
            }
        })
    })
}

/// Codes as rows. However many there are, the statement is the same and binds one value for them; PostgreSQL has a
/// function of that name and kind from the index (`schema.rs`).
fn listed(codes: &BTreeSet<Arc<str>>) -> SelectStatement {
    let keys: Vec<Cow<'_, str>> = codes.iter().map(|code| bounded(code)).collect();
    let list = serde_json::to_string(&keys).expect("texts have a JSON form");
    let rows = Func::cust("json_each").arg(Expr::val(list).cast_as("text"));
    Build::select().column("value").from_function(rows, "listed").take()
}

/// Within a distance, on a plane that touches the earth at the place: right to a percent over some
/// hundreds of kilometres.
fn near(latitude: f64, longitude: f64, kilometres: f64) -> Cond {
    const KILOMETRES_PER_DEGREE: f64 = 111.195;
    let degrees = kilometres / KILOMETRES_PER_DEGREE;
    let north = || Expr::col("latitude").sub(latitude);
    let apart = || Expr::from(Func::abs(Expr::col("longitude").sub(longitude)));
    // The shorter way around.
    let east = || {
        let way = Expr::case(apart().gt(180.0), Expr::val(360.0).sub(apart())).finally(apart());
        Expr::Case(Box::new(way)).mul(latitude.to_radians().cos())
    };
    let distance = north().mul(north()).add(east().mul(east()));
    Cond::all()
        .add(Expr::col("latitude").gte(latitude - degrees))
        .add(Expr::col("latitude").lte(latitude + degrees))
        .add(distance.lte(degrees * degrees))
}

/// The first half of a composite, in columns of its own.
fn leading(wanted: &Wanted) -> Cond {
    let all = Cond::all();
    match wanted {
        Wanted::Token { system, code } => {
            let all = match code {
                Some(code) => all.add(Expr::col("first").eq(bounded(code))),
                None => all,
            };
            match system.as_deref() {
                None => all,
                Some("") => all.add(Expr::col("first_system").eq("")),
                Some(system) => all.add(Expr::col("first_system").is_in([bounded(system).as_ref(), SYSTEM_BY_BINDING])),
            }
        }
        Wanted::Reference { resource_type, target } => {
            let all = all.add(Expr::col("first").eq(bounded(target)));
            match resource_type {
                Some(resource_type) => all.add(Expr::col("first_system").eq(resource_type.as_str())),
                None => all,
            }
        }
        // The table of parameters has no other first half.
        _ => all.add(Expr::cust("FALSE")),
    }
}

/// A range that an index can use, unlike LIKE.
fn starts_with(column: &'static str, text: &str) -> Cond {
    Cond::all().add(Expr::col(column).gte(text)).add(Expr::col(column).lt(format!("{text}\u{10FFFF}")))
}

/// What begins with `text`, by its key in `column`. A longer beginning than keys keep is looked for in
/// what they do not hold.
fn begins_with(column: &'static str, text: &str) -> Cond {
    if text.len() <= BEGINNING_BYTES {
        return starts_with(column, text);
    }
    Cond::any().add(starts_with(column, text).add(is_whole())).add(starts_with("whole", text))
}

/// What `text` begins with.
fn begins(column: &'static str, text: &str) -> Cond {
    let at = |column| Expr::from(Func::cust("instr").arg(Expr::val(text)).arg(Expr::col(column))).eq(1);
    either(at(column), at("whole"))
}

/// What contains `text`, whose key is in `column`.
fn contains(column: &'static str, text: &str) -> Cond {
    let at = |column| Expr::from(Func::cust("instr").arg(Expr::col(column)).arg(Expr::val(text))).gt(0);
    either(at(column), at("whole"))
}

/// `of_key` where the key is all of the text, `of_whole` where it is not.
fn either(of_key: Expr, of_whole: Expr) -> Cond {
    Cond::any().add(Cond::all().add(is_whole()).add(of_key)).add(Cond::all().add(is_whole().not()).add(of_whole))
}

/// Whether the key is all of the text.
fn is_whole() -> Expr {
    Expr::col("whole").eq("")
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

/// A number, or a range of numbers; FHIR ignores the precision of what follows `gt`, `lt`, `ge`, `le`, `sa` and `eb`.
fn amount(prefix: Prefix, Amount { value, low, high }: Amount) -> Cond {
    let (lowest, highest) = (|| Expr::col("lowest"), || Expr::col("highest"));
    match prefix {
        // The second follows from the others: by it a database stops reading its list.
        Prefix::Eq => Cond::all().add(lowest().gte(low)).add(lowest().lt(high)).add(highest().lt(high)),
        Prefix::Ne => Cond::any().add(lowest().lt(low)).add(highest().gte(high)),
        Prefix::Gt => Cond::all().add(highest().gt(value)),
        Prefix::Lt => Cond::all().add(lowest().lt(value)),
        Prefix::Ge => Cond::all().add(highest().gte(value)),
        Prefix::Le => Cond::all().add(lowest().lte(value)),
        Prefix::Sa => Cond::all().add(lowest().gt(value)),
        Prefix::Eb => Cond::all().add(highest().lt(value)),
        Prefix::Ap => {
            let slack = (value.abs() / 10.0).max((high - low) / 2.0);
            Cond::all().add(highest().gte(value - slack)).add(lowest().lte(value + slack))
        }
    }
}

/// `_lastUpdated`, which is kept in whole seconds.
pub fn updated(prefix: Prefix, Range { low, high }: Range) -> Cond {
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
