//! The core is a pure function of state and block: what its sources may not name.

use std::{fs, path::Path};

/// The core, below `src`. Everything else is the node.
const CORE: &[&str] = &[
    "access_log_tree.rs",
    "accounts.rs",
    "actions.rs",
    "actions",
    "events.rs",
    "evidence.rs",
    "genesis.rs",
    "genesis",
    "insurance.rs",
    "governance.rs",
    "keys.rs",
    "keys",
    "limits.rs",
    "machine.rs",
    "machine",
    "proofs.rs",
    "query.rs",
    "reject.rs",
    "signatures.rs",
    "state.rs",
    "store.rs",
    "store/memory.rs",
    "store/tree.rs",
    "subject_counts.rs",
    "types.rs",
    "upgrade.rs",
    // The access decision, which the ledger's actions share with gateways.
    "../wire/src/decision.rs",
    "../wire/src/decision",
    "../wire/src/terms.rs",
];

/// What would let two validators compute different states, and why.
const BANNED: &[(&str, &str)] = &[
    ("SystemTime", "time arrives in BlockContext"),
    ("Instant", "time arrives in BlockContext"),
    ("std::env", "validators' environments differ"),
    ("std::fs", "state arrives through StateRead"),
    ("std::net", "the core does no I/O"),
    ("std::thread", "parallel reading is rayon's, and its results are ordered"),
    ("async ", "the core does not wait"),
    ("tokio", "the core does not wait"),
    ("rand", "randomness differs from node to node"),
    ("getrandom", "randomness differs from node to node"),
    ("HashMap", "its order differs from node to node"),
    ("HashSet", "its order differs from node to node"),
    ("f32", "floating point differs from machine to machine"),
    ("f64", "floating point differs from machine to machine"),
    ("rocksdb", "the core does not know its store"),
    ("tendermint", "only abci knows CometBFT's types"),
];

fn sources(path: &Path, found: &mut Vec<(String, String)>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("the folder is readable") {
            sources(&entry.expect("the entry is readable").path(), found);
        }
    } else {
        found.push((path.display().to_string(), fs::read_to_string(path).expect("sources are UTF-8")));
    }
}

/// Code without comments and tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Whether `text` names `word` as a whole.
fn names(text: &str, word: &str) -> bool {
    let is_part = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    text.match_indices(word).any(|(place, _)| {
        !is_part(text[..place].chars().next_back()) && !is_part(text[place + word.len()..].chars().next())
    })
}

#[test]
fn the_core_names_nothing_that_differs_between_validators() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for part in CORE {
        sources(&root.join(part), &mut found);
    }
    assert!(found.len() > 30, "the core is read");
    for (file, text) in found {
        for (word, reason) in BANNED {
            assert!(!names(&code(&text), word), "{file} names {word}: {reason}");
        }
    }
}
