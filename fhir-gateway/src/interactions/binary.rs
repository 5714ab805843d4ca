//! Binary: native bytes or FHIR, as `Accept` asks (FHIR R4, Binary, 2.43.3). docs/api/binary.md

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mime::Mime;
use serde_json::json;

use super::{Body, Context, Incoming, served, sighted};
use crate::{
    auth::scopes::Interaction,
    format,
    hooks::Proposed,
    json::{Document, Serving},
    mapping::facts,
    outcome::Refusal,
    records::{Content, Stored},
    remote::{lookup, merge::Opened},
};

/// Documents that may point at one Binary and are looked at.
const DOCUMENTS_MAX: u32 = 10_000;

/// Local ids of the Patients whom a Binary is about: the one that it names, or those of the
/// DocumentReferences that point at it.
pub async fn patients(context: &Context<'_>, binary: &Stored) -> Result<BTreeSet<String>, Refusal> {
    if let Some(named) = binary.about() {
        return Ok(BTreeSet::from([named.to_owned()]));
    }
    patients_of_documents(context, &binary.id).await
}

/// Local ids of the Patients of the DocumentReferences that point at the Binary `id`.
pub async fn patients_of_documents(context: &Context<'_>, id: &str) -> Result<BTreeSet<String>, Refusal> {
    let documents = lookup::documents_of(context.organization, id, DOCUMENTS_MAX).await?;
    Ok(documents.iter().filter_map(|(document, _)| document.about().map(str::to_owned)).collect())
}

/// Refuses a DocumentReference by which a caller who is limited to one patient would make a Binary
/// the patient's: one that is somebody else's, or nobody's yet, is as absent.
pub async fn permit_pointers(context: &Context<'_>, proposed: &[Proposed]) -> Result<(), Refusal> {
    for at in proposed {
        let (resource_type, ..) = at.change.target();
        let own = context.caller.compartment(Interaction::Update, resource_type);
        let (Some(own), "DocumentReference", Some(document)) = (own, resource_type, &at.document) else { continue };
        for id in facts::binaries(&document.to_value(), &context.organization.base_url) {
            if !is_of(context, id, own, proposed).await? {
                let refused =
                    Refusal::invalid("DocumentReference.content.attachment.url", "is no Binary of the patient");
                return Err(refused.of_entry(at.entry));
            }
        }
    }
    Ok(())
}

/// Whether a Binary is this patient's alone, or is written as such by the same request.
async fn is_of(context: &Context<'_>, id: &str, patient: &str, proposed: &[Proposed]) -> Result<bool, Refusal> {
    let beside = proposed.iter().find(|beside| {
        let (resource_type, found, _) = beside.change.target();
        resource_type == "Binary" && found == id
    });
    if let Some(beside) = beside {
        return Ok(beside.change.patient() == Some(patient));
    }
    if !sighted::is_of(context, patient, "Binary", id, None).await? {
        return Ok(false);
    }
    match context.organization.records.latest("Binary", id).await {
        Ok(stored) => Ok(patients(context, &stored).await? == BTreeSet::from([patient.to_owned()])),
        Err(Refusal::NotFound) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Whose the next version of a Binary is, which now is `before`'s; `named` is whom what was sent names. A file names
/// nobody where its header is left out: then it stays whose it is. FHIR says all there is, and what it leaves out would
/// be nobody's, as what names another would be another's: reads of it would no longer be in the patient's access log.
///
/// # Errors
/// [`Refusal::Invalid`] for FHIR that leaves the patient out, and for whatever names another.
pub fn owner(incoming: &Incoming, named: Option<String>, before: Option<&str>) -> Result<Option<String>, Refusal> {
    match (named, before, incoming) {
        (None, Some(before), Incoming::Raw { .. }) => Ok(Some(before.to_owned())),
        (named, Some(before), _) if named.as_deref() != Some(before) => Err(Refusal::invalid(
            "Binary.securityContext",
            "must name the Patient that it names now; to take the Binary from that patient, delete it",
        )),
        (named, ..) => Ok(named),
    }
}

/// A Binary that was sent in its own format, as FHIR JSON.
pub fn as_json(stored: &Stored, content_type: &str, bytes: &[u8]) -> Vec<u8> {
    let serving = Serving { version: stored.version, last_updated: stored.last_updated, source: None };
    with_meta(&stored.id, content_type, stored.about(), bytes, &serving)
}

fn with_meta(id: &str, content_type: &str, about: Option<&str>, bytes: &[u8], serving: &Serving<'_>) -> Vec<u8> {
    let document = Document::parse(resource(id, content_type, about, bytes)).expect("what serde_json prints parses");
    document.served(serving)
}

fn resource(id: &str, content_type: &str, about: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let mut resource = json!({"resourceType": "Binary", "id": id, "contentType": content_type});
    if let Some(patient) = about {
        resource["securityContext"] = json!({"reference": reference(patient)});
    }
    if !bytes.is_empty() {
        resource["data"] = json!(STANDARD.encode(bytes));
    }
    resource.to_string().into_bytes()
}

fn reference(patient: &str) -> String {
    format!("Patient/{patient}")
}

/// A Binary as the client wants it: FHIR if `Accept` names it and wants nothing more, its own format otherwise.
///
/// # Errors
/// [`Refusal::NotAcceptable`] if neither will do.
pub fn negotiated(stored: &Stored, accept: Option<&str>) -> Result<Body, Refusal> {
    match &stored.content {
        Content::Raw { content_type, bytes } => {
            if wants_fhir(accept, content_type) {
                return Ok(Body::fhir(served(stored)));
            }
            let body = of_its_own(content_type.clone(), bytes.to_vec(), accept)?;
            Ok(Body { security_context: stored.about().map(reference), ..body })
        }
        Content::Json(bytes) => {
            let document = Document::parse(bytes.clone())?;
            let is_wanted = wants_fhir(accept, named_type(&document));
            if is_wanted {
                return Ok(Body::fhir(served(stored)));
            }
            Ok(Body { security_context: stored.about().map(reference), ..native(&document, accept)? })
        }
        Content::Deleted => Err(Refusal::Gone),
    }
}

/// A Binary of another custodian, whose id here is `id`: sent on as it came, unwrapped from FHIR
/// JSON, or wrapped in it.
pub fn of_remote(id: &str, opened: Opened, accept: Option<&str>) -> Result<Body, Refusal> {
    let came_as_fhir = opened.content_type.starts_with("application/fhir+json");
    let Opened { content_type, bytes, version, last_updated, source, .. } = opened;
    if came_as_fhir {
        let document = Document::parse(bytes)?;
        let is_wanted = wants_fhir(accept, named_type(&document));
        return if is_wanted { Ok(Body::fhir(document.bytes().to_vec())) } else { native(&document, accept) };
    }
    if wants_fhir(accept, &content_type) {
        let serving = Serving { version, last_updated, source: Some(&source) };
        return Ok(Body::fhir(with_meta(id, &content_type, None, &bytes, &serving)));
    }
    of_its_own(content_type, bytes, accept)
}

fn wants_fhir(accept: Option<&str>, content_type: &str) -> bool {
    accept.is_some_and(|accept| format::prefers_fhir(accept, &type_of(content_type)))
}

/// The type of a file that says to be of `content_type`.
fn type_of(content_type: &str) -> Mime {
    content_type.parse().unwrap_or(mime::APPLICATION_OCTET_STREAM)
}

/// What a Binary in FHIR says that it holds.
fn named_type(document: &Document) -> &str {
    document.root().text("contentType").unwrap_or("application/octet-stream")
}

/// What a Binary in FHIR holds.
fn native(document: &Document, accept: Option<&str>) -> Result<Body, Refusal> {
    let content_type = named_type(document).to_owned();
    let data: String = document.root().text("data").unwrap_or_default().split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(data).map_err(|_| Refusal::Internal("an accepted Binary is not base64"))?;
    of_its_own(content_type, bytes, accept)
}

fn of_its_own(content_type: String, bytes: Vec<u8>, accept: Option<&str>) -> Result<Body, Refusal> {
    let own = type_of(&content_type);
    // A Binary in FHIR may say anything to be its type: no header says what is none.
    let is_one = content_type.parse::<Mime>().is_ok();
    let content_type = if is_one { content_type } else { own.to_string() };
    match accept {
        Some(accept) if format::quality_of_file(accept, &own) == 0 => Err(Refusal::NotAcceptable),
        _ => Ok(Body { content_type: Some(content_type), ..Body::fhir(bytes) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_decides_the_form() {
        let body = |accept| of_its_own("image/png".into(), vec![1], accept).map(|body| body.bytes);
        assert_eq!(body(None), Ok(vec![1]));
        assert_eq!(body(Some("*/*")), Ok(vec![1]));
        assert_eq!(body(Some("text/html, image/*;q=0.8")), Ok(vec![1]));
        assert_eq!(body(Some("application/pdf")), Err(Refusal::NotAcceptable));
        assert_eq!(body(Some("image/png;q=0, image/*")), Err(Refusal::NotAcceptable));
        for none in ["0", "", "text", "a\nb", "text/html\r\nx: y"] {
            let body = of_its_own(none.into(), vec![1], None).expect("a body");
            assert_eq!(body.content_type.as_deref(), Some("application/octet-stream"), "{none:?}");
        }
        let document = Document::parse(resource("a", "image/png", Some("p"), &[1, 2])).expect("JSON");
        let body = native(&document, None).expect("a body");
        assert_eq!((body.content_type.as_deref(), body.bytes), (Some("image/png"), vec![1, 2]));
    }
}
