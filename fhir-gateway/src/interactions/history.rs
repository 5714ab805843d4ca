//! `GET /{type}/{id}/_history`: docs/api/history.md

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::{
    Answer, Context,
    bundle::{Size, Writer},
    log_patients, permit, readable, served, writable,
};
use crate::{
    audit::{Action, Entity},
    auth::scopes::Interaction,
    json::instant,
    outcome::Refusal,
    records::{Content, Stored},
};

/// Every version of a resource that the caller may see, newest first.
pub async fn history(context: &Context<'_>, resource_type: &str, id: &str) -> Result<Answer, Refusal> {
    writable(resource_type)?;
    permit(context, resource_type, Interaction::Read)?;
    let records = &context.organization.records;
    let newest = records.latest(resource_type, id).await?.version;
    let mut bundle = Writer::new("history");
    let base_url = &context.organization.base_url;
    let (mut entries, mut patients) = (Vec::new(), BTreeSet::new());
    let mut size = Size::default();
    for version in (1..=newest).rev() {
        let stored = records.any_version(resource_type, id, version).await?;
        // A version may have been about somebody else than the next one.
        if let Ok(shown) = readable(context, &stored).await {
            let resource = (stored.content != Content::Deleted).then(|| served(&stored));
            size.add(resource.as_ref().map_or(0, Vec::len))?;
            patients.extend(shown);
            entries.push((members(&stored), resource));
        }
    }
    if entries.is_empty() {
        return Err(Refusal::NotFound);
    }
    let entity = Entity { resource_type: resource_type.to_owned(), id: Some(id.to_owned()), version: None };
    log_patients(context, Action::Read, &patients, &entity).await?;
    bundle.total(entries.len() as u64);
    for (members, resource) in &entries {
        let full_url = format!("{base_url}/{resource_type}/{id}");
        bundle.entry(Some(&full_url), resource.as_deref(), members);
    }
    Ok(Answer::fhir(StatusCode::OK, bundle.finish()))
}

/// `request` and `response` of an entry.
fn members(version: &Stored) -> [(&'static str, Value); 2] {
    let (method, url, status) = request(version);
    let response = json!({
        "status": status,
        "etag": format!("W/\"{}\"", version.version),
        "lastModified": instant(version.last_updated),
    });
    [("request", json!({"method": method, "url": url})), ("response", response)]
}

fn request(version: &Stored) -> (&'static str, String, &'static str) {
    let Stored { resource_type, id, .. } = version;
    match (&version.content, version.version) {
        (Content::Deleted, _) => ("DELETE", format!("{resource_type}/{id}"), "204"),
        (_, 1) => ("POST", resource_type.clone(), "201"),
        _ => ("PUT", format!("{resource_type}/{id}"), "200"),
    }
}
