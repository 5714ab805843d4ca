//! What the ids of other custodians' resources lead to.

use careledger_gateway::cli::consent::complete;
use serde_json::json;

use super::world::{PDF, World, id, until};

/// Grants are public, and patients choose them: a second patient may approve with one that begins as another's.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_begins_as_another_patients_hides_nothing() {
    let mut world = World::new().await;
    let grant = world.opened().await;
    let first = world.documents_at_b().await.remove(0)["resource"].clone();
    let url = first["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
    let (of_first, first_patient) = (format!("/DocumentReference/{}", id(first.clone())), world.at_b.clone());

    world.turn_to_another_patient().await;
    let task = world.ask().await;
    // The least of all that begin so: it comes before the other one in their order.
    let twin = format!("{}{}", &grant.to_string()[..16], "0".repeat(48));
    let mut consent = world.approval();
    consent["identifier"] = json!([{"system": "urn:careledger:grant", "value": twin}]);
    let twin = world.approve_by(&task, "Consent/c2", &complete(&consent)).await;
    assert!(twin < grant);

    let second = world.documents_at_b().await.remove(0)["resource"].clone();
    assert_eq!(second["subject"]["reference"], json!(format!("Patient/{}", world.at_b)));
    assert_eq!(world.b.get(&of_first).await.expect(200), first, "another patient's approval hides nothing");
    let read = world.b.get(&format!("/{url}")).await;
    assert_eq!((read.status, read.bytes.as_slice()), (200, PDF));
    let of_second = world.b.get(&format!("/DocumentReference/{}", id(second.clone()))).await.expect(200);
    assert_eq!(of_second, second);
    // The second approval leads to the second patient's only.
    let crossed = world.shown_id(&twin, id(first.clone()).rsplit_once('.').unwrap().1).await;
    assert_eq!(world.b.get(&format!("/DocumentReference/{crossed}")).await.status, 404);
    assert_eq!(first["subject"]["reference"], json!(format!("Patient/{first_patient}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_the_form_that_named_the_grant_leads_nowhere() {
    let world = World::new().await;
    let grant = world.opened().await;
    assert_eq!(world.documents_at_b().await.len(), 1);
    let former = format!("r.{}.{}", &grant.to_string()[..16], world.document);
    assert_eq!(world.b.get(&format!("/DocumentReference/{former}")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_elsewhere_costs_the_same_however_many_access_requests_there_are() {
    let world = World::new().await;
    world.opened().await;
    let path = format!("/DocumentReference/{}", id(world.documents_at_b().await.remove(0)["resource"].clone()));
    let requests = async || world.b.get("/Task?_summary=count").await.expect(200)["total"].clone();
    // The least of some: what goes on in the background is counted, too.
    let cost = async || {
        until(async || world.b.organization.network.outbox().is_empty().then_some(())).await;
        let (mut vault, mut index) = (u64::MAX, u64::MAX);
        for _ in 0..5 {
            let before = world.b.organization.work();
            world.b.get(&path).await.expect(200);
            let work = world.b.organization.work() - before;
            (vault, index) = (vault.min(work.vault_reads), index.min(work.index_reads));
        }
        (vault, index)
    };
    let with_one = cost().await;
    assert_eq!(requests().await, json!(1));
    for _ in 0..5 {
        world.ask().await;
    }
    assert_eq!(requests().await, json!(6));
    assert_eq!(cost().await, with_one);
}
