//! What a newer format of the state changes of the rules: each script before it and since.

use careledger_app::{genesis::Genesis, governance, keys, state::StateRead as _};
use careledger_wire::proto::{
    state::Validator,
    tx::{AuthInfo, Coin, Fee, TxRaw},
};
use prost::Message as _;

use crate::{
    governance::{agree, finalize, under, validator},
    script::{FAMILIAR, assert_same, message, run},
    world::{World, address, genesis, machine, name_of},
};

/// The chain of [`FAMILIAR`] in a format.
pub fn familiar_in(state_version: u32) -> World {
    let genesis = Genesis { state_version, ..genesis() };
    let mut world = World { machine: machine(&genesis), replica: machine(&genesis), time: 0 };
    let answers = run(&mut world, FAMILIAR);
    assert!(answers.iter().all(|answer| *answer == "ok"), "{answers:?}");
    world
}

/// Runs the script in the format before `format` and in that; its world.
#[track_caller]
fn check_around(format: u32, script: &str, before: &str, since: &str) -> World {
    let [_, world] = [(format - 1, before), (format, since)].map(|(format, expected)| {
        let mut world = familiar_in(format);
        let answers = run(&mut world, script);
        assert_same(script, &answers, expected);
        world
    });
    world
}

#[test]
fn a_guardian_who_has_shown_no_key_burns_nobodys_address() {
    check_around(
        4,
        "clinic appoints uncle until 500 on alice.clinic
         alice.clinic appoints uncle until 500
         lab opens uncle
         lab opens uncle bound
         clinic appoints uncle until 600 on alice.clinic
         uncle grants lab as g until 500 on alice.clinic",
        "ok ok AddressInUse AddressInUse ok ok",
        "ok ok AddressInUse ok AddressInUse NotTheSubject",
    );
    check_around(
        4,
        "clinic appoints uncle until 500 on alice.clinic
         alice.clinic appoints uncle until 500
         r1 registers uncle as provider
         r2 registers uncle as provider",
        "ok ok AddressInUse AddressInUse",
        "ok ok ok ok",
    );
    // One that has acted is a guardian for good.
    check_around(
        4,
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
    let world = check_around(
        4,
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
    check_around(
        4,
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

#[test]
fn what_an_organization_approved_before_its_suspension_appoints_no_guardian() {
    check_around(
        5,
        "clinic appoints uncle until 500 on alice.clinic
         r1 suspends clinic
         alice.clinic appoints uncle until 500
         uncle grants lab as g until 500 on alice.clinic",
        "ok ok ok ok",
        "ok ok ok UnknownAccount",
    );
    // Nor once it is registered anew: it says so again.
    check_around(
        5,
        "clinic appoints uncle until 500 on alice.clinic
         r1 suspends clinic
         r1 registers clinic as provider
         r2 registers clinic as provider
         alice.clinic appoints uncle until 500
         uncle grants lab as g until 500 on alice.clinic
         clinic appoints uncle until 500 on alice.clinic
         uncle grants lab as h until 500 on alice.clinic",
        "ok ok ok ok ok ok AlreadyAppointed ok",
        "ok ok ok ok ok UnknownAccount ok ok",
    );
}

#[test]
fn a_device_appoints_no_guardian() {
    check_around(
        5,
        "alice.clinic adds phone as device
         clinic appoints uncle until 500 on alice.clinic
         alice.clinic@phone appoints uncle until 500
         alice.clinic appoints uncle until 500",
        "ok ok ok AlreadyAppointed",
        "ok ok NotAFullKey ok",
    );
}

#[test]
fn who_opens_a_guardians_address_first_keeps_nobody_from_being_guardian() {
    check_around(
        5,
        "clinic appoints uncle until 500 on alice.clinic
         lab opens uncle
         alice.clinic appoints uncle until 500
         alice.clinic appoints uncle until 500 bound bound-to=lab
         alice.clinic appoints uncle until 500 bound bound-to=clinic bound-by=lab
         alice.clinic appoints uncle until 500 bound bound-to=clinic
         uncle grants lab as g until 500 on alice.clinic
         chemist opens uncle bound
         clinic appoints uncle until 600 on alice.clinic",
        "ok ok AddressInUse Malformed Malformed Malformed NotTheSubject AddressInUse AddressInUse",
        "ok ok AddressInUse KeyNotProven KeyNotProven ok ok AddressInUse ok",
    );
}

#[test]
fn an_amendment_opens_no_grant_that_has_ended() {
    check_around(
        5,
        "alice.clinic grants lab as g until 100
         at 99
         alice.clinic amends g to 2 until 101
         at 101
         alice.clinic amends g to 3 until 500",
        "ok ok ok",
        "ok ok GrantEnded",
    );
}

/// A week in which it can be vetoed follows the second word that counts, whenever others were withdrawn.
#[test]
fn organizations_that_lost_their_standing_start_no_time_lock() {
    check_around(
        5,
        "lab sees rescue for alice.clinic
         r1 suspends lab
         chemist sees rescue for alice.clinic
         at 300000
         payer sees rescue for alice.clinic
         at 604800
         bob.clinic restores alice.clinic with rescue
         at 904800
         bob.clinic restores alice.clinic with rescue",
        "ok ok ok ok ok KeyInUse",
        "ok ok ok ok RecoveryLocked ok",
    );
    // What it said before it was registered anew is to be said again.
    check_around(
        5,
        "lab sees rescue for alice.clinic
         r1 suspends lab
         chemist sees rescue for alice.clinic
         r1 registers lab as laboratory
         r2 registers lab as laboratory
         at 604800
         bob.clinic restores alice.clinic with rescue
         lab sees rescue for alice.clinic
         bob.clinic restores alice.clinic with rescue",
        "ok ok ok ok ok ok KeyInUse KeyInUse",
        "ok ok ok ok ok RecoveryNotApproved ok RecoveryLocked",
    );
}

/// A coin's name could be a sentence, in a block for ever.
#[test]
fn a_fee_takes_no_text() {
    for (format, coins, expected) in [
        (4, &["Alice Example, born 1980-02-30"][..], "BadSignature"),
        (5, &["Alice Example, born 1980-02-30"], "Malformed"),
        (5, &["ucare", "ucare"], "Malformed"),
        (5, &["alice"], "Malformed"),
        // As wallets write it that cannot leave it out: what is left to say is that these bytes were not signed.
        (5, &["ucare"], "BadSignature"),
    ] {
        let mut world = familiar_in(format);
        let sound = world.signed("alice.clinic", &[message(&world, None, "alice.clinic", "grants lab as g")]);
        let mut raw = TxRaw::decode(sound.as_slice()).unwrap();
        let mut auth = AuthInfo::decode(raw.auth_info_bytes.as_slice()).unwrap();
        let nothing = |denom: &&str| Coin { denom: (*denom).to_owned(), amount: "0".to_owned() };
        let fee = auth.fee.unwrap_or_default();
        auth.fee = Some(Fee { amount: coins.iter().map(nothing).collect(), ..fee });
        raw.auth_info_bytes = auth.encode_to_vec();
        assert_eq!(name_of(&world.send(raw.encode_to_vec())), expected, "format {format}: {coins:?}");
    }
}

#[test]
fn format_5_notes_who_opened_the_accounts_of_before() {
    let mut world = under(&[("v1", 1)]);
    for format in 2..=4 {
        agree(&mut world, &format!("upgrade {format} in 2"));
        finalize(&mut world, Vec::new(), &[]);
    }
    let script = format!(
        "{FAMILIAR}
         clinic appoints uncle until 500 on alice.clinic
         alice.clinic appoints uncle until 500
         lab opens carol.lab
         chemist opens carol.lab bound
         lab enrols doctor
         lab enrols nurse"
    );
    assert!(run(&mut world, &script).iter().all(|answer| *answer == "ok"));
    let opener =
        |world: &World, name: &str| world.machine.store().get(&keys::account(&address(name))).unwrap().opened_by;
    let names = ["alice.clinic", "bob.clinic", "uncle", "carol.lab", "doctor", "nurse", "clinic", "r1"];
    assert!(names.iter().all(|name| opener(&world, name).is_empty()));
    agree(&mut world, "upgrade 5 in 2");
    finalize(&mut world, Vec::new(), &[]);
    let noted = |world: &World| names.map(|name| opener(world, name));
    let [clinic, chemist, lab] = ["clinic", "chemist", "lab"].map(|name| address(name).to_vec());
    let nobody = Vec::new;
    // Which of two enrolled a practitioner first is not known any more.
    let expected = [&clinic, &clinic, &clinic, &chemist, &nobody(), &lab, &nobody(), &nobody()];
    assert_eq!(noted(&world).each_ref(), expected);
    // Nobody becomes the opener by enrolling whom others did; by the practitioner's own word one does.
    assert_eq!(run(&mut world, "chemist enrols doctor\nchemist enrols nurse"), ["ok", "ok"]);
    assert_eq!((opener(&world, "doctor"), opener(&world, "nurse")), (nobody(), lab));
    assert_eq!(run(&mut world, "chemist enrols nurse bound"), ["ok"]);
    assert_eq!(opener(&world, "nurse"), chemist);
    assert_eq!(run(&mut world, "clinic enrols nurse bound\nlab enrols nurse"), ["ok", "ok"]);
    assert_eq!(opener(&world, "nurse"), clinic);
}

/// Another organization and its own patient can name the key first: by its own word it guards one. Words do not end: an
/// earlier one, or one that others have, would have moved it.
#[test]
fn a_guardian_by_its_own_word_is_nobody_elses() {
    check_around(
        5,
        "lab opens carol.lab
         carol.lab claims carol.lab
         lab appoints uncle until 500 on carol.lab
         carol.lab appoints uncle until 500
         clinic appoints uncle until 500 on alice.clinic bound
         alice.clinic appoints uncle until 500 bound bound-to=clinic
         uncle grants lab as f until 500 on carol.lab
         lab appoints uncle until 600 on carol.lab bound
         carol.lab appoints uncle until 600 bound bound-to=lab
         uncle grants lab as g until 500 on alice.clinic
         uncle grants lab as g until 500 on carol.lab",
        "ok ok ok ok Malformed Malformed ok Malformed Malformed NotTheSubject ok",
        "ok ok ok ok ok ok NotTheSubject ok ok ok NotTheSubject",
    );
}

#[test]
fn what_a_removed_key_approved_appoints_no_guardian() {
    check_around(
        5,
        "alice.clinic adds phone as full
         alice.clinic@phone appoints uncle until 500
         alice.clinic removes phone
         clinic appoints uncle until 500 on alice.clinic
         uncle grants lab as g until 500 on alice.clinic",
        "ok ok ok ok ok",
        "ok ok ok ok UnknownAccount",
    );
}
