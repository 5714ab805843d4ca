//! What a scope leaves out of an export.

use serde_json::json;

use super::{ASYNC, exported, filled, finished, lines, observation, put, started};
use crate::support::Client;

#[actix_web::test]
async fn an_export_has_what_is_within_the_scopes_that_asked_and_that_fetch() {
    let (world, ehr) = filled().await;
    let with = async |scope: &str| Client::of(&world.gateway, world.token_for("ehr", scope).await).await;
    let weights = with("system/Observation.rs?code=weight system/Patient.rs").await;
    let within = ["Observation/weight1", "Observation/weight2", "Observation/weight3"];
    for address in ["/$export?_type=Observation", "/Patient/$export?_type=Observation"] {
        assert_eq!(exported(&weights, address).await, within, "{address}");
    }
    let filtered = "/$export?_type=Observation&_typeFilter=Observation%3Fcode%3Dheight";
    assert_eq!(exported(&weights, filtered).await, [""; 0], "a filter opens nothing");
    // The same export fetched with less, and after what it names says something else.
    let status = started(&weights, "GET", "/$export?_type=Observation", String::new()).await;
    let manifest = finished(&weights, &status).await;
    let one = with("system/Observation.rs?_id=weight1,height1").await;
    assert_eq!(lines(&one, &manifest, "output").await, ["Observation/weight1"]);
    put(&ehr, observation("weight2", "p2", "height")).await;
    assert_eq!(lines(&weights, &manifest, "output").await, ["Observation/weight1", "Observation/weight3"]);
    // What was deleted says nothing any more.
    let since = manifest["transactionTime"].as_str().unwrap().to_owned();
    ehr.send("DELETE", "/Observation/weight3", &[], "").await.expect(204);
    let address = format!("/$export?_type=Observation&_since={}", since.replace('+', "%2B"));
    for (client, expected) in [(&weights, 0), (&ehr, 1)] {
        let status = started(client, "GET", &address, String::new()).await;
        let manifest = finished(client, &status).await;
        assert_eq!(lines(client, &manifest, "deleted").await.len(), expected);
    }
    let of_a_patient = with("system/Observation.r?code=weight").await;
    of_a_patient.send("GET", "/$export?_type=Observation", &ASYNC, "").await.expect(403);
}

/// What is out of sight was read from the vault, opened and only then left out.
#[actix_web::test]
async fn what_an_export_may_not_have_is_not_even_read() {
    let (world, ehr) = filled().await;
    for n in 0..20 {
        let mut large = observation(&format!("large{n}"), "p3", "height");
        large["note"] = json!([{"text": "x".repeat(100_000)}]);
        put(&ehr, large).await;
    }
    let scope = "system/Observation.rs?code=weight system/Group.rs system/Patient.rs";
    let weights = Client::of(&world.gateway, world.token_for("ehr", scope).await).await;
    let cost = async |client: &Client, address: &str| {
        let before = world.organization.work().vault_bytes;
        // Making the files alone: to fetch them costs what they hold.
        finished(client, &started(client, "GET", address, String::new()).await).await;
        world.organization.work().vault_bytes - before
    };
    let all = cost(&ehr, "/$export?_type=Observation").await;
    assert!(all > 2_000_000, "whoever may have it reads it: {all}");
    for (client, address) in [
        (&weights, "/$export?_type=Observation"),
        (&weights, "/Patient/$export?_type=Observation"),
        // They are about nobody of the Group.
        (&ehr, "/Group/g/$export?_type=Observation"),
    ] {
        let cost = cost(client, address).await;
        assert!(cost < 1_000_000, "{address}: {cost}");
    }
}
