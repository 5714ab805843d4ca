//! Which resources the caller's scopes reach: docs/api/auth.md
//!
//! In the index it is a condition of every query ([`sight`]). What the index named is judged once more by
//! what it says as it was read, and so is every read by id and everything that is about to be written. Search
//! parameters are compared by the same tables and statements as in a search.
//!
//! What was deleted says nothing any more and meets no search parameter.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, patients_of_version, search::elsewhere};
use crate::{
    auth::{
        reach::{Part, Reach},
        scopes::Interaction,
    },
    hooks::Proposed,
    index::sight::{self, Limited, Sight},
    json::{Document, quoted},
    outcome::Refusal,
    records::{Change, Content, Stored},
    remote::merge::Opened,
    resources::{Access, Resource, resource, resources},
    search::{Criterion, Query, Subject, Wanted},
};

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
    let mut is_reached = vec![false; judged.len()];
    let mut by_type: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, judged) in judged.iter().enumerate() {
        by_type.entry(judged.resource_type).or_default().push(at);
    }
    for (resource_type, all) in by_type {
        let parts = match context.caller.reach(interaction, resource_type) {
            Reach::Whole => {
                all.into_iter().for_each(|at| is_reached[at] = true);
                continue;
            }
            Reach::Parts(parts) => parts,
        };
        for part in parts {
            let candidates: Vec<usize> = all
                .iter()
                .copied()
                .filter(|at| !is_reached[*at] && (part.patient.is_none() || judged[*at].is_own))
                .collect();
            let kind = resource(resource_type).filter(|_| part.constraint.is_some());
            let met = match kind {
                None if part.constraint.is_some() => Vec::new(),
                None => candidates,
                Some(kind) => meeting(context, kind, &criteria(context, kind, &part), judged, candidates).await?,
            };
            met.into_iter().for_each(|at| is_reached[at] = true);
        }
    }
    Ok(is_reached)
}

/// Those of `candidates`, which are places in `judged`, that meet all criteria.
async fn meeting(
    context: &Context<'_>,
    kind: &'static Resource,
    criteria: &[Criterion],
    judged: &[Judged<'_>],
    candidates: Vec<usize>,
) -> Result<Vec<usize>, Refusal> {
    // Several versions of one resource may be judged, so that each is compared under a name of its own.
    let (ids, others): (Vec<&Criterion>, Vec<&Criterion>) =
        criteria.iter().partition(|criterion| matches!(criterion.subject, Subject::Id));
    let has_id = |at: &usize| ids.iter().all(|ids| ids.wanted.contains(&Wanted::Id(judged[*at].id.to_owned())));
    let candidates: Vec<usize> = candidates.into_iter().filter(has_id).collect();
    if others.is_empty() {
        return Ok(candidates.into_iter().filter(|at| judged[*at].json.is_some()).collect());
    }
    let mut documents = Vec::with_capacity(candidates.len());
    for at in candidates {
        if let Some(json) = judged[at].json {
            documents.push((at.to_string(), Document::parse(json.to_vec())?));
        }
    }
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    let query = Query { criteria: others.into_iter().cloned().collect(), ..Query::all(kind) };
    let met = elsewhere::matching(context, &query, documents).await?;
    Ok(met.iter().filter_map(|at| at.parse().ok()).collect())
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
    let own = context.caller.patient.as_deref();
    let is_own = own.is_some_and(|own| patients.len() == 1 && patients.contains(own));
    let judged = Judged { is_own, ..Judged::of(context, stored) };
    if is_reached(context, Interaction::Read, judged).await? { Ok(patients) } else { Err(Refusal::NotFound) }
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
