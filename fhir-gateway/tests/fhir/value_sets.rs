//! Searches by value sets that are kept here: wherever a search stands, for whoever may see the set, and as it was
//! when the search began.

use serde_json::{Value, json};

use super::support::{Client, World, world};

mod finding;
mod limits;
mod pages;
mod room;
mod sight;

fn value_set(id: &str, parts: Value) -> Value {
    json!({"resourceType": "ValueSet", "id": id, "url": format!("http://vs/{id}"), "version": "1", "status": "active",
        "compose": {"include": parts}})
}

fn listed(id: &str, codes: &[&str]) -> Value {
    let concepts: Vec<Value> = codes.iter().map(|code| json!({"code": code})).collect();
    value_set(id, json!([{"system": "http://s", "concept": concepts}]))
}

fn observation(id: &str, code: &str) -> Value {
    json!({"resourceType": "Observation", "id": id, "status": "final", "subject": {"reference": "Patient/p1"},
        "code": {"coding": [{"system": "http://s", "code": code}]}})
}

async fn put(client: &Client, resource: &Value) {
    let address = format!("/{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
    let got = client.send("PUT", &address, &[], resource.to_string()).await;
    assert!([200, 201].contains(&got.status), "{}", got.text());
}

/// A Patient with Observations `oa` to `od` of the codes `a` to `d`, and the value sets that tests name.
async fn fill(client: &Client) {
    put(client, &json!({"resourceType": "Patient", "id": "p1", "gender": "female"})).await;
    for code in ["a", "b", "c", "d"] {
        put(client, &observation(&format!("o{code}"), code)).await;
    }
    for set in [
        listed("ab", &["a", "b"]),
        listed("b", &["b"]),
        value_set("system", json!([{"system": "http://s"}])),
        value_set("both", json!([{"valueSet": ["http://vs/ab", "http://vs/b|1"]}])),
        value_set(
            "asked",
            json!([{"system": "http://s", "filter": [{"property": "p", "op": "=", "value": "canary"}]}]),
        ),
        value_set("asks", json!([{"valueSet": ["http://vs/asked"]}])),
        value_set("lost", json!([{"valueSet": ["http://vs/nowhere"]}])),
        json!({"resourceType": "ValueSet", "id": "expanded", "url": "http://vs/expanded", "status": "active",
            "compose": {"include": [{"system": "http://s", "filter": [{"property": "p", "op": "=", "value": "q"}]}]},
            "expansion": {"timestamp": "2020-01-01", "contains": [{"abstract": true, "display": "x",
                "contains": [{"system": "http://s", "code": "c"}]}]}}),
    ] {
        put(client, &set).await;
    }
    // Of one canonical URL: drafts wait, and 1.10 comes after 1.9.
    for (id, version, status, code) in
        [("e1", "1.9", "active", "a"), ("e2", "1.10", "active", "b"), ("e3", "2", "draft", "c")]
    {
        let mut set = listed(id, &[code]);
        (set["url"], set["version"], set["status"]) = (json!("http://vs/editions"), json!(version), json!(status));
        put(client, &set).await;
    }
}

async fn filled() -> (World, Client) {
    let world = world().await;
    let client = world.client("ehr").await;
    fill(&client).await;
    (world, client)
}

fn ids(bundle: &Value) -> String {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let ids: Vec<&str> = entries.iter().filter_map(|entry| entry["resource"]["id"].as_str()).collect();
    ids.join(" ")
}

fn next(bundle: &Value) -> Option<String> {
    let next = bundle["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next")?.clone();
    Some(next["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned())
}
