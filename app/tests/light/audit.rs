//! `query audit`: what is held against a custodian is proven, and never a node's word.

use serde_json::json;

use crate::{
    asked,
    chain::{BLOCKS, Story},
    node::{Lie, Node},
    refused,
    support::signer,
};

/// `query audit` of the hospital.
fn audit<'a>(account: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["query", "audit", account], more].concat()
}

#[test]
fn an_access_log_is_audited_against_what_validators_signed() {
    let node = Node::of(Story::Log, Lie::None);
    let hash = hex::encode(node.truth[1].signed_header.header.hash().as_bytes());
    let (home, node) = (tempfile::tempdir().unwrap(), node.serve());
    let account = signer("hospital").address().to_string();
    let shown = asked(home.path(), &node, &audit(&account, &["--trust-height", "2", "--trust-hash", &hash]));
    assert_eq!((&shown["batches"], &shown["leaves"]), (&json!(BLOCKS - 2), &json!(3 * (BLOCKS - 2))));
    assert_eq!(shown["proven"]["signed_by"], "3 of 3 validators with 30 of 30 voting power");
    let noted = shown["note"].as_str().unwrap().strip_prefix("--since ").unwrap();
    asked(home.path(), &node, &audit(&account, &["--since", noted]));
    // The only contradiction that is the custodian's: its proven log does not begin as was noted.
    let said = refused(home.path(), &node, &audit(&account, &["--since", &format!("1:{}", "ab".repeat(32))]));
    assert!(said.contains("rewritten") && said.contains("ask the custodian"), "{said}");
    let stranger = signer("stranger").address().to_string();
    assert!(refused(home.path(), &node, &audit(&stranger, &[])).contains("its absence is proven"));
}

/// What a node made up was held against the custodian, or called proven, before anybody looked who signed it.
#[test]
fn a_custodian_was_accused_on_the_word_of_a_node() {
    let account = signer("hospital").address().to_string();
    let honest = Node::of(Story::Log, Lie::None);
    let hash = hex::encode(honest.truth[1].signed_header.header.hash().as_bytes());
    let honest = honest.serve();
    let batches = b"access-log-batch/";
    let noted = format!("1:{}", "ab".repeat(32));
    let cases: [(Lie, &[&str], &str); 6] = [
        // A state of its own, in which the hospital has no log.
        (Lie::State, &[], "another app hash than the validators signed"),
        (Lie::State, &["--since", &noted], "another app hash than the validators signed"),
        (Lie::LeavesOut(batches), &["--since", &noted], "the log has 10 batches, the node shows 9"),
        (Lie::Alters(batches), &["--since", &noted], "do not give the root that the ledger proves"),
        (Lie::Circles(batches), &["--since", &noted], "cannot be read"),
        (Lie::Long(batches), &[], "was not read to its end\nnext: ask another node"),
    ];
    for (lie, words, expected) in cases {
        let home = tempfile::tempdir().unwrap();
        let trust = ["--trust-height", "2", "--trust-hash", &hash];
        asked(home.path(), &honest, &["light", "update", trust[0], trust[1], trust[2], trust[3]]);
        let node = Node::of(Story::Log, lie).serve();
        let said = refused(home.path(), &node, &audit(&account, words));
        assert!(said.contains(expected), "{lie:?}: {said}");
        assert!(
            !said.contains("custodian") && !said.contains("rewritten") && !said.contains("absence"),
            "{lie:?}: {said}"
        );
    }
}
