//! Access requests, grants, revocations.

use careledger_app::{keys, limits::REINSTATEMENTS_MAX, state::StateRead as _};
use careledger_wire::{
    ids::GrantId,
    proto::{
        consent::ConsentMode,
        state::{Closure, Grant},
    },
};

use crate::{
    script::{check_familiar, familiar, run, subject},
    world::{START, World, bytes},
};

#[test]
fn only_the_patient_grants_and_revokes() {
    check_familiar(
        "clinic grants lab as g on alice.clinic
         bob.clinic grants lab as g on alice.clinic
         alice.clinic grants lab as g
         alice.clinic grants lab as g
         bob.clinic revokes g on alice.clinic
         lab revokes g on alice.clinic
         alice.clinic revokes other
         alice.clinic revokes g
         alice.clinic revokes g
         alice.clinic grants lab as g",
        "NotAClaimant NotTheSubject ok GrantExists NotTheSubject NotAClaimant UnknownGrant ok GrantRevoked GrantExists",
    );
}

#[test]
fn a_subject_must_be_claimed_before_it_grants() {
    check_familiar(
        "clinic opens carol.clinic
         carol.clinic grants lab as g
         carol.clinic revokes g
         carol.clinic claims carol.clinic + grants lab as g
         carol.clinic revokes g",
        "ok SubjectNotClaimed SubjectNotClaimed ok ok",
    );
}

#[test]
fn a_grant_names_an_organization_in_good_standing() {
    check_familiar(
        "alice.clinic grants bob.clinic as a
         alice.clinic grants doctor as a
         alice.clinic grants nobody as a
         r1 suspends lab
         alice.clinic grants lab as a
         at 1000000
         alice.clinic grants payer as a until 1000500",
        "GranteeNotInGoodStanding GranteeNotInGoodStanding GranteeNotInGoodStanding ok GranteeNotInGoodStanding GranteeNotInGoodStanding",
    );
}

#[test]
fn a_window_has_a_beginning_and_an_end() {
    // Ten years of 366 days.
    check_familiar(
        "alice.clinic grants lab as a from 5 until 5
         alice.clinic grants lab as a from 5 until 6
         alice.clinic grants lab as b until 0
         alice.clinic grants lab as b from -10 until 1
         alice.clinic grants lab as c until 316224000
         alice.clinic grants lab as d until 316224001",
        "InvalidField ok InvalidField ok ok EndsTooLate",
    );
    check_familiar(
        "at 100
         alice.clinic grants lab as a until 100
         alice.clinic grants lab as a until 101",
        "AlreadyEnded ok",
    );
}

#[test]
fn a_request_is_answered_once_and_in_time() {
    check_familiar(
        "lab requests alice.clinic as q until 100
         lab requests alice.clinic as q until 100
         chemist requests carol.clinic as r until 100
         alice.clinic grants lab as g for unknown
         alice.clinic grants chemist as g for q
         bob.clinic grants lab as g for q
         at 99
         alice.clinic grants lab as g for q
         alice.clinic grants lab as h for q
         alice.clinic grants lab as h",
        "ok RequestExists UnknownSubject UnknownRequest RequestMismatch RequestMismatch ok RequestAnswered ok",
    );
    check_familiar(
        "lab requests alice.clinic as q until 100
         at 100
         alice.clinic grants lab as g for q
         lab requests alice.clinic as r until 100
         lab requests alice.clinic as r until 7776100
         lab requests alice.clinic as s until 7776101",
        "ok RequestExpired AlreadyEnded ok EndsTooLate",
    );
}

#[test]
fn the_enroller_has_no_right_left_after_the_claim() {
    check_familiar(
        "clinic grants clinic as g on alice.clinic
         clinic revokes g on alice.clinic
         clinic claims alice.clinic
         clinic opens alice.clinic",
        "NotAClaimant NotAClaimant NotAClaimant SubjectExists",
    );
}

#[test]
fn a_revocation_states_its_time_and_keeps_the_grant() {
    let mut world = familiar();
    run(
        &mut world,
        "lab requests alice.clinic as q\nalice.clinic grants lab as g for q\nat 77\nalice.clinic revokes g",
    );
    let grant = world.machine.store().get(&keys::consent(&subject("alice.clinic"), &GrantId::new(bytes("g")))).unwrap();
    assert_eq!((grant.revoked_at, grant.expires_at, grant.not_before), (START + 77, START + 1_000, START));
    assert_eq!(grant.request, bytes("q"));
    let request = world.machine.store().get(&keys::request(&careledger_wire::ids::RequestId::new(bytes("q")))).unwrap();
    assert_eq!(request.grant, bytes("g"));
}

fn grant(world: &World, name: &str) -> Grant {
    world.machine.store().get(&keys::consent(&subject("alice.clinic"), &GrantId::new(bytes(name)))).expect("a grant")
}

#[test]
fn only_who_acts_for_the_subject_amends_and_only_what_stands() {
    check_familiar(
        "alice.clinic grants lab as g
         lab amends g to 2 on alice.clinic
         bob.clinic amends g to 2 on alice.clinic
         alice.clinic amends other to 2
         alice.clinic amends g to 0
         alice.clinic amends g to 1
         alice.clinic amends g to 3
         alice.clinic amends g to 2
         alice.clinic amends g to 2
         alice.clinic amends g to 3
         alice.clinic revokes g
         alice.clinic amends g to 4",
        "ok NotAClaimant NotTheSubject UnknownGrant InvalidField WrongVersion WrongVersion ok WrongVersion ok ok GrantRevoked",
    );
}

#[test]
fn an_amended_window_keeps_the_limits_of_a_grant() {
    check_familiar(
        "alice.clinic grants lab as g
         alice.clinic amends g to 2 from 5 until 5
         at 100
         alice.clinic amends g to 2 until 100
         alice.clinic amends g to 2 until 316224101
         alice.clinic amends g to 2 until 101",
        "ok InvalidField AlreadyEnded EndsTooLate ok",
    );
}

#[test]
fn an_amendment_replaces_all_but_the_grantee_and_counts() {
    let mut world = familiar();
    let answers = run(
        &mut world,
        "alice.clinic grants lab as g delegable
         alice.clinic amends g to 2 from 7 until 700 append terms=narrow",
    );
    assert_eq!(answers, ["ok", "ok"]);
    let expected = Grant {
        grantee: crate::world::address("lab").to_vec(),
        mode: ConsentMode::Append.into(),
        not_before: START + 7,
        expires_at: START + 700,
        terms: bytes("narrow").to_vec(),
        body: bytes("body").to_vec(),
        amendments: 1,
        ..Grant::default()
    };
    assert_eq!(grant(&world, "g"), expected);
}

#[test]
fn a_revoked_grant_is_reinstated_by_the_subject_within_its_window() {
    check_familiar(
        "alice.clinic grants lab as g until 100
         alice.clinic reinstates g
         alice.clinic revokes g
         lab reinstates g on alice.clinic
         bob.clinic reinstates g on alice.clinic
         alice.clinic reinstates other
         at 99
         alice.clinic reinstates g
         alice.clinic revokes g
         at 100
         alice.clinic reinstates g",
        "ok GrantNotRevoked ok NotAClaimant NotTheSubject UnknownGrant ok ok GrantEnded",
    );
}

#[test]
fn a_reinstated_grant_tells_when_it_was_closed() {
    let mut world = familiar();
    run(
        &mut world,
        "alice.clinic grants lab as g
         at 10
         alice.clinic revokes g
         at 20
         alice.clinic reinstates g
         at 30
         alice.clinic revokes g",
    );
    let closed = grant(&world, "g");
    assert_eq!(closed.closures, [Closure { revoked_at: START + 10, reinstated_at: START + 20 }]);
    assert_eq!(closed.revoked_at, START + 30);
}

#[test]
fn a_grant_is_reinstated_a_bounded_number_of_times() {
    let mut world = familiar();
    run(&mut world, "alice.clinic grants lab as g");
    for round in 0..=REINSTATEMENTS_MAX {
        let answers = run(&mut world, "alice.clinic revokes g\nalice.clinic reinstates g");
        let expected = if round < REINSTATEMENTS_MAX { "ok" } else { "GrantFull" };
        assert_eq!(answers, ["ok", expected], "round {round}");
    }
}
