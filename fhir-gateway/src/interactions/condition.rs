//! Conditions that must name at most one resource: `If-None-Exist`, conditional references,
//! conditional update and delete. A condition and the write that depends on it are one step:
//! equal conditions wait for one another, so that racing conditional creates give one resource.
//! docs/api/create.md

use std::{
    collections::{BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    time::{Duration, Instant},
};

use careledger_app::reject::Reject;
use careledger_wire::commitment;
use tokio::sync::{Mutex, MutexGuard};

use super::{Context, search::value_sets};
use crate::{
    auth::scopes::Interaction,
    ledger::COMMIT_DEADLINE,
    outcome::Refusal,
    records::Records,
    resources::Resource,
    search::{Handling, Query},
    vault::Exclusive,
};

/// Stripes: unequal conditions rarely wait for one another.
const STRIPES: usize = 256;
/// Resources that were created by one condition and do not meet it any more, before a new one has an id
/// by chance.
const EARLIER_MAX: u32 = 64;
/// Between two looks for a resource that somebody else creates at the same time.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Locks of one organization's conditional writes, in this process and among the others.
pub struct Locks {
    records: Records,
    stripes: Vec<Mutex<()>>,
    /// Waited for only while the others are held already, so the two cannot deadlock.
    accounts: Vec<Mutex<()>>,
}

/// What is held until this is dropped: first against the other processes, then here, so that here nobody
/// asks for a lock that this process is about to let go.
pub struct HeldLocks<'a> {
    _others: Option<Exclusive>,
    _own: Vec<MutexGuard<'a, ()>>,
}

impl Locks {
    /// The locks of an organization's records.
    pub fn of(records: Records) -> Self {
        let stripes = || (0..STRIPES).map(|_| Mutex::default()).collect();
        Self { records, stripes: stripes(), accounts: stripes() }
    }

    /// Waits for every condition, in an order that cannot deadlock.
    pub async fn hold(&self, conditions: &[(&str, &str)]) -> Result<HeldLocks<'_>, Refusal> {
        let names = conditions.iter().map(|(resource_type, text)| format!("{resource_type}?{}", normal(text)));
        self.hold_names(&self.stripes, names.collect()).await
    }

    /// Waits for every account, so that an account is given to one Patient, or Practitioner, at a time.
    pub async fn hold_accounts(&self, accounts: &[String]) -> Result<HeldLocks<'_>, Refusal> {
        self.hold_names(&self.accounts, accounts.iter().map(|account| format!("account {account}")).collect()).await
    }

    async fn hold_names<'a>(&self, all: &'a [Mutex<()>], names: Vec<String>) -> Result<HeldLocks<'a>, Refusal> {
        let stripes: BTreeSet<usize> = names.iter().map(|name| stripe(name)).collect();
        let mut own = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            own.push(all[stripe].lock().await);
        }
        let others = if names.is_empty() { None } else { Some(self.records.exclusive(names).await?) };
        Ok(HeldLocks { _others: others, _own: own })
    }
}

fn stripe(name: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    usize::try_from(hasher.finish() % STRIPES as u64).expect("a remainder of 256 fits")
}

/// The criteria of a condition on a type. Besides the criteria alone, clients send the whole address of the search,
/// as HAPI's does: `https://host/fhir/Patient?identifier=…`.
///
/// # Errors
/// [`Refusal::BadRequest`] where the address is that of another type.
pub fn criteria<'a>(resource_type: &str, condition: &'a str) -> Result<&'a str, Refusal> {
    match condition.split_once('?') {
        // A question mark within a criterion's value.
        Some((address, _)) if address.contains('=') => Ok(condition),
        Some((address, criteria)) if matches!(address.rsplit('/').next(), Some(last) if last.is_empty() || last == resource_type) => {
            Ok(criteria)
        }
        Some(_) => Err(Refusal::BadRequest("the condition is on another type".to_string())),
        None => Ok(condition),
    }
}

/// A condition's criteria, in one order: however they are written, they ask for the same.
fn normal(condition: &str) -> String {
    let mut pairs = pairs(condition);
    pairs.sort();
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn pairs(condition: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(condition.as_bytes()).into_owned().collect()
}

/// What becomes of a create by condition that nothing met a moment ago.
pub enum Planned {
    /// It is created under this id.
    New(String),
    /// Somebody else has created this meanwhile.
    Exists(String),
}

impl Planned {
    /// The new id.
    ///
    /// # Errors
    /// [`Refusal::VersionConflict`] where somebody else was first.
    pub fn new_id(self) -> Result<String, Refusal> {
        match self {
            Self::New(id) => Ok(id),
            Self::Exists(_) => Err(Refusal::VersionConflict),
        }
    }
}

/// The id of what is created because nothing meets `condition`. It follows from the condition, under the
/// organization's key: whoever creates by the same condition at the same time, through whichever gateway
/// of the organization, creates under the same id, and the ledger anchors an id once. The chain sees a
/// keyed hash of it.
///
/// What a caller may see is part of it, so that an id tells nothing of what is hidden.
pub async fn plan(context: &Context<'_>, resource: &'static Resource, condition: &str) -> Result<Planned, Refusal> {
    let (organization, resource_type) = (context.organization, resource.name);
    let purpose = "careledger/conditional-id/1";
    let secret = organization.keys.record_ids.derive(purpose);
    let reach = context.caller.reach(Interaction::Search, resource_type).name();
    let criteria = normal(condition);
    for earlier in 0..EARLIER_MAX {
        let parts: [&[u8]; 5] = [
            secret.as_bytes(),
            resource_type.as_bytes(),
            criteria.as_bytes(),
            reach.as_bytes(),
            &earlier.to_be_bytes(),
        ];
        let hash = commitment::hash(purpose, &parts);
        let bytes = *hash.first_chunk().expect("a hash has 32 bytes");
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid().to_string();
        match organization.records.settled(resource_type, &id).await {
            Ok(Some(_)) => indexed(context).await?,
            // That another is creating it is told when it is committed.
            Ok(None) | Err(Refusal::VersionConflict) if earlier == 0 => return Ok(Planned::New(id)),
            Ok(None) | Err(Refusal::VersionConflict) => {
                // What had the earlier ids is gone or says something else, unless it came just now.
                let found = one(context, resource, condition).await?;
                return Ok(found.map_or(Planned::New(id), Planned::Exists));
            }
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(Planned::New(uuid::Uuid::new_v4().to_string()))
}

/// Waits until the index has what is visible now, which is a moment later.
async fn indexed(context: &Context<'_>) -> Result<(), Refusal> {
    let deadline = Instant::now() + COMMIT_DEADLINE;
    let through = context.organization.records.last_change().await?;
    while context.organization.index.run(|index| index.last_applied()).await? < through {
        if Instant::now() > deadline {
            return Err(Refusal::LedgerUnavailable);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// The id of what somebody else created by the same condition at the same time, after a commit that came
/// second by the ledger's order; as soon as it is visible here.
///
/// # Errors
/// `refusal` itself where it says something else, or where nothing appears in time.
pub async fn winner(
    context: &Context<'_>,
    resource: &'static Resource,
    condition: &str,
    refusal: Refusal,
) -> Result<String, Refusal> {
    let is_second = match &refusal {
        Refusal::VersionConflict => true,
        Refusal::Ledger { code, .. } => *code == Reject::RecordExists.code(),
        _ => false,
    };
    let deadline = Instant::now() + COMMIT_DEADLINE;
    while is_second && Instant::now() < deadline {
        if let Some(id) = one(context, resource, condition).await? {
            return Ok(id);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Err(refusal)
}

/// Looks up the value sets that conditions name, so that nobody waits for room, or tells their members, while others wait
/// for the conditions: before [`Locks::hold`]. The request remembers them; what is against one is said by [`one`].
///
/// # Errors
/// Faults of this server.
pub async fn look_up<'a>(
    context: &Context<'_>,
    conditions: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), Refusal> {
    for (resource_type, condition) in conditions {
        if super::permit(context, resource_type, Interaction::Search).is_ok() {
            value_sets::named(context, &pairs(condition), None).await?;
        }
    }
    Ok(())
}

/// The id of the one resource that meets `condition`; none if no resource does.
///
/// # Errors
/// [`Refusal::MultipleMatches`], and as [`query`].
pub async fn one(
    context: &Context<'_>,
    resource: &'static Resource,
    condition: &str,
) -> Result<Option<String>, Refusal> {
    let mut found = meeting(context, query(context, resource, condition).await?, 2).await?;
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(Refusal::MultipleMatches),
    }
}

/// The ids of up to `limit` resources that meet a condition.
///
/// # Errors
/// Faults of this server.
pub async fn meeting(context: &Context<'_>, query: Query, limit: u32) -> Result<Vec<String>, Refusal> {
    let hits = context.organization.index.run(move |index| index.matches(&query, limit)).await?;
    Ok(hits.into_iter().map(|hit| hit.id).collect())
}

/// The search that a condition is, among what the caller may see.
///
/// # Errors
/// [`Refusal::BadRequest`] for a condition that says nothing, and those of a search.
pub async fn query(context: &Context<'_>, resource: &'static Resource, condition: &str) -> Result<Query, Refusal> {
    super::permit(context, resource.name, Interaction::Search)?;
    let organization = context.organization;
    let pairs = pairs(condition);
    let sets = value_sets::named(context, &pairs, None).await?;
    let mut query = Query::parse_among(resource, &pairs, Handling::Strict, &organization.base_url, &sets)?;
    if query.criteria.is_empty() {
        return Err(Refusal::BadRequest("the condition has no criterion".to_string()));
    }
    for resource_type in query.types() {
        super::permit(context, resource_type, Interaction::Search)?;
    }
    query.see(super::sight(context, Interaction::Search))?;
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_criteria_or_the_address_of_a_search() {
        for (condition, expected) in [
            ("identifier=urn:mrn|7", Some("identifier=urn:mrn|7")),
            ("?identifier=7", Some("identifier=7")),
            ("Patient?identifier=7&active=true", Some("identifier=7&active=true")),
            ("http://127.0.0.1:8080/a/fhir/Patient?identifier=a%7Cb", Some("identifier=a%7Cb")),
            ("/a/fhir/Patient?identifier=7", Some("identifier=7")),
            ("identifier=http://example.org/a?b|7", Some("identifier=http://example.org/a?b|7")),
            ("", Some("")),
            ("Group?identifier=7", None),
            ("https://example.org/fhir/Group?identifier=7", None),
            ("OtherPatient?identifier=7", None),
        ] {
            assert_eq!(criteria("Patient", condition).ok(), expected, "{condition}");
        }
    }
}
