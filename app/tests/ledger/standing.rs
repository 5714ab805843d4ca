//! Standing approvals: requests that are granted in the block that makes them, within caps.

use careledger_app::{keys, state::StateRead as _};
use careledger_wire::{
    ids::{GrantId, RequestId, StandingId},
    proto::{
        consent::ConsentMode,
        state::{AccessRequest, Grant},
    },
};

use crate::{
    script::{check_familiar, familiar, run, subject},
    world::{START, World, address, bytes},
};

fn grant(world: &World, name: &str) -> Option<Grant> {
    world.machine.store().get(&keys::consent(&subject("alice.clinic"), &GrantId::new(bytes(name))))
}

#[test]
fn only_the_patient_approves_in_advance_and_withdraws() {
    check_familiar(
        "lab preapproves lab as s on alice.clinic
         bob.clinic preapproves lab as s on alice.clinic
         alice.clinic preapproves nobody as s
         alice.clinic preapproves lab as s uses 0
         alice.clinic preapproves lab as s uses 1001
         alice.clinic preapproves lab as s each 0
         alice.clinic preapproves lab as s each 7776001
         alice.clinic preapproves lab as s until 0
         alice.clinic preapproves lab as s until 63244801
         alice.clinic preapproves lab as s uses 1000 each 7776000 until 63244800
         alice.clinic preapproves lab as s
         lab withdraws s on alice.clinic
         bob.clinic withdraws s on alice.clinic
         alice.clinic withdraws t
         alice.clinic withdraws s
         alice.clinic withdraws s
         clinic opens carol.clinic
         carol.clinic preapproves lab as s",
        "NotAClaimant NotTheSubject GranteeNotInGoodStanding InvalidField InvalidField InvalidField InvalidField AlreadyEnded
         EndsTooLate ok IdTaken NotAClaimant NotTheSubject UnknownStanding ok UnknownStanding ok SubjectNotClaimed",
    );
}

#[test]
fn a_request_under_a_standing_approval_is_a_grant_in_the_same_block() {
    let mut world = familiar();
    let script = "
        alice.clinic preapproves lab as s each 100 append
        at 40
        lab requests alice.clinic as q under s";
    assert_eq!(run(&mut world, script), ["ok", "ok"]);
    let expected = Grant {
        grantee: address("lab").to_vec(),
        mode: ConsentMode::Append.into(),
        not_before: START + 40,
        expires_at: START + 140,
        terms: bytes("terms").to_vec(),
        body: bytes("body").to_vec(),
        request: bytes("q").to_vec(),
        standing: bytes("s").to_vec(),
        ..Grant::default()
    };
    assert_eq!(grant(&world, "q"), Some(expected));
    let request: AccessRequest = world.machine.store().get(&keys::request(&RequestId::new(bytes("q")))).unwrap();
    assert_eq!(request.grant, bytes("q"), "the request is answered");
    let key = keys::standing(&subject("alice.clinic"), &StandingId::new(bytes("s")));
    assert_eq!(world.machine.store().get(&key).unwrap().uses, 1);
    assert_eq!(run(&mut world, "alice.clinic grants lab as g for q"), ["RequestAnswered"]);
    assert_eq!(run(&mut world, "alice.clinic revokes q"), ["ok"], "the patient closes it like any other");
}

#[test]
fn a_standing_approval_covers_its_grantee_its_terms_its_number_and_its_time() {
    check_familiar(
        "alice.clinic preapproves lab as s uses 2 until 100
         chemist requests alice.clinic as a under s
         lab requests alice.clinic as a under s terms=wider
         lab requests bob.clinic as a under s
         lab requests alice.clinic as a under t
         lab requests alice.clinic as a under s
         lab requests alice.clinic as a under s
         at 99
         lab requests alice.clinic as b under s
         lab requests alice.clinic as c under s
         alice.clinic preapproves lab as u until 100
         at 100
         lab requests alice.clinic as c under u
         alice.clinic preapproves lab as v
         alice.clinic withdraws v
         lab requests alice.clinic as c under v
         lab requests alice.clinic as c",
        "ok StandingRefuses StandingRefuses UnknownStanding UnknownStanding ok RequestExists ok StandingRefuses ok StandingRefuses
         ok ok UnknownStanding ok",
    );
}

#[test]
fn a_standing_approval_never_replaces_a_grant_nor_outlives_its_date() {
    let mut world = familiar();
    let script = "
        alice.clinic grants lab as q
        alice.clinic preapproves lab as s until 150 each 100
        lab requests alice.clinic as q under s
        at 100
        lab requests alice.clinic as r under s
        r1 suspends lab
        lab requests alice.clinic as t under s";
    assert_eq!(run(&mut world, script), ["ok", "ok", "GrantExists", "ok", "ok", "OrganizationSuspended"]);
    assert_eq!(grant(&world, "r").unwrap().expires_at, START + 150);
}
