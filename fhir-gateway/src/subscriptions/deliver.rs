//! One step of one Subscription: the next changes are looked at, and each that it is about is decided, logged and
//! sent, in their order. Nothing is sent after one that did not arrive.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    Asked, State, Status, Subscription,
    channel::{self, Draft, Failure, Notification, Undelivered, whose},
    look::{Able, Kept, Looked, able, context, decided, look},
    order::Order,
    room::{Room, Whose},
};
use crate::{
    audit::{Access, Action, Agent, Entity, Origin, Outcome},
    auth::clock,
    index::changes::Change,
    interactions::condition::Locks,
    json::Document,
    organization::Organization,
    outcome::Refusal,
    records::Stored,
    vault::Durability,
};

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

/// What a step came to.
pub struct Done {
    /// What is to be done next.
    pub next: Next,
    /// How far the Subscription is now; none where the vault has to be asked.
    pub state: Option<State>,
}

/// What is to be done with a change.
enum Prepared {
    Send(Box<Notification>),
    /// There must be room first, for so many bytes to that endpoint. Nothing is held meanwhile.
    Waits(Whose, usize),
    /// It is not, or not any more, for this Subscription.
    Skip,
    /// The vault has it no more.
    Lost,
    /// The Subscription was changed or removed meanwhile.
    Stop,
    Fail(Failure),
}

/// Makes one step.
pub async fn step(organization: &Weak<Organization>, id: &str) -> Done {
    attempt(organization, id).await.unwrap_or_else(|refusal| {
        tracing::warn!(subscription = id, %refusal, "a Subscription could not be looked at; it is tried again");
        Done { next: Next::Rests(FAULT_PAUSE), state: None }
    })
}

/// Where somebody else decided what is next: the organization is gone, or the Subscription was changed.
const ELSEWHERE: Done = Done { next: Next::Goes, state: None };

async fn attempt(organization: &Weak<Organization>, id: &str) -> Result<Done, Refusal> {
    let Some(owner) = organization.upgrade() else { return Ok(ELSEWHERE) };
    let Some(Subscription { asked, mut state }) = current(&owner, id).await? else { return Ok(ELSEWHERE) };
    let Looked { changes, through, then } = match look(&owner, &asked, &state).await? {
        Ok(looked) => looked,
        Err(failure) => return failed(&owner, id, state, failure.into()).await,
    };
    drop(owner);
    for (change, kept) in changes {
        let prepared = match kept {
            Kept::Whole => in_its_room(organization, &asked, &mut state, &change).await?,
            Kept::Lost => Prepared::Lost,
        };
        let Some(owner) = organization.upgrade() else { return Ok(ELSEWHERE) };
        let notification = match prepared {
            Prepared::Send(notification) => notification,
            Prepared::Skip => continue,
            Prepared::Lost => {
                pass_over(&owner, &asked, &mut state, &change).await?;
                continue;
            }
            Prepared::Waits(..) | Prepared::Stop => return Ok(ELSEWHERE),
            Prepared::Fail(failure) => return failed(&owner, id, state, failure.into()).await,
        };
        let channel = Arc::clone(&owner.subscriptions.channel);
        // An endpoint that takes its time keeps nothing open but its connection.
        drop(owner);
        let sent = channel.send(*notification).await;
        let Some(owner) = organization.upgrade() else { return Ok(ELSEWHERE) };
        if let Err(undelivered) = sent {
            return failed(&owner, id, state, undelivered).await;
        }
        (state.cursor, state.failures) = (change.sequence, 0);
        state.delivered += 1;
        state.turn(Status::Active, None);
        owner.subscriptions.count(|counts| &counts.delivered);
        owner.subscriptions.keep(id, &state).await?;
    }
    let Some(owner) = organization.upgrade() else { return Ok(ELSEWHERE) };
    if state.cursor < through {
        state.cursor = through;
        owner.subscriptions.keep(id, &state).await?;
    }
    match then {
        Some(failure) => failed(&owner, id, state, failure.into()).await,
        None => Ok(Done { next: Next::Goes, state: Some(state) }),
    }
}

/// Prepares a change, once there is room for it. It is decided anew after a wait.
async fn in_its_room(
    organization: &Weak<Organization>,
    asked: &Asked,
    state: &mut State,
    change: &Change,
) -> Result<Prepared, Refusal> {
    let mut room = None;
    loop {
        let Some(owner) = organization.upgrade() else { return Ok(Prepared::Stop) };
        let (whose, bytes) = match prepare(&owner, asked, state, change, room.take()).await? {
            Prepared::Waits(whose, bytes) => (whose, bytes),
            prepared => return Ok(prepared),
        };
        let channel = Arc::clone(&owner.subscriptions.channel);
        drop(owner);
        room = Some(channel.rooms().take(&whose, bytes).await);
    }
}

/// Goes on after a version that the vault has no more: trying again would not bring it back.
async fn pass_over(owner: &Organization, asked: &Asked, state: &mut State, change: &Change) -> Result<(), Refusal> {
    tracing::error!(
        subscription = asked.id,
        change = change.sequence,
        "a version that a Subscription may be about is lost and was passed over; `careledger-gateway verify` names it"
    );
    // Its owner is told where it could see each version of the type, whatever that says and whomever it is about.
    if able(owner, asked).is_ok_and(|able| able.reaches_all()) {
        state.lost += 1;
        state.turn(Status::Active, None);
    }
    owner.subscriptions.count(|counts| &counts.lost);
    (state.cursor, state.failures) = (change.sequence, 0);
    owner.subscriptions.keep(&asked.id, state).await
}

/// The Subscription, where it is to be told; one that its owner wrote anew begins anew, where it was.
async fn current(owner: &Organization, id: &str) -> Result<Option<Subscription>, Refusal> {
    let Some(mut found) = owner.subscriptions.get(id).await? else { return Ok(None) };
    match found.status() {
        Status::Off => return Ok(None),
        Status::Requested => {
            found.state.revision = found.asked.revision;
            (found.state.failures, found.state.lost) = (0, 0);
            found.state.turn(Status::Active, None);
            owner.subscriptions.keep(id, &found.state).await?;
        }
        Status::Active | Status::Error => {}
    }
    Ok(Some(found))
}

/// Puts down that it cannot go on, and says when it is tried again.
async fn failed(owner: &Organization, id: &str, mut state: State, why: Undelivered) -> Result<Done, Refusal> {
    let settings = &owner.subscriptions.settings;
    let Undelivered { failure, reason } = why;
    state.failures = state.failures.saturating_add(1);
    let is_given_up = !failure.may_pass() || state.failures >= settings.attempts_max;
    state.turn(if is_given_up { Status::Off } else { Status::Error }, Some(failure));
    owner.subscriptions.keep(id, &state).await?;
    owner.subscriptions.count(|counts| &counts.failed);
    let failures = state.failures;
    if is_given_up {
        owner.subscriptions.count(|counts| &counts.given_up);
        tracing::warn!(subscription = id, failures, %failure, reason, "a Subscription is off until its owner writes it anew");
    } else {
        tracing::info!(subscription = id, failures, %failure, reason, "a notification did not arrive and is tried again");
    }
    let rest = pause(settings.retry_milliseconds, settings.retry_seconds_max, failures);
    Ok(Done { next: Next::Rests(rest), state: Some(state) })
}

/// The pause after so many failures: the first, doubled each time, at most the longest.
fn pause(first_milliseconds: u32, longest_seconds: u32, failures: u32) -> Duration {
    let doubled = u64::from(first_milliseconds).saturating_mul(1 << failures.saturating_sub(1).min(31));
    Duration::from_millis(doubled.min(u64::from(longest_seconds) * 1_000))
}

/// Decides a change for the owner as of now, as a read would, and logs what is about to be sent. `room` is what was
/// waited for.
async fn prepare(
    owner: &Organization,
    asked: &Asked,
    state: &mut State,
    change: &Change,
    room: Option<Room>,
) -> Result<Prepared, Refusal> {
    let now = owner.subscriptions.asked(&asked.id).await?;
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
    let _turn = subscriptions.turns.acquire().await.map_err(|_| Refusal::Internal("reading has ended"))?;
    let decided = match decided(&context, order.kind().name, change).await {
        Ok(decided) => decided,
        Err(Refusal::Lost(_)) => return Ok(Prepared::Lost),
        Err(refusal) => {
            tracing::error!(%refusal, "a version that a Subscription is about cannot be read");
            return Ok(Prepared::Fail(Failure::Server));
        }
    };
    let Some((stored, document, patients)) = decided else { return Ok(Prepared::Skip) };
    let draft = match draft(&order, &stored, &document) {
        Ok(draft) => draft,
        Err(failure) => return Ok(Prepared::Fail(failure)),
    };
    let (whose, bytes) = (whose(&asked.client, &order.endpoint), draft.bytes());
    let rooms = subscriptions.channel.rooms();
    // Whoever waits for room lets the body and its turn go: others read meanwhile.
    let Some(room) = room.filter(|room| room.holds(bytes)).or_else(|| rooms.try_take(&whose, bytes)) else {
        return Ok(Prepared::Waits(whose, bytes));
    };
    // Once for each, however often it is tried.
    if state.logged < change.sequence {
        log(owner, asked, order.payload.map(|_| &stored), &patients).await?;
        state.logged = change.sequence;
    }
    Ok(Prepared::Send(Box::new(draft.within(room))))
}

fn draft(order: &Order, stored: &Stored, document: &Document) -> Result<Draft, Failure> {
    let Some(format) = order.payload else { return Ok(channel::ping(&order.endpoint, &order.headers)) };
    let resource = (stored.resource_type.as_str(), stored.id.as_str(), document.bytes().to_vec());
    channel::update(&order.endpoint, &order.headers, format, resource)
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
