//! On a real organization, whose log is made to fail by a line that is in the way of the next one.

use std::{fs, path::Path, sync::Arc};

use serde_json::json;

use super::*;
use crate::{
    audit::tests::{clear_the_way, stand_in_the_way},
    config::Config,
    interactions::{
        Incoming,
        condition::Locks,
        update::{Preconditions, update},
    },
    json::Document,
    keys::{OrganizationKeys, keystore},
    ledger::{Ledger, embedded},
    records::Change,
};

const PASSPHRASE: &str = "a passphrase for tests";

/// An organization on a chain of its own, which does nothing by itself.
async fn opened(folder: &Path) -> Arc<Organization> {
    let keys = OrganizationKeys::random();
    keystore::create(&folder.join("keystore.json"), PASSPHRASE.as_bytes(), &keys).unwrap();
    fs::write(folder.join("passphrase"), PASSPHRASE).unwrap();
    let organization = json!({
        "address": keys.signer.address(),
        "kind": "provider",
        "encryption_key": keys.encryption.public(),
        "evidence": "00".repeat(32),
        "expires_at": clock() + 30 * 86_400,
    });
    let registrar = careledger_wire::ids::Address::new([1; 20]);
    let genesis = json!({"registrars": [registrar], "registrar_threshold": 1, "organizations": [organization]});
    fs::write(folder.join("genesis.json"), genesis.to_string()).unwrap();
    let file = folder.join("gateway.toml");
    fs::write(&file, CONFIGURATION).unwrap();
    let config = Config::read(&file).unwrap();
    let settings = embedded::Settings {
        chain_id: "careledger-dev-owed".to_owned(),
        app_state: genesis.to_string().into_bytes(),
        rpc_listen: "127.0.0.1:0".parse().unwrap(),
        memory: embedded::Memory::default(),
    };
    let ledger = Ledger::open_embedded(&folder.join("ledger"), &settings).unwrap();
    Organization::open_as_it_is(&config, &config.organizations[0], ledger).await.unwrap()
}

const CONFIGURATION: &str = r#"
ledger = "embedded"

[server]
listen = "127.0.0.1:0"
base_url = "http://localhost"
body_bytes_max = 1000000
workers = 1

[auth]
token_seconds = 300
requests_per_second = 500
request_burst = 2000
token_requests_per_second = 20

[audit]
batch_leaves = 100000
batch_seconds = 3600

[embedded]
path = "ledger"
rpc_listen = "127.0.0.1:0"
chain_id = "careledger-dev-owed"
genesis = "genesis.json"

[[organization]]
name = "hospital"
keystore = "keystore.json"
passphrase_file = "passphrase"
data = "data"
"#;

fn ehr() -> Caller {
    let scopes = Scopes::parse("system/*.cruds").unwrap();
    Caller { client: "ehr".to_owned(), scopes, patient: None, expires_at: NEVER, person: None }
}

/// The lines of the log, the oldest first: who did what to which Patient.
fn lines(organization: &Organization) -> Vec<(String, Action, String)> {
    let leaves = organization.audit.newest(&[], None, 100).unwrap();
    let line = |leaf: crate::audit::Leaf| {
        let crate::audit::Agent::Client(client) = leaf.access.agent else { panic!("another organization") };
        (client, leaf.access.action, leaf.access.patient.unwrap())
    };
    leaves.into_iter().rev().map(line).collect()
}

fn patient(id: &str) -> String {
    json!({"resourceType": "Patient", "id": id}).to_string()
}

fn line(action: Action, patient: &str) -> (String, Action, String) {
    ("ehr".to_owned(), action, patient.to_owned())
}

/// The client was told that the write failed, which the ledger had.
#[actix_web::test]
async fn a_write_whose_line_fails_is_answered_as_done_and_is_in_the_log_once_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let organization = opened(folder.path()).await;
    let (conditions, caller) = (Locks::of(organization.records.clone()), ehr());
    let context = Context::in_background(&organization, &conditions, &caller);
    let put = async |id: &str| {
        let incoming = Incoming::Json(Document::parse(patient(id)).unwrap());
        update(&context, "Patient", id, &incoming, Preconditions::default()).await.map(|answer| answer.status.as_u16())
    };
    let notes = async || organization.records.notes(None).await.unwrap().len();
    assert_eq!(put("one").await, Ok(201));
    assert_eq!((lines(&organization), notes().await), (vec![line(Action::Create, "one")], 0));

    stand_in_the_way(&organization.audit).await;
    assert_eq!(put("two").await, Ok(201), "it took effect");
    assert_eq!(organization.records.read("Patient", "two").await.unwrap().version, 1);
    assert!(settle(&organization).await.is_err());
    assert_eq!(notes().await, 1, "it is owed still");
    clear_the_way(&organization.audit).await;
    settle(&organization).await.unwrap();
    let both = vec![line(Action::Create, "one"), line(Action::Create, "two")];
    assert_eq!((lines(&organization), notes().await), (both.clone(), 0));
    settle(&organization).await.unwrap();
    assert_eq!(lines(&organization), both, "once");
}

#[actix_web::test]
async fn a_write_whose_process_ended_before_its_line_is_logged_by_the_next_and_one_under_way_by_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let organization = opened(folder.path()).await;
    let (conditions, caller) = (Locks::of(organization.records.clone()), ehr());
    let context = Context::in_background(&organization, &conditions, &caller);
    let write = async |id: &str, note: Vec<u8>| {
        let content = Content::Json(patient(id).into_bytes().into());
        let (resource_type, id, patient) = ("Patient".to_owned(), id.to_owned(), None);
        let change = Change::Create { resource_type, id, content, patient };
        organization.records.commit_noted(vec![change], Vec::new(), note).await.unwrap();
    };
    write("left", Owed::default().note(&context)).await;
    write("answered", organization.owed.note(&context)).await;
    settle(&organization).await.unwrap();
    assert_eq!(lines(&organization), [line(Action::Create, "left")]);
    let stored = organization.records.read("Patient", "answered").await.unwrap();
    log_written(&context, &stored).await;
    assert_eq!(lines(&organization).len(), 2);
    assert!(organization.records.notes(None).await.unwrap().is_empty());
}
