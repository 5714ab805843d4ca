//! A leaf as a FHIR AuditEvent, in the shape of IHE's Basic Audit Log Patterns (BALP 1.1.3).

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Action, Agent, Leaf, Outcome};
use crate::decide::Rule;

/// FHIR id of the AuditEvent of a leaf.
pub fn id(number: u64) -> String {
    format!("leaf-{number}")
}

/// The leaf's number of an AuditEvent's FHIR id.
pub fn number(id: &str) -> Option<u64> {
    let digits = id.strip_prefix("leaf-")?;
    // One spelling for each: no leading zeros or signs.
    digits.parse().ok().filter(|number: &u64| number.to_string() == digits)
}

impl Leaf {
    /// The AuditEvent. `source` is the organization's FHIR base URL.
    pub fn event(&self, source: &str) -> Value {
        let access = &self.access;
        let (code, subtype, profile) = match access.action {
            Action::Create => ("C", "create", "Create"),
            Action::Read => ("R", "read", "Read"),
            Action::Update => ("U", "update", "Update"),
            Action::Delete => ("D", "delete", "Delete"),
            Action::Execute => ("E", "search-type", "Query"),
        };
        let about_patient = if access.patient.is_some() { "Patient" } else { "" };
        let profile =
            format!("https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.{about_patient}{profile}");
        let mut event = json!({
            "resourceType": "AuditEvent",
            "id": id(self.number),
            "meta": {"versionId": "1", "lastUpdated": instant(self.time), "profile": [profile]},
            "type": coding("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest"),
            "subtype": [coding("http://hl7.org/fhir/restful-interaction", subtype)],
            "action": code,
            "recorded": instant(self.time),
            "outcome": match access.outcome { Outcome::Permitted => "0", Outcome::Denied(_) => "4" },
            "agent": self.agents(source),
            "source": {
                "observer": {"display": source},
                "type": [coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4")],
            },
            "entity": self.entities(),
        });
        if let Outcome::Denied(reason) = &access.outcome {
            let rule = Rule::ALL.into_iter().find(|rule| rule.name() == *reason);
            event["outcomeDesc"] = json!(rule.map_or(reason.clone(), |rule| rule.refused().to_owned()));
        }
        if let Some(purpose) = &access.purpose {
            let purpose = coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", purpose);
            event["purposeOfEvent"] = json!([{"coding": [purpose]}]);
        }
        printable(&mut event);
        event
    }

    fn agents(&self, source: &str) -> Value {
        let who = |system: &str, value: String| json!({"identifier": {"system": system, "value": value}});
        let kind = |code: &str| json!({"coding": [coding("http://dicom.nema.org/resources/ontology/DCM", code)]});
        let server = json!({"type": kind("110152"), "who": {"display": source}, "requestor": false});
        let client = match &self.access.agent {
            Agent::Client(client) => who("urn:careledger:client", client.clone()),
            Agent::Organization { organization, .. } => who("urn:careledger:account", organization.to_string()),
        };
        let mut agents = vec![json!({"type": kind("110153"), "who": client, "requestor": true}), server];
        if let Agent::Organization { practitioner: Some(practitioner), .. } = &self.access.agent {
            let human = coding("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP");
            let practitioner = who("urn:careledger:account", practitioner.to_string());
            agents.push(json!({"type": {"coding": [human]}, "who": practitioner, "requestor": false}));
        }
        Value::Array(agents)
    }

    fn entities(&self) -> Value {
        let object = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
        let role = |code: &str| coding("http://terminology.hl7.org/CodeSystem/object-role", code);
        let mut entities = Vec::new();
        if let Some(patient) = &self.access.patient {
            let what = json!({"reference": format!("Patient/{patient}")});
            entities.push(json!({"what": what, "type": coding(object, "1"), "role": role("1")}));
        }
        for entity in &self.access.entities {
            let what = match (&entity.id, entity.version) {
                (Some(id), Some(version)) => format!("{}/{id}/_history/{version}", entity.resource_type),
                (Some(id), None) => format!("{}/{id}", entity.resource_type),
                (None, _) => entity.resource_type.clone(),
            };
            // A search names a type, which is no reference.
            let what = if entity.id.is_some() { json!({"reference": what}) } else { json!({"display": what}) };
            entities.push(json!({"what": what, "type": coding(object, "2"), "role": role("4")}));
        }
        if let Some(grant) = &self.access.grant {
            let what = json!({"identifier": {"system": "urn:careledger:grant", "value": grant.to_string()}});
            entities.push(json!({"what": what, "type": coding(object, "2"), "role": role("4")}));
        }
        Value::Array(entities)
    }
}

/// Replaces what FHIR's strings may not hold. A leaf never changes, so one that was written with
/// such characters has to be shown all the same.
fn printable(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(char::is_control) => {
            *text = text.replace(char::is_control, "\u{fffd}");
        }
        Value::Array(items) => items.iter_mut().for_each(printable),
        Value::Object(members) => members.values_mut().for_each(printable),
        _ => {}
    }
}

fn coding(system: &str, code: &str) -> Value {
    json!({"system": system, "code": code})
}

/// Unix seconds as a FHIR instant.
fn instant(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}
