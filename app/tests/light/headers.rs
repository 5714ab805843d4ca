//! Which headers are trusted, what is said of them, and which states they lead to.

use careledger_app::{abci::Application as _, keys};
use serde_json::{Value, json};
use tendermint_proto::v0_38::abci::RequestQuery;

use crate::{
    PARAMETERS, PROVEN, asked,
    chain::{BLOCKS, RETAINED, block_time},
    node::{Lie, Node},
    refused, run,
    support::{CHAIN, signer},
    trusted, with,
};

#[test]
fn nothing_is_trusted_that_nobody_said_to_trust() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::None).serve();
    let said = refused(home.path(), &node, &PROVEN);
    for words in ["no header is trusted yet", "light newest", "--trust-on-first-use"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(refused(home.path(), &node, &["light", "status"]).contains("trusts no header"));
    let unproven = ["query", "key", PARAMETERS, "--trust-on-first-use"];
    assert!(refused(home.path(), &node, &unproven).contains("add --prove"));
}

#[test]
fn an_answer_says_what_it_rests_on_and_the_next_call_goes_on_from_there() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::None).serve();
    let trust = trusted(2);
    let shown = asked(home.path(), &node, &with(&PROVEN, &trust));
    let proven = &shown["proven"];
    assert_eq!((&proven["chain_id"], &proven["header_height"]), (&json!(CHAIN), &json!(BLOCKS)));
    assert_eq!(proven["signed_by"], "3 of 3 validators with 30 of 30 voting power");
    let rests_on = proven["trusted"].as_str().unwrap();
    assert!(rests_on.contains("height 2") && rests_on.contains(&trust[3]) && rests_on.contains("by hand"), "{proven}");
    let status = asked(home.path(), &node, &["light", "status"]);
    assert_eq!((&status["height"], &status["since_height"]), (&json!(BLOCKS), &json!(2)));
    assert_eq!(asked(home.path(), &node, &PROVEN)["proven"]["trusted"], proven["trusted"], "kept in the home");
    let earlier = refused(home.path(), &node, &with(&PROVEN, &trusted(5)));
    assert!(earlier.contains("verified height 12 already"), "{earlier}");
    let newest = asked(home.path(), &node, &["light", "newest"]);
    assert_eq!((&newest["height"], &newest["hash"]), (&status["height"], &status["hash"]));
    let absent = run(home.path(), &node, &["query", "key", "00", "--prove"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("its absence is proven"));
    assert_eq!(asked(home.path(), &node, &["light", "forget"]), json!({"forgotten": true}));
    assert!(refused(home.path(), &node, &PROVEN).contains("no header is trusted yet"));
}

#[test]
fn an_old_answer_and_an_expired_header_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::None).serve();
    asked(home.path(), &node, &with(&PROVEN, &trusted(2)));
    let old = Node::new(Lie::Old).serve();
    let said = refused(home.path(), &old, &PROVEN);
    assert!(said.contains("was verified before"), "{said}");
    let period = [&PROVEN[..], &["--trusting-period", "1h"]].concat();
    let said = refused(home.path(), &node, &period);
    assert!(said.contains("trusting period of 3600 s") && said.contains("light newest"), "{said}");
    let period = [&PROVEN[..], &["--trusting-period", "1h", "--trust-on-first-use"]].concat();
    assert!(refused(home.path(), &node, &period).contains("trusting period"), "the first use is over");
}

#[test]
fn first_use_is_said_and_an_embedded_ledger_is_believed_only_on_demand() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::None).serve();
    let first = asked(home.path(), &node, &[&PROVEN[..], &["--trust-on-first-use"]].concat());
    assert!(first["proven"]["trusted"].as_str().unwrap().contains("first use, compared with nobody"), "{first}");
    let home = tempfile::tempdir().unwrap();
    let embedded = Node::new(Lie::Unsigned).serve();
    let said = refused(home.path(), &embedded, &[&PROVEN[..], &["--trust-on-first-use"]].concat());
    assert!(said.contains("--trust-node"), "{said}");
    let shown = asked(home.path(), &embedded, &[&PROVEN[..], &["--trust-node"]].concat());
    assert!(shown["proven"]["trusted"].as_str().unwrap().contains("no signature was checked"), "{shown}");
    assert!(!home.path().join("light").exists(), "nothing is kept of it");
}

#[test]
fn every_retained_height_and_time_is_proven_and_the_others_are_named() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::None);
    let expected: Vec<String> = (0..=BLOCKS)
        .map(|height| {
            let data = keys::account(&signer("hospital").address()).into_bytes().into();
            let path = "/store/careledger/key".to_owned();
            let height = height.cast_signed();
            hex::encode(node.ledger.query(RequestQuery { data, path, height, prove: false }).value)
        })
        .collect();
    let node = node.serve();
    let account = hex::encode(keys::account(&signer("hospital").address()).as_bytes());
    let ask = |option: &str, value: String| {
        let words = ["query", "key", &account, "--prove", option, &value];
        run(home.path(), &node, &with(&words, &trusted(11)))
    };
    let oldest = BLOCKS + 1 - RETAINED;
    for height in oldest..BLOCKS {
        let (from, until) = (block_time(height), block_time(height + 1));
        let moments = [from, until - 1].map(|time| ("--at-time", time.to_string()));
        for (option, value) in [("--at-height", height.to_string())].into_iter().chain(moments) {
            let output = ask(option, value.clone());
            assert!(output.status.success(), "{option} {value}: {}", String::from_utf8_lossy(&output.stderr));
            let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(shown["proven"]["state_height"], json!(height), "{option} {value}");
            assert_eq!(shown["value"], json!(expected[usize::try_from(height).unwrap()]), "{option} {value}");
        }
    }
    assert_ne!(expected[9], expected[10], "its sequence is another at each height");
    for (option, value, said) in [
        (
            "--at-height",
            oldest - 1,
            format!("height {} is not retained by this node: {oldest} to {BLOCKS} are", oldest - 1),
        ),
        ("--at-height", BLOCKS + 1, format!("height {} has not come: the newest is {BLOCKS}", BLOCKS + 1)),
        ("--at-time", block_time(oldest) - 1, format!("{oldest} to {BLOCKS} are")),
        ("--at-time", block_time(1) - 1, "the node's blocks begin at height 1".to_owned()),
        ("--at-time", block_time(BLOCKS), "what stands later is not known yet".to_owned()),
    ] {
        let output = ask(option, value.to_string());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{option} {value}");
        assert!(stderr.contains(&said) && stderr.contains("next: "), "{option} {value}: {stderr}");
    }
}
