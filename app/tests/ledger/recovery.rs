//! Lost keys: guardians, recovery in person, and every way that a thief could try.

use careledger_app::{keys, state::StateRead as _};

use crate::{
    script::{check_familiar, familiar, run},
    world::{address, key},
};

#[test]
fn guardians_restore_an_account_after_the_time_lock() {
    check_familiar(
        "alice.clinic guards 2 of doctor bob.clinic lab
         bob.clinic approves rescue for alice.clinic
         doctor restores alice.clinic with rescue
         lab approves rescue for alice.clinic
         doctor restores alice.clinic with rescue
         at 86399
         doctor restores alice.clinic with rescue
         at 86400
         alice.clinic@rescue grants lab as g on alice.clinic until 90000
         doctor restores alice.clinic with rescue
         alice.clinic@rescue grants lab as g on alice.clinic until 90000
         alice.clinic grants lab as h until 90000
         alice.clinic adds alice.clinic as full
         alice.clinic@rescue adds phone as device
         doctor restores alice.clinic with rescue",
        "ok ok RecoveryNotApproved ok RecoveryLocked RecoveryLocked UnknownKey ok ok UnknownKey UnknownKey ok KeyInUse",
    );
}

#[test]
fn a_recovered_account_loses_every_key_that_it_had() {
    check_familiar(
        "alice.clinic adds phone as device
         alice.clinic adds laptop as full
         alice.clinic guards 1 of bob.clinic
         bob.clinic approves rescue for alice.clinic
         at 86400
         bob.clinic restores alice.clinic with rescue
         alice.clinic@phone grants lab as g on alice.clinic until 90000
         alice.clinic@laptop adds other as full
         alice.clinic@rescue adds phone as device
         alice.clinic@rescue adds new as device
         bob.clinic approves next for alice.clinic",
        "ok ok ok ok ok UnknownKey UnknownKey KeyInUse ok ok",
    );
}

#[test]
fn any_key_of_the_account_vetoes() {
    check_familiar(
        "alice.clinic adds phone as device
         alice.clinic guards 1 of bob.clinic
         alice.clinic vetoes
         bob.clinic approves rescue for alice.clinic
         bob.clinic vetoes
         alice.clinic@phone vetoes
         at 90000
         bob.clinic restores alice.clinic with rescue
         alice.clinic@phone vetoes
         bob.clinic approves rescue for alice.clinic
         bob.clinic restores alice.clinic with rescue
         at 176400
         bob.clinic restores alice.clinic with rescue",
        "ok ok NoRecovery ok NoRecovery ok NoRecovery NoRecovery ok RecoveryLocked ok",
    );
}

/// Fewer than the threshold, twice the same, a stranger, the owner: none of them moves anything.
#[test]
fn guardians_below_the_threshold_do_nothing() {
    check_familiar(
        "alice.clinic guards 2 of doctor bob.clinic
         bob.clinic approves rescue for alice.clinic
         bob.clinic approves rescue for alice.clinic
         lab approves rescue for alice.clinic
         alice.clinic approves rescue for alice.clinic
         at 8000000
         bob.clinic restores alice.clinic with rescue",
        "ok ok RecoveryApproved NotAGuardian NotAGuardian RecoveryNotApproved",
    );
}

/// Approvals are of one key, and of one set of guardians.
#[test]
fn approvals_of_another_key_or_of_former_guardians_do_not_count() {
    check_familiar(
        "alice.clinic guards 2 of doctor bob.clinic lab
         bob.clinic approves rescue for alice.clinic
         doctor approves other for alice.clinic
         bob.clinic restores alice.clinic with rescue
         bob.clinic restores alice.clinic with other
         bob.clinic restores alice.clinic with third
         alice.clinic guards 1 of doctor lab
         bob.clinic approves rescue for alice.clinic
         at 90000
         doctor restores alice.clinic with rescue
         doctor restores alice.clinic with other
         doctor approves other for alice.clinic
         alice.clinic guards none
         at 180000
         doctor restores alice.clinic with other
         doctor approves other for alice.clinic",
        "ok ok ok RecoveryNotApproved RecoveryNotApproved NoRecovery ok NotAGuardian NoRecovery NoRecovery ok ok NoRecovery NotAGuardian",
    );
}

#[test]
fn guardians_are_named_with_a_full_key_and_within_bounds() {
    check_familiar(
        "alice.clinic adds phone as device
         alice.clinic@phone guards 1 of bob.clinic
         alice.clinic guards 1 of nobody
         alice.clinic guards 0 of bob.clinic
         alice.clinic guards 2 of bob.clinic
         alice.clinic guards 1 of alice.clinic
         alice.clinic guards 1 of bob.clinic bob.clinic
         alice.clinic guards 1 of bob.clinic delay=86399
         alice.clinic guards 1 of bob.clinic delay=7776001
         alice.clinic guards 1 of bob.clinic delay=7776000
         alice.clinic guards 1 of a b c d e f g h i j k l m n o p q
         alice.clinic guards none delay=1
         alice.clinic guards none
         doctor guards 1 of alice.clinic
         clinic guards 1 of lab
         r1 guards 1 of r2",
        "ok NotAFullKey UnknownGuardian InvalidField InvalidField InvalidField InvalidField InvalidField InvalidField ok InvalidField InvalidField ok ok NotRecoverable NotRecoverable",
    );
}

#[test]
fn two_organizations_restore_an_account_in_person() {
    check_familiar(
        "clinic sees rescue for alice.clinic
         clinic sees rescue for alice.clinic
         at 604800
         clinic restores alice.clinic with rescue
         lab sees rescue for alice.clinic
         clinic restores alice.clinic with rescue
         at 900000
         clinic restores alice.clinic with rescue
         alice.clinic@rescue guards 1 of bob.clinic",
        "ok RecoveryApproved RecoveryNotApproved ok RecoveryLocked RecoveryLocked UnknownKey",
    );
    let mut world = familiar();
    let renewals = ["clinic as provider", "lab as laboratory", "chemist as pharmacy"].map(|organization| {
        format!("r1 registers {organization} until 2000000\nr2 registers {organization} until 2000000")
    });
    run(&mut world, &renewals.join("\n"));
    let answers = run(
        &mut world,
        "alice.clinic guards 1 of bob.clinic
         clinic sees rescue for alice.clinic
         lab sees rescue for alice.clinic
         at 604799
         clinic restores alice.clinic with rescue
         at 604800
         clinic restores alice.clinic with rescue
         bob.clinic approves other for alice.clinic
         alice.clinic@rescue guards 1 of bob.clinic",
    );
    assert_eq!(answers, ["ok", "ok", "ok", "RecoveryLocked", "ok", "NotAGuardian", "ok"]);
}

/// One organization alone, however it tries; one that is suspended; one that was when it mattered.
#[test]
fn organizations_out_of_standing_restore_nobody() {
    let mut world = familiar();
    let renewals = ["clinic as provider", "lab as laboratory", "chemist as pharmacy"].map(|organization| {
        format!("r1 registers {organization} until 2000000\nr2 registers {organization} until 2000000")
    });
    run(&mut world, &renewals.join("\n"));
    let answers = run(
        &mut world,
        "r3 suspends chemist
         chemist sees rescue for alice.clinic
         clinic adds clinic-two as full
         clinic sees rescue for alice.clinic
         clinic@clinic-two sees rescue for alice.clinic
         doctor sees rescue for alice.clinic
         r1 sees rescue for alice.clinic
         lab sees rescue for alice.clinic
         r3 suspends lab
         at 700000
         clinic restores alice.clinic with rescue
         lab restores alice.clinic with rescue
         r1 registers lab as laboratory until 1900000
         r2 registers lab as laboratory until 1900000
         clinic restores alice.clinic with rescue",
    );
    let expected = [
        "ok",
        "OrganizationSuspended",
        "ok",
        "ok",
        "RecoveryApproved",
        "NotAnOrganization",
        "NotAnOrganization",
        "ok",
        "ok",
        "RecoveryNotApproved",
        "OrganizationSuspended",
        "ok",
        "ok",
        "ok",
    ];
    assert_eq!(answers, expected);
}

#[test]
fn a_recovery_in_person_is_vetoed_too() {
    check_familiar(
        "clinic sees rescue for alice.clinic
         lab sees rescue for alice.clinic
         alice.clinic vetoes
         at 700000
         clinic restores alice.clinic with rescue
         chemist sees rescue for alice.clinic
         clinic restores alice.clinic with rescue
         alice.clinic grants lab as g until 800000",
        "ok ok ok NoRecovery ok RecoveryNotApproved ok",
    );
}

#[test]
fn organizations_and_registrars_are_not_restored() {
    check_familiar(
        "clinic sees rescue for lab
         clinic sees rescue for r1
         clinic sees rescue for nobody
         clinic vetoes
         lab restores clinic with rescue
         clinic enrols doctor bound
         clinic sees rescue for doctor",
        "NotRecoverable NotRecoverable NotRecoverable NotRecoverable NotRecoverable ok ok",
    );
}

/// The new key must be its holder's, and nobody's before: no account is burnt, and none is linked.
#[test]
fn a_recovery_gives_the_account_to_a_key_that_wants_it() {
    check_familiar(
        "alice.clinic guards 1 of bob.clinic
         bob.clinic approves bob.clinic for alice.clinic
         bob.clinic approves alice.clinic for alice.clinic
         bob.clinic approves rescue for alice.clinic
         bob.clinic adds rescue as device
         at 86400
         bob.clinic restores alice.clinic with rescue
         bob.clinic approves second for alice.clinic
         at 172800
         bob.clinic restores alice.clinic with second proven-by=bob.clinic
         bob.clinic restores alice.clinic with second proven-for=bob.clinic
         bob.clinic restores alice.clinic with second proven-on=careledger-dev-2
         nobody restores alice.clinic with second
         bob.clinic restores alice.clinic with second",
        "ok KeyInUse KeyInUse ok ok KeyInUse ok KeyNotProven KeyNotProven KeyNotProven UnknownAccount ok",
    );
}

/// Two keys can be under way; the one that ends first ends the other.
#[test]
fn a_finished_recovery_ends_the_others() {
    check_familiar(
        "alice.clinic guards 1 of bob.clinic doctor
         bob.clinic approves rescue for alice.clinic
         doctor approves thief for alice.clinic
         at 86400
         bob.clinic restores alice.clinic with rescue
         doctor restores alice.clinic with thief
         bob.clinic restores alice.clinic with rescue",
        "ok ok ok ok NoRecovery KeyInUse",
    );
}

/// Two organizations that took an address before its owner came cannot keep it by a recovery.
#[test]
fn a_provisional_account_is_not_restored() {
    let mut world = familiar();
    let script = "clinic opens carol.clinic
        clinic sees thief for carol.clinic
        clinic enrols nurse
        clinic sees thief for nurse
        clinic opens dave.clinic bound
        clinic sees rescue for dave.clinic
        lab sees rescue for dave.clinic
        at 604800
        lab restores dave.clinic with rescue
        dave.clinic claims dave.clinic
        dave.clinic@rescue claims dave.clinic";
    let expected = ["ok", "NotRecoverable", "ok", "NotRecoverable", "ok", "ok", "ok", "ok", "UnknownKey", "ok"];
    assert_eq!(run(&mut world, script), expected);
    let account = world.machine.store().get(&keys::account(&address("dave.clinic"))).unwrap();
    assert_eq!(account.keys.len(), 1);
    assert_eq!(account.public_key, key("rescue").as_bytes());
}
