//! `GET /{type}?…`, `POST /{type}/_search` and the same within a Patient's compartment:
//! docs/api/search.md
//!
//! What the caller may not see is a condition of the query itself, of every chain and include too;
//! what the index names is read from the vault and checked once more.

pub mod cursors;
pub mod elsewhere;
pub mod included;
pub mod value_sets;

use actix_web::http::StatusCode;
use fhir_sdk::r4b::codes::{IssueSeverity, IssueType};
use serde_json::{Value, json};

use super::{
    Answer, Context, audit_event,
    bundle::{Size, Writer},
    kept, log_patients, patients_of_page, permit, served, sight, subscriptions, subset,
};
use crate::{
    audit::{Action, Entity},
    auth::scopes::Interaction,
    index::Hit,
    outcome::{Issue, Refusal, operation_outcome},
    records::Stored,
    resources::{Access, Resource},
    search::{CURSOR, Cursor, Query, Unsupported},
};
use cursors::Opened;
use elsewhere::Elsewhere;
use included::Included;

/// One page. For a patient's documents, what consent opens at other custodians stands after what
/// is local; a custodian that does not answer is an outcome entry on every page.
pub async fn search(context: &Context<'_>, resource_type: &str, pairs: &[(String, String)]) -> Result<Answer, Refusal> {
    let resource = kept(resource_type)?;
    let place = Place { path: resource_type.to_owned(), patient: None };
    let query = read(context, resource, pairs, &place).await?;
    run(context, &query, &place).await
}

/// As [`search`], of what is in the compartment of a Patient.
pub async fn search_compartment(
    context: &Context<'_>,
    patient: &str,
    resource_type: &str,
    pairs: &[(String, String)],
) -> Result<Answer, Refusal> {
    let resource = kept(resource_type)?;
    if resource.compartment.is_empty() {
        return Err(Refusal::Unsupported("a search for a type that is in no patient's compartment"));
    }
    let path = format!("Patient/{patient}/{resource_type}");
    let place = Place { path, patient: Some(patient.to_owned()) };
    let mut query = read(context, resource, pairs, &place).await?;
    if resource.access == Access::ReadOnly {
        query.require("patient", &format!("Patient/{patient}"), &context.organization.base_url)?;
    } else {
        query.within(&resource.compartment, patient);
    }
    run(context, &query, &place).await
}

/// Where a search is asked for.
struct Place {
    /// Below the base URL.
    path: String,
    /// The Patient whose compartment is searched.
    patient: Option<String>,
}

async fn read(
    context: &Context<'_>,
    resource: &'static Resource,
    pairs: &[(String, String)],
    place: &Place,
) -> Result<Query, Refusal> {
    let base_url = &context.organization.base_url;
    let Opened { pairs, pins } = cursors::opened(context, &place.path, pairs)?;
    let sets = value_sets::named(context, &pairs, pins.as_ref()).await?;
    let mut query = Query::parse_among(resource, &pairs, context.prefer.handling, base_url, &sets)?;
    for searched in query.types() {
        permit(context, searched, Interaction::Search)?;
    }
    match (resource.access, context.caller.compartment(Interaction::Search, resource.name)) {
        (Access::ReadOnly, Some(own)) => query.require("patient", own, base_url)?,
        (Access::ReadOnly, None) | (Access::Own, _) => {}
        (Access::Full, _) => query.see(sight(context, Interaction::Search))?,
    }
    Ok(query)
}

async fn run(context: &Context<'_>, query: &Query, place: &Place) -> Result<Answer, Refusal> {
    let resource_type = query.resource.name;
    match query.resource.access {
        Access::Full => {}
        Access::ReadOnly => return audit_event::search(context, query, &place.path).await,
        Access::Own => return subscriptions::search(context, query, &place.path).await,
    }
    let organization = context.organization;
    let asked = query.clone();
    let page = organization.index.run(move |index| index.search(&asked)).await?;
    let Elsewhere { found, gaps, patients: remote } = elsewhere::elsewhere(context, query).await?;
    let is_last = page.next.is_none();
    let mut size = Size::default();
    let local = local(context, query.resource, &page.hits, &mut size).await?;
    let numbers = page.hits.iter().map(|hit| hit.number).collect();
    let sight = query.sight.clone().unwrap_or_default();
    let Included { found: beside, cut } =
        included::included(context, &query.includes, &sight, numbers, &mut size).await?;
    // One line for each patient on the page. A page that shows nobody still asked about somebody.
    let mut patients = patients_of_page(context, local.iter().chain(&beside)).await?;
    patients.extend(remote.into_iter().filter(|_| is_last));
    if patients.is_empty() {
        patients.extend(query.patients().into_iter().map(str::to_owned).chain(place.patient.clone()));
    }
    let names = query.applied.iter().map(|(name, _)| name.as_str());
    // The line may be in the log of others who stand on the page: it names nobody.
    let path = if place.patient.is_some() { format!("Patient/*/{resource_type}") } else { place.path.clone() };
    let asked = Some(without_values(&path, names));
    let entity = Entity { resource_type: resource_type.to_owned(), id: None, version: None, query: asked };
    log_patients(context, Action::Execute, &patients, &entity).await?;
    let total = page.total.map(|total| total + found.len() as u64);
    let mut bundle = Writer::new("searchset");
    if let Some(total) = total {
        bundle.total(total);
    }
    let links = links(context, query, &place.path, page.next);
    size.add_links(&links)?;
    bundle.links(&links);
    for (stored, is_match) in local.iter().map(|stored| (stored, true)).chain(beside.iter().map(|found| (found, false)))
    {
        entry(context, &mut bundle, query, stored, is_match)?;
    }
    for (id, resource) in found.iter().filter(|_| is_last && !query.only_count) {
        let full_url = format!("{}/{resource_type}/{id}", organization.base_url);
        size.add(resource.len())?;
        let resource = subset::shaped(resource.clone(), &query.shape, true)?;
        bundle.entry(Some(&full_url), Some(&resource), &[("search", json!({"mode": "match"}))]);
    }
    for outcome in gaps.into_iter().chain(cut).chain(ignored(&query.ignored)) {
        bundle.outcome(&outcome);
    }
    Ok(Answer::fhir(StatusCode::OK, bundle.finish()))
}

fn entry(
    context: &Context<'_>,
    bundle: &mut Writer,
    query: &Query,
    stored: &Stored,
    is_match: bool,
) -> Result<(), Refusal> {
    let full_url = format!("{}/{}/{}", context.organization.base_url, stored.resource_type, stored.id);
    let bytes = subset::shaped(served(stored), &query.shape, is_match)?;
    let mode = if is_match { "match" } else { "include" };
    bundle.entry(Some(&full_url), Some(&bytes), &[("search", json!({"mode": mode}))]);
    Ok(())
}

/// What a search asks, for the access log: where, and by which parameters; not for what.
pub fn without_values<'a>(path: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.filter(|name| *name != CURSOR).collect();
    if names.is_empty() { path.to_owned() } else { format!("{path}?{}", names.join("&")) }
}

/// What stands on the page, as it is now.
async fn local(
    context: &Context<'_>,
    resource: &Resource,
    hits: &[Hit],
    size: &mut Size,
) -> Result<Vec<Stored>, Refusal> {
    let beside = |hit: &Hit| crate::index::include::Beside {
        number: hit.number,
        resource_type: resource.name.to_owned(),
        id: hit.id.clone(),
    };
    included::read(context, &hits.iter().map(beside).collect::<Vec<_>>(), size).await
}

/// `self`, and `next` where another page begins.
pub fn links(context: &Context<'_>, query: &Query, path: &str, next: Option<Cursor>) -> Vec<(&'static str, String)> {
    let address = |cursor: Option<Cursor>| {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(query.applied.iter().filter(|(name, _)| name != CURSOR));
        if let Some(cursor) = cursor {
            pairs.append_pair(CURSOR, &cursors::sealed(context, path, cursor, &query.pins));
        }
        let pairs = pairs.finish();
        let separator = if pairs.is_empty() { "" } else { "?" };
        format!("{}/{path}{separator}{pairs}", context.organization.base_url)
    };
    let mut links = vec![("self", address(query.cursor))];
    links.extend(next.map(|next| ("next", address(Some(next)))));
    links
}

/// Says what was ignored.
pub fn ignored(ignored: &[Unsupported]) -> Option<Value> {
    if ignored.is_empty() {
        return None;
    }
    let issue = |unsupported: &Unsupported| {
        let diagnostics = format!("{unsupported}; it was ignored");
        Issue::new(IssueSeverity::Warning, IssueType::NotSupported, diagnostics)
    };
    Some(operation_outcome(ignored.iter().map(issue)))
}
