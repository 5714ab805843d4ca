//! Bulk exports of an organization whose gateway is several processes: whichever of them is asked, they are made once,
//! by one of them, and every other says how far they are, sends their files and removes them.

use std::{path::Path, sync::Arc};

use careledger_gateway::{
    config::{self, Config},
    ledger::Ledger,
    organization::Organization,
    server::Gateway,
};
use futures::future::join_all;
use tokio::sync::oneshot;

use super::{Two, another, patient, two};
use crate::{
    export::{
        ASYNC,
        amid::{fill, has_each_once, is_amid_patients, until},
        exported, finished, lines, path, started,
    },
    shown,
    support::{BODY_BYTES_MAX, Client, SCOPE, World, at_rest_with_config, exchange},
};

/// A process of the organization on threads of its own, which ends at any moment: what it was about to do is
/// dropped where it was.
struct Process {
    end: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Process {
    /// Starts one that works on exports whenever it may.
    async fn start(config: &Config, ledger_url: &str, folder: &Path) -> Self {
        let (config, ledger_url, folder) = (config.clone(), ledger_url.to_owned(), folder.to_owned());
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let organization = another(&config, &ledger_url, &folder).await.unwrap();
                ready.send(()).unwrap();
                // Whoever started it dropped it, or says so: both are its end.
                let _ = ended.await;
                drop(organization);
            });
        });
        is_ready.await.unwrap();
        Self { end, thread }
    }

    /// Ends it, amid whatever it does.
    fn kill(self) {
        drop(self.end);
        self.thread.join().unwrap();
    }
}

/// A process that does nothing but what it is asked, and keeps the ledger.
struct Resting {
    world: World,
    config: Config,
    ledger_url: String,
    folder: tempfile::TempDir,
}

async fn resting() -> Option<Resting> {
    let (world, config, ledger_url) = at_rest_with_config().await;
    if config.organizations[0].postgres.is_none() {
        println!("SKIPPED, not passed: no PostgreSQL server is named; `cargo verify` starts one");
        return None;
    }
    Some(Resting { world, config, ledger_url, folder: tempfile::tempdir().unwrap() })
}

#[actix_web::test]
async fn what_one_process_was_asked_to_export_any_other_shows_sends_and_removes() {
    let Some(Two { world, organization, one, other, .. }) = two().await else { return };
    for client in [&one, &other] {
        for path in ["/metadata", "/openapi.json"] {
            assert!(client.get(path).await.expect(200).text().contains("export"), "{path}");
        }
    }
    let ids = ["a", "b", "c"];
    for id in ids {
        one.send("PUT", &format!("/Patient/{id}"), &[], patient(Some(id), id)).await.expect(201);
    }
    let expected = ids.map(|id| format!("Patient/{id}"));
    for (asked, shows) in [(&one, &other), (&other, &one)] {
        let status = started(asked, "GET", "/$export?_type=Patient", String::new()).await;
        let manifest = finished(shows, &status).await;
        assert_eq!(manifest, finished(asked, &status).await);
        assert_eq!(lines(shows, &manifest, "output").await, expected);
        assert_eq!(lines(asked, &manifest, "output").await, expected);
        let file = path(manifest["output"][0]["url"].as_str().unwrap());
        shows.send("DELETE", &status, &[], "").await.expect(202);
        for client in [asked, shows] {
            for gone in [&status, &file] {
                client.get(gone).await.expect(404);
            }
            client.send("DELETE", &status, &[], "").await.expect(404);
        }
    }
    // What is decided when a file is fetched is decided by whoever sends it.
    let status = started(&one, "GET", "/$export?_type=Patient", String::new()).await;
    let manifest = finished(&other, &status).await;
    one.send("DELETE", "/Patient/b", &[], "").await.expect(204);
    assert_eq!(lines(&other, &manifest, "output").await, ["Patient/a", "Patient/c"]);
    drop((world, organization));
}

#[actix_web::test]
async fn an_export_is_nobody_elses_through_any_process() {
    let Some(Two { world, organization, gateway, one, .. }) = two().await else { return };
    one.send("PUT", "/Patient/a", &[], patient(Some("a"), "a")).await.expect(201);
    let status = started(&one, "GET", "/$export?_type=Patient", String::new()).await;
    let manifest = finished(&one, &status).await;
    let file = path(manifest["output"][0]["url"].as_str().unwrap());
    let absent = "/bulk/00000000000000000000000000000000".to_owned();
    let there = Client::of(&gateway, exchange(&organization, &world.assertion("reader"), SCOPE).await.unwrap()).await;
    for reader in [&world.client("reader").await, &there] {
        for (method, theirs, never) in [
            ("GET", &status, absent.clone()),
            ("GET", &file, format!("{absent}/0.ndjson")),
            ("DELETE", &status, absent.clone()),
        ] {
            let theirs = reader.send(method, theirs, &[], "").await.expect(404);
            assert_eq!(shown(&theirs), shown(&reader.send(method, &never, &[], "").await), "{method}");
        }
        assert_eq!(exported(reader, "/$export").await, ["Patient/a"]);
    }
    one.get(&file).await.expect(200);
}

#[actix_web::test]
async fn a_client_that_asks_two_processes_at_once_has_no_more_exports_than_through_one() {
    let Some(Resting { world, mut config, ledger_url, folder }) = resting().await else { return };
    // Nobody works on them, so that none ends.
    config.organizations[0].data = folder.path().join("data");
    let ledger = Ledger::connect(&ledger_url).await.unwrap();
    let organization = Organization::open_as_it_is(&config, &config.organizations[0], ledger).await.unwrap();
    let gateway = Arc::new(Gateway::new([Arc::clone(&organization)], BODY_BYTES_MAX));
    let one = world.client("ehr").await;
    let other = Client::of(&gateway, exchange(&organization, &world.assertion("ehr"), SCOPE).await.unwrap()).await;
    let ask = |number: usize| {
        let client = if number.is_multiple_of(2) { &one } else { &other };
        async move { client.send("GET", "/$export?_type=Patient", &ASYNC, "").await.status }
    };
    let mut statuses = join_all((0..12).map(ask)).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [[202; 4].as_slice(), [429; 8].as_slice()].concat());
}

#[actix_web::test]
async fn an_export_whose_process_ends_in_the_middle_is_finished_by_another_with_every_resource_once() {
    let Some(Resting { world, config, ledger_url, folder }) = resting().await else { return };
    let ehr = world.client("ehr").await;
    fill(&world.organization).await;
    let first = Process::start(&config, &ledger_url, &folder.path().join("first")).await;
    // Only the first is there: it has the lock, and keeps it.
    let early = started(&ehr, "GET", "/$export?_type=Group", String::new()).await;
    finished(&ehr, &early).await;
    let second = Process::start(&config, &ledger_url, &folder.path().join("second")).await;
    let status = started(&ehr, "GET", "/$export", String::new()).await;
    until(&world.organization, &status, is_amid_patients).await;
    first.kill();
    let left = until(&world.organization, &status, |_| true).await;
    assert!(left.end.is_none(), "it had ended before the kill");
    let done = until(&world.organization, &status, |job| job.end.is_some()).await;
    assert!(done.revision > left.revision);
    has_each_once(&ehr, &finished(&ehr, &status).await).await;
    second.kill();
    // The files are nobody's in particular.
    has_each_once(&ehr, &finished(&ehr, &status).await).await;
    finished(&ehr, &early).await;
}

/// While a configuration changes, one process knows a client and the next not yet.
#[actix_web::test]
async fn a_process_that_does_not_know_its_client_yet_removes_no_export() {
    let Some(Resting { world, config, ledger_url, folder }) = resting().await else { return };
    let ehr = world.client("ehr").await;
    ehr.send("PUT", "/Patient/a", &[], patient(Some("a"), "a")).await.expect(201);
    let mut without = config.clone();
    without.organizations[0].clients.retain(|client| client.id != "ehr");
    let first = Process::start(&without, &ledger_url, &folder.path().join("first")).await;
    let status = started(&ehr, "GET", "/$export?_type=Patient", String::new()).await;
    until(&world.organization, &status, |job| job.failures > 0).await;
    first.kill();
    let second = Process::start(&config, &ledger_url, &folder.path().join("second")).await;
    let manifest = finished(&ehr, &status).await;
    assert_eq!(lines(&ehr, &manifest, "output").await, ["Patient/a"]);
    second.kill();
}

#[actix_web::test]
async fn an_export_has_every_resource_once_when_all_connections_break_in_the_middle() {
    let Some(Two { world, config, organization, one, .. }) = two().await else { return };
    fill(&world.organization).await;
    let status = started(&one, "GET", "/$export?_type=Patient", String::new()).await;
    until(&organization, &status, is_amid_patients).await;
    break_connections(config.organizations[0].postgres.as_ref().unwrap()).await;
    until(&organization, &status, |job| job.end.is_some()).await;
    has_each_once(&one, &finished(&one, &status).await).await;
}

/// Ends every connection to the organization's database, and with each the locks that it held.
async fn break_connections(postgres: &config::Postgres) {
    let mut settings: tokio_postgres::Config = postgres.url.parse().unwrap();
    settings.password(std::fs::read(postgres.password_file.as_ref().unwrap()).unwrap());
    let (client, connection) = settings.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let ended: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(ended >= 2, "each process has one at least: {ended}");
}
