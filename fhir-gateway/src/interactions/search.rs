//! `GET /{type}?…` and `POST /{type}/_search`: docs/api/search.md

use actix_web::http::StatusCode;
use fhir_sdk::r4b::codes::{IssueSeverity, IssueType};
use serde_json::json;

use super::{Answer, Context, audit_event, bundle::Writer, kept, log_search, permit, served};
use crate::{
    auth::scopes::Interaction,
    index::{Index, Page},
    json::Document,
    outcome::{Issue, Refusal, operation_outcome},
    remote::merge,
    resources::{Access, Resource},
    search::{CURSOR, Cursor, Query},
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
    log_search(context, resource_type, query.patients().first().copied()).await?;
    let page = organization.index.search(&query)?;
    let (found, gaps) = elsewhere(context, &query).await?;
    let total = page.total.map(|total| total + found.len() as u64);
    let mut bundle = Writer::new("searchset");
    if let Some(total) = total {
        bundle.total(total);
    }
    bundle.links(&links(context, &query, page.next));
    if !query.only_count {
        local(context, resource, &page, &mut bundle).await?;
        let is_last = page.next.is_none();
        for (id, resource) in found.iter().filter(|_| is_last) {
            let full_url = format!("{}/{resource_type}/{id}", organization.base_url);
            bundle.entry(Some(&full_url), Some(resource), &[("search", json!({"mode": "match"}))]);
        }
    }
    for outcome in gaps.into_iter().chain(ignored(&query)) {
        let outcome = outcome.to_string();
        bundle.entry(None, Some(outcome.as_bytes()), &[("search", json!({"mode": "outcome"}))]);
    }
    Ok(Answer::fhir(StatusCode::OK, bundle.finish()))
}

/// A caller who is limited to one patient searches that patient's compartment only.
fn restrict(context: &Context<'_>, resource: &'static Resource, query: &mut Query) -> Result<(), Refusal> {
    let Some(patient) = context.caller.compartment(Interaction::Search, resource.name) else { return Ok(()) };
    let name = match resource.name {
        "Patient" => "_id",
        _ if resource.parameter("patient").is_some() => "patient",
        _ => return Err(Refusal::Forbidden(format!("system/{}.s", resource.name))),
    };
    query.require(name, patient, &context.organization.base_url)
}

async fn local(context: &Context<'_>, resource: &Resource, page: &Page, bundle: &mut Writer) -> Result<(), Refusal> {
    let organization = context.organization;
    for hit in &page.hits {
        match organization.records.read(resource.name, &hit.id).await {
            Ok(stored) => {
                let full_url = format!("{}/{}/{}", organization.base_url, resource.name, hit.id);
                bundle.entry(Some(&full_url), Some(&served(&stored)), &[("search", json!({"mode": "match"}))]);
            }
            // Deleted since the index was asked.
            Err(Refusal::NotFound | Refusal::Gone) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// A resource of another custodian as it is served here: id and bytes.
type Remote = (String, Vec<u8>);

/// What other custodians hold that meets the same criteria, and what they did not answer.
async fn elsewhere(context: &Context<'_>, query: &Query) -> Result<(Vec<Remote>, Vec<serde_json::Value>), Refusal> {
    let (mut found, mut gaps) = (Vec::new(), Vec::new());
    if !merge::REMOTE_TYPES.contains(&query.resource.name) {
        return Ok((found, gaps));
    }
    for patient in query.patients() {
        for entry in merge::search(context.organization, query.resource.name, patient).await? {
            match entry {
                merge::Entry::Found { id, resource } => found.push((id, resource.to_string().into_bytes())),
                merge::Entry::Gap(outcome) => gaps.push(outcome),
            }
        }
    }
    if !found.is_empty() {
        let documents = found
            .iter()
            .map(|(id, bytes)| Ok((id.as_str(), Document::parse(bytes.clone())?)))
            .collect::<Result<Vec<_>, Refusal>>()?;
        let organization = context.organization;
        let matching = Index::matching(&documents, query, &organization.base_url, organization.address())?;
        found.retain(|(id, _)| matching.contains(id));
    }
    Ok((found, gaps))
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

/// Says which parameters were ignored.
fn ignored(query: &Query) -> Option<serde_json::Value> {
    if query.ignored.is_empty() {
        return None;
    }
    let issue = |name: &String| {
        let diagnostics = format!("search parameter {name} is not supported here and was ignored");
        Issue::new(IssueSeverity::Warning, IssueType::NotSupported, diagnostics)
    };
    Some(operation_outcome(query.ignored.iter().map(issue)))
}
