//! What request headers say.

use actix_web::{HttpMessage as _, HttpRequest, http::header, web::Bytes};

use crate::{
    interactions::{Incoming, Prefer, Returning, idempotency::Key, transaction::entry::version_of},
    json::Document,
    outcome::Refusal,
    search::{Handling, is_json_format},
};

/// A header as text; none where it is absent or not text.
pub fn text<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// `Prefer` (RFC 7240) as FHIR uses it.
pub fn prefer(request: &HttpRequest) -> Prefer {
    let mut prefer = Prefer::default();
    let headers = request.headers().get_all("prefer").filter_map(|value| value.to_str().ok());
    for preference in headers.flat_map(|value| value.split([',', ';'])) {
        match preference.trim() {
            "handling=strict" => prefer.handling = Handling::Strict,
            "handling=lenient" => prefer.handling = Handling::Lenient,
            "return=minimal" => prefer.returning = Returning::Minimal,
            "return=representation" => prefer.returning = Returning::Representation,
            "return=OperationOutcome" => prefer.returning = Returning::OperationOutcome,
            _ => {}
        }
    }
    prefer
}

/// What the client accepts: `Accept`, or FHIR JSON where `_format` says so, which goes before it.
///
/// # Errors
/// [`Refusal::NotAcceptable`] where `_format` is another format.
pub fn accept(request: &HttpRequest) -> Result<Option<&str>, Refusal> {
    let formats = pairs(request.query_string()).into_iter().filter(|(name, _)| name == "_format");
    let mut accept = text(request, header::ACCEPT.as_str());
    for (_, format) in formats {
        if !is_json_format(&format) {
            return Err(Refusal::NotAcceptable);
        }
        accept = Some("application/fhir+json");
    }
    Ok(accept)
}

/// Refuses clients that do not take FHIR JSON.
pub fn acceptable(accept: Option<&str>) -> Result<(), Refusal> {
    const PRODUCED: &[&str] =
        &["*/*", "application/*", "application/json", "application/fhir+json", "application/json+fhir", "text/json"];
    let will_do = |range: &str| PRODUCED.contains(&range.split(';').next().unwrap_or_default().trim());
    if accept.is_none_or(|accept| accept.split(',').any(will_do)) { Ok(()) } else { Err(Refusal::NotAcceptable) }
}

/// Refuses bodies that are not FHIR JSON.
pub fn is_fhir(request: &HttpRequest) -> Result<(), Refusal> {
    match request.content_type() {
        "application/fhir+json" | "application/json" | "application/json+fhir" | "text/json" => Ok(()),
        _ => Err(Refusal::UnsupportedMedia),
    }
}

/// Refuses bodies that are not a form.
pub fn is_form(request: &HttpRequest) -> Result<(), Refusal> {
    match request.content_type() {
        "application/x-www-form-urlencoded" => Ok(()),
        _ => Err(Refusal::UnsupportedMedia),
    }
}

/// The body of a create or an update.
pub fn incoming(request: &HttpRequest, resource_type: &str, body: &Bytes) -> Result<Incoming, Refusal> {
    let is_json = is_fhir(request);
    if resource_type != "Binary" {
        is_json?;
        return Document::parse(body.clone()).map(Incoming::Json);
    }
    let content_type = text(request, header::CONTENT_TYPE.as_str()).ok_or(Refusal::UnsupportedMedia)?;
    let is_resource = matches!(request.content_type(), "application/fhir+json" | "application/json+fhir");
    if is_resource {
        return Document::parse(body.clone()).map(Incoming::Json);
    }
    // Plain JSON may be a Binary resource or any other file: only the former says so.
    if is_json.is_ok()
        && let Ok(document) = Document::parse(body.clone())
        && document.resource_type() == Some("Binary")
    {
        return Ok(Incoming::Json(document));
    }
    content_type.parse::<mime::Mime>().map_err(|_| Refusal::UnsupportedMedia)?;
    Ok(Incoming::Raw {
        content_type: content_type.to_string(),
        bytes: body.clone(),
        security_context: text(request, "x-security-context").map(str::to_string),
    })
}

/// The version that a header names; an entity tag of another form is refused.
pub fn version(request: &HttpRequest, name: &str) -> Result<Option<u32>, Refusal> {
    match text(request, name) {
        None => Ok(None),
        Some(tag) => match version_of(tag) {
            Some(version) => Ok(Some(version)),
            None => Err(Refusal::BadRequest(format!("{name} is not a version, such as W/\"1\""))),
        },
    }
}

/// The version that the client has; any other form means that it has none of ours.
pub fn known_version(request: &HttpRequest) -> Option<u32> {
    version_of(text(request, header::IF_NONE_MATCH.as_str())?)
}

/// `Idempotency-Key`; one that cannot be a key is refused, never passed over.
pub fn idempotency_key(request: &HttpRequest) -> Result<Option<Key<'_>>, Refusal> {
    let header = request.headers().get("idempotency-key");
    header.map(|value| Key::read(value.to_str().unwrap_or_default())).transpose()
}

/// Name and value pairs of a query or a form.
pub fn pairs(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
