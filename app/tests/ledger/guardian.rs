//! A guardian until a date: who appoints, what a guardian does, and the second at which it ends.

use careledger_app::{keys, state::StateRead as _};
use careledger_wire::{
    decision::out_of_force,
    ids::GrantId,
    proto::state::{Grant, Guardianship},
};

use crate::{
    script::{check_familiar, familiar, run, subject},
    world::{START, World, address, bytes},
};

const APPOINTED: &str = "clinic appoints uncle until 500 on alice.clinic\nalice.clinic appoints uncle until 500";

fn appointed() -> World {
    let mut world = familiar();
    assert_eq!(run(&mut world, APPOINTED), ["ok", "ok"]);
    world
}

fn grant(world: &World, name: &str) -> Grant {
    world.machine.store().get(&keys::consent(&subject("alice.clinic"), &GrantId::new(bytes(name)))).expect("a grant")
}

#[test]
fn the_organization_and_the_subject_appoint_together_and_neither_alone() {
    check_familiar(
        "lab appoints uncle until 500 on alice.clinic
         bob.clinic appoints uncle until 500 on alice.clinic
         doctor appoints uncle until 500 on alice.clinic
         clinic appoints uncle until 500 on nobody.clinic
         clinic appoints uncle until 500 on alice.clinic
         clinic appoints uncle until 500 on alice.clinic
         uncle grants lab as g on alice.clinic
         alice.clinic appoints uncle until 501
         uncle grants lab as g on alice.clinic
         alice.clinic appoints uncle until 500
         uncle grants lab as g until 500 on alice.clinic
         alice.clinic appoints uncle until 500
         clinic appoints uncle until 500 on alice.clinic",
        "NotTheCustodian NotTheSubject NotAClaimant UnknownSubject ok AlreadyAppointed UnknownAccount ok UnknownAccount ok ok
         AlreadyAppointed AlreadyAppointed",
    );
}

#[test]
fn a_guardianship_ends_within_twenty_one_years() {
    // Twenty-one years of 366 days.
    check_familiar(
        "at 100
         clinic appoints uncle until 100 on alice.clinic
         clinic appoints uncle until 664070501 on alice.clinic
         clinic appoints uncle until 664070500 on alice.clinic",
        "AlreadyEnded EndsTooLate ok",
    );
}

#[test]
fn one_guardian_key_has_one_subject() {
    check_familiar(
        "clinic appoints doctor on alice.clinic
         clinic appoints bob.clinic on alice.clinic
         clinic appoints alice.clinic on alice.clinic
         clinic appoints uncle on alice.clinic
         clinic appoints uncle on bob.clinic
         alice.clinic appoints uncle
         bob.clinic appoints uncle
         clinic appoints aunt on bob.clinic
         bob.clinic appoints aunt
         aunt grants lab as g on alice.clinic
         aunt grants lab as g on nobody.clinic
         uncle grants lab as g on alice.clinic",
        "AddressInUse AddressInUse AddressInUse ok ok ok AddressInUse ok ok NotTheSubject UnknownSubject ok",
    );
}

#[test]
fn a_guardian_grants_amends_and_revokes_and_nothing_else() {
    let mut world = appointed();
    let script = "
        uncle grants lab as g until 500 on alice.clinic
        uncle amends g to 2 until 400 on alice.clinic
        alice.clinic grants lab as own
        uncle revokes own on alice.clinic
        uncle reinstates own on alice.clinic
        uncle revokes g on alice.clinic
        uncle preapproves lab as s on alice.clinic
        uncle appoints aunt on alice.clinic
        uncle claims alice.clinic
        uncle anchors a
        uncle requests alice.clinic as q
        uncle breaks alice.clinic as e by doctor";
    let expected = "ok ok ok ok NotAClaimant ok NotAClaimant NotAClaimant NotAClaimant NotAnOrganization NotAnOrganization \
                    NotAnOrganization";
    assert_eq!(run(&mut world, script), expected.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn what_a_guardian_opens_ends_with_the_guardianship_and_shows_no_label() {
    let mut world = appointed();
    let script = "
        uncle grants lab as g until 501 on alice.clinic
        uncle grants lab as g until 500 on alice.clinic
        alice.clinic grants lab as own
        uncle amends own to 2 until 501 on alice.clinic
        uncle amends own to 2 until 500 on alice.clinic";
    assert_eq!(run(&mut world, script), ["EndsTooLate", "ok", "ok", "EndsTooLate", "ok"]);
    assert!(grant(&world, "g").by_guardian && grant(&world, "own").by_guardian);
    assert_eq!(run(&mut world, "alice.clinic amends own to 3"), ["ok"]);
    assert!(!grant(&world, "own").by_guardian, "the patient took it over");
}

/// The page said otherwise: a grant is judged by its own window, whatever became of the guardianship.
#[test]
fn what_a_guardian_opened_outlives_an_earlier_end_until_it_is_revoked() {
    let mut world = appointed();
    let script = "
        uncle grants lab as g until 500 on alice.clinic
        clinic appoints uncle until 200 on alice.clinic
        alice.clinic appoints uncle until 200
        uncle grants lab as late until 500 on alice.clinic
        at 300
        uncle revokes g on alice.clinic";
    assert_eq!(run(&mut world, script), ["ok", "ok", "ok", "EndsTooLate", "GuardianshipEnded"]);
    let opens = |world: &World| out_of_force(&grant(world, "g"), START + 300).is_none();
    assert!(grant(&world, "g").by_guardian && opens(&world), "still open, and marked as the guardian's");
    assert_eq!(run(&mut world, "alice.clinic revokes g"), ["ok"]);
    assert!(!opens(&world));
}

#[test]
fn a_guardian_stops_at_the_second() {
    for (time, grants, revokes) in [
        (499, "ok", "ok"),
        (500, "GuardianshipEnded", "GuardianshipEnded"),
        (501, "GuardianshipEnded", "GuardianshipEnded"),
    ] {
        let mut world = appointed();
        run(&mut world, "alice.clinic grants lab as own");
        let answers = run(
            &mut world,
            &format!("at {time}\nuncle grants lab as g until 500 on alice.clinic\nuncle revokes own on alice.clinic"),
        );
        // At the end a window until then has passed, too; who asks is looked at first.
        assert_eq!(answers, [grants, revokes], "at {time}");
    }
}

#[test]
fn a_guardianship_is_prolonged_by_both() {
    let mut world = appointed();
    assert_eq!(run(&mut world, "clinic appoints uncle until 900 on alice.clinic"), ["ok"]);
    let read = |world: &World| {
        let key = keys::guardianship(&subject("alice.clinic"), &address("uncle"));
        world.machine.store().get(&key).expect("a guardianship")
    };
    assert_eq!(read(&world).until, START + 500, "one approval changes nothing");
    assert_eq!(run(&mut world, "alice.clinic appoints uncle until 900"), ["ok"]);
    let expected = Guardianship {
        until: START + 900,
        evidence: bytes("evidence").to_vec(),
        by_organization: None,
        by_subject: None,
    };
    assert_eq!(read(&world), expected);
}

#[test]
fn a_key_of_an_account_is_nobodys_guardian() {
    check_familiar(
        "alice.clinic adds phone as device
         clinic appoints phone on bob.clinic
         alice.clinic removes phone
         clinic appoints phone on bob.clinic",
        "ok AddressInUse ok AddressInUse",
    );
}
