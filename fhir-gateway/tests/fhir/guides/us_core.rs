//! The searches of US Core 9 and of the International Patient Access guide, as their tables of search
//! parameters have them.

use careledger_gateway::resources::{parameters::SearchType, resource};
use serde_json::{Value, json};

use crate::support::{Client, World, world};

/// Every search parameter that US Core's CapabilityStatement of a server names, by the types that are kept here.
const OF_US_CORE: &[(&str, &str)] = &[
    ("AllergyIntolerance", "patient clinical-status"),
    ("CarePlan", "category date patient status"),
    ("CareTeam", "patient role status"),
    (
        "Condition",
        "patient abatement-date asserted-date category clinical-status code encounter onset-date recorded-date _lastUpdated",
    ),
    ("Coverage", "patient"),
    ("Device", "patient status type"),
    ("DiagnosticReport", "patient category code date _lastUpdated status"),
    ("DocumentReference", "_id patient category date period status type"),
    ("Encounter", "_id patient class date _lastUpdated discharge-disposition identifier location status type"),
    ("Goal", "patient description lifecycle-status target-date"),
    ("Immunization", "patient date status"),
    ("Location", "address name address-city address-postalcode address-state"),
    ("MedicationDispense", "patient status type"),
    ("MedicationRequest", "authoredon encounter intent patient status"),
    ("Observation", "category code date _lastUpdated patient status"),
    ("Organization", "address name"),
    ("Patient", "_id identifier name birthdate death-date family given"),
    ("Practitioner", "identifier name _id"),
    ("PractitionerRole", "practitioner specialty"),
    ("Procedure", "patient code date status"),
    ("RelatedPerson", "_id name patient"),
    ("ServiceRequest", "_id patient authored category code status"),
    ("Specimen", "_id patient"),
];

/// One Patient with a DocumentReference and its Provenance, and others that must not be found.
async fn filled() -> (World, Client) {
    let world = world().await;
    let client = world.client("ehr").await;
    let coding = |system: &str, code: &str| json!({"coding": [{"system": system, "code": code}]});
    let category = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category";
    for resource in [
        json!({"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1987-02-20", "deceasedDateTime": "2023-04-05",
            "identifier": [{"system": "http://hospital.example.org", "value": "1032702"}],
            "name": [{"family": "Shaw", "given": ["Amy", "V."]}]}),
        json!({"resourceType": "Patient", "id": "p2", "gender": "male", "birthDate": "1990-01-01", "name": [{"family": "Levin"}]}),
        json!({"resourceType": "DocumentReference", "id": "d1", "status": "current", "date": "2023-03-09T10:00:00Z",
            "type": coding("http://loinc.org", "18842-5"), "category": [coding(category, "clinical-note")],
            "subject": {"reference": "Patient/p1"}, "context": {"period": {"start": "2023-03-01", "end": "2023-03-08"}},
            "content": [{"attachment": {"contentType": "text/plain", "url": "http://example.org/note"}}]}),
        json!({"resourceType": "DocumentReference", "id": "d2", "status": "superseded", "date": "2020-01-01T10:00:00Z",
            "type": coding("http://loinc.org", "34117-2"), "subject": {"reference": "Patient/p2"},
            "content": [{"attachment": {"url": "http://example.org/other"}}]}),
        json!({"resourceType": "Provenance", "id": "v1", "recorded": "2023-03-09T10:00:00Z",
            "target": [{"reference": "DocumentReference/d1"}, {"reference": "Patient/p1"}],
            "agent": [{"who": {"display": "Example Hospital"}}]}),
        json!({"resourceType": "CareTeam", "id": "t1", "subject": {"reference": "Patient/p1"},
            "participant": [{"role": [coding("http://snomed.info/sct", "17561000")]}]}),
        json!({"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}, "extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/condition-assertedDate", "valueDateTime": "2023-03-02"}]}),
        json!({"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"}, "subject": {"reference": "Patient/p1"},
            "hospitalization": {"dischargeDisposition": coding("http://www.nubc.org/patient-discharge", "01")}}),
        json!({"resourceType": "Goal", "id": "g1", "lifecycleStatus": "active", "subject": {"reference": "Patient/p1"},
            "description": coding("http://snomed.info/sct", "281665000")}),
    ] {
        let path = format!("/{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        client.send("PUT", &path, &[], resource.to_string()).await.expect(201);
    }
    (world, client)
}

fn ids(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap_or("-").to_owned()).collect()
}

#[actix_web::test]
async fn patients_and_documents_are_found_as_us_core_and_ipa_ask_for_them() {
    let (_world, client) = filled().await;
    for (path, expected) in [
        ("Patient?_id=p1", vec!["p1"]),
        ("Patient?identifier=http://hospital.example.org%7C1032702", vec!["p1"]),
        ("Patient?identifier=1032702", vec!["p1"]),
        ("Patient?identifier=http://elsewhere.example.org%7C1032702", vec![]),
        ("Patient?name=Shaw", vec!["p1"]),
        ("Patient?birthdate=1987-02-20&name=Shaw", vec!["p1"]),
        ("Patient?birthdate=1987-02-20&family=Shaw", vec!["p1"]),
        ("Patient?gender=female&name=Shaw", vec!["p1"]),
        ("Patient?family=Shaw&gender=female", vec!["p1"]),
        ("Patient?given=Amy&family=Levin", vec![]),
        ("Patient?death-date=2023-04-05&family=Shaw", vec!["p1"]),
        ("Patient?_id=p1&_revinclude=Provenance:target", vec!["p1", "v1"]),
        ("DocumentReference?_id=d1", vec!["d1"]),
        ("DocumentReference?patient=p1", vec!["d1"]),
        ("DocumentReference?patient=Patient/p1&status=current", vec!["d1"]),
        ("DocumentReference?patient=p1&status=superseded", vec![]),
        ("DocumentReference?patient=p1&category=clinical-note", vec!["d1"]),
        (
            "DocumentReference?patient=p1&category=http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category%7Cclinical-note&date=ge2023-01-01&date=lt2024",
            vec!["d1"],
        ),
        ("DocumentReference?patient=p1&category=clinical-note&date=gt2023-12-31", vec![]),
        ("DocumentReference?patient=p1&type=http://loinc.org%7C18842-5", vec!["d1"]),
        ("DocumentReference?patient=p1&type=http://loinc.org%7C18842-5&period=ge2023-03-01", vec!["d1"]),
        ("DocumentReference?patient=p1&type=http://loinc.org%7C18842-5&period=gt2023-03-09", vec![]),
        ("DocumentReference?patient=p1&contenttype=text/plain", vec!["d1"]),
        ("DocumentReference?patient=p1&_revinclude=Provenance:target", vec!["d1", "v1"]),
        ("DocumentReference/$docref?patient=p1", vec!["d1"]),
        (
            "DocumentReference/$docref?patient=p1&start=2023-03-01&end=2023-03-31&type=http://loinc.org%7C18842-5",
            vec!["d1"],
        ),
        ("DocumentReference/$docref?patient=p1&start=2024-01-01", vec![]),
        ("DocumentReference/$docref?patient=p2", vec![]),
        ("CareTeam?patient=p1&role=17561000", vec!["t1"]),
        ("Condition?patient=p1&asserted-date=2023-03-02", vec!["c1"]),
        ("Condition?patient=p1&asserted-date=lt2023-03-02", vec![]),
        ("Encounter?patient=p1&discharge-disposition=01", vec!["e1"]),
        ("Goal?patient=p1&description=http://snomed.info/sct%7C281665000", vec!["g1"]),
    ] {
        let found =
            client.send("GET", &format!("/{path}"), &[("prefer", "handling=strict")], "").await.expect(200).json();
        assert_eq!(ids(&found), expected, "{path}");
    }
}

#[actix_web::test]
async fn every_search_parameter_that_us_core_names_is_searched_and_declared() {
    let (_world, client) = filled().await;
    let statement = client.get("/metadata").await.expect(200).json();
    let types = statement["rest"][0]["resource"].as_array().unwrap();
    let mut count = 0;
    for (name, parameters) in OF_US_CORE {
        let declared = types.iter().find(|found| found["type"] == *name).unwrap();
        for code in parameters.split(' ') {
            let is_declared = declared["searchParam"].as_array().unwrap().iter().any(|found| found["name"] == code);
            assert!(is_declared, "{name}.{code}");
            let value = match (code, resource(name).unwrap().parameter(code).map(|found| found.search_type)) {
                ("_lastUpdated", _) | (_, Some(SearchType::Date)) => "ge2020-01-01",
                (_, Some(SearchType::Reference)) => "p1",
                _ => "x",
            };
            let path = format!("/{name}?{code}={value}");
            client.send("GET", &path, &[("prefer", "handling=strict")], "").await.expect(200);
            count += 1;
        }
        let has_target =
            declared["searchRevInclude"].as_array().is_some_and(|all| all.contains(&json!("Provenance:target")));
        assert!(has_target, "{name}");
    }
    assert_eq!(count, 101);
    let documents = types.iter().find(|found| found["type"] == "DocumentReference").unwrap();
    let docref = json!({"name": "docref", "definition": "http://hl7.org/fhir/us/core/OperationDefinition/docref"});
    assert!(documents["operation"].as_array().unwrap().contains(&docref));
}
