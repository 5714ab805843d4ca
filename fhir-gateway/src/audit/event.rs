//! A leaf as a FHIR AuditEvent, in the shape of IHE's Basic Audit Log Patterns (BALP 1.1).
//!
//! An event claims the profile of BALP that it meets. BALP has none for what failed or was refused
//! locally, nor for operations: these events claim nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Action, Agent, Entity, Leaf, Outcome};
use crate::{decide::Rule, naming};

const PROFILES: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const OBJECT: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const REST: &str = "http://hl7.org/fhir/restful-interaction";

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

/// What an event is about, as BALP tells its patterns apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Create,
    Read,
    Update,
    Delete,
    Query,
    /// An operation on a resource, for which BALP has no pattern.
    Operation,
    /// A decision by consent that refused another organization.
    Refusal,
}

impl Pattern {
    fn of(leaf: &Leaf) -> Self {
        let access = &leaf.access;
        let is_refusal = matches!(access.outcome, Outcome::Denied(_)) && access.patient.is_some();
        match (access.action, access.entities.first(), &access.agent) {
            (_, _, Agent::Organization { practitioner: Some(_), .. }) if is_refusal && access.grant.is_some() => {
                Self::Refusal
            }
            (Action::Create, ..) => Self::Create,
            (Action::Read, ..) => Self::Read,
            (Action::Update, ..) => Self::Update,
            (Action::Delete, ..) => Self::Delete,
            (Action::Execute, Some(Entity { id: Some(_), query: None, .. }), _) => Self::Operation,
            (Action::Execute, ..) => Self::Query,
        }
    }

    fn profile(self, leaf: &Leaf) -> Option<String> {
        let name = match self {
            Self::Refusal => return Some(format!("{PROFILES}AuthZconsent")),
            Self::Operation => return None,
            _ if leaf.access.outcome != Outcome::Permitted => return None,
            Self::Create => "Create",
            Self::Read => "Read",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::Query => "Query",
        };
        let about_patient = if leaf.access.patient.is_some() { "Patient" } else { "" };
        Some(format!("{PROFILES}{about_patient}{name}"))
    }

    fn action(self) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Read => "R",
            Self::Update => "U",
            Self::Delete => "D",
            Self::Query | Self::Operation | Self::Refusal => "E",
        }
    }

    fn subtype(self) -> Value {
        let code = match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Query => "search-type",
            Self::Operation => "operation",
            Self::Refusal => {
                return coding("https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType", "AuthZ-Consent");
            }
        };
        coding(REST, code)
    }
}

impl Leaf {
    /// The AuditEvent. `source` is the organization's FHIR base URL.
    pub fn event(&self, source: &str) -> Value {
        let (access, pattern) = (&self.access, Pattern::of(self));
        let mut meta = json!({"versionId": "1", "lastUpdated": instant(self.time)});
        if let Some(profile) = pattern.profile(self) {
            meta["profile"] = json!([profile]);
        }
        let is_refusal = pattern == Pattern::Refusal;
        let mut event = json!({
            "resourceType": "AuditEvent",
            "id": id(self.number),
            "meta": meta,
            "type": if is_refusal {
                coding(DICOM, "110113")
            } else {
                coding("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest")
            },
            "subtype": [pattern.subtype()],
            "action": pattern.action(),
            "recorded": instant(self.time),
            "outcome": match access.outcome { Outcome::Permitted => "0", Outcome::Denied(_) => "4" },
            "agent": if is_refusal { self.agents_of_refusal(source) } else { self.agents(source, pattern) },
            "source": {
                "observer": {"display": source},
                "type": [coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4")],
            },
            "entity": if is_refusal { self.entities_of_refusal() } else { self.entities(pattern) },
        });
        if let Outcome::Denied(reason) = &access.outcome {
            event["outcomeDesc"] = json!(described(reason));
        }
        if let Some(purpose) = &access.purpose {
            event["purposeOfEvent"] = json!([{"coding": [coding(naming::ACT_REASON, purpose)]}]);
        }
        printable(&mut event);
        event
    }

    /// Who asked and who answered. Data flows to who asks in a read, and from them otherwise, which is
    /// what the codes say; of a search BALP says that the question flows, of a deletion that nothing does.
    fn agents(&self, source: &str, pattern: Pattern) -> Value {
        let custodian = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
        let (asks, answers) = match pattern {
            Pattern::Read => (concept(DICOM, "110152"), concept(DICOM, "110153")),
            Pattern::Delete => (concept(DICOM, "110150"), concept(custodian, "custodian")),
            _ => (concept(DICOM, "110153"), concept(DICOM, "110152")),
        };
        let (who, human) = self.askers();
        let mut agents = vec![
            json!({"type": asks, "who": who, "requestor": true, "network": self.network()}),
            json!({
                "type": answers, "who": {"display": source}, "requestor": false,
                "network": {"address": source, "type": "5"},
            }),
        ];
        if let Some(human) = human {
            agents[0]["requestor"] = json!(false);
            agents.push(json!({"type": concept(PARTICIPATION, "IRCP"), "who": human, "requestor": true}));
        }
        Value::Array(agents)
    }

    fn agents_of_refusal(&self, source: &str) -> Value {
        let (who, human) = self.askers();
        let role = "http://terminology.hl7.org/CodeSystem/v3-RoleClass";
        let server = "http://terminology.hl7.org/CodeSystem/extra-security-role-type";
        let mut user = json!({"type": concept(PARTICIPATION, "IRCP"), "who": human, "requestor": true});
        if let Some(purpose) = &self.access.purpose {
            user["purposeOfUse"] = json!([concept(naming::ACT_REASON, purpose)]);
        }
        json!([
            {"type": concept(DICOM, "110150"), "who": &who, "requestor": false, "network": self.network()},
            user,
            {"type": concept(role, "PROV"), "who": who, "requestor": false},
            {"type": concept(server, "authserver"), "who": {"display": source}, "requestor": false},
        ])
    }

    /// Who asked: a program or an organization, and the human where one is known.
    fn askers(&self) -> (Value, Option<Value>) {
        let who = |system: &str, value: String| json!({"identifier": {"system": system, "value": value}});
        match &self.access.agent {
            Agent::Client(client) => (who("urn:careledger:client", client.clone()), None),
            Agent::Organization { organization, practitioner } => {
                let human = practitioner.map(|practitioner| who(naming::ACCOUNT, practitioner.to_string()));
                (who(naming::ACCOUNT, organization.to_string()), human)
            }
        }
    }

    /// Where the request came from; said to be unknown where it is.
    fn network(&self) -> Value {
        match &self.access.origin.address {
            Some(address) => json!({"address": address, "type": "2"}),
            None => json!({"extension": [{
                "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown",
            }]}),
        }
    }

    fn entities(&self, pattern: Pattern) -> Value {
        let mut entities: Vec<Value> = self.patient().into_iter().collect();
        for (at, entity) in self.access.entities.iter().enumerate() {
            entities.push(match (pattern, at) {
                (Pattern::Query, 0) => queried(entity),
                (_, 0) => json!({"what": what(entity), "type": coding(OBJECT, "2"), "role": coding(ROLE, "4")}),
                // BALP knows one object of an event; what else was shown stands beside it, by its type.
                _ => {
                    let of_type = coding(naming::RESOURCE_TYPES, &entity.resource_type);
                    json!({"what": what(entity), "type": of_type, "role": coding(ROLE, "4")})
                }
            });
        }
        entities.extend(self.consent());
        if let Some(request) = &self.access.origin.request {
            let kind = coding("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId");
            entities.push(json!({"what": {"identifier": {"value": request}}, "type": kind}));
        }
        Value::Array(entities)
    }

    /// The patient and the consent; BALP has no place for what was asked but beside the latter.
    fn entities_of_refusal(&self) -> Value {
        let asked = |entity: &Entity| {
            let text = match &entity.id {
                Some(id) => format!("{}/{id}", entity.resource_type),
                None => entity.resource_type.clone(),
            };
            json!({"type": "asked", "valueString": text})
        };
        let mut consent = self.consent();
        if let Some(consent) = &mut consent {
            consent["detail"] = self.access.entities.iter().map(asked).collect();
        }
        Value::Array(self.patient().into_iter().chain(consent).collect())
    }

    fn patient(&self) -> Option<Value> {
        let what = json!({"reference": format!("Patient/{}", self.access.patient.as_ref()?)});
        Some(json!({"what": what, "type": coding(OBJECT, "1"), "role": coding(ROLE, "1")}))
    }

    fn consent(&self) -> Option<Value> {
        let what = json!({"identifier": {"system": naming::GRANT, "value": self.access.grant?.to_string()}});
        Some(json!({"what": what, "type": coding(naming::RESOURCE_TYPES, "Consent")}))
    }
}

/// Why something was refused, in words.
fn described(reason: &str) -> String {
    let rule = Rule::ALL.into_iter().find(|rule| rule.name() == reason);
    match (rule, reason) {
        (Some(rule), _) => rule.refused().to_owned(),
        (None, "Scope") => "refused: the token does not allow it".to_owned(),
        (None, "Absent") => "refused: there is no such resource, or the client may not know of it".to_owned(),
        (None, other) => other.to_owned(),
    }
}

/// What a search asked. A line that was written before queries were kept has its type.
fn queried(entity: &Entity) -> Value {
    let query = entity.query.as_ref().unwrap_or(&entity.resource_type);
    json!({
        "type": coding(OBJECT, "2"), "role": coding(ROLE, "24"),
        "description": entity.resource_type, "query": STANDARD.encode(query),
    })
}

fn what(entity: &Entity) -> Value {
    match (&entity.id, entity.version) {
        (Some(id), Some(version)) => json!({"reference": format!("{}/{id}/_history/{version}", entity.resource_type)}),
        (Some(id), None) => json!({"reference": format!("{}/{id}", entity.resource_type)}),
        // A type is no reference.
        (None, _) => json!({"display": entity.resource_type}),
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

fn concept(system: &str, code: &str) -> Value {
    json!({"coding": [coding(system, code)]})
}

/// Unix seconds as a FHIR instant.
fn instant(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}
