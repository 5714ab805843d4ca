//! Every reject code is given by a test that runs: by the shortest script that gives it
//! (`codes.txt`), by bytes that no script writes, or by a named test of its own.

use std::collections::BTreeSet;

use careledger_app::{
    keys::TreeId,
    limits::{MESSAGES_PER_TRANSACTION_MAX, TX_BYTES_MAX, UNORDERED_SECONDS_MAX},
    machine::Machine,
    reject::Reject,
    state::StateRead as _,
    store::{Store as _, memory::MemoryStore},
};
use careledger_wire::{proto::state::Tree, transaction::Replay};
use careledger_zk::tree::LEAVES_MAX;
use prost::Message as _;

use crate::{
    script::{familiar, message, run},
    world::{START, World, name_of},
};

/// Codes that take a whole block, or a network of another genesis: the test that gives each.
const TESTED: [(&str, &str, &str); 7] = [
    ("TooManyProofs", "blocks.rs", "a_block_checks_a_bounded_number_of_proofs"),
    ("TooMuchWork", "blocks.rs", "a_block_computes_a_bounded_number_of_hashes"),
    ("QuotaUsed", "sponsors.rs", "an_account_sends_its_quota_in_each_window"),
    ("TooManyWaiting", "fairness.rs", "an_account_has_a_bounded_number_waiting"),
    ("LastValidator", "governance/validators.rs", "those_who_stay_can_always_decide_and_somebody_stays"),
    ("TooManyValidators", "governance/validators.rs", "there_are_never_more_validators_than_the_limit"),
    ("ValidatorsJustChanged", "governance/validators.rs", "a_block_changes_one_validator"),
];

/// The scripts of `codes.txt`: code, beginning, lines.
fn scripts() -> Vec<(&'static str, &'static str, String)> {
    let blocks = include_str!("codes.txt").split("\n\n").skip(1);
    let script = |block: &'static str| {
        let (head, lines) = block.trim_start().split_once('\n').expect("a head and lines");
        let (code, rest) = head.split_once(" on a ").expect("CODE on a KIND chain");
        (code, rest.strip_suffix(" chain").expect("CODE on a KIND chain"), lines.to_owned())
    };
    blocks.map(script).collect()
}

#[test]
fn each_script_of_the_list_ends_with_its_code() {
    for (code, beginning, lines) in scripts() {
        let mut world = match beginning {
            "new" => World::new(),
            "familiar" => familiar(),
            other => panic!("{code} begins on no {other} chain"),
        };
        let answers = run(&mut world, &lines);
        let (last, before) = answers.split_last().expect("a script sends something");
        assert_eq!(*last, code, "{lines}");
        assert!(before.iter().all(|answer| *answer == "ok"), "{code}: {before:?}");
    }
}

/// What bytes give that no script writes.
fn of_bytes() -> Vec<(&'static str, &'static str)> {
    let world = familiar();
    let anchors = message(&world, None, "clinic", "anchors a");
    let many = vec![anchors.clone(); MESSAGES_PER_TRANSACTION_MAX + 1];
    let mut forged = world.signed("clinic", std::slice::from_ref(&anchors));
    *forged.last_mut().expect("a signature") ^= 1;
    let with = |replay| world.signed_with("clinic", std::slice::from_ref(&anchors), replay);
    let cases = [
        ("Malformed", vec![7; 200]),
        ("TooLarge", vec![7; TX_BYTES_MAX + 1]),
        ("TooManyMessages", world.signed("clinic", &many)),
        ("BadSignature", forged),
        ("WrongSequence", with(Replay::Sequence(99))),
        ("TransactionExpired", with(Replay::UntilTime(START))),
        ("TimeoutTooFar", with(Replay::UntilTime(START + UNORDERED_SECONDS_MAX + 1))),
    ];
    let mut given: Vec<_> = cases.into_iter().map(|(code, bytes)| (code, name_of(&familiar().send(bytes)))).collect();
    let again = with(Replay::UntilTime(START + 5));
    let mut world = familiar();
    assert_eq!(name_of(&world.send(again.clone())), "ok");
    given.push(("AlreadyExecuted", name_of(&world.send(again))));
    given
}

#[test]
fn bytes_that_no_script_writes_are_refused_with_their_codes() {
    for (code, answer) in of_bytes() {
        assert_eq!(answer, code);
    }
}

/// A chain whose tree of attestations has as many leaves as a tree has places.
fn full() -> World {
    let world = familiar();
    let tree = TreeId::Attestations.tree();
    let filled = |machine: Machine<MemoryStore>| {
        let mut store = machine.into_store();
        let value = Tree { leaves: LEAVES_MAX, ..store.get(&tree).unwrap_or_default() }.encode_to_vec();
        let changes = [(tree.as_bytes().to_vec(), Some(value))].into();
        let staged = store.stage(store.height() + 1, store.time(), changes, Vec::new());
        store.commit(staged);
        Machine::new(store)
    };
    World { machine: filled(world.machine), replica: filled(world.replica), time: world.time }
}

#[test]
fn a_full_tree_takes_no_commitment_and_the_chain_goes_on() {
    let mut world = full();
    let answers = run(&mut world, "clinic attests fact\npayer covers fact\nclinic anchors a");
    assert_eq!(answers, ["TreeFull", "ok", "ok"]);
}

#[test]
fn every_code_is_given_by_a_test_that_runs() {
    let mut given: BTreeSet<&str> = scripts().into_iter().map(|(code, ..)| code).collect();
    given.extend(of_bytes().into_iter().map(|(code, _)| code));
    given.insert("TreeFull");
    for (code, file, test) in TESTED {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ledger").join(file);
        let text = std::fs::read_to_string(path).expect("the file is there");
        let body = text.split(&format!("#[test]\nfn {test}() {{")).nth(1).and_then(|rest| rest.split("\n}\n").next());
        let body = body.unwrap_or_else(|| panic!("{file} has no test {test}"));
        assert!(body.contains(&format!("\"{code}\"")), "{test} should give {code}");
        assert!(given.insert(code), "{code} is given by a script already");
    }
    let missing: Vec<_> = Reject::TABLE.iter().map(|row| row.1).filter(|code| !given.contains(code)).collect();
    assert!(missing.is_empty(), "no test gives {missing:?}");
    assert_eq!(given.len(), Reject::TABLE.len(), "a code that is none is listed");
}
