//! Old blocks replay and old clients work: bytes that must never change.
//!
//! To refresh on purpose: `UPDATE_GOLDEN=1 cargo test --workspace --features careledger_zk/prover --test ledger golden`.

use std::{collections::BTreeMap, env, fs, path::Path};

use careledger_app::{
    machine::Block,
    store::tree::{self, Tree, key_hash},
};
use careledger_wire::transaction::Transaction;
use serde_json::{Value, json};

use crate::{
    script::{familiar, message},
    world::{CHAIN, START, World, genesis, machine, name_of},
};

/// Every transaction once, in one block: sender, messages.
const EVERY: &[(&str, &str)] = &[
    ("r1", "registers new as provider"),
    ("r2", "registers new as provider"),
    ("clinic", "enrols nurse"),
    ("clinic", "opens carol.clinic"),
    ("bob.clinic", "claims bob.clinic"),
    ("lab", "requests alice.clinic as q"),
    ("alice.clinic", "grants lab as g for q"),
    ("clinic", "anchors a b"),
    ("payer", "publishes gold"),
    ("chemist", "logs 1"),
];

/// Then, in a second block, what builds on it.
const THEN: &[(&str, &str)] = &[
    ("alice.clinic", "revokes g"),
    ("clinic", "supersedes a:2"),
    ("lab", "attests fact"),
    ("payer", "covers alice"),
    ("r3", "suspends new"),
];

/// And in a third.
const LAST: &[(&str, &str)] = &[("clinic", "marks a:2"), ("lab", "proves gold claim c event e period p")];

/// The registrars agree on an upgrade,
const AGREED: [&[(&str, &str)]; 2] = [
    &[("r1", "proposes up upgrade 2 in 2"), ("clinic", "suspends-staff nurse")],
    &[("r2", "votes up"), ("r3", "proposes q parameter offences-tolerated 1"), ("clinic", "logs 1")],
];

/// which is made before the transactions of this block.
const UPGRADED: &[(&str, &str)] = &[("r3", "rescinds q"), ("chemist", "logs 2"), ("lab", "logs 1")];

/// Records after the upgrade.
const RECORDS: [&[(&str, &str)]; 4] = [
    &[("clinic", "batches many"), ("lab", "anchors x y")],
    &[("clinic", "extracts many/3 from many"), ("lab", "asks chemist to sign x"), ("r2", "holds lab y")],
    &[("chemist", "signs lab x"), ("lab", "holds lab y"), ("r3", "releases lab y")],
    &[("clinic", "shreds many/3"), ("lab", "shreds x"), ("alice.clinic", "disputes 1")],
];

/// An attestation ends before its time.
const REVOCATIONS: &[(&str, &str)] = &[("lab", "unattests fact")];

/// Every transaction, block by block: sender, messages.
pub fn blocks() -> [&'static [(&'static str, &'static str)]; 19] {
    let [agreed, then] = AGREED;
    let [r1, r2, r3, r4] = RECORDS;
    let [c1, c2, c3, c4, c5] = CONSENT;
    [
        EVERY,
        THEN,
        LAST,
        agreed,
        then,
        UPGRADED,
        r1,
        r2,
        r3,
        r4,
        c1,
        c2,
        c3,
        c4,
        c5,
        KEYS,
        FEWER_KEYS,
        RECOVERY,
        REVOCATIONS,
    ]
}

/// Consent beyond granting and revoking, block by block: a sender sends once in each.
const CONSENT: [&[(&str, &str)]; 5] = [
    &[
        ("r1", "registers clinic as provider emergency"),
        ("alice.clinic", "grants lab as h delegable"),
        ("bob.clinic", "preapproves lab as s"),
        ("clinic", "appoints uncle on alice.clinic"),
    ],
    &[
        ("r2", "registers clinic as provider emergency"),
        ("alice.clinic", "amends h to 2 delegable"),
        ("lab", "requests bob.clinic as u under s"),
    ],
    &[
        ("clinic", "breaks alice.clinic as e by doctor"),
        ("lab", "delegates h to payer as d on alice.clinic"),
        ("bob.clinic", "withdraws s"),
        ("alice.clinic", "appoints uncle"),
    ],
    &[("lab", "reviews e on alice.clinic"), ("alice.clinic", "revokes h")],
    &[("alice.clinic", "reinstates h"), ("uncle", "grants lab as i on alice.clinic")],
];

/// Keys of accounts, and recovery, in blocks of their own.
const KEYS: &[(&str, &str)] = &[
    ("alice.clinic", "adds phone as device"),
    ("clinic", "adds next as full"),
    ("doctor", "adds tablet as device"),
    ("bob.clinic", "guards 1 of doctor"),
    ("lab", "enrols helper bound"),
];
const FEWER_KEYS: &[(&str, &str)] = &[
    ("alice.clinic", "removes phone"),
    ("clinic@next", "removes clinic"),
    ("doctor@tablet", "approves rescue for bob.clinic"),
    ("payer", "sees other for alice.clinic"),
];
const RECOVERY: &[(&str, &str)] = &[
    ("alice.clinic", "vetoes"),
    ("doctor", "restores bob.clinic with rescue"),
    ("clinic@next", "opens dave.clinic bound"),
];

/// A day later, one transaction of a sender in each block, so that each takes effect.
const DAY_AFTER: [&[(&str, &str)]; 4] = [
    &[("clinic@next", "opens carol.clinic"), ("doctor", "restores bob.clinic with rescue")],
    &[("carol.clinic", "claims carol.clinic"), ("clinic@next", "anchors a b")],
    &[("clinic@next", "supersedes a:2")],
    &[("clinic@next", "marks a:2")],
];

/// The upgrade from which on subjects count, and one of each kind that they count.
const COUNTED: [&[(&str, &str)]; 5] = [
    &[("r1", "proposes third upgrade 3 in 2 until 400000")],
    &[("r2", "votes third"), ("alice.clinic", "grants lab as j until 400000 delegable")],
    &[
        ("alice.clinic", "preapproves lab as t until 400000"),
        ("lab", "delegates j to payer as k until 400000 on alice.clinic"),
    ],
    &[("lab", "requests alice.clinic as v under t until 400000"), ("clinic@next", "enrols doctor")],
    &[("alice.clinic", "grants lab as l until 400000"), ("clinic@next", "breaks alice.clinic as f by doctor")],
];

fn hexed(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(hex::encode(bytes))
}

fn golden_block(world: &mut World, requests: &[(&str, &str)]) -> Value {
    let before = world.state();
    let mut transactions = Vec::new();
    let mut vectors = Vec::new();
    for (sender, part) in requests {
        let bytes = world.signed(sender, &[message(world, None, sender, part)]);
        let transaction = Transaction::decode(&bytes).expect("a transaction of ours");
        vectors.push(json!({
            "sender": sender,
            "asks": part,
            "type_url": transaction.messages()[0].type_url(),
            "bytes": hexed(&bytes),
            "hash": hexed(transaction.hash().as_bytes()),
            "sign_digest": hexed(transaction.sign_digest(CHAIN, world.account(sender).0)),
        }));
        transactions.push(bytes);
    }
    let outcomes = world.decide(transactions);
    for (vector, outcome) in vectors.iter_mut().zip(&outcomes) {
        vector["answer"] = json!(name_of(outcome));
        vector["data"] = hexed(&outcome.data);
    }
    let after = world.state();
    let written: serde_json::Map<String, Value> = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value))
        .map(|(key, value)| (key.escape_ascii().to_string(), hexed(value)))
        .collect();
    json!({
        "height": world.machine.height(),
        "time": START + world.time,
        "transactions": vectors,
        "written": written,
        "app_hash": hexed(world.machine.app_hash()),
    })
}

#[test]
fn every_transaction_keeps_its_bytes_keys_values_and_app_hash() {
    let mut world = familiar();
    let mut blocks: Vec<Value> = blocks().map(|requests| golden_block(&mut world, requests)).into();
    for requests in DAY_AFTER {
        world.time += 86_400;
        blocks.push(golden_block(&mut world, requests));
    }
    assert_eq!(world.machine.state_version(), 2);
    blocks.extend(COUNTED.map(|requests| golden_block(&mut world, requests)));
    assert_eq!(world.machine.state_version(), 3);
    let covered: std::collections::BTreeSet<&str> = blocks
        .iter()
        .flat_map(|block| block["transactions"].as_array().unwrap())
        .filter(|vector| vector["answer"] == "ok")
        .filter_map(|vector| vector["type_url"].as_str())
        .collect();
    let missing: Vec<&str> =
        careledger_wire::message::Message::TYPE_URLS.iter().copied().filter(|url| !covered.contains(url)).collect();
    assert!(missing.is_empty(), "a refusal pins no rule: {missing:?} never take effect here");
    compare("blocks.json", &json!({ "chain_id": CHAIN, "blocks": blocks }));
}

#[test]
fn genesis_keeps_its_app_hash() {
    let machine = machine(&genesis());
    let state: serde_json::Map<String, Value> =
        machine.store().pairs().iter().map(|(key, value)| (key.escape_ascii().to_string(), hexed(value))).collect();
    compare(
        "genesis.json",
        &json!({
            "chain_id": CHAIN,
            "time": START,
            "app_state": genesis(),
            "state": state,
            "app_hash": hexed(machine.app_hash()),
        }),
    );
}

/// The blocks of the file, as another node would replay them: the bytes alone give the same hashes.
#[test]
fn golden_blocks_replay() {
    let mut machine = familiar().machine;
    let golden: Value = serde_json::from_str(&fs::read_to_string(path("blocks.json")).unwrap()).unwrap();
    for block in golden["blocks"].as_array().unwrap() {
        let bytes = |vector: &Value| hex::decode(vector["bytes"].as_str().unwrap()).unwrap();
        let transactions = block["transactions"].as_array().unwrap().iter().map(bytes).collect();
        let height = block["height"].as_u64().unwrap();
        let finalized = machine.finalize(&Block { height, time: block["time"].as_i64().unwrap(), transactions });
        machine.commit();
        assert_eq!(hexed(finalized.app_hash), block["app_hash"], "height {height}");
    }
    assert!(machine.store().pairs().values().all(|value| !value.is_empty()), "ICS 23 cannot prove an empty value");
}

/// What other implementations of ICS 23 verify (tests/ics23).
#[test]
fn golden_proofs_and_their_specification_stay() {
    let state = familiar().state();
    let lone: BTreeMap<Vec<u8>, Vec<u8>> =
        state.iter().take(1).map(|(key, value)| (key.clone(), value.clone())).collect();
    let spec = tree::spec();
    let (leaf, inner) = (spec.leaf_spec.expect("of leaves"), spec.inner_spec.expect("of the others"));
    let every = [proofs("many", &state), proofs("one", &lone)].concat();
    let actual = json!({
        "spec": {
            "hash": "sha256",
            "leaf_prefix": hex::encode(leaf.prefix),
            "inner_prefix": hex::encode("JMT::IntrnalNode"),
            "empty_child": hex::encode(inner.empty_child),
            "child_size": inner.child_size,
            "max_depth": spec.max_depth,
            "prehash_key_before_comparison": spec.prehash_key_before_comparison,
        },
        "proofs": every,
    });
    assert_eq!(inner.max_prefix_length, i32::try_from("JMT::IntrnalNode".len()).unwrap());
    compare("proofs.json", &actual);
}

/// Proofs under the tree of these pairs: of its first, middle and last leaf, and of keys before, between
/// and after them all.
fn proofs(name: &str, pairs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<Value> {
    let made = Tree::of(pairs.clone());
    let root = made.root();
    let mut present: Vec<&Vec<u8>> = pairs.keys().collect();
    present.sort_by_key(|key| key_hash(key));
    let (first, middle, last) = (present[0], present[present.len() / 2], present[present.len() - 1]);
    let absent = |fits: &dyn Fn([u8; 32]) -> bool| {
        let keys = (0u32..).map(|number| format!("absent/{number}").into_bytes());
        keys.into_iter().find(|key| fits(key_hash(key))).expect("hashes are everywhere")
    };
    let before = absent(&|hash| hash < key_hash(first));
    let after = absent(&|hash| hash > key_hash(last));
    let mut asked = vec![("first", first.clone()), ("before all", before), ("after all", after)];
    if present.len() > 1 {
        let between = absent(&|hash| key_hash(middle) < hash && hash < key_hash(last));
        asked.extend([("middle", middle.clone()), ("last", last.clone()), ("between", between)]);
    }
    let proof = |(case, key): (&str, Vec<u8>)| {
        let proven = made.prove(&key, |key| pairs[key].clone()).expect("the tree is not empty");
        assert_eq!(tree::verify(&root, &key, proven.value.as_deref(), &proven.proof), Ok(()), "{case} of {name}");
        json!({
            "case": format!("{case} of {name}"), "root": hex::encode(root), "key": hex::encode(&key),
            "value": proven.value.map(hex::encode), "proof": hex::encode(proven.proof),
        })
    };
    asked.into_iter().map(proof).collect()
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn compare(name: &str, actual: &Value) {
    if env::var_os("UPDATE_GOLDEN").is_some() {
        let text = serde_json::to_string_pretty(actual).expect("a value is JSON");
        fs::write(path(name), format!("{text}\n")).expect("the file is written");
    }
    let golden = fs::read_to_string(path(name)).unwrap_or_default();
    let golden: Value = serde_json::from_str(&golden).unwrap_or_default();
    assert_eq!(&golden, actual, "{name} changed: a fork, unless no chain runs this yet (see this file's head)");
}
