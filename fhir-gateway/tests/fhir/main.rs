//! FHIR over a real gateway in process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod audit;
mod bad_input;
mod bundles;
mod callers;
mod compartments;
mod conditions;
mod consent;
mod doors;
mod export;
mod fidelity;
mod guides;
mod histories;
#[path = "../../../tests/support/node_project.rs"]
mod node_project;
mod patches;
mod processes;
mod related;
mod resources;
mod scopes;
mod search;
mod smart;
mod subscriptions;
mod tls;
mod transactions;
mod users;
mod value_sets;
mod xml;

use serde_json::json;
use support::world;

const PATIENT: &str = r#"{ "resourceType":"Patient" , "name":[{"family":"Äö"}],
  "extension":[{"url":"http://example.org/score","valueDecimal":1.00}] }"#;

/// What a client could tell two answers apart by: everything but the request's id and the date.
fn shown(got: &support::Got) -> (u16, Vec<(String, String)>, String) {
    let is_same = |(name, _): &&(String, String)| !["x-request-id", "date"].contains(&name.as_str());
    (got.status, got.headers.iter().filter(is_same).cloned().collect(), got.text())
}

/// A world with two patients, each with a Condition; the portal may see `p1` only.
async fn two_patients() -> (support::World, support::Client, support::Client) {
    let world = world().await;
    let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
    for patient in ["p1", "p2"] {
        let body =
            json!({"resourceType": "Patient", "id": patient, "identifier": [{"value": format!("mrn-{patient}")}]});
        ehr.send("PUT", &format!("/Patient/{patient}"), &[], body.to_string()).await.expect(201);
        let id = format!("c-{patient}");
        ehr.send("PUT", &format!("/Condition/{id}"), &[], condition(&id, patient)).await.expect(201);
    }
    (world, ehr, portal)
}

fn condition(id: &str, patient: &str) -> String {
    json!({"resourceType": "Condition", "id": id, "subject": {"reference": format!("Patient/{patient}")}}).to_string()
}
