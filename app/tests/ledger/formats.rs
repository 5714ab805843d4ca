//! What a newer format of the state changes of the rules: each script before it and since.

use careledger_app::{genesis::Genesis, governance, keys, state::StateRead as _};
use careledger_wire::proto::state::Validator;

use crate::{
    governance::{agree, finalize, under, validator},
    script::{FAMILIAR, assert_same, run},
    world::{World, address, genesis, machine},
};

/// The chain of [`FAMILIAR`] in a format.
fn familiar_in(state_version: u32) -> World {
    let genesis = Genesis { state_version, ..genesis() };
    let mut world = World { machine: machine(&genesis), replica: machine(&genesis), time: 0 };
    let answers = run(&mut world, FAMILIAR);
    assert!(answers.iter().all(|answer| *answer == "ok"), "{answers:?}");
    world
}

/// Runs the script in format 3 and in format 4; the world of format 4.
#[track_caller]
fn check_before_and_since(script: &str, before: &str, since: &str) -> World {
    let [_, world] = [(3, before), (4, since)].map(|(format, expected)| {
        let mut world = familiar_in(format);
        let answers = run(&mut world, script);
        assert_same(script, &answers, expected);
        world
    });
    world
}

#[test]
fn a_guardian_who_has_shown_no_key_burns_nobodys_address() {
    check_before_and_since(
        "clinic appoints uncle until 500 on alice.clinic
         alice.clinic appoints uncle until 500
         lab opens uncle
         lab opens uncle bound
         clinic appoints uncle until 600 on alice.clinic
         uncle grants lab as g until 500 on alice.clinic",
        "ok ok AddressInUse AddressInUse ok ok",
        "ok ok AddressInUse ok AddressInUse NotTheSubject",
    );
    check_before_and_since(
        "clinic appoints uncle until 500 on alice.clinic
         alice.clinic appoints uncle until 500
         r1 registers uncle as provider
         r2 registers uncle as provider",
        "ok ok AddressInUse AddressInUse",
        "ok ok ok ok",
    );
    // One that has acted is a guardian for good.
    check_before_and_since(
        "clinic appoints uncle until 500 on alice.clinic
         alice.clinic appoints uncle until 500
         uncle grants lab as g until 500 on alice.clinic
         lab opens uncle bound
         clinic appoints uncle until 600 on alice.clinic",
        "ok ok ok AddressInUse ok",
        "ok ok ok AddressInUse ok",
    );
}

#[test]
fn who_opens_the_next_keys_address_first_blocks_no_recovery_and_no_rotation() {
    let world = check_before_and_since(
        "alice.clinic guards 1 of bob.clinic
         bob.clinic approves rescue for alice.clinic
         lab opens rescue
         at 86400
         bob.clinic restores alice.clinic with rescue
         lab opens tablet
         alice.clinic@rescue adds tablet as device
         chemist opens tablet bound
         rescue adds phone as device",
        "ok ok ok KeyInUse ok UnknownKey ok ok",
        "ok ok ok ok ok ok AddressInUse UnknownAccount",
    );
    let state = world.machine.store();
    for name in ["rescue", "tablet"] {
        assert_eq!(state.get(&keys::account(&address(name))), None, "{name} signs for one account");
        let owner = state.get(&keys::key_owner(&address(name))).expect("it is bound");
        assert_eq!(owner.account, address("alice.clinic").to_vec());
    }
}

#[test]
fn what_a_suspended_organization_approved_finishes_no_recovery() {
    check_before_and_since(
        "alice.clinic guards 2 of clinic lab bob.clinic
         clinic approves thief for alice.clinic
         lab approves thief for alice.clinic
         r1 suspends lab
         at 86400
         bob.clinic restores alice.clinic with thief
         bob.clinic approves thief for alice.clinic
         bob.clinic restores alice.clinic with thief",
        "ok ok ok ok ok KeyInUse KeyInUse",
        "ok ok ok ok RecoveryNotApproved ok ok",
    );
}

fn removed(world: &World) -> Validator {
    world.machine.store().get(&keys::validator(&validator("v1"))).expect("what it did stays known")
}

#[test]
fn a_removed_validator_is_no_empty_value() {
    let mut world = under(&[("v1", 1), ("v2", 10)]);
    for format in 2..=3 {
        agree(&mut world, &format!("upgrade {format} in 2"));
        finalize(&mut world, Vec::new(), &[]);
    }
    agree(&mut world, "validator v1 power 0");
    assert_eq!(removed(&world), Validator::default(), "as it was written before format 4");
    agree(&mut world, "upgrade 4 in 2");
    let upgraded = finalize(&mut world, Vec::new(), &[]);
    assert_eq!(governance::state_version(world.machine.store()), 4);
    assert_eq!(upgraded.updates.validators, [], "nothing changes for CometBFT");
    assert_eq!(removed(&world), Validator { removed_height: world.machine.height(), ..Validator::default() });
    assert!(world.state().values().all(|value| !value.is_empty()));

    agree(&mut world, "validator v1 power 2");
    assert_eq!(removed(&world), Validator { power: 2, ..Validator::default() });
    agree(&mut world, "validator v1 power 0");
    assert_eq!(removed(&world), Validator { removed_height: world.machine.height(), ..Validator::default() });
}
