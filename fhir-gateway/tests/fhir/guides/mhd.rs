//! IHE MHD: documents are provided (ITI-65, ITI-105, ITI-106), found (ITI-66, ITI-67) and retrieved (ITI-68).

mod found;
mod generated;
mod provided;
mod published;

use serde_json::{Value, json};

use super::example;
use crate::support::{Client, World, world};

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
