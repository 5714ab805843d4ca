//! `POST /` with a Bundle that claims to provide documents (IHE MHD, ITI-65): what MHD demands of it
//! beyond FHIR. docs/api/documents.md

use std::collections::HashMap;

use serde_json::Value;

use super::{claimed, decoded, matches};
use crate::{
    json::Document,
    mapping::{
        document::{DESIGNATION_TYPE, LIST_TYPES, MHD, SOURCE_ID},
        element::Element,
    },
    outcome::Refusal,
};

/// Elements of a DocumentReference that every profile demands.
const OF_DOCUMENTS: &[&str] = &["masterIdentifier", "content.attachment.contentType", "content.attachment.url"];
/// Those that the comprehensive ones demand.
const OF_COMPREHENSIVE: &[&str] = &[
    "type",
    "category",
    "subject",
    "securityLabel",
    "content.attachment.language",
    "content.attachment.creation",
    "content.format",
    "context.facilityType",
    "context.practiceSetting",
    "context.sourcePatientInfo",
];

/// What metadata a Bundle claims to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metadata {
    Minimal,
    Comprehensive,
}

/// Checks a transaction that claims one of MHD's profiles of a Bundle; any other is none of its business.
///
/// # Errors
/// [`Refusal::Invalid`] with the element that is not as the profile says.
pub fn check(bundle: &Document) -> Result<(), Refusal> {
    let metadata = match claimed(bundle, MHD).and_then(|profile| profile.strip_prefix(MHD)) {
        Some("Minimal.ProvideBundle") => Metadata::Minimal,
        Some("Comprehensive.ProvideBundle" | "UnContained.Comprehensive.ProvideBundle") => Metadata::Comprehensive,
        _ => return Ok(()),
    };
    let value = bundle.to_value();
    let root = Element::resource(&value);
    let mut beside: HashMap<&str, Element<'_>> = HashMap::new();
    for entry in root.get("entry").items() {
        if let Some(url) = entry.get("fullUrl").text() {
            beside.entry(url).or_insert(entry);
        }
    }
    let mut sets = 0;
    for entry in root.get("entry").items() {
        let resource = entry.get("resource");
        let method = entry.get("request").get("method").text().unwrap_or_default();
        match resource.get("resourceType").text() {
            Some("List") if resource.get("code").code(LIST_TYPES) == Some("submissionset") => {
                sets += 1;
                of_method(&entry, method, &["POST"])?;
                submission_set(&resource, metadata)?;
            }
            Some("List") if resource.get("code").code(LIST_TYPES) == Some("folder") => {
                of_method(&entry, method, &["POST", "PUT"])?;
            }
            Some("List") => return Err(resource.get("code").refuse("must be submissionset or folder")),
            Some("DocumentReference") => {
                of_method(&entry, method, &["POST"])?;
                document(&beside, &resource, metadata)?;
            }
            Some("Parameters") => of_method(&entry, method, &["PATCH"])?,
            Some("Binary" | "Bundle") => of_method(&entry, method, &["POST"])?,
            Some("Patient") => of_method(&entry, method, &["POST", "PUT", "GET"])?,
            None if method == "GET" => {}
            _ => return Err(resource.refuse("is of no type that a Bundle of documents may have")),
        }
    }
    match sets {
        1 => Ok(()),
        _ => Err(root.get("entry").refuse("must have one SubmissionSet: a List with the code submissionset")),
    }
}

fn of_method(entry: &Element<'_>, method: &str, allowed: &[&str]) -> Result<(), Refusal> {
    if allowed.contains(&method) {
        return Ok(());
    }
    Err(entry.get("request").get("method").refuse(&format!("must be {} for this resource", allowed.join(" or "))))
}

fn submission_set(list: &Element<'_>, metadata: Metadata) -> Result<(), Refusal> {
    let text = |name: &str, wanted: &str| match list.get(name).text() {
        Some(found) if found == wanted => Ok(()),
        _ => Err(list.get(name).refuse(&format!("must be {wanted} in a SubmissionSet"))),
    };
    text("status", "current")?;
    text("mode", "working")?;
    required(list, "date")?;
    extension(list, SOURCE_ID)?;
    if metadata == Metadata::Comprehensive {
        required(list, "subject")?;
        extension(list, DESIGNATION_TYPE)?;
    }
    Ok(())
}

fn extension(list: &Element<'_>, url: &str) -> Result<(), Refusal> {
    let problem = || list.get("extension").refuse(&format!("must have {url} in a SubmissionSet"));
    list.extension(url).map(|_| ()).ok_or_else(problem)
}

/// `beside` are the Bundle's entries by `fullUrl`.
fn document(beside: &HashMap<&str, Element<'_>>, document: &Element<'_>, metadata: Metadata) -> Result<(), Refusal> {
    if !matches!(document.get("status").text(), Some("current" | "superseded")) {
        return Err(document.get("status").refuse("must be current or superseded"));
    }
    if document.get("content").items().count() != 1 {
        return Err(document.get("content").refuse("must be one: a DocumentReference is of one document"));
    }
    let comprehensive = if metadata == Metadata::Comprehensive { OF_COMPREHENSIVE } else { &[] };
    OF_DOCUMENTS.iter().chain(comprehensive).try_for_each(|path| required(document, path))?;
    for content in document.get("content").items() {
        let attachment = content.get("attachment");
        if !attachment.get("data").is_missing() {
            return Err(attachment.get("data").refuse("must be absent: the document is a Binary of the Bundle"));
        }
        // A URL that names an entry must name one that is there; any other is where it says.
        let url = attachment.get("url");
        let entry = url.text().and_then(|text| beside.get(text));
        if entry.is_none() && url.text().is_some_and(|text| text.starts_with("urn:")) {
            return Err(url.refuse("names no entry of the Bundle"));
        }
        if let Some(bytes) = entry.and_then(|entry| decoded(&entry.get("resource").get("data")).transpose()) {
            matches(&attachment, &bytes?)?;
        }
    }
    Ok(())
}

/// Refuses where nothing stands at a path; of what repeats, every item must have it.
fn required(element: &Element<'_>, path: &str) -> Result<(), Refusal> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let found = element.get(name);
    match (found.value(), rest) {
        (Value::Null, _) => Err(found.refuse("is required by the profile that the Bundle claims")),
        (Value::Array(items), _) if items.is_empty() => Err(found.refuse("is required by the profile")),
        (Value::Array(_), Some(rest)) => found.items().try_for_each(|item| required(&item, rest)),
        (_, Some(rest)) => required(&found, rest),
        (_, None) => Ok(()),
    }
}
