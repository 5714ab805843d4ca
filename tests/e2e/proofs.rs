//! What an answer of a real validator rests on.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::home::{Home, built};

fn ask(home: &Home, node: &str, words: &[&str]) -> Output {
    let mut command = Command::new(built("careledgerd"));
    command.args(words).args(["--node", &home.variable(node), "--output", "json"]);
    command.arg("--home").arg(home.path().join("verifier")).output().unwrap()
}

fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A grant is proven from a header that another validator's operator told, with two witnesses; later from what
/// was verified last; and who could see anything before there was a subject is: nobody.
pub fn rest_on_what_validators_signed(home: &Home, subject: &str, grant: &str, grantee: &str) {
    let told = answer(&ask(home, "CARELEDGER_RPC_3", &["light", "newest"]));
    let (height, hash) = (told["height"].to_string(), told["hash"].as_str().unwrap());
    let trust = ["--trust-height", &height, "--trust-hash", hash];
    let query = ["query", "grant", subject, grant, "--prove"];
    assert_eq!(ask(home, "CARELEDGER_RPC_0", &query).status.code(), Some(1), "nothing is trusted yet");
    let witnesses = [home.variable("CARELEDGER_RPC_1"), home.variable("CARELEDGER_RPC_2")];
    let asked = [&query[..], &trust, &["--witness", &witnesses[0], "--witness", &witnesses[1]]].concat();
    let shown = answer(&ask(home, "CARELEDGER_RPC_0", &asked));
    assert_eq!(shown["grantee"], grantee);
    let proven = &shown["proven"];
    assert!(proven["signed_by"].as_str().unwrap().contains(" of 4 validators"), "{proven}");
    assert_eq!(proven["witnesses"], json!(witnesses));
    assert!(proven["trusted"].as_str().unwrap().contains(hash), "{proven}");

    let later = answer(&ask(home, "CARELEDGER_RPC_2", &query));
    assert_eq!(later["proven"]["trusted"], proven["trusted"], "the next call goes on from what was verified");
    let forged = ["--trust-height", &height, "--trust-hash", &"ab".repeat(32)];
    let refused = ask(home, "CARELEDGER_RPC_0", &[&query[..], &forged].concat());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("verified height"), "{refused:?}");

    let access = answer(&ask(home, "CARELEDGER_RPC_1", &["query", "access", subject, "--prove"]));
    assert_eq!(access["grants"][grant]["grantee"], grantee);
    assert_eq!(access["grants"][grant]["in_force"], true);
    let header = home.rpc(0, "header", &json!({"height": "2"}));
    let time = header["header"]["time"].as_str().unwrap().to_owned();
    let then = ask(home, "CARELEDGER_RPC_1", &["query", "access", subject, "--prove", "--at-time", &time]);
    let said = String::from_utf8_lossy(&then.stderr);
    assert!(said.contains("no such subject; its absence is proven"), "{said}");
}
