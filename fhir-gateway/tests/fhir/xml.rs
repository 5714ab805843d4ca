//! Everything over HTTP in XML: bodies, answers, errors, and which of the two formats an answer has.

use careledger_gateway::{json::Document, xml};
use serde_json::{Value, json};

use super::support::{Client, Got, world};

const XML: (&str, &str) = ("accept", "application/fhir+xml");
const XML_BODY: (&str, &str) = ("content-type", "application/fhir+xml");

/// The answer, which must be FHIR XML, as JSON.
#[track_caller]
fn of_xml(got: &Got) -> Value {
    assert_eq!(got.header("content-type"), Some("application/fhir+xml; charset=utf-8"), "{}", got.text());
    xml::read(&got.bytes.clone().into()).unwrap().to_value()
}

fn as_xml(resource: &Value) -> Vec<u8> {
    xml::write(&Document::parse(resource.to_string()).unwrap()).unwrap()
}

async fn in_xml(client: &Client, method: &str, path: &str, body: Option<&Value>) -> Got {
    match body {
        Some(body) => client.send(method, path, &[XML, XML_BODY], as_xml(body)).await,
        None => client.send(method, path, &[XML], "").await,
    }
}

#[actix_web::test]
async fn a_resource_lives_through_its_versions_in_xml() {
    let world = world().await;
    let client = world.client("ehr").await;
    let sent = json!({
        "resourceType": "Patient", "id": "p1", "name": [{"family": "Ö & <ä>", "given": ["a"]}],
        "extension": [{"url": "urn:score", "valueDecimal": serde_json::from_str::<Value>("1.00").unwrap()}],
    });
    let created = in_xml(&client, "PUT", "/Patient/p1", Some(&sent)).await.expect(201);
    let mut found = of_xml(&created);
    assert_eq!(found["meta"]["versionId"], "1");
    found.as_object_mut().unwrap().remove("meta");
    assert_eq!(found, sent);
    // The same version is there in both formats, with its digits.
    let as_json = client.get("/Patient/p1").await.expect(200);
    assert!(as_json.text().contains("\"valueDecimal\":1.00"), "{}", as_json.text());
    let read = in_xml(&client, "GET", "/Patient/p1", None).await.expect(200);
    assert_eq!(of_xml(&read), as_json.json());
    assert_eq!(read.header("etag"), Some("W/\"1\""));
    in_xml(&client, "PUT", "/Patient/p1", Some(&sent)).await.expect(200);
    of_xml(&in_xml(&client, "GET", "/Patient/p1/_history/1", None).await.expect(200));
    let history = of_xml(&in_xml(&client, "GET", "/Patient/p1/_history", None).await.expect(200));
    assert_eq!(history["entry"].as_array().unwrap().len(), 2);
    in_xml(&client, "DELETE", "/Patient/p1", None).await.expect(204);
    assert_eq!(of_xml(&in_xml(&client, "GET", "/Patient/p1", None).await.expect(410))["issue"][0]["code"], "deleted");
    let known = client.send("GET", "/Patient/p1/_history/1", &[XML, ("if-none-match", "W/\"1\"")], "").await;
    assert!(known.expect(304).bytes.is_empty());
}

#[actix_web::test]
async fn bundles_searches_and_operations_speak_xml() {
    let world = world().await;
    let client = world.client("ehr").await;
    for (kind, response) in [("transaction", "transaction-response"), ("batch", "batch-response")] {
        let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": [
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "active": true},
             "request": {"method": "POST", "url": "Patient"}},
            {"request": {"method": "GET", "url": "Patient?_format=json"}},
        ]});
        let answer = of_xml(&in_xml(&client, "POST", "/", Some(&bundle)).await.expect(200));
        assert_eq!(answer["type"], response);
        assert_eq!(answer["entry"][0]["resource"]["active"], true);
        assert_eq!(answer["entry"][1]["resource"]["type"], "searchset");
    }
    let found = of_xml(&in_xml(&client, "GET", "/Patient?active=true&_count=1", None).await.expect(200));
    assert_eq!((&found["total"], &found["entry"][0]["resource"]["active"]), (&json!(2), &json!(true)));
    let by_format = client.get("/Patient?active=true&_count=1&_format=xml").await.expect(200);
    let next = of_xml(&by_format)["link"][1]["url"].as_str().unwrap().to_owned();
    let next = next.split("/fhir").nth(1).unwrap();
    of_xml(&client.get(next).await.expect(200));
    let form = ("content-type", "application/x-www-form-urlencoded");
    of_xml(&client.send("POST", "/Patient/_search", &[form, XML], "active=true").await.expect(200));
    for accept in ["*/*", "text/csv"] {
        let headers = [form, ("accept", accept)];
        of_xml(&client.send("POST", "/Patient/_search", &headers, "active=true&_format=xml").await.expect(200));
    }
    client.send("POST", "/Patient/_search", &[form, ("accept", "text/csv")], "active=true").await.expect(406);
    let statement = of_xml(&in_xml(&client, "GET", "/metadata", None).await.expect(200));
    assert_eq!(statement["format"], json!(["application/fhir+json", "json", "application/fhir+xml", "xml"]));
    let attest = json!({"resourceType": "Parameters", "parameter": [{"name": "pid", "valueString": "x"}]});
    let refused = in_xml(&client, "POST", "/Patient/never/$attest", Some(&attest)).await.expect(404);
    assert_eq!(of_xml(&refused)["resourceType"], "OperationOutcome");
    let submit = json!({"resourceType": "CoverageEligibilityRequest", "status": "active", "purpose": ["benefits"],
        "patient": {"reference": "Patient/p1"}, "created": "2026-01-01", "insurer": {"display": "us"}});
    in_xml(&client, "POST", "/CoverageEligibilityRequest/$submit", Some(&submit)).await.expect(422);
}

#[actix_web::test]
async fn what_is_wrong_in_a_bundle_is_placed_in_the_bundle_that_was_sent() {
    let world = world().await;
    let client = world.client("ehr").await;
    let xml = "<Bundle xmlns='http://hl7.org/fhir'><type value='batch'/>\n<entry><resource><Patient/></resource>\
        <request><method value='POST'/><url value='Patient'/></request></entry>\n<entry><resource><Patient>\n\
        <gender value='x'/></Patient></resource><request><method value='POST'/><url value='Patient'/></request></entry></Bundle>";
    let json = "{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[\n\
        {\"resource\":{\"resourceType\":\"Patient\"},\"request\":{\"method\":\"POST\",\"url\":\"Patient\"}},\n\
        {\"resource\":{\"resourceType\":\"Patient\",\n\"gender\":\"x\"},\"request\":{\"method\":\"POST\",\"url\":\"Patient\"}}]}";
    for (content_type, body) in [("application/fhir+xml", xml), ("application/fhir+json", json)] {
        for (of_bundle, path, status) in
            [("batch", "Patient.gender", 200), ("transaction", "Bundle.entry[1].resource.gender", 422)]
        {
            let headers = [("content-type", content_type), ("accept", "application/fhir+json")];
            let answer =
                client.send("POST", "/", &headers, body.replace("batch", of_bundle)).await.expect(status).json();
            let entry = &answer["entry"][1]["response"]["outcome"];
            let issue = if status == 200 { &entry["issue"][0] } else { &answer["issue"][0] };
            assert_eq!(
                (&issue["expression"][0], &issue["extension"][0]["valueInteger"]),
                (&json!(path), &json!(4)),
                "{answer}"
            );
        }
    }
}

#[actix_web::test]
async fn a_fault_of_form_in_xml_refuses_a_whole_batch_and_any_other_its_entry() {
    let world = world().await;
    let client = world.client("ehr").await;
    let good = "<Patient><active value='true'/></Patient>";
    let (of_entry, of_all): (&[&str], &[&str]) = (&["201 Created", "422 Unprocessable Entity"], &[]);
    let mut made = 0;
    for (broken, statuses) in [
        ("<Patient><gender value='none of the codes'/></Patient>", of_entry),
        ("<Patient><birthDate value='2000-13-01'/></Patient>", of_entry),
        ("<Patient><unknown value='1'/></Patient>", of_all),
        ("<Patient><gender value='male'/><active value='true'/></Patient>", of_all),
        ("<Patient><active value='true'/><active value='true'/></Patient>", of_all),
        ("<Patient><active/></Patient>", of_all),
        ("<Spaceship/>", of_all),
    ] {
        let entry = |resource: &str| {
            format!(
                "<entry><resource>{resource}</resource><request><method value='POST'/><url value='Patient'/></request></entry>"
            )
        };
        let entries = [good, broken].map(entry).concat();
        let sent = format!("<Bundle xmlns='http://hl7.org/fhir'><type value='batch'/>{entries}</Bundle>");
        let status = if statuses.is_empty() { 422 } else { 200 };
        let headers = [XML_BODY, ("accept", "application/fhir+json")];
        let answered = client.send("POST", "/", &headers, sent).await.expect(status).json();
        let entries = answered["entry"].as_array().cloned().unwrap_or_default();
        let found: Vec<&str> = entries.iter().map(|entry| entry["response"]["status"].as_str().unwrap()).collect();
        assert_eq!(found, statuses, "{broken}");
        made += usize::from(!statuses.is_empty());
        assert_eq!(client.get("/Patient").await.expect(200).json()["total"], made, "{broken}");
    }
}

#[actix_web::test]
async fn what_is_as_deep_as_may_be_is_found_in_a_bundle_in_xml() {
    let world = world().await;
    let client = world.client("ehr").await;
    // An array and an object each, within the resource itself.
    let depth = (careledger_gateway::json::DEPTH_MAX - 1) / 2;
    let open = "{\"url\":\"urn:x\",\"extension\":[".repeat(depth - 1);
    let close = "]}".repeat(depth - 1);
    let extension = format!("{open}{{\"url\":\"urn:x\",\"valueCode\":\"a\"}}{close}");
    let body = format!("{{\"resourceType\":\"Patient\",\"active\":true,\"extension\":[{extension}]}}");
    client.post("/Patient", body).await.expect(201);
    let found = in_xml(&client, "GET", "/Patient?active=true", None).await.expect(200);
    assert!(found.text().contains("<valueCode value=\"a\"/>"), "{}", found.text());
}

#[actix_web::test]
async fn an_answer_has_the_format_that_is_asked_for() {
    let world = world().await;
    let client = world.client("ehr").await;
    let patient = r#"{"resourceType":"Patient","id":"p1"}"#;
    client.send("PUT", "/Patient/p1", &[], patient).await.expect(201);
    for (path, accept, expected) in [
        ("", "*/*", "application/fhir+json"),
        ("", "application/fhir+xml;q=0.9, application/fhir+json;q=0.1", "application/fhir+xml"),
        ("", "application/xml+fhir", "application/fhir+xml"),
        ("", "text/xml", "text/xml"),
        ("", "application/xml", "application/xml"),
        ("", "application/json", "application/json"),
        ("", "text/html, application/xml;q=0.9, */*;q=0.8", "application/xml"),
        ("?_format=xml", "application/fhir+json", "application/fhir+xml"),
        ("?_format=application/fhir%2Bxml", "text/csv", "application/fhir+xml"),
        ("?_format=text/xml", "*/*", "application/fhir+xml"),
        ("?_format=json", "application/fhir+xml", "application/fhir+json"),
    ] {
        let got = client.send("GET", &format!("/Patient/p1{path}"), &[("accept", accept)], "").await.expect(200);
        let expected = format!("{expected}; charset=utf-8");
        assert_eq!(got.header("content-type"), Some(expected.as_str()), "{path} {accept}");
    }
    for (path, accept) in [
        ("", "text/csv"),
        ("", "application/fhir+json;q=0"),
        ("", "application/fhir+xml; fhirVersion=5.0"),
        ("?_format=ttl", "application/fhir+json"),
        ("?_format=html", "*/*"),
    ] {
        let refused = client.send("GET", &format!("/Patient/p1{path}"), &[("accept", accept)], "").await.expect(406);
        assert_eq!(refused.json()["issue"][0]["code"], "not-supported", "{path} {accept}");
    }
    // Who says nothing is answered in the format of the body; errors too.
    let sent = [XML_BODY];
    of_xml(&client.send("POST", "/Patient", &sent, "<Patient xmlns='http://hl7.org/fhir'/>").await.expect(201));
    let refused = client.send("POST", "/Patient", &sent, "<Patient xmlns='http://hl7.org/fhir'>\n<x/></Patient>").await;
    let refused = of_xml(&refused.expect(422));
    assert_eq!(refused["issue"][0]["expression"][0], "Patient.x");
    assert_eq!(refused["issue"][0]["extension"][0]["valueInteger"], 2, "{refused}");
    for (content_type, body) in [
        ("application/fhir+turtle", "x"),
        ("application/fhir+xml; charset=iso-8859-1", "<Patient xmlns='http://hl7.org/fhir'/>"),
        ("application/fhir+json; fhirVersion=5.0", patient),
    ] {
        client.send("POST", "/Patient", &[("content-type", content_type)], body).await.expect(415);
    }
}

#[actix_web::test]
async fn a_binary_is_a_file_or_a_resource_in_either_format() {
    let world = world().await;
    let client = world.client("ehr").await;
    let resource = json!({"resourceType": "Binary", "contentType": "application/xml", "data": "PGEvPg=="});
    for content_type in ["application/fhir+xml", "application/xml", "text/xml"] {
        let created = client.send("POST", "/Binary", &[("content-type", content_type)], as_xml(&resource)).await;
        let created = created.expect(201);
        let id = xml::read(&created.bytes.clone().into()).unwrap().id().unwrap().to_owned();
        let native =
            client.send("GET", &format!("/Binary/{id}"), &[("accept", "application/xml")], "").await.expect(200);
        assert_eq!((native.header("content-type"), native.bytes.as_slice()), (Some("application/xml"), &b"<a/>"[..]));
        for path in [format!("/Binary/{id}?_format=xml"), format!("/Binary/{id}")] {
            assert_eq!(of_xml(&client.send("GET", &path, &[XML], "").await.expect(200))["data"], "PGEvPg==");
        }
    }
    // XML that is no FHIR is a file like any other, kept to the byte.
    let cda: &[u8] = b"<!DOCTYPE a><ClinicalDocument xmlns='urn:hl7-org:v3'/>\r\n";
    let created =
        client.send("POST", "/Binary", &[("content-type", "text/xml"), ("accept", "application/fhir+json")], cda).await;
    let native = client.get(&format!("/Binary/{}", created.expect(201).id())).await.expect(200);
    assert_eq!((native.header("content-type"), native.bytes.as_slice()), (Some("text/xml"), cda));
}

#[actix_web::test]
async fn validate_says_all_that_is_wrong_and_what_it_did_not_look_at() {
    let world = world().await;
    let client = world.client("ehr").await;
    let severities = |outcome: &Value| -> Vec<(String, String)> {
        let issues = outcome["issue"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        issues.map(|issue| (text(&issue["severity"]), text(&issue["expression"][0]))).collect()
    };
    let wrong = "{\"resourceType\":\"Patient\",\n\"nmae\":1,\n\"gender\":\"x\"}";
    let outcome = client.post("/Patient/$validate", wrong).await.expect(200).json();
    let found = severities(&outcome);
    assert_eq!(found[0], ("error".to_owned(), "Patient.nmae".to_owned()));
    assert_eq!(found[1], ("error".to_owned(), "Patient.gender".to_owned()));
    assert_eq!(outcome["issue"][1]["extension"][0]["valueInteger"], 3);
    assert_eq!(found.len(), 3);
    let last = outcome["issue"][2]["diagnostics"].as_str().unwrap();
    assert!(last.contains("not checked") && last.contains("invariants") && last.contains("profiles"), "{last}");
    let parameters = |mode: &str, resource: Value| {
        json!({"resourceType": "Parameters", "parameter": [
            {"name": "mode", "valueCode": mode}, {"name": "profile", "valueUri": "urn:x"},
            {"name": "resource", "resource": resource}]})
    };
    // Every type that FHIR has, kept or not; in XML too.
    for (path, body, errors) in [
        ("/Questionnaire/$validate", json!({"resourceType": "Questionnaire", "status": "active"}), 0),
        ("/Questionnaire/$validate", json!({"resourceType": "Questionnaire"}), 1),
        ("/Patient/$validate", json!({"resourceType": "Questionnaire"}), 1),
        ("/Patient/$validate", parameters("create", json!({"resourceType": "Patient"})), 0),
        ("/Patient/p1/$validate", parameters("update", json!({"resourceType": "Patient", "id": "p2"})), 1),
        ("/Patient/p1/$validate", parameters("update", json!({"resourceType": "Patient", "id": "p1"})), 0),
        ("/Parameters/$validate", json!({"resourceType": "Parameters"}), 0),
        ("/AuditEvent/$validate", json!({"resourceType": "AuditEvent"}), 4),
        ("/Condition/$validate", json!({"resourceType": "Condition", "subject": {"reference": "Device/1"}}), 1),
    ] {
        for got in [client.post(path, body.to_string()).await, in_xml(&client, "POST", path, Some(&body)).await] {
            let outcome =
                xml::read(&got.clone().expect(200).bytes.into()).map_or_else(|_| got.json(), |found| found.to_value());
            let count = severities(&outcome).iter().filter(|(severity, _)| severity == "error").count();
            assert_eq!(count, errors, "{path} {body} {outcome}");
        }
    }
    client.send("POST", "/Patient/p1/$validate?mode=delete", &[("prefer", "handling=strict")], "").await.expect(200);
    client.post("/Patient/$validate", "").await.expect(422);
    client.post("/Patient/$validate?mode=maybe", r#"{"resourceType":"Patient"}"#).await.expect(400);
    client.post("/Spaceship/$validate", "{}").await.expect(404);
    client.get("/Patient/p1/$validate").await.expect(405);
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 0, "nothing was stored");
}
