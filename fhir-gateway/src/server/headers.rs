//! What request headers say.

use actix_web::{HttpMessage as _, HttpRequest, http::header, web::Bytes};

use crate::{
    audit::Origin,
    format::{self, FHIR_JSON, FHIR_XML, Format, Wanted},
    interactions::{
        Incoming, Prefer, Returning, idempotency::Key, transaction::entry::version_of, update::Preconditions,
    },
    json::Document,
    outcome::{FHIR_WANTED, Refusal},
    patch::Patch,
    search::{self, Handling, Shape, Summary, elements, printable},
    xml,
};

use super::route::Route;

/// What is said of a search by POST that is no form.
const FORM_WANTED: &str = "must be a form: Content-Type application/x-www-form-urlencoded";
/// What is said of a Binary without a media type of its own.
const TYPE_WANTED: &str = "must come with a Content-Type that is a media type: that of the Binary";

/// Longest accepted `X-Request-Id`.
const REQUEST_ID_LENGTH_MAX: usize = 64;

/// A header as text; none where it is absent or not text.
pub fn text<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// A header that decides what is done, as text; none where it is absent only: what cannot be read is not passed over.
///
/// # Errors
/// [`Refusal::BadRequest`], which names it, where it is not text.
pub fn deciding<'a>(request: &'a HttpRequest, name: &str) -> Result<Option<&'a str>, Refusal> {
    let read = |value: &'a header::HeaderValue| value.to_str().map_err(|_| not_text(name, "ASCII"));
    request.headers().get(name).map(read).transpose()
}

/// `If-None-Exist`, a search: clients send its letters as UTF-8, too, where they should escape them.
///
/// # Errors
/// As [`deciding`].
pub fn if_none_exist(request: &HttpRequest) -> Result<Option<&str>, Refusal> {
    const NAME: &str = "If-None-Exist";
    let header = request.headers().get(NAME);
    header.map(|value| str::from_utf8(value.as_bytes()).map_err(|_| not_text(NAME, "UTF-8"))).transpose()
}

fn not_text(name: &str, encoding: &str) -> Refusal {
    Refusal::BadRequest(format!("the header {name} is not {encoding}"))
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

/// Whether the client takes an answer that is made later (RFC 7240, `respond-async`).
pub fn is_async(request: &HttpRequest) -> bool {
    let headers = request.headers().get_all("prefer").filter_map(|value| value.to_str().ok());
    headers.flat_map(|value| value.split([',', ';'])).any(|preference| preference.trim() == "respond-async")
}

/// What the client accepts: all of `Accept`, or what `_format` names among `pairs`, which goes before it.
///
/// # Errors
/// [`Refusal::NotAcceptable`] where `_format` is another format.
pub fn accept(request: &HttpRequest, pairs: &[(String, String)]) -> Result<Option<String>, Refusal> {
    let mut named = None;
    for (_, format) in pairs.iter().filter(|(name, _)| name == "_format") {
        named = Some(format::of_parameter(format).ok_or(Refusal::NotAcceptable)?.to_owned());
    }
    let headers = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let headers: Vec<&str> = headers.filter(|header| !header.trim().is_empty()).collect();
    Ok(named.or_else(|| (!headers.is_empty()).then(|| headers.join(", "))))
}

/// As what the answer is sent: what `accept` wants most, or else what the body is.
///
/// # Errors
/// [`Refusal::NotAcceptable`] where it wants nothing that is produced.
pub fn wanted(request: &HttpRequest, accept: Option<&str>) -> Result<Wanted, Refusal> {
    Wanted::negotiated(accept, format_of(request).unwrap_or_default())
}

/// As what an error is sent, also where nothing can be agreed on.
pub fn wanted_of_errors(request: &HttpRequest) -> Wanted {
    let accept = accept(request, &pairs(request.query_string())).ok().flatten();
    wanted(request, accept.as_deref()).unwrap_or_else(|_| Wanted::of(format_of(request).unwrap_or_default()))
}

/// As what the body is read; none where it is not FHIR.
fn format_of(request: &HttpRequest) -> Option<Format> {
    format::of_content(text(request, header::CONTENT_TYPE.as_str())?)
}

/// The body as FHIR.
///
/// # Errors
/// [`Refusal::UnsupportedMedia`] where it is not, and what [`Document::parse`] and [`xml::read`] refuse.
pub fn document(request: &HttpRequest, body: &Bytes) -> Result<Document, Refusal> {
    match format_of(request) {
        Some(Format::Json) => Document::parse(body.clone()),
        Some(Format::Xml) => xml::read(body),
        None => Err(Refusal::UnsupportedMedia(FHIR_WANTED)),
    }
}

/// The pairs of a form.
///
/// # Errors
/// [`Refusal::UnsupportedMedia`] where the body is none.
pub fn form(request: &HttpRequest, body: &Bytes) -> Result<Vec<(String, String)>, Refusal> {
    // All parameters may stand in the address; then there is no form.
    if body.is_empty() {
        return Ok(Vec::new());
    }
    if request.content_type() != "application/x-www-form-urlencoded" {
        return Err(Refusal::UnsupportedMedia(FORM_WANTED));
    }
    let form = std::str::from_utf8(body).map_err(|_| Refusal::BadRequest("the form is not UTF-8".to_string()))?;
    Ok(pairs(form))
}

/// The body of a create or an update.
pub fn incoming(request: &HttpRequest, resource_type: &str, body: &Bytes) -> Result<Incoming, Refusal> {
    if resource_type != "Binary" {
        return document(request, body).map(Incoming::Json);
    }
    let content_type = text(request, header::CONTENT_TYPE.as_str()).ok_or(Refusal::UnsupportedMedia(TYPE_WANTED))?;
    let is_fhir =
        ["application/json+fhir", "application/xml+fhir", FHIR_JSON, FHIR_XML].contains(&request.content_type());
    if is_fhir {
        return document(request, body).map(Incoming::Json);
    }
    // Plain JSON or XML may be a Binary resource or any other file: only the former says so.
    if let Ok(document) = document(request, body)
        && document.resource_type() == Some("Binary")
    {
        return Ok(Incoming::Json(document));
    }
    content_type.parse::<mime::Mime>().map_err(|_| Refusal::UnsupportedMedia(TYPE_WANTED))?;
    Ok(Incoming::Raw {
        content_type: content_type.to_string(),
        bytes: body.clone(),
        security_context: deciding(request, "x-security-context")?.map(str::to_string),
    })
}

/// The version that a header names; an entity tag of another form is refused, and what is no text.
pub fn version(request: &HttpRequest, name: &str) -> Result<Option<u32>, Refusal> {
    match deciding(request, name)? {
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
/// [`Refusal::BadRequest`] for tags that are not versions, or no text.
pub fn preconditions(request: &HttpRequest) -> Result<Preconditions, Refusal> {
    let must_be_absent = match deciding(request, header::IF_NONE_MATCH.as_str())?.map(str::trim) {
        None => false,
        Some("*") => true,
        Some(_) => return Err(Refusal::BadRequest("If-None-Match of an update is * or nothing".to_string())),
    };
    Ok(Preconditions { if_match: version(request, header::IF_MATCH.as_str())?, must_be_absent })
}

/// The body of a patch.
pub fn patch(request: &HttpRequest, body: &Bytes) -> Result<Patch, Refusal> {
    if format_of(request) == Some(Format::Xml) {
        return Patch::of_parameters(document(request, body)?);
    }
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
pub fn shape(route: &Route<'_>, pairs: &[(String, String)]) -> Result<Shape, Refusal> {
    let mut shape = Shape::default();
    if matches!(route, Route::Read { .. } | Route::Vread { .. }) {
        for (name, text) in pairs {
            match name.as_str() {
                "_summary" => shape.summary = Summary::read(text)?,
                "_elements" => shape.elements.extend(elements(text)?),
                _ => {}
            }
        }
    }
    Ok(shape)
}

/// Refuses parameters where nothing reads them, if the client wants to know of such.
pub fn without_parameters(request: &HttpRequest, route: &Route<'_>, handling: Handling) -> Result<(), Refusal> {
    let is_read = |name: &str| match name {
        "_format" | format::PRETTY => true,
        "_summary" | "_elements" => matches!(route, Route::Read { .. } | Route::Vread { .. }),
        _ => false,
    };
    let unread = pairs(request.query_string()).into_iter().find(|(name, _)| !is_read(name));
    match (unread, handling) {
        (Some((name, _)), Handling::Strict) => Err(Refusal::UnsupportedParameter(printable(&name))),
        _ => Ok(()),
    }
}

/// The id of a request, as its answer and the log name it.
pub struct RequestId(pub String);

/// The client's request id if it is plain, a fresh one otherwise.
pub fn request_id(request: &HttpRequest) -> String {
    let is_plain = |id: &&str| {
        !id.is_empty()
            && id.len() <= REQUEST_ID_LENGTH_MAX
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let given = text(request, "x-request-id").filter(is_plain);
    given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_string)
}

/// Where a request came from.
pub fn origin(request: &HttpRequest) -> Origin {
    Origin {
        address: request.peer_addr().map(|peer| peer.ip().to_string()),
        request: request.extensions().get::<RequestId>().map(|id| id.0.clone()),
    }
}

/// Name and value pairs of a query or a form.
pub fn pairs(query: &str) -> Vec<(String, String)> {
    search::pairs(query.as_bytes())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn with(name: &str, value: &[u8]) -> HttpRequest {
        let value = header::HeaderValue::from_bytes(value).expect("no control characters");
        TestRequest::default().insert_header((name, value)).to_http_request()
    }

    #[test]
    fn what_decides_and_is_no_text_was_as_if_it_were_not_there() {
        for value in [&b"W/\"1\"\xe9"[..], "W/\"1\"é".as_bytes(), b"\xff"] {
            let refused = version(&with("if-match", value), "if-match");
            assert_eq!(refused, Err(Refusal::BadRequest("the header if-match is not ASCII".to_owned())));
        }
        assert!(preconditions(&with("if-none-match", b"*\xe9")).is_err());
        assert!(preconditions(&with("if-match", b"W/\"1\"\xe9")).is_err());
        assert_eq!(version(&TestRequest::default().to_http_request(), "if-match"), Ok(None));
    }

    #[test]
    fn if_none_exist_is_text_in_utf_8_or_refused() {
        let latin_1 = b"family=M\xfcller";
        assert_eq!(if_none_exist(&with("if-none-exist", "family=Müller".as_bytes())), Ok(Some("family=Müller")));
        let refused = if_none_exist(&with("if-none-exist", latin_1)).map(|found| found.map(str::to_owned));
        assert_eq!(refused, Err(Refusal::BadRequest("the header If-None-Exist is not UTF-8".to_owned())));
        assert_eq!(if_none_exist(&TestRequest::default().to_http_request()), Ok(None));
    }
}
