//! Writes whose outcome the ledger did not tell: the gateway behind an RPC that loses answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use actix_web::{App, HttpResponse, HttpServer, web};
use careledger_gateway::{
    keys::{OrganizationKeys, OrganizationSigner},
    ledger::Ledger,
};
use careledger_wire::proto::identity::OrganizationKind;
use serde_json::{Value, json};

use super::{
    chain,
    exchange::world::until,
    site::{self, Site},
};

/// What happens to transactions on their way to the ledger.
const PASS: u8 = 0;
/// The ledger gets it and commits it; nobody hears its answer.
const LOSE_ANSWER: u8 = 1;
/// The ledger never gets it, and nobody hears that.
const LOSE: u8 = 2;

/// A hospital whose ledger is behind [`relay`].
struct World {
    _folder: tempfile::TempDir,
    _ledger: Ledger,
    site: Site,
    mode: Arc<AtomicU8>,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registrar = OrganizationSigner::random();
        let (ledger, rpc) = chain::embedded(&folder.path().join("ledger"), &registrar);
        let keys = OrganizationKeys::random();
        chain::register(&ledger, &registrar, &keys, OrganizationKind::Provider).await.unwrap();
        let mode = Arc::new(AtomicU8::new(PASS));
        let between = site::free_address();
        relay(between, rpc, Arc::clone(&mode));
        let through = Ledger::connect(&format!("http://{between}")).await.unwrap();
        let site = Site::start(folder.path(), "north", &keys, through, site::free_address(), &[]).await;
        Self { _folder: folder, _ledger: ledger, site, mode }
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    async fn count(&self) -> Value {
        self.site.get("/Patient?_summary=count").await.expect(200)["total"].clone()
    }
}

/// Passes calls on to the RPC at `to`, and loses what `mode` says.
fn relay(address: SocketAddr, to: String, mode: Arc<AtomicU8>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let pass = move |call: web::Bytes| {
        let (to, mode) = (to.clone(), mode.load(Ordering::SeqCst));
        async move {
            let is_transaction = call.windows(12).any(|window| window == b"broadcast_tx");
            if is_transaction && mode == LOSE {
                return HttpResponse::BadGateway().finish();
            }
            let request = reqwest::Client::new().post(&to).header("content-type", "application/json");
            let answer = request.body(call.to_vec()).send().await.expect("the ledger answers");
            let answer = answer.bytes().await.expect("a body");
            if is_transaction && mode == LOSE_ANSWER {
                committed(&to, &answer).await;
                return HttpResponse::BadGateway().finish();
            }
            HttpResponse::Ok().content_type("application/json").body(answer.to_vec())
        }
    };
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let app = move || App::new().default_service(web::to(pass.clone()));
            let server = HttpServer::new(app).workers(1).bind(address).expect("the address is free").run();
            sender.send(()).expect("the starter waits");
            server.await
        })
    });
    receiver.recv().expect("the relay starts");
}

/// Waits until the ledger at `rpc` has committed the transaction that it answered so: who asks before that
/// is told to ask again.
async fn committed(rpc: &str, answer: &[u8]) {
    let answer: Value = serde_json::from_slice(answer).expect("an answer in JSON");
    let hash = answer["result"]["hash"].as_str().expect("a hash");
    let search =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tx_search", "params": {"query": format!("tx.hash='{hash}'")}});
    until(async || {
        let request = reqwest::Client::new().post(rpc).header("content-type", "application/json");
        let found = request.body(search.to_string()).send().await.expect("the ledger answers");
        let found: Value = serde_json::from_slice(&found.bytes().await.expect("a body")).expect("an answer in JSON");
        (found["result"]["total_count"] == "1").then_some(())
    })
    .await;
}

fn patient(family: &str) -> Value {
    json!({"resourceType": "Patient", "name": [{"family": family}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_answer_was_lost_is_repeated_under_its_key_and_stored_once() {
    let world = World::new().await;
    let key = [("idempotency-key", "admission-7")];
    world.set(LOSE_ANSWER);
    let lost = world.site.post_with("/Patient", &key, &patient("Doe")).await.expect(503);
    assert!(lost.to_string().contains("Idempotency-Key"), "{lost}");
    world.set(PASS);
    let first = world.site.post_with("/Patient", &key, &patient("Doe")).await.expect(201);
    let again = world.site.post_with("/Patient", &key, &patient("Doe")).await.expect(201);
    assert_eq!(first, again);
    assert_eq!(world.count().await, json!(1));
    let other = world.site.post_with("/Patient", &key, &patient("Roe")).await.expect(422);
    assert_eq!(other["issue"][0]["code"], "business-rule");
    let fresh = [("idempotency-key", "admission-8")];
    let second = world.site.post_with("/Patient", &fresh, &patient("Doe")).await.expect(201);
    assert_ne!(second["id"], first["id"]);
    world.site.post_with("/Patient", &[("idempotency-key", "two words")], &patient("Doe")).await.expect(400);
    assert_eq!(world.count().await, json!(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_answer_was_lost_is_repeated_under_its_key_and_stored_once() {
    let world = World::new().await;
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": "urn:uuid:1", "resource": patient("Doe"), "request": {"method": "POST", "url": "Patient"}},
        {"resource": {"resourceType": "Condition", "id": "c1", "subject": {"reference": "urn:uuid:1"}},
            "request": {"method": "PUT", "url": "Condition/c1"}},
        {"resource": patient("Roe"), "request": {"method": "POST", "url": "Patient"}},
    ]});
    let key = [("idempotency-key", "import-1")];
    world.set(LOSE_ANSWER);
    world.site.post_with("", &key, &bundle).await.expect(503);
    world.set(PASS);
    let first = world.site.post_with("", &key, &bundle).await.expect(200);
    let statuses: Vec<&str> =
        first["entry"].as_array().unwrap().iter().filter_map(|entry| entry["response"]["status"].as_str()).collect();
    assert_eq!(statuses, ["201 Created", "200 OK", "201 Created"]);
    assert_eq!(world.site.post_with("", &key, &bundle).await.expect(200), first);
    let mut longer = bundle.clone();
    let more = json!({"resource": patient("Poe"), "request": {"method": "POST", "url": "Patient"}});
    longer["entry"].as_array_mut().unwrap().push(more);
    let refused = world.site.post_with("", &key, &longer).await.expect(422);
    assert_eq!(refused["issue"][0]["expression"][0], "Bundle.entry[3]");
    assert_eq!(world.count().await, json!(2));
    assert_eq!(world.site.get("/Condition/c1").await.expect(200)["meta"]["versionId"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_whose_answer_was_lost_may_be_repeated() {
    let world = World::new().await;
    let mut doe = patient("Doe");
    doe["id"] = json!("p1");
    world.set(LOSE_ANSWER);
    world.site.put("/Patient/p1", &doe).await.expect(503);
    world.set(PASS);
    world.site.put("/Patient/p1", &doe).await.expect(200);
    world.set(LOSE);
    world.site.put("/Patient/p1", &doe).await.expect(503);
    world.set(PASS);
    world.site.put("/Patient/p1", &doe).await.expect(503);
    assert_eq!(world.site.get("/Patient/p1").await.expect(200)["meta"]["versionId"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_held_while_nobody_knows_whether_its_patient_was_stored() {
    let world = World::new().await;
    let account = OrganizationSigner::random().address();
    let mut named = patient("Doe");
    named["identifier"] = json!([{"system": "urn:careledger:account", "value": account}]);
    world.set(LOSE);
    world.site.post("/Patient", &named).await.expect(503);
    world.set(PASS);
    let held = world.site.post("/Patient", &named).await.expect(503);
    assert_eq!(held["issue"][0]["code"], "transient");
    assert_eq!(world.count().await, json!(0));

    let account = OrganizationSigner::random().address();
    named["identifier"][0]["value"] = json!(account);
    world.set(LOSE_ANSWER);
    world.site.post("/Patient", &named).await.expect(503);
    world.set(PASS);
    world.site.post("/Patient", &named).await.expect(422);
    assert_eq!(world.count().await, json!(1), "the first one was stored, and has the account");
}
