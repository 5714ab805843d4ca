//! IHE PCF: the guide's Consents, given what a grant needs besides, decide as their names say; or are
//! refused at the element that no grant can hold.

use std::collections::BTreeSet;

use careledger_gateway::{
    decide::{Ask, Beyond, Candidate, Facts, Rule, decide},
    mapping::{consent, period::Seconds},
    outcome::Refusal,
};
use careledger_wire::{
    ids::Address,
    proto::{
        consent::ConsentMode,
        state::{Grant, Organization, Practitioner},
    },
};
use serde_json::{Value, json};

use super::example;
use crate::support::world;

/// 2022-07-01, within the year that the guide's time frames are about.
const MID_2022: i64 = 1_656_633_600;
/// 2023-07-01
const MID_2023: i64 = 1_688_169_600;
const DAY: i64 = 86_400;

fn organization() -> Address {
    Address::new([1; 20])
}

/// The example with what a Consent in force has besides: the grant and its salt, to whom, which types, when.
fn completed(name: &str) -> Value {
    let mut consent = example(&format!("pcf/Consent-ex-{name}.json"));
    consent["identifier"] = json!([{"system": "urn:careledger:grant", "value": "05".repeat(32)}]);
    consent["extension"] = json!([{"url": "urn:careledger:extension:salt", "valueString": "07".repeat(32)}]);
    let provision = &mut consent["provision"];
    let identifier = json!({"system": "urn:careledger:account", "value": organization().to_string()});
    provision["actor"] =
        json!([{"role": {"text": "recipient"}, "reference": {"type": "Organization", "identifier": identifier}}]);
    provision["class"] = json!([{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]);
    provision["period"]["start"] = json!("2022-06-13");
    if provision["period"]["end"].is_null() {
        provision["period"]["end"] = json!("2032-06-13");
    }
    consent
}

/// What is decided about an Observation of that day with these labels.
fn decided(consent: &Value, purpose: &str, labels: &[&str], about: i64, now: i64) -> Result<(), Rule> {
    let permit = consent::permit(consent).unwrap();
    let state = Grant {
        grantee: organization().to_vec(),
        mode: ConsentMode::View as i32,
        not_before: permit.window.start,
        expires_at: permit.window.end,
        terms: permit.terms.commitment(&permit.salt).to_vec(),
        ..Grant::default()
    };
    let ask = Ask {
        organization: organization(),
        standing: Some(Organization { expires_at: i64::MAX, ..Organization::default() }),
        practitioner: Address::new([2; 20]),
        enrolment: Some(Practitioner { expires_at: i64::MAX, ..Practitioner::default() }),
        purpose: purpose.to_owned(),
        now,
    };
    let facts = Facts {
        resource_type: "Observation".to_owned(),
        about: Some(Seconds { start: about, end: about + DAY }),
        labels: labels.iter().map(|&label| label.to_owned()).collect::<BTreeSet<_>>(),
    };
    let candidate =
        Candidate { grant: permit.grant, state: Some(state), permit: Some(permit), beyond: Beyond::default() };
    decide(&candidate, &ask, &facts)
}

#[test]
fn the_guides_consents_decide_as_their_names_say() {
    let labels = |rule: Option<Rule>| rule.map_or(Ok(()), Err);
    let of_label = Some(Rule::Labels);
    // Name, purpose, labels of the record, its day, day of the decision, what is decided.
    type Case<'a> = (&'a str, &'a str, &'a [&'a str], i64, i64, Result<(), Rule>);
    let mut cases: Vec<Case<'_>> = Vec::new();
    for name in ["consent-basic-treat", "consent-basic-ink", "consent-basic-treat-infant"] {
        for purpose in ["TREAT", "HPAYMT", "HOPERAT"] {
            cases.push((name, purpose, &[], MID_2022, MID_2023, Ok(())));
        }
        cases.push((name, "HRESCH", &[], MID_2022, MID_2023, Err(Rule::Purpose)));
    }
    cases.extend([
        ("consent-basic-research", "HRESCH", &[][..], MID_2022, MID_2023, Ok(())),
        ("consent-basic-research", "TREAT", &[], MID_2022, MID_2023, Err(Rule::Purpose)),
        ("consent-expired-treat", "TREAT", &[], MID_2022, MID_2022, Ok(())),
        ("consent-expired-treat", "TREAT", &[], MID_2022, MID_2023, Err(Rule::NotEnded)),
        ("consent-intermediate-timeframe", "TREAT", &[], MID_2022, MID_2023, Ok(())),
        ("consent-intermediate-timeframe", "TREAT", &[], MID_2023, MID_2023, Err(Rule::DataPeriod)),
    ]);
    for (name, restricted) in [
        ("consent-advanced-normal", of_label),
        ("consent-advanced-normal-restricted", None),
        ("consent-advanced-normal-not-restricted", of_label),
    ] {
        cases.push((name, "TREAT", &[], MID_2022, MID_2023, Ok(())));
        cases.push((name, "TREAT", &["N"], MID_2022, MID_2023, Ok(())));
        cases.push((name, "TREAT", &["R"], MID_2022, MID_2023, labels(restricted)));
        for sensitive in [&["N", "ETH"][..], &["OPIOIDUD"], &["R", "PSY"], &["SDV"], &["N", "HIV"]] {
            cases.push((name, "TREAT", sensitive, MID_2022, MID_2023, labels(of_label)));
        }
    }
    for (name, purpose, labels, about, now, expected) in &cases {
        let found = decided(&completed(name), purpose, labels, *about, *now);
        assert_eq!(found, *expected, "{name} {purpose} {labels:?} {about} {now}");
    }
    assert_eq!(cases.len(), 42);
}

/// Focused Consents name one more practitioner and labels: each such provision is a Consent of its own.
#[test]
fn a_nested_permission_is_granted_as_a_consent_of_its_own() {
    for (name, opened) in [
        ("consent-advanced-normal-focused-psy", vec!["PSY"]),
        ("consent-advanced-normal-focused-psy-or-sdv", vec!["PSY", "SDV"]),
        ("consent-advanced-normal-focused-restricted", vec!["R"]),
    ] {
        let mut consent = completed(name);
        let nested = consent["provision"].as_object_mut().unwrap().remove("provision").unwrap();
        assert_eq!(decided(&consent, "TREAT", &opened, MID_2022, MID_2023), Err(Rule::Labels), "{name}: the outer one");
        consent["provision"]["securityLabel"] = nested[0]["securityLabel"].clone();
        for label in &opened {
            assert_eq!(decided(&consent, "TREAT", &[*label], MID_2022, MID_2023), Ok(()), "{name}");
        }
        assert_eq!(decided(&consent, "TREAT", &["HIV"], MID_2022, MID_2023), Err(Rule::Labels), "{name}");
    }
}

#[test]
fn what_no_grant_can_hold_is_refused_where_it_stands() {
    for (name, expected) in [
        ("consent-basic-reject", "Consent.provision.type"),
        ("dissent-intermediate-break-glass", "Consent.provision.type"),
        ("consent-intermediate-purpose", "Consent.provision.purpose[0].system"),
        ("consent-intermediate-data", "Consent.provision.data"),
        ("consent-intermediate-encounter", "Consent.provision.data"),
        ("consent-intermediate-authoredby", "Consent.provision.data"),
        ("consent-intermediate-not-data", "Consent.provision.provision[0]"),
        ("consent-intermediate-not-encounter", "Consent.provision.provision[0]"),
        ("consent-intermediate-not-authoredby", "Consent.provision.provision[0]"),
        ("consent-intermediate-not-timeframe", "Consent.provision.provision[0]"),
        ("consent-advanced-normal-break-glass-restricted", "Consent.provision.provision[0]"),
        ("consent-advanced-normal-focused-psy", "Consent.provision.provision[0]"),
        ("consent-advanced-normal-focused-psy-or-sdv", "Consent.provision.provision[0]"),
        ("consent-advanced-normal-focused-restricted", "Consent.provision.provision[0]"),
    ] {
        let Err(Refusal::Invalid { path, .. }) = consent::permit(&completed(name)) else { panic!("{name} is granted") };
        assert_eq!(path, expected, "{name}");
    }
}

#[test]
fn a_nested_denial_is_passed_over_only_where_it_changes_nothing() {
    let denial = |labels: Value| json!([{"type": "deny", "securityLabel": labels}]);
    let mut granted = Vec::new();
    for nested in [
        denial(json!([{"code": "R"}])),
        denial(json!([{"code": "R"}, {"code": "PSY"}])),
        // Opened beside it, open to everybody, of more than labels, of nothing, or a permission.
        denial(json!([{"code": "HIV"}])),
        denial(json!([{"code": "N"}])),
        denial(json!([])),
        json!([{"type": "deny", "securityLabel": [{"code": "R"}], "purpose": [{"code": "TREAT"}]}]),
        json!([{"type": "permit", "securityLabel": [{"code": "R"}]}]),
        json!([{"type": "deny", "securityLabel": [{"code": "R"}]}, {"type": "deny"}]),
    ] {
        let mut consent = completed("consent-advanced-normal");
        consent["provision"]["securityLabel"] = json!([{"code": "HIV"}]);
        consent["provision"]["provision"] = nested;
        granted.push(consent::permit(&consent).is_ok());
    }
    assert_eq!(granted, [true, true, false, false, false, false, false, false]);
}

#[actix_web::test]
async fn the_guides_consents_are_kept_and_found_as_proposals_and_none_is_in_force_unsigned() {
    let world = world().await;
    let client = world.client("ehr").await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guides/pcf");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let mut consent = example(&format!("pcf/{name}"));
        let path = format!("/Consent/{}", consent["id"].as_str().unwrap());
        client.send("PUT", &path, &[], consent.to_string()).await.expect(422);
        client.get(&path).await.expect(404);
        consent["status"] = json!("proposed");
        client.send("PUT", &path, &[], consent.to_string()).await.expect(201);
        let kept = client.get(&path).await.expect(200).json();
        assert_eq!((&kept["provision"], &kept["policy"]), (&consent["provision"], &consent["policy"]), "{name}");
        count += 1;
    }
    assert_eq!(count, 23);
    for (query, expected) in
        [("patient=ex-patient", 23), ("purpose=HRESCH", 1), ("security-label=R", 1), ("status=active", 0)]
    {
        let found = client.get(&format!("/Consent?{query}&_summary=count")).await.expect(200).json();
        assert_eq!(found["total"], expected, "{query}");
    }
}
