//! `careledgerd query --prove` against nodes that answer truly, and against nodes that lie.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod node;
#[path = "../support/mod.rs"]
mod support;

use std::{path::Path, process::Output};

use careledger_app::{abci::Application as _, keys};
use node::{BLOCKS, Lie, Node, RETAINED, block_time};
use serde_json::{Value, json};
use support::{CHAIN, careledgerd, signer};
use tendermint_proto::v0_38::abci::RequestQuery;

const PARAMETERS: &str = "706172616d6574657273";
fn run(home: &Path, node: &str, words: &[&str]) -> Output {
    careledgerd(home).args(words).args(["--node", node, "--output", "json"]).output().unwrap()
}

fn asked(home: &Path, node: &str, words: &[&str]) -> Value {
    let output = run(home, node, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a refused command says, and that it prints no value.
fn refused(home: &Path, node: &str, words: &[&str]) -> String {
    let output = run(home, node, words);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

const PROVEN: [&str; 4] = ["query", "key", PARAMETERS, "--prove"];

/// Height and hash that the tests trust, as another node's operator tells them.
fn trusted(height: usize) -> [String; 4] {
    let node = Node::new(Lie::None);
    let hash = hex::encode(node.truth[height - 1].signed_header.header.hash().as_bytes());
    ["--trust-height".to_owned(), height.to_string(), "--trust-hash".to_owned(), hash]
}

fn with<'a>(words: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    words.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

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
fn a_node_that_lies_is_refused_by_the_lies_own_name() {
    let at_height = ["query", "key", PARAMETERS, "--prove", "--at-height", "8"];
    let cases: [(Lie, &[&str], &str); 10] = [
        (Lie::Value, &at_height, "does not lead from this key and value"),
        (Lie::Key, &at_height, "does not lead from this key and value"),
        (Lie::Height, &at_height, "does not lead from this key and value"),
        (Lie::Header, &at_height, "does not lead from this key and value"),
        (Lie::State, &PROVEN, "not the one that its signatures are for"),
        (Lie::State, &at_height, "not the one that its signatures are for"),
        (Lie::Strangers, &PROVEN, "are not those of its header"),
        (Lie::Validators, &PROVEN, "are not those of its header"),
        (Lie::Unsigned, &PROVEN, "has no validators"),
        (Lie::Chain, &PROVEN, "the node's chain is `elsewhere`"),
    ];
    let trust = trusted(2);
    let honest = Node::new(Lie::None).serve();
    for (lie, words, expected) in cases {
        let home = tempfile::tempdir().unwrap();
        // The home knows the header of height 6; from here on the node lies.
        asked(home.path(), &honest, &with(&["query", "key", PARAMETERS, "--prove", "--at-height", "5"], &trust));
        let node = Node::new(lie).serve();
        let said = refused(home.path(), &node, words);
        assert!(said.contains(expected), "{lie:?}: {said}");
    }
}

/// A forged header whose proof is sound is a header that nobody signed.
#[test]
fn a_forged_header_is_refused_when_it_is_first_trusted() {
    for (lie, expected) in [(Lie::Header, "not the one that its signatures are for"), (Lie::Unsigned, "--trust-node")] {
        let home = tempfile::tempdir().unwrap();
        let node = Node::new(lie).serve();
        let said = refused(home.path(), &node, &["light", "update", "--trust-on-first-use"]);
        assert!(said.contains(expected), "{said}");
        assert!(!home.path().join("light").exists(), "nothing is kept");
    }
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::Strangers).serve();
    let said = refused(home.path(), &node, &with(&PROVEN, &trusted(2)));
    assert!(said.contains("the trusted one is"), "{said}");
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
fn witnesses_that_agree_are_named_and_those_that_do_not_are_told_apart() {
    let node = Node::new(Lie::None).serve();
    let trust = trusted(2);
    for (lie, expected) in [
        (Lie::None, None),
        (Lie::Header, Some("which does not hold")),
        (Lie::Fork, Some("validators signed two headers of height 12")),
    ] {
        let home = tempfile::tempdir().unwrap();
        let witness = Node::new(lie).serve();
        let words = [with(&PROVEN, &trust), vec!["--witness", &witness]].concat();
        match expected {
            None => assert_eq!(asked(home.path(), &node, &words)["proven"]["witnesses"], json!([witness])),
            Some(expected) => {
                let said = refused(home.path(), &node, &words);
                assert!(said.contains(expected) && said.contains(&witness), "{said}");
            }
        }
    }
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
