//! What docs/circuits/eligibility.md tells an insurer who uses none of our code is what our code computes.
//!
//! To refresh the plan's vector on purpose:
//! `UPDATE_GOLDEN=1 cargo test --workspace --features careledger_zk/prover --test eligibility page`.

use std::{env, fs, path::Path, process::Command};

use careledger_zk::{
    binding,
    code::prefix_range,
    key::VerifyingKey,
    plan::{CLASS_COVERED, CLASS_EXCLUDED, Interval, Plan, Terms, partition},
    snarkjs::KeyJson,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{proofs::outside_tools, scenario::ICD};

const PAGE: &str = include_str!("../../../docs/circuits/eligibility.md");
const KEY: &str = include_str!("../../keys/eligibility-1-development.snarkjs.json");
const INSURER: [u8; 20] = [4; 20];
const POLICY: &str = "https://insurer.example/policies|gold";

/// The page's plan: E11 covered, F excluded, and the defaults for what its InsurancePlan does not say.
fn plan() -> Plan {
    let interval = |prefix, class, wait_days, cap| {
        let range = prefix_range(ICD, prefix).expect("a prefix");
        Interval { lo: *range.start(), hi: *range.end(), class, wait_days, cap }
    };
    Plan {
        policy_id: binding::policy_id_of(&INSURER, &Sha256::digest(POLICY)),
        scope: binding::scope_of(&INSURER),
        intervals: partition(vec![interval("E11", CLASS_COVERED, 30, 500_000), interval("F", CLASS_EXCLUDED, 0, 0)]),
        terms: Terms {
            claims_per_period: 2,
            period_days: 365,
            claim_within_days: 90,
            age_days_min: 0,
            age_days_max: 54_900,
        },
    }
}

fn vector(plan: &Plan) -> Value {
    let intervals = plan.intervals.iter().map(|interval| {
        json!({
            "lo": format!("{:016x}", interval.lo),
            "hi": format!("{:016x}", interval.hi),
            "class": interval.class,
            "wait_days": interval.wait_days,
            "cap": interval.cap,
            "leaf": interval.leaf().to_string(),
        })
    });
    json!({
        "insurer": hex::encode(INSURER),
        "policy": POLICY,
        "policy_id": plan.policy_id.to_string(),
        "scope": plan.scope.to_string(),
        "intervals": intervals.collect::<Vec<_>>(),
        "interval_root": plan.interval_root().to_string(),
        "terms": plan.terms,
        "needs_complete_list": plan.needs_complete_list(),
        "packed_terms": plan.packed_terms().to_string(),
        "commitment": plan.commitment().to_string(),
    })
}

#[test]
fn the_pages_plan_has_the_commitment_that_the_page_says() {
    let plan = plan();
    plan.check_partition().expect("the page's plan may be published");
    let computed = vector(&plan);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/plan.json");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, serde_json::to_string_pretty(&computed).expect("JSON") + "\n").expect("a file");
    }
    let golden: Value = serde_json::from_str(&fs::read_to_string(&file).expect("a file")).expect("JSON");
    assert_eq!(golden, computed);
    let mut values = vec![&golden["insurer"], &golden["policy"]];
    values.extend(["policy_id", "scope", "interval_root", "packed_terms", "commitment"].map(|name| &golden[name]));
    for interval in golden["intervals"].as_array().expect("a list") {
        values.extend(["lo", "hi", "leaf"].map(|name| &interval[name]));
    }
    for value in values {
        let value = value.as_str().expect("a text").trim_start_matches('0');
        assert!(PAGE.contains(value), "the page does not have {value}");
    }
}

#[test]
fn circomlibjs_alone_computes_the_same_commitment() {
    let golden = fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/plan.json")).expect("a file");
    let output = Command::new("node")
        .arg("plan_commitment.mjs")
        .current_dir(outside_tools())
        .stdin(golden)
        .output()
        .expect("this test needs node: install Node.js 20 or later");
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(printed, plan().commitment().to_string(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_key_that_the_page_sends_insurers_to_is_the_development_key() {
    let committed: KeyJson = serde_json::from_str(KEY).expect("a key");
    assert_eq!(committed, KeyJson::from(&VerifyingKey::development()));
    let digest = hex::encode(Sha256::digest(KEY));
    assert!(PAGE.contains(&digest), "the page does not have the key's SHA-256 {digest}");
}
