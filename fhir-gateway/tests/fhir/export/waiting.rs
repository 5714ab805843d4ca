//! What an export waits for, and that it lacks nothing after it.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use careledger_gateway::{
    config,
    export::{job::Awaited, run},
    organization::Organization,
    records::Feed as _,
};
use tokio::task::JoinHandle;

use super::{
    amid::{fill, has_each_once, is_amid_patients, until},
    finished, lines, path, started,
};
use crate::support::{Client, World, at_rest, at_rest_with_config};

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// What one page of a rebuild of the index holds.
const PAGE: u64 = 500;
/// Numbers of spaces in a vault in PostgreSQL, of marks and of what is in no other; never others.
const PENDING: i16 = 6;
const STATE: i16 = 11;

/// Works on the exports of an organization that does not by itself.
fn worker(organization: &Arc<Organization>) -> JoinHandle<()> {
    tokio::spawn(run::work(Arc::downgrade(organization)))
}

/// Asks how an export is until it says this about itself.
async fn until_it_says(client: &Client, status: &str, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let got = client.get(status).await.expect(202);
        let progress = got.header("x-progress").unwrap();
        if progress.contains(words) {
            return;
        }
        assert!(Instant::now() < deadline, "it says: {progress}");
        actix_web::rt::time::sleep(POLL).await;
    }
}

/// An export, of which some steps are made and nobody makes more.
async fn amid(world: &World, client: &Client) -> String {
    fill(&world.organization).await;
    let status = started(client, "GET", "/$export?_type=Patient", String::new()).await;
    let worker = worker(&world.organization);
    until(&world.organization, &status, is_amid_patients).await;
    worker.abort();
    let left = until(&world.organization, &status, |_| true).await;
    assert!(left.end.is_none(), "it had ended before");
    status
}

/// It took what the index had so far for all there is, and ended.
#[actix_web::test]
async fn an_export_waits_while_the_index_is_made_anew_and_has_every_resource_once() {
    let world = at_rest().await;
    let ehr = world.client("ehr").await;
    let status = amid(&world, &ehr).await;
    // The index has one page when this stops.
    let (stop, stopped) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let records = world.organization.records.clone();
    let rebuild = thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(records.reindex(move |progress| {
            if progress.done == PAGE {
                stop.send(()).unwrap();
                // Whoever drops it lets it go on, too.
                let _ = goes_on.recv();
            }
        }))
    });
    stopped.recv_timeout(PATIENCE).unwrap();
    let worker = worker(&world.organization);
    until_it_says(&ehr, &status, "search index").await;
    let waiting = until(&world.organization, &status, |job| job.awaits == Some(Awaited::Index)).await;
    assert!(waiting.end.is_none() && waiting.failures == 0);
    go_on.send(()).unwrap();
    rebuild.join().unwrap().unwrap();
    until(&world.organization, &status, |job| job.end.is_some()).await;
    has_each_once(&ehr, &finished(&ehr, &status).await).await;
    worker.abort();
}

/// Nobody goes on with a rebuild that was interrupted, until somebody writes.
#[actix_web::test]
async fn an_export_gives_an_index_that_was_emptied_all_that_it_lacks() {
    let world = at_rest().await;
    let ehr = world.client("ehr").await;
    let status = amid(&world, &ehr).await;
    world.organization.index.clear().unwrap();
    let worker = worker(&world.organization);
    until(&world.organization, &status, |job| job.end.is_some()).await;
    has_each_once(&ehr, &finished(&ehr, &status).await).await;
    worker.abort();
}

/// As where a process ended between a version that became visible and its row in the index.
#[actix_web::test]
async fn an_export_that_is_begun_while_the_index_lags_has_what_it_lacks() {
    let world = at_rest().await;
    let ehr = world.client("ehr").await;
    for id in ["a", "b"] {
        let body = serde_json::json!({"resourceType": "Patient", "id": id}).to_string();
        ehr.send("PUT", &format!("/Patient/{id}"), &[], body).await.expect(201);
    }
    world.organization.index.clear().unwrap();
    let worker = worker(&world.organization);
    let status = started(&ehr, "GET", "/$export?_type=Patient", String::new()).await;
    let manifest = finished(&ehr, &status).await;
    assert_eq!(lines(&ehr, &manifest, "output").await, ["Patient/a", "Patient/b"]);
    assert!(path(manifest["output"][0]["url"].as_str().unwrap()).starts_with("/bulk/"));
    worker.abort();
}

/// A connection to the database of a vault, and the table that this is.
async fn vault(postgres: &config::Postgres) -> (tokio_postgres::Client, String) {
    let mut settings: tokio_postgres::Config = postgres.url.parse().unwrap();
    settings.password(std::fs::read(postgres.password_file.as_ref().unwrap()).unwrap());
    let (client, connection) = settings.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT format('%I.vault', schemaname) FROM pg_tables WHERE tablename = 'vault'";
    let table: String = client.query_one(sql, &[]).await.unwrap().get(0);
    (client, table)
}

/// A mark without its version, as a process leaves it that ends while it removes both.
#[actix_web::test]
async fn an_export_waits_for_what_a_process_left_until_that_is_found_out() {
    let (world, config, _) = at_rest_with_config().await;
    let Some(postgres) = &config.organizations[0].postgres else {
        println!("SKIPPED, not passed: no PostgreSQL server is named; `cargo verify` starts one");
        return;
    };
    let ehr = world.client("ehr").await;
    ehr.send("PUT", "/Patient/a", &[], r#"{"resourceType":"Patient","id":"a"}"#).await.expect(201);
    let (client, table) = vault(postgres).await;
    let (space, mark) = (PENDING, vec![7_u8; 36]);
    let sql = format!("INSERT INTO {table} (space, key, value) VALUES ($1, $2, $2)");
    client.execute(&sql, &[&space, &mark]).await.unwrap();
    let worker = worker(&world.organization);
    let status = started(&ehr, "GET", "/$export?_type=Patient", String::new()).await;
    until_it_says(&ehr, &status, "waits for writes").await;
    let manifest = finished(&ehr, &status).await;
    assert_eq!(lines(&ehr, &manifest, "output").await, ["Patient/a"]);
    worker.abort();
}

/// Who may see what is looked up in the index too, beside the part that a step goes through.
#[actix_web::test]
async fn a_step_under_which_the_index_was_emptied_is_made_again() {
    let (world, config, _) = at_rest_with_config().await;
    let Some(postgres) = &config.organizations[0].postgres else {
        println!("SKIPPED, not passed: no PostgreSQL server is named; `cargo verify` starts one");
        return;
    };
    let ehr = world.client("ehr").await;
    fill(&world.organization).await;
    let (client, table) = vault(postgres).await;
    // As if one rebuild followed the other, each done at once.
    let sql = format!(
        "INSERT INTO {table} (space, key, value) VALUES ($1, 'index/rebuilt', decode(md5(random()::text), 'hex'))
         ON CONFLICT (space, key) DO UPDATE SET value = excluded.value"
    );
    let rebuilds = tokio::spawn(async move {
        loop {
            client.execute(&sql, &[&STATE]).await.unwrap();
        }
    });
    let worker = worker(&world.organization);
    let status = started(&ehr, "GET", "/$export?_type=Patient", String::new()).await;
    let waiting = until(&world.organization, &status, |job| job.awaits.is_some() || job.is_under_way()).await;
    assert_eq!((waiting.awaits, waiting.is_under_way()), (Some(Awaited::Index), false));
    rebuilds.abort();
    until(&world.organization, &status, |job| job.end.is_some()).await;
    has_each_once(&ehr, &finished(&ehr, &status).await).await;
    worker.abort();
}
