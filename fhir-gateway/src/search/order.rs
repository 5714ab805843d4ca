//! `_sort`: keys of a search's order.

use crate::{
    outcome::Refusal,
    resources::{
        Resource,
        parameters::{Parameter, SearchType},
    },
};

/// Most keys of one search.
const KEYS_MAX: usize = 8;

/// By what a search is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortKey {
    /// The order in which the server came to know the resources.
    #[default]
    Arrival,
    /// `_id`
    Id,
    /// `_lastUpdated`
    LastUpdated,
    /// The type's principal date.
    Date,
    /// Any other parameter: by its least value, or by its greatest where that comes first.
    Parameter(&'static Parameter),
}

/// A sort key and its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sort {
    /// By what.
    pub key: SortKey,
    /// Largest first.
    pub descending: bool,
}

/// Reads `date,-code`.
///
/// # Errors
/// [`Refusal::BadRequest`] for what is no parameter of the type, or one without an order.
pub fn read(resource: &'static Resource, text: &str) -> Result<Vec<Sort>, Refusal> {
    let keys = text.split(',').map(|name| one(resource, name)).collect::<Option<Vec<_>>>();
    let keys = keys.filter(|keys| keys.len() <= KEYS_MAX);
    keys.ok_or_else(|| {
        Refusal::BadRequest(format!(
            "_sort must be at most {KEYS_MAX} search parameters of the type that have an order"
        ))
    })
}

fn one(resource: &'static Resource, name: &str) -> Option<Sort> {
    let (name, descending) = match name.strip_prefix('-') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let principal = resource.principal_date();
    let key = match name {
        "_id" => SortKey::Id,
        "_lastUpdated" => SortKey::LastUpdated,
        _ if principal.is_some_and(|date| date.code == name || name == "date") => SortKey::Date,
        _ => {
            let parameter = resource.parameter(name)?;
            if matches!(parameter.search_type, SearchType::Composite | SearchType::Special) {
                return None;
            }
            SortKey::Parameter(parameter)
        }
    };
    Some(Sort { key, descending })
}
