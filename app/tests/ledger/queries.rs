//! What clients and wallets read.

use careledger_app::{
    limits::QUERY_PAIRS_MAX,
    machine::Prove,
    query::{self, continuation},
    store::tree,
};
use careledger_wire::{
    proto::{
        query::Pairs,
        tx::{BaseAccount, QueryAccountRequest, QueryAccountResponse, SimulateRequest, SimulateResponse, TxRaw},
    },
    transaction::Replay,
};
use prost::Message as _;

use crate::{
    script::{familiar, grant_path, message, run},
    world::{START, World, address, public_key},
};

fn account(world: &World, name: &str) -> Result<BaseAccount, String> {
    let request = QueryAccountRequest { address: address(name).to_string() };
    let answer = world.machine.query(query::ACCOUNT, &request.encode_to_vec(), 0, Prove::No);
    assert_ne!(answer.height, 0, "Cosmos clients take height 0 for a failure");
    if answer.code != 0 {
        return Err(answer.log);
    }
    let response = QueryAccountResponse::decode(answer.value.as_slice()).expect("a QueryAccountResponse");
    let any = response.account.expect("an account that was found");
    assert_eq!(any.type_url, "/cosmos.auth.v1beta1.BaseAccount");
    Ok(BaseAccount::decode(any.value.as_slice()).expect("a BaseAccount"))
}

#[test]
fn a_cosmos_wallet_finds_its_account() {
    let mut world = familiar();
    let before = account(&world, "lab").unwrap();
    assert_eq!((before.sequence, before.pub_key, before.address), (0, None, address("lab").to_string()));
    run(&mut world, "lab anchors a");
    let after = account(&world, "lab").unwrap();
    assert_eq!((after.sequence, after.account_number), (1, before.account_number));
    let key = after.pub_key.unwrap();
    assert_eq!(key.type_url, "/cosmos.crypto.secp256k1.PubKey");
    assert_eq!(key.value[2..], public_key("lab"));
    let unknown = account(&world, "nobody").unwrap_err();
    assert!(unknown.contains("rpc error: code = NotFound"), "{unknown}");
}

#[test]
fn a_cosmos_wallet_simulates_before_it_signs() {
    let world = familiar();
    let unsigned = |part: &str| {
        let transaction = world.signed("lab", &[message(&world, None, "lab", part)]);
        let raw = TxRaw::decode(transaction.as_slice()).unwrap();
        let tx_bytes = TxRaw { signatures: vec![Vec::new()], ..raw }.encode_to_vec();
        world.machine.query(query::SIMULATE, &SimulateRequest { tx_bytes }.encode_to_vec(), 0, Prove::No)
    };
    let answer = unsigned("anchors a");
    assert_eq!(answer.code, 0, "{}", answer.log);
    let response = SimulateResponse::decode(answer.value.as_slice()).unwrap();
    assert!(response.gas_info.unwrap().gas_used > 0);
    assert_eq!(response.result.unwrap().msg_responses[0].type_url, "/careledger.records.v1.MsgAnchorRecordsResponse");
    assert_eq!(unsigned("supersedes a:2").code, 51);
    // Nobody signed it, so nothing costly is done for it: the gas is its bytes, whatever it asks for.
    for costly in ["publishes gold with gap", "attests a", "covers a", "proves gold claim c event e period p"] {
        let answer = unsigned(costly);
        assert_eq!(answer.code, 0, "{}", answer.log);
        let response = SimulateResponse::decode(answer.value.as_slice()).unwrap();
        assert!(response.gas_info.unwrap().gas_used > 0);
    }
    assert!(world.state().keys().all(|key| !key.starts_with(b"record/")), "a simulation leaves nothing");
}

/// A gateway asks before it files a claim: its signature pays for the verdict.
#[test]
fn a_signed_transaction_is_simulated_wholly() {
    let mut world = familiar();
    run(&mut world, "payer publishes gold\nclinic attests fact\npayer covers alice");
    let simulated = |world: &World, part: &str| {
        let tx_bytes = world.signed("lab", &[message(world, None, "lab", part)]);
        world.machine.query(query::SIMULATE, &SimulateRequest { tx_bytes }.encode_to_vec(), 0, Prove::No).code
    };
    assert_eq!(simulated(&world, "proves gold claim c event e period p"), 0);
    assert_eq!(simulated(&world, "proves gold claim c event e period p made-by=clinic"), 89);
    assert_eq!(simulated(&world, "attests fact"), 73);
    assert!(world.state().keys().all(|key| !key.starts_with(b"nullifier/")), "a simulation leaves nothing");
}

#[test]
fn every_key_is_proven_present_or_absent_at_every_height() {
    let mut world = familiar();
    let path = grant_path("alice.clinic", "g");
    let mut heights = Vec::new();
    for (script, is_there) in [
        ("clinic anchors a", false),
        ("alice.clinic grants lab as g", true),
        ("clinic anchors b", true),
        ("alice.clinic revokes g", true),
    ] {
        run(&mut world, script);
        heights.push((world.machine.height(), world.machine.app_hash(), is_there));
        world.decide(Vec::new());
        heights.push((world.machine.height(), world.machine.app_hash(), is_there));
    }
    let mut values = Vec::new();
    for (height, app_hash, is_there) in heights {
        let answer = world.machine.query(query::KEY, &path, height, Prove::Yes);
        assert_eq!((answer.code, answer.height), (0, height), "{}", answer.log);
        let value = (!answer.value.is_empty()).then_some(answer.value.as_slice());
        assert_eq!(value.is_some(), is_there);
        let proof = answer.proof.unwrap();
        assert_eq!(tree::verify(&app_hash, &path, value, &proof.data), Ok(()), "height {height}");
        assert!(tree::verify(&[7; 32], &path, value, &proof.data).is_err());
        assert!(tree::verify(&app_hash, &path, Some(b"other"), &proof.data).is_err());
        values.push(answer.value);
    }
    assert_ne!(values[2], values[6], "history keeps the grant as it was");
    let latest = world.machine.query(query::KEY, &path, 0, Prove::No);
    assert_eq!((latest.value, latest.proof), (values[6].clone(), None));
    assert_eq!(world.machine.query(query::KEY, &path, 1_000, Prove::Yes).code, 26);
}

#[test]
fn a_subspace_is_read_in_pages_without_gap_or_repeat() {
    let mut world = familiar();
    let records = QUERY_PAIRS_MAX * 2 + 5;
    for start in (0..records).step_by(500) {
        let names: Vec<String> = (start..records.min(start + 500)).map(|number| format!("r{number}")).collect();
        let anchors = message(&world, None, "clinic", &format!("anchors {}", names.join(" ")));
        let replay = Replay::UntilTime(START + 1 + start as i64 % 600);
        let transaction = world.signed_with("clinic", &[anchors], replay);
        assert_eq!(world.send(transaction).code, 0);
    }
    let prefix = [b"record/".as_slice(), address("clinic").as_bytes(), b"/"].concat();
    let mut found = Vec::new();
    let mut data = prefix.clone();
    loop {
        let answer = world.machine.query(query::SUBSPACE, &data, 0, Prove::No);
        assert_eq!(answer.code, 0, "{}", answer.log);
        let pairs = Pairs::decode(answer.value.as_slice()).unwrap();
        assert!(pairs.pairs.len() <= QUERY_PAIRS_MAX);
        found.extend(pairs.pairs.into_iter().map(|pair| pair.key));
        if pairs.next.is_empty() {
            break;
        }
        data = continuation(&prefix, &pairs.next);
    }
    let expected: Vec<Vec<u8>> = world.state().into_keys().filter(|key| key.starts_with(&prefix)).collect();
    assert_eq!(expected.len(), records);
    assert_eq!(found, expected);
}

#[test]
fn what_cannot_be_answered_says_so() {
    let world = familiar();
    let cases: [(&str, &[u8], u32); 9] = [
        ("/unknown", b"", 1),
        ("", b"", 1),
        (query::KEY, b"", 2),
        (query::SUBSPACE, b"", 2),
        (query::SUBSPACE, &[0, 9, 1], 2),
        (query::TRANSACTION, &[0; 31], 2),
        (query::TRANSACTION, &[0; 32], 22),
        (query::PATH, &[0xff], 2),
        (query::SIMULATE, &[0xff], 2),
    ];
    for (path, data, code) in cases {
        let answer = world.machine.query(path, data, 0, Prove::No);
        assert_eq!(answer.code, code, "{path}: {}", answer.log);
        assert!(!answer.log.is_empty());
    }
}
