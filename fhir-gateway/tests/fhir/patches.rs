//! PATCH in its three forms, by id and by condition, alone and in Bundles.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{condition, shown, support::world, two_patients};

const JSON_PATCH: [(&str, &str); 1] = [("content-type", "application/json-patch+json")];
const MERGE: [(&str, &str); 1] = [("content-type", "application/json")];

/// A Parameters resource that replaces one code.
fn replace(path: &str, code: &str) -> Value {
    json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": path},
        {"name": "value", "valueCode": code},
    ]}]})
}

#[actix_web::test]
async fn a_patch_changes_what_it_names_and_every_other_byte_stays() {
    let world = world().await;
    let client = world.client("ehr").await;
    let name = r#""name":[ {"family" : "\u00c4ö"} ]"#;
    let score = r#""extension":[{ "url":"http://example.org/score","valueDecimal":1.00 }]"#;
    let is_kept = |text: &str| text.contains(name) && text.contains(score);
    let body = format!(r#"{{ "resourceType":"Patient" ,"id":"p1", {name},{score},"gender":"male" }}"#);
    client.send("PUT", "/Patient/p1", &[], body).await.expect(201);
    let operations =
        r#"[{"op":"test","path":"/gender","value":"male"},{"op":"replace","path":"/gender","value":"other"}]"#;
    let patched = client.send("PATCH", "/Patient/p1", &JSON_PATCH, operations).await.expect(200);
    assert_eq!(patched.header("etag"), Some("W/\"2\""));
    assert!(is_kept(&patched.text()) && patched.json()["gender"] == "other", "{}", patched.text());
    client.send("PATCH", "/Patient/p1", &MERGE, r#"{"gender":"unknown"}"#).await.expect(200);
    let by_path = replace("Patient.gender", "female").to_string();
    client.send("PATCH", "/Patient/p1", &[], by_path).await.expect(200);
    let read = client.get("/Patient/p1").await.expect(200);
    assert!(is_kept(&read.text()) && read.json()["gender"] == "female", "{}", read.text());
    assert_eq!(read.json()["meta"]["versionId"], "4");
    let xml = r#"<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/>
        <part><name value="type"/><valueCode value="replace"/></part>
        <part><name value="path"/><valueString value="Patient.gender"/></part>
        <part><name value="value"/><valueCode value="other"/></part></parameter></Parameters>"#;
    let as_xml = [("content-type", "application/fhir+xml")];
    let patched = client.send("PATCH", "/Patient/p1", &as_xml, xml).await.expect(200);
    assert!(patched.text().contains(r#"<gender value="other"/>"#), "{}", patched.text());
    let read = client.get("/Patient/p1").await.expect(200);
    assert!(is_kept(&read.text()), "{}", read.text());
    let minimal = [JSON_PATCH[0], ("prefer", "return=minimal")];
    let answer = client.send("PATCH", "/Patient/p1", &minimal, r#"[{"op":"remove","path":"/gender"}]"#).await;
    assert!(answer.expect(200).bytes.is_empty());
}

#[actix_web::test]
async fn a_patch_that_does_not_hold_changes_nothing() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/p1", &[], r#"{"resourceType":"Patient","id":"p1","gender":"male"}"#).await.expect(201);
    for (headers, patch, status) in [
        (&JSON_PATCH[..], r#"[{"op":"test","path":"/gender","value":"other"}]"#, 422),
        (&JSON_PATCH[..], r#"[{"op":"replace","path":"/gender","value":"man"}]"#, 422),
        (&JSON_PATCH[..], r#"[{"op":"replace","path":"/id","value":"p2"}]"#, 422),
        (&JSON_PATCH[..], r#"[{"op":"replace","path":"/resourceType","value":"Group"}]"#, 422),
        (&JSON_PATCH[..], r#"[{"op":"add","path":"/nmae","value":1}]"#, 422),
        (&JSON_PATCH[..], "[", 400),
        (&MERGE[..], r#"{"managingOrganization":{"reference":"Organization?name=a"}}"#, 422),
        (&[("content-type", "application/json-patch+json"), ("if-match", "W/\"2\"")], "[]", 412),
        (&[("content-type", "text/plain")], "[]", 415),
    ] {
        client.send("PATCH", "/Patient/p1", headers, patch).await.expect(status);
    }
    assert_eq!(client.get("/Patient/p1").await.expect(200).json()["meta"]["versionId"], "1");
    let named = client.send("PATCH", "/Patient/p1", &[], replace("Patient.nmae", "x").to_string()).await.expect(422);
    assert_eq!(named.json()["issue"][0]["expression"][0], "Parameters.parameter[0]");
    client.send("DELETE", "/Patient/p1", &[], "").await.expect(204);
    client.send("PATCH", "/Patient/p1", &JSON_PATCH, "[]").await.expect(410);
}

#[actix_web::test]
async fn bundles_hold_patches_as_parameters_and_as_binaries() {
    let world = world().await;
    let client = world.client("ehr").await;
    for id in ["p1", "p2"] {
        let body = json!({"resourceType": "Patient", "id": id, "gender": "male", "identifier": [{"value": id}]});
        client.send("PUT", &format!("/Patient/{id}"), &[], body.to_string()).await.expect(201);
    }
    let binary = |content_type: &str, patch: &str| json!({"resourceType": "Binary", "contentType": content_type, "data": STANDARD.encode(patch)});
    let operations = r#"[{"op":"replace","path":"/gender","value":"female"}]"#;
    let entry = |url: &str, resource: Value| json!({"resource": resource, "request": {"method": "PATCH", "url": url}});
    for kind in ["transaction", "batch"] {
        let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": [
            entry("Patient/p1", replace("Patient.gender", "other")),
            entry("Patient?identifier=p2", binary("application/json-patch+json; charset=utf-8", operations)),
        ]});
        let answered = client.post("/", bundle.to_string()).await.expect(200).json();
        for answer in answered["entry"].as_array().unwrap() {
            assert_eq!(answer["response"]["status"], "200 OK", "{kind}: {answer}");
        }
    }
    assert_eq!(client.get("/Patient/p1").await.expect(200).json()["gender"], "other");
    let second = client.get("/Patient/p2").await.expect(200).json();
    assert_eq!((&second["gender"], &second["meta"]["versionId"]), (&json!("female"), &json!("3")));
    // Atomic: the second entry's refusal undoes the first.
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        entry("Patient/p1", replace("Patient.gender", "male")),
        entry("Patient/p2", binary("text/plain", "x")),
    ]});
    let refused = client.post("/", bundle.to_string()).await.expect(422).json();
    assert!(refused["issue"][0]["expression"][0].as_str().unwrap().starts_with("Bundle.entry[1]"), "{refused}");
    assert_eq!(client.get("/Patient/p1").await.expect(200).json()["gender"], "other");
}

#[actix_web::test]
async fn a_patch_tells_nothing_of_what_the_caller_may_not_see() {
    let (_world, ehr, portal) = two_patients().await;
    let patches = [
        r#"[{"op":"test","path":"/resourceType","value":"Condition"}]"#,
        r#"[{"op":"test","path":"/id","value":"never"}]"#,
        r#"[{"op":"add","path":"/onsetString","value":"x"}]"#,
    ];
    for patch in patches {
        for extra in [None, Some(("if-match", "W/\"1\"")), Some(("if-match", "W/\"7\""))] {
            let headers: Vec<_> = JSON_PATCH.into_iter().chain(extra).collect();
            let denied = portal.send("PATCH", "/Condition/c-p2", &headers, patch).await.expect(404);
            let absent = portal.send("PATCH", "/Condition/never", &headers, patch).await.expect(404);
            assert_eq!(shown(&denied), shown(&absent), "{patch}");
            let denied = portal.send("PATCH", "/Condition?_id=c-p2", &headers, patch).await.expect(404);
            let absent = portal.send("PATCH", "/Condition?_id=never", &headers, patch).await.expect(404);
            assert_eq!(shown(&denied), shown(&absent), "{patch}");
        }
    }
    let own = r#"[{"op":"add","path":"/onsetString","value":"x"}]"#;
    portal.send("PATCH", "/Condition/c-p1", &JSON_PATCH, own).await.expect(200);
    portal.send("PATCH", "/Condition?_id=c-p1", &JSON_PATCH, own).await.expect(200);
    // What is the patient's own cannot be given to another, nor taken from one.
    let away = r#"[{"op":"replace","path":"/subject/reference","value":"Patient/p2"}]"#;
    portal.send("PATCH", "/Condition/c-p1", &JSON_PATCH, away).await.expect(404);
    assert_eq!(ehr.get("/Condition/c-p2").await.expect(200).json()["meta"]["versionId"], "1");
    let deleted = condition("c-p2", "p2");
    ehr.send("DELETE", "/Condition/c-p2", &[], deleted).await.expect(204);
    let gone = portal.send("PATCH", "/Condition/c-p2", &JSON_PATCH, own).await.expect(404);
    let absent = portal.send("PATCH", "/Condition/never", &JSON_PATCH, own).await.expect(404);
    assert_eq!(shown(&gone), shown(&absent));
}

#[actix_web::test]
async fn a_patch_needs_the_scopes_to_read_and_to_update() {
    let world = world().await;
    let (ehr, reader) = (world.client("ehr").await, world.client("reader").await);
    ehr.send("PUT", "/Patient/p1", &[], r#"{"resourceType":"Patient","id":"p1"}"#).await.expect(201);
    for path in ["/Patient/p1", "/Patient/never", "/Patient?_id=p1"] {
        reader.send("PATCH", path, &JSON_PATCH, "[]").await.expect(403);
    }
}

#[actix_web::test]
async fn a_transaction_that_is_repeated_under_its_key_patches_once() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/p1", &[], r#"{"resourceType":"Patient","id":"p1"}"#).await.expect(201);
    let operations = STANDARD.encode(r#"[{"op":"add","path":"/name","value":[{"text":"A"}]}]"#);
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}},
        {
            "resource": {"resourceType": "Binary", "contentType": JSON_PATCH[0].1, "data": operations},
            "request": {"method": "PATCH", "url": "Patient/p1"},
        },
    ]});
    let bundle = bundle.to_string();
    for _ in 0..2 {
        client.send("POST", "/", &[("idempotency-key", "k")], bundle.clone()).await.expect(200);
    }
    assert_eq!(client.get("/Patient/p1").await.expect(200).json()["meta"]["versionId"], "2");
    assert_eq!(client.get("/Patient?_summary=count").await.expect(200).json()["total"], 2);
}

#[actix_web::test]
async fn a_merge_of_many_members_keeps_the_order_of_those_that_stay() {
    let world = world().await;
    let client = world.client("ehr").await;
    let body = r#"{"resourceType":"Patient","id":"p1","active":true,"gender":"male","birthDate":"1970-01-01"}"#;
    client.send("PUT", "/Patient/p1", &[], body).await.expect(201);
    let merge = r#"{"language":"en","gender":null,"absent":null,"active":false}"#;
    let merged = client.send("PATCH", "/Patient/p1", &MERGE, merge).await.expect(200).text();
    let places = ["\"active\":false", "\"birthDate\"", "\"language\":\"en\""].map(|member| merged.find(member));
    assert!(places.iter().all(Option::is_some) && places.is_sorted() && !merged.contains("gender"), "{merged}");
}
