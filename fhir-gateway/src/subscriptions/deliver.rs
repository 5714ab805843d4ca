//! One step of one Subscription: the next changes are looked at, and each that it is about is decided, logged and
//! sent, in their order. Nothing is sent after one that did not arrive.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    Asked, State, Status, Subscription,
    channel::{Failure, Notification},
    order::Order,
};
use crate::{
    audit::{Access, Action, Agent, Entity, Origin, Outcome},
    auth::{Caller, clock, scopes::Interaction},
    export::lines::there,
    index::changes::{Change, Wanted},
    interactions::{Context, Prefer, condition::Locks, may_see, readable, search::elsewhere},
    json::{Document, Serving},
    organization::Organization,
    outcome::Refusal,
    records::{Content, Stored},
    search::Query,
    vault::Durability,
};

/// Changes that one step looks at.
const CHANGES_PER_STEP: u32 = 200;
/// Bytes of resources that are compared with criteria at once. A single one may be larger.
const BYTES_AT_ONCE: usize = 1024 * 1024;
/// Pause after a fault of this server that is not about one resource.
const FAULT_PAUSE: Duration = Duration::from_secs(2);

/// What is to be done with a Subscription after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It may have more to be told.
    Goes,
    /// Nothing is tried before this time has passed.
    Rests(Duration),
}

/// What of the next changes it is about.
struct Looked {
    changes: Vec<Change>,
    /// Up to and with this change nothing else is.
    through: u64,
    /// What comes after these could not be read.
    then: Option<Failure>,
}

/// What is to be done with a change.
enum Prepared {
    Send(Box<Notification>),
    /// It is not, or not any more, for this Subscription.
    Skip,
    /// The Subscription was changed or removed meanwhile.
    Stop,
    Fail(Failure),
}

/// What is asked for, and by whom: both as of now.
struct Able {
    order: Order,
    caller: Caller,
}

/// Makes one step.
pub async fn step(organization: &Weak<Organization>, id: &str) -> Next {
    attempt(organization, id).await.unwrap_or_else(|refusal| {
        tracing::warn!(subscription = id, %refusal, "a Subscription could not be looked at; it is tried again");
        Next::Rests(FAULT_PAUSE)
    })
}

async fn attempt(organization: &Weak<Organization>, id: &str) -> Result<Next, Refusal> {
    let Some(owner) = organization.upgrade() else { return Ok(Next::Goes) };
    let Some(Subscription { asked, mut state }) = current(&owner, id).await? else { return Ok(Next::Goes) };
    let Looked { changes, through, then } = match look(&owner, &asked, &state).await? {
        Ok(looked) => looked,
        Err(failure) => return failed(&owner, id, state, failure).await,
    };
    drop(owner);
    for change in changes {
        let Some(owner) = organization.upgrade() else { return Ok(Next::Goes) };
        let notification = match prepare(&owner, &asked, &mut state, &change).await? {
            Prepared::Send(notification) => notification,
            Prepared::Skip => continue,
            Prepared::Stop => return Ok(Next::Goes),
            Prepared::Fail(failure) => return failed(&owner, id, state, failure).await,
        };
        let channel = Arc::clone(&owner.subscriptions.channel);
        // An endpoint that takes its time keeps nothing open but its connection.
        drop(owner);
        let sent = channel.send(*notification).await;
        let Some(owner) = organization.upgrade() else { return Ok(Next::Goes) };
        if let Err(failure) = sent {
            return failed(&owner, id, state, failure).await;
        }
        (state.cursor, state.failures) = (change.sequence, 0);
        state.delivered += 1;
        state.turn(Status::Active, None);
        owner.subscriptions.count(|counts| &counts.delivered);
        owner.subscriptions.keep(id, &state).await?;
    }
    let Some(owner) = organization.upgrade() else { return Ok(Next::Goes) };
    if state.cursor < through {
        state.cursor = through;
        owner.subscriptions.keep(id, &state).await?;
    }
    match then {
        Some(failure) => failed(&owner, id, state, failure).await,
        None => Ok(Next::Goes),
    }
}

/// The Subscription, where it is to be told; one that its owner wrote anew begins anew, where it was.
async fn current(owner: &Organization, id: &str) -> Result<Option<Subscription>, Refusal> {
    let Some(mut found) = owner.subscriptions.get(id)? else { return Ok(None) };
    match found.status() {
        Status::Off => return Ok(None),
        Status::Requested => {
            found.state.revision = found.asked.revision;
            found.state.failures = 0;
            found.state.turn(Status::Active, None);
            owner.subscriptions.keep(id, &found.state).await?;
        }
        Status::Active | Status::Error => {}
    }
    Ok(Some(found))
}

/// Puts down that it cannot go on, and says when it is tried again.
async fn failed(owner: &Organization, id: &str, mut state: State, failure: Failure) -> Result<Next, Refusal> {
    let settings = &owner.subscriptions.settings;
    state.failures = state.failures.saturating_add(1);
    let is_given_up = !failure.may_pass() || state.failures >= settings.attempts_max;
    state.turn(if is_given_up { Status::Off } else { Status::Error }, Some(failure));
    owner.subscriptions.keep(id, &state).await?;
    owner.subscriptions.count(|counts| &counts.failed);
    let failures = state.failures;
    if is_given_up {
        owner.subscriptions.count(|counts| &counts.given_up);
        tracing::warn!(subscription = id, failures, %failure, "a Subscription is off until its owner writes it anew");
    } else {
        tracing::info!(subscription = id, failures, %failure, "a notification did not arrive and is tried again");
    }
    Ok(Next::Rests(pause(settings.retry_milliseconds, settings.retry_seconds_max, failures)))
}

/// The pause after so many failures: the first, doubled each time, at most the longest.
fn pause(first_milliseconds: u32, longest_seconds: u32, failures: u32) -> Duration {
    let doubled = u64::from(first_milliseconds).saturating_mul(1 << failures.saturating_sub(1).min(31));
    Duration::from_millis(doubled.min(u64::from(longest_seconds) * 1_000))
}

/// What its owner may have now.
fn able(owner: &Organization, asked: &Asked) -> Result<Able, Failure> {
    let document = Document::parse(asked.wish.resource.clone()).map_err(|_| Failure::Server)?;
    let order = owner.subscriptions.order(&document, &owner.base_url).map_err(|_| Failure::NotAllowed)?;
    let caller = owner.authority.acting(&asked.client, &asked.scopes).ok_or(Failure::Scope)?;
    for interaction in [Interaction::Read, Interaction::Search] {
        caller.may(interaction, order.kind().name).map_err(|_| Failure::Scope)?;
    }
    Ok(Able { order, caller })
}

fn context<'a>(owner: &'a Organization, caller: &'a Caller, locks: &'a Locks) -> Context<'a> {
    let prefer = Prefer::default();
    Context { organization: owner, conditions: locks, caller, prefer, key: None, origin: Origin::UNKNOWN }
}

/// The Patient about whom all is that the owner may find and read; none where it may be about others. What of it
/// the owner may know of is decided for each version.
fn patient_of(caller: &Caller, resource_type: &str) -> Option<String> {
    let is_about_others = |interaction| caller.reach(interaction, resource_type).is_beyond_one_patient();
    let may_be_of_others = [Interaction::Read, Interaction::Search].into_iter().all(is_about_others);
    caller.patient.clone().filter(|_| !may_be_of_others)
}

async fn look(owner: &Organization, asked: &Asked, state: &State) -> Result<Result<Looked, Failure>, Refusal> {
    let Able { order, caller } = match able(owner, asked) {
        Ok(able) => able,
        Err(failure) => return Ok(Err(failure)),
    };
    let locks = Locks::of(owner.records.clone());
    let context = context(owner, &caller, &locks);
    let _turn = owner.subscriptions.reading.acquire().await.map_err(|_| Refusal::Internal("reading has ended"))?;
    let resource_type = order.kind().name;
    let patient = patient_of(&caller, resource_type);
    let wanted = Wanted { resource_type, after: state.cursor, patient, count: CHANGES_PER_STEP };
    let found = owner.index.run(move |index| index.changes(&wanted)).await?;
    let all = Looked { changes: found.changes, through: found.through, then: None };
    if order.query.criteria.is_empty() || all.changes.is_empty() {
        return Ok(Ok(all));
    }
    matched(&context, &order.query, all).await.map(Ok)
}

/// Those among the changes that meet the criteria as they were.
async fn matched(context: &Context<'_>, query: &Query, all: Looked) -> Result<Looked, Refusal> {
    let mut looked = Looked { changes: Vec::new(), ..all };
    let mut rest = all.changes.into_iter().peekable();
    while rest.peek().is_some() {
        let (mut together, mut documents, mut ids, mut bytes) = (Vec::new(), Vec::new(), BTreeSet::new(), 0);
        while let Some(change) = rest.next_if(|next| bytes < BYTES_AT_ONCE && !ids.contains(&next.id)) {
            match version(context, query.resource.name, &change).await {
                Ok(Some((_, document))) => {
                    bytes += document.bytes().len();
                    ids.insert(change.id.clone());
                    documents.push((change.id.clone(), document));
                    together.push(change);
                }
                Ok(None) => {}
                Err(refusal) => {
                    tracing::error!(%refusal, "a version that a Subscription may be about cannot be read");
                    (looked.through, looked.then) = (change.sequence - 1, Some(Failure::Server));
                    rest = Vec::new().into_iter().peekable();
                }
            }
        }
        let found = elsewhere::matching(context, query, documents).await?;
        looked.changes.extend(together.into_iter().filter(|change| found.contains(&change.id)));
    }
    Ok(looked)
}

/// A version and its resource as it is served; none of a deletion.
async fn version(
    context: &Context<'_>,
    resource_type: &str,
    change: &Change,
) -> Result<Option<(Stored, Document)>, Refusal> {
    let records = &context.organization.records;
    let Some(stored) = there(records.any_version(resource_type, &change.id, change.version).await)? else {
        return Ok(None);
    };
    let document = document(&stored)?;
    Ok(document.map(|document| (stored, document)))
}

fn document(stored: &Stored) -> Result<Option<Document>, Refusal> {
    let serving = Serving { version: stored.version, last_updated: stored.last_updated, source: None };
    match &stored.content {
        Content::Json(bytes) => Document::parse(Document::parse(bytes.clone())?.served(&serving)).map(Some),
        Content::Raw { .. } => Err(Refusal::Internal("a Subscription is about a file")),
        Content::Deleted => Ok(None),
    }
}

/// Decides a change for the owner as of now, as a read would, and logs what is about to be sent.
async fn prepare(owner: &Organization, asked: &Asked, state: &mut State, change: &Change) -> Result<Prepared, Refusal> {
    let now = owner.subscriptions.asked(&asked.id)?;
    if now.is_none_or(|now| now.revision != asked.revision) || asked.wish.end.is_some_and(|end| end <= clock()) {
        return Ok(Prepared::Stop);
    }
    let Able { order, caller } = match able(owner, asked) {
        Ok(able) => able,
        Err(failure) => return Ok(Prepared::Fail(failure)),
    };
    let locks = Locks::of(owner.records.clone());
    let context = context(owner, &caller, &locks);
    let subscriptions = &owner.subscriptions;
    // Until there is room for the body: what waits for that is bounded, too.
    let _turn = subscriptions.reading.acquire().await.map_err(|_| Refusal::Internal("reading has ended"))?;
    let decided = match decided(&context, order.kind().name, change).await {
        Ok(decided) => decided,
        Err(refusal) => {
            tracing::error!(%refusal, "a version that a Subscription is about cannot be read");
            return Ok(Prepared::Fail(Failure::Server));
        }
    };
    let Some((stored, document, patients)) = decided else { return Ok(Prepared::Skip) };
    let notification = match order.payload {
        None => subscriptions.channel.ping(&order.endpoint, &order.headers).await,
        Some(format) => {
            let resource = (stored.resource_type.as_str(), stored.id.as_str(), document.bytes().to_vec());
            match subscriptions.channel.update(&order.endpoint, &order.headers, format, resource).await {
                Ok(notification) => notification,
                Err(failure) => return Ok(Prepared::Fail(failure)),
            }
        }
    };
    // Once for each, however often it is tried.
    if state.logged < change.sequence {
        log(owner, asked, order.payload.map(|_| &stored), &patients).await?;
        state.logged = change.sequence;
    }
    Ok(Prepared::Send(Box::new(notification)))
}

/// The version, as far as the owner may read it, and the resource as it is now, too; and whom it is about.
async fn decided(
    context: &Context<'_>,
    resource_type: &str,
    change: &Change,
) -> Result<Option<(Stored, Document, BTreeSet<String>)>, Refusal> {
    // What was deleted meanwhile is not handed out any more, nor what is somebody else's by now.
    let Some(latest) = there(context.organization.records.latest(resource_type, &change.id).await)? else {
        return Ok(None);
    };
    if latest.content == Content::Deleted || of_owner(context, &latest).await?.is_none() {
        return Ok(None);
    }
    let Some((stored, document)) = version(context, resource_type, change).await? else { return Ok(None) };
    let patients = of_owner(context, &stored).await?;
    Ok(patients.map(|patients| (stored, document, patients)))
}

/// Whom a version is about that the owner may both find and read; none of others.
async fn of_owner(context: &Context<'_>, stored: &Stored) -> Result<Option<BTreeSet<String>>, Refusal> {
    match there(may_see(context, Interaction::Search, stored).await)? {
        Some(()) => there(readable(context, stored).await),
        None => Ok(None),
    }
}

/// Puts down in the access log what is about to be sent, before it is: of a notification without content, that there
/// is something about a patient.
async fn log(
    owner: &Organization,
    asked: &Asked,
    shown: Option<&Stored>,
    patients: &BTreeSet<String>,
) -> Result<(), Refusal> {
    let own =
        Entity { resource_type: "Subscription".to_owned(), id: Some(asked.id.clone()), version: None, query: None };
    let shown = shown.map(|stored| Entity {
        resource_type: stored.resource_type.clone(),
        id: Some(stored.id.clone()),
        version: Some(stored.version),
        query: None,
    });
    let action = if shown.is_some() { Action::Read } else { Action::Execute };
    let entities: Vec<Entity> = shown.into_iter().chain([own]).collect();
    let whom: Vec<Option<String>> =
        if patients.is_empty() { vec![None] } else { patients.iter().cloned().map(Some).collect() };
    for patient in whom {
        let access = Access {
            action,
            outcome: Outcome::Permitted,
            agent: Agent::Client(asked.client.clone()),
            purpose: None,
            patient,
            entities: entities.clone(),
            grant: None,
            origin: Origin::UNKNOWN.clone(),
        };
        owner.audit.record(access, Durability::Ordered).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_never_overflow() {
        let seconds = |failures| pause(1_000, 3_600, failures).as_secs();
        assert_eq!([1, 2, 3, 4, 12, 13, 36, u32::MAX].map(seconds), [1, 2, 4, 8, 2_048, 3_600, 3_600, 3_600]);
        assert_eq!(pause(u32::MAX, u32::MAX, u32::MAX), Duration::from_secs(u32::MAX.into()));
        assert_eq!(pause(5, 1, 1), Duration::from_millis(5));
    }
}
