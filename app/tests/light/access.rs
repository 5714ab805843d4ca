//! `query access`: what of a list of who may see is proven, and what is a node's word.

use std::process::Output;

use careledger_app::keys;
use serde_json::{Value, json};

use crate::{
    chain::{COUNTED_FROM, GUARDED_FROM, Story, guardian, subject},
    node::{Lie, Node},
    run,
};

const FIRST_USE: &str = "--trust-on-first-use";

/// `query access` at a height (0: the newest) of the chain in which a patient grants.
fn access(node: &str, height: u64, trust: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    let (subject, height_text) = (hex::encode(subject().as_bytes()), height.to_string());
    let mut words = vec!["query", "access", &subject, "--prove", trust];
    if height > 0 {
        words.extend(["--at-height", &height_text]);
    }
    run(home.path(), node, &words)
}

fn shown(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn listed(output: &Output) -> (usize, usize, bool) {
    let shown = shown(output);
    let count = |name: &str| shown[name].as_object().unwrap().len();
    (count("grants"), count("emergencies"), shown["complete"].as_bool().unwrap())
}

/// Whether it is said that something is the node's word.
fn is_said(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stderr).contains("is the node's word")
}

#[test]
fn a_list_of_who_may_see_is_proven_to_be_complete_once_the_state_counts() {
    let node = Node::of(Story::Consents, Lie::None).serve();
    for (height, grants, emergencies) in [(5, 1, 1), (6, 2, 1), (COUNTED_FROM - 1, 2, 1)] {
        let output = access(&node, height, FIRST_USE);
        assert_eq!(listed(&output), (grants, emergencies, false), "height {height}");
        assert!(is_said(&output), "height {height}: it is said that nothing counts them there");
    }
    // The migration counted what was there before, and each new one counts itself.
    for (height, grants, emergencies) in [(COUNTED_FROM, 2, 1), (9, 3, 1), (10, 3, 2), (0, 3, 2)] {
        let output = access(&node, height, FIRST_USE);
        assert_eq!(listed(&output), (grants, emergencies, true), "height {height}");
        assert!(!is_said(&output), "height {height}");
    }
}

#[test]
fn a_node_that_leaves_out_who_may_see_is_found() {
    for (prefix, expected) in [
        (keys::CONSENTS, "the ledger counts 3 grants of this subject, the node showed 2"),
        (keys::EMERGENCIES, "the ledger counts 2 emergencies of this subject, the node showed 1"),
    ] {
        let node = Node::of(Story::Consents, Lie::LeavesOut(prefix)).serve();
        let output = access(&node, 0, FIRST_USE);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "nothing of it is printed: {said}");
        assert!(said.contains(expected) && said.contains("ask another node"), "{said}");
        // Where nothing counts, it is believed, and says so.
        assert!(!listed(&access(&node, COUNTED_FROM - 1, FIRST_USE)).2);
    }
}

/// Where the node's header is believed, its count of grants is no more than its word.
#[test]
fn a_list_is_not_called_complete_under_trust_node() {
    let node = Node::of(Story::Consents, Lie::None).serve();
    for height in [0, 9, COUNTED_FROM] {
        let output = access(&node, height, "--trust-node");
        assert!(!listed(&output).2 && is_said(&output), "height {height}");
        assert_eq!(shown(&output)["may_lack"], json!(["grants", "emergencies", "guardians"]), "height {height}");
    }
}

#[test]
fn guardians_are_listed_as_they_stood_and_said_to_be_perhaps_not_all() {
    let node = Node::of(Story::Consents, Lie::None).serve();
    let guardian = guardian().address().to_string();
    let at = |height: u64| shown(&access(&node, height, FIRST_USE))["guardians"].clone();
    assert_eq!(at(GUARDED_FROM - 1), json!({}), "nobody was appointed yet");
    for height in [GUARDED_FROM, COUNTED_FROM, 0] {
        let guardians = at(height);
        assert_eq!(guardians.as_object().unwrap().keys().collect::<Vec<_>>(), [&guardian], "height {height}");
        assert_eq!(guardians[&guardian]["approved_by_subject"], Value::Null, "both approved: it is in force");
    }
    let newest = shown(&access(&node, 0, FIRST_USE));
    assert_eq!(newest["may_lack"], json!(["guardians"]));
    assert_eq!(shown(&access(&node, COUNTED_FROM - 1, FIRST_USE))["may_lack"].as_array().unwrap().len(), 3);
    // Nothing counts them, so a node that leaves one out is not found: that is why it is said.
    let silent = Node::of(Story::Consents, Lie::LeavesOut(b"guardianship/")).serve();
    let without = shown(&access(&silent, 0, FIRST_USE));
    assert_eq!((&without["guardians"], &without["may_lack"]), (&json!({}), &json!(["guardians"])));
    assert_eq!(without["complete"], json!(true), "of grants and emergencies");
}
