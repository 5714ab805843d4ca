//! Subscriptions: who is told of what, what is decided when it is sent, and what an endpoint may do.

use std::time::Instant;

use careledger_gateway::config::Config;
use serde_json::{Value, json};

use super::support::{
    Client, World,
    endpoint::{Endpoint, PATIENCE, POLL},
    opened_with,
};

mod endpoints;
mod owners;
mod restarts;
mod telling;

const HEADER: &str = "Authorization: Bearer canary-secret";

/// A world that trusts an endpoint, and does not try a second time before it is told to.
async fn patient(endpoint: &Endpoint) -> World {
    let change = |config: &mut Config| {
        quick(config, &[endpoint]);
        (config.subscriptions.retry_milliseconds, config.subscriptions.retry_seconds_max) = (3_600_000, 3_600);
    };
    opened_with(change).await.0
}

/// A world that trusts these endpoints, and tries quickly.
async fn trusting(endpoints: &[&Endpoint]) -> World {
    opened_with(|config| quick(config, endpoints)).await.0
}

fn quick(config: &mut Config, endpoints: &[&Endpoint]) {
    let settings = &mut config.subscriptions;
    settings.trusted_endpoints = endpoints.iter().map(|endpoint| endpoint.origin()).collect();
    (settings.retry_milliseconds, settings.retry_seconds_max) = (5, 1);
}

fn subscription(criteria: &str, endpoint: &str, payload: Option<&str>) -> Value {
    let mut channel = json!({"type": "rest-hook", "endpoint": endpoint, "header": [HEADER]});
    if let Some(payload) = payload {
        channel["payload"] = json!(payload);
    }
    json!({"resourceType": "Subscription", "status": "requested", "reason": "a test", "criteria": criteria,
        "channel": channel})
}

async fn subscribed(client: &Client, criteria: &str, endpoint: &Endpoint, payload: Option<&str>) -> String {
    let got = client.post("/Subscription", subscription(criteria, &endpoint.url(), payload).to_string()).await;
    let got = got.expect(201);
    assert_eq!(got.header("location").unwrap().rsplit_once('/').unwrap().1, got.id());
    assert_eq!(got.json()["status"], "requested");
    got.id()
}

async fn put(client: &Client, id: &str, patient: &str, code: &str) {
    let body = json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"coding": [{"code": code}]},
        "subject": {"reference": format!("Patient/{patient}")}, "valueQuantity": {"value": 1.5}});
    let got = client.send("PUT", &format!("/Observation/{id}"), &[], body.to_string()).await;
    assert!([200, 201].contains(&got.status), "{}", got.text());
}

async fn patients(ehr: &Client) {
    for id in ["p1", "p2"] {
        let body = json!({"resourceType": "Patient", "id": id}).to_string();
        ehr.send("PUT", &format!("/Patient/{id}"), &[], body).await.expect(201);
    }
}

/// `$status` of one: its status, what arrived, and the last error.
async fn status(client: &Client, id: &str) -> (String, String, Option<String>) {
    let bundle = client.get(&format!("/Subscription/{id}/$status")).await.expect(200).json();
    let parameters = bundle["entry"][0]["resource"]["parameter"].as_array().unwrap().clone();
    let named = |name: &str| parameters.iter().find(|found| found["name"] == name);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    (
        text(&named("status").unwrap()["valueCode"]).unwrap(),
        text(&named("events-since-subscription-start").unwrap()["valueString"]).unwrap(),
        named("error").and_then(|error| text(&error["valueCodeableConcept"]["text"])),
    )
}

/// Waits until a Subscription is so: its status, what arrived, and the last error.
async fn until_is(client: &Client, id: &str, expected: (&str, u64, Option<&str>)) {
    let expected = (expected.0.to_owned(), expected.1.to_string(), expected.2.map(str::to_owned));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = status(client, id).await;
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "it is {found:?}, and not {expected:?}");
        actix_web::rt::time::sleep(POLL).await;
    }
}

/// Has one tried at once, by its owner's word.
async fn resumed(client: &Client, id: &str) {
    let merge = [("content-type", "application/json")];
    let path = format!("/Subscription/{id}");
    client.send("PATCH", &path, &merge, r#"{"status":"requested"}"#).await.expect(200);
}
