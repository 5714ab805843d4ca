//! The work on exports, in the background: one step of each that runs, in turn, so that a small one does not
//! wait for a large one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    job::{ELSEWHERE, End, Job, Kind, Line, Scope, Step, pairs},
    lines,
};
use crate::{
    audit::{Access, Action, Agent, Entity, Origin, Outcome},
    auth::{clock, scopes::Interaction},
    index::{
        Index,
        export::{Row, Wanted, Which, Whom},
    },
    interactions::{Context, condition::Locks, reach::readable_each, search::elsewhere, sight},
    json::instant,
    organization::Organization,
    outcome::Refusal,
    records::{Content, Stored},
    resources::{Resource, resource},
    search::{Handling, Query},
    vault::Durability,
};

/// Resources that one step looks at.
const RESOURCES_PER_STEP: u32 = 500;
/// Bytes of resources that are judged at once. A single one may be larger.
const JUDGED_BYTES: usize = 4 * 1024 * 1024;
/// Patients for whom one step asks other custodians.
const PATIENTS_PER_STEP: u32 = 20;
/// Attempts at one step before an export is given up: about three quarters of an hour.
const FAILURES_MAX: u32 = 15;
/// Longest pause between two of them, in seconds.
const RETRY_SECONDS_MAX: i64 = 300;
/// Pause while an export waits for writes that were under way when it was asked for.
const SETTLING: Duration = Duration::from_millis(250);
/// Longest time between two looks at what has expired.
const IDLE: Duration = Duration::from_secs(60);

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// A step was made.
    Moved,
    /// It is too early for one.
    Waits,
}

/// What one step found.
struct Found {
    kind: Kind,
    resource_type: &'static str,
    lines: Vec<Line>,
    outcomes: Vec<Line>,
    patients: BTreeSet<String>,
    /// Where the next part begins, if there is one.
    next: Option<String>,
}

/// Works on the exports of an organization until it is gone.
pub async fn work(organization: Weak<Organization>) {
    let Some(owner) = organization.upgrade() else { return };
    let wake = Arc::clone(&owner.exports.wake);
    if let Err(refusal) = owner.exports.sweep_orphans().await {
        tracing::warn!(%refusal, "what is left of removed exports could not be removed; the next start tries again");
    }
    drop(owner);
    loop {
        let Some(owner) = organization.upgrade() else { return };
        let pause = round(&owner).await;
        drop(owner);
        match pause {
            None => tokio::task::yield_now().await,
            // Until somebody asks for an export or it is time: both are reasons to look.
            Some(pause) => drop(tokio::time::timeout(pause, wake.notified()).await),
        }
    }
}

/// One step of each; how long to wait before the next round, if at all.
async fn round(organization: &Organization) -> Option<Duration> {
    if let Err(refusal) = organization.exports.expire().await {
        tracing::warn!(%refusal, "an expired export could not be removed; it is tried again");
    }
    let (mut pause, mut has_moved) = (IDLE, false);
    for job in organization.exports.running() {
        let before = job.clone();
        match attempt(organization, job).await {
            Ok(Attempt::Moved) => has_moved = true,
            Ok(Attempt::Waits) => pause = SETTLING,
            Err(refusal) => {
                failed(organization, before, &refusal).await;
                pause = SETTLING;
            }
        }
    }
    if has_moved { None } else { Some(pause) }
}

async fn failed(organization: &Organization, mut job: Job, refusal: &Refusal) {
    job.failures += 1;
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

async fn attempt(organization: &Organization, mut job: Job) -> Result<Attempt, Refusal> {
    if job.retry_at > clock() || waits(organization, &job).await? {
        return Ok(Attempt::Waits);
    }
    let Some(caller) = organization.authority.acting(&job.client, &job.scopes) else {
        tracing::info!(export = job.id, "the client of an export is registered no more");
        organization.exports.forget(&job.id).await?;
        return Ok(Attempt::Moved);
    };
    let locks = Locks::of(organization.records.clone());
    let context = Context::in_background(organization, &locks, &caller);
    (job.waiting, job.failures) = (Vec::new(), 0);
    let Some(step) = job.order.steps().get(job.step).copied() else {
        job.end = Some((clock(), End::Complete));
        organization.exports.advance(job, Vec::new(), &BTreeSet::new()).await?;
        return Ok(Attempt::Moved);
    };
    let found = match step {
        Step::Live(kind) => resources(&context, &job, kind, Which::Live).await?,
        Step::Deleted(kind) => resources(&context, &job, kind, Which::Deleted).await?,
        Step::Elsewhere => others(&context, &job).await?,
    };
    let unseen = organization.exports.unseen(&job.id, found.patients)?;
    // Before the files can be had.
    for patient in &unseen {
        log(organization, Action::Execute, &job.client, &job.order.scope, Some(patient), Origin::UNKNOWN).await?;
    }
    match found.next {
        Some(next) => job.after = next,
        None => (job.step, job.after) = (job.step + 1, String::new()),
    }
    let mut pieces = job.append(found.kind, found.resource_type, found.lines);
    pieces.extend(job.append(Kind::Error, "OperationOutcome", found.outcomes));
    organization.exports.advance(job, pieces, &unseen).await?;
    Ok(Attempt::Moved)
}

/// Whether it is too early for the first step: a version that was being written when the export was asked for may
/// carry a time before that of the export, and the index must have every version that is visible.
async fn waits(organization: &Organization, job: &Job) -> Result<bool, Refusal> {
    if job.step > 0 || !job.after.is_empty() {
        return Ok(false);
    }
    for mark in &job.waiting {
        let mark = hex::decode(mark).map_err(|_| Refusal::Internal("a mark of an export is not hexadecimal"))?;
        if organization.records.is_waiting(&mark).await? {
            return Ok(true);
        }
    }
    // A mark is gone a moment before its version is in the index, and this waits for that moment.
    let last = organization.records.last_change().await?;
    Ok(organization.index.run(Index::last_applied).await? < last)
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

/// The next resources of a type.
async fn resources(context: &Context<'_>, job: &Job, kind: &'static Resource, which: Which) -> Result<Found, Refusal> {
    let queries = match which {
        Which::Live => job.order.queries(kind, &context.organization.base_url)?,
        Which::Deleted => vec![Query::all(kind)],
    };
    let mut found = Vec::with_capacity(queries.len());
    for query in &queries {
        let wanted = wanted(context, job, query.clone(), which, RESOURCES_PER_STEP)?;
        found.push(context.organization.index.run(move |index| index.export(&wanted)).await?);
    }
    let (rows, next) = first_of_all(found, RESOURCES_PER_STEP as usize);
    let members = lines::members(context, &job.order).await?;
    let is_filtered = job.order.filters.iter().any(|(name, _)| name == kind.name);
    let (mut together, mut bytes, mut seen) = (Vec::new(), 0, Vec::new());
    for row in rows {
        // Reading blocks: others get their turn between two resources.
        tokio::task::yield_now().await;
        if members.as_ref().is_some_and(|members| row.patients.is_disjoint(members)) {
            continue;
        }
        let Some(stored) = pinned(context, job, kind, which, &row).await? else { continue };
        let is_other = stored.version != row.version;
        // As it was then it may have been about somebody else than it is now.
        if let Some(members) = members.as_ref().filter(|_| is_other)
            && lines::patients_of(kind, &stored, &context.organization.base_url)?.is_disjoint(members)
        {
            continue;
        }
        if is_filtered && is_other && !lines::meets(context, &queries, &stored).await? {
            continue;
        }
        bytes += stored.content.bytes().len();
        together.push((stored, row.patients));
        if bytes >= JUDGED_BYTES {
            bytes = 0;
            seen.extend(readable(context, std::mem::take(&mut together)).await?);
        }
    }
    seen.extend(readable(context, together).await?);
    let line = match which {
        Which::Live => Line::Version,
        Which::Deleted => Line::Deleted,
    };
    let (lines, about): (Vec<Line>, Vec<BTreeSet<String>>) =
        seen.into_iter().map(|(id, version, about)| (line(id, version), about)).unzip();
    let patients = about.into_iter().flatten().collect();
    let kind_of_file = match which {
        Which::Live => Kind::Output,
        Which::Deleted => Kind::Deleted,
    };
    Ok(Found { kind: kind_of_file, resource_type: kind.name, lines, outcomes: Vec::new(), patients, next })
}

/// Id and version of those that the caller may read, and whom each is about, besides who is named beside it.
async fn readable(
    context: &Context<'_>,
    found: Vec<(Stored, BTreeSet<String>)>,
) -> Result<Vec<(String, u32, BTreeSet<String>)>, Refusal> {
    let (versions, beside): (Vec<Stored>, Vec<BTreeSet<String>>) = found.into_iter().unzip();
    let about = readable_each(context, &versions).await?;
    let all = versions.into_iter().zip(beside).zip(about);
    let seen = all.filter_map(|((stored, mut beside), about)| {
        beside.extend(about?);
        Some((stored.id, stored.version, beside))
    });
    Ok(seen.collect())
}

/// The first `count` of what several queries found, of each of which the first `count` are there; and the last of
/// them, where more may follow.
fn first_of_all(found: Vec<Vec<Row>>, count: usize) -> (Vec<Row>, Option<String>) {
    let rows: BTreeMap<String, Row> = found.into_iter().flatten().map(|row| (row.id.clone(), row)).collect();
    let rows: Vec<Row> = rows.into_values().take(count).collect();
    let next = rows.last().filter(|_| rows.len() == count).map(|row| row.id.clone());
    (rows, next)
}

fn wanted(context: &Context<'_>, job: &Job, mut query: Query, which: Which, count: u32) -> Result<Wanted, Refusal> {
    query.see(sight(context, Interaction::Search))?;
    let whom = if job.order.scope == Scope::System { Whom::Anybody } else { Whom::Patients };
    Ok(Wanted { query, which, whom, since: job.order.since, after: job.after.clone(), count })
}

/// The version that was current at the export's time, where there was one that is asked for.
async fn pinned(
    context: &Context<'_>,
    job: &Job,
    kind: &Resource,
    which: Which,
    row: &Row,
) -> Result<Option<Stored>, Refusal> {
    let earliest = job.order.since.unwrap_or(i64::MIN);
    for version in (1..=row.version).rev() {
        let stored = match context.organization.records.any_version(kind.name, &row.id, version).await {
            Ok(stored) => stored,
            Err(Refusal::NotFound) => return Ok(None),
            Err(other) => return Err(other),
        };
        if stored.last_updated > job.transaction_time {
            continue;
        }
        let is_deletion = stored.content == Content::Deleted;
        let is_asked_for = is_deletion == (which == Which::Deleted) && stored.last_updated >= earliest;
        return Ok(is_asked_for.then_some(stored));
    }
    Ok(None)
}

/// What consent opens at other custodians for the next Patients.
async fn others(context: &Context<'_>, job: &Job) -> Result<Found, Refusal> {
    let patient = resource("Patient").ok_or(Refusal::Internal("Patient is not kept"))?;
    let kind = resource(ELSEWHERE).ok_or(Refusal::Internal("DocumentReference is not kept"))?;
    let wanted = Wanted { since: None, ..wanted(context, job, Query::all(patient), Which::Live, PATIENTS_PER_STEP)? };
    let rows = context.organization.index.run(move |index| index.export(&wanted)).await?;
    let next = rows.last().filter(|_| rows.len() == PATIENTS_PER_STEP as usize).map(|row| row.id.clone());
    let members = lines::members(context, &job.order).await?;
    let own = job.order.filters.iter().filter(|(name, _)| name == kind.name);
    let mut searches: Vec<Vec<(String, String)>> = own.map(|(_, query)| pairs(query)).collect();
    if searches.is_empty() {
        searches.push(Vec::new());
    }
    let (mut ids, mut outcomes, mut patients) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for row in rows.iter().filter(|row| members.as_ref().is_none_or(|members| members.contains(&row.id))) {
        for search in &searches {
            let mut search = search.clone();
            search.push(("patient".to_owned(), format!("Patient/{}", row.id)));
            search.extend(job.order.since.map(|since| ("_lastUpdated".to_owned(), format!("ge{}", instant(since)))));
            let query = Query::parse(kind, &search, Handling::Strict, &context.organization.base_url)?;
            let found = elsewhere::elsewhere(context, &query).await?;
            ids.extend(found.found.into_iter().map(|(id, _)| id));
            patients.extend(found.patients);
            for gap in found.gaps.into_iter().map(Line::Outcome) {
                if !outcomes.contains(&gap) {
                    outcomes.push(gap);
                }
            }
        }
    }
    let lines = ids.into_iter().map(Line::Elsewhere).collect();
    Ok(Found { kind: Kind::Elsewhere, resource_type: kind.name, lines, outcomes, patients, next })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_meets_any_of_several_filters_is_gone_through_once_and_in_order(
            sets in proptest::collection::vec(proptest::collection::btree_set(0_u16..60, 0..40), 1..4),
            count in 1_usize..9,
        ) {
            let sets: Vec<BTreeSet<String>> =
                sets.iter().map(|set| set.iter().map(|number| format!("{number:03}")).collect()).collect();
            let (mut after, mut seen) = (String::new(), Vec::new());
            loop {
                let row = |id: &String| Row { id: id.clone(), version: 1, patients: BTreeSet::new() };
                let first = |set: &BTreeSet<String>| set.iter().filter(|id| **id > after).take(count).map(row).collect();
                let (rows, next) = first_of_all(sets.iter().map(first).collect(), count);
                seen.extend(rows.into_iter().map(|row| row.id));
                match next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            let expected: BTreeSet<String> = sets.into_iter().flatten().collect();
            prop_assert_eq!(seen, Vec::from_iter(expected));
        }
    }
}
