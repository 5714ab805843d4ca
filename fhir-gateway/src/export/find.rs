//! What one step of an export finds: the next versions of a type that are asked for and may be read, as they were at
//! its time.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    job::{ELSEWHERE, Export, Kind, Line, Scope, Step, pairs},
    lines,
};
use crate::{
    auth::scopes::Interaction,
    index::export::{Row, Wanted, Which, Whom},
    interactions::{
        Context,
        reach::readable_each,
        search::{elsewhere, value_sets},
        sight,
    },
    json::instant,
    outcome::Refusal,
    records::{Content, Stored},
    resources::{Resource, resource},
    search::{Handling, Query},
};

/// Resources that one step looks at.
const RESOURCES_PER_STEP: u32 = 500;
/// Bytes of resources that are judged at once. A single one may be larger.
const JUDGED_BYTES: usize = 4 * 1024 * 1024;
/// Patients for whom one step asks other custodians.
const PATIENTS_PER_STEP: u32 = 20;

/// What one step found.
pub struct Found {
    /// For which files.
    pub kind: Kind,
    /// Of which type.
    pub resource_type: &'static str,
    /// What they hold.
    pub lines: Vec<Line>,
    /// What went wrong.
    pub outcomes: Vec<Line>,
    /// Whom the lines are about.
    pub patients: BTreeSet<String>,
    /// Where the next part begins, if there is one.
    pub next: Option<String>,
}

/// What the next part of a step finds; none where the index lacks what it must have.
pub async fn found(context: &Context<'_>, export: &Export, step: Step) -> Result<Option<Found>, Refusal> {
    match step {
        Step::Live(kind) => resources(context, export, kind, Which::Live).await,
        Step::Deleted(kind) => resources(context, export, kind, Which::Deleted).await,
        Step::Elsewhere => others(context, export).await,
    }
}

/// The next resources of a type.
async fn resources(
    context: &Context<'_>,
    export: &Export,
    kind: &'static Resource,
    which: Which,
) -> Result<Option<Found>, Refusal> {
    let order = &export.order;
    let queries = match which {
        Which::Live => {
            let sets = value_sets::named(context, &order.pairs(), Some(&order.sets)).await?;
            order.queries(kind, &context.organization.base_url, &sets)?
        }
        Which::Deleted => vec![Query::all(kind)],
    };
    let mut found = Vec::with_capacity(queries.len());
    for query in &queries {
        let wanted = wanted(context, export, query.clone(), which, RESOURCES_PER_STEP)?;
        let Some(part) = context.organization.index.run(move |index| index.export(&wanted)).await? else {
            return Ok(None);
        };
        found.push(part);
    }
    let (rows, next) = first_of_all(found, RESOURCES_PER_STEP as usize);
    let members = lines::members(context, order).await?;
    let is_filtered = order.filters.iter().any(|(name, _)| name == kind.name);
    let (mut together, mut bytes, mut seen) = (Vec::new(), 0, Vec::new());
    for row in rows {
        // Reading blocks: others get their turn between two resources.
        tokio::task::yield_now().await;
        if members.as_ref().is_some_and(|members| row.patients.is_disjoint(members)) {
            continue;
        }
        let Some(stored) = pinned(context, export, kind, which, &row).await? else { continue };
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
    Ok(Some(Found { kind: kind_of_file, resource_type: kind.name, lines, outcomes: Vec::new(), patients, next }))
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

fn wanted(
    context: &Context<'_>,
    export: &Export,
    mut query: Query,
    which: Which,
    count: u32,
) -> Result<Wanted, Refusal> {
    let Export { order, job } = export;
    // What is out of sight is not even read.
    query.see(sight(context, Interaction::Search))?;
    let whom = if order.scope == Scope::System { Whom::Anybody } else { Whom::Patients };
    Ok(Wanted { query, which, whom, since: order.since, after: job.after.clone(), count, through: job.through })
}

/// The version that was current at the export's time, where there was one that is asked for.
async fn pinned(
    context: &Context<'_>,
    export: &Export,
    kind: &Resource,
    which: Which,
    row: &Row,
) -> Result<Option<Stored>, Refusal> {
    let Export { order, job } = export;
    let earliest = order.since.unwrap_or(i64::MIN);
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
async fn others(context: &Context<'_>, export: &Export) -> Result<Option<Found>, Refusal> {
    let order = &export.order;
    let patient = resource("Patient").ok_or(Refusal::Internal("Patient is not kept"))?;
    let kind = resource(ELSEWHERE).ok_or(Refusal::Internal("DocumentReference is not kept"))?;
    let wanted =
        Wanted { since: None, ..wanted(context, export, Query::all(patient), Which::Live, PATIENTS_PER_STEP)? };
    let Some(rows) = context.organization.index.run(move |index| index.export(&wanted)).await? else {
        return Ok(None);
    };
    let next = rows.last().filter(|_| rows.len() == PATIENTS_PER_STEP as usize).map(|row| row.id.clone());
    let members = lines::members(context, order).await?;
    let own = order.filters.iter().filter(|(name, _)| name == kind.name);
    let mut searches: Vec<Vec<(String, String)>> = own.map(|(_, query)| pairs(query)).collect();
    if searches.is_empty() {
        searches.push(Vec::new());
    }
    let sets = value_sets::named(context, &order.pairs(), Some(&order.sets)).await?;
    let (mut ids, mut outcomes, mut patients) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for row in rows.iter().filter(|row| members.as_ref().is_none_or(|members| members.contains(&row.id))) {
        for search in &searches {
            let mut search = search.clone();
            search.push(("patient".to_owned(), format!("Patient/{}", row.id)));
            search.extend(order.since.map(|since| ("_lastUpdated".to_owned(), format!("ge{}", instant(since)))));
            let base_url = &context.organization.base_url;
            let query = Query::parse_among(kind, &search, Handling::Strict, base_url, &sets)?;
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
    Ok(Some(Found { kind: Kind::Elsewhere, resource_type: kind.name, lines, outcomes, patients, next }))
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
