//! Parameters that are voted on: what CometBFT is told, and what binds the ledger itself.

use careledger_app::{
    limits::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN},
    types::{ConsensusParameters, EvidenceParameters},
};
use careledger_wire::transaction::Replay;

use super::{agree, under};
use crate::{
    check,
    world::{START, World, name_of},
};

#[test]
fn parameters_reach_comet_bft_whole_and_bind_the_ledger() {
    let mut world = under(&[("v1", 10)]);
    let expected = |block_bytes, age_blocks, age_seconds| {
        let evidence = Some(EvidenceParameters { age_blocks, age_seconds, bytes: 10_000 });
        Some(ConsensusParameters { state_version: 1, block_bytes, evidence })
    };
    let min = BLOCK_BYTES_MIN as u64;
    let blocks = agree(&mut world, "parameter evidence-age-blocks 2000");
    assert_eq!(blocks.updates.parameters, expected(None, 2_000, 9_000));
    let seconds = agree(&mut world, "parameter evidence-age-seconds 3600");
    assert_eq!(seconds.updates.parameters, expected(None, 2_000, 3_600));
    let bytes = agree(&mut world, &format!("parameter block-bytes {BLOCK_BYTES_MIN}"));
    assert_eq!(bytes.updates.parameters, expected(Some(min), 2_000, 3_600));
    assert_eq!(agree(&mut world, "parameter offences-tolerated 2").updates.parameters, None, "CometBFT has no such");

    let before = world.machine.height() + 1;
    let oversize = vec![vec![0; 500_000]; 3];
    assert_eq!(world.replica.process(&oversize, before, START).unwrap_err().name(), "TooLarge");
    let raised = agree(&mut world, &format!("parameter block-bytes {BLOCK_BYTES_MAX}"));
    assert_eq!(raised.updates.parameters, expected(Some(BLOCK_BYTES_MAX as u64), 2_000, 3_600));
    let before = world.machine.height() + 1;
    assert_eq!(world.replica.process(&oversize, before, START).unwrap_err().name(), "Malformed", "it is read now");
}

#[test]
fn the_validity_of_unordered_transactions_is_voted_on() {
    let mut world = World::new();
    let send = |world: &mut World, seconds: i64| {
        let parsed = crate::script::message(world, None, "r3", &format!("registers x{seconds} as provider"));
        let transaction = world.signed_with("r3", &[parsed], Replay::UntilTime(START + seconds));
        name_of(&world.send(transaction))
    };
    assert_eq!(send(&mut world, 300), "ok");
    agree(&mut world, "parameter unordered-seconds 200");
    assert_eq!(send(&mut world, 201), "TimeoutTooFar");
    assert_eq!(send(&mut world, 200), "ok");
}

#[test]
fn proposals_stay_open_as_long_as_was_voted() {
    check(
        "r1 proposes p parameter proposal-seconds 3600
         r2 votes p
         r1 proposes q parameter offences-tolerated 2 until 3601
         r1 proposes q parameter offences-tolerated 2 until 3600",
        "ok ok EndsTooLate ok",
    );
}
