//! IHE MHD: documents are provided (ITI-65, ITI-105, ITI-106), found (ITI-66, ITI-67) and retrieved (ITI-68).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::example;
use crate::support::{Client, World, golden, world};

const PROFILES: &str = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/";

/// A world with what the guide's examples refer to.
async fn recipient() -> (World, Client) {
    let world = world().await;
    let client = world.client("ehr").await;
    let mut patient = example("mhd/Patient-ex-patient.json");
    patient["identifier"] = json!([{"system": "http://example.org/patients", "value": "mrn-1234"}]);
    put(&client, &patient).await;
    put(&client, &example("mhd/DocumentReference-ex-documentreference.json")).await;
    (world, client)
}

async fn put(client: &Client, resource: &Value) {
    let (kind, id) = (resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
    client.send("PUT", &format!("/{kind}/{id}"), &[], resource.to_string()).await.expect(201);
}

/// `Type/id` of what an entry of a transaction's answer says was written.
fn local(entry: &Value) -> String {
    let location = entry["response"]["location"].as_str().unwrap();
    location.split("/fhir/").nth(1).unwrap().split("/_history").next().unwrap().to_owned()
}

/// How many resources of a type there are.
async fn count(client: &Client, search: &str) -> u64 {
    client.get(&format!("/{search}")).await.expect(200).json()["total"].as_u64().unwrap()
}

fn entry<'a>(bundle: &'a mut Value, resource_type: &str) -> &'a mut Value {
    let entries = bundle["entry"].as_array_mut().unwrap();
    entries.iter_mut().find(|entry| entry["resource"]["resourceType"] == resource_type).unwrap()
}

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

/// By GET, by POST with a form, and by POST with the parameters in the address.
async fn found(client: &Client, resource_type: &str, query: &str) -> Vec<Vec<String>> {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let strict = [("prefer", "handling=strict")];
    let answers = [
        client.send("GET", &format!("/{resource_type}?{query}"), &strict, "").await,
        client.send("POST", &format!("/{resource_type}/_search"), &form, query).await,
        client.send("POST", &format!("/{resource_type}/_search?{query}"), &strict, "").await,
    ];
    let ids = |got: crate::support::Got| {
        let bundle = got.expect(200).json();
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap_or("-").to_owned()).collect()
    };
    answers.map(ids).to_vec()
}

#[actix_web::test]
async fn iti_66_finds_lists_by_every_parameter_by_get_and_by_post() {
    let (_world, client) = recipient().await;
    let mut list = example("mhd/List-ex-compSubmissionSetFull.json");
    list["contained"][0]["name"] = json!([{"family": "Welby", "given": ["Marcus"]}]);
    put(&client, &list).await;
    let other = json!({"resourceType": "List", "id": "other", "status": "retired", "mode": "working"});
    put(&client, &other).await;
    for (query, is_found) in [
        ("patient=Patient/ex-patient&code=submissionset&status=current", true),
        ("patient=ex-patient&code=submissionset&status=current", true),
        ("patient=ex-patient&code=folder&status=current", false),
        ("code=https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes%7Csubmissionset", true),
        ("date=ge2004-12-25&date=lt2004-12-27", true),
        ("date=lt2004-12-25", false),
        ("designationType=225728007", true),
        ("designationType=http://snomed.info/sct%7C225728007", true),
        ("designationType=http://loinc.org%7C225728007", false),
        ("identifier=urn:ietf:rfc:3986%7Curn:uuid:2158bc9d-3d34-4503-9253-1e0383f828ff", true),
        ("patient.identifier=http://example.org/patients%7Cmrn-1234", true),
        ("patient.identifier=http://example.org/patients%7Cmrn-4321", false),
        ("source.family=welby&source.given=MARC", true),
        ("source:Practitioner.family=Welby", true),
        ("source:Patient.family=Welby", false),
        ("source.given=Consuelo", false),
        ("sourceId=urn:oid:1.2.3.4", true),
        ("sourceId=urn:oid:1.2.3", false),
        ("status=current", true),
        ("_id=ex-compSubmissionSetFull&_lastUpdated=ge2020", true),
    ] {
        let expected = if is_found { vec!["ex-compSubmissionSetFull"] } else { Vec::new() };
        for ids in found(&client, "List", query).await {
            assert_eq!(ids, expected, "{query}");
        }
    }
}

#[actix_web::test]
async fn iti_67_finds_documents_by_every_parameter_by_get_and_by_post() {
    let (_world, client) = recipient().await;
    let mut document = example("mhd/DocumentReference-ex-DocumentReferenceComprehensive.json");
    document["contained"][0]["name"] = json!([{"family": "Welby", "given": ["Marcus"]}]);
    put(&client, &document).await;
    for (query, is_found) in [
        ("patient=ex-patient&status=current", true),
        ("patient=ex-patient&status=superseded", false),
        ("patient.identifier=http://example.org/patients%7Cmrn-1234&status=current", true),
        ("author.given=marcus&author.family=WELBY", true),
        ("author.given=Marcus&author.family=Kiley", false),
        ("authenticator:Practitioner.name=welby", true),
        ("category=http://loinc.org%7C11369-6", true),
        ("creation=2021-01-01T04:50:50Z", true),
        ("creation=ge2020-12-31&creation=lt2021-01-02", true),
        ("creation=lt2020-12-31", false),
        ("date=ge2020-12-31", true),
        ("event=ACCTRECEIVABLE", true),
        ("facility=http://snomed.info/sct%7C82242000", true),
        ("format=urn:ihe:iti:xds-sd:text:2008", true),
        ("identifier=urn:ietf:rfc:3986%7Curn:uuid:0c287d32-01e3-4d87-9953-9fcc9404eb21", true),
        ("period=ge2020-12-31&period=lt2021-01-02", true),
        ("period=lt2020-12-30", false),
        ("related:identifier=urn:oid:1.2.840.113556.1.8000.2554.17917.46600.21181.17878.33419.62048.57128.2759", true),
        ("security-label=http://terminology.hl7.org/CodeSystem/v3-Confidentiality%7CN", true),
        ("security-label=R", false),
        ("setting=408467006", true),
        ("type=http://loinc.org%7C55107-7", true),
        ("type=http://loinc.org%7C34133-9", false),
        ("_id=ex-DocumentReferenceComprehensive&_lastUpdated=ge2020", true),
    ] {
        let query = format!("{query}&_id=ex-DocumentReferenceComprehensive");
        let expected = if is_found { vec!["ex-DocumentReferenceComprehensive"] } else { Vec::new() };
        for ids in found(&client, "DocumentReference", &query).await {
            assert_eq!(ids, expected, "{query}");
        }
    }
}

#[actix_web::test]
async fn iti_68_says_of_a_document_that_is_not_had_why_as_far_as_the_caller_may_know() {
    let (_world, client) = recipient().await;
    let png = [("content-type", "image/png"), ("x-security-context", "Patient/ex-patient")];
    let id = client.send("POST", "/Binary", &png, [1u8, 2, 3]).await.expect(201).id();
    let path = format!("/Binary/{id}");
    client.send("GET", &path, &[("accept", "application/pdf")], "").await.expect(406);
    assert_eq!(client.send("GET", &path, &[("accept", "image/png")], "").await.expect(200).bytes, [1, 2, 3]);
    client.get("/Binary/never").await.expect(404);
    client.send("DELETE", &path, &[], "").await.expect(204);
    client.get(&path).await.expect(410);
    // Who may not see it learns not even that it is gone.
    let portal = _world.client("portal").await;
    let (denied, absent) = (portal.get(&path).await.expect(404), portal.get("/Binary/never").await.expect(404));
    assert_eq!(denied.json(), absent.json());
    _world.client("reader").await.get(&path).await.expect(403);
}

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
