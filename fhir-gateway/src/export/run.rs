//! The work on exports: one step of each that runs, in turn, so that a small one does not wait for a large one.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{
    Exports,
    find::{Found, found},
    job::{Awaited, End, Export, Job, Kind, Scope},
    worker::{self, Maker},
};
use crate::{
    audit::{Access, Action, Agent, Entity, Origin, Outcome},
    auth::clock,
    index::Index,
    interactions::{Context, condition::Locks},
    organization::Organization,
    outcome::Refusal,
    vault::Durability,
};

/// Attempts at one step before an export is given up: about three quarters of an hour.
const FAILURES_MAX: u32 = 15;
/// Longest pause between two of them, in seconds.
const RETRY_SECONDS_MAX: i64 = 300;
/// Shortest time between two looks at what an export waits for; the longer it has been there, the longer it is,
const WAIT_MIN: Duration = Duration::from_millis(250);
/// up to this.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Seconds after which a write is no longer taken for one that a process has under way: longer than a block takes.
const WRITING_SECONDS: i64 = 5;
/// Between two times that the ledger is asked what became of writes.
const FIND_OUT: Duration = Duration::from_secs(15);
/// Longest time between two rounds, since exports expire.
const IDLE: Duration = Duration::from_secs(60);

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// A step was made.
    Moved,
    /// It is too early for one.
    Waits,
}

/// Works on the exports of an organization until it is gone.
pub async fn work(organization: Weak<Organization>) {
    worker::work(organization).await;
}

impl Maker for Organization {
    fn exports(&self) -> &Arc<Exports> {
        &self.exports
    }

    async fn round(&self, find_out: &mut Instant) -> Result<Duration, Refusal> {
        let mut pause = IDLE;
        for job in self.exports.running().await? {
            let rest = rest(job.retry_at, clock());
            if !rest.is_zero() {
                pause = pause.min(rest);
                continue;
            }
            let age = Duration::from_secs(clock().saturating_sub(job.began).max(0).unsigned_abs());
            let before = job.clone();
            match attempt(self, job, find_out).await {
                Ok(Attempt::Moved) => pause = Duration::ZERO,
                Ok(Attempt::Waits) => pause = pause.min(until_next_look(age)),
                Err(refusal) => {
                    failed(self, before, &refusal).await;
                    pause = pause.min(WAIT_MAX);
                }
            }
        }
        Ok(pause)
    }
}

/// How long nothing is tried yet; nothing where that is longer than it ever is: then another machine's clock said so, or
/// this one's was set.
fn rest(retry_at: i64, now: i64) -> Duration {
    let rest = retry_at.saturating_sub(now);
    if (1..=RETRY_SECONDS_MAX).contains(&rest) { Duration::from_secs(rest.unsigned_abs()) } else { Duration::ZERO }
}

/// Whether a write from before the kick-off may still be one that a process has under way. A kick-off that is yet to come
/// is one by another machine's clock, and nothing follows from when it was.
fn may_be_under_way(began: i64, now: i64) -> bool {
    (0..WRITING_SECONDS).contains(&now.saturating_sub(began))
}

/// How long to wait before another look at what an export of that age waits for.
fn until_next_look(age: Duration) -> Duration {
    (age / 4).clamp(WAIT_MIN, WAIT_MAX)
}

async fn failed(organization: &Organization, mut job: Job, refusal: &Refusal) {
    job.failures += 1;
    job.awaits = None;
    job.retry_at = clock() + (1_i64 << job.failures.min(16)).min(RETRY_SECONDS_MAX);
    let (export, failures) = (job.id.clone(), job.failures);
    tracing::warn!(export, failures, %refusal, "a step of an export failed");
    if failures >= FAILURES_MAX {
        job.end = Some((clock(), End::Failed));
    }
    if let Err(refusal) = organization.exports.advance(job, Vec::new(), &BTreeSet::new()).await {
        tracing::warn!(export, %refusal, "that a step failed could not be kept");
    }
}

async fn attempt(organization: &Organization, mut job: Job, find_out: &mut Instant) -> Result<Attempt, Refusal> {
    // Removed meanwhile, it is not among those of the next round.
    let Some(order) = organization.exports.order(&job.id).await? else { return Ok(Attempt::Waits) };
    // Once that is known, it stays: what becomes visible later is not waited for.
    if !job.is_under_way() && job.through == 0 {
        if awaits_writes(organization, &job, &order.waiting, find_out).await? {
            return waits(organization, job, Awaited::Writes).await;
        }
        // After them: what became visible is not later than this.
        job.through = organization.records.last_change().await?;
    }
    let Some(stamp) = filled(organization, job.through).await? else {
        return waits(organization, job, Awaited::Index).await;
    };
    let Some(caller) = organization.authority.acting(&job.client, &job.scopes) else {
        // Tried again: while a configuration changes, one process may know it and the next not yet.
        return Err(Refusal::Unauthorized("the client of an export is not registered any more"));
    };
    let Some(step) = order.steps().get(job.step).copied() else {
        (job.awaits, job.failures, job.end) = (None, 0, Some((clock(), End::Complete)));
        organization.exports.advance(job, Vec::new(), &BTreeSet::new()).await?;
        return Ok(Attempt::Moved);
    };
    let locks = Locks::of(organization.records.clone());
    let context = Context::in_background(organization, &locks, &caller);
    let export = Export { order, job };
    let found = found(&context, &export, step).await?;
    // What is looked up beside the parts is looked up in the index, too: none of it where that was emptied meanwhile.
    let is_same = filled(organization, export.job.through).await?.is_some_and(|after| after == stamp);
    match found.filter(|_| is_same) {
        Some(found) => moved(organization, export, found).await,
        None => waits(organization, export.job, Awaited::Index).await,
    }
}

/// Puts down what a step found.
async fn moved(organization: &Organization, export: Export, found: Found) -> Result<Attempt, Refusal> {
    let Export { order, mut job } = export;
    let unseen = organization.exports.unseen(&job.id, found.patients).await?;
    // Before the files can be had.
    for patient in &unseen {
        log(organization, Action::Execute, &job.client, &order.scope, Some(patient), Origin::UNKNOWN).await?;
    }
    (job.awaits, job.failures) = (None, 0);
    match found.next {
        Some(next) => job.after = next,
        None => (job.step, job.after) = (job.step + 1, String::new()),
    }
    let mut pieces = job.append(found.kind, found.resource_type, found.lines);
    pieces.extend(job.append(Kind::Error, "OperationOutcome", found.outcomes));
    organization.exports.advance(job, pieces, &unseen).await?;
    Ok(Attempt::Moved)
}

/// Puts down what an export waits for, where that is not known yet.
async fn waits(organization: &Organization, mut job: Job, awaited: Awaited) -> Result<Attempt, Refusal> {
    if job.awaits != Some(awaited) {
        tracing::info!(export = job.id, ?awaited, "an export waits");
        job.awaits = Some(awaited);
        organization.exports.advance(job, Vec::new(), &BTreeSet::new()).await?;
    }
    Ok(Attempt::Waits)
}

/// Whether a version that was being written when the export was asked for may still become visible: it may carry a
/// time before that of the export.
async fn awaits_writes(
    organization: &Organization,
    job: &Job,
    marks: &[String],
    find_out: &mut Instant,
) -> Result<bool, Refusal> {
    let marks = marks.iter().map(hex::decode).collect::<Result<BTreeSet<_>, _>>();
    let marks = marks.map_err(|_| Refusal::Internal("a mark of an export is not hexadecimal"))?;
    let still = organization.records.still_waiting(marks).await?;
    if still.is_empty() {
        return Ok(false);
    }
    // Whoever writes one says so in a moment; after that, its process may be gone.
    if !may_be_under_way(job.began, clock()) && *find_out <= Instant::now() {
        *find_out = Instant::now() + FIND_OUT;
        unless_later(organization.records.find_out(&still).await)?;
    }
    Ok(true)
}

/// That somebody cannot be asked now is no reason to give an export up.
fn unless_later(outcome: Result<(), Refusal>) -> Result<(), Refusal> {
    match outcome {
        Err(Refusal::LedgerUnavailable | Refusal::Busy) => Ok(()),
        other => other,
    }
}

/// What is another once the index was emptied, where that has every change up to `through`; gives it what it lacks,
/// unless somebody else is at that.
async fn filled(organization: &Organization, through: u64) -> Result<Option<Option<Vec<u8>>>, Refusal> {
    let stamp = organization.records.index_stamp().await?;
    let is_filled = async || organization.index.run(Index::last_applied).await.map(|applied| applied >= through);
    if is_filled().await? {
        return Ok(Some(stamp));
    }
    if organization.records.try_bring_up_to_date().await? && !is_filled().await? {
        return Err(Refusal::Internal("the vault has fewer changes than when an export began"));
    }
    // At the next attempt.
    Ok(None)
}

/// Puts down in the access log that a client did something with an export, or that a patient's records are in it.
pub async fn log(
    organization: &Organization,
    action: Action,
    client: &str,
    scope: &Scope,
    patient: Option<&str>,
    origin: &Origin,
) -> Result<(), Refusal> {
    let operation = Entity { resource_type: "$export".to_owned(), id: None, version: None, query: None };
    let group = match scope {
        Scope::Group { id, version } => Some(Entity {
            resource_type: "Group".to_owned(),
            id: Some(id.clone()),
            version: Some(*version),
            query: None,
        }),
        Scope::System | Scope::Patients => None,
    };
    let access = Access {
        action,
        outcome: Outcome::Permitted,
        agent: Agent::Client(client.to_owned()),
        purpose: None,
        patient: patient.map(str::to_owned),
        entities: std::iter::once(operation).chain(group).collect(),
        grant: None,
        origin: origin.clone(),
    };
    organization.audit.record(access, Durability::Ordered).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four times a second all that was waited for was read, however long that took.
    #[test]
    fn whoever_waits_longer_looks_less_often() {
        let after = |seconds| until_next_look(Duration::from_secs(seconds)).as_millis();
        assert_eq!([0, 1, 4, 10, 20, 604_800].map(after), [250, 250, 1_000, 2_500, 5_000, 5_000]);
    }

    /// Of machines whose clocks differ by an hour, one waited an hour for what the other put down.
    #[test]
    fn what_another_machines_clock_said_keeps_no_export_waiting() {
        let waits = |retry_at| rest(retry_at, 10_000).as_secs();
        assert_eq!([0, 9_999, 10_000, 10_001, 10_300, 10_301, 13_600, i64::MAX].map(waits), [0, 0, 0, 1, 300, 0, 0, 0]);
        let under_way = |began| may_be_under_way(began, 10_000);
        assert_eq!([0, 9_995, 9_996, 10_000, 10_001, 13_600].map(under_way), [false, false, true, true, false, false]);
    }

    /// An export ended after three quarters of an hour without a ledger, before its first step.
    #[test]
    fn a_ledger_that_does_not_answer_is_waited_for_and_a_fault_is_one() {
        for later in [Refusal::LedgerUnavailable, Refusal::Busy] {
            assert_eq!(unless_later(Err(later)), Ok(()));
        }
        for fault in [Refusal::Internal("the vault failed"), Refusal::Lost("a body"), Refusal::StorageFull] {
            assert_eq!(unless_later(Err(fault.clone())), Err(fault));
        }
        assert_eq!(unless_later(Ok(())), Ok(()));
    }
}
