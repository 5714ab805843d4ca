//! Registration, suspension, enrolment, subjects.

use careledger_wire::proto::identity::MsgClaimSubject;

use crate::{
    check,
    script::{check_familiar, familiar, run},
    world::{address, name_of},
};

#[test]
fn two_of_three_registrars_register_an_organization() {
    check(
        "clinic opens alice.clinic
         r1 registers clinic as provider
         clinic opens alice.clinic
         r1 registers clinic as provider
         r2 registers clinic as insurer
         r2 registers clinic as provider until 999
         clinic opens alice.clinic
         r2 registers clinic as provider
         clinic opens alice.clinic",
        "UnknownAccount ok UnknownAccount AlreadyApproved ok ok UnknownAccount ok ok",
    );
}

#[test]
fn a_renewal_needs_the_registrars_again_and_lifts_a_suspension() {
    check_familiar(
        "r3 suspends clinic
         r3 suspends clinic
         clinic anchors a
         r1 registers clinic as provider until 2000000
         clinic anchors a
         r2 registers clinic as provider until 2000000
         clinic anchors a",
        "ok OrganizationSuspended OrganizationSuspended ok OrganizationSuspended ok ok",
    );
}

/// Approvals are of one standing: none is left over that lets one registrar alone lift a suspension
/// or bring back a key.
#[test]
fn a_late_approval_registers_nobody_again() {
    check_familiar(
        "r3 registers clinic as provider
         r3 registers clinic as provider until 999
         r3 registers clinic as provider until 2000000
         r3 suspends clinic
         r1 registers clinic as provider until 2000000
         clinic anchors a
         r1 registers clinic as provider
         clinic anchors a
         r2 registers clinic as provider
         clinic anchors a
         r2 registers clinic as provider until 2000000
         clinic anchors b
         r1 registers clinic as provider until 2000000
         r1 suspends clinic
         r2 registers clinic as provider until 2000000
         clinic anchors c",
        "AlreadyRegistered ok ok ok ok OrganizationSuspended ok OrganizationSuspended ok ok ok ok ok ok ok OrganizationSuspended",
    );
}

#[test]
fn an_accreditation_ends_to_the_second() {
    check_familiar(
        "at 999999
         clinic anchors a
         at 1000000
         clinic anchors b
         clinic enrols nurse
         r1 registers new as provider until 1000000
         r1 registers new as provider until 1000001",
        "ok OrganizationExpired OrganizationExpired AlreadyEnded ok",
    );
}

#[test]
fn an_accreditation_is_bounded_to_the_second() {
    // Five years of 366 days.
    check(
        "r1 registers clinic as provider until 158112000
         r1 registers clinic as provider until 158112001",
        "ok EndsTooLate",
    );
}

#[test]
fn unknown_organizations_and_kinds_are_refused() {
    check_familiar(
        "r1 suspends nobody
         r1 suspends alice.clinic
         r1 registers new as nothing",
        "UnknownOrganization UnknownOrganization InvalidField",
    );
}

#[test]
fn an_account_has_one_role_for_ever() {
    check_familiar(
        "doctor adds tablet as device
         r1 registers r2 as provider
         r1 registers doctor as provider
         r1 registers alice.clinic as provider
         clinic enrols r1
         clinic enrols lab
         clinic enrols alice.clinic
         lab opens alice.clinic
         lab opens doctor
         lab opens clinic
         lab opens r1",
        "ok AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse",
    );
}

#[test]
fn a_practitioner_can_work_for_two_organizations() {
    check_familiar(
        "lab enrols doctor
         clinic enrols doctor until 500
         clinic enrols nurse until 0
         clinic enrols nurse until 63244800
         clinic enrols nurse until 63244801",
        "ok ok AlreadyEnded ok EndsTooLate",
    );
}

#[test]
fn only_the_patient_claims_a_subject_and_once() {
    check_familiar(
        "clinic opens carol.clinic
         clinic opens carol.clinic
         alice.clinic claims carol.clinic
         clinic claims carol.clinic
         carol.clinic claims carol.clinic
         carol.clinic claims carol.clinic
         carol.clinic claims dave.clinic",
        "ok SubjectExists NotTheSubject NotAClaimant ok SubjectClaimed UnknownSubject",
    );
}

/// Whoever learns an address first cannot keep it from its owner: the key's word wins, once.
#[test]
fn nobodys_address_is_burnt() {
    check_familiar(
        "lab opens carol.clinic
         clinic opens carol.clinic
         clinic opens carol.clinic bound bound-by=lab
         clinic opens carol.clinic bound bound-to=lab
         clinic opens carol.clinic bound bound-on=careledger-dev-2
         clinic opens carol.clinic bound bound-key=lab
         clinic opens carol.clinic bound
         chemist opens carol.clinic bound
         lab enrols carol.clinic bound
         r1 registers carol.clinic as provider
         carol.clinic claims carol.clinic",
        "ok AddressInUse KeyNotProven KeyNotProven KeyNotProven InvalidField ok AddressInUse AddressInUse AddressInUse ok",
    );
    check_familiar(
        "lab opens nurse
         clinic enrols nurse
         clinic enrols nurse bound bound-to=lab
         clinic enrols nurse bound
         nurse claims nurse
         lab enrols nurse
         lab enrols nurse bound",
        "ok AddressInUse KeyNotProven ok NotAClaimant ok ok",
    );
    check_familiar(
        "lab opens new
         lab enrols newer
         r1 registers new as provider
         r2 registers new as provider
         new anchors a
         r1 registers newer as provider
         newer adds phone as device
         r2 registers newer as provider",
        "ok ok ok ok ok ok ok AddressInUse",
    );
}

/// The subject that another organization opened before the key spoke is nobody's any more.
#[test]
fn a_bound_claimant_has_one_subject() {
    let mut world = familiar();
    let script = "lab opens carol.clinic\nclinic opens carol.clinic bound";
    assert_eq!(run(&mut world, script), ["ok", "ok"]);
    let at_lab = careledger_wire::commitment::subject_id(&address("lab"), &address("carol.clinic"));
    let claim = MsgClaimSubject {
        sender: address("carol.clinic").to_string(),
        subject: at_lab.to_vec(),
        encryption_key: vec![7; 32],
    };
    let transaction = world.signed("carol.clinic", &[claim.into()]);
    assert_eq!(name_of(&world.send(transaction)), "NotTheSubject");
    assert_eq!(run(&mut world, "carol.clinic claims carol.clinic"), ["ok"]);
}

/// Assisted enrolment: the organization opens, the patient claims, and from there the organization
/// can do nothing that any other could not.
#[test]
fn the_enroller_has_no_right_left_after_the_claim() {
    check_familiar(
        "clinic opens carol.clinic
         carol.clinic claims carol.clinic
         clinic claims carol.clinic
         clinic opens carol.clinic
         clinic opens carol.clinic bound
         clinic enrols carol.clinic
         clinic grants lab as g on carol.clinic
         carol.clinic grants lab as g
         clinic revokes g on carol.clinic
         carol.clinic@clinic revokes g on carol.clinic
         carol.clinic@clinic adds mine as full
         carol.clinic@clinic guards 1 of clinic
         clinic approves mine for carol.clinic
         clinic sees mine for carol.clinic
         at 900000
         clinic restores carol.clinic with mine
         carol.clinic vetoes
         carol.clinic revokes g",
        "ok ok NotAClaimant SubjectExists SubjectExists AddressInUse NotAClaimant ok NotAClaimant UnknownKey UnknownKey UnknownKey NotAGuardian ok RecoveryNotApproved ok ok",
    );
}
