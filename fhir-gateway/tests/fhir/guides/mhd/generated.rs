//! ITI-106: what a DocumentReference says comes from the document.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{count, example, put, recipient};
use crate::support::golden;

/// A document that was sent again, or twice at once, was kept as often as it was sent.
#[actix_web::test]
async fn iti_106_makes_one_of_a_document_however_often_it_is_sent() {
    let (_world, client) = recipient().await;
    let parameters = example("mhd/Parameters-ex-input-binary.json").to_string();
    let path = "/DocumentReference/$generate-metadata";
    let racing = futures::future::join_all((0..8).map(|_| client.post(path, parameters.clone()))).await;
    let first = racing[0].clone().expect(200).json();
    for answer in racing {
        assert_eq!(answer.expect(200).json(), first);
    }
    assert_eq!(client.post(path, parameters.clone()).await.expect(200).json(), first);
    assert_eq!(count(&client, "List?code=submissionset").await, 1);
    let keyed = (0..8).map(|_| client.send("POST", path, &[("idempotency-key", "one")], parameters.clone()));
    let keyed = futures::future::join_all(keyed).await;
    let under_a_key = keyed[0].clone().expect(200).json();
    assert!(keyed.into_iter().all(|answer| answer.expect(200).json() == under_a_key));
    assert_ne!(under_a_key, first, "whoever names a key says what is the same");
    assert_eq!(count(&client, "List?code=submissionset").await, 2);
    let reference = first["parameter"][0]["valueReference"]["reference"].as_str().unwrap();
    client.send("DELETE", &format!("/{reference}"), &[], Vec::new()).await.expect(204);
    let again = client.post(path, parameters.clone()).await.expect(200).json();
    assert_eq!(client.post(path, parameters).await.expect(200).json(), again);
    let again = again["parameter"][0]["valueReference"]["reference"].as_str().unwrap();
    assert_ne!(again, reference, "what was deleted stays deleted");
    client.get(&format!("/{again}")).await.expect(200);
}

#[actix_web::test]
async fn iti_106_makes_the_metadata_of_a_document() {
    let (_world, client) = recipient().await;
    let patient = json!({"resourceType": "Patient", "id": "of-cda",
        "identifier": [{"system": "urn:oid:2.16.840.1.113883.19.5", "value": "p-1"}]});
    put(&client, &patient).await;
    let generated = async |parameters: Value| {
        let answer =
            client.post("/DocumentReference/$generate-metadata", parameters.to_string()).await.expect(200).json();
        let reference = answer["parameter"][0]["valueReference"]["reference"].as_str().unwrap().to_owned();
        assert_eq!(answer["parameter"][0]["name"], "DocumentReference");
        let made = client.get(&format!("/{reference}")).await.expect(200).json();
        let url = made["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
        (made, client.get(&format!("/{url}")).await.expect(200))
    };
    let (made, document) = generated(example("mhd/Parameters-ex-input-binary.json")).await;
    assert_eq!(document.text(), "Hello World");
    assert_eq!(made["content"][0]["attachment"]["hash"], "Ck1VqNd45QIvq3AZd8XYQLvEhtA=");
    assert!(made.get("subject").is_none(), "nobody was named");

    let parameters = example("mhd/Parameters-ex-input-doc-bundle.json");
    let (made, document) = generated(parameters.clone()).await;
    assert_eq!(document.json(), parameters["parameter"][0]["resource"]);
    assert_eq!(document.header("content-type"), Some("application/fhir+json"));
    for (path, expected) in [
        ("/masterIdentifier/value", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"),
        ("/type/coding/0/code", "28655-9"),
        ("/content/0/attachment/title", "Discharge Summary"),
        ("/content/0/attachment/creation", "2013-02-01T12:30:02Z"),
    ] {
        assert_eq!(made.pointer(path).and_then(Value::as_str), Some(expected), "{path}");
    }

    let cda = golden("documents/discharge.cda.xml");
    let binary = json!({"resourceType": "Binary", "contentType": "application/xml", "data": STANDARD.encode(&cda)});
    let (made, document) =
        generated(json!({"resourceType": "Parameters", "parameter": [{"name": "document", "resource": binary}]})).await;
    assert_eq!(document.bytes, cda);
    for (path, expected) in [
        ("/subject/reference", "Patient/of-cda"),
        ("/masterIdentifier/value", "discharge-1"),
        ("/type/coding/0/system", "http://loinc.org"),
        ("/type/coding/0/code", "18842-5"),
        ("/securityLabel/0/coding/0/code", "N"),
        ("/content/0/attachment/title", "Discharge summary"),
        ("/content/0/attachment/creation", "2024-01-05T12:00:00+00:00"),
    ] {
        assert_eq!(made.pointer(path).and_then(Value::as_str), Some(expected), "{path}");
    }
    assert_eq!(count(&client, "List?code=submissionset").await, 3);
    // Under its key it is generated once.
    let key = [("idempotency-key", "one")];
    let keyed = async |parameters: &Value| {
        client.send("POST", "/DocumentReference/$generate-metadata", &key, parameters.to_string()).await
    };
    let text = example("mhd/Parameters-ex-input-binary.json");
    assert_eq!(keyed(&text).await.expect(200).json(), keyed(&text).await.expect(200).json());
    keyed(&parameters).await.expect(422);
    assert_eq!(count(&client, "List?code=submissionset").await, 4);
    for body in [json!({"resourceType": "Parameters"}), json!({"resourceType": "Bundle", "type": "document"})] {
        client.post("/DocumentReference/$generate-metadata", body.to_string()).await.expect(422);
    }
    _world
        .client("reader")
        .await
        .post("/DocumentReference/$generate-metadata", example("mhd/Parameters-ex-input-binary.json").to_string())
        .await
        .expect(403);
}
