//! A FHIR Consent as the terms of a grant. docs/api/consent.md is the page of this profile.
//!
//! The ledger sees the grantee, the window and two commitments. What they commit to, the terms and
//! the Consent's own bytes, stays with the custodian and the patient.

use std::collections::{BTreeMap, BTreeSet};

pub use careledger_wire::terms::Terms;
use careledger_wire::{
    commitment::{self, Salt},
    decision::OPEN_LABELS,
    ids::{Address, Digest, GrantId},
    proto::identity::PractitionerRole,
    terms,
};
use serde_json::Value;

use super::{
    element::Element,
    period::{self, Seconds},
};
use crate::{naming, outcome::Refusal};

/// Actors, purposes, types and labels that one Consent may name.
const LIST_MAX: usize = 64;

/// Where a Consent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A proposal: it opens nothing.
    Proposed,
    /// In force, with the patient's signature.
    Active,
    /// Revoked.
    Inactive,
}

/// A Consent in force, as the ledger must agree with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// What it opens.
    pub terms: Terms,
    /// When: seconds of the ledger's time.
    pub window: Seconds,
    /// Salt of both commitments.
    pub salt: Salt,
    /// The grant.
    pub grant: GrantId,
    /// Local id of the Patient who grants.
    pub patient: String,
    /// Whether the grantee may delegate to one more organization.
    pub delegable: bool,
}

/// The digest of a Consent that stands on the ledger. It is over the Consent without `id` and
/// `meta`, which the server sets, as JSON with sorted keys and without spaces, so that a client may
/// print it as it likes.
pub fn body_digest(salt: &Salt, consent: &Value) -> Digest {
    let mut body = consent.clone();
    if let Some(members) = body.as_object_mut() {
        members.remove("id");
        members.remove("meta");
    }
    Digest::new(commitment::hash("careledger/consent-body/1", &[salt, sorted(&body).to_string().as_bytes()]))
}

/// The same value with the keys of every object in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let ordered: BTreeMap<&String, &Value> = members.iter().collect();
            Value::Object(ordered.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// Where a Consent stands.
pub fn status(consent: &Value) -> Result<Status, Refusal> {
    let status = Element::resource(consent).get("status");
    match status.required()? {
        "draft" | "proposed" => Ok(Status::Proposed),
        "active" => Ok(Status::Active),
        "inactive" | "rejected" | "entered-in-error" => Ok(Status::Inactive),
        _ => Err(status.refuse("must be draft, proposed, active, rejected, inactive or entered-in-error")),
    }
}

/// Reads a Consent that is to open something.
pub fn permit(consent: &Value) -> Result<Permit, Refusal> {
    let root = Element::resource(consent);
    let provision = root.get("provision");
    if provision.get("type").text() != Some("permit") {
        return Err(provision.get("type").refuse("must be permit: everything else is denied without being asked"));
    }
    understood(&root, &provision)?;
    if let Some(nested) = provision.get("provision").items().find(|nested| !is_said_already(nested, &provision)) {
        return Err(nested.refuse("nested provisions cannot be granted; post one Consent for each"));
    }
    let window = period::period(&provision.get("period"))?;
    if window.start == i64::MIN || window.end == i64::MAX {
        return Err(provision.get("period").refuse("needs a start and an end"));
    }
    let salt = root.extension(naming::SALT);
    let salt = salt.ok_or_else(|| root.get("extension").refuse("needs the extension urn:careledger:extension:salt"))?;
    let identifiers = root.get("identifier");
    let grant = identifiers.identifier(naming::GRANT);
    let grant = grant.ok_or_else(|| identifiers.refuse("needs the grant: system urn:careledger:grant"))?;
    let delegable = root.extension(naming::DELEGABLE);
    let patient = root.get("patient");
    let local = patient.local_id("Patient");
    Ok(Permit {
        terms: terms(&provision)?,
        window,
        salt: salt.get("valueString").bytes32()?,
        grant: grant.parse().map_err(|_| identifiers.refuse("the grant must be 64 hexadecimal digits"))?,
        patient: local.ok_or_else(|| patient.get("reference").refuse("must be a Patient of this server"))?.to_owned(),
        delegable: delegable.is_some_and(|extension| extension.get("valueBoolean").value().as_bool() == Some(true)),
    })
}

/// Whether a nested provision denies labels that are not opened: it changes nothing.
fn is_said_already(nested: &Element<'_>, provision: &Element<'_>) -> bool {
    let is_plain = |name: &String| ["id", "type", "securityLabel"].contains(&name.as_str());
    let has_no_more = nested.value().as_object().is_some_and(|members| members.keys().all(is_plain));
    let opened: Vec<&str> =
        provision.get("securityLabel").items().filter_map(|label| label.get("code").text()).collect();
    let denied: Vec<Option<&str>> = nested.get("securityLabel").items().map(|label| label.get("code").text()).collect();
    // What carries no label, or one of the ordinary ones, is open to every Consent.
    let is_closed =
        |code: &Option<&str>| code.is_some_and(|code| !OPEN_LABELS.contains(&code) && !opened.contains(&code));
    nested.get("type").text() == Some("deny") && has_no_more && !denied.is_empty() && denied.iter().all(is_closed)
}

/// Refuses what would narrow the Consent and is not part of the terms: whoever signs it must get
/// all of what it says.
fn understood(root: &Element<'_>, provision: &Element<'_>) -> Result<(), Refusal> {
    const OF_PROVISION: [&str; 9] =
        ["id", "type", "period", "actor", "purpose", "class", "dataPeriod", "securityLabel", "provision"];
    const OF_ACTOR: [&str; 3] = ["id", "role", "reference"];
    let problem = "is not part of the terms that can be granted";
    if !root.get("modifierExtension").is_missing() {
        return Err(root.get("modifierExtension").refuse(problem));
    }
    let unknown = |element: &Element<'_>, known: &[&str]| {
        let members = element.value().as_object();
        let name = members.and_then(|members| members.keys().find(|name| !known.contains(&name.as_str())));
        name.map_or(Ok(()), |name| Err(element.get(name).refuse(problem)))
    };
    unknown(provision, &OF_PROVISION)?;
    provision.get("actor").items().try_for_each(|actor| unknown(&actor, &OF_ACTOR))
}

fn terms(provision: &Element<'_>) -> Result<Terms, Refusal> {
    let Actors { organization, practitioner, roles } = actors(provision)?;
    let data_period = provision.get("dataPeriod");
    let data_period = if data_period.is_missing() { None } else { Some(period::period(&data_period)?) };
    Ok(Terms {
        organization,
        practitioner,
        roles,
        purposes: codings(&provision.get("purpose"), naming::ACT_REASON)?,
        resource_types: codings(&provision.get("class"), naming::RESOURCE_TYPES)?,
        data_period,
        labels: labels(&provision.get("securityLabel"))?,
    })
}

struct Actors {
    organization: Address,
    practitioner: Option<Address>,
    roles: BTreeSet<PractitionerRole>,
}

/// The organization, the practitioner where one is named, both by account and never by name, and
/// the qualifications where there are any.
fn actors(provision: &Element<'_>) -> Result<Actors, Refusal> {
    let (mut organization, mut practitioner, mut roles) = (None, None, BTreeSet::new());
    for actor in provision.get("actor").items() {
        let reference = actor.get("reference");
        let identifier = reference.get("identifier");
        if reference.get("type").text() == Some("PractitionerRole") {
            let role = identifier.identifier_value(naming::PRACTITIONER_ROLE).and_then(terms::role_of);
            let problem = "needs a qualification: system urn:careledger:practitioner-role, such as physician";
            roles.insert(role.ok_or_else(|| identifier.refuse(problem))?);
            continue;
        }
        let account = identifier.identifier_value(naming::ACCOUNT);
        let account = account.ok_or_else(|| identifier.refuse("needs an account: system urn:careledger:account"))?;
        let account: Address = account.parse().map_err(|_| identifier.refuse("is not an account's address"))?;
        let slot = match reference.get("type").text() {
            Some("Organization") => &mut organization,
            Some("Practitioner") => &mut practitioner,
            _ => return Err(reference.get("type").refuse("must be Organization, Practitioner or PractitionerRole")),
        };
        if slot.replace(account).is_some() {
            return Err(actor.refuse("names a second one of its kind; post one Consent for each"));
        }
    }
    let organization = organization.ok_or_else(|| provision.get("actor").refuse("must name an Organization"))?;
    Ok(Actors { organization, practitioner, roles })
}

fn codings(list: &Element<'_>, system: &str) -> Result<BTreeSet<String>, Refusal> {
    let mut codes = BTreeSet::new();
    for coding in list.items() {
        if coding.get("system").text() != Some(system) {
            return Err(coding.get("system").refuse(&format!("must be {system}")));
        }
        codes.insert(coding.get("code").required()?.to_owned());
    }
    if codes.len() > LIST_MAX {
        return Err(list.refuse("has more than 64 codes"));
    }
    if codes.is_empty() {
        return Err(list.refuse("must say at least one code: an open list cannot be granted"));
    }
    Ok(codes)
}

fn labels(list: &Element<'_>) -> Result<BTreeSet<String>, Refusal> {
    let labels: Result<BTreeSet<String>, Refusal> =
        list.items().map(|coding| coding.get("code").required().map(str::to_owned)).collect();
    let labels = labels?;
    if labels.len() > LIST_MAX { Err(list.refuse("has more than 64 codes")) } else { Ok(labels) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn address(byte: u8) -> Address {
        Address::new([byte; 20])
    }

    fn consent() -> Value {
        let actor = |kind: &str, account: Address| json!({"reference": {"type": kind, "identifier": {"system": naming::ACCOUNT, "value": account}}});
        json!({
            "resourceType": "Consent",
            "status": "active",
            "patient": {"reference": "Patient/p"},
            "identifier": [{"system": naming::GRANT, "value": "05".repeat(32)}],
            "extension": [{"url": naming::SALT, "valueString": "07".repeat(32)}],
            "provision": {
                "type": "permit",
                "period": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-31"},
                "actor": [actor("Practitioner", address(2)), actor("Organization", address(1))],
                "purpose": [{"system": naming::ACT_REASON, "code": "TREAT"}],
                "class": [
                    {"system": naming::RESOURCE_TYPES, "code": "DocumentReference"},
                    {"system": naming::RESOURCE_TYPES, "code": "Condition"},
                ],
                "dataPeriod": {"start": "2020"},
                "securityLabel": [{"code": "PSY"}],
            },
        })
    }

    fn changed(pointer: &str, value: Value) -> Value {
        let mut consent = consent();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        consent.pointer_mut(parent).unwrap()[name] = value;
        consent
    }

    #[test]
    fn terms_have_one_spelling() {
        let permit = permit(&consent()).unwrap();
        let expected = format!(
            "{{\"actor\":{{\"organization\":\"{}\",\"practitioner\":\"{}\"}},\"data_period\":{{\"end\":{},\"start\":1577836800}},\
             \"labels\":[\"PSY\"],\"purposes\":[\"TREAT\"],\"resource_types\":[\"Condition\",\"DocumentReference\"]}}",
            address(1),
            address(2),
            i64::MAX,
        );
        assert_eq!(String::from_utf8(permit.terms.canonical()).unwrap(), expected);
        assert_eq!(permit.window, Seconds { start: 1_767_225_600, end: 1_769_904_000 });
        assert_eq!(permit.salt, [7; 32]);
    }

    /// The wire's own JSON is what a JSON library writes, whatever a code holds.
    #[test]
    fn the_spelling_is_json() {
        for code in ["TREAT", "a\"b", "\\", "\u{1}\u{8}\u{c}\n\r\t\u{1f}", "é\u{7f}\u{2028}😀"] {
            let terms = Terms { purposes: [code.to_owned()].into(), ..permit(&consent()).unwrap().terms };
            let read: Value = serde_json::from_slice(&terms.canonical()).expect("JSON");
            assert_eq!(read["purposes"], json!([code]));
            assert_eq!(sorted(&read).to_string().into_bytes(), terms.canonical(), "{code}");
        }
    }

    #[test]
    fn qualifications_are_part_of_the_terms() {
        let role = |name: &str| json!({"reference": {"type": "PractitionerRole", "identifier": {"system": naming::PRACTITIONER_ROLE, "value": name}}});
        let with = |name: &str| {
            let mut narrowed = consent();
            narrowed["provision"]["actor"].as_array_mut().unwrap().push(role(name));
            narrowed
        };
        assert_eq!(permit(&with("nurse")).unwrap().terms.roles, [PractitionerRole::Nurse].into());
        let Err(Refusal::Invalid { path, .. }) = permit(&with("doctor")) else { panic!("an unknown role") };
        assert_eq!(path, "Consent.provision.actor[2].reference.identifier");
    }

    #[test]
    fn order_in_the_consent_does_not_matter() {
        let mut turned = consent();
        for list in ["/provision/actor", "/provision/class"] {
            turned.pointer_mut(list).and_then(Value::as_array_mut).unwrap().reverse();
        }
        assert_eq!(permit(&turned).unwrap().terms, permit(&consent()).unwrap().terms);
    }

    #[test]
    fn the_body_is_committed_however_it_is_printed() {
        let salt = [7; 32];
        let printed = serde_json::to_string_pretty(&consent()).unwrap();
        let mut served: Value = serde_json::from_str(&printed).unwrap();
        served["id"] = json!("1");
        served["meta"] = json!({"versionId": "1"});
        assert_eq!(body_digest(&salt, &served), body_digest(&salt, &consent()));
        let mut altered = consent();
        altered["provision"]["purpose"][0]["code"] = json!("HPAYMT");
        assert_ne!(body_digest(&salt, &altered), body_digest(&salt, &consent()));
        assert_ne!(body_digest(&[8; 32], &consent()), body_digest(&salt, &consent()));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let nobody = json!([{"reference": {"type": "Organization", "display": "Somebody"}}]);
        let cases = [
            (changed("/provision/type", json!("deny")), "Consent.provision.type"),
            (changed("/provision/provision", json!([{}])), "Consent.provision.provision[0]"),
            (changed("/provision/period", Value::Null), "Consent.provision.period"),
            (changed("/provision/period", json!({"start": "2026", "end": "2025"})), "Consent.provision.period"),
            (changed("/provision/period", json!({"start": "soon"})), "Consent.provision.period.start"),
            (changed("/provision/actor", json!([])), "Consent.provision.actor"),
            (changed("/provision/actor", nobody), "Consent.provision.actor[0].reference.identifier"),
            (changed("/provision/purpose", json!([])), "Consent.provision.purpose"),
            (changed("/provision/purpose", json!([{"code": "TREAT"}])), "Consent.provision.purpose[0].system"),
            (changed("/provision/class", Value::Null), "Consent.provision.class"),
            // What narrows a provision and is not in the terms would be ignored by a release.
            (changed("/provision/data", json!([{}])), "Consent.provision.data"),
            (changed("/provision/code", json!([{"text": "x"}])), "Consent.provision.code"),
            (changed("/provision/action", json!([{"text": "x"}])), "Consent.provision.action"),
            (changed("/provision/extension", json!([{}])), "Consent.provision.extension"),
            (changed("/provision/modifierExtension", json!([{}])), "Consent.provision.modifierExtension"),
            (changed("/modifierExtension", json!([{}])), "Consent.modifierExtension"),
            (changed("/provision/actor/0/extension", json!([{}])), "Consent.provision.actor[0].extension"),
            (changed("/identifier", json!([])), "Consent.identifier"),
            (changed("/patient", json!({"display": "me"})), "Consent.patient.reference"),
            (changed("/extension", json!([])), "Consent.extension"),
            (
                changed("/extension", json!([{"url": naming::SALT, "valueString": "07"}])),
                "Consent.extension[0].valueString",
            ),
        ];
        for (consent, expected) in cases {
            let Err(Refusal::Invalid { path, .. }) = permit(&consent) else { panic!("{expected} was accepted") };
            assert_eq!(path, expected);
        }
    }
}
