//! ITI-65: Bundles of documents, and ITI-68: each as it was sent.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{PROFILES, count, entry, example, local, put, recipient};

const PROVIDED: &[&str] = &[
    "minimalProvideDocumentBundleSimple",
    "minimalProvideDocumentBundleSimpleContained",
    "comprehensiveProvideDocumentBundleSimple",
    "comprehensiveProvideDocumentBundleMultiple",
    "comprehensiveProvideDocumentBundleComplete",
    "unContainedComprehensiveProvideDocumentBundleComplete",
];

#[actix_web::test]
async fn iti_65_stores_every_bundle_of_the_guide_and_iti_68_gives_its_documents_byte_for_byte() {
    let (_world, client) = recipient().await;
    for name in PROVIDED {
        let bundle = example(&format!("mhd/Bundle-ex-{name}.json"));
        let answer = client.post("/", bundle.to_string()).await.expect(200).json();
        assert_eq!(answer["type"], "transaction-response");
        let (sent, answered) = (bundle["entry"].as_array().unwrap(), answer["entry"].as_array().unwrap());
        assert_eq!(sent.len(), answered.len(), "{name}");
        let mut documents = 0;
        for (sent, answered) in sent.iter().zip(answered) {
            assert_eq!(answered["response"]["status"].as_str().unwrap()[..3], *"201", "{name}");
            if sent["resource"]["resourceType"] != "DocumentReference" {
                continue;
            }
            let kept = client.get(&format!("/{}", local(answered))).await.expect(200).json();
            let attachment = &kept["content"][0]["attachment"];
            let retrieved = client.get(&format!("/{}", attachment["url"].as_str().unwrap())).await.expect(200);
            let url = &sent["resource"]["content"][0]["attachment"]["url"];
            let binary = bundle["entry"].as_array().unwrap().iter().find(|entry| entry["fullUrl"] == *url).unwrap();
            assert_eq!(STANDARD.encode(&retrieved.bytes), binary["resource"]["data"], "{name}");
            assert_eq!(retrieved.header("content-type"), attachment["contentType"].as_str(), "{name}");
            assert_eq!(attachment["hash"], sent["resource"]["content"][0]["attachment"]["hash"], "{name}");
            documents += 1;
        }
        assert!(documents > 0, "{name}");
        let set = client.get(&format!("/{}", local(&answered[0]))).await.expect(200).json();
        assert!(set["entry"][0]["item"]["reference"].as_str().unwrap().starts_with("DocumentReference/"), "{name}");
    }
}

/// What is looked at for each entry is looked at for no more than there may be.
#[actix_web::test]
async fn iti_65_is_counted_before_its_documents_are_looked_at() {
    let (_world, client) = recipient().await;
    let document =
        json!({"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {"title": "x"}}]});
    let entry = json!({"resource": document, "request": {"method": "POST", "url": "DocumentReference"}});
    let bundle = |entries: usize| {
        json!({"resourceType": "Bundle", "type": "transaction", "meta": {"profile": [format!("{PROFILES}IHE.MHD.Minimal.ProvideBundle")]},
            "entry": vec![entry.clone(); entries]})
    };
    client.post("/", bundle(1).to_string()).await.expect(422);
    let refused = client.post("/", bundle(5_001).to_string()).await.expect(400).text();
    assert!(refused.contains("at most 5000 entries"), "{refused}");
}

#[actix_web::test]
async fn iti_65_adds_to_a_folder_that_it_puts() {
    let (_world, client) = recipient().await;
    let mut bundle = example("mhd/Bundle-ex-ProvideDocumentBundle-addToFolder.json");
    // The example names the Folder's type only, and FHIR updates what an address names.
    let entries = bundle["entry"].as_array_mut().unwrap();
    let folder = entries.iter_mut().find(|entry| entry["request"]["method"] == "PUT").unwrap();
    folder["request"]["url"] = json!(format!("List/{}", folder["resource"]["id"].as_str().unwrap()));
    client.post("/", bundle.to_string()).await.expect(200);
    assert_eq!(count(&client, "List?code=folder&patient=Patient/ex-patient").await, 1);
}

#[actix_web::test]
async fn iti_65_replaces_a_document_all_or_nothing() {
    let (_world, client) = recipient().await;
    let status =
        async || client.get("/DocumentReference/ex-documentreference").await.expect(200).json()["status"].clone();
    let whole = example("mhd/Bundle-ex-comprehensiveProvideDocumentBundleReplace.json");
    // With a document that was damaged on the way, nothing of the Bundle is kept.
    let mut damaged = whole.clone();
    entry(&mut damaged, "Binary")["resource"]["data"] = json!(STANDARD.encode("Thanks for all the fush"));
    let refused = client.post("/", damaged.to_string()).await.expect(422).json();
    let at = "Bundle.entry[2].resource.content[0].attachment.hash";
    assert_eq!(refused["issue"][0]["expression"][0], at);
    assert_eq!(
        (status().await, count(&client, "List").await, count(&client, "Binary").await),
        (json!("current"), 0, 0)
    );
    // A replacement that leaves what it replaces current is refused, too.
    let mut left = whole.clone();
    let patch = &mut entry(&mut left, "Parameters")["resource"]["parameter"][0]["part"];
    patch[2]["valueCode"] = json!("current");
    client.post("/", left.to_string()).await.expect(422);
    let answer = client.post("/", whole.to_string()).await.expect(200).json();
    assert_eq!(status().await, "superseded");
    let replacing = local(&answer["entry"][2]);
    let found = client.get("/DocumentReference?relatesto=DocumentReference/ex-documentreference&status=current").await;
    assert_eq!(found.expect(200).json()["entry"][0]["resource"]["id"], replacing.split('/').nth(1).unwrap());
}

#[actix_web::test]
async fn a_document_that_replaces_another_supersedes_it() {
    let (_world, client) = recipient().await;
    let mut first = example("mhd/DocumentReference-ex-DocumentReferenceComprehensive.json");
    put(&client, &first).await;
    let id = first["id"].as_str().unwrap().to_owned();
    first["relatesTo"] = json!([{"code": "replaces", "target": {"reference": format!("DocumentReference/{id}")}}]);
    let second = client.post("/DocumentReference", first.to_string()).await.expect(201).json();
    assert_eq!(second["status"], "current");
    let old = client.get(&format!("/DocumentReference/{id}")).await.expect(200).json();
    assert_eq!((&old["status"], &old["meta"]["versionId"]), (&json!("superseded"), &json!("2")));
    // What is superseded, absent or another patient's cannot be replaced: all with the same answer.
    let other = json!({"resourceType": "DocumentReference", "id": "others", "status": "current",
        "subject": {"reference": "Patient/other"}, "content": [{"attachment": {"title": "x"}}]});
    put(&client, &other).await;
    let mut answers = Vec::new();
    for target in [id.as_str(), "never", "others"] {
        first["relatesTo"][0]["target"]["reference"] = json!(format!("DocumentReference/{target}"));
        answers.push(client.post("/DocumentReference", first.to_string()).await.expect(422).json());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0]["issue"][0]["expression"][0], "DocumentReference.relatesTo[0].target");
    assert_eq!(count(&client, "DocumentReference?status=superseded").await, 1);
}

#[actix_web::test]
async fn a_document_whose_binary_has_changed_since_can_still_be_superseded() {
    let (_world, client) = recipient().await;
    let bundle = example("mhd/Bundle-ex-comprehensiveProvideDocumentBundleSimple.json");
    let answer = client.post("/", bundle.to_string()).await.expect(200).json();
    let (document, binary) = (local(&answer["entry"][1]), local(&answer["entry"][2]));
    let png = [("content-type", "image/png")];
    client.send("PUT", &format!("/{binary}"), &png, [1u8]).await.expect(200);
    let merge = [("content-type", "application/json")];
    let changed = async |body: Value| client.send("PATCH", &format!("/{document}"), &merge, body.to_string()).await;
    changed(json!({"status": "superseded"})).await.expect(200);
    let mut content = client.get(&format!("/{document}")).await.expect(200).json()["content"].clone();
    content[0]["attachment"]["title"] = json!("Another");
    changed(json!({"content": content})).await.expect(422);
}

#[actix_web::test]
async fn iti_65_refuses_what_the_profile_that_a_bundle_claims_does_not_allow() {
    let (_world, client) = recipient().await;
    type Change = fn(&mut Value);
    let cases: &[(&str, Change, &str)] = &[
        ("no SubmissionSet", |bundle| drop(bundle["entry"].as_array_mut().unwrap().remove(0)), "Bundle.entry"),
        (
            "a List of another kind",
            |bundle| entry(bundle, "List")["resource"]["code"]["coding"][0]["code"] = json!("x"),
            "Bundle.entry[0].resource.code",
        ),
        (
            "no sourceId",
            |bundle| entry(bundle, "List")["resource"]["extension"] = json!([{"url": "http://x", "valueString": "y"}]),
            "Bundle.entry[0].resource.extension",
        ),
        (
            "a SubmissionSet that is put",
            |bundle| {
                let list = entry(bundle, "List");
                list["request"] =
                    json!({"method": "PUT", "url": format!("List/{}", list["resource"]["id"].as_str().unwrap())});
            },
            "Bundle.entry[0].request.method",
        ),
        (
            "no masterIdentifier",
            |bundle| {
                drop(entry(bundle, "DocumentReference")["resource"].as_object_mut().unwrap().remove("masterIdentifier"))
            },
            "Bundle.entry[1].resource.masterIdentifier",
        ),
        (
            "no category",
            |bundle| drop(entry(bundle, "DocumentReference")["resource"].as_object_mut().unwrap().remove("category")),
            "Bundle.entry[1].resource.category",
        ),
        (
            "a document that is not there",
            |bundle| {
                entry(bundle, "DocumentReference")["resource"]["content"][0]["attachment"]["url"] =
                    json!("urn:uuid:none")
            },
            "Bundle.entry[1].resource.content[0].attachment.url",
        ),
        (
            "another hash",
            |bundle| {
                let hash = json!("2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
                entry(bundle, "DocumentReference")["resource"]["content"][0]["attachment"]["hash"] = hash;
            },
            "Bundle.entry[1].resource.content[0].attachment.hash",
        ),
        (
            "another size and no hash",
            |bundle| {
                let attachment = &mut entry(bundle, "DocumentReference")["resource"]["content"][0]["attachment"];
                attachment.as_object_mut().unwrap().remove("hash");
                attachment["size"] = json!(12);
            },
            "Bundle.entry[1].resource.content[0].attachment.size",
        ),
    ];
    for (name, change, expected) in cases {
        let mut bundle = example("mhd/Bundle-ex-comprehensiveProvideDocumentBundleSimple.json");
        change(&mut bundle);
        let refused = client.post("/", bundle.to_string()).await.expect(422).json();
        assert_eq!(refused["issue"][0]["expression"][0], *expected, "{name}: {refused}");
    }
    assert_eq!((count(&client, "List").await, count(&client, "Binary").await), (0, 0));
    // The minimal profile demands less.
    let mut minimal = example("mhd/Bundle-ex-comprehensiveProvideDocumentBundleSimple.json");
    minimal["meta"]["profile"] = json!([format!("{PROFILES}IHE.MHD.Minimal.ProvideBundle")]);
    entry(&mut minimal, "DocumentReference")["resource"].as_object_mut().unwrap().remove("category");
    client.post("/", minimal.to_string()).await.expect(200);
}

#[actix_web::test]
async fn a_bundle_that_claims_mhd_is_checked_where_its_documents_do_not() {
    let (_world, client) = recipient().await;
    let mut bundle = example("mhd/Bundle-ex-minimalProvideDocumentBundleSimple.json");
    entry(&mut bundle, "DocumentReference")["resource"].as_object_mut().unwrap().remove("meta");
    client.post("/", bundle.to_string()).await.expect(200);
    entry(&mut bundle, "Binary")["resource"]["data"] = json!(STANDARD.encode("Hello world"));
    client.post("/", bundle.to_string()).await.expect(422);
    // What claims nothing is stored as it was sent.
    bundle.as_object_mut().unwrap().remove("meta");
    client.post("/", bundle.to_string()).await.expect(200);
}
