//! IHE BALP: what is done and what is refused are AuditEvents of its profiles.

use std::collections::{BTreeMap, BTreeSet};

use careledger_gateway::{
    audit::{Disclosure, Origin, Verdict},
    decide::Rule,
    json::Document,
    validate,
};
use careledger_wire::ids::{Address, GrantId};
use serde_json::{Value, json};

use super::{example, profile::findings};
use crate::{
    condition,
    support::{Client, World, world},
    two_patients,
};

const PROFILES: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";

/// Every event, oldest first; each is valid FHIR and what the profile that it claims says.
async fn events(world: &World) -> Vec<Value> {
    let auditor = world.client("ehr").await;
    let mut events = Vec::new();
    let mut path = "/AuditEvent?_count=100".to_owned();
    loop {
        let page = auditor.get(&path).await.expect(200).json();
        events.extend(page["entry"].as_array().unwrap().iter().map(|entry| entry["resource"].clone()));
        let next = page["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next");
        let Some(next) = next else { break };
        path = next["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned();
    }
    events.reverse();
    for event in &events {
        validate::resource(&Document::parse(event.to_string()).unwrap()).unwrap();
        if let Some(name) = claimed(event) {
            assert_eq!(findings(event, &name), Vec::<String>::new(), "{event}");
        }
    }
    events
}

fn claimed(event: &Value) -> Option<String> {
    Some(event["meta"]["profile"][0].as_str()?.strip_prefix(PROFILES).unwrap().to_owned())
}

/// What is left of an event: its profile or `-`, action, subtype, outcome and whom it is about.
fn told(event: &Value) -> String {
    let patient = event["entity"].as_array().unwrap().iter().find(|entity| entity["type"]["code"] == "1");
    format!(
        "{} {} {} {} {}",
        claimed(event).unwrap_or_else(|| "-".to_owned()),
        event["action"].as_str().unwrap(),
        event["subtype"][0]["code"].as_str().unwrap(),
        event["outcome"].as_str().unwrap(),
        patient.map_or("-", |patient| patient["what"]["reference"].as_str().unwrap()),
    )
}

#[actix_web::test]
async fn the_checker_accepts_balps_shape_and_finds_what_is_missing() {
    let mut event = json!({"resourceType": "AuditEvent", "action": "R", "outcome": "0",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "subtype": [{"system": "http://hl7.org/fhir/restful-interaction", "code": "vread"}],
        "agent": [
            {"type": {"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110152"}]}, "who": {}, "network": {}},
            {"type": {"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110153"}]}, "who": {}, "network": {}}],
        "entity": [
            {"what": {}, "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "2"},
             "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "4"}},
            {"what": {}, "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "1"},
             "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "1"}}]});
    assert_eq!(findings(&event, "PatientRead"), Vec::<String>::new());
    type Change = fn(&mut Value);
    let changes: &[(Change, &str)] = &[
        (|event| event["action"] = json!("C"), "AuditEvent.action"),
        (|event| event["outcome"] = json!("4"), "AuditEvent.outcome"),
        (|event| event["subtype"][0]["code"] = json!("create"), "AuditEvent.subtype:anyRead"),
        (|event| drop(event["agent"][0].as_object_mut().unwrap().remove("network")), "AuditEvent.agent:client.network"),
        (|event| event["agent"][0]["media"] = json!({}), "AuditEvent.agent:client.media"),
        (|event| event["agent"][1]["type"]["coding"][0]["code"] = json!("110152"), "AuditEvent.agent:server"),
        (|event| event["entity"][0]["role"]["code"] = json!("24"), "AuditEvent.entity:data.role"),
        (|event| drop(event["entity"].as_array_mut().unwrap().pop()), "AuditEvent.entity:patient"),
    ];
    for (change, expected) in changes {
        let mut changed = event.clone();
        change(&mut changed);
        let found = findings(&changed, "PatientRead");
        assert!(found.iter().any(|finding| finding.starts_with(expected)), "{expected}: {found:?}");
    }
    event["entity"].as_array_mut().unwrap().push(json!({"type": {"code": "other"}}));
    assert!(findings(&event, "AuthZconsent").iter().any(|finding| finding.contains("in no slice")));
}

#[actix_web::test]
async fn every_request_and_every_entry_of_a_bundle_is_one_event_of_its_profile() {
    let (world, ehr, portal) = two_patients().await;
    let before = events(&world).await.len();
    assert_eq!(before, 4);
    let merge = [("content-type", "application/json")];
    ehr.get("/Condition/c-p1").await.expect(200);
    ehr.get("/Condition/c-p1/_history/1").await.expect(200);
    ehr.get("/Condition/c-p1/_history").await.expect(200);
    ehr.get("/Condition?patient=p1&code=x").await.expect(200);
    ehr.get("/Condition?code=x").await.expect(200);
    ehr.send("PATCH", "/Condition/c-p1", &merge, r#"{"language":"en"}"#).await.expect(200);
    ehr.get("/Patient/p1/$everything").await.expect(200);
    ehr.get("/Condition/_history").await.expect(200);
    ehr.send("DELETE", "/Condition/c-p1", &[], "").await.expect(204);
    // Refused: another's, nobody's, and what the token does not allow.
    portal.get("/Condition/c-p2").await.expect(404);
    portal.get("/Condition/never").await.expect(404);
    world.client("reader").await.get("/Condition?patient=p1").await.expect(403);
    let binary = ehr.send("POST", "/Binary", &[("content-type", "image/png")], [1u8]).await.expect(201).id();
    ehr.get(&format!("/Binary/{binary}")).await.expect(200);
    let entry = |method: &str, url: &str, resource: Value| {
        let mut entry = json!({"request": {"method": method, "url": url}});
        if !resource.is_null() {
            entry["resource"] = resource;
        }
        entry
    };
    let new: Value = serde_json::from_str(&condition("c-3", "p2")).unwrap();
    let entries = json!([
        entry("PUT", "Condition/c-3", new),
        entry("GET", "Patient/p2", Value::Null),
        entry("GET", "Patient/never", Value::Null),
        entry("GET", "Condition?patient=p2", Value::Null),
    ]);
    for kind in ["transaction", "batch"] {
        let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": entries});
        ehr.post("/", bundle.to_string()).await.expect(200);
    }
    let told: Vec<String> = events(&world).await[before..].iter().map(told).collect();
    let expected = "PatientRead R read 0 Patient/p1
        PatientRead R read 0 Patient/p1
        PatientRead R read 0 Patient/p1
        PatientQuery E search-type 0 Patient/p1
        Query E search-type 0 -
        PatientUpdate U update 0 Patient/p1
        PatientQuery E search-type 0 Patient/p1
        PatientQuery E search-type 0 Patient/p1
        PatientQuery E search-type 0 Patient/p2
        PatientDelete D delete 0 Patient/p1
        - R read 4 -
        - R read 4 -
        - E search-type 4 -
        Create C create 0 -
        Read R read 0 -
        PatientCreate C create 0 Patient/p2
        PatientRead R read 0 Patient/p2
        - R read 4 -
        PatientQuery E search-type 0 Patient/p2";
    let mut expected: Vec<&str> = expected.lines().map(str::trim).collect();
    assert_eq!(told[..expected.len()], expected);
    // Entries of a batch run some at a time.
    expected.drain(..15);
    expected[0] = "PatientUpdate U update 0 Patient/p2";
    let sorted = |mut events: Vec<String>| {
        events.sort();
        events
    };
    let of_batch = told[19..].to_vec();
    assert_eq!(sorted(of_batch), sorted(expected.iter().map(|&event| event.to_owned()).collect()));
}

#[actix_web::test]
async fn what_was_asked_for_is_in_no_event_and_denied_is_logged_as_absent_is() {
    let (world, ehr, portal) = two_patients().await;
    ehr.get("/Patient?identifier=mrn-p1,mrn-p2&_count=10").await.expect(200);
    portal.get("/Condition/c-p2").await.expect(404);
    portal.get("/Condition/c-p9").await.expect(404);
    let all = events(&world).await;
    let text = json!(all).to_string();
    assert!(!text.contains("mrn-p"), "a value of a search names people");
    let query = all.iter().find(|event| event["action"] == "E").unwrap();
    let queried = query["entity"].as_array().unwrap().iter().find(|entity| entity["role"]["code"] == "24").unwrap();
    assert_eq!(queried["query"], "UGF0aWVudD9pZGVudGlmaWVyJl9jb3VudA==", "Patient?identifier&_count");
    let refused: Vec<&Value> = all.iter().rev().take(2).collect();
    let shape = |event: &Value| {
        let mut event = event.clone();
        for name in ["id", "recorded", "meta"] {
            event.as_object_mut().unwrap().remove(name);
        }
        for entity in event["entity"].as_array_mut().unwrap() {
            if entity["type"]["code"] == "XrequestId" {
                entity["what"] = json!({});
            }
        }
        event.to_string().replace("c-p9", "c-p2")
    };
    assert_eq!(shape(refused[0]), shape(refused[1]));
    assert_eq!(refused[0]["outcomeDesc"], "refused: there is no such resource, or the client may not know of it");
    // The patient, who was looked for, sees none of the two: whose it is was not found out.
    let own = ehr.get("/AuditEvent?patient=p2&outcome=4").await.expect(200).json();
    assert_eq!(own["total"], 0);
}

#[actix_web::test]
async fn who_was_given_and_refused_another_organizations_request_is_an_event_of_its_profile() {
    let (world, ehr, _portal) = two_patients().await;
    let disclosure = |patient: Option<&str>, ids: &[&str], verdict| Disclosure {
        organization: Address::new([2; 20]),
        practitioner: Address::new([3; 20]),
        purpose: "TREAT".to_owned(),
        grant: GrantId::new([4; 32]),
        resource_type: "Observation".to_owned(),
        ids: ids.iter().map(|&id| id.to_owned()).collect(),
        patient: patient.map(str::to_owned),
        verdict,
        origin: Origin { address: Some("192.0.2.7".to_owned()), request: Some("r-1".to_owned()) },
    };
    for asked in [
        disclosure(Some("p1"), &["a", "b"], Verdict::Permitted),
        disclosure(Some("p1"), &[], Verdict::Permitted),
        disclosure(Some("p1"), &["a"], Verdict::Denied(Rule::NotRevoked)),
        disclosure(None, &["a"], Verdict::Denied(Rule::GrantExists)),
    ] {
        world.organization.audit.disclosed(asked).await.unwrap();
    }
    let told: Vec<String> = events(&world).await[4..].iter().map(told).collect();
    let expected = [
        "PatientRead R read 0 Patient/p1",
        "PatientRead R read 0 Patient/p1",
        "AuthZconsent E AuthZ-Consent 4 Patient/p1",
        "- R read 4 -",
    ];
    assert_eq!(told, expected);
    // Who looked is a plain search, by whoever was named.
    for (query, expected) in [
        ("patient=p1", 5),
        ("patient=p1&action=R,E", 3),
        ("patient=p1&agent:identifier=urn:careledger:account%7Ccare", 0),
        ("patient=p1&outcome=4", 1),
        ("patient=p1&entity=Observation/b", 1),
        ("patient=p1&subtype=AuthZ-Consent", 1),
    ] {
        let found = ehr.get(&format!("/AuditEvent?{query}")).await.expect(200).json();
        assert_eq!(found["total"], expected, "{query}");
    }
}

#[actix_web::test]
async fn a_resource_that_moves_to_another_patient_is_in_the_log_of_both() {
    let (_world, ehr, _portal) = two_patients().await;
    ehr.send("PUT", "/Condition/c-p1", &[], condition("c-p1", "p2")).await.expect(200);
    for (patient, expected) in [("p1", 1), ("p2", 1)] {
        let found = ehr.get(&format!("/AuditEvent?patient={patient}&action=U")).await.expect(200).json();
        assert_eq!(found["total"], expected, "{patient}");
    }
}

#[actix_web::test]
async fn who_looked_is_found_without_reading_the_log_of_everybody() {
    let (world, ehr, portal) = two_patients().await;
    let access = |patient: &str| Disclosure {
        organization: Address::new([2; 20]),
        practitioner: Address::new([3; 20]),
        purpose: "TREAT".to_owned(),
        grant: GrantId::new([4; 32]),
        resource_type: "Observation".to_owned(),
        ids: Vec::new(),
        patient: Some(patient.to_owned()),
        verdict: Verdict::Permitted,
        origin: Origin::default(),
    };
    let all = (0..10_500).map(|_| world.organization.audit.disclosed(access("p2")));
    futures::future::join_all(all).await.into_iter().for_each(|logged| logged.unwrap());
    // Older than more lines than a page looks at, and found on the first page all the same.
    let found = portal.get("/AuditEvent").await.expect(200).json();
    assert_eq!((&found["total"], found["entry"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(ehr.get("/AuditEvent?patient=p2&_summary=count").await.expect(200).json()["total"], 10_502);
    // What nobody is named for is looked for in parts, each with a link to the next.
    let mut path = "/AuditEvent?action=C&_count=10".to_owned();
    let (mut pages, mut found) = (0, BTreeSet::new());
    loop {
        let page = ehr.get(&path).await.expect(200).json();
        let entries = page["entry"].as_array().cloned().unwrap_or_default();
        found.extend(entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()));
        pages += 1;
        let next = page["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next");
        let Some(next) = next else { break };
        path = next["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned();
    }
    assert_eq!((pages, found.len()), (2, 4));
}

#[actix_web::test]
async fn an_event_names_where_it_came_from_and_is_immutable() {
    let world = world().await;
    let client: Client = world.client("ehr").await;
    let request = [("x-request-id", "r-17")];
    client.send("PUT", "/Patient/p1", &request, r#"{"resourceType":"Patient","id":"p1"}"#).await.expect(201);
    let event = &events(&world).await[0];
    let of = |entity: &Value| {
        (entity["type"]["code"].as_str().unwrap().to_owned(), entity["what"]["identifier"]["value"].clone())
    };
    let by_type: BTreeMap<String, Value> = event["entity"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(by_type["XrequestId"], "r-17");
    let path = format!("/AuditEvent/{}", event["id"].as_str().unwrap());
    for method in ["PUT", "PATCH", "DELETE"] {
        client.send(method, &path, &[], event.to_string()).await.expect(405);
    }
    client.post("/AuditEvent", event.to_string()).await.expect(405);
    assert_eq!(client.get(&path).await.expect(200).json(), *event);
    assert_eq!(example("balp/PatientCreate.json")["url"], format!("{PROFILES}PatientCreate"));
}
