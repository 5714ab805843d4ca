//! Bulk exports: what is in them, who gets them, and what is decided again when a file is fetched.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{Client, World, world};

pub mod amid;
mod asking;
mod content;
mod fetching;
mod logged;
mod scopes;
mod waiting;

/// How long an export may take.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
pub const ASYNC: [(&str, &str); 1] = [("prefer", "respond-async")];

/// Below the FHIR endpoint.
pub fn path(url: &str) -> String {
    url.split("/fhir").nth(1).unwrap().to_owned()
}

async fn put(client: &Client, resource: Value) {
    let address = format!("/{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
    let got = client.send("PUT", &address, &[], resource.to_string()).await;
    assert!([200, 201].contains(&got.status), "{}", got.text());
}

fn observation(id: &str, patient: &str, code: &str) -> Value {
    json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"coding": [{"code": code}]},
        "subject": {"reference": format!("Patient/{patient}")}})
}

/// Three patients, of whom two are members of a Group.
async fn filled() -> (World, Client) {
    let world = world().await;
    let ehr = world.client("ehr").await;
    put(&ehr, json!({"resourceType": "Practitioner", "id": "doctor"})).await;
    for n in ["1", "2", "3"] {
        put(&ehr, json!({"resourceType": "Patient", "id": format!("p{n}"), "active": true, "gender": "other"})).await;
        put(&ehr, observation(&format!("weight{n}"), &format!("p{n}"), "weight")).await;
        put(&ehr, observation(&format!("height{n}"), &format!("p{n}"), "height")).await;
    }
    let member =
        |n: &str, inactive: bool| json!({"entity": {"reference": format!("Patient/p{n}")}, "inactive": inactive});
    put(
        &ehr,
        json!({"resourceType": "Group", "id": "g", "type": "person", "actual": true,
        "member": [member("1", false), member("2", false), member("3", true)]}),
    )
    .await;
    (world, ehr)
}

/// The status address of an export that was started.
pub async fn started(client: &Client, method: &str, address: &str, body: String) -> String {
    let got = client.send(method, address, &ASYNC, body).await.expect(202);
    path(got.header("content-location").unwrap())
}

/// The manifest, once it is there.
pub async fn finished(client: &Client, status: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let got = client.get(status).await;
        if got.status != 202 {
            assert!(got.header("expires").is_some());
            return got.expect(200).json();
        }
        assert!(got.header("x-progress").is_some() && got.header("retry-after").is_some());
        assert!(Instant::now() < deadline, "the export is not finished in time");
        actix_web::rt::time::sleep(POLL).await;
    }
}

/// Type and id of each line of each file of a list of the manifest; deletions by their address.
pub async fn lines(client: &Client, manifest: &Value, list: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in manifest[list].as_array().unwrap() {
        let got = client.get(&path(file["url"].as_str().unwrap())).await.expect(200);
        assert_eq!(got.header("content-type"), Some("application/fhir+ndjson"));
        for line in got.text().lines() {
            let resource: Value = serde_json::from_str(line).unwrap();
            assert_eq!(resource["resourceType"], file["type"], "a file has one type");
            found.push(match resource["entry"][0]["request"]["url"].as_str() {
                Some(url) => format!("-{url}"),
                None => format!("{}/{}", file["type"].as_str().unwrap(), resource["id"].as_str().unwrap_or_default()),
            });
        }
    }
    found.sort();
    found
}

pub async fn exported(client: &Client, address: &str) -> Vec<String> {
    let status = started(client, "GET", address, String::new()).await;
    let manifest = finished(client, &status).await;
    let found = lines(client, &manifest, "output").await;
    client.send("DELETE", &status, &[], "").await.expect(202);
    found
}

const OF_TWO: [&str; 6] = [
    "Observation/height1",
    "Observation/height2",
    "Observation/weight1",
    "Observation/weight2",
    "Patient/p1",
    "Patient/p2",
];
