//! Resources, one at a time: create, read, update, delete, versions, Binaries.

use futures::future::join_all;
use serde_json::{Value, json};

use super::{
    PATIENT,
    support::{FHIR, golden, world},
};

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
    let huge = format!(r#"{{"resourceType":"Patient","language":"{}"}}"#, "x".repeat(super::support::BODY_BYTES_MAX));
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
        ("POST", "/Patient", json, r#"{"resourceType":"Observation","nmae":1}"#, 422, "invalid", Some("Patient")),
        ("POST", "/Patient", json, "{}", 422, "invalid", Some("Resource")),
        ("POST", "/", json, r#"{"resourceType":"Patient"}"#, 422, "invalid", Some("Bundle")),
        ("POST", "/Patient", ("content-type", "text/plain"), "{}", 415, "not-supported", None),
        ("POST", "/Patient", ("content-type", "application/fhir+turtle"), "a", 415, "not-supported", None),
        ("POST", "/Patient", json, &huge, 413, "too-long", None),
        ("POST", "/Spaceship", json, "{}", 404, "not-supported", None),
        ("POST", "/AuditEvent", json, "{}", 405, "not-supported", None),
        ("PATCH", "/Patient/1", json, "{}", 415, "not-supported", None),
        ("PATCH", "/AuditEvent/1", json, "{}", 405, "not-supported", None),
        ("DELETE", "/Patient", json, "", 400, "invalid", None),
        ("GET", "/Patient/1/2/3/4", json, "", 404, "not-found", None),
        ("GET", "/Patient", ("accept", "text/turtle"), "", 406, "not-supported", None),
        ("GET", "/Patient?birthdate=soon", json, "", 400, "invalid", None),
        ("GET", "/Patient?name:fuzzy=a", json, "", 400, "invalid", None),
        ("GET", "/Patient?color=red", ("prefer", "handling=strict"), "", 400, "not-supported", None),
        ("GET", "/Patient?_text=a", ("prefer", "handling=strict"), "", 400, "not-supported", None),
        ("GET", "/Patient?_sort=shoe-size", json, "", 400, "invalid", None),
        ("GET", "/Patient/_history?_since=soon", json, "", 400, "invalid", None),
        ("GET", "/_history?_cursor=1", json, "", 400, "invalid", None),
        ("GET", "/_history?_cursor=Patient/never/1", json, "", 400, "invalid", None),
        ("GET", "/_history?_sort=_id", ("prefer", "handling=strict"), "", 400, "not-supported", None),
        ("GET", "/Encounter/1/Observation", json, "", 404, "not-supported", None),
        ("GET", "/Patient/1/Practitioner", json, "", 404, "not-supported", None),
        ("GET", "/Patient/1/$everything", json, "", 404, "not-found", None),
        ("GET", "/DocumentReference/$docref", json, "", 400, "invalid", None),
        ("POST", "/Patient/$match", json, "{}", 404, "not-supported", None),
        ("POST", "/Patient", ("content-encoding", "br"), "{}", 415, "not-supported", None),
        ("GET", "/Patient/1?_count=2", ("prefer", "handling=strict"), "", 400, "not-supported", None),
        ("GET", "/Patient/never/_history?_count=2", ("prefer", "handling=strict"), "", 404, "not-found", None),
        ("POST", "/Patient?identifier=7", ("prefer", "handling=strict"), "{}", 400, "not-supported", None),
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
async fn a_body_is_bounded_and_not_read_before_the_caller_is_known() {
    use std::io::Write as _;
    let world = world().await;
    let huge = vec![b' '; super::support::BODY_BYTES_MAX + 1];
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
async fn format_means_the_same_at_every_address_and_goes_before_accept() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/p1", &[], r#"{"resourceType":"Patient","id":"p1"}"#).await.expect(201);
    let raw = client.send("POST", "/Binary", &[("content-type", "image/png")], [1u8, 2]).await.expect(201);
    let binary = format!("/Binary/{}", raw.id());
    let xml = [("accept", "application/fhir+xml")];
    for path in ["/Patient/p1", "/Patient", &binary, "/metadata"] {
        for format in ["json", "application/json", "application/fhir+json", "application/fhir%2Bjson"] {
            let got = client.send("GET", &format!("{path}?_format={format}"), &xml, "").await.expect(200);
            assert!(got.json()["resourceType"].is_string(), "{path} {format}");
        }
        let as_xml = client.get(&format!("{path}?_format=xml")).await.expect(200);
        assert!(as_xml.text().starts_with("<?xml"), "{path}");
        client.get(&format!("{path}?_format=ttl")).await.expect(406);
        client.get(&format!("{path}?_format=json&_format=ttl")).await.expect(406);
    }
}

#[actix_web::test]
async fn a_wish_for_line_breaks_is_passed_over_and_refused_nowhere() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/p1", &[], r#"{"resourceType":"Patient","id":"p1"}"#).await.expect(201);
    let strict = [("prefer", "handling=strict")];
    for path in [
        "/Patient/p1",
        "/Patient/p1/_history",
        "/Patient/p1/_history/1",
        "/Patient",
        "/Patient/p1/$everything",
        "/Subscription/$status",
    ] {
        for headers in [&strict[..], &[]] {
            let pretty = client.send("GET", &format!("{path}?_pretty=true"), headers, "").await.expect(200).json();
            let plain = client.send("GET", path, headers, "").await.expect(200).json();
            assert_eq!(pretty["entry"], plain["entry"], "{path}");
            assert_eq!(pretty["total"], plain["total"], "{path}");
        }
    }
}

#[actix_web::test]
async fn a_binary_comes_as_what_accept_wants_more_the_file_or_the_resource() {
    let world = world().await;
    let client = world.client("ehr").await;
    let raw = client.send("POST", "/Binary", &[("content-type", "image/png")], [1u8, 2]).await.expect(201);
    let as_fhir = json!({"resourceType": "Binary", "contentType": "image/png", "data": "AQI="});
    let posted = client.post("/Binary", as_fhir.to_string()).await.expect(201);
    for created in [raw, posted] {
        for (accept, expected) in [
            ("application/fhir+xml;q=0.1,image/png;q=0.9", "image/png"),
            ("application/fhir+json;q=0.9, */*", "image/png"),
            ("application/fhir+xml;q=0.9,image/png;q=0.1", "application/fhir+xml; charset=utf-8"),
            ("application/fhir+json, */*", "application/fhir+json; charset=utf-8"),
        ] {
            let path = format!("/Binary/{}", created.id());
            let got = client.send("GET", &path, &[("accept", accept)], "").await.expect(200);
            assert_eq!(got.header("content-type"), Some(expected), "{accept}");
        }
    }
}

/// A client that reads some elements and writes them back lost all others.
#[actix_web::test]
async fn a_part_that_says_so_is_not_stored_in_the_place_of_the_whole() {
    let world = world().await;
    let client = world.client("ehr").await;
    let whole = r#"{"resourceType":"Patient","id":"p1","active":true,"gender":"other"}"#;
    client.send("PUT", "/Patient/p1", &[], whole).await.expect(201);
    let part = client.get("/Patient/p1?_elements=active").await.expect(200);
    let refused_at = |refused: &Value| refused["issue"][0]["expression"][0].as_str().unwrap().to_owned();
    for (method, path) in [("PUT", "/Patient/p1"), ("PUT", "/Patient?active=true"), ("POST", "/Patient")] {
        let refused = client.send(method, path, &[], part.bytes.clone()).await.expect(422).json();
        assert_eq!(refused_at(&refused), "Patient.meta.tag[0]", "{method} {path}");
    }
    let as_xml = client.get("/Patient/p1?_elements=active&_format=xml").await.expect(200);
    let xml = [("content-type", "application/fhir+xml")];
    client.send("PUT", "/Patient/p1", &xml, as_xml.bytes.clone()).await.expect(422);
    let said = client.post("/Patient/$validate", part.text()).await.expect(200).json();
    assert_eq!(refused_at(&said), "Patient.meta.tag[0]");
    let tag = part.json()["meta"]["tag"].clone();
    let patch = json!([{"op": "add", "path": "/meta", "value": {"tag": tag}}]).to_string();
    client.send("PATCH", "/Patient/p1", &[("content-type", "application/json-patch+json")], patch).await.expect(422);

    let entry = |method: &str, url: &str, resource: Value| json!({"resource": resource, "request": {"method": method, "url": url}});
    let entries = [
        entry("POST", "Observation", json!({"resourceType": "Observation", "status": "final", "code": {"text": "c"}})),
        entry("PUT", "Patient/p1", part.json()),
    ];
    let bundle = |kind: &str| json!({"resourceType": "Bundle", "type": kind, "entry": entries}).to_string();
    let refused = client.post("/", bundle("transaction")).await.expect(422).json();
    assert!(refused_at(&refused).starts_with("Bundle.entry[1]"), "{refused}");
    assert_eq!(client.get("/Observation").await.expect(200).json()["total"], 0, "nothing of a transaction was done");
    let answered = client.post("/", bundle("batch")).await.expect(200).json();
    assert_eq!(answered["entry"][1]["response"]["status"], "422 Unprocessable Entity");
    assert_eq!(answered["entry"][0]["response"]["status"], "201 Created");

    let kept = client.get("/Patient/p1").await.expect(200).json();
    assert_eq!((&kept["gender"], &kept["meta"]["versionId"]), (&json!("other"), &json!("1")));
    let other = whole.replace(r#""active""#, r#""meta":{"tag":[{"system":"urn:own","code":"SUBSETTED"}]},"active""#);
    client.send("PUT", "/Patient/p1", &[], other).await.expect(200);
}

#[actix_web::test]
async fn a_security_context_that_is_no_patient_is_refused_and_not_dropped() {
    let world = world().await;
    let client = world.client("ehr").await;
    for reference in ["Observation/1", "http://elsewhere/fhir/Patient/1", "Patient"] {
        let headers = [("content-type", "image/png"), ("x-security-context", reference)];
        let refused = client.send("POST", "/Binary", &headers, [1u8, 2]).await.expect(422).json();
        assert_eq!(refused["issue"][0]["expression"][0], "X-Security-Context", "{reference}");
    }
}

#[actix_web::test]
async fn a_binary_says_in_either_form_whose_it_is_and_stays_the_patients_when_it_is_read_and_written_back() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/p1", &[], r#"{"resourceType":"Patient","id":"p1"}"#).await.expect(201);
    let (text, fhir) = (("content-type", "text/plain"), ("accept", "application/fhir+json"));
    let context = ("x-security-context", "Patient/p1");
    let as_fhir = json!({"resourceType": "Binary", "contentType": "text/plain", "data": "YQ==",
        "securityContext": {"reference": "Patient/p1"}});
    let raw = client.send("POST", "/Binary", &[text, context], "a").await.expect(201);
    let posted = client.post("/Binary", as_fhir.to_string()).await.expect(201);
    for created in [raw, posted] {
        let path = format!("/Binary/{}", created.id());
        let is_of_p1 = async |step: &str| {
            let native = client.get(&path).await.expect(200);
            assert_eq!(native.header("x-security-context"), Some("Patient/p1"), "{step}");
            let resource = client.send("GET", &path, &[fhir], "").await.expect(200).json();
            assert_eq!(resource["securityContext"]["reference"], "Patient/p1", "{step}");
            let found = client.get(&format!("/Binary?_id={}", created.id())).await.expect(200).json();
            assert_eq!(found["entry"][0]["resource"]["securityContext"]["reference"], "Patient/p1", "{step}");
            let stored = world.organization.records.read("Binary", &created.id()).await.unwrap();
            assert_eq!(stored.patient.as_deref(), Some("p1"), "{step}");
            resource
        };
        let mut resource = is_of_p1("created").await;
        client.send("PUT", &path, &[], resource.to_string()).await.expect(200);
        is_of_p1("what was read is put back").await;
        client.send("PUT", &path, &[text], "b").await.expect(200);
        is_of_p1("a file without the header").await;
        let others = [("content-type", "text/plain"), ("x-security-context", "Patient/p2")];
        client.send("PUT", &path, &others, "c").await.expect(422);
        is_of_p1("a file that names another").await;
        for other in [None, Some("Organization/o1"), Some("Patient/p2")] {
            resource.as_object_mut().unwrap().remove("securityContext");
            if let Some(other) = other {
                resource["securityContext"] = json!({"reference": other});
            }
            let refused = client.send("PUT", &path, &[], resource.to_string()).await.expect(422).json();
            assert_eq!(refused["issue"][0]["expression"][0], "Binary.securityContext", "{other:?}");
            is_of_p1("what was refused").await;
        }
    }
    // What is nobody's stays nobody's.
    let nobodys = client.send("POST", "/Binary", &[text], "a").await.expect(201);
    let path = format!("/Binary/{}", nobodys.id());
    assert_eq!(client.get(&path).await.expect(200).header("x-security-context"), None);
    let resource = client.send("GET", &path, &[fhir], "").await.expect(200).text();
    assert!(!resource.contains("securityContext"), "{resource}");
    client.send("PUT", &path, &[], resource).await.expect(200);
}

#[actix_web::test]
async fn a_submitted_request_without_a_proof_is_not_kept() {
    let world = world().await;
    let client = world.client("ehr").await;
    let request = json!({
        "resourceType": "CoverageEligibilityRequest", "status": "active", "purpose": ["benefits"],
        "patient": {"reference": "Patient/p1"}, "created": "2026-01-01", "insurer": {"display": "us"},
    });
    client.post("/CoverageEligibilityRequest/$submit", request.to_string()).await.expect(422);
    assert_eq!(client.get("/CoverageEligibilityRequest").await.expect(200).json()["total"], 0);
    client.post("/CoverageEligibilityRequest", request.to_string()).await.expect(201);
}

#[actix_web::test]
async fn every_type_does_what_the_capability_statement_says_and_nothing_else() {
    let world = world().await;
    let client = world.client("ehr").await;
    let statement = client.get("/metadata").await.expect(200).json();
    for described in statement["rest"][0]["resource"].as_array().unwrap() {
        let name = described["type"].as_str().unwrap();
        let says = |code: &str| described["interaction"].as_array().unwrap().iter().any(|said| said["code"] == code);
        let address = format!("/{name}/never");
        let asked = [
            ("read", client.get(&address).await),
            ("vread", client.get(&format!("{address}/_history/1")).await),
            ("history-instance", client.get(&format!("{address}/_history")).await),
            ("history-type", client.get(&format!("/{name}/_history")).await),
            ("search-type", client.get(&format!("/{name}?_count=0")).await),
            ("create", client.post(&format!("/{name}"), "{}").await),
            ("update", client.send("PUT", &address, &[], "{}").await),
            ("patch", client.send("PATCH", &address, &[("content-type", "application/json-patch+json")], "[]").await),
            ("delete", client.send("DELETE", &address, &[], "").await),
        ];
        for (code, got) in asked {
            assert_eq!(got.status != 405, says(code), "{name} {code}: {}", got.status);
        }
    }
}

#[actix_web::test]
async fn a_condition_is_attested_once_in_one_attestation() {
    let world = world().await;
    let client = world.client("ehr").await;
    let patient = r#"{"resourceType":"Patient","id":"p1","birthDate":"1980-01-01"}"#;
    client.send("PUT", "/Patient/p1", &[], patient).await.expect(201);
    let condition = json!({
        "resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}, "onsetDateTime": "2026-01-02",
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "E11.9"}]},
    });
    client.send("PUT", "/Condition/c1", &[], condition.to_string()).await.expect(201);
    let fact =
        json!({"name": "fact", "part": [{"name": "condition", "valueReference": {"reference": "Condition/c1"}}]});
    let ask = |facts: &[&Value]| {
        let mut parameters = vec![json!({"name": "pid", "valueString": format!("{:064x}", 7)})];
        parameters.extend(facts.iter().copied().cloned());
        json!({"resourceType": "Parameters", "parameter": parameters}).to_string()
    };
    let twice = client.post("/Patient/p1/$attest", ask(&[&fact, &fact])).await.expect(422);
    assert!(twice.text().contains("names the same Condition"), "{}", twice.text());
    client.post("/Patient/p1/$attest", ask(&[&fact])).await.expect(200);
}

#[actix_web::test]
async fn a_method_that_is_not_allowed_is_answered_with_those_that_are() {
    let world = world().await;
    let client = world.client("ehr").await;
    for (method, path, status, allow) in [
        ("POST", "/Patient/1", 405, "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        ("TRACE", "/Patient?identifier=7", 405, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ("POST", "/AuditEvent", 405, "GET, HEAD, OPTIONS"),
        ("POST", "/metadata", 405, "GET, HEAD, OPTIONS"),
        ("GET", "/", 405, "POST, OPTIONS"),
        ("OPTIONS", "/", 204, "POST, OPTIONS"),
        ("OPTIONS", "/Patient/1", 204, "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        ("OPTIONS", "/metadata", 204, "GET, HEAD, OPTIONS"),
        ("OPTIONS", "/AuditEvent/leaf-1", 204, "GET, HEAD, OPTIONS"),
    ] {
        let got = client.send(method, path, &[], "").await.expect(status);
        assert_eq!(got.header("allow"), Some(allow), "{method} {path}");
    }
    let bundle = json!({"resourceType": "Bundle", "type": "transaction",
        "entry": [{"request": {"method": "DELETE", "url": "AuditEvent/leaf-1"}}]});
    let refused = client.post("/", bundle.to_string()).await.expect(405);
    assert_eq!(refused.header("allow"), Some("POST, OPTIONS"));
}

#[actix_web::test]
async fn a_media_type_that_is_not_read_is_answered_with_the_one_that_is() {
    let world = world().await;
    let client = world.client("ehr").await;
    for (path, content_type, expected) in [
        ("/Patient", "text/plain", "application/fhir+json"),
        ("/Patient/_search", "application/json", "application/x-www-form-urlencoded"),
        ("/Binary", "nothing", "a media type: that of the Binary"),
    ] {
        let refused = client.send("POST", path, &[("content-type", content_type)], "{}").await.expect(415);
        assert!(refused.text().contains(expected), "{path}: {}", refused.text());
    }
    let packed = [("content-type", "application/fhir+json"), ("content-encoding", "zstd")];
    let refused = client.send("POST", "/Patient", &packed, "{}").await.expect(415);
    assert_eq!(refused.header("accept-encoding"), Some("gzip, identity"));
}
