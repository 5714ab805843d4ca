//! Searches in a patient's compartment, `$everything` and `$docref`.

use serde_json::{Value, json};

use super::{
    shown,
    support::{Client, World, world},
};

async fn filled() -> (World, Client, Client) {
    let world = world().await;
    let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
    let put = async |resource: Value| {
        let address = format!("/{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        ehr.send("PUT", &address, &[], resource.to_string()).await.expect(201);
    };
    put(json!({"resourceType": "Practitioner", "id": "doctor"})).await;
    for n in ["1", "2"] {
        let patient = json!({"reference": format!("Patient/p{n}")});
        put(json!({"resourceType": "Patient", "id": format!("p{n}"), "generalPractitioner": [{"reference": "Practitioner/doctor"}]})).await;
        for (kind, date) in [("old", "2010-01-01"), ("new", "2020-01-01")] {
            put(json!({"resourceType": "Observation", "id": format!("{kind}{n}"), "status": "final", "code": {"text": kind},
                "subject": patient, "effectiveDateTime": date})).await;
        }
        put(json!({"resourceType": "Coverage", "id": format!("cover{n}"), "status": "active", "payor": [patient],
            "beneficiary": patient}))
        .await;
        for (kind, year) in [("letter", "2010"), ("report", "2020")] {
            put(json!({"resourceType": "DocumentReference", "id": format!("{kind}{n}"), "status": "current", "subject": patient,
                "type": {"coding": [{"system": "loinc", "code": kind}]}, "content": [{"attachment": {"title": kind}}],
                "context": {"period": {"start": format!("{year}-01-01"), "end": format!("{year}-12-31")}}})).await;
        }
    }
    (world, ehr, portal)
}

fn ids(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> =
        entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn next(bundle: &Value) -> Option<String> {
    let link = bundle["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next")?;
    Some(link["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned())
}

#[actix_web::test]
async fn a_compartment_holds_what_is_about_the_patient_and_nothing_else() {
    let (_world, ehr, _portal) = filled().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (path, expected) in [
        ("/Patient/p1/Observation", vec!["new1", "old1"]),
        ("/Patient/p1/Observation?date=ge2015", vec!["new1"]),
        ("/Patient/p1/Coverage", vec!["cover1"]),
        ("/Patient/p1/DocumentReference?type=letter", vec!["letter1"]),
        ("/Patient/p1/*", vec!["cover1", "letter1", "new1", "old1", "p1", "report1"]),
        ("/Patient/p1/*?_type=Coverage,Observation", vec!["cover1", "new1", "old1"]),
        ("/Patient/p1/*?_type=Practitioner", vec![]),
        ("/Patient/never/*", vec![]),
        ("/Patient/never/Observation", vec![]),
    ] {
        let bundle = ehr.get(path).await.expect(200).json();
        assert_eq!(ids(&bundle), expected, "{path}");
        assert_eq!(bundle["total"], expected.len(), "{path}");
    }
    let by_post = ehr.send("POST", "/Patient/p1/Observation/_search", &form, "date=ge2015").await.expect(200).json();
    assert_eq!(ids(&by_post), ["new1"]);
    assert!(ehr.get("/Patient/p1/AuditEvent?_summary=count").await.expect(200).json()["total"].as_u64() >= Some(6));
}

#[actix_web::test]
async fn everything_has_what_the_patient_refers_to_and_comes_in_pages() {
    let (_world, ehr, _portal) = filled().await;
    let all = ["cover1", "doctor", "letter1", "new1", "old1", "p1", "report1"];
    for (query, expected) in [
        ("", &all[..]),
        ("?_type=Patient,Observation", &["new1", "old1", "p1"]),
        ("?_type=Patient,Practitioner", &["doctor", "p1"]),
        ("?start=2015-01-01&_type=Observation,Coverage", &["cover1", "new1"]),
        ("?end=2015&_type=Observation", &["old1"]),
        ("?_since=2999-01-01T00:00:00Z", &[]),
    ] {
        let bundle = ehr.get(&format!("/Patient/p1/$everything{query}")).await.expect(200).json();
        assert_eq!(ids(&bundle), expected, "{query}");
    }
    let (mut seen, mut page) = (Vec::new(), Some("/Patient/p1/$everything?_count=2".to_owned()));
    while let Some(path) = page {
        let bundle = ehr.get(&path).await.expect(200).json();
        assert_eq!(bundle["total"], 6);
        seen.extend(ids(&bundle));
        // What is written meanwhile is on no later page.
        let late = json!({"resourceType": "Condition", "subject": {"reference": "Patient/p1"}});
        ehr.post("/Condition", late.to_string()).await.expect(201);
        page = next(&bundle);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen, all);
    let parameters = json!({"resourceType": "Parameters", "parameter": [
        {"name": "_type", "valueString": "Observation"}, {"name": "start", "valueDate": "2015-01-01"},
    ]});
    let by_post = ehr.post("/Patient/p1/$everything", parameters.to_string()).await.expect(200).json();
    assert_eq!(ids(&by_post), ["new1"]);
    let strict = [("prefer", "handling=strict")];
    ehr.send("GET", "/Patient/p1/$everything?color=red", &strict, "").await.expect(400);
    ehr.send("DELETE", "/Patient/p2", &[], "").await.expect(204);
    ehr.get("/Patient/p2/$everything").await.expect(410);
}

/// What is outside of the compartment was dropped where the type that refers to it was not asked for.
#[actix_web::test]
async fn everything_of_a_type_is_all_of_that_type_that_would_be_there_without_it() {
    let (_world, ehr, _portal) = filled().await;
    for (query, expected, total) in [
        ("_type=Practitioner", &["doctor"][..], 0),
        ("_type=Observation,Practitioner", &["doctor", "new1", "old1"], 2),
        ("_type=Practitioner&start=2015-01-01", &["doctor"], 0),
        ("_type=Practitioner&_since=2999-01-01T00:00:00Z", &[], 0),
        ("_type=Organization", &[], 0),
        ("_type=Coverage", &["cover1"], 1),
    ] {
        for count in [1, 50] {
            let mut page = Some(format!("/Patient/p1/$everything?{query}&_count={count}"));
            let mut seen = Vec::new();
            while let Some(path) = page {
                let bundle = ehr.get(&path).await.expect(200).json();
                assert_eq!(bundle["total"], total, "{path}");
                seen.extend(ids(&bundle));
                page = next(&bundle);
            }
            seen.sort();
            assert_eq!(seen, expected, "{query}");
        }
    }
}

#[actix_web::test]
async fn docref_finds_documents_by_the_time_of_care_and_type() {
    let (_world, ehr, _portal) = filled().await;
    for (query, expected) in [
        ("?patient=p1", vec!["letter1", "report1"]),
        ("?patient=Patient/p1&start=2015-01-01", vec!["report1"]),
        ("?patient=p1&end=2015-01-01", vec!["letter1"]),
        ("?patient=p1&start=2010-06-01&end=2010-07-01", vec!["letter1"]),
        ("?patient=p1&type=loinc|report", vec!["report1"]),
    ] {
        let bundle = ehr.get(&format!("/DocumentReference/$docref{query}")).await.expect(200).json();
        assert_eq!(ids(&bundle), expected, "{query}");
    }
    let parameters = json!({"resourceType": "Parameters", "parameter": [
        {"name": "patient", "valueId": "p1"}, {"name": "type", "valueCoding": {"system": "loinc", "code": "letter"}},
    ]});
    let by_post = ehr.post("/DocumentReference/$docref", parameters.to_string()).await.expect(200).json();
    assert_eq!(ids(&by_post), ["letter1"]);
    ehr.get("/DocumentReference/$docref").await.expect(400);
    ehr.get("/DocumentReference/$docref?patient=p1&on-demand=true").await.expect(422);
}

#[actix_web::test]
async fn a_compartment_of_another_patient_is_as_absent_as_one_that_never_was() {
    let (_world, _ehr, portal) = filled().await;
    for path in [
        "/Patient/{}/*",
        "/Patient/{}/Observation",
        "/Patient/{}/Observation?_summary=count",
        "/Patient/{}/AuditEvent?_summary=count",
        "/Patient/{}/$everything",
        "/Patient/{}/$everything?_type=Practitioner",
        "/DocumentReference/$docref?patient={}",
    ] {
        let denied = portal.get(&path.replace("{}", "p2")).await;
        let absent = portal.get(&path.replace("{}", "p9")).await;
        let of_denied = shown(&denied);
        let mut of_absent = shown(&absent);
        of_absent.2 = of_absent.2.replace("p9", "p2");
        assert_eq!(of_denied, of_absent, "{path}");
    }
    assert_eq!(ids(&portal.get("/Patient/p1/*").await.expect(200).json()).len(), 6);
    // Whom the token shows nothing of does not stand beside the patient either.
    let everything = portal.get("/Patient/p1/$everything").await.expect(200).json();
    assert_eq!(ids(&everything), ["cover1", "letter1", "new1", "old1", "p1", "report1"]);
    let doctors = portal.get("/Patient/p1/$everything?_type=Practitioner").await.expect(200).json();
    assert_eq!((ids(&doctors), &doctors["total"]), (vec![], &json!(0)));
}
