//! Access requests, grants, revocations.

use careledger_app::{keys, state::StateRead as _};
use careledger_wire::ids::GrantId;

use crate::{
    script::{check_familiar, familiar, run, subject},
    world::{START, bytes},
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
