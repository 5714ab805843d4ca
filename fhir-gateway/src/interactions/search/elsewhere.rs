//! What consent opens at other custodians, beside what a search finds here. docs/api/exchange.md

use std::collections::BTreeSet;

use crate::{
    auth::scopes::Interaction,
    index::Unlisted,
    interactions::{
        Context,
        reach::{Judged, judge},
    },
    json::Document,
    outcome::Refusal,
    remote::merge,
    search::Query,
};

/// What other custodians hold that meets the same criteria.
#[derive(Default)]
pub struct Elsewhere {
    /// Id here and bytes as they are served.
    pub found: Vec<(String, Vec<u8>)>,
    /// What custodians did not answer.
    pub gaps: Vec<serde_json::Value>,
    /// Local ids of the Patients of whom something was found.
    pub patients: BTreeSet<String>,
}

/// What other custodians hold of the patients that `query` names, and consent opens.
pub async fn elsewhere(context: &Context<'_>, query: &Query) -> Result<Elsewhere, Refusal> {
    let Elsewhere { mut found, mut gaps, mut patients } = Elsewhere::default();
    if !merge::REMOTE_TYPES.contains(&query.resource.name) {
        return Ok(Elsewhere::default());
    }
    let own = context.caller.compartment(Interaction::Search, query.resource.name);
    let asked: BTreeSet<&str> =
        query.patients().into_iter().filter(|patient| own.is_none_or(|own| own == *patient)).collect();
    for patient in asked {
        let by = context.caller.on_behalf_of(Interaction::Search, query.resource.name);
        let entries = merge::search(context.organization, query.resource.name, patient, by).await?;
        for entry in reached(context, query.resource.name, patient, entries).await? {
            match entry {
                merge::Entry::Found { id, resource } => {
                    patients.insert(patient.to_owned());
                    found.push((id, resource.to_string().into_bytes()));
                }
                merge::Entry::Gap(outcome) => gaps.push(outcome),
            }
        }
    }
    if !found.is_empty() {
        let documents = found.iter().map(|(id, bytes)| Ok((id.clone(), Document::parse(bytes.clone())?)));
        let documents = documents.collect::<Result<Vec<_>, Refusal>>()?;
        let matching = matching(context, query, documents).await?;
        found.retain(|(id, _)| matching.contains(id));
    }
    Ok(Elsewhere { found, gaps, patients })
}

/// Without what the caller's scopes do not reach.
async fn reached(
    context: &Context<'_>,
    resource_type: &str,
    patient: &str,
    entries: Vec<merge::Entry>,
) -> Result<Vec<merge::Entry>, Refusal> {
    if !context.caller.reach(Interaction::Search, resource_type).is_constrained() {
        return Ok(entries);
    }
    let is_own = context.caller.patient.as_deref() == Some(patient);
    let mut reached = Vec::with_capacity(entries.len());
    let (found, gaps): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| matches!(entry, merge::Entry::Found { .. }));
    let json = |entry: &merge::Entry| match entry {
        merge::Entry::Found { id, resource } => (id.clone(), resource.to_string().into_bytes()),
        merge::Entry::Gap(_) => (String::new(), Vec::new()),
    };
    let written: Vec<(String, Vec<u8>)> = found.iter().map(json).collect();
    let judged: Vec<Judged<'_>> =
        written.iter().map(|(id, json)| Judged { resource_type, id, is_own, json: Some(json) }).collect();
    let is_reached = judge(context, Interaction::Search, &judged).await?;
    reached.extend(found.into_iter().zip(is_reached).filter(|(_, is_reached)| *is_reached).map(|(entry, _)| entry));
    reached.extend(gaps);
    Ok(reached)
}

/// Ids of those among `documents`, which are not in the index, that meet the criteria of `query`.
pub async fn matching(
    context: &Context<'_>,
    query: &Query,
    documents: Vec<(String, Document)>,
) -> Result<BTreeSet<String>, Refusal> {
    if documents.is_empty() {
        return Ok(BTreeSet::new());
    }
    let resource_type = query.resource.name;
    let unlisted = |(name, document)| Unlisted { resource_type, name, document };
    let (documents, queries) = (documents.into_iter().map(unlisted).collect::<Vec<_>>(), vec![query.clone()]);
    let met = context.organization.index.run(move |index| index.matching(&documents, &queries)).await?;
    Ok(met.into_iter().next().unwrap_or_default())
}
