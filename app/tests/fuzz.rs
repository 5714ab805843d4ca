//! The ledger's decoders over committed inputs and mutations of them. `tests/fuzz` has the targets,
//! and drives the same ones with libFuzzer.
//!
//! To add inputs for what is new: `UPDATE_CORPUS=1`, which writes those of `seeds` that are missing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use careledger_app::{genesis::Genesis, query, snapshot, store::Store as _};
use careledger_wire::{
    access_log,
    ids::Address,
    message::Message,
    proto::{
        query::PathRequest,
        tx::{QueryAccountRequest, SimulateRequest, TxRaw},
    },
    signing::{Assertion, PublicKey, Signature},
    transaction::{Replay, Transaction, Unsigned, hash},
};
use careledger_zk::{
    date::Day,
    document::ProofDocument,
    field::Element,
    key::VerifyingKey,
    snarkjs::{KeyJson, ProofJson, PublicJson},
    statement::PublicInputs,
    verify::Proof,
};
use prost::Message as _;
use prost_types::Any;
use secp256k1::{PublicKey as Secp256k1Key, SecretKey};
use serde_json::{Value, json};
use tendermint_proto::v0_38::abci::{
    Request, RequestApplySnapshotChunk, RequestCheckTx, RequestLoadSnapshotChunk, RequestOfferSnapshot,
    RequestPrepareProposal, RequestProcessProposal, RequestQuery, Snapshot, request::Value as Asked,
};

#[path = "../../tests/fuzz/driver.rs"]
mod driver;
#[path = "../../tests/fuzz/ledger.rs"]
mod ledger;

use driver::Seed;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz")
}

#[test]
fn no_bytes_of_a_stranger_stop_the_ledger() {
    for (target, decode, executions) in ledger::TARGETS {
        driver::run(&root(), target, *decode, *executions);
    }
}

#[test]
fn every_target_of_the_ledger_has_its_committed_inputs_and_its_program() {
    driver::check_committed(&root(), seeds(), ledger::TARGETS);
}

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    serde_json::from_slice(&fs::read(path).expect("golden files are committed")).expect("they are JSON")
}

fn bytes_of(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("text")).expect("hexadecimal")
}

/// One transaction of each type, as golden blocks have them.
fn transactions() -> Vec<(String, Vec<u8>)> {
    let blocks = golden("blocks.json");
    let mut seen = Vec::new();
    for block in blocks["blocks"].as_array().expect("blocks") {
        for transaction in block["transactions"].as_array().expect("transactions") {
            let url = transaction["type_url"].as_str().expect("a type");
            let name = url.rsplit_once(".Msg").expect("type URLs end in .Msg…").1.to_lowercase();
            if !seen.iter().any(|(other, _)| *other == name) {
                seen.push((name, bytes_of(&transaction["bytes"])));
            }
        }
    }
    assert_eq!(seen.len(), Message::TYPE_URLS.len(), "golden blocks have every transaction");
    seen
}

/// The same message, sent by another account: the sender is the first field of each.
fn sent_by(message: &Message, sender: &Address) -> Message {
    let any = message.to_any();
    let (old, new) = (message.sender().to_owned(), sender.to_string());
    assert_eq!((any.value[0], usize::from(any.value[1])), (0x0a, old.len()));
    let mut value = any.value;
    value.splice(2..2 + old.len(), new.into_bytes());
    Message::decode(&Any { type_url: any.type_url, value }).expect("only the sender is another")
}

/// A transaction of the account that [`ledger::simulate`] knows.
fn simulated(message: &Message) -> Vec<u8> {
    let mut secret = [0; 32];
    secret[31] = 7;
    let key = Secp256k1Key::from_secret_key(&SecretKey::from_secret_bytes(secret).expect("a small number is a key"));
    let key = PublicKey::Secp256k1(key.serialize());
    let messages = [sent_by(message, &key.address())];
    let unsigned = Unsigned::with_key(&messages, &key, "careledger-dev-fuzz", 0, Replay::Sequence(0));
    unsigned.signed_by(&[Signature::Secp256k1([1; 64])])
}

fn inputs() -> PublicInputs {
    let element = |byte: u8| {
        let mut bytes = [byte; 32];
        bytes[0] = 0;
        Element::from_bytes(&bytes).expect("below the modulus")
    };
    PublicInputs {
        att_root: element(1),
        enr_root: element(2),
        policy: element(3),
        as_of: Day::from_unix_seconds(1_800_000_000).expect("a day"),
        null_event: element(4),
        null_period: element(5),
        amount_commit: element(6),
        ctx: element(7),
    }
}

/// A proof that is well formed, from the golden blocks.
fn golden_proof() -> [u8; 128] {
    let transactions = transactions();
    let (_, bytes) = transactions.iter().find(|(name, _)| name == "proveeligibility").expect("golden blocks prove");
    let transaction = Transaction::decode(bytes).expect("golden transactions are sound");
    let [Message::ProveEligibility(message)] = transaction.messages() else { panic!("one message") };
    message.proof.as_slice().try_into().expect("128 bytes")
}

fn seeds() -> Vec<Seed> {
    let mut seeds = transaction_seeds();
    seeds.extend(node_seeds());
    seeds.extend(proof_seeds());
    seeds.extend(text_seeds());
    seeds
}

fn transaction_seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, bytes) in transactions() {
        let message = Transaction::decode(&bytes).expect("golden transactions are sound").messages()[0].clone();
        seeds.push(("simulate", name.clone(), simulated(&message)));
        seeds.push(("transaction", name, bytes));
    }
    let passkeys = golden("passkeys.json");
    for (number, signed) in passkeys["transactions"].as_array().expect("transactions").iter().enumerate() {
        let der = bytes_of(&signed["signature_der"]);
        let signature = p256::ecdsa::Signature::from_der(&der).expect("what Chromium signed");
        let signature = signature.normalize_s().unwrap_or(signature);
        let assertion = Signature::WebAuthnP256(Assertion {
            authenticator_data: bytes_of(&signed["authenticator_data"]),
            client_data: signed["client_data_json"].as_str().expect("text").as_bytes().to_vec(),
            signature: signature.to_bytes().into(),
        });
        let encoded = assertion.encode();
        seeds.push(("assertion", format!("chromium-{number}"), [vec![0], encoded.clone()].concat()));
        let sign_doc = bytes_of(&signed["sign_bytes"]);
        if number == 0 {
            let committed = fs::read(root().join("assertion.sign-bytes")).expect("it is committed");
            assert_eq!(committed, sign_doc, "the first passkey's sign bytes");
        }
        // `SignDoc` begins as `TxRaw` does: body and authentication.
        let doc = TxRaw::decode(sign_doc.as_slice()).map(|raw| (raw.body_bytes, raw.auth_info_bytes));
        if let Ok((body_bytes, auth_info_bytes)) = doc {
            let raw = TxRaw { body_bytes, auth_info_bytes, signatures: vec![encoded] };
            seeds.push(("transaction", format!("passkey-{number}"), raw.encode_to_vec()));
        }
    }
    seeds
}

fn node_seeds() -> Vec<Seed> {
    let machine = ledger::machine_with(vec![ledger::registrar()]);
    let transaction = transactions().remove(0).1;
    let mut chunk = Vec::new();
    let hashes = snapshot::chunk(machine.store().pairs().clone(), |_, bytes| {
        chunk = bytes;
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(chunks) = hashes;
    let manifest = snapshot::Manifest { height: 1, time: 1_800_000_000, chunks };
    let offered = Snapshot {
        height: 1,
        format: snapshot::FORMAT,
        chunks: 1,
        hash: manifest.hash().to_vec().into(),
        metadata: manifest.encode().into(),
    };
    let app_hash = machine.store().app_hash().to_vec();
    let query = RequestQuery { path: query::KEY.to_owned(), data: b"chain".to_vec().into(), height: 0, prove: true };
    let proposal = RequestProcessProposal { txs: vec![transaction.clone().into()], height: 1, ..Default::default() };
    let prepare = RequestPrepareProposal {
        txs: vec![transaction.clone().into()],
        max_tx_bytes: 1 << 20,
        height: 1,
        ..Default::default()
    };
    let requests = [
        ("check", Asked::CheckTx(RequestCheckTx { tx: transaction.clone().into(), r#type: 0 })),
        ("query", Asked::Query(query)),
        ("offer", Asked::OfferSnapshot(RequestOfferSnapshot { snapshot: Some(offered), app_hash: app_hash.into() })),
        (
            "apply",
            Asked::ApplySnapshotChunk(RequestApplySnapshotChunk {
                index: 0,
                chunk: chunk.clone().into(),
                sender: "peer".to_owned(),
            }),
        ),
        ("load", Asked::LoadSnapshotChunk(RequestLoadSnapshotChunk { height: 1, format: 1, chunk: 0 })),
        ("process", Asked::ProcessProposal(proposal)),
        ("prepare", Asked::PrepareProposal(prepare)),
    ];
    let mut seeds = Vec::new();
    let mut all = Vec::new();
    for (name, value) in requests {
        let frame = Request { value: Some(value) }.encode_length_delimited_to_vec();
        all.extend_from_slice(&frame);
        seeds.push(("frame", name.to_owned(), frame));
    }
    seeds.push(("frame", "all".to_owned(), all));
    seeds.push(("snapshot", "chunk".to_owned(), chunk));
    seeds.push(("snapshot", "manifest".to_owned(), manifest.encode()));
    let account = QueryAccountRequest { address: ledger::registrar().to_string() }.encode_to_vec();
    let path = PathRequest { tree: 1, insurer: Vec::new(), commitment: vec![0; 32] }.encode_to_vec();
    let simulate = SimulateRequest { tx_bytes: transaction.clone() }.encode_to_vec();
    let data: [Vec<u8>; 7] = [
        b"parameters".to_vec(),
        query::continuation(b"account/", b"account/x"),
        hash(&transaction).to_vec(),
        path,
        account,
        simulate,
        Vec::new(),
    ];
    for (number, data) in data.into_iter().enumerate() {
        let first = u8::try_from(number).expect("a few paths");
        seeds.push(("query", format!("path-{number}"), [vec![first, 1], data].concat()));
    }
    seeds
}

fn proof_seeds() -> Vec<Seed> {
    let (inputs, proof, key) = (inputs(), golden_proof(), VerifyingKey::development());
    let document = ProofDocument::new(&key, inputs, &proof);
    let points = Proof::from_bytes(&proof).expect("the golden proof is well formed");
    let (tree, pairs) = ledger::proven_tree();
    let proven = |key: &[u8]| tree.prove(key, |key| pairs[key].clone()).expect("the tree is not empty").proof;
    let mut seeds: Vec<Seed> = vec![
        ("proof", "golden".to_owned(), [inputs.to_bytes().to_vec(), proof.to_vec()].concat()),
        ("proof_json", "document".to_owned(), written(&document)),
        ("proof_json", "snarkjs-proof".to_owned(), written(&ProofJson::from(&points))),
        ("proof_json", "snarkjs-public".to_owned(), written(&PublicJson::from(&inputs))),
        ("verifying_key", "development".to_owned(), key.encode().to_vec()),
        ("verifying_key", "snarkjs".to_owned(), written(&KeyJson::from(&key))),
        ("ics23", "present".to_owned(), [vec![0], proven(b"fuzz/present")].concat()),
        ("ics23", "absent".to_owned(), [vec![1], proven(b"fuzz/absent")].concat()),
        ("ics23", "of-another".to_owned(), [vec![2], proven(b"fuzz/present")].concat()),
        ("ics23", "not-absent".to_owned(), [vec![3], proven(b"fuzz/7")].concat()),
    ];
    for (count, place) in [(1, 0), (7, 3), (40, 39)] {
        let leaves = ledger::leaves(count);
        let path = access_log::inclusion_path(&leaves, place).expect("the leaf is there");
        let bytes: Vec<u8> = std::iter::once(leaves[place]).chain(path).flat_map(|digest| digest.to_vec()).collect();
        let frame = [u8::try_from(place).expect("small"), u8::try_from(count - 1).expect("small")];
        seeds.push(("access_log", format!("inclusion-{count}"), [frame.to_vec(), bytes].concat()));
    }
    for (count, older) in [(8, 8), (7, 4), (40, 33)] {
        let leaves = ledger::leaves(count);
        let path = access_log::consistency_path(&leaves, older).expect("the log grew");
        let root = access_log::root(&leaves[..older]);
        let bytes: Vec<u8> = std::iter::once(root).chain(path).flat_map(|digest| digest.to_vec()).collect();
        let frame = [u8::try_from(older).expect("small"), u8::try_from(count - 1).expect("small")];
        seeds.push(("access_log", format!("consistency-{count}"), [frame.to_vec(), bytes].concat()));
    }
    seeds
}

fn text_seeds() -> Vec<Seed> {
    let registrar = ledger::registrar().to_string();
    let organization = Address::new([9; 20]).to_string();
    let full = json!({
        "registrars": [registrar], "registrar_threshold": 1, "state_version": 2,
        "organizations": [{
            "address": organization, "kind": "provider", "encryption_key": "07".repeat(32), "expires_at": 1_900_000_000_i64,
        }],
        "webauthn_origins": ["https://portal.example"], "webauthn_rp_ids": ["portal.example"],
        "quotas": {
            "window_blocks": 100, "registrar_bytes": 100_000, "organization_bytes": 1_000_000,
            "practitioner_bytes": 100_000, "claimant_bytes": 50_000,
        },
    });
    let least = Genesis { registrars: vec![ledger::registrar()], registrar_threshold: 1, ..Genesis::default() };
    let opening = json!({
        "issuer": organization, "pseudonym": "00".repeat(32), "facts": [], "complete": true, "birth": "1980-01-01",
        "issued": "2026-01-01", "expiry": "2027-01-01", "salt": "00".repeat(32),
    });
    let json = |value: &Value| serde_json::to_vec(value).expect("JSON");
    vec![
        ("genesis", "golden".to_owned(), json(&golden("genesis.json")["app_state"])),
        ("genesis", "full".to_owned(), json(&full)),
        ("genesis", "least".to_owned(), serde_json::to_vec(&least).expect("JSON")),
        ("proof_json", "attestation".to_owned(), json(&opening)),
        ("identifiers", "address".to_owned(), registrar.into_bytes()),
        ("identifiers", "digest".to_owned(), "0a".repeat(32).into_bytes()),
        ("identifiers", "day".to_owned(), b"2027-01-15".to_vec()),
    ]
}

fn written(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it is data")
}
