//! What request headers say.

use actix_web::{HttpMessage as _, HttpRequest, http::header, web::Bytes};

use crate::{
    interactions::{
        Incoming, Prefer, Returning, idempotency::Key, transaction::entry::version_of, update::Preconditions,
    },
    json::Document,
    outcome::{FHIR_WANTED, Refusal},
    patch::Patch,
    search::{Handling, Shape, Summary, elements, is_json_format, printable},
};

use super::route::Route;

/// What is said of a search by POST that is no form.
const FORM_WANTED: &str = "must be a form: Content-Type application/x-www-form-urlencoded";
/// What is said of a Binary without a media type of its own.
const TYPE_WANTED: &str = "must come with a Content-Type that is a media type: that of the Binary";

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
        _ => Err(Refusal::UnsupportedMedia(FHIR_WANTED)),
    }
}

/// Refuses bodies that are not a form.
pub fn is_form(request: &HttpRequest) -> Result<(), Refusal> {
    match request.content_type() {
        "application/x-www-form-urlencoded" => Ok(()),
        _ => Err(Refusal::UnsupportedMedia(FORM_WANTED)),
    }
}

/// The body of a create or an update.
pub fn incoming(request: &HttpRequest, resource_type: &str, body: &Bytes) -> Result<Incoming, Refusal> {
    let is_json = is_fhir(request);
    if resource_type != "Binary" {
        is_json?;
        return Document::parse(body.clone()).map(Incoming::Json);
    }
    let content_type = text(request, header::CONTENT_TYPE.as_str()).ok_or(Refusal::UnsupportedMedia(TYPE_WANTED))?;
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
    content_type.parse::<mime::Mime>().map_err(|_| Refusal::UnsupportedMedia(TYPE_WANTED))?;
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

/// `If-Modified-Since`, Unix seconds; a date that cannot be read says nothing (RFC 9110, 13.1.3).
pub fn modified_since(request: &HttpRequest) -> Option<i64> {
    let since = request.get_header::<header::IfModifiedSince>()?;
    let since = std::time::SystemTime::from(since.0).duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// What must hold before a resource is replaced: `If-Match`, and `If-None-Match: *`.
///
/// # Errors
/// [`Refusal::BadRequest`] for tags that are not versions.
pub fn preconditions(request: &HttpRequest) -> Result<Preconditions, Refusal> {
    let must_be_absent = match text(request, header::IF_NONE_MATCH.as_str()).map(str::trim) {
        None => false,
        Some("*") => true,
        Some(_) => return Err(Refusal::BadRequest("If-None-Match of an update is * or nothing".to_string())),
    };
    Ok(Preconditions { if_match: version(request, header::IF_MATCH.as_str())?, must_be_absent })
}

/// The body of a patch.
pub fn patch(request: &HttpRequest, body: &Bytes) -> Result<Patch, Refusal> {
    Patch::read(&request.content_type().to_ascii_lowercase(), body.clone())
}

/// `Idempotency-Key`; one that cannot be a key is refused, never passed over.
pub fn idempotency_key(request: &HttpRequest) -> Result<Option<Key<'_>>, Refusal> {
    let header = request.headers().get("idempotency-key");
    header.map(|value| Key::read(value.to_str().unwrap_or_default())).transpose()
}

/// Refuses bodies that are packed otherwise than with gzip.
pub fn is_readable(request: &HttpRequest) -> Result<(), Refusal> {
    let is_read =
        |encoding: &str| ["gzip", "x-gzip", "identity", ""].contains(&encoding.trim().to_ascii_lowercase().as_str());
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING);
    if encodings.all(|encoding| encoding.to_str().is_ok_and(is_read)) {
        Ok(())
    } else {
        Err(Refusal::UnsupportedEncoding)
    }
}

/// What of a resource a read wants; all of it at any other address.
pub fn shape(request: &HttpRequest, route: &Route<'_>) -> Result<Shape, Refusal> {
    let mut shape = Shape::default();
    if matches!(route, Route::Read { .. } | Route::Vread { .. }) {
        for (name, text) in pairs(request.query_string()) {
            match name.as_str() {
                "_summary" => shape.summary = Summary::read(&text)?,
                "_elements" => shape.elements.extend(elements(&text)?),
                _ => {}
            }
        }
    }
    Ok(shape)
}

/// Refuses parameters where nothing reads them, if the client wants to know of such.
pub fn without_parameters(request: &HttpRequest, route: &Route<'_>, handling: Handling) -> Result<(), Refusal> {
    let is_read = |name: &str| match name {
        "_format" => true,
        "_summary" | "_elements" => matches!(route, Route::Read { .. } | Route::Vread { .. }),
        _ => false,
    };
    let unread = pairs(request.query_string()).into_iter().find(|(name, _)| !is_read(name));
    match (unread, handling) {
        (Some((name, _)), Handling::Strict) => Err(Refusal::UnsupportedParameter(printable(&name))),
        _ => Ok(()),
    }
}

/// The pairs of a search by POST: those of its address, then those of its form.
pub fn form(request: &HttpRequest, body: &[u8]) -> Result<Vec<(String, String)>, Refusal> {
    is_form(request)?;
    let form = std::str::from_utf8(body).map_err(|_| Refusal::BadRequest("the form is not UTF-8".to_string()))?;
    Ok(pairs(request.query_string()).into_iter().chain(pairs(form)).collect())
}

/// Name and value pairs of a query or a form.
pub fn pairs(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
