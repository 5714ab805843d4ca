//! ITI-105: the document stands in its DocumentReference.

use serde_json::{Value, json};

use super::{PROFILES, count, example, found, recipient};

#[actix_web::test]
async fn iti_105_takes_the_document_out_of_what_was_published() {
    let (_world, client) = recipient().await;
    let sent = example("mhd/DocumentReference-ex-DocumentReferenceSimplifiedPublish.json");
    let created = client.post("/DocumentReference", sent.to_string()).await.expect(201);
    let kept = created.json();
    let id = kept["id"].as_str().unwrap();
    let attachment = json!({"contentType": "text/plain", "url": format!("Binary/{id}"), "size": 11, "hash": "Ck1VqNd45QIvq3AZd8XYQLvEhtA="});
    assert_eq!(kept["content"][0]["attachment"], attachment);
    assert_eq!(kept["meta"]["profile"], json!([format!("{PROFILES}IHE.MHD.Minimal.DocumentReference")]));
    for name in ["masterIdentifier", "identifier", "subject", "context", "custodian", "status"] {
        assert_eq!(kept[name], sent[name], "{name}");
    }
    let retrieved = client.get(&format!("/Binary/{id}")).await.expect(200);
    assert_eq!((retrieved.text().as_str(), retrieved.header("content-type")), ("Hello World", Some("text/plain")));
    for ids in
        found(&client, "List", &format!("code=submissionset&patient=ex-patient&item=DocumentReference/{id}")).await
    {
        assert_eq!(ids, [id]);
    }
    // Under its key it is the same document however often it is sent.
    let key = [("idempotency-key", "one")];
    let first = client.send("POST", "/DocumentReference", &key, sent.to_string()).await.expect(201).json();
    let again = client.send("POST", "/DocumentReference", &key, sent.to_string()).await.expect(201).json();
    assert_eq!(first, again);
    // In a transaction it is the same.
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": sent, "request": {"method": "POST", "url": "DocumentReference"}},
    ]});
    let answer = client.post("/", bundle.to_string()).await.expect(200).json();
    assert_eq!(answer["entry"].as_array().unwrap().len(), 1);
    assert_eq!(count(&client, "Binary").await, 3);
    type Change = fn(&mut Value);
    let cases: &[(Change, &str)] = &[
        (|sent| drop(sent.as_object_mut().unwrap().remove("subject")), "DocumentReference.subject"),
        (|sent| sent["status"] = json!("superseded"), "DocumentReference.status"),
        (
            |sent| drop(sent["content"][0]["attachment"].as_object_mut().unwrap().remove("data")),
            "DocumentReference.content[0].attachment.data",
        ),
        (
            |sent| sent["content"][0]["attachment"]["url"] = json!("http://x"),
            "DocumentReference.content[0].attachment.url",
        ),
        (
            |sent| sent["content"][0]["attachment"]["hash"] = json!("AAAA"),
            "DocumentReference.content[0].attachment.hash",
        ),
    ];
    for (change, expected) in cases {
        let mut changed = sent.clone();
        change(&mut changed);
        let refused = client.post("/DocumentReference", changed.to_string()).await.expect(422).json();
        assert_eq!(refused["issue"][0]["expression"][0], *expected);
    }
    assert_eq!((count(&client, "Binary").await, count(&client, "List").await), (3, 3));
}

#[actix_web::test]
async fn a_document_that_claims_nothing_keeps_its_data_byte_for_byte() {
    let (_world, client) = recipient().await;
    let mut sent = example("mhd/DocumentReference-ex-DocumentReferenceSimplifiedPublish.json");
    sent.as_object_mut().unwrap().remove("meta");
    let kept = client.post("/DocumentReference", sent.to_string()).await.expect(201).json();
    assert_eq!(kept["content"], sent["content"]);
    assert_eq!(count(&client, "Binary").await, 0);
}
