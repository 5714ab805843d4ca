//! What holds across restarts, lost bodies and processes that know less.

use std::sync::atomic::Ordering;

use careledger_gateway::{
    config::Config,
    vault::{Batch, Durability, Space, Store as _, local::LocalStore},
};

use super::{patients, put, quick, subscribed, until_is};
use crate::support::{
    World,
    endpoint::{Behaviour, Endpoint, until},
    made, started,
};

/// Runs a gateway over what an earlier one left, until `work` is done.
fn run<T>(folder: &std::path::Path, config: &Config, work: impl AsyncFnOnce(World) -> T) -> T {
    actix_web::rt::System::new().block_on(async {
        let (world, _) = started(folder, config).await;
        work(world).await
    })
}

/// Makes an organization whose vault is a folder.
fn with_a_vault_here(folder: &std::path::Path, endpoints: &[&Endpoint]) -> Config {
    let mut config = actix_web::rt::System::new().block_on(made(folder));
    config.organizations[0].postgres = None;
    quick(&mut config, endpoints);
    config
}

#[test]
fn after_a_restart_nothing_is_lost_and_a_client_with_less_is_told_nothing() {
    let (kept, lost) = (Endpoint::start(), Endpoint::start());
    let folder = tempfile::tempdir().unwrap();
    let run = |config: Option<Config>| {
        let (folder, kept, lost) = (folder.path(), &kept, &lost);
        actix_web::rt::System::new().block_on(async move {
            let Some(config) = config else {
                let mut config = made(folder).await;
                quick(&mut config, &[kept, lost]);
                config.subscriptions.attempts_max = 4;
                let (world, _) = started(folder, &config).await;
                let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
                patients(&ehr).await;
                for endpoint in [kept, lost] {
                    endpoint.behave(Behaviour::Status(503));
                }
                subscribed(&ehr, "Observation", kept, Some("application/fhir+json")).await;
                subscribed(&portal, "Observation", lost, Some("application/fhir+json")).await;
                for id in ["a", "b", "c"] {
                    put(&ehr, id, "p1", "x").await;
                }
                kept.until(1).await;
                lost.until(1).await;
                return config;
            };
            let (world, _) = started(folder, &config).await;
            kept.until(3).await;
            let counts = &world.organization.subscriptions.counts;
            until(|| counts.given_up.load(Ordering::Relaxed) == 1).await;
            let ehr = world.client("ehr").await;
            put(&ehr, "d", "p1", "x").await;
            kept.until(4).await;
            config
        })
    };
    let mut config = run(None);
    for endpoint in [&kept, &lost] {
        endpoint.forget();
        endpoint.behave(Behaviour::Status(200));
    }
    // The portal may not search any more.
    config.organizations[0].clients[2].scopes = "patient/*.r".to_owned();
    run(Some(config));
    assert_eq!(kept.lines(), ["a", "b", "c", "d"].map(|id| format!("PUT /hook/Observation/{id}")));
    assert!(lost.received().is_empty(), "{:?}", lost.lines());
}

/// One that the vault had no more was tried again and again, and then its Subscriptions were off.
#[test]
fn a_version_that_was_lost_is_passed_over_and_stops_no_subscription() {
    let [all, matching, portals] = [(); 3].map(|()| Endpoint::start());
    let endpoints = [&all, &matching, &portals];
    let folder = tempfile::tempdir().unwrap();
    let config = with_a_vault_here(folder.path(), &endpoints);
    let lost = run(folder.path(), &config, async |world| {
        let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
        patients(&ehr).await;
        for endpoint in endpoints {
            endpoint.behave(Behaviour::Status(503));
        }
        let json = Some("application/fhir+json");
        subscribed(&ehr, "Observation", &all, json).await;
        subscribed(&ehr, "Observation?status=final", &matching, json).await;
        subscribed(&portal, "Observation", &portals, json).await;
        for id in ["a", "b", "c"] {
            put(&ehr, id, "p1", "x").await;
        }
        for endpoint in endpoints {
            endpoint.until(1).await;
        }
        world.organization.records.any_version("Observation", "b", 1).await.unwrap().address
    });
    let vault = LocalStore::open(&config.organizations[0].data.join("vault")).unwrap();
    let mut batch = Batch::default();
    batch.delete(Space::Body, lost.as_bytes());
    futures::executor::block_on(vault.commit(batch, Durability::Synced)).unwrap();
    drop(vault);
    for endpoint in endpoints {
        endpoint.behave(Behaviour::Status(200));
        endpoint.forget();
    }
    run(folder.path(), &config, async |world| {
        let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
        for endpoint in endpoints {
            endpoint.until(2).await;
            assert_eq!(endpoint.lines(), ["a", "c"].map(|id| format!("PUT /hook/Observation/{id}")));
        }
        ehr.get("/Observation/b").await.expect(500);
        let said = "1 versions were lost by this server and passed over";
        // Whoever may not see each version of the type is not told that there was one.
        for (client, expected) in [(&ehr, [Some(said), Some(said)].as_slice()), (&portal, &[None])] {
            let bundle = client.get("/Subscription/$status").await.expect(200).json();
            let ids = bundle["entry"].as_array().unwrap().iter().map(|entry| entry["resource"]["id"].as_str().unwrap());
            for (id, expected) in ids.zip(expected) {
                until_is(client, id, ("active", 2, *expected)).await;
            }
        }
        let counts = &world.organization.subscriptions.counts;
        assert_eq!(counts.lost.load(Ordering::Relaxed), 3);
        put(&ehr, "d", "p1", "x").await;
        all.until(3).await;
    });
}

/// A process that did not know a client yet switched its Subscriptions off at once.
#[test]
fn a_client_that_one_process_does_not_know_yet_is_told_by_the_next() {
    let endpoint = Endpoint::start();
    let folder = tempfile::tempdir().unwrap();
    let config = with_a_vault_here(folder.path(), &[&endpoint]);
    let id = run(folder.path(), &config, async |world| {
        let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
        patients(&ehr).await;
        endpoint.behave(Behaviour::Status(503));
        let id = subscribed(&portal, "Observation", &endpoint, Some("application/fhir+json")).await;
        put(&ehr, "a", "p1", "x").await;
        endpoint.until(1).await;
        id
    });
    endpoint.behave(Behaviour::Status(200));
    endpoint.forget();
    let changes: [fn(&mut Config); 3] = [
        |config| config.organizations[0].clients.truncate(2),
        |config| config.organizations[0].clients[2].scopes = "patient/*.r".to_owned(),
        |config| config.subscriptions.trusted_endpoints.clear(),
    ];
    for change in changes {
        let mut other = config.clone();
        change(&mut other);
        run(folder.path(), &other, async |world| {
            let counts = &world.organization.subscriptions.counts;
            until(|| counts.failed.load(Ordering::Relaxed) > 1).await;
            assert_eq!(counts.given_up.load(Ordering::Relaxed), 0);
        });
    }
    assert!(endpoint.received().is_empty(), "{:?}", endpoint.lines());
    run(folder.path(), &config, async |world| {
        until_is(&world.client("portal").await, &id, ("active", 1, None)).await;
    });
    assert_eq!(endpoint.lines(), ["PUT /hook/Observation/a"]);
}
