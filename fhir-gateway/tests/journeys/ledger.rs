//! The gateway's ledger: embedded, behind RPC, and through an unmodified CosmJS.

use std::path::PathBuf;

use careledger_app::{
    audit::{AuditError, Log},
    client::Client,
    keys,
};
use careledger_gateway::{
    keys::{OrganizationKeys, OrganizationSigner, random},
    ledger::{Ledger, clock, embedded::Embedded},
    outcome::Refusal,
};
use careledger_wire::{
    commitment,
    ids::{Address, GrantId, SubjectId},
    proto::{
        audit::MsgAnchorAccessLog,
        governance::{Content, MsgPropose, ScheduledUpgrade, content::Decision},
        identity::{MsgClaimSubject, MsgOpenSubject, OrganizationKind},
        records::{Anchor, MsgAnchorRecords},
    },
};
use serde_json::{Value, json};

use super::{chain, node_project};

fn anchor(organization: &Address, records: u8) -> careledger_wire::message::Message {
    let anchors = (0..records).map(|_| Anchor { record: random::<32>().to_vec(), commitment: random::<32>().to_vec() });
    MsgAnchorRecords { sender: organization.to_string(), anchors: anchors.collect() }.into()
}

fn code(refusal: Refusal) -> u32 {
    match refusal {
        Refusal::Ledger { code, .. } => code,
        other => panic!("{other}"),
    }
}

/// A ledger with one provider and one patient's open subject.
async fn with_subject(
    ledger: &Ledger,
    registrar: &OrganizationSigner,
) -> (OrganizationKeys, OrganizationSigner, SubjectId) {
    let (hospital, patient) = (OrganizationKeys::random(), OrganizationSigner::random());
    chain::register(ledger, registrar, &hospital, OrganizationKind::Provider).await.unwrap();
    let own = hospital.signer.address();
    let open = MsgOpenSubject { sender: own.to_string(), claimant: patient.address().to_vec(), binding: None };
    ledger.submit(&hospital.signer, vec![open.into()]).await.unwrap();
    let subject = commitment::subject_id(&own, &patient.address());
    (hospital, patient, subject)
}

#[tokio::test]
async fn transactions_take_effect_are_proven_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let registrar = OrganizationSigner::random();
    let keys_of = OrganizationKeys::random();
    let organization = keys::organization(&keys_of.signer.address());
    let height = {
        let (ledger, _) = chain::embedded(folder.path(), &registrar);
        assert_eq!(ledger.get_proven(&organization).await.unwrap().value, None);
        chain::register(&ledger, &registrar, &keys_of, OrganizationKind::Provider).await.unwrap();
        let proven = ledger.get_proven(&organization).await.unwrap();
        assert_eq!(proven.value.unwrap().encryption_key, keys_of.encryption.public().to_vec());
        let committed = ledger.submit(&keys_of.signer, vec![anchor(&keys_of.signer.address(), 3)]).await.unwrap();
        assert!((committed.time - clock()).abs() <= 2);
        committed.height
    };
    let (ledger, _) = chain::embedded(folder.path(), &registrar);
    assert!(ledger.get_proven(&organization).await.unwrap().value.is_some());
    let committed = ledger.submit(&keys_of.signer, vec![anchor(&keys_of.signer.address(), 1)]).await.unwrap();
    assert!(committed.height > height);
}

#[tokio::test]
async fn a_refusal_keeps_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let registrar = OrganizationSigner::random();
    let (ledger, url) = chain::embedded(folder.path(), &registrar);
    let remote = Ledger::connect(&url).await.unwrap();
    let stranger = OrganizationSigner::random();
    for ledger in [&ledger, &remote] {
        let refused = ledger.submit(&stranger, vec![anchor(&stranger.address(), 1)]).await.unwrap_err();
        assert_eq!(code(refused), 5, "UnknownAccount");
        let refused = ledger.rehearse(&stranger, &[anchor(&stranger.address(), 1)]).await.unwrap_err();
        assert_eq!(code(refused), 5, "UnknownAccount");
        assert_eq!(code(ledger.relay(b"no transaction".to_vec()).await.unwrap_err()), 1, "Malformed");
    }
}

#[tokio::test]
async fn a_second_gateway_uses_the_ledger_through_its_rpc() {
    let folder = tempfile::tempdir().unwrap();
    let registrar = OrganizationSigner::random();
    let (ledger, url) = chain::embedded(folder.path(), &registrar);
    let remote = Ledger::connect(&url).await.unwrap();
    assert_eq!(remote.chain_id(), chain::CHAIN);
    let hospital = OrganizationKeys::random();
    chain::register(&remote, &registrar, &hospital, OrganizationKind::Provider).await.unwrap();
    let key = keys::organization(&hospital.signer.address());
    let proven = remote.get_proven(&key).await.unwrap().value;
    assert_eq!(proven, ledger.get_proven(&key).await.unwrap().value);
    assert!(proven.is_some());
    let absent = keys::organization(&Address::new([9; 20]));
    assert_eq!(remote.get_proven(&absent).await.unwrap().value, None);
    let scanned = remote.scan(keys::ORGANIZATIONS).await.unwrap();
    assert_eq!(scanned, ledger.scan(keys::ORGANIZATIONS).await.unwrap());
    assert_eq!(scanned.len(), 1);
}

#[tokio::test]
async fn a_transaction_relayed_twice_takes_effect_once_and_answers_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let registrar = OrganizationSigner::random();
    let (ledger, url) = chain::embedded(folder.path(), &registrar);
    let (_, patient, subject) = with_subject(&ledger, &registrar).await;
    let claim = MsgClaimSubject {
        sender: patient.address().to_string(),
        subject: subject.to_vec(),
        encryption_key: vec![3; 32],
    };
    let transaction = chain::signed(&ledger, &patient, claim.into()).await;
    let first = ledger.relay(transaction.clone()).await.unwrap();
    assert_eq!(ledger.relay(transaction.clone()).await.unwrap(), first);
    assert_eq!(Ledger::connect(&url).await.unwrap().relay(transaction).await.unwrap(), first);
}

#[tokio::test]
async fn transactions_that_wait_together_share_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let registrar = OrganizationSigner::random();
    let (ledger, _) = chain::embedded(folder.path(), &registrar);
    let (hospital, _, _) = with_subject(&ledger, &registrar).await;
    let own = hospital.signer.address();
    let before = ledger.submit(&hospital.signer, vec![anchor(&own, 1)]).await.unwrap().height;
    let all = (0..200).map(|_| ledger.submit(&hospital.signer, vec![anchor(&own, 1)]));
    let committed = futures::future::try_join_all(all).await.unwrap();
    let last = committed.iter().map(|committed| committed.height).max().unwrap();
    assert!(last - before < 100, "200 transactions took {} blocks", last - before);
}

/// Answers of the RPC by plain HTTP.
async fn call(url: &str, body: Value) -> Value {
    let response = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn hostile_calls_get_errors() {
    let folder = tempfile::tempdir().unwrap();
    let (_ledger, url) = chain::embedded(folder.path(), &OrganizationSigner::random());
    let cases = [
        (json!([]), -32600),
        (json!({"method": "unsafe_flush_mempool"}), -32601),
        (json!({"id": 1}), -32600),
        (json!({"method": "abci_query", "params": [1, 2]}), -32602),
        (json!({"method": "abci_query", "params": {"data": "zz"}}), -32602),
        (json!({"method": "broadcast_tx_sync", "params": {"tx": "*"}}), -32602),
        (json!({"method": "broadcast_tx_sync"}), -32602),
        (json!({"method": "block", "params": {"height": "99"}}), -32603),
        (json!({"method": "tx_search", "params": {"query": "message.sender='me'"}}), -32602),
    ];
    for (body, expected) in cases {
        assert_eq!(call(&url, body.clone()).await["error"]["code"], expected, "{body}");
    }
    let both = call(&url, json!([{"id": 1, "method": "health"}, {"id": 2, "method": "nothing"}])).await;
    assert_eq!((&both[0]["id"], &both[1]["id"]), (&json!(1), &json!(2)));
    let status = reqwest::get(format!("{url}/status")).await.unwrap().text().await.unwrap();
    assert!(status.contains(chain::CHAIN));
}

async fn cosmjs(url: &str, key: [u8; 32], message: Value) -> Value {
    let folder = node_project::installed(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/cosmjs"));
    let mut node = tokio::process::Command::new("node");
    node.arg("send.mjs").arg(message.to_string()).current_dir(folder);
    node.env("CARELEDGER_RPC", url).env("CARELEDGER_KEY", hex::encode(key));
    let output = node.output().await.expect("this test needs node: install it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_cosmjs_client_grants_a_consent() {
    let folder = tempfile::tempdir().unwrap();
    let registrar = OrganizationSigner::random();
    let (ledger, url) = chain::embedded(folder.path(), &registrar);
    let hospital = OrganizationKeys::random();
    chain::register(&ledger, &registrar, &hospital, OrganizationKind::Provider).await.unwrap();
    let secret = random::<32>();
    let patient = OrganizationSigner::new(careledger_gateway::keys::Secret::new(secret)).unwrap();
    let own = hospital.signer.address();
    let open = MsgOpenSubject { sender: own.to_string(), claimant: patient.address().to_vec(), binding: None };
    ledger.submit(&hospital.signer, vec![open.into()]).await.unwrap();
    let subject = commitment::subject_id(&own, &patient.address());

    let claim = json!({"subject": subject, "encryptionKey": "04".repeat(32)});
    let claimed =
        cosmjs(&url, secret, json!({"typeUrl": "/careledger.identity.v1.MsgClaimSubject", "value": claim})).await;
    assert_eq!((&claimed["code"], &claimed["sequence"]), (&json!(0), &json!(0)), "{claimed}");
    assert_eq!(claimed["address"], json!(patient.address()));

    let grant = GrantId::new(random());
    let value = json!({
        "subject": subject, "grant": grant, "grantee": hex::encode(own.as_bytes()), "mode": 1,
        "notBefore": clock().to_string(), "expiresAt": (clock() + 3_600).to_string(),
        "terms": "05".repeat(32), "body": "06".repeat(32),
    });
    let message = json!({"typeUrl": "/careledger.consent.v1.MsgGrantConsent", "value": value});
    let granted = cosmjs(&url, secret, message).await;
    assert_eq!((&granted["code"], &granted["sequence"]), (&json!(0), &json!(1)), "{granted}");
    let state = ledger.get_proven(&keys::consent(&subject, &grant)).await.unwrap().value.unwrap();
    assert_eq!(state.grantee, own.to_vec());
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let registrar = OrganizationSigner::random();
    let first = Embedded::open(one.path(), &chain::settings(&registrar)).unwrap();
    let taken = careledger_gateway::ledger::embedded::Settings {
        rpc_listen: first.rpc_address(),
        ..chain::settings(&registrar)
    };
    let error = Embedded::open(two.path(), &taken).unwrap_err();
    assert!(error.to_string().contains("cannot listen"), "{error}");
}

/// As an auditor reads a log who believes the node's header.
async fn audited(client: &Client, own: &Address) -> Result<Log, AuditError> {
    let tree = client.get_proven(keys::access_log_tree(own).as_bytes(), None).await?;
    Log::read(client, own, tree.value.as_deref()).await
}

/// The embedded ledger goes through an upgrade, and an auditor holds a whole access log against one
/// proven root: also what was anchored before there was a log.
#[tokio::test]
async fn an_access_log_is_audited_across_an_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let registrar = OrganizationSigner::random();
    let (ledger, url) = chain::embedded(folder.path(), &registrar);
    let hospital = OrganizationKeys::random();
    chain::register(&ledger, &registrar, &hospital, OrganizationKind::Provider).await.unwrap();
    let own = hospital.signer.address();
    let batch = |sequence: u64| MsgAnchorAccessLog {
        sender: own.to_string(),
        sequence,
        root: random::<32>().to_vec(),
        count: 3,
        period_start: 1,
        period_end: 1,
    };
    let client = Client::new(&url).unwrap();
    let before = ledger.submit(&hospital.signer, vec![batch(1).into()]).await.unwrap();
    assert!(matches!(audited(&client, &own).await, Err(AuditError::NoLog)));
    let upgrade = ScheduledUpgrade { version: 2, height: before.height as u64 + 6 };
    let propose = MsgPropose {
        sender: registrar.address().to_string(),
        proposal: random::<32>().to_vec(),
        expires_at: clock() + 1_000,
        content: Some(Content { decision: Some(Decision::Upgrade(upgrade)) }),
    };
    ledger.submit(&registrar, vec![propose.into()]).await.unwrap();
    let mut batches = 1;
    loop {
        batches += 1;
        let committed = ledger.submit(&hospital.signer, vec![batch(batches).into()]).await.unwrap();
        if committed.height as u64 >= upgrade.height {
            break;
        }
    }
    let log = audited(&client, &own).await.unwrap();
    assert_eq!((log.head.size, log.batches.len() as u64), (batches, batches));
    assert!(log.check_earlier(&log.head).is_ok());
    ledger.submit(&hospital.signer, vec![batch(batches + 1).into()]).await.unwrap();
    let later = audited(&client, &own).await.unwrap();
    assert_eq!(later.head.size, batches + 1);
    assert!(later.check_earlier(&log.head).is_ok());
    assert!(log.check_earlier(&later.head).is_err(), "the older log does not begin with the newer one");
}
