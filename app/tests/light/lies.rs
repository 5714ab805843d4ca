//! Nodes that lie, each refused by its lie's own name.

use careledger_app::client::{Client, ClientError};
use serde_json::json;

use crate::{
    PARAMETERS, PROVEN, asked,
    node::{Lie, Node, PAGE_PAIRS, VALUE_BYTES},
    refused, trusted, with,
};

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
        let words = [with(&PROVEN, &trust), vec!["--witness", &*witness]].concat();
        match expected {
            None => assert_eq!(asked(home.path(), &node, &words)["proven"]["witnesses"], json!([&*witness])),
            Some(expected) => {
                let said = refused(home.path(), &node, &words);
                assert!(said.contains(expected) && said.contains(&*witness), "{said}");
            }
        }
    }
}

/// A node that always had one more page filled the memory of who asked it.
#[tokio::test]
async fn a_list_that_goes_on_and_on_is_left_at_its_bound() {
    let prefix = b"made-up/";
    let [ending, endless] = [5, u64::MAX].map(|pages| Node::new(Lie::Pages(prefix, pages)).serve());
    let bytes = |pairs: usize| pairs * (prefix.len() + 8 + VALUE_BYTES);
    let all = usize::try_from(5 * PAGE_PAIRS).unwrap();
    let ending = Client::new(&ending).unwrap();
    for (first, bytes_max, expected) in [
        (None, bytes(all), Some(all)),
        (None, bytes(all) - 1, None),
        (Some(all + 1), bytes(all), Some(all)),
        // What follows the first is not read, and counts for nothing.
        (Some(150), bytes(150), Some(150)),
        (Some(150), bytes(150) - 1, None),
    ] {
        match ending.list(prefix, first, bytes_max).await {
            Ok(listed) => assert_eq!(Some(listed.len()), expected, "{first:?} {bytes_max}"),
            Err(error) => {
                assert!(expected.is_none() && matches!(error, ClientError::TooLong { .. }), "{bytes_max}: {error}");
            }
        }
    }
    let listed = Client::new(&endless).unwrap().list(prefix, None, bytes(all)).await;
    assert!(matches!(listed, Err(ClientError::TooLong { .. })), "{listed:?}");
}
