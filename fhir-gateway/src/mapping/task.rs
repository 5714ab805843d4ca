//! A Task that asks a patient of another organization for access. docs/api/access-request.md is
//! the page of this profile.

use std::collections::BTreeSet;

use careledger_wire::{
    commitment::Salt,
    ids::{Address, Digest, RequestId, SubjectId},
    message::Message,
    proto::consent::MsgRequestAccess,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{consent::Terms, element::Element, period};
use crate::{naming, outcome::Refusal};

/// Resource types that one request may name.
const SCOPE_MAX: usize = 64;

/// What a Task asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Local id of the Patient whom it is for.
    pub patient: String,
    /// Local id of the Practitioner who asks.
    pub requester: String,
    /// The patient's subject at the custodian.
    pub subject: SubjectId,
    /// The organization that holds the records.
    pub custodian: Address,
    /// Code of v3 ActReason.
    pub purpose: String,
    /// Resource types, at least one.
    pub scope: BTreeSet<String>,
    /// After this it cannot be approved, Unix seconds.
    pub expires_at: i64,
}

/// A request as it travels, sealed, to the custodian.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Its id on the ledger.
    pub request: RequestId,
    /// The patient's subject at the custodian.
    pub subject: SubjectId,
    /// The practitioner who asks.
    pub practitioner: Address,
    /// Name of the practitioner as the requester's Practitioner gives it, for the patient to read.
    pub display: Option<String>,
    /// Code of v3 ActReason.
    pub purpose: String,
    /// Resource types.
    pub scope: BTreeSet<String>,
    /// After this it cannot be approved, Unix seconds.
    pub expires_at: i64,
    /// Salt of the commitment to the terms, hexadecimal.
    pub salt: String,
}

/// Whether a Task asks for access; others are kept like any other resource.
pub fn is_access_request(task: &Value) -> bool {
    let is_it = |coding: Element<'_>| {
        coding.get("system").text() == Some(naming::TASK_CODE)
            && coding.get("code").text() == Some(naming::ACCESS_REQUEST)
    };
    // Any of the codings, as a search sees it.
    Element::resource(task).get("code").get("coding").items().any(is_it)
}

/// Reads a Task that asks for access.
pub fn request(task: &Value) -> Result<Request, Refusal> {
    let root = Element::resource(task);
    if root.get("status").required()? != "requested" {
        return Err(root.get("status").refuse("must be requested"));
    }
    if root.get("intent").required()? != "order" {
        return Err(root.get("intent").refuse("must be order"));
    }
    let local = |name: &str, kind: &str| {
        let element = root.get(name);
        let id = element.local_id(kind).map(str::to_owned);
        id.ok_or_else(|| element.get("reference").refuse(&format!("must be a {kind} of this server")))
    };
    let purpose = root.get("reasonCode").code(naming::ACT_REASON);
    let end = root.get("restriction").get("period");
    let expires_at = period::period(&end)?.end;
    if expires_at == i64::MAX {
        return Err(end.get("end").refuse("is required: a request ends"));
    }
    let inputs = root.get("input");
    let subject = one_input(&inputs, "subject")?.get("valueIdentifier");
    let custodian = one_input(&inputs, "custodian")?.get("valueIdentifier");
    Ok(Request {
        patient: local("for", "Patient")?,
        requester: local("requester", "Practitioner")?,
        subject: parsed(&subject, naming::SUBJECT)?,
        custodian: parsed(&custodian, naming::ACCOUNT)?,
        purpose: purpose.ok_or_else(|| root.get("reasonCode").refuse("needs a code of v3-ActReason"))?.to_owned(),
        scope: scope(&inputs)?,
        expires_at,
    })
}

fn parsed<T: std::str::FromStr>(identifier: &Element<'_>, system: &str) -> Result<T, Refusal> {
    let value = identifier.identifier_value(system);
    let value = value.ok_or_else(|| identifier.refuse(&format!("needs the system {system} and a value")))?;
    value.parse().map_err(|_| identifier.get("value").refuse("is not what its system names"))
}

fn of_kind<'a>(inputs: &Element<'a>, kind: &'static str) -> impl Iterator<Item = Element<'a>> + use<'a> {
    inputs.items().filter(move |input| input.get("type").code(naming::TASK_INPUT) == Some(kind))
}

fn one_input<'a>(inputs: &Element<'a>, kind: &'static str) -> Result<Element<'a>, Refusal> {
    let mut found = of_kind(inputs, kind);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(inputs.refuse(&format!("needs exactly one {kind}, a code of urn:careledger:task-input"))),
    }
}

fn scope(inputs: &Element<'_>) -> Result<BTreeSet<String>, Refusal> {
    let types: Result<BTreeSet<String>, Refusal> =
        of_kind(inputs, "scope").map(|input| input.get("valueCode").required().map(str::to_owned)).collect();
    let types = types?;
    if (1..=SCOPE_MAX).contains(&types.len()) { Ok(types) } else { Err(inputs.refuse("needs 1 to 64 of scope")) }
}

impl Delivery {
    /// The salt's bytes; `None` where the other side sent something else.
    pub fn salt(&self) -> Option<Salt> {
        let mut salt = [0; 32];
        hex::decode_to_slice(&self.salt, &mut salt).ok()?;
        Some(salt)
    }

    /// The terms asked for by `organization`.
    pub fn terms(&self, organization: &Address) -> Terms {
        Terms {
            organization: *organization,
            practitioner: Some(self.practitioner),
            roles: BTreeSet::new(),
            purposes: BTreeSet::from([self.purpose.clone()]),
            resource_types: self.scope.clone(),
            data_period: None,
            labels: BTreeSet::new(),
        }
    }

    /// What the ledger is told. `body` is the digest of the sealed delivery.
    pub fn message(&self, organization: &Address, salt: &Salt, body: &Digest) -> Message {
        let message = MsgRequestAccess {
            sender: organization.to_string(),
            subject: self.subject.to_vec(),
            request: self.request.to_vec(),
            terms: self.terms(organization).commitment(salt).to_vec(),
            body: body.to_vec(),
            expires_at: self.expires_at,
            standing: Vec::new(),
        };
        message.into()
    }

    /// The Task that the custodian keeps of it, about its own Patient `patient`, received at
    /// `now` (Unix seconds) from `organization`.
    pub fn task(&self, id: &str, patient: &str, organization: &Address, now: i64) -> Value {
        let input = |kind: &str, name: &str, value: Value| json!({"type": {"coding": [{"system": naming::TASK_INPUT, "code": kind}]}, name: value});
        let subject = json!({"system": naming::SUBJECT, "value": self.subject});
        let mut inputs = vec![input("subject", "valueIdentifier", subject)];
        inputs.extend(self.scope.iter().map(|kind| input("scope", "valueCode", json!(kind))));
        let account = |account: &Address| json!({"system": naming::ACCOUNT, "value": account});
        let mut requester = json!({"type": "Practitioner", "identifier": account(&self.practitioner)});
        if let Some(display) = &self.display {
            requester["display"] = json!(display);
        }
        json!({
            "resourceType": "Task",
            "id": id,
            "extension": [{"url": naming::SALT, "valueString": self.salt}],
            "identifier": [{"system": naming::REQUEST, "value": self.request}],
            "status": "requested",
            "intent": "order",
            "code": {"coding": [{"system": naming::TASK_CODE, "code": naming::ACCESS_REQUEST}]},
            "for": {"reference": format!("Patient/{patient}")},
            "authoredOn": timestamp(now),
            "requester": requester,
            "owner": {"type": "Organization", "identifier": account(organization)},
            "reasonCode": {"coding": [{"system": naming::ACT_REASON, "code": self.purpose}]},
            "restriction": {"period": {"end": timestamp(self.expires_at.saturating_sub(1))}},
            "input": inputs,
        })
    }
}

/// First second after the calendar of FHIR's instants, whose years have four digits.
pub const CALENDAR_END: i64 = 253_402_300_800;

/// A time as FHIR writes an instant. A time that it cannot write is the nearest one that it can.
pub fn timestamp(seconds: i64) -> String {
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    let seconds = seconds.clamp(0, CALENDAR_END - 1);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).expect("a time within the calendar has an RFC 3339 form")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Value {
        let input = |kind: &str, name: &str, value: Value| json!({"type": {"coding": [{"system": naming::TASK_INPUT, "code": kind}]}, name: value});
        json!({
            "resourceType": "Task",
            "status": "requested",
            "intent": "order",
            "code": {"coding": [{"system": naming::TASK_CODE, "code": naming::ACCESS_REQUEST}]},
            "for": {"reference": "Patient/p"},
            "requester": {"reference": "Practitioner/d"},
            "reasonCode": {"coding": [{"system": naming::ACT_REASON, "code": "TREAT"}]},
            "restriction": {"period": {"end": "1970-01-02"}},
            "input": [
                input("subject", "valueIdentifier", json!({"system": naming::SUBJECT, "value": "05".repeat(32)})),
                input("custodian", "valueIdentifier", json!({"system": naming::ACCOUNT, "value": Address::new([1; 20])})),
                input("scope", "valueCode", json!("DocumentReference")),
            ],
        })
    }

    #[test]
    fn a_request_is_read() {
        let request = request(&task()).unwrap();
        assert!(is_access_request(&task()));
        assert_eq!((request.patient.as_str(), request.requester.as_str()), ("p", "d"));
        assert_eq!(request.subject, SubjectId::new([5; 32]));
        assert_eq!(request.expires_at, 2 * 86_400);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let cases = [
            ("status", json!("accepted"), "Task.status"),
            ("intent", json!("plan"), "Task.intent"),
            ("for", json!({"reference": "https://elsewhere.example/Patient/p"}), "Task.for.reference"),
            ("requester", json!({"reference": "Organization/d"}), "Task.requester.reference"),
            ("reasonCode", json!({}), "Task.reasonCode"),
            ("restriction", json!({}), "Task.restriction.period.end"),
            ("input", json!([]), "Task.input"),
        ];
        for (name, value, expected) in cases {
            let mut task = task();
            task[name] = value;
            let Err(Refusal::Invalid { path, .. }) = request(&task) else { panic!("{expected} was accepted") };
            assert_eq!(path, expected);
        }
    }

    #[test]
    fn the_custodian_keeps_what_was_asked() {
        let delivery = Delivery {
            request: RequestId::new([3; 32]),
            subject: SubjectId::new([5; 32]),
            practitioner: Address::new([2; 20]),
            display: Some("Dr. Who".to_owned()),
            purpose: "TREAT".to_owned(),
            scope: BTreeSet::from(["DocumentReference".to_owned()]),
            expires_at: 2 * 86_400,
            salt: "07".repeat(32),
        };
        let task = delivery.task("t", "p", &Address::new([1; 20]), 86_400);
        let root = Element::resource(&task);
        assert!(is_access_request(&task));
        assert_eq!(root.get("identifier").identifier(naming::REQUEST), Some("03".repeat(32).as_str()));
        assert_eq!(period::period(&root.get("restriction").get("period")).unwrap().end, delivery.expires_at);
        assert_eq!(root.get("for").local_id("Patient"), Some("p"));
    }
}
