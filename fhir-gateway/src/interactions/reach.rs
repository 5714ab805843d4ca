//! Which resources the caller's scopes reach: docs/api/auth.md
//!
//! In the index it is a condition of every query ([`sight`]). What the index named is judged once more by
//! what it says as it was read, and so is every read by id and everything that is about to be written. Search
//! parameters are compared by the same tables and statements as in a search.
//!
//! What was deleted says nothing any more and meets no search parameter.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, patients_of_version};
use crate::{
    auth::{
        reach::{Part, Reach},
        scopes::Interaction,
    },
    export::lines::there,
    hooks::Proposed,
    index::sight::{self, Limited, Sight},
    json::quoted,
    outcome::Refusal,
    records::{Change, Content, Stored},
    remote::merge::Opened,
    resources::{Access, Resource, resources},
    search::Criterion,
};

mod judging;

use judging::judge_for;

/// What decides whether a resource is reached.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// Its type.
    pub resource_type: &'a str,
    /// Its id here.
    pub id: &'a str,
    /// Whether it is about the caller's patient and nobody else.
    pub is_own: bool,
    /// It, as JSON; none where it has no elements.
    pub json: Option<&'a [u8]>,
}

impl<'a> Judged<'a> {
    /// A version, by whom it says that it is about.
    fn of(context: &Context<'_>, stored: &'a Stored) -> Self {
        let own = context.caller.patient.as_deref();
        let is_own = own.is_some() && stored.about() == own;
        Self { resource_type: &stored.resource_type, id: &stored.id, is_own, json: json_of(&stored.content) }
    }

    /// The same, by the Patients whom a version is found to be about.
    fn about(context: &Context<'_>, stored: &'a Stored, patients: &BTreeSet<String>) -> Self {
        let own = context.caller.patient.as_deref();
        let is_own = own.is_some_and(|own| patients.len() == 1 && patients.contains(own));
        Self { is_own, ..Self::of(context, stored) }
    }
}

fn json_of(content: &Content) -> Option<&[u8]> {
    match content {
        Content::Json(bytes) => Some(bytes),
        Content::Raw { .. } | Content::Deleted => None,
    }
}

/// What the caller may do this with: a condition of every query on the index.
pub fn sight(context: &Context<'_>, interaction: Interaction) -> Sight {
    let mut sight = Sight { patient: context.caller.patient.clone(), ..Sight::default() };
    for kind in resources().filter(|kind| kind.access == Access::Full) {
        match context.caller.reach(interaction, kind.name) {
            Reach::Whole => sight.whole.push(kind.name),
            reach if reach.is_constrained() => sight.limited.extend(limited(context, kind, &reach)),
            // All of one patient's, or nothing.
            Reach::Parts(parts) if !parts.is_empty() => sight.own.push(kind.name),
            Reach::Parts(_) => {}
        }
    }
    sight
}

fn limited(context: &Context<'_>, kind: &'static Resource, reach: &Reach<'_>) -> Option<Limited> {
    let Reach::Parts(parts) = reach else { return None };
    let part =
        |part: &Part<'_>| sight::Part { is_own: part.patient.is_some(), criteria: criteria(context, kind, part) };
    Some(Limited { resource: kind, parts: parts.iter().map(part).collect() })
}

fn criteria(context: &Context<'_>, kind: &'static Resource, part: &Part<'_>) -> Vec<Criterion> {
    let base_url = &context.organization.base_url;
    part.constraint.map_or_else(Vec::new, |constraint| constraint.criteria(kind, base_url))
}

/// Whether each of `judged` is reached.
///
/// # Errors
/// Faults of this server.
pub async fn judge(
    context: &Context<'_>,
    interaction: Interaction,
    judged: &[Judged<'_>],
) -> Result<Vec<bool>, Refusal> {
    judge_for(context, &[interaction], judged).await
}

/// Whether one resource is reached.
///
/// # Errors
/// As [`judge`].
pub async fn is_reached(context: &Context<'_>, interaction: Interaction, judged: Judged<'_>) -> Result<bool, Refusal> {
    Ok(judge(context, interaction, &[judged]).await? == [true])
}

/// The same answer, and where there is none after as long as one that is out of reach takes: a resource that says
/// nothing is judged in its place.
///
/// # Errors
/// That of `found`, and as [`judge`].
pub async fn or_as_hidden(
    context: &Context<'_>,
    interaction: Interaction,
    resource_type: &str,
    found: Result<Stored, Refusal>,
) -> Result<Stored, Refusal> {
    if found == Err(Refusal::NotFound) && context.caller.reach(interaction, resource_type).is_constrained() {
        let json = format!("{{\"resourceType\":{}}}", quoted(resource_type));
        let nothing = Judged { resource_type, id: "", is_own: true, json: Some(json.as_bytes()) };
        is_reached(context, interaction, nothing).await?;
    }
    found
}

/// Refuses a version that the caller may not do this with as if it did not exist.
///
/// # Errors
/// [`Refusal::NotFound`].
pub async fn may_see(context: &Context<'_>, interaction: Interaction, stored: &Stored) -> Result<(), Refusal> {
    let is_reached = is_reached(context, interaction, Judged::of(context, stored)).await?;
    if is_reached { Ok(()) } else { Err(Refusal::NotFound) }
}

/// Refuses what another custodian opened and the caller may not read as if it did not exist. `id` is its id here.
///
/// # Errors
/// [`Refusal::NotFound`].
pub async fn may_read_opened(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    opened: &Opened,
) -> Result<(), Refusal> {
    let is_own = context.caller.patient.as_deref() == Some(&opened.patient);
    // A Binary in its own format has no elements.
    let json = opened.content_type.starts_with("application/fhir+json").then_some(&*opened.bytes);
    let judged = Judged { resource_type, id, is_own, json };
    if is_reached(context, Interaction::Read, judged).await? { Ok(()) } else { Err(Refusal::NotFound) }
}

/// Those of the versions that the caller may do this with, in their order.
///
/// # Errors
/// As [`judge`].
pub async fn visible(
    context: &Context<'_>,
    interaction: Interaction,
    versions: Vec<Stored>,
) -> Result<Vec<Stored>, Refusal> {
    let judged: Vec<Judged<'_>> = versions.iter().map(|stored| Judged::of(context, stored)).collect();
    let is_visible = judge(context, interaction, &judged).await?;
    Ok(versions.into_iter().zip(is_visible).filter(|(_, is_visible)| *is_visible).map(|(stored, _)| stored).collect())
}

/// Refuses a version that the caller may not read as if it did not exist; gives the local Patients
/// whom it is about. An older version is for those only who may read the resource as it is now, too, where
/// search parameters decide.
///
/// # Errors
/// [`Refusal::NotFound`].
pub async fn readable(context: &Context<'_>, stored: &Stored) -> Result<BTreeSet<String>, Refusal> {
    let patients = permit_read(context, stored).await?;
    if context.caller.reach(Interaction::Read, &stored.resource_type).is_constrained() {
        let latest = context.organization.records.latest(&stored.resource_type, &stored.id).await?;
        if latest.version != stored.version {
            permit_read(context, &latest).await?;
        }
    }
    Ok(patients)
}

/// Refuses a version for what it says itself; gives the local Patients whom it is about.
async fn permit_read(context: &Context<'_>, stored: &Stored) -> Result<BTreeSet<String>, Refusal> {
    let patients = patients_of_version(context, stored).await?;
    let judged = Judged::about(context, stored, &patients);
    if is_reached(context, Interaction::Read, judged).await? { Ok(patients) } else { Err(Refusal::NotFound) }
}

/// As [`readable`] of each, judged together; none of what the caller may not read.
///
/// # Errors
/// As [`judge`].
pub async fn readable_each(
    context: &Context<'_>,
    versions: &[Stored],
) -> Result<Vec<Option<BTreeSet<String>>>, Refusal> {
    readable_of(context, &[Interaction::Read], versions).await
}

/// As [`readable_each`], of what the caller may also find.
///
/// # Errors
/// As [`judge`].
pub async fn found_and_readable_each(
    context: &Context<'_>,
    versions: &[Stored],
) -> Result<Vec<Option<BTreeSet<String>>>, Refusal> {
    readable_of(context, &[Interaction::Search, Interaction::Read], versions).await
}

async fn readable_of(
    context: &Context<'_>,
    interactions: &[Interaction],
    versions: &[Stored],
) -> Result<Vec<Option<BTreeSet<String>>>, Refusal> {
    let mut patients = Vec::with_capacity(versions.len());
    for stored in versions {
        patients.push(patients_of_version(context, stored).await?);
    }
    let newest = newest(context, versions).await?;
    let found = newest.values().flatten().map(|(stored, about)| (stored, about));
    let all = versions.iter().zip(&patients).chain(found);
    let all: Vec<Judged<'_>> = all.map(|(stored, about)| Judged::about(context, stored, about)).collect();
    let is_reached = judge_for(context, interactions, &all).await?;
    let (is_reached, of_newest) = is_reached.split_at(versions.len());
    let mut of_newest = of_newest.iter().copied();
    // What is not there any more is not reached.
    let is_now = |found: &Option<_>| found.is_some() && of_newest.next() == Some(true);
    let now: BTreeMap<(&str, &str), bool> = newest.keys().copied().zip(newest.values().map(is_now)).collect();
    let about = versions.iter().zip(patients).zip(is_reached).map(|((stored, patients), is_reached)| {
        let is_reached_now = now.get(&(stored.resource_type.as_str(), stored.id.as_str())).copied();
        (*is_reached && is_reached_now.unwrap_or(true)).then_some(patients)
    });
    Ok(about.collect())
}

/// Resources by type and id, each with the Patients whom it is about; none where it is not there.
type Newest<'a> = BTreeMap<(&'a str, &'a str), Option<(Stored, BTreeSet<String>)>>;

/// The resources as they are now of which there are older ones among `versions`, where search parameters decide.
async fn newest<'a>(context: &Context<'_>, versions: &'a [Stored]) -> Result<Newest<'a>, Refusal> {
    let mut newest = BTreeMap::new();
    for stored in versions {
        let name = (stored.resource_type.as_str(), stored.id.as_str());
        if newest.contains_key(&name) || !context.caller.reach(Interaction::Read, name.0).is_constrained() {
            continue;
        }
        let Some(latest) = there(context.organization.records.latest(name.0, name.1).await)? else {
            newest.insert(name, None);
            continue;
        };
        if latest.version != stored.version {
            let patients = patients_of_version(context, &latest).await?;
            newest.insert(name, Some((latest, patients)));
        }
    }
    Ok(newest)
}

/// Refuses what would be written and is not within the caller's scopes once it is: as a whole, before
/// anything is. Whose it is about was asked before, of everybody.
///
/// # Errors
/// [`Refusal::Forbidden`], with the place of the entry.
pub async fn permit_written(context: &Context<'_>, proposed: &[Proposed]) -> Result<(), Refusal> {
    for interaction in [Interaction::Create, Interaction::Update] {
        let is_constrained =
            |judged: &Judged<'_>| context.caller.reach(interaction, judged.resource_type).is_constrained();
        let written = proposed.iter().filter_map(|proposed| {
            let judged = written(context, &proposed.change, interaction).filter(is_constrained)?;
            Some((proposed.entry, judged))
        });
        let (entries, judged): (Vec<Option<usize>>, Vec<Judged<'_>>) = written.unzip();
        let is_permitted = judge(context, interaction, &judged).await?;
        if let Some(at) = is_permitted.iter().position(|is_permitted| !is_permitted) {
            let needed = format!("system/{}.{}", judged[at].resource_type, interaction.letter());
            return Err(Refusal::Forbidden(needed).of_entry(entries[at]));
        }
    }
    Ok(())
}

/// What a change of that kind puts there.
fn written<'a>(context: &Context<'_>, change: &'a Change, interaction: Interaction) -> Option<Judged<'a>> {
    let (resource_type, id, content, patient) = match (change, interaction) {
        (Change::Create { resource_type, id, content, patient }, Interaction::Create)
        | (Change::Update { resource_type, id, content, patient, .. }, Interaction::Update) => {
            (resource_type, id, content, patient)
        }
        _ => return None,
    };
    let own = context.caller.patient.as_deref();
    let about = patient.as_deref().or((resource_type == "Patient").then_some(id.as_str()));
    Some(Judged { resource_type, id, is_own: own.is_some() && about == own, json: json_of(content) })
}
