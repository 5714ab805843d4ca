//! The whole product on real parts: the built programs, four CometBFT validators, two gateways.
//!
//! One network is shared where sharing hides nothing. Networks are told one after the other: each of them loads
//! every core of a small machine.

#![expect(clippy::unwrap_used, reason = "a failure is the test's own")]

use std::sync::{Mutex, MutexGuard, PoisonError};

mod byzantine;
mod canary;
mod clients;
mod crash;
mod fhir;
mod flood;
mod governance;
mod home;
mod lifecycle;
mod proofs;
mod recording;

use home::{Home, eventually};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits for its turn. That another test failed says nothing about this one.
fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_story_holds_on_four_validators_outside_clients_work_and_personal_data_stays_in() {
    let _turn = turn();
    let home = Home::new();
    home.run(&["up", "--no-build", "--node", "careledger"]);
    let told = home.run(&["story"]);
    assert!(told.contains("all of them held"), "{told}");
    assert!(home.refused(&["story"]).contains("begun"), "a second telling says that there was a first");
    assert!(home.run(&["status"]).contains("lakeside"));

    clients::cosmjs(&home);
    clients::fhir_kit_client(&home);
    clients::fhirpy(&home);

    governance::registrars_change_the_running_network(&home);
    governance::an_auditor_checks_the_access_log(&home);

    let planted = canary::plant(&home);
    home.run(&["check"]);
    let blocks = canary::blocks(&home);
    home.run(&["down"]);
    canary::assert_nowhere(&home, &planted, &blocks);
}

#[test]
fn the_story_holds_on_the_stock_node_program_and_nothing_acknowledged_is_lost_when_a_validator_is_killed() {
    let _turn = turn();
    let home = Home::new();
    home.run(&["up", "--no-build", "--node", "stock"]);
    let told = home.run(&["story"]);
    assert!(told.contains("all of them held"), "{told}");
    crash::kill_and_revive_under_load(&home);
    let joined = home.run(&["join", "--once"]);
    assert!(joined.contains("agrees with the others"), "a fifth node joins from a snapshot: {joined}");
    home.run(&["down"]);
}

#[test]
fn a_flood_from_one_account_delays_others_by_two_blocks_at_most() {
    let _turn = turn();
    let home = Home::new();
    home.run(&["up", "--no-build", "--node", "stock"]);
    flood::delays_others_by_two_blocks_at_most(&home);
    eventually("all four never agreed", || home.succeeds(&["check"]));
    home.run(&["down"]);
}

#[test]
fn the_demo_tells_the_story_on_the_embedded_ledger_and_leaves_what_a_tool_needs() {
    let _turn = turn();
    let home = Home::new();
    let told = home.run(&["demo", "--once", "--no-build"]);
    assert!(told.contains("all of them held"), "{told}");
    for line in ["curl ", "query grant ", "npx snarkjs groth16 verify"] {
        assert!(told.contains(line), "no line with `{line}` to paste: {told}");
    }
    let environment = home.environment("demo.env");
    for name in [
        "FHIR_BASE_URL",
        "FHIR_TOKEN",
        "GENERAL_BASE_URL",
        "GENERAL_TOKEN",
        "GENERAL_CLIENT_ID",
        "GENERAL_CLIENT_KEY",
        "LAKESIDE_BASE_URL",
        "LAKESIDE_TOKEN",
        "INSURER_BASE_URL",
        "INSURER_TOKEN",
        "CARELEDGER_RPC",
        "CARELEDGER_CHAIN_ID",
        "SNARKJS",
    ] {
        assert!(environment.get(name).is_some_and(|value| !value.is_empty()), "demo.env has no {name}");
    }
    assert!(std::fs::read_dir(&environment["SNARKJS"]).unwrap().count() >= 3, "proof, inputs and key for snarkjs");
    assert!(home.pids().is_empty(), "nothing runs on after --once");
}

#[test]
fn what_a_real_node_asks_is_recorded_through_a_crash_and_a_join() {
    let _turn = turn();
    recording::calls_of_a_real_node();
}

#[test]
fn the_chain_goes_on_beside_a_validator_that_proposes_everything_twice() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let programs = lifecycle::programs(folder.path());
    let home = Home::over(&programs);
    byzantine::a_validator_that_proposes_everything_twice_is_outvoted(&home, &programs);
    home.run(&["down"]);
}

#[test]
fn a_network_lives_through_upgrades_a_replay_a_rollback_and_a_new_chain() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let programs = lifecycle::programs(folder.path());
    let home = Home::over(&programs);
    lifecycle::an_upgrade_swaps_the_programs_of_a_running_network(&home, &programs);
    lifecycle::a_network_comes_to_count_by_vote_and_proves_who_may_see(&home);
    lifecycle::a_network_comes_to_the_newest_format_by_vote(&home);
    lifecycle::a_node_that_is_new_replays_old_blocks_to_the_same_app_hashes(&home);
    lifecycle::a_block_that_both_programs_roll_back_is_executed_again(&home);
    lifecycle::a_new_chain_continues_with_an_export(&home);
    home.run(&["down"]);
}
