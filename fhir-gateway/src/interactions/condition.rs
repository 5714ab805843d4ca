//! Conditions that must name at most one resource: `If-None-Exist`, conditional references,
//! conditional update and delete. A condition and the write that depends on it are one step:
//! equal conditions wait for one another, so that racing conditional creates give one resource.
//! docs/api/create.md

use std::{
    collections::{BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
};

use tokio::sync::{Mutex, MutexGuard};

use super::Context;
use crate::{
    auth::scopes::Interaction,
    outcome::Refusal,
    resources::Resource,
    search::{Handling, Query},
};

/// Stripes: unequal conditions rarely wait for one another.
const STRIPES: usize = 256;

/// Locks of one organization's conditional writes.
pub struct Locks {
    stripes: Vec<Mutex<()>>,
    /// Waited for only while the others are held already, so the two cannot deadlock.
    accounts: Vec<Mutex<()>>,
}

impl Default for Locks {
    fn default() -> Self {
        let stripes = || (0..STRIPES).map(|_| Mutex::default()).collect();
        Self { stripes: stripes(), accounts: stripes() }
    }
}

impl Locks {
    /// Waits for every condition, in an order that cannot deadlock.
    pub async fn hold(&self, conditions: &[(&str, &str)]) -> Vec<MutexGuard<'_, ()>> {
        hold(&self.stripes, conditions.iter().map(stripe).collect()).await
    }

    /// Waits for every account, so that an account is given to one Patient at a time.
    pub async fn hold_accounts(&self, accounts: &[String]) -> Vec<MutexGuard<'_, ()>> {
        hold(&self.accounts, accounts.iter().map(|account| stripe(&("account", account.as_str()))).collect()).await
    }
}

async fn hold(all: &[Mutex<()>], stripes: BTreeSet<usize>) -> Vec<MutexGuard<'_, ()>> {
    let mut held = Vec::with_capacity(stripes.len());
    for stripe in stripes {
        held.push(all[stripe].lock().await);
    }
    held
}

fn stripe(condition: &(&str, &str)) -> usize {
    let mut hasher = DefaultHasher::new();
    condition.hash(&mut hasher);
    usize::try_from(hasher.finish() % STRIPES as u64).expect("a remainder of 256 fits")
}

/// The id of the one resource that meets `condition`; none if no resource does.
///
/// # Errors
/// [`Refusal::MultipleMatches`]; [`Refusal::BadRequest`] for a condition that says nothing.
pub async fn one(
    context: &Context<'_>,
    resource: &'static Resource,
    condition: &str,
) -> Result<Option<String>, Refusal> {
    super::permit(context, resource.name, Interaction::Search)?;
    let pairs: Vec<(String, String)> =
        url::form_urlencoded::parse(condition.trim_start_matches('?').as_bytes()).into_owned().collect();
    let organization = context.organization;
    let mut query = Query::parse(resource, &pairs, Handling::Strict, &organization.base_url)?;
    if query.criteria.is_empty() {
        return Err(Refusal::BadRequest("the condition has no criterion".to_string()));
    }
    for resource_type in query.types() {
        super::permit(context, resource_type, Interaction::Search)?;
    }
    query.sight = Some(super::sight(context, Interaction::Search));
    let mut hits = organization.index.run(move |index| index.matches(&query, 2)).await?;
    match hits.len() {
        0 | 1 => Ok(hits.pop().map(|hit| hit.id)),
        _ => Err(Refusal::MultipleMatches),
    }
}
