//! Two processes of one organization: one ledger, one vault and one index in PostgreSQL. They are in this
//! process, and share nothing in it. `cargo verify` starts the server and names it; without one, nothing of
//! this can be checked, and each test says so.

use std::{path::Path, sync::Arc};

use careledger_gateway::{
    config::{self, Config, VaultKind},
    ledger::Ledger,
    organization::{OpenError, Organization},
    server::Gateway,
};
use futures::future::join_all;
use serde_json::{Value, json};

mod exports;

use super::{
    conditions::race_a_hundred_times,
    support::{
        BODY_BYTES_MAX, Client, SCOPE, World,
        endpoint::{Endpoint, until},
        exchange, opened_with,
    },
};

/// An organization, and another process of it, each with a client.
struct Two {
    world: World,
    config: Config,
    ledger_url: String,
    _folder: tempfile::TempDir,
    /// The organization, as the other process has it.
    organization: Arc<Organization>,
    /// What serves it there.
    gateway: Arc<Gateway>,
    one: Client,
    other: Client,
}

async fn two() -> Option<Two> {
    two_with(|_| {}).await
}

async fn two_with(change: impl FnOnce(&mut Config)) -> Option<Two> {
    let (world, config, ledger_url) = opened_with(change).await;
    if config.organizations[0].postgres.is_none() {
        println!("SKIPPED, not passed: no PostgreSQL server is named; `cargo verify` starts one");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let organization = another(&config, &ledger_url, folder.path()).await.unwrap();
    let gateway = Arc::new(Gateway::new([Arc::clone(&organization)], BODY_BYTES_MAX));
    let one = world.client("ehr").await;
    let token = exchange(&organization, &world.assertion("ehr"), SCOPE).await.unwrap();
    let other = Client::of(&gateway, token).await;
    Some(Two { world, config, ledger_url, _folder: folder, organization, gateway, one, other })
}

/// Another process of the organization, over the same ledger.
async fn another(config: &Config, ledger_url: &str, folder: &Path) -> Result<Arc<Organization>, OpenError> {
    let mut config = config.clone();
    config.organizations[0].data = folder.join("data");
    let ledger = Ledger::connect(ledger_url).await.unwrap();
    Ok(Organization::open(&config, &config.organizations[0], ledger).await?.0)
}

/// What a process says that is refused with another configuration of the database.
async fn refused(two: &Two, change: impl FnOnce(&mut config::Postgres)) -> String {
    let mut config = two.config.clone();
    change(config.organizations[0].postgres.as_mut().unwrap());
    let folder = tempfile::tempdir().unwrap();
    another(&config, &two.ledger_url, folder.path()).await.err().unwrap().to_string()
}

fn patient(id: Option<&str>, mrn: &str) -> String {
    let mut patient = json!({"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": mrn}]});
    if let Some(id) = id {
        patient["id"] = json!(id);
    }
    patient.to_string()
}

#[actix_web::test]
async fn sixteen_racing_conditional_creates_through_two_processes_give_one_resource_a_hundred_times() {
    let Some(Two { one, other, .. }) = two().await else { return };
    race_a_hundred_times([&one, &other]).await;
}

#[actix_web::test]
async fn what_one_process_acknowledged_the_other_reads_finds_changes_and_lists_at_once() {
    let Some(Two { one, other, .. }) = two().await else { return };
    for (version, (writer, reader)) in [(&one, &other), (&other, &one), (&one, &other)].into_iter().enumerate() {
        let (mrn, version) = (format!("mrn-{version}"), (version + 1).to_string());
        let status = if version == "1" { 201 } else { 200 };
        writer.send("PUT", "/Patient/p1", &[], patient(Some("p1"), &mrn)).await.expect(status);
        assert_eq!(reader.get("/Patient/p1").await.expect(200).json()["meta"]["versionId"], version);
        assert_eq!(reader.get(&format!("/Patient?identifier={mrn}")).await.expect(200).json()["total"], 1);
        let listed = reader.get("/Patient/p1/_history").await.expect(200).json();
        assert_eq!(listed["total"].to_string(), version);
    }
    other.send("DELETE", "/Patient/p1", &[], "").await.expect(204);
    one.get("/Patient/p1").await.expect(410);
}

#[actix_web::test]
async fn of_racing_updates_through_two_processes_each_version_is_somebodys_alone() {
    let Some(Two { one, other, .. }) = two().await else { return };
    one.send("PUT", "/Patient/p1", &[], patient(Some("p1"), "0")).await.expect(201);
    let mut current = 1;
    for round in 0..20 {
        let etag = format!("W/\"{current}\"");
        let send = |number: usize| {
            let (client, headers) =
                (if number.is_multiple_of(2) { &one } else { &other }, [("if-match", etag.as_str())]);
            let body = patient(Some("p1"), &format!("{round}-{number}"));
            async move { client.send("PUT", "/Patient/p1", &headers, body).await }
        };
        let answers = join_all((0..8).map(send)).await;
        let winners: Vec<Value> = answers.iter().filter(|got| got.status == 200).map(|got| got.json()).collect();
        assert!(winners.len() <= 1, "one version has one body");
        assert!(answers.iter().all(|got| matches!(got.status, 200 | 412 | 409 | 503)), "{answers:?}");
        let kept = other.get("/Patient/p1").await.expect(200).json();
        if let Some(winner) = winners.first() {
            assert_eq!(kept["identifier"], winner["identifier"]);
            current += 1;
        }
        assert_eq!(kept["meta"]["versionId"], current.to_string());
    }
    assert!(current > 1, "nobody ever wrote");
}

#[actix_web::test]
async fn an_account_is_given_to_one_patient_by_whichever_process_is_first() {
    let Some(Two { one, other, .. }) = two().await else { return };
    for race in 0..10_u8 {
        let account = careledger_wire::ids::Address::new([race + 50; 20]).to_string();
        let send = |number: usize| {
            let client = if number.is_multiple_of(2) { &one } else { &other };
            let identifier = json!([{"system": careledger_gateway::naming::ACCOUNT, "value": account}]);
            let body = json!({"resourceType": "Patient", "identifier": identifier}).to_string();
            async move { client.post("/Patient", body).await.status }
        };
        let statuses = join_all((0..4).map(send)).await;
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    }
}

#[actix_web::test]
async fn an_assertion_that_one_process_took_is_refused_by_the_other() {
    let Some(Two { world, organization, gateway, .. }) = two().await else { return };
    let assertion = world.assertion("ehr");
    assert!(exchange(&world.organization, &assertion, SCOPE).await.is_ok());
    assert_eq!(exchange(&organization, &assertion, SCOPE).await, Err("invalid_client"));
    // A token is one of the organization, whichever process issued it.
    let token = world.token("ehr").await;
    let client = Client::of(&gateway, token).await;
    client.get("/Patient").await.expect(200);
}

#[actix_web::test]
async fn the_access_log_of_two_processes_has_one_order_and_is_anchored_whole() {
    let Some(Two { world, organization, one, other, .. }) = two().await else { return };
    one.send("PUT", "/Patient/p1", &[], patient(Some("p1"), "1")).await.expect(201);
    let read = |number: usize| if number.is_multiple_of(2) { one.get("/Patient/p1") } else { other.get("/Patient/p1") };
    for got in join_all((0..40).map(read)).await {
        got.expect(200);
    }
    let leaves = |log: &careledger_gateway::audit::AuditLog| -> Vec<u64> {
        log.newest(&[], None, 1_000).unwrap().iter().map(|leaf| leaf.number).collect()
    };
    let written = leaves(&world.organization.audit);
    assert_eq!(written, (1..=41).rev().collect::<Vec<u64>>());
    assert_eq!(leaves(&organization.audit), written);
    let (first, second) = futures::join!(world.organization.audit.anchor(), organization.audit.anchor());
    assert_eq!(first.unwrap() + second.unwrap(), 41);
    assert_eq!(organization.audit.lacking().await.unwrap(), 0);
    let inclusion = organization.audit.inclusion(17).await.unwrap().unwrap();
    assert_eq!((inclusion.sequence, inclusion.index, inclusion.count), (1, 16, 41));
}

#[actix_web::test]
async fn of_two_processes_one_tells_a_subscription_whichever_of_them_wrote() {
    let endpoint = Endpoint::start();
    let change = |config: &mut Config| {
        config.subscriptions.trusted_endpoints = vec![endpoint.origin()];
        config.subscriptions.retry_milliseconds = 5;
    };
    let Some(Two { world, one, other, organization, .. }) = two_with(change).await else { return };
    let subscription = json!({"resourceType": "Subscription", "status": "requested", "reason": "a test",
        "criteria": "Patient", "channel": {"type": "rest-hook", "endpoint": endpoint.url(), "payload": "application/fhir+json"}});
    let made = other.post("/Subscription", subscription.to_string()).await.expect(201).id();
    let mut expected = Vec::new();
    for number in 0..20 {
        let (client, id) = (if number % 2 == 0 { &one } else { &other }, format!("p{number}"));
        client.send("PUT", &format!("/Patient/{id}"), &[], patient(Some(&id), &id)).await.expect(201);
        expected.push(format!("PUT /hook/Patient/{id}"));
    }
    endpoint.until(20).await;
    assert_eq!(endpoint.lines(), expected, "each once, in the order of the writes");
    for client in [&one, &other] {
        let found = client.get(&format!("/Subscription/{made}")).await.expect(200).json();
        assert_eq!(found["status"], "active");
    }
    let told = |organization: &Organization| {
        organization.subscriptions.counts.delivered.load(std::sync::atomic::Ordering::Relaxed)
    };
    let both = || [told(&world.organization), told(&organization)];
    // What arrived is counted a moment later.
    until(|| both().iter().sum::<u64>() >= 20).await;
    let both = both();
    assert!(both == [20, 0] || both == [0, 20], "one process tells: {both:?}");
}

#[actix_web::test]
async fn of_practitioners_that_race_through_two_processes_one_gets_an_account() {
    let Some(Two { one, other, .. }) = two().await else { return };
    for round in 0..10 {
        let account = careledger_gateway::keys::OrganizationSigner::random().address();
        let puts = (0..8).map(|number: usize| {
            let id = format!("r{round}-{number}");
            let identifiers = json!([{"system": "urn:careledger:account", "value": account}]);
            let body = json!({"resourceType": "Practitioner", "id": id, "identifier": identifiers}).to_string();
            let client = if number.is_multiple_of(2) { &one } else { &other };
            async move { client.send("PUT", &format!("/Practitioner/{id}"), &[], body).await.status }
        });
        let mut statuses = join_all(puts).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422, 422, 422, 422, 422, 422, 422]);
    }
}

#[actix_web::test]
async fn a_process_whose_vault_is_its_own_is_refused_beside_others() {
    let Some(two) = two().await else { return };
    let error = refused(&two, |postgres| postgres.vault = VaultKind::Local).await;
    assert!(error.contains("another process uses") && error.contains("vault = \"postgres\""), "{error}");
}

#[actix_web::test]
async fn a_database_that_is_not_there_or_lets_nobody_in_says_what_to_do() {
    let Some(two) = two().await else { return };
    let cases: [(&str, &str); 4] = [
        ("NO WORD", "it asks for a password"),
        ("postgresql://careledger@127.0.0.1:1/nothing", "is it running"),
        ("DATABASE", "createdb"),
        ("WORD", "the password is another one"),
    ];
    for (url, expected) in cases {
        let error = refused(&two, |postgres| match url {
            "DATABASE" => postgres.url = format!("{}_not_there", postgres.url),
            "WORD" => {
                let file = postgres.password_file.as_ref().unwrap().with_extension("wrong");
                std::fs::write(&file, "canary").unwrap();
                postgres.password_file = Some(file);
            }
            "NO WORD" => postgres.password_file = None,
            url => postgres.url = url.to_owned(),
        });
        let error = error.await;
        assert!(error.contains(expected) && !error.contains("canary"), "{error}");
    }
}
