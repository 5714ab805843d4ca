//! Registrars change a running network: a validator goes and comes back, a parameter reaches CometBFT, and an
//! auditor checks what the gateways logged.

use std::process::Command;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::home::{Home, VALIDATORS, built, eventually, succeeded};

/// Blocks for which evidence is accepted, after the vote.
const EVIDENCE_BLOCKS: &str = "54321";

/// Runs a command of careledgerd that must succeed, on the network's first validator.
pub fn careledgerd(home: &Home, words: &[&str]) -> Value {
    let client = home.path().join("client");
    let node = home.variable("CARELEDGER_RPC_0");
    let mut command = Command::new(built("careledgerd"));
    command.args(words).args(["--node", &node, "--output", "json"]).arg("--home").arg(&client);
    if words[0] == "tx" {
        command.arg("--passphrase-file").arg(client.join("passphrase"));
    }
    serde_json::from_str(&succeeded(&mut command)).unwrap()
}

/// Two of three registrars decide.
pub fn agree(home: &Home, decision: &[&str]) {
    let proposed = careledgerd(home, &[&["tx", "propose", "--from", "registrar-1"], decision].concat());
    let proposal = proposed["proposal"].as_str().unwrap();
    assert!(careledgerd(home, &["query", "proposals"]).get(proposal).is_some(), "the others find it");
    careledgerd(home, &["tx", "vote", "--from", "registrar-2", "--proposal", proposal]);
    let decided = careledgerd(home, &["query", "proposal", proposal, "--prove", "--trust-on-first-use"]);
    assert_eq!(decided["status"], "accepted");
}

/// Keys and power of CometBFT's validators.
fn validators(home: &Home, index: usize) -> Vec<(String, String)> {
    let answer = home.rpc(index, "validators", &json!({}));
    let validator = |validator: &Value| {
        let key = BASE64_STANDARD.decode(validator["pub_key"]["value"].as_str().unwrap()).unwrap();
        (hex::encode(key), validator["voting_power"].as_str().unwrap().to_owned())
    };
    answer["validators"].as_array().unwrap().iter().map(validator).collect()
}

/// What is decided on four real validators takes effect on all of them, and the chain goes on.
pub fn registrars_change_the_running_network(home: &Home) {
    let all = validators(home, 0);
    assert_eq!(all.len(), VALIDATORS);
    let (removed, power) = &all[VALIDATORS - 1];
    agree(home, &["--validator", removed, "--power", "0"]);
    for index in 0..VALIDATORS {
        eventually("the validator was never removed", || validators(home, index).len() == VALIDATORS - 1);
        assert!(validators(home, index).iter().all(|(key, _)| key != removed));
    }
    agree(home, &["--parameter", "evidence-age-blocks", "--value", EVIDENCE_BLOCKS]);
    for index in 0..VALIDATORS {
        eventually("the parameter never came to CometBFT", || {
            // CometBFT takes the newest height from its blocks, whose parameters it saves a moment later.
            let answer = home.ask(index, "consensus_params", &json!({})).unwrap_or_default();
            answer["consensus_params"]["evidence"]["max_age_num_blocks"] == EVIDENCE_BLOCKS
        });
    }
    agree(home, &["--validator", removed, "--power", power]);
    for index in 0..VALIDATORS {
        eventually("the validator never came back", || validators(home, index).len() == VALIDATORS);
    }
    let parameters = careledgerd(home, &["query", "parameters"]);
    assert_eq!(parameters["registrars"].as_array().unwrap().len(), 3);
    eventually("all four never agreed", || home.succeeds(&["check"]));
}

/// The log of the hospital that answered in the story holds against the root that the ledger proves.
pub fn an_auditor_checks_the_access_log(home: &Home) {
    let account = home.variable("GENERAL_ACCOUNT");
    let mut audited = Value::Null;
    eventually("the hospital never anchored its log", || {
        let mut command = Command::new(built("careledgerd"));
        command.args(["query", "audit", &account, "--trust-on-first-use", "--output", "json", "--home"]);
        command.arg(home.path().join("client")).arg("--node");
        let output = command.arg(home.variable("CARELEDGER_RPC_1")).output().unwrap();
        audited = serde_json::from_slice(&output.stdout).unwrap_or_default();
        output.status.success()
    });
    assert!(audited["batches"].as_u64().unwrap() >= 1 && audited["leaves"].as_u64().unwrap() >= 1, "{audited}");
    let noted = audited["note"].as_str().unwrap().strip_prefix("--since ").unwrap();
    careledgerd(home, &["query", "audit", &account, "--since", noted]);
    let forged = format!("1:{}", "ab".repeat(32));
    let mut command = Command::new(built("careledgerd"));
    command.args(["query", "audit", &account, "--since", &forged, "--node", &home.variable("CARELEDGER_RPC_0")]);
    command.arg("--home").arg(home.path().join("client"));
    let refused = command.output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("rewritten"));
}
