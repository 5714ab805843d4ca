//! Registration, suspension, enrolment, subjects.

use crate::{check, script::check_familiar};

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
        "r1 registers r2 as provider
         r1 registers doctor as provider
         r1 registers alice.clinic as provider
         clinic enrols r1
         clinic enrols lab
         clinic enrols alice.clinic
         lab opens alice.clinic
         lab opens doctor
         lab opens clinic
         lab opens r1",
        "AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse AddressInUse",
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
