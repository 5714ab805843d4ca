//! `GET /_history`, `/{type}/_history` and `/{type}/{id}/_history`: docs/api/history.md
//!
//! The index knows the order of all versions and whom each is about; what it names is read from the
//! vault and checked once more. A version that the caller may not see is neither shown nor counted.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::{
    Answer, Context, binary,
    bundle::{Size, Writer},
    kept, log_patients,
    reach::readable_each,
    served, sight,
    sighted::in_sight,
    writable,
};
use crate::{
    audit::{Action, Entity},
    auth::scopes::Interaction,
    format,
    index::{
        history::{Listing, Row, Versions},
        range,
        sight::Sight,
    },
    json::instant,
    outcome::Refusal,
    records::{Content, Stored},
    resources::{Access, resources},
    search::{COUNT_DEFAULT, COUNT_MAX, CURSOR, Handling, printable},
};

/// Bytes of versions that are judged at once. A single one may be larger.
const JUDGED_BYTES: usize = 4 * 1024 * 1024;

/// Whose history is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of<'a> {
    /// Everything.
    All,
    /// One type.
    Type(&'a str),
    /// One resource.
    Resource(&'a str, &'a str),
}

/// What a request asks for.
struct Asked {
    versions: Versions,
    count: u32,
    only_count: bool,
    /// For the links.
    applied: Vec<(String, String)>,
}

/// One page of versions, newest first.
pub async fn history(context: &Context<'_>, of: Of<'_>, pairs: &[(String, String)]) -> Result<Answer, Refusal> {
    let visible = visible(context, of).await?;
    let index = &context.organization.index;
    if let Of::Resource(..) = of {
        let any = visible.clone();
        if !index.run(move |index| index.has_history(&any)).await? {
            return Err(Refusal::NotFound);
        }
    }
    let asked = read(visible, pairs, context.prefer.handling)?;
    if asked.only_count && !asked.versions.limited.is_empty() {
        let problem = "versions are not counted for a token whose scopes have search parameters";
        return Err(Refusal::BadRequest(problem.to_owned()));
    }
    let (versions, count) = (asked.versions.clone(), asked.count);
    let listing = index.run(move |index| index.history(&versions, count)).await?;
    let listing =
        listing.ok_or_else(|| Refusal::BadRequest(format!("{CURSOR} must be taken from a link of this server")))?;
    let shown = if asked.only_count { Vec::new() } else { shown(context, &listing.rows).await? };
    let patients: BTreeSet<String> = shown.iter().flat_map(|(_, patients)| patients.iter().cloned()).collect();
    let (resource_type, id) = match of {
        Of::All => (None, None),
        Of::Type(name) => (Some(name), None),
        Of::Resource(name, id) => (Some(name), Some(id)),
    };
    let entity = Entity {
        resource_type: resource_type.unwrap_or("Resource").to_owned(),
        id: id.map(str::to_owned),
        version: None,
        query: id.is_none().then(|| match resource_type {
            Some(name) => format!("{name}/_history"),
            None => "_history".to_owned(),
        }),
    };
    let action = if id.is_some() { Action::Read } else { Action::Execute };
    log_patients(context, action, &patients, &entity).await?;
    let path = [resource_type, id].into_iter().flatten().collect::<Vec<_>>().join("/");
    let base_url = &context.organization.base_url;
    let mut bundle = Writer::new("history");
    // What versions said once is known to who reads them only, so they are not counted by it.
    if asked.versions.limited.is_empty() {
        bundle.total(listing.total);
    }
    bundle.links(&links(base_url, &path, &asked, &listing));
    for (stored, _) in &shown {
        let resource = (stored.content != Content::Deleted).then(|| served(stored));
        let full_url = format!("{base_url}/{}/{}", stored.resource_type, stored.id);
        bundle.entry(Some(&full_url), resource.as_deref(), &members(stored));
    }
    Ok(Answer::fhir(StatusCode::OK, bundle.finish()))
}

/// The versions that the caller may see, before anything else is asked of them.
async fn visible(context: &Context<'_>, of: Of<'_>) -> Result<Versions, Refusal> {
    let caller = context.caller;
    let types: Vec<&'static str> = match of {
        Of::All => {
            let kept = resources().filter(|kind| kind.access == Access::Full).map(|kind| kind.name);
            let allowed: Vec<_> = kept.filter(|name| caller.may(Interaction::Read, name).is_ok()).collect();
            if allowed.is_empty() {
                return Err(Refusal::Forbidden("system/*.r".to_owned()));
            }
            allowed
        }
        Of::Type(name) | Of::Resource(name, _) => {
            writable(name)?;
            caller.may(Interaction::Read, name)?;
            vec![kept(name)?.name]
        }
    };
    if let Of::Resource(name, id) = of {
        in_sight(context, Interaction::Read, name, id).await?;
    }
    let Sight { whole, own, patient, limited } = sight(context, Interaction::Read);
    let mut versions = Versions { whole, own, patient, limited, ..Versions::default() };
    versions.whole.retain(|name| types.contains(name));
    versions.own.retain(|name| types.contains(name));
    versions.limited.retain(|limited| types.contains(&limited.resource.name));
    if let Of::Resource(name, id) = of {
        versions.id = Some(id.to_owned());
        if let (Some(own), "Binary") = (caller.compartment(Interaction::Read, name), name)
            && versions.limited.is_empty()
        {
            // A Binary that names nobody is its documents' patient's.
            let documents = binary::patients_of_documents(context, id).await?;
            versions.unnamed_too = documents == BTreeSet::from([own.to_owned()]);
        }
    }
    Ok(versions)
}

fn read(mut versions: Versions, pairs: &[(String, String)], handling: Handling) -> Result<Asked, Refusal> {
    let (mut count, mut only_count, mut applied) = (COUNT_DEFAULT, false, Vec::new());
    for (name, text) in pairs {
        let wrong = |what: &str| Refusal::BadRequest(format!("{name} must be {what}"));
        // A plus sign that was not escaped in the URL arrives as a space.
        let time = || range::date(&text.replace(' ', "+")).ok_or_else(|| wrong("a date or an instant"));
        match name.as_str() {
            "_count" => {
                count = text.parse::<u32>().map_err(|_| wrong("a number"))?.min(COUNT_MAX);
                only_count = count == 0;
            }
            "_since" => {
                let low = time()?.low;
                versions.since = Some(low.div_euclid(1000) + i64::from(low.rem_euclid(1000) > 0));
            }
            "_at" => versions.at = Some(time()?),
            CURSOR => {
                let place = place(text).ok_or_else(|| wrong("taken from a link of this server"))?;
                versions.before = Some(place);
                continue;
            }
            "_format" if format::of_parameter(text).is_some() => {}
            "_format" => return Err(Refusal::NotAcceptable),
            format::PRETTY => continue,
            _ if handling == Handling::Strict => return Err(Refusal::UnsupportedParameter(printable(name))),
            // A history has no place for an outcome that says so.
            _ => continue,
        }
        applied.push((name.clone(), text.clone()));
    }
    Ok(Asked { versions, count, only_count, applied })
}

/// `Type/id/version`
fn place(text: &str) -> Option<(String, String, u32)> {
    let mut parts = text.split('/');
    let (resource_type, id, version) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then(|| (resource_type.to_owned(), id.to_owned(), version))
}

/// The versions of a page that the caller may see, each with the patients whom it is about.
async fn shown(context: &Context<'_>, rows: &[Row]) -> Result<Vec<(Stored, BTreeSet<String>)>, Refusal> {
    let mut shown = Vec::with_capacity(rows.len());
    let (mut size, mut rows) = (Size::default(), rows.iter().peekable());
    while rows.peek().is_some() {
        let (mut versions, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next_if(|_| bytes < JUDGED_BYTES) {
            match context.organization.records.any_version(&row.resource_type, &row.id, row.version).await {
                Ok(stored) => {
                    bytes += stored.content.bytes().len();
                    versions.push(stored);
                }
                // The vault has it no more: what the index lists may be older.
                Err(Refusal::NotFound) => {}
                Err(other) => return Err(other),
            }
        }
        // A version may have been about somebody else than the next one.
        let about = readable_each(context, &versions).await?;
        for (stored, patients) in versions.into_iter().zip(about) {
            let Some(patients) = patients else { continue };
            size.add(stored.content.bytes().len())?;
            shown.push((stored, patients));
        }
    }
    Ok(shown)
}

fn links(base_url: &str, path: &str, asked: &Asked, listing: &Listing) -> Vec<(&'static str, String)> {
    let slash = if path.is_empty() { "" } else { "/" };
    let address = |cursor: Option<String>| {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(&asked.applied);
        if let Some(cursor) = cursor {
            pairs.append_pair(CURSOR, &cursor);
        }
        let pairs = pairs.finish();
        let mark = if pairs.is_empty() { "" } else { "?" };
        format!("{base_url}/{path}{slash}_history{mark}{pairs}")
    };
    let this = asked.versions.before.as_ref().map(|(name, id, version)| format!("{name}/{id}/{version}"));
    let mut links = vec![("self", address(this))];
    let last = listing.rows.last().filter(|_| listing.has_more);
    links.extend(last.map(|row| ("next", address(Some(format!("{}/{}/{}", row.resource_type, row.id, row.version))))));
    links
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
