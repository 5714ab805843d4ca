//! `careledgerd query --prove` against nodes that answer truly, and against nodes that lie.
//!
//! Headers are signed by keys of the test; the state behind them is the real ledger's on disk.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod access;
mod audit;
mod chain;
mod headers;
mod lies;
mod node;
#[path = "../support/mod.rs"]
mod support;

use std::{path::Path, process::Output};

use serde_json::Value;

use node::{Lie, Node};
use support::careledgerd;

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
