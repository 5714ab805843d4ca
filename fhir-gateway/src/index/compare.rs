//! One alternative of a criterion against one row of the table of its kind.

use sea_query::{Cond, Expr, ExprTrait as _};

use super::{
    extract::{SYSTEM_BY_BINDING, folded},
    range::{Amount, Range},
};
use crate::search::{Modifier, Prefix, Wanted};

/// One alternative against one row of its table.
pub fn compare(wanted: &Wanted, modifier: Modifier) -> Cond {
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
            Modifier::Contains | Modifier::Text => Expr::cust_with_values("instr(folded, ?) > 0", [folded(text)]),
            _ => return starts_with("folded", &folded(text)),
        }),
        Wanted::Uri(uri) => match modifier {
            Modifier::Below => starts_with("value", uri),
            Modifier::Above => all.add(Expr::cust_with_values("instr(?, value) = 1", [uri.as_str()])),
            _ => all.add(Expr::col("value").eq(uri.as_str())),
        },
        Wanted::Near { latitude, longitude, kilometres } => near(*latitude, *longitude, *kilometres),
        Wanted::Pair(first, second) => all.add(leading(first)).add(compare(second, modifier)),
        Wanted::Id(_) | Wanted::Missing(_) => all,
    }
}

/// Within a distance, on a plane that touches the earth at the place: right to a percent over some
/// hundreds of kilometres.
fn near(latitude: f64, longitude: f64, kilometres: f64) -> Cond {
    const KILOMETRES_PER_DEGREE: f64 = 111.195;
    let degrees = kilometres / KILOMETRES_PER_DEGREE;
    let shrunk = latitude.to_radians().cos();
    let east = "min(abs(longitude - ?), 360 - abs(longitude - ?)) * ?";
    let distance = format!("(latitude - ?) * (latitude - ?) + {east} * {east} <= ?");
    let values = [latitude, latitude, longitude, longitude, shrunk, longitude, longitude, shrunk, degrees * degrees];
    Cond::all()
        .add(Expr::col("latitude").gte(latitude - degrees))
        .add(Expr::col("latitude").lte(latitude + degrees))
        .add(Expr::cust_with_values(distance, values))
}

/// The first half of a composite, in columns of its own.
fn leading(wanted: &Wanted) -> Cond {
    let all = Cond::all();
    match wanted {
        Wanted::Token { system, code } => {
            let all = match code {
                Some(code) => all.add(Expr::col("first").eq(code.as_str())),
                None => all,
            };
            match system.as_deref() {
                None => all,
                Some("") => all.add(Expr::col("first_system").eq("")),
                Some(system) => all.add(Expr::col("first_system").is_in([system, SYSTEM_BY_BINDING])),
            }
        }
        Wanted::Reference { resource_type, target } => {
            let all = all.add(Expr::col("first").eq(target.as_str()));
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
