//! `GET /{type}/{id}/_history`: docs/api/history.md

use actix_web::http::StatusCode;

use super::{Answer, Context, bundle::Writer, kept, log, permit, served};
use crate::{
    audit::Action,
    auth::scopes::Interaction,
    json::instant,
    outcome::Refusal,
    records::{Content, Stored},
};

/// Every version of a resource, newest first.
pub async fn history(context: &Context<'_>, resource_type: &str, id: &str) -> Result<Answer, Refusal> {
    kept(resource_type)?;
    permit(context, resource_type, Interaction::Read)?;
    let versions = context.organization.records.history(resource_type, id).await?;
    // A deletion carries no patient of its own: the whole resource counts.
    if let Some(about) = versions.iter().find(|version| version.content != Content::Deleted) {
        context.caller.may_see(Interaction::Read, about)?;
        log(context, Action::Read, about).await?;
    }
    let mut bundle = Writer::new("history");
    bundle.total(versions.len() as u64);
    let base_url = &context.organization.base_url;
    for version in &versions {
        let (method, url, status) = request(version);
        let request = serde_json::json!({"method": method, "url": url});
        let response = serde_json::json!({
            "status": status,
            "etag": format!("W/\"{}\"", version.version),
            "lastModified": instant(version.last_updated),
        });
        let resource = (version.content != Content::Deleted).then(|| served(version));
        let full_url = format!("{base_url}/{resource_type}/{id}");
        bundle.entry(Some(&full_url), resource.as_deref(), &[("request", request), ("response", response)]);
    }
    Ok(Answer::fhir(StatusCode::OK, bundle.finish()))
}

fn request(version: &Stored) -> (&'static str, String, &'static str) {
    let Stored { resource_type, id, .. } = version;
    match (&version.content, version.version) {
        (Content::Deleted, _) => ("DELETE", format!("{resource_type}/{id}"), "204"),
        (_, 1) => ("POST", resource_type.clone(), "201"),
        _ => ("PUT", format!("{resource_type}/{id}"), "200"),
    }
}
