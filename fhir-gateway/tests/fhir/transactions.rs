//! How the entries of a transaction name one another, and what they come to together.

use serde_json::{Value, json};

use super::support::{Client, Got, world};

/// An entry that writes `resource`.
fn entry(full_url: &str, method: &str, url: &str, resource: Value) -> Value {
    json!({"fullUrl": full_url, "resource": resource, "request": {"method": method, "url": url}})
}

fn post(full_url: &str, resource: Value) -> Value {
    let resource_type = resource["resourceType"].as_str().unwrap().to_owned();
    entry(full_url, "POST", &resource_type, resource)
}

fn patient() -> Value {
    json!({"resourceType": "Patient"})
}

fn observation_of(subject: &str) -> Value {
    json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": subject}})
}

async fn run(client: &Client, entries: &[Value]) -> Got {
    client.post("/", json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}).to_string()).await
}

/// What stands at the entries of a response: `Type/id`, and the resource.
fn stored(response: &Value) -> Vec<(String, Value)> {
    let answer = |entry: &Value| {
        let location = entry["response"]["location"].as_str().unwrap();
        let name = location.split("/fhir/").nth(1).unwrap().split("/_history").next().unwrap();
        (name.to_owned(), entry["resource"].clone())
    };
    response["entry"].as_array().unwrap().iter().map(answer).collect()
}

/// The Observation was filed under somebody else, who has the id that the patient had elsewhere.
#[actix_web::test]
async fn a_reference_to_a_version_of_an_entry_was_left_to_another_resource_of_that_id() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/77", &[], r#"{"resourceType":"Patient","id":"77"}"#).await.expect(201);
    let elsewhere = "http://example.org/fhir";
    for (reference, after) in [
        ("Patient/77", ""),
        ("Patient/77/_history/5", "/_history/1"),
        ("http://example.org/fhir/Patient/77/_history/5", "/_history/1"),
        ("http://example.org/fhir/Patient/77/_history/5#x", "/_history/1#x"),
    ] {
        let observation = observation_of(reference);
        let entries = [
            post(&format!("{elsewhere}/Observation/1"), observation),
            post(&format!("{elsewhere}/Patient/77"), patient()),
        ];
        let stored = stored(&run(&client, &entries).await.expect(200).json());
        assert_eq!(stored[0].1["subject"]["reference"], format!("{}{after}", stored[1].0), "{reference}");
    }
    assert_eq!(client.get("/Observation?patient=77").await.expect(200).json()["total"], 0);
}

#[actix_web::test]
async fn a_reference_to_a_version_of_an_entry_names_the_version_that_the_transaction_makes() {
    let world = world().await;
    let client = world.client("ehr").await;
    let of = |id: &str| json!({"resourceType": "Patient", "id": id, "identifier": [{"value": id}]});
    for _ in 0..2 {
        client.send("PUT", "/Patient/p", &[], of("p").to_string()).await;
    }
    let mut found = post("urn:uuid:1", of("p"));
    found["request"]["ifNoneExist"] = json!("identifier=p");
    let patch = json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Patient"},
        {"name": "name", "valueString": "active"}, {"name": "value", "valueBoolean": true},
    ]}]});
    for (meant, version) in [
        (found, 2),
        (entry("urn:uuid:1", "PUT", "Patient/p", of("p")), 3),
        (entry("urn:uuid:1", "PATCH", "Patient/p", patch), 4),
        (entry("urn:uuid:1", "PUT", "Patient?identifier=p", of("p")), 5),
        (entry("urn:uuid:1", "PUT", "Patient/q", of("q")), 1),
    ] {
        let provenance = json!({"resourceType": "Provenance", "recorded": "2020-01-01T00:00:00Z",
            "target": [{"reference": "urn:uuid:1/_history/9"}], "agent": [{"who": {"reference": "urn:uuid:1"}}]});
        let entries = [post("urn:uuid:2", provenance), meant];
        let stored = stored(&run(&client, &entries).await.expect(200).json());
        let (name, provenance) = (&stored[1].0, &stored[0].1);
        assert_eq!(provenance["target"][0]["reference"], format!("{name}/_history/{version}"), "{}", entries[1]);
        assert_eq!(provenance["agent"][0]["who"]["reference"], *name);
    }
}

/// The later one won, and the Observation was filed under it.
#[actix_web::test]
async fn two_entries_of_one_full_url_were_accepted() {
    let world = world().await;
    let client = world.client("ehr").await;
    let entries = [
        post("urn:uuid:1", patient()),
        post("urn:uuid:2", observation_of("urn:uuid:1")),
        post("urn:uuid:1", patient()),
    ];
    let refused = run(&client, &entries).await.expect(422).json();
    assert_eq!(refused["issue"][0]["expression"][0], "Bundle.entry[2].fullUrl");
    assert!(refused.to_string().contains("Bundle.entry[0]"), "{refused}");
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 0);
}

#[actix_web::test]
async fn a_relative_reference_is_resolved_from_the_base_of_the_entry_that_has_it_and_not_guessed() {
    let world = world().await;
    let client = world.client("ehr").await;
    let patients = || {
        [post("http://a.example.org/fhir/Patient/77", patient()), post("http://b.example.org/Patient/77", patient())]
    };
    let subject_of = async |full_url: &str, patients: &[Value]| {
        let entries = [&[post(full_url, observation_of("Patient/77"))], patients].concat();
        let stored = stored(&run(&client, &entries).await.expect(200).json());
        let subject = stored[0].1["subject"]["reference"].as_str().unwrap();
        stored.iter().position(|(name, _)| name == subject)
    };
    for (full_url, meant) in [
        ("http://a.example.org/fhir/Observation/1", Some(1)),
        ("http://b.example.org/Observation/1", Some(2)),
        ("http://c.example.org/Observation/1", None),
    ] {
        assert_eq!(subject_of(full_url, &patients()).await, meant, "{full_url}");
    }
    assert_eq!(subject_of("urn:uuid:1", &patients()[..1]).await, Some(1), "nothing else can be meant");
    let [first, second] = patients();
    let refused = run(&client, &[first, second, post("urn:uuid:1", observation_of("Patient/77"))]).await;
    let refused = refused.expect(422).json();
    assert_eq!(refused["issue"][0]["expression"][0], "Bundle.entry[2].resource.subject.reference");
}

#[actix_web::test]
async fn links_of_narrative_are_replaced_and_names_are_not() {
    let world = world().await;
    let client = world.client("ehr").await;
    let full_url = "http://example.org/fhir/Patient/77";
    let observation = json!({"resourceType": "Observation", "status": "final",
        "text": {"status": "generated", "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">é \
            <a href=\"{full_url}\">p</a> <img src='{full_url}#i' alt='{full_url}'/> \
            <a href=\"{full_url}0\">q</a> {full_url}</div>")},
        "meta": {"profile": [full_url]},
        "extension": [
            {"url": full_url, "valueUri": full_url},
            {"url": "http://example.org/x", "valueCanonical": full_url},
            {"url": "http://example.org/y", "valueUrl": full_url},
        ],
        "code": {"coding": [{"system": full_url, "code": "1"}]},
        "identifier": [{"system": full_url, "value": "1"}]});
    let set = json!({"resourceType": "ValueSet", "status": "active", "url": full_url});
    let entries = [post("urn:uuid:1", observation.clone()), post("urn:uuid:2", set), post(full_url, patient())];
    let stored = stored(&run(&client, &entries).await.expect(200).json());
    let (patient, got) = (&stored[2].0, &stored[0].1);
    let text = got["text"]["div"].as_str().unwrap();
    let expected = observation["text"]["div"].as_str().unwrap();
    let expected = expected.replace(&format!("\"{full_url}\""), &format!("\"{patient}\""));
    assert_eq!(text, expected.replace(&format!("'{full_url}#i'"), &format!("'{patient}#i'")));
    for (path, value) in [
        ("/extension/0/valueUri", patient.as_str()),
        ("/extension/2/valueUrl", patient.as_str()),
        ("/extension/0/url", full_url),
        ("/extension/1/valueCanonical", full_url),
        ("/meta/profile/0", full_url),
        ("/code/coding/0/system", full_url),
        ("/identifier/0/system", full_url),
    ] {
        assert_eq!(got.pointer(path).unwrap(), value, "{path}");
    }
    assert_eq!(stored[1].1["url"], full_url);
}
