//! `GET /{type}?…` and `POST /{type}/_search`: docs/api/search.md

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use fhir_sdk::r4b::codes::{IssueSeverity, IssueType};
use serde_json::json;

use super::{
    Answer, Context, audit_event,
    bundle::{Size, Writer},
    kept, log_patients, permit, served,
};
use crate::{
    audit::{Action, Entity},
    auth::scopes::Interaction,
    index::{Index, Page},
    json::Document,
    outcome::{Issue, Refusal, operation_outcome},
    records::{Stored, blocking},
    remote::merge,
    resources::{Access, Resource},
    search::{CURSOR, Cursor, Query, Unsupported},
};

/// One page. For a patient's documents, what consent opens at other custodians stands after what
/// is local; a custodian that does not answer is an outcome entry on every page.
pub async fn search(context: &Context<'_>, resource_type: &str, pairs: &[(String, String)]) -> Result<Answer, Refusal> {
    let resource = kept(resource_type)?;
    let organization = context.organization;
    let mut query = Query::parse(resource, pairs, context.prefer.handling, &organization.base_url)?;
    for searched in query.types() {
        permit(context, searched, Interaction::Search)?;
    }
    restrict(context, resource, &mut query)?;
    if resource.access == Access::ReadOnly {
        return audit_event::search(context, &query).await;
    }
    let asked = query.clone();
    let page = organization.index.run(move |index| index.search(&asked)).await?;
    let Elsewhere { found, gaps, patients: remote } = elsewhere(context, &query).await?;
    let is_last = page.next.is_none();
    let local = if query.only_count { Vec::new() } else { local(context, resource, &page).await? };
    // One line for each patient on the page. A page that shows nobody still asked about somebody.
    let shown = local.iter().filter_map(|stored| stored.about().map(str::to_owned));
    let mut patients: BTreeSet<String> = shown.chain(remote.into_iter().filter(|_| is_last)).collect();
    if patients.is_empty() {
        patients.extend(query.patients().into_iter().map(str::to_owned));
    }
    let entity = Entity { resource_type: resource_type.to_owned(), id: None, version: None };
    log_patients(context, Action::Execute, &patients, &entity).await?;
    let total = page.total.map(|total| total + found.len() as u64);
    let mut bundle = Writer::new("searchset");
    if let Some(total) = total {
        bundle.total(total);
    }
    bundle.links(&links(context, &query, page.next));
    if !query.only_count {
        let mut size = Size::default();
        for stored in &local {
            let full_url = format!("{}/{resource_type}/{}", organization.base_url, stored.id);
            let bytes = served(stored);
            size.add(bytes.len())?;
            bundle.entry(Some(&full_url), Some(&bytes), &[("search", json!({"mode": "match"}))]);
        }
        for (id, resource) in found.iter().filter(|_| is_last) {
            let full_url = format!("{}/{resource_type}/{id}", organization.base_url);
            size.add(resource.len())?;
            bundle.entry(Some(&full_url), Some(resource), &[("search", json!({"mode": "match"}))]);
        }
    }
    for outcome in gaps.into_iter().chain(ignored(&query)) {
        let outcome = outcome.to_string();
        bundle.entry(None, Some(outcome.as_bytes()), &[("search", json!({"mode": "outcome"}))]);
    }
    Ok(Answer::fhir(StatusCode::OK, bundle.finish()))
}

/// A caller who is limited to one patient searches that patient's compartment only. A chained
/// criterion would tell something of resources that are not looked at one by one.
pub(super) fn restrict(context: &Context<'_>, resource: &'static Resource, query: &mut Query) -> Result<(), Refusal> {
    for chained in query.types().into_iter().skip(1) {
        if context.caller.compartment(Interaction::Search, chained).is_some() {
            return Err(Refusal::Forbidden(format!("system/{chained}.s")));
        }
    }
    let Some(patient) = context.caller.compartment(Interaction::Search, resource.name) else { return Ok(()) };
    let name = match resource.name {
        "Patient" => "_id",
        _ if resource.parameter("patient").is_some() => "patient",
        _ => return Err(Refusal::Forbidden(format!("system/{}.s", resource.name))),
    };
    query.require(name, patient, &context.organization.base_url)
}

/// What stands on the page, as it is now.
async fn local(context: &Context<'_>, resource: &Resource, page: &Page) -> Result<Vec<Stored>, Refusal> {
    let mut found = Vec::with_capacity(page.hits.len());
    let mut size = Size::default();
    for hit in &page.hits {
        match context.organization.records.read(resource.name, &hit.id).await {
            Ok(stored) => {
                size.add(stored.content.bytes().len())?;
                // The index may be behind a version that moved to another patient.
                if context.caller.may_see(Interaction::Search, &stored).is_ok() {
                    found.push(stored);
                }
            }
            // Deleted since the index was asked.
            Err(Refusal::NotFound | Refusal::Gone) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(found)
}

/// What other custodians hold that meets the same criteria.
#[derive(Default)]
struct Elsewhere {
    /// Id here and bytes as they are served.
    found: Vec<(String, Vec<u8>)>,
    /// What custodians did not answer.
    gaps: Vec<serde_json::Value>,
    /// Local ids of the Patients of whom something was found.
    patients: BTreeSet<String>,
}

async fn elsewhere(context: &Context<'_>, query: &Query) -> Result<Elsewhere, Refusal> {
    let Elsewhere { mut found, mut gaps, mut patients } = Elsewhere::default();
    if !merge::REMOTE_TYPES.contains(&query.resource.name) {
        return Ok(Elsewhere::default());
    }
    let own = context.caller.compartment(Interaction::Search, query.resource.name);
    let asked: BTreeSet<&str> =
        query.patients().into_iter().filter(|patient| own.is_none_or(|own| own == *patient)).collect();
    for patient in asked {
        for entry in merge::search(context.organization, query.resource.name, patient).await? {
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

/// Ids of those among `documents`, which are not in the index, that meet the criteria of `query`.
pub(super) async fn matching(
    context: &Context<'_>,
    query: &Query,
    documents: Vec<(String, Document)>,
) -> Result<BTreeSet<String>, Refusal> {
    let (query, base_url) = (query.clone(), context.organization.base_url.clone());
    let organization = context.organization.address();
    blocking(move || Index::matching(&documents, &query, &base_url, organization)).await
}

/// `self`, and `next` where another page begins.
pub fn links(context: &Context<'_>, query: &Query, next: Option<Cursor>) -> Vec<(&'static str, String)> {
    let address = |cursor: Option<String>| {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(query.applied.iter().filter(|(name, _)| name != CURSOR));
        if let Some(cursor) = cursor {
            pairs.append_pair(CURSOR, &cursor);
        }
        let pairs = pairs.finish();
        let separator = if pairs.is_empty() { "" } else { "?" };
        format!("{}/{}{separator}{pairs}", context.organization.base_url, query.resource.name)
    };
    let mut links = vec![("self", address(query.cursor.map(|cursor| cursor.to_string())))];
    links.extend(next.map(|next| ("next", address(Some(next.to_string())))));
    links
}

/// Says what was ignored.
fn ignored(query: &Query) -> Option<serde_json::Value> {
    if query.ignored.is_empty() {
        return None;
    }
    let issue = |unsupported: &Unsupported| {
        let diagnostics = format!("{unsupported}; it was ignored");
        Issue::new(IssueSeverity::Warning, IssueType::NotSupported, diagnostics)
    };
    Some(operation_outcome(query.ignored.iter().map(issue)))
}
