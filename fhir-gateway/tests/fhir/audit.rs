//! The access log as AuditEvents.

use super::{condition, support::world, two_patients};

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
    for (agent, expected) in [("urn:careledger:client%7Cehr", 1), ("urn:careledger:client%7Cportal", 0)] {
        let found = client.get(&format!("/AuditEvent?action=R,E&agent:identifier={agent}")).await.expect(200).json();
        assert_eq!(found["total"], expected, "{agent}");
    }
    client.send("DELETE", &format!("/AuditEvent/{id}"), &[], "").await.expect(405);
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

/// Whoever stands on a page of another's compartment finds the request in their own log, but not whose it was.
#[actix_web::test]
async fn the_log_of_one_patient_names_no_other_whose_compartment_was_searched() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let (_world, ehr, _portal) = two_patients().await;
    let shared = serde_json::json!({"resourceType": "Observation", "id": "shared", "status": "final", "code": {"text": "x"},
        "subject": {"reference": "Patient/p2"}, "performer": [{"reference": "Patient/p1"}]});
    ehr.send("PUT", "/Observation/shared", &[], shared.to_string()).await.expect(201);
    for path in
        ["/Patient/p1/Observation", "/Patient/p1/Observation?status=final", "/Patient/p1/*", "/Patient/p1/$everything"]
    {
        let found = ehr.get(path).await.expect(200).text();
        assert!(found.contains("Observation/shared"), "{path}: {found}");
    }
    let events = ehr.get("/AuditEvent?patient=p2&action=E").await.expect(200).json();
    let entries = events["entry"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    let mut asked = Vec::new();
    for entry in entries {
        assert!(!entry.to_string().contains("Patient/p1"), "{entry}");
        let queries =
            entry["resource"]["entity"].as_array().unwrap().iter().filter_map(|entity| entity["query"].as_str());
        asked.extend(queries.map(|query| String::from_utf8(STANDARD.decode(query).unwrap()).unwrap()));
    }
    let expected = ["Patient/*/$everything", "Patient/*/*", "Patient/*/Observation?status", "Patient/*/Observation"];
    assert_eq!(asked, expected, "newest first");
}

#[actix_web::test]
async fn audit_events_are_counted_without_being_shown() {
    let (_world, ehr, _portal) = two_patients().await;
    let count = |got: super::support::Got| (got.json()["total"].as_u64(), got.json()["entry"].is_null());
    assert_eq!(count(ehr.get("/AuditEvent?patient=p1&_summary=count").await.expect(200)), (Some(2), true));
    assert_eq!(count(ehr.get("/AuditEvent?_summary=count").await.expect(200)), (Some(4), true));
    assert_eq!(count(ehr.get("/AuditEvent?patient=p1&action=C&_summary=count").await.expect(200)), (Some(2), true));
}

#[actix_web::test]
async fn a_line_of_the_log_is_shown_to_be_in_the_batch_on_the_ledger() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use careledger_wire::{access_log, ids::Digest};
    let (world, ehr, portal) = two_patients().await;
    let newest = |patient: &str| format!("/AuditEvent?patient={patient}&_count=1");
    let id = async |patient: &str| {
        let found = ehr.get(&newest(patient)).await.expect(200).json();
        found["entry"][0]["resource"]["id"].as_str().unwrap().to_owned()
    };
    let (own, others) = (id("p1").await, id("p2").await);
    ehr.get(&format!("/AuditEvent/{own}/$inclusion")).await.expect(422);
    world.organization.audit.anchor().await.unwrap();
    portal.get(&format!("/AuditEvent/{others}/$inclusion")).await.expect(404);
    ehr.get("/AuditEvent/leaf-999/$inclusion").await.expect(404);
    let shown = portal.get(&format!("/AuditEvent/{own}/$inclusion")).await.expect(200).json();
    let all = shown["parameter"].as_array().unwrap();
    let of = |name: &str| all.iter().filter(|parameter| parameter["name"] == name).cloned().collect::<Vec<_>>();
    let text = |name: &str| of(name)[0]["valueString"].as_str().unwrap().to_owned();
    let number = |name: &str| usize::try_from(of(name)[0]["valueUnsignedInt"].as_u64().unwrap()).unwrap();
    let leaf = STANDARD.decode(of("leaf")[0]["valueBase64Binary"].as_str().unwrap()).unwrap();
    let hash = access_log::leaf(&leaf);
    assert_eq!(hash.to_string(), text("hash"));
    assert!(String::from_utf8(leaf).unwrap().contains("\"p1\""));
    let organization = world.organization.address();
    assert_eq!(text("organization"), organization.to_string());
    let key = careledger_app::keys::access_log_batch(&organization, text("sequence").parse().unwrap());
    let batch = world.organization.ledger.get(&key).await.unwrap().expect("the batch is on the ledger");
    let root = Digest::try_from(batch.root.as_slice()).unwrap();
    let siblings = of("sibling")
        .iter()
        .map(|sibling| sibling["valueString"].as_str().unwrap().parse().unwrap())
        .collect::<Vec<_>>();
    assert!(access_log::verify_inclusion(&hash, number("index"), number("count"), &siblings, &root));
    assert_eq!((text("root"), number("count")), (root.to_string(), batch.count as usize));
}

/// How many reads of a Binary a patient finds in the access log.
async fn reads(client: &super::support::Client, patient: &str, binary: &str) -> u64 {
    let events = client.get(&format!("/AuditEvent?patient={patient}&action=R&_count=500")).await.expect(200).json();
    let events = events["entry"].as_array().cloned().unwrap_or_default();
    events.iter().filter(|event| event["resource"]["entity"].to_string().contains(binary)).count() as u64
}

fn document(id: &str, patient: &str, binary: &str) -> String {
    serde_json::json!({
        "resourceType": "DocumentReference", "id": id, "status": "current",
        "subject": {"reference": format!("Patient/{patient}")},
        "content": [{"attachment": {"url": format!("Binary/{binary}")}}],
    })
    .to_string()
}

#[actix_web::test]
async fn reading_the_bytes_of_a_document_is_in_the_log_of_its_patient_who_may_read_them_too() {
    let (_world, ehr, portal) = two_patients().await;
    let png = [("content-type", "image/png")];
    let binary = ehr.send("POST", "/Binary", &png, [1u8, 2, 3]).await.expect(201).id();
    let path = format!("/Binary/{binary}");
    portal.get(&path).await.expect(404);
    ehr.send("PUT", "/DocumentReference/d1", &[], document("d1", "p1", &binary)).await.expect(201);
    assert_eq!(reads(&ehr, "p1", &binary).await, 0);
    for path in [path.clone(), format!("{path}/_history/1"), format!("{path}/_history")] {
        let before = reads(&ehr, "p1", &binary).await;
        ehr.get(&path).await.expect(200);
        portal.get(&path).await.expect(200);
        assert_eq!(reads(&ehr, "p1", &binary).await, before + 2, "{path}");
    }
    // Of two patients, it is in both of their logs, and neither's own.
    ehr.send("PUT", "/DocumentReference/d2", &[], document("d2", "p2", &binary)).await.expect(201);
    ehr.get(&path).await.expect(200);
    portal.get(&path).await.expect(404);
    assert_eq!(reads(&ehr, "p2", &binary).await, 1);
}

/// As where it is read alone: the bytes of a document that names nobody are its documents' patients'.
#[actix_web::test]
async fn a_page_that_showed_the_bytes_of_a_document_was_in_nobodys_log() {
    const JSON: &str = "application/fhir+json";
    let (_world, ehr, _portal) = two_patients().await;
    let png = [("content-type", "image/png")];
    let binary = ehr.send("POST", "/Binary", &png, [1u8, 2, 3]).await.expect(201).id();
    ehr.send("PUT", "/DocumentReference/d1", &[], document("d1", "p1", &binary)).await.expect(201);
    let reference = serde_json::json!({"reference": format!("Binary/{binary}")});
    let provenance = serde_json::json!({"resourceType": "Provenance", "id": "v", "target": [reference],
        "recorded": "2020-01-01T00:00:00Z", "agent": [{"who": {"display": "x"}}]});
    ehr.send("PUT", "/Provenance/v", &[], provenance.to_string()).await.expect(201);
    let mut related: serde_json::Value = serde_json::from_str(&document("d2", "p2", "another")).unwrap();
    related["context"] = serde_json::json!({"related": [reference]});
    ehr.send("PUT", "/DocumentReference/d2", &[], related.to_string()).await.expect(201);
    let lines = async |patient: &str| {
        let found = ehr.get(&format!("/AuditEvent?patient={patient}&action=E&_count=0")).await.expect(200).json();
        found["total"].as_u64().unwrap()
    };
    let in_a_batch = serde_json::json!({"resourceType": "Bundle", "type": "batch",
        "entry": [{"request": {"method": "GET", "url": format!("Binary?_id={binary}")}}]});
    let batch = in_a_batch.to_string();
    let by_id = format!("_id={binary}");
    for (method, path, media_type, body) in [
        ("GET", format!("/Binary?_id={binary}").as_str(), JSON, ""),
        ("GET", "/Binary?_count=500", JSON, ""),
        ("POST", "/Binary/_search", "application/x-www-form-urlencoded", by_id.as_str()),
        ("POST", "/", JSON, batch.as_str()),
        ("GET", "/Provenance?_include=Provenance:target", JSON, ""),
        ("GET", "/DocumentReference?_id=d2&_include=DocumentReference:related", JSON, ""),
        ("GET", "/Patient/p2/$everything", JSON, ""),
        ("GET", "/Binary/_history", JSON, ""),
        ("GET", "/_history", JSON, ""),
    ] {
        let before = lines("p1").await;
        let got = ehr.send(method, path, &[("content-type", media_type)], body).await.expect(200).text();
        assert!(got.contains(&format!("Binary/{binary}")) && got.contains("AQID"), "{path}: {got}");
        assert_eq!(lines("p1").await, before + 1, "{path}");
    }
}

#[actix_web::test]
async fn a_patients_client_makes_no_binary_its_own_by_pointing_at_it() {
    let (_world, ehr, portal) = two_patients().await;
    let of_p2 = [("content-type", "image/png"), ("x-security-context", "Patient/p2")];
    let others = ehr.send("POST", "/Binary", &of_p2, [1u8]).await.expect(201).id();
    let nobodys = ehr.send("POST", "/Binary", &of_p2[..1], [1u8]).await.expect(201).id();
    let of_p1 = [("content-type", "image/png"), ("x-security-context", "Patient/p1")];
    let own = portal.send("POST", "/Binary", &of_p1, [1u8]).await.expect(201).id();
    let refusals = [others.as_str(), nobodys.as_str(), "never"];
    for binary in refusals {
        let refused = portal.post("/DocumentReference", document("d", "p1", binary)).await.expect(422);
        assert!(!refused.text().contains(binary));
        portal.get(&format!("/Binary/{binary}")).await.expect(404);
    }
    portal.post("/DocumentReference", document("d", "p1", &own)).await.expect(201);
    portal.get(&format!("/Binary/{own}")).await.expect(200);
}

#[actix_web::test]
async fn an_audit_event_was_sent_whole_whatever_the_client_had_and_wanted() {
    let (_world, ehr, portal) = two_patients().await;
    let whole = ehr.get("/AuditEvent/leaf-1").await.expect(200);
    let modified = whole.header("last-modified").unwrap();
    assert!(whole.json()["entity"].is_array());
    for path in ["/AuditEvent/leaf-1", "/AuditEvent/leaf-1/_history/1"] {
        for (header, value, status) in [
            ("if-none-match", "W/\"1\"", 304),
            ("if-none-match", "*", 304),
            ("if-none-match", "W/\"2\"", 200),
            ("if-modified-since", modified, 304),
            ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ] {
            let got = ehr.send("GET", path, &[(header, value)], "").await.expect(status);
            assert_eq!(got.header("etag"), whole.header("etag"), "{path} {header}: {value}");
            assert_eq!(got.bytes.is_empty(), status == 304, "{path} {header}: {value}");
        }
        for part in ["_summary=true", "_elements=recorded"] {
            let shown = ehr.get(&format!("{path}?{part}")).await.expect(200).json();
            assert_eq!(shown["meta"]["tag"][0]["code"], "SUBSETTED", "{path}?{part}");
            assert!(shown["recorded"].is_string() && shown["entity"].is_null(), "{path}?{part}");
        }
    }
    // Who may not read it is not told whether it changed.
    let of_p2 = ehr.get("/AuditEvent?patient=p2&_count=1").await.expect(200).json();
    let id = of_p2["entry"][0]["resource"]["id"].as_str().unwrap();
    portal.send("GET", &format!("/AuditEvent/{id}"), &[("if-none-match", "*")], "").await.expect(404);
}

#[actix_web::test]
async fn an_audit_event_has_one_version_and_no_history() {
    let (_world, ehr, portal) = two_patients().await;
    let event = ehr.get("/AuditEvent/leaf-1").await.expect(200);
    assert_eq!(ehr.get("/AuditEvent/leaf-1/_history/1").await.expect(200).bytes, event.bytes);
    ehr.get("/AuditEvent/leaf-1/_history/2").await.expect(404);
    ehr.get("/AuditEvent/leaf-1/_history").await.expect(405);
    let of_p2 = ehr.get("/AuditEvent?patient=p2&_count=1").await.expect(200).json();
    let id = of_p2["entry"][0]["resource"]["id"].as_str().unwrap();
    portal.get(&format!("/AuditEvent/{id}/_history/1")).await.expect(404);
}
