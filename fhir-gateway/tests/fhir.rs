//! FHIR over a real gateway in process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod support;

use futures::future::join_all;
use serde_json::{Value, json};
use support::{FHIR, golden, world};

const PATIENT: &str = r#"{ "resourceType":"Patient" , "name":[{"family":"Äö"}],
  "extension":[{"url":"http://example.org/score","valueDecimal":1.00}] }"#;

#[actix_web::test]
async fn what_is_accepted_is_served_byte_for_byte_but_for_id_and_meta() {
    let world = world().await;
    let client = world.client("ehr").await;
    let created = client.post("/Patient", PATIENT).await.expect(201);
    let id = created.id();
    let location = format!("http://localhost{FHIR}/Patient/{id}/_history/1");
    assert_eq!(created.header("location"), Some(location.as_str()));
    assert_eq!(created.header("etag"), Some("W/\"1\""));
    assert!(created.header("last-modified").is_some());
    let read = client.get(&format!("/Patient/{id}")).await.expect(200);
    assert_eq!(read.bytes, created.bytes);
    let last_updated = read.json()["meta"]["lastUpdated"].as_str().unwrap().to_owned();
    let inserted = format!(r#","id":"{id}","meta":{{"versionId":"1","lastUpdated":"{last_updated}"}}"#);
    assert_eq!(read.text().replacen(&inserted, "", 1), PATIENT);
}

#[actix_web::test]
async fn a_resource_lives_through_its_versions() {
    let world = world().await;
    let client = world.client("ehr").await;
    let put = |text: &str| json!({"resourceType": "Patient", "id": "p1", "language": text}).to_string();
    client.send("PUT", "/Patient/p1", &[("if-match", "W/\"1\"")], put("en")).await.expect(412);
    client.send("PUT", "/Patient/p1", &[], put("en")).await.expect(201);
    client.send("PUT", "/Patient/p1", &[("if-match", "W/\"1\"")], put("fr")).await.expect(200);
    client.send("PUT", "/Patient/p1", &[("if-match", "W/\"1\"")], put("de")).await.expect(412);
    client.send("PUT", "/Patient/p1", &[("if-match", "one")], put("de")).await.expect(400);
    client.send("PUT", "/Patient/p2", &[], put("de")).await.expect(400);
    assert_eq!(client.get("/Patient/p1").await.expect(200).json()["language"], "fr");
    assert_eq!(client.get("/Patient/p1/_history/1").await.expect(200).json()["language"], "en");
    client.get("/Patient/p1/_history/3").await.expect(404);
    let known = client.send("GET", "/Patient/p1", &[("if-none-match", "W/\"2\"")], "").await.expect(304);
    assert!(known.bytes.is_empty());
    client.send("DELETE", "/Patient/p1", &[], "").await.expect(204);
    client.send("DELETE", "/Patient/p1", &[], "").await.expect(204);
    client.get("/Patient/p1").await.expect(410);
    client.get("/Patient/never").await.expect(404);
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 0);
    let history = client.get("/Patient/p1/_history").await.expect(200).json();
    let methods: Vec<&str> =
        history["entry"].as_array().unwrap().iter().map(|entry| entry["request"]["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["DELETE", "PUT", "POST"]);
    client.send("PUT", "/Patient/p1", &[], put("es")).await.expect(201);
    assert_eq!(client.get("/Patient/p1").await.expect(200).json()["meta"]["versionId"], "4");
}

#[actix_web::test]
async fn bad_requests_get_their_documented_answer() {
    let world = world().await;
    let client = world.client("ehr").await;
    let json = ("content-type", "application/fhir+json");
    let huge = format!(r#"{{"resourceType":"Patient","language":"{}"}}"#, "x".repeat(support::BODY_BYTES_MAX));
    // Method, path, header, body, then status, issue code and path of the element.
    type Case<'a> = (&'a str, &'a str, (&'a str, &'a str), &'a str, u16, &'a str, Option<&'a str>);
    let cases: &[Case<'_>] = &[
        ("POST", "/Patient", json, "{", 400, "structure", None),
        ("POST", "/Patient", json, r#"{"resourceType":"Patient","id":"a","id":"b"}"#, 400, "structure", None),
        ("POST", "/Patient", json, "\u{feff}{}", 400, "structure", None),
        ("POST", "/Patient", json, r#"{"resourceType":"Patient","nmae":1}"#, 422, "invalid", Some("Patient.nmae")),
        (
            "POST",
            "/Patient",
            json,
            r#"{"resourceType":"Patient","active":"yes"}"#,
            422,
            "invalid",
            Some("Patient.active"),
        ),
        (
            "POST",
            "/Patient",
            json,
            r#"{"resourceType":"Observation","status":"final","code":{"text":"x"}}"#,
            422,
            "invalid",
            Some("(resource)"),
        ),
        ("POST", "/Patient", ("content-type", "text/plain"), "{}", 415, "not-supported", None),
        ("POST", "/Patient", ("content-type", "application/fhir+xml"), "<Patient/>", 415, "not-supported", None),
        ("POST", "/Patient", json, &huge, 413, "too-long", None),
        ("POST", "/Spaceship", json, "{}", 404, "not-supported", None),
        ("POST", "/AuditEvent", json, "{}", 405, "not-supported", None),
        ("PATCH", "/Patient/1", json, "{}", 405, "not-supported", None),
        ("GET", "/Patient/1/2/3/4", json, "", 404, "not-found", None),
        ("GET", "/Patient", ("accept", "application/fhir+xml"), "", 406, "not-supported", None),
        ("GET", "/Patient?birthdate=soon", json, "", 400, "invalid", None),
        ("GET", "/Patient?name:fuzzy=a", json, "", 400, "invalid", None),
        ("GET", "/Patient?color=red", ("prefer", "handling=strict"), "", 400, "not-supported", None),
        ("GET", "/Patient/r.0123456789abcdef.x", json, "", 404, "not-found", None),
        (
            "PUT",
            "/Patient/r.0123456789abcdef.x",
            json,
            r#"{"resourceType":"Patient","id":"r.0123456789abcdef.x"}"#,
            400,
            "invalid",
            None,
        ),
        ("POST", "/", json, r#"{"resourceType":"Bundle","type":"collection"}"#, 422, "invalid", Some("Bundle.type")),
        (
            "POST",
            "/",
            json,
            r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"POST","url":"Patient"}}]}"#,
            422,
            "invalid",
            Some("Bundle.entry[0].resource"),
        ),
    ];
    for (method, path, header, body, status, code, expression) in cases {
        let got = client.send(method, path, &[*header], *body).await;
        assert_eq!(got.status, *status, "{method} {path}: {}", got.text());
        let outcome = got.json();
        assert_eq!(outcome["resourceType"], "OperationOutcome", "{method} {path}");
        assert_eq!(outcome["issue"][0]["code"], *code, "{method} {path}");
        assert_eq!(outcome["issue"][0]["expression"][0].as_str(), *expression, "{method} {path}");
        assert!(got.header("x-request-id").is_some());
    }
}

#[actix_web::test]
async fn without_a_token_or_its_scope_nothing_is_served() {
    let world = world().await;
    let reader = world.client("reader").await;
    reader.post("/Patient", PATIENT).await.expect(403);
    reader.get("/Observation").await.expect(403);
    reader.get("/Patient").await.expect(200);
    let nobody = world.client("ehr").await.with_token("no");
    for path in ["/Patient", "/Patient/1", "/Nothing", "/Patient/1/2/3/4"] {
        nobody.get(path).await.expect(401);
    }
    nobody.get("/metadata").await.expect(200);
}

#[actix_web::test]
async fn racing_conditional_creates_give_one_resource() {
    let world = world().await;
    let client = world.client("ehr").await;
    let body = r#"{"resourceType":"Patient","identifier":[{"system":"urn:mrn","value":"7"}]}"#;
    let condition = [("if-none-exist", "identifier=urn:mrn|7")];
    let answers = join_all((0..16).map(|_| client.send("POST", "/Patient", &condition, body))).await;
    let created = answers.iter().filter(|got| got.status == 201).count();
    assert_eq!(created, 1);
    assert!(answers.iter().all(|got| matches!(got.status, 200 | 201)));
    client.post("/Patient", body).await.expect(201);
    client.send("POST", "/Patient", &condition, body).await.expect(412);
}

#[actix_web::test]
async fn synthea_bundles_go_in_and_come_out_byte_for_byte() {
    let world = world().await;
    let client = world.client("ehr").await;
    for file in ["fannie-waelchi", "dwain-mcglynn"] {
        let sent = golden(&format!("synthea/{file}.json.gz"));
        let response = client.post("/", sent.clone()).await.expect(200).json();
        let bundle = careledger_gateway::json::Document::parse(sent.clone()).unwrap();
        let entries = bundle.root().get("entry").unwrap().items();
        let answers = response["entry"].as_array().unwrap();
        assert_eq!(answers.len(), entries.len());
        let locals: Vec<(String, String)> = entries
            .iter()
            .zip(answers)
            .map(|(entry, answer)| {
                let location = answer["response"]["location"].as_str().unwrap();
                let local = location.split("/fhir/").nth(1).unwrap().split("/_history").next().unwrap();
                (entry.text("fullUrl").unwrap().to_owned(), local.to_owned())
            })
            .collect();
        for (entry, (_, local)) in entries.iter().zip(&locals) {
            let got = client.get(&format!("/{local}")).await.expect(200);
            let resource = entry.get("resource").unwrap();
            let original = std::str::from_utf8(&sent[resource.range()]).unwrap();
            assert_eq!(undone(&got.text(), &locals, local, resource.text("id").unwrap()), original, "{local}");
        }
        let patient = &locals[0].1;
        let found = client.get(&format!("/Observation?patient={patient}&_summary=count")).await.expect(200).json();
        let observations = answers.iter().filter(|answer| answer.to_string().contains("/Observation/")).count();
        assert_eq!(found["total"], observations);
    }
}

/// What was served, with the server's ids and meta taken away again.
fn undone(served: &str, locals: &[(String, String)], local: &str, id: &str) -> String {
    let value: Value = serde_json::from_str(served).unwrap();
    let last_updated = value["meta"]["lastUpdated"].as_str().unwrap();
    let meta = format!(r#","meta":{{"versionId":"1","lastUpdated":"{last_updated}"}}"#);
    let new_id = local.split('/').nth(1).unwrap();
    let mut text = served.replacen(&meta, "", 1).replacen(&format!("\"{new_id}\""), &format!("\"{id}\""), 1);
    for (full_url, local) in locals {
        text = text.replace(&format!("\"{local}\""), &format!("\"{full_url}\""));
    }
    text
}

#[actix_web::test]
async fn a_transaction_is_all_or_nothing() {
    let world = world().await;
    let client = world.client("ehr").await;
    let bundle = |second: Value| {
        json!({"resourceType": "Bundle", "type": "transaction", "entry": [
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}},
            second,
        ]})
        .to_string()
    };
    let dangling = json!({
        "resource": {"resourceType": "Observation", "status": "final", "code": {"text": "x"},
            "subject": {"reference": "Patient?identifier=nobody"}},
        "request": {"method": "POST", "url": "Observation"},
    });
    client.post("/", bundle(dangling)).await.expect(412);
    let stale = json!({
        "resource": {"resourceType": "Patient", "id": "x"},
        "request": {"method": "PUT", "url": "Patient/x", "ifMatch": "W/\"9\""},
    });
    client.post("/", bundle(stale)).await.expect(412);
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 0);
    let whole = json!({
        "resource": {"resourceType": "Observation", "status": "final", "code": {"text": "x"},
            "subject": {"reference": "urn:uuid:1"}},
        "request": {"method": "POST", "url": "Observation"},
    });
    let response = client.post("/", bundle(whole)).await.expect(200).json();
    let location = response["entry"][0]["response"]["location"].as_str().unwrap();
    let patient = location.split("/Patient/").nth(1).unwrap().split('/').next().unwrap();
    let found = client.get(&format!("/Observation?subject=Patient/{patient}")).await.expect(200).json();
    assert_eq!(found["total"], 1);
}

#[actix_web::test]
async fn a_batch_answers_each_entry_for_itself() {
    let world = world().await;
    let client = world.client("ehr").await;
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}},
        {"resource": {"resourceType": "Patient", "nope": 1}, "request": {"method": "POST", "url": "Patient"}},
        {"request": {"method": "GET", "url": "Patient/absent"}},
        {"request": {"method": "GET", "url": "Patient?_count=1"}},
    ]});
    let response = client.post("/", bundle.to_string()).await.expect(200).json();
    let statuses: Vec<&str> = response["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["response"]["status"].as_str().unwrap()[..3])
        .collect();
    assert_eq!(statuses, ["201", "422", "404", "200"]);
}

#[actix_web::test]
async fn documents_are_filed_found_and_opened_in_their_own_format() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/p1", &[], r#"{"resourceType":"Patient","id":"p1"}"#).await.expect(201);
    for (file, content_type) in [
        ("laboratory.pdf", "application/pdf"),
        ("radiograph.jpg", "image/jpeg"),
        ("discharge.cda.xml", "application/hl7-cda+xml"),
    ] {
        let bytes = golden(&format!("documents/{file}"));
        client.post("/", upload(&bytes, content_type, file)).await.expect(200);
        let query = format!("/DocumentReference?patient=p1&contenttype={content_type}").replace('+', "%2B");
        let found = client.get(&query).await.expect(200).json();
        assert_eq!(found["total"], 1, "{file}");
        let url = found["entry"][0]["resource"]["content"][0]["attachment"]["url"].as_str().unwrap();
        let native = client.get(&format!("/{url}")).await.expect(200);
        assert_eq!((native.header("content-type"), &native.bytes), (Some(content_type), &bytes));
        let as_fhir =
            client.send("GET", &format!("/{url}"), &[("accept", "application/fhir+json")], "").await.expect(200);
        assert_eq!(as_fhir.json()["contentType"], content_type);
        client.send("GET", &format!("/{url}"), &[("accept", "text/csv")], "").await.expect(406);
    }
    let raw = [("content-type", "image/png"), ("x-security-context", "Patient/p1")];
    let created = client.send("POST", "/Binary", &raw, [1u8, 2, 3]).await.expect(201);
    let got = client.get(&format!("/Binary/{}", created.id())).await.expect(200);
    assert_eq!((got.header("content-type"), got.bytes.as_slice()), (Some("image/png"), &[1u8, 2, 3][..]));
}

fn upload(bytes: &[u8], content_type: &str, title: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let template = String::from_utf8(golden("documents/upload.json")).unwrap();
    let values = [
        ("id", uuid::Uuid::new_v4().to_string()),
        ("patient", "p1".to_owned()),
        ("content-type", content_type.to_owned()),
        ("title", title.to_owned()),
        ("type", "11502-2".to_owned()),
        ("date", "2024-01-05T12:00:00Z".to_owned()),
        ("data", STANDARD.encode(bytes)),
        ("size", bytes.len().to_string()),
        ("hash", STANDARD.encode([0; 20])),
    ];
    values.iter().fold(template, |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

#[actix_web::test]
async fn pages_neither_skip_nor_repeat_while_others_write() {
    let world = world().await;
    let client = world.client("ehr").await;
    let put = |id: &str, text: &str| json!({"resourceType": "Patient", "id": id, "language": text}).to_string();
    for n in 0..25 {
        client.send("PUT", &format!("/Patient/p{n:02}"), &[], put(&format!("p{n:02}"), "en")).await.expect(201);
    }
    for sort in ["", "&_sort=-_lastUpdated", "&_sort=_id"] {
        let mut path = format!("/Patient?_count=4{sort}&language:missing=true");
        let mut seen = Vec::new();
        let mut page = 0;
        loop {
            let bundle = client.get(&path).await.expect(200).json();
            let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
            seen.extend(entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()));
            let changed = format!("p{:02}", (page * 7) % 25);
            let (update, create) = (put(&changed, "fr"), r#"{"resourceType":"Patient"}"#);
            let path_of_changed = format!("/Patient/{changed}");
            let (updated, created) =
                futures::join!(client.send("PUT", &path_of_changed, &[], update), client.post("/Patient", create));
            updated.expect(200);
            client.send("DELETE", &format!("/Patient/{}", created.expect(201).id()), &[], "").await.expect(204);
            page += 1;
            let links = bundle["link"].as_array().unwrap();
            match links.iter().find(|link| link["relation"] == "next") {
                Some(next) => path = next["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned(),
                None => break,
            }
        }
        seen.sort();
        assert_eq!(seen, (0..25).map(|n| format!("p{n:02}")).collect::<Vec<_>>(), "{sort}");
    }
}

#[actix_web::test]
async fn searches_by_post_and_by_get_are_one() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.post("/Patient", r#"{"resourceType":"Patient","gender":"male"}"#).await.expect(201);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let by_post = client.send("POST", "/Patient/_search", &form, "gender=male&color=red").await.expect(200).json();
    let by_get = client.get("/Patient?gender=male&color=red").await.expect(200).json();
    assert_eq!(by_post["entry"], by_get["entry"]);
    assert_eq!(by_get["total"], 1);
    assert_eq!(by_get["entry"][1]["search"]["mode"], "outcome");
    assert!(!by_get["link"][0]["url"].as_str().unwrap().contains("color"));
}

#[actix_web::test]
async fn what_callers_do_is_shown_as_audit_events() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/p1", &[], r#"{"resourceType":"Patient","id":"p1"}"#).await.expect(201);
    client.get("/Patient/p1").await.expect(200);
    let events = client.get("/AuditEvent?patient=p1").await.expect(200).json();
    let actions: Vec<&str> =
        events["entry"].as_array().unwrap().iter().map(|entry| entry["resource"]["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["R", "C"], "newest first");
    let id = events["entry"][0]["resource"]["id"].as_str().unwrap();
    client.get(&format!("/AuditEvent/{id}")).await.expect(200);
    client.send("DELETE", &format!("/AuditEvent/{id}"), &[], "").await.expect(405);
}

/// A world with two patients, each with a Condition; the portal may see `p1` only.
async fn two_patients() -> (support::World, support::Client, support::Client) {
    let world = world().await;
    let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
    for patient in ["p1", "p2"] {
        let body =
            json!({"resourceType": "Patient", "id": patient, "identifier": [{"value": format!("mrn-{patient}")}]});
        ehr.send("PUT", &format!("/Patient/{patient}"), &[], body.to_string()).await.expect(201);
        let id = format!("c-{patient}");
        ehr.send("PUT", &format!("/Condition/{id}"), &[], condition(&id, patient)).await.expect(201);
    }
    (world, ehr, portal)
}

fn condition(id: &str, patient: &str) -> String {
    json!({"resourceType": "Condition", "id": id, "subject": {"reference": format!("Patient/{patient}")}}).to_string()
}

#[actix_web::test]
async fn a_deleted_resource_of_another_patient_is_as_absent_as_one_that_never_was() {
    let (_world, ehr, portal) = two_patients().await;
    let absent = portal.get("/Condition/never").await.expect(404);
    portal.get("/Condition/c-p2").await.expect(404);
    portal.send("DELETE", "/Condition/c-p2", &[], "").await.expect(204);
    portal.send("DELETE", "/Condition/never", &[], "").await.expect(204);
    ehr.get("/Condition/c-p2").await.expect(200);
    for id in ["c-p1", "c-p2"] {
        ehr.send("DELETE", &format!("/Condition/{id}"), &[], "").await.expect(204);
    }
    portal.get("/Condition/c-p1").await.expect(410);
    portal.get("/Condition/c-p1/_history/2").await.expect(410);
    for path in
        ["/Condition/c-p2", "/Condition/c-p2/_history", "/Condition/c-p2/_history/1", "/Condition/c-p2/_history/2"]
    {
        assert_eq!(portal.get(path).await.expect(404).bytes, absent.bytes, "{path}");
    }
    // An id that was another patient's cannot be taken over, nor told from a free one.
    portal.send("PUT", "/Condition/c-p2", &[], condition("c-p2", "p1")).await.expect(404);
    portal.send("PUT", "/Condition/free", &[], condition("free", "p1")).await.expect(404);
    portal.send("PUT", "/Condition/c-p1", &[], condition("c-p1", "p1")).await.expect(201);
}

#[actix_web::test]
async fn history_shows_only_the_versions_that_the_caller_may_see() {
    let (_world, ehr, portal) = two_patients().await;
    ehr.send("PUT", "/Condition/c-p2", &[], condition("c-p2", "p1")).await.expect(200);
    let history = portal.get("/Condition/c-p2/_history").await.expect(200).json();
    assert_eq!(history["total"], 1);
    assert!(!history.to_string().contains("Patient/p2"));
    assert_eq!(ehr.get("/Condition/c-p2/_history").await.expect(200).json()["total"], 2);
}

#[actix_web::test]
async fn conditions_and_chains_tell_a_patients_client_nothing_of_others() {
    let (_world, _ehr, portal) = two_patients().await;
    let conditional = json!({"resourceType": "Bundle", "type": "transaction", "entry": [{
        "resource": {"resourceType": "Condition", "subject": {"reference": "Patient?identifier=mrn-p2"}},
        "request": {"method": "POST", "url": "Condition"},
    }]});
    let refused = portal.post("/", conditional.to_string()).await.expect(412);
    let never = portal.post("/", conditional.to_string().replace("mrn-p2", "never")).await.expect(412);
    assert_eq!(refused.bytes, never.bytes);
    portal.post("/", conditional.to_string().replace("mrn-p2", "mrn-p1")).await.expect(200);
    portal.get("/Condition?patient.identifier=mrn-p2").await.expect(403);
    let chained = [("if-none-exist", "patient.identifier=mrn-p2")];
    portal.send("POST", "/Condition", &chained, condition("x", "p1")).await.expect(403);
    let found = [("if-none-exist", "_id=c-p2")];
    portal.send("POST", "/Condition", &found, condition("x", "p1")).await.expect(201);
}

#[actix_web::test]
async fn a_search_is_logged_for_every_patient_whom_it_showed() {
    let (_world, ehr, _portal) = two_patients().await;
    assert_eq!(ehr.get("/Condition").await.expect(200).json()["total"], 2);
    let found = [("if-none-exist", "_id=c-p2")];
    ehr.send("POST", "/Condition", &found, condition("x", "p2")).await.expect(200);
    for (patient, expected) in [("p1", vec!["E", "C", "C"]), ("p2", vec!["R", "E", "C", "C"])] {
        let events = ehr.get(&format!("/AuditEvent?patient={patient}")).await.expect(200).json();
        let entries = events["entry"].as_array().unwrap();
        let actions: Vec<&str> = entries.iter().map(|entry| entry["resource"]["action"].as_str().unwrap()).collect();
        assert_eq!(actions, expected, "{patient}, newest first");
    }
}

#[actix_web::test]
async fn a_body_is_bounded_and_not_read_before_the_caller_is_known() {
    use std::io::Write as _;
    let world = world().await;
    let huge = vec![b' '; support::BODY_BYTES_MAX + 1];
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&huge).unwrap();
    let packed = packed.finish().unwrap();
    let ehr = world.client("ehr").await;
    ehr.post("/Patient", huge.clone()).await.expect(413);
    let gzip = [("content-encoding", "gzip"), ("content-type", "application/fhir+json")];
    ehr.send("POST", "/Patient", &gzip, packed).await.expect(413);
    ehr.with_token("no").post("/Patient", huge).await.expect(401);
}

#[actix_web::test]
async fn an_account_is_not_locked_to_a_patient_that_never_came_to_be() {
    let world = world().await;
    let client = world.client("ehr").await;
    let account = careledger_wire::ids::Address::new([9; 20]);
    let patient = |id: &str| {
        json!({"resourceType": "Patient", "id": id,
            "identifier": [{"system": "urn:careledger:account", "value": account}]})
    };
    // The second entry is refused after the first was looked at.
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": patient("ghost"), "request": {"method": "PUT", "url": "Patient/ghost"}},
        {"resource": consent("active", "05"), "request": {"method": "POST", "url": "Consent"}},
    ]});
    client.post("/", bundle.to_string()).await.expect(422);
    client.send("PUT", "/Patient/p1", &[], patient("p1").to_string()).await.expect(201);
    client.get("/Patient/p1/$subject").await.expect(200);
    client.send("PUT", "/Patient/ghost", &[], patient("ghost").to_string()).await.expect(422);
    client.get("/Patient/p1/$subject").await.expect(200);
}

fn consent(status: &str, grant: &str) -> Value {
    json!({
        "resourceType": "Consent", "status": status,
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/p1"},
        "identifier": [{"system": "urn:careledger:grant", "value": grant.repeat(32)}],
    })
}

#[actix_web::test]
async fn a_grant_is_named_by_one_consent() {
    let world = world().await;
    let client = world.client("ehr").await;
    let created = client.post("/Consent", consent("draft", "05").to_string()).await.expect(201);
    client.post("/Consent", consent("draft", "05").to_string()).await.expect(422);
    client.post("/Consent", consent("draft", "06").to_string()).await.expect(201);
    let mut changed = consent("draft", "05");
    changed["id"] = json!(created.id());
    client.send("PUT", &format!("/Consent/{}", created.id()), &[], changed.to_string()).await.expect(200);
}

#[actix_web::test]
async fn audit_events_are_counted_without_being_shown() {
    let (_world, ehr, _portal) = two_patients().await;
    let count = |got: support::Got| (got.json()["total"].as_u64(), got.json()["entry"].is_null());
    assert_eq!(count(ehr.get("/AuditEvent?patient=p1&_summary=count").await.expect(200)), (Some(2), true));
    assert_eq!(count(ehr.get("/AuditEvent?_summary=count").await.expect(200)), (Some(4), true));
    assert_eq!(count(ehr.get("/AuditEvent?patient=p1&action=C&_summary=count").await.expect(200)), (Some(2), true));
}

#[actix_web::test]
async fn a_client_that_hangs_up_stops_nothing() {
    let world = world().await;
    let client = world.client("ehr").await;
    let body = r#"{"resourceType":"Patient","id":"p1"}"#;
    {
        let mut hung = std::pin::pin!(client.send("PUT", "/Patient/p1", &[], body));
        assert!(futures::poll!(&mut hung).is_pending());
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while client.get("/AuditEvent?patient=p1&action=C&_summary=count").await.expect(200).json()["total"] != 1 {
        assert!(std::time::Instant::now() < deadline, "the write was stopped, or its line of the log");
        tokio::task::yield_now().await;
    }
    client.get("/Patient/p1").await.expect(200);
}
