//! Which validators there are, how much may change at once, and what an offence costs.

use careledger_app::{
    genesis::{Consensus, Genesis, GenesisError},
    governance,
    limits::{VALIDATOR_POWER_MAX, VALIDATORS_MAX},
    upgrade,
};
use careledger_wire::ids::ValidatorKey;

use super::{agree, finalize, offence, powers, under, validator};
use crate::{
    script::run,
    world::{START, World, genesis, name_of},
};

#[test]
fn comet_bft_is_told_exactly_what_changed_of_its_validators() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10), ("v4", 10)]);
    let added = agree(&mut world, "validator v5 power 10");
    assert_eq!(added.updates.validators, [(validator("v5"), 10)]);
    assert_eq!(added.updates.parameters, None);
    assert!(added.events.iter().any(|event| event.kind == "validator_power"));
    assert_eq!(agree(&mut world, "validator v5 power 11").updates.validators, [(validator("v5"), 11)]);
    assert_eq!(agree(&mut world, "validator v1 power 0").updates.validators, [(validator("v1"), 0)]);
    assert_eq!(powers(&world).len(), 4);
    // Removed and back again: known to CometBFT or not, the update is right.
    assert_eq!(agree(&mut world, "validator v1 power 3").updates.validators, [(validator("v1"), 3)]);
    assert_eq!(finalize(&mut world, Vec::new(), &[]).updates, Default::default());
}

#[test]
fn a_validator_that_comet_bft_does_not_know_is_never_removed() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10), ("v4", 10)]);
    let answers = run(
        &mut world,
        "r1 proposes a validator stranger power 0
         r1 proposes b validator v1 power 10
         r1 proposes c validator v1 power 0
         r1 proposes d validator v1 power 0
         r2 votes c
         r2 votes d
         r2 rescinds d",
    );
    assert_eq!(answers, ["UnknownValidator", "NothingChanges", "ok", "ok", "ok", "NothingChanges", "NotApproved"]);
}

/// Two votes that decide in one block: the second waits for the next.
#[test]
fn a_block_changes_one_validator() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10), ("v4", 10)]);
    run(&mut world, "r1 proposes a validator v1 power 9\nr2 proposes b validator v2 power 9");
    let vote = |world: &World, sender: &str, part: &str| {
        world.signed(sender, &[crate::script::message(world, None, sender, part)])
    };
    let votes = vec![vote(&world, "r2", "votes a"), vote(&world, "r3", "votes b")];
    let finalized = finalize(&mut world, votes, &[]);
    let answers: Vec<_> = finalized.outcomes.iter().map(name_of).collect();
    assert_eq!(answers, ["ok", "ValidatorsJustChanged"]);
    assert_eq!(finalized.updates.validators, [(validator("v1"), 9)]);
    assert_eq!(run(&mut world, "r3 votes b"), ["ok"]);
}

#[test]
fn those_who_stay_can_always_decide_and_somebody_stays() {
    type Validators = &'static [(&'static str, u64)];
    // (validators of genesis, change, answer)
    let cases: [(Validators, &str, &str); 12] = [
        (&[], "v1 power 1", "TooMuchPowerMoves"),
        (&[("v1", 10)], "v1 power 0", "LastValidator"),
        (&[("v1", 10)], "v2 power 4", "ok"),
        (&[("v1", 10)], "v2 power 5", "TooMuchPowerMoves"),
        (&[("v1", 10), ("v2", 10)], "v2 power 0", "TooMuchPowerMoves"),
        (&[("v1", 10), ("v2", 5)], "v2 power 0", "ok"),
        (&[("v1", 10), ("v2", 10), ("v3", 10)], "v3 power 0", "ok"),
        (&[("v1", 10), ("v2", 10), ("v3", 11)], "v3 power 0", "TooMuchPowerMoves"),
        (&[("v1", 10), ("v2", 10), ("v3", 10)], "v4 power 14", "ok"),
        (&[("v1", 10), ("v2", 10), ("v3", 10)], "v4 power 15", "TooMuchPowerMoves"),
        (&[("v1", 10), ("v2", 10), ("v3", 10)], "v1 power 25", "TooMuchPowerMoves"),
        (&[("v1", 10), ("v2", 10), ("v3", 10)], "v1 power 24", "ok"),
    ];
    for (validators, change, expected) in cases {
        let mut world = under(validators);
        assert_eq!(
            run(&mut world, &format!("r1 proposes p validator {change}")),
            [expected],
            "{validators:?} {change}"
        );
    }
}

#[test]
fn there_are_never_more_validators_than_the_limit() {
    let names: Vec<String> = (0..VALIDATORS_MAX).map(|number| format!("v{number}")).collect();
    let validators: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let mut world = under(&validators);
    let answers = run(&mut world, "r1 proposes p validator one-more power 1\nr1 proposes q validator v3 power 9");
    assert_eq!(answers, ["TooManyValidators", "ok"]);
}

#[test]
fn genesis_takes_no_validators_that_could_not_be_tracked() {
    let start = |validators: Vec<(ValidatorKey, u64)>| {
        let consensus = Consensus { validators, ..Consensus::default() };
        Genesis::changes_under(&genesis(), "careledger-dev-1", START, &consensus).map(|_| ())
    };
    assert_eq!(start(vec![(validator("v1"), VALIDATOR_POWER_MAX)]), Ok(()));
    let v = validator("v1");
    let many = (0..=VALIDATORS_MAX).map(|number| (validator(&format!("v{number}")), 1)).collect();
    for refused in [vec![(v, 0)], vec![(v, VALIDATOR_POWER_MAX + 1)], vec![(v, 1), (v, 1)], many] {
        assert_eq!(start(refused), Err(GenesisError::Validators));
    }
    for state_version in [0, upgrade::NEWEST + 1] {
        let genesis = Genesis { state_version, ..genesis() };
        assert_eq!(genesis.changes("careledger-dev-1", START).map(|_| ()), Err(GenesisError::StateVersion));
    }
}

#[test]
fn evidence_is_recorded_and_takes_the_validators_power() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10), ("v4", 10)]);
    let strangers = finalize(&mut world, Vec::new(), &[offence("stranger", 1)]);
    assert_eq!((strangers.updates, strangers.events.len()), (Default::default(), 0));
    let finalized = finalize(&mut world, Vec::new(), &[offence("v2", 1)]);
    assert_eq!(finalized.updates.validators, [(validator("v2"), 0)]);
    assert_eq!(finalized.events[0].kind, "misbehavior");
    let known = governance::validators(world.machine.store());
    let (_, recorded) = known.into_iter().find(|(key, _)| *key == validator("v2")).unwrap();
    assert_eq!((recorded.power, recorded.offences, recorded.newest_offences[0].height), (0, 1, 1));
    assert_eq!(recorded.newest_offences[0].recorded_height, 2);
    let again = finalize(&mut world, Vec::new(), &[offence("v2", 1)]);
    assert_eq!(again.events, [], "one offence counts once");
}

#[test]
fn offences_that_registrars_tolerate_leave_the_power_and_the_last_validator_stays() {
    let mut world = under(&[("v1", 10), ("v2", 10)]);
    agree(&mut world, "parameter offences-tolerated 1");
    assert_eq!(finalize(&mut world, Vec::new(), &[offence("v1", 1)]).updates, Default::default());
    let second = finalize(&mut world, Vec::new(), &[offence("v1", 2)]);
    assert_eq!(second.updates.validators, [(validator("v1"), 0)]);
    let last = finalize(&mut world, Vec::new(), &[offence("v2", 1), offence("v2", 2), offence("v2", 3)]);
    assert_eq!((last.updates.validators, last.events.len()), (Vec::new(), 3));
    assert_eq!(powers(&world), [(validator("v2"), 10)]);
}

/// Everybody at once: whoever comes last keeps the chain going.
#[test]
fn evidence_against_all_leaves_one() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10)]);
    finalize(&mut world, Vec::new(), &["v1", "v2", "v3"].map(|name| offence(name, 1)));
    assert_eq!(powers(&world), [(validator("v3"), 10)]);
}

#[test]
fn evidence_and_a_remembered_proposal_go_together() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10)]);
    let parsed = crate::script::message(&world, None, "r1", "registers clinic as provider");
    let transaction = world.signed("r1", &[parsed]);
    let proposed = world.machine.prepare(vec![transaction], 1 << 20, 1, START);
    // The replica computes the block anew.
    let finalized = finalize(&mut world, proposed, &[offence("v1", 1)]);
    assert_eq!(finalized.updates.validators, [(validator("v1"), 0)]);
}
