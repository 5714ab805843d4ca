//! DocumentReferences and SubmissionSets of IHE MHD, as JSON. docs/api/documents.md
//!
//! What is made here claims MHD's minimal profiles, and holds no more than what the document or
//! its sender said.

use careledger_wire::ids::Address;
use serde_json::{Map, Value, json};

use crate::{json::instant, naming};

/// What the profiles of MHD's resources start with.
pub const MHD: &str = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.";
/// The profile of a DocumentReference that carries its document (ITI-105).
pub const SIMPLIFIED: &str =
    "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.SimplifiedPublish.DocumentReference";
/// The profile of a DocumentReference with what MHD always demands.
pub const MINIMAL: &str = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.Minimal.DocumentReference";
/// The extension of a SubmissionSet: who sent it.
pub const SOURCE_ID: &str = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-sourceId";
/// The extension of a SubmissionSet: what kind of content it has.
pub const DESIGNATION_TYPE: &str = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-designationType";
/// Codes of MHD's Lists: `submissionset` and `folder`.
pub const LIST_TYPES: &str = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes";

const SUBMISSION_SET: &str = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.Minimal.SubmissionSet";
/// System of identifiers that are URIs.
const URIS: &str = "urn:ietf:rfc:3986";

/// The bytes of a document, and what is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Id of the Binary.
    pub binary: String,
    /// Media type.
    pub content_type: String,
    /// Base64 of the SHA-1 of the bytes (FHIR R4, Attachment.hash).
    pub hash: String,
    /// How many bytes.
    pub size: usize,
}

/// What a document says of itself; what it does not say is absent. Values of elements of FHIR.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// `masterIdentifier`, without which a new one is made.
    pub identifier: Option<Value>,
    /// `type`
    pub kind: Option<Value>,
    /// `category`
    pub category: Option<Value>,
    /// `securityLabel`, one.
    pub label: Option<Value>,
    /// `content.attachment.title`
    pub title: Option<String>,
    /// `content.attachment.creation`
    pub creation: Option<String>,
    /// `content.attachment.language`
    pub language: Option<String>,
    /// `context.event`
    pub events: Vec<Value>,
    /// `context.period`
    pub period: Option<Value>,
    /// Identifiers of the patient whom it is about.
    pub patients: Vec<(String, String)>,
}

/// A new DocumentReference `id` for a document. `patient` is the local Patient whom it is about;
/// `now` in Unix seconds.
pub fn reference(id: &str, described: &Described, attachment: &Attachment, patient: Option<&str>, now: i64) -> Value {
    let own = || json!({"system": URIS, "value": format!("urn:uuid:{id}")});
    let mut content = json!({
        "contentType": attachment.content_type,
        "url": format!("Binary/{}", attachment.binary),
        "size": attachment.size,
        "hash": attachment.hash,
    });
    for (name, value) in
        [("title", &described.title), ("creation", &described.creation), ("language", &described.language)]
    {
        if let Some(value) = value {
            content[name] = json!(value);
        }
    }
    let mut reference = json!({
        "resourceType": "DocumentReference",
        "id": id,
        "meta": {"profile": [MINIMAL]},
        "masterIdentifier": described.identifier.clone().unwrap_or_else(own),
        "status": "current",
    });
    for (name, value) in [("type", described.kind.clone()), ("category", described.category.clone().map(one))] {
        set(&mut reference, name, value);
    }
    set(&mut reference, "subject", patient.map(|patient| json!({"reference": format!("Patient/{patient}")})));
    reference["date"] = json!(instant(now));
    set(&mut reference, "securityLabel", described.label.clone().map(one));
    reference["content"] = json!([{"attachment": content}]);
    let mut context = Map::new();
    if !described.events.is_empty() {
        context.insert("event".to_owned(), json!(described.events));
    }
    context.extend(described.period.clone().map(|period| ("period".to_owned(), period)));
    set(&mut reference, "context", (!context.is_empty()).then_some(Value::Object(context)));
    reference
}

/// The SubmissionSet `id` of one DocumentReference that came alone: who sent it, when, about whom.
pub fn submission_set(id: &str, document: &Value, organization: &Address, now: i64) -> Value {
    let mut list = json!({
        "resourceType": "List",
        "id": id,
        "meta": {"profile": [SUBMISSION_SET]},
        "extension": [{
            "url": SOURCE_ID,
            "valueIdentifier": {"system": naming::ACCOUNT, "value": organization.to_string()},
        }],
        "identifier": [{"use": "usual", "system": URIS, "value": format!("urn:uuid:{id}")}],
        "status": "current",
        "mode": "working",
        "code": {"coding": [{"system": LIST_TYPES, "code": "submissionset"}]},
    });
    set(&mut list, "subject", document.get("subject").cloned());
    list["date"] = json!(instant(now));
    let reference = format!("DocumentReference/{}", document["id"].as_str().unwrap_or_default());
    list["entry"] = json!([{"item": {"reference": reference}}]);
    list
}

fn one(value: Value) -> Value {
    Value::Array(vec![value])
}

fn set(resource: &mut Value, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        resource[name] = value;
    }
}

/// What a FHIR document says of itself: its Composition, the first entry (FHIR R4, 3.3.1).
pub fn of_bundle(bundle: &Value) -> Option<Described> {
    let entries = bundle["entry"].as_array()?;
    let composition = &entries.first()?["resource"];
    if composition["resourceType"] != "Composition" {
        return None;
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let there = |value: &Value| (!value.is_null()).then(|| value.clone());
    let confidentiality = composition["confidentiality"].as_str();
    let label = confidentiality.map(|code| json!({"coding": [{"system": CONFIDENTIALITY, "code": code}]}));
    let event = &composition["event"][0];
    let codes = event["code"].as_array().cloned().unwrap_or_default();
    Some(Described {
        identifier: there(&bundle["identifier"]).or_else(|| there(&composition["identifier"])),
        kind: there(&composition["type"]),
        category: there(&composition["category"][0]),
        label,
        title: text(&composition["title"]),
        creation: text(&composition["date"]),
        language: text(&composition["language"]),
        events: codes,
        period: there(&event["period"]),
        patients: identifiers_of(entries, composition["subject"]["reference"].as_str()),
    })
}

/// Code system of confidentiality.
pub const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// System and value of the identifiers of the Patient whom `reference` names among `entries`.
fn identifiers_of(entries: &[Value], reference: Option<&str>) -> Vec<(String, String)> {
    let Some(reference) = reference else { return Vec::new() };
    let is_it = |entry: &&Value| {
        let resource = &entry["resource"];
        let local = format!("Patient/{}", resource["id"].as_str().unwrap_or_default());
        resource["resourceType"] == "Patient" && (entry["fullUrl"] == reference || local == reference)
    };
    let found = entries.iter().find(is_it).and_then(|entry| entry["resource"]["identifier"].as_array());
    let pair = |identifier: &Value| Some((identifier["system"].as_str()?.into(), identifier["value"].as_str()?.into()));
    found.into_iter().flatten().filter_map(pair).take(super::cda::IDENTIFIERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json::Document, validate};

    #[test]
    fn a_bounded_number_of_a_patients_identifiers_is_looked_at() {
        let identifiers: Vec<Value> = (0..40).map(|n| json!({"system": "s", "value": n.to_string()})).collect();
        let bundle = json!({"resourceType": "Bundle", "type": "document", "entry": [
            {"resource": {"resourceType": "Composition", "subject": {"reference": "Patient/p"}}},
            {"resource": {"resourceType": "Patient", "id": "p", "identifier": identifiers}},
        ]});
        let named: Vec<String> = of_bundle(&bundle).unwrap().patients.into_iter().map(|(_, value)| value).collect();
        assert_eq!(named, (0..16).map(|n| n.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_made_is_valid_and_says_what_the_document_says() {
        let bundle = json!({"resourceType": "Bundle", "type": "document", "identifier": {"system": URIS, "value": "urn:uuid:1"},
        "entry": [
            {"fullUrl": "urn:uuid:c", "resource": {"resourceType": "Composition", "type": {"text": "Letter"}, "title": "A letter",
                "date": "2024-01-05T12:00:00Z", "confidentiality": "R", "subject": {"reference": "Patient/p"},
                "event": [{"code": [{"text": "operation"}], "period": {"start": "2024-01-01"}}]}},
            {"resource": {"resourceType": "Patient", "id": "q", "identifier": [{"system": "s", "value": "other"}]}},
            {"resource": {"resourceType": "Patient", "id": "p", "identifier": [{"system": "s", "value": "1"}, {"value": "2"}]}},
        ]});
        let described = of_bundle(&bundle).unwrap();
        assert_eq!(described.patients, [("s".to_owned(), "1".to_owned())]);
        let attachment =
            Attachment { binary: "b".into(), content_type: "text/plain".into(), hash: "AA==".into(), size: 1 };
        let made = reference("d", &described, &attachment, Some("p1"), 1_700_000_000);
        validate::resource(&Document::parse(made.to_string()).unwrap()).unwrap();
        for (path, expected) in [
            ("/masterIdentifier/value", "urn:uuid:1"),
            ("/type/text", "Letter"),
            ("/content/0/attachment/title", "A letter"),
            ("/content/0/attachment/creation", "2024-01-05T12:00:00Z"),
            ("/securityLabel/0/coding/0/code", "R"),
            ("/context/event/0/text", "operation"),
            ("/context/period/start", "2024-01-01"),
            ("/subject/reference", "Patient/p1"),
        ] {
            assert_eq!(made.pointer(path).and_then(Value::as_str), Some(expected), "{path}");
        }
        let bare = reference("d", &Described::default(), &attachment, None, 0);
        assert_eq!((bare.get("subject"), bare["masterIdentifier"]["value"].as_str()), (None, Some("urn:uuid:d")));
        for made in [bare.clone(), submission_set("l", &made, &Address::new([1; 20]), 0)] {
            validate::resource(&Document::parse(made.to_string()).unwrap()).unwrap();
        }
        assert_eq!(of_bundle(&json!({"entry": [{"resource": {"resourceType": "Patient"}}]})), None);
    }
}
