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

#[actix_web::test]
async fn a_reference_to_a_version_is_left_to_an_earlier_one_and_counts_what_another_entry_changes() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/p", &[], put("", "", "p", "1")["resource"].to_string()).await.expect(201);
    let mut later = put("urn:uuid:1", "Patient/p", "p", "1");
    later["resource"]["meta"] = json!({"versionId": "2"});
    let found = unless_there("urn:uuid:2", "1");
    for (reference, version) in
        [("urn:uuid:1/_history/1", 1), ("urn:uuid:1/_history/2", 3), ("urn:uuid:2/_history/9", 4)]
    {
        let entries = [post("urn:uuid:3", observation_of(reference)), later.clone(), found.clone()];
        let stored = stored(&run(&client, &entries).await.expect(200).json());
        assert_eq!(stored[0].1["subject"]["reference"], format!("Patient/p/_history/{version}"), "{reference}");
    }
}

#[actix_web::test]
async fn a_transaction_that_is_repeated_under_its_key_resolves_its_references_to_the_same() {
    let world = world().await;
    let client = world.client("ehr").await;
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        post("urn:uuid:1", patient_of("1")),
        put("urn:uuid:2", "Patient/p", "p", "2"),
        post("urn:uuid:3", observation_of("Patient?identifier=urn:mrn|1")),
        post("urn:uuid:4", observation_of("Patient?identifier=urn:mrn|2")),
        post("urn:uuid:5", observation_of("urn:uuid:1/_history/7")),
        post("urn:uuid:6", observation_of("urn:uuid:2/_history/7")),
    ]});
    let key = [("idempotency-key", "k")];
    let first = client.send("POST", "/", &key, bundle.to_string()).await.expect(200).json();
    let again = client.send("POST", "/", &key, bundle.to_string()).await.expect(200).json();
    assert_eq!(stored(&first), stored(&again));
    assert_eq!(client.get("/Observation").await.expect(200).json()["total"], 4);
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
    for (full_url, meant) in
        [("http://a.example.org/fhir/Observation/1", Some(1)), ("http://b.example.org/Observation/1", Some(2))]
    {
        assert_eq!(subject_of(full_url, &patients()).await, meant, "{full_url}");
    }
    // Somebody else is called so here.
    client.send("PUT", "/Patient/77", &[], r#"{"resourceType":"Patient","id":"77"}"#).await.expect(201);
    let [first, second] = patients();
    let elsewhere = post("http://c.example.org/Observation/1", observation_of("Patient/77"));
    run(&client, &[elsewhere, first, second]).await.expect(422);
    assert_eq!(client.get("/Observation?patient=77").await.expect(200).json()["total"], 0);
    let own = format!("{}/Observation/1", world.organization.base_url);
    assert_eq!(subject_of(&own, &patients()).await, None, "this server's");
    assert_eq!(client.get("/Observation?patient=77").await.expect(200).json()["total"], 1);
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

fn patient_of(number: &str) -> Value {
    json!({"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": number}]})
}

/// An entry that creates the patient of that number unless there is one.
fn unless_there(full_url: &str, number: &str) -> Value {
    let mut entry = post(full_url, patient_of(number));
    entry["request"]["ifNoneExist"] = json!(format!("identifier=urn:mrn|{number}"));
    entry
}

fn put(full_url: &str, url: &str, id: &str, number: &str) -> Value {
    let mut resource = patient_of(number);
    if !id.is_empty() {
        resource["id"] = json!(id);
    }
    entry(full_url, "PUT", url, resource)
}

fn delete(id: &str) -> Value {
    json!({"request": {"method": "DELETE", "url": format!("Patient/{id}")}})
}

/// In the order of the cases and in the opposite one.
async fn run_both(client: &Client, entries: [Value; 2]) -> [Got; 2] {
    let [first, second] = entries;
    [run(client, &[first.clone(), second.clone()]).await, run(client, &[second, first]).await]
}

/// Two were made of one, and from then on each such condition met several.
#[actix_web::test]
async fn a_transaction_created_what_two_of_its_entries_have_one_condition_for_twice() {
    let world = world().await;
    let client = world.client("ehr").await;
    let by_condition = "Patient?identifier=urn:mrn|1";
    for entries in [
        [unless_there("urn:uuid:1", "1"), unless_there("urn:uuid:2", "1")],
        [put("urn:uuid:1", by_condition, "", "1"), put("urn:uuid:2", by_condition, "", "1")],
        [unless_there("urn:uuid:1", "1"), put("urn:uuid:2", by_condition, "", "1")],
        [unless_there("urn:uuid:1", "1"), post("urn:uuid:2", patient_of("1"))],
        [unless_there("urn:uuid:1", "1"), put("urn:uuid:2", "Patient/p", "p", "1")],
        [put("urn:uuid:1", by_condition, "", "1"), post("urn:uuid:2", patient_of("1"))],
    ] {
        for refused in run_both(&client, entries.clone()).await {
            let refused = refused.expect(422).json();
            let said = refused.to_string();
            assert!(said.contains("Bundle.entry[0]") && said.contains("Bundle.entry[1]"), "{entries:?}: {refused}");
        }
    }
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 0);
    run(&client, &[unless_there("urn:uuid:1", "1"), unless_there("urn:uuid:2", "2")]).await.expect(200);
    let found = run(&client, &[unless_there("urn:uuid:1", "1"), unless_there("urn:uuid:2", "1")]).await;
    let found = stored(&found.expect(200).json());
    assert_eq!(found[0].0, found[1].0, "what exists may be found twice");
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 2);
}

/// The resource was deleted, and the entry that should have made a new one was answered 410.
#[actix_web::test]
async fn a_conditional_create_beside_the_deletion_of_what_it_finds_lost_the_resource() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/x", &[], put("", "", "x", "1")["resource"].to_string()).await.expect(201);
    for refused in run_both(&client, [delete("x"), unless_there("urn:uuid:1", "1")]).await {
        let said = refused.expect(422).text();
        assert!(said.contains("Bundle.entry[0]") && said.contains("Bundle.entry[1]"), "{said}");
    }
    client.get("/Patient/x").await.expect(200);
    // What changes it leaves it there: in any order, as it is then.
    for answer in run_both(&client, [put("urn:uuid:2", "Patient/x", "x", "1"), unless_there("urn:uuid:1", "1")]).await {
        let stored = stored(&answer.expect(200).json());
        assert_eq!(stored[0], stored[1]);
    }
}

#[actix_web::test]
async fn a_conditional_reference_is_resolved_by_what_the_transaction_leaves() {
    let world = world().await;
    let client = world.client("ehr").await;
    for (id, number) in [("d", "d"), ("e", "e"), ("f", "f")] {
        let body = put("", "", id, number)["resource"].to_string();
        client.send("PUT", &format!("/Patient/{id}"), &[], body).await.expect(201);
    }
    let of = |number: &str| post("urn:uuid:o", observation_of(&format!("Patient?identifier=urn:mrn|{number}")));
    for (number, beside, expected) in [
        ("new", post("urn:uuid:1", patient_of("new")), Ok("")),
        ("new2", unless_there("urn:uuid:1", "new2"), Ok("")),
        ("d", unless_there("urn:uuid:1", "d"), Ok("Patient/d")),
        ("d", post("urn:uuid:1", patient_of("d")), Err(412)),
        ("d", delete("d"), Err(412)),
        ("d", put("urn:uuid:1", "Patient/d", "d", "other"), Err(412)),
        ("d", put("urn:uuid:1", "Patient/d", "d", "d"), Ok("Patient/d")),
        ("e", put("urn:uuid:1", "Patient/f", "f", "e"), Err(412)),
        ("g", put("urn:uuid:1", "Patient/f", "f", "g"), Ok("Patient/f")),
        ("never", post("urn:uuid:1", patient_of("else")), Err(412)),
    ] {
        for at in 0..2 {
            let mut entries = vec![beside.clone()];
            entries.insert(at, of(number));
            let answer = run(&client, &entries).await;
            match expected {
                Err(status) => {
                    let refused = answer.expect(status).json();
                    assert_eq!(
                        refused["issue"][0]["expression"][0],
                        format!("Bundle.entry[{at}]"),
                        "{number} {beside}"
                    );
                }
                Ok(expected) => {
                    let stored = stored(&answer.expect(200).json());
                    let expected = if expected.is_empty() { &stored[1 - at].0 } else { expected };
                    assert_eq!(stored[at].1["subject"]["reference"], expected, "{number} {beside}");
                    if beside["request"]["ifNoneExist"].is_null() && beside["request"]["method"] == "POST" {
                        client.send("DELETE", &format!("/{expected}"), &[], "").await.expect(204);
                    }
                }
            }
        }
    }
    client.get("/Patient/d").await.expect(200);
}

/// What entries of a batch and of a transaction say that they cannot ask for so.
#[actix_web::test]
async fn what_a_bundle_does_not_ask_for_so_is_named() {
    let world = world().await;
    let client = world.client("ehr").await;
    for (method, url, resource, said) in [
        ("GET", "metadata", None, "is read alone"),
        ("POST", "Patient/_search?name=a", None, "names a search"),
        ("POST", "Patient/_search", Some(patient()), "names a search"),
        ("POST", "Patient/$validate", Some(patient()), "names an operation"),
        ("POST", "Patient/p/$everything", Some(json!({"resourceType": "Parameters"})), "names an operation"),
        ("POST", "Patient/p", Some(patient()), "does not fit request.method"),
        ("DELETE", "Patient", None, "does not fit request.method"),
    ] {
        let mut entry = json!({"request": {"method": method, "url": url}});
        if let Some(resource) = resource {
            entry["resource"] = resource;
        }
        let bundle = |kind: &str| json!({"resourceType": "Bundle", "type": kind, "entry": [entry]}).to_string();
        let batch = client.post("/", bundle("batch")).await.expect(200).json();
        let outcomes = [
            batch["entry"][0]["response"]["outcome"].clone(),
            client.post("/", bundle("transaction")).await.expect(422).json(),
        ];
        for outcome in outcomes {
            assert_eq!(
                outcome["issue"][0]["expression"][0], "Bundle.entry[0].request.url",
                "{method} {url}: {outcome}"
            );
            assert!(outcome.to_string().contains(said), "{method} {url}: {outcome}");
        }
    }
}

#[actix_web::test]
async fn a_head_in_a_bundle_is_a_get_without_its_body() {
    let world = world().await;
    let client = world.client("ehr").await;
    let head = |url: &str| json!({"request": {"method": "HEAD", "url": url}});
    for kind in ["batch", "transaction"] {
        let entries =
            [put("urn:uuid:1", "Patient/p", "p", "1"), head("Patient/p"), head("Patient?_id=p"), head("Patient/q")];
        client.send("PUT", "/Patient/p", &[], entries[0]["resource"].to_string()).await;
        let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": entries});
        let answered = client.post("/", bundle.to_string()).await.expect(200).json();
        for (at, status) in [(1, "200 OK"), (2, "200 OK"), (3, "404 Not Found")] {
            assert_eq!(answered["entry"][at]["response"]["status"], status, "{kind} {at}");
            assert!(answered["entry"][at]["resource"].is_null(), "{kind} {at}");
        }
        assert!(answered["entry"][1]["response"]["etag"].is_string(), "{kind}");
    }
}

/// Each condition is compared with all that the Bundle writes, while other conditions wait.
#[actix_web::test]
async fn a_transaction_judges_a_bounded_number_of_conditions_by_itself() {
    let world = world().await;
    let client = world.client("ehr").await;
    let entries = |conditions: usize| {
        let referring = |number: usize| {
            let value = format!("{number:0>1000}");
            post(&format!("urn:uuid:{number}"), observation_of(&format!("Patient?identifier=urn:mrn|{value}")))
        };
        let mut entries: Vec<Value> = (0..conditions).map(referring).collect();
        entries.push(post("urn:uuid:p", patient()));
        entries
    };
    run(&client, &entries(60)).await.expect(412);
    let refused = run(&client, &entries(70)).await.expect(400).json();
    assert_eq!(refused["issue"][0]["code"], "too-costly");
}

/// Numbers of another server's versions would be those of others here.
#[actix_web::test]
async fn a_version_of_another_server_becomes_no_number_of_this_one() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/p", &[], put("", "", "p", "1")["resource"].to_string()).await.expect(201);
    let full_url = "http://a.example.org/fhir/Patient/55";
    let mut later = put(full_url, "Patient/p", "p", "1");
    later["resource"]["meta"] = json!({"versionId": "4"});
    let entries = [post("urn:uuid:3", observation_of(&format!("{full_url}/_history/1"))), later];
    let stored = stored(&run(&client, &entries).await.expect(200).json());
    assert_eq!(stored[0].1["subject"]["reference"], "Patient/p/_history/2");
}
