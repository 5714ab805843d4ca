//! Each rule by what breaks it alone, every boundary to the second, and what holds of many grounds.

mod case;
mod properties;

use super::*;
use crate::proto::{consent::ReviewOutcome, identity::PractitionerRole};
use case::{Case, NOW, address, delegated, emergency, granted, guardian, set};

/// What one change of what is otherwise permitted breaks: `None` where it stays permitted.
fn broken(start: fn() -> Case, change: impl FnOnce(&mut Case)) -> Option<(Link, Rule)> {
    let mut case = start();
    change(&mut case);
    match case.decide() {
        Decision::Permit { .. } => None,
        Decision::Deny { trace } => trace[0].broken.map(|broken| (broken.link, broken.rule)),
    }
}

type Change = fn(&mut Case);

#[track_caller]
fn assert_each(start: fn() -> Case, link: Link, cases: &[(Rule, Change)]) {
    assert_eq!(broken(start, |_| {}), None);
    for (number, (rule, change)) in cases.iter().enumerate() {
        assert_eq!(broken(start, change), Some((link, *rule)), "case {number}");
    }
}

#[test]
fn the_actor_is_an_organization_a_practitioner_and_a_role() {
    assert_each(
        granted,
        Link::Own,
        &[
            (Rule::OrganizationInGoodStanding, |case| case.standing().suspended = 1),
            (Rule::Grantee, |case| {
                let Actor::Practitioner { organization, .. } = &mut case.request.actor else { panic!() };
                *organization = address(8);
            }),
            (Rule::PractitionerEnrolled, |case| {
                let Actor::Practitioner { enrolment, .. } = &mut case.request.actor else { panic!() };
                *enrolment = None;
            }),
            (Rule::Actor, |case| {
                let Actor::Practitioner { practitioner, .. } = &mut case.request.actor else { panic!() };
                *practitioner = address(8);
            }),
            (Rule::Role, |case| case.enrolment().role = PractitionerRole::Nurse as i32),
            (Rule::Role, |case| case.enrolment().role = 0),
        ],
    );
    let open = |case: &mut Case| {
        case.sign(|terms| terms.roles.clear());
        case.enrolment().role = PractitionerRole::Nurse as i32;
    };
    assert_eq!(broken(granted, open), None, "terms without roles are for every role");
}

#[test]
fn the_purpose_is_one_that_the_terms_name() {
    assert_each(granted, Link::Own, &[(Rule::Purpose, |case| case.request.purpose = "HPAYMT".to_owned())]);
}

#[test]
fn the_scope_is_the_types_that_the_terms_name() {
    let other: Change = |case| case.facts.resource_type = "Condition".to_owned();
    assert_each(granted, Link::Own, &[(Rule::ResourceType, other)]);
}

#[test]
fn every_label_must_be_opened() {
    assert_each(
        granted,
        Link::Own,
        &[
            (Rule::Labels, |case| case.facts.labels = set(&["R"])),
            (Rule::Labels, |case| case.facts.labels = set(&["PSY", "HIV"])),
            (Rule::Labels, |case| case.sign(|terms| terms.labels.clear())),
        ],
    );
}

#[test]
fn a_record_is_about_the_data_period() {
    assert_each(
        granted,
        Link::Own,
        &[
            (Rule::DataPeriod, |case| case.facts.about = None),
            (Rule::DataPeriod, |case| case.facts.about = Some(Seconds { start: 99, end: 150 })),
            (Rule::DataPeriod, |case| case.facts.about = Some(Seconds { start: 150, end: 201 })),
        ],
    );
    assert_eq!(broken(granted, |case| case.facts.about = Some(Seconds { start: 100, end: 200 })), None);
}

#[test]
fn a_mode_opens_itself_and_nothing_else() {
    assert_each(
        granted,
        Link::Own,
        &[
            (Rule::Mode, |case| case.request.mode = ConsentMode::Append),
            (Rule::Mode, |case| case.grant().mode = ConsentMode::Append as i32),
            (Rule::Mode, |case| {
                case.grant().mode = 0;
                case.request.mode = ConsentMode::Unspecified;
            }),
        ],
    );
    let append = |case: &mut Case| {
        case.grant().mode = ConsentMode::Append as i32;
        case.request.mode = ConsentMode::Append;
    };
    assert_eq!(broken(granted, append), None);
}

#[test]
fn a_grant_stands_on_the_ledger_and_its_terms_are_opened() {
    assert_each(
        granted,
        Link::Own,
        &[
            (Rule::GrantExists, |case| case.grounds.grants[0].state = None),
            (Rule::NotRevoked, |case| case.grant().revoked_at = NOW - 1),
            (Rule::TermsOpened, |case| case.grounds.grants[0].opened = None),
            (Rule::TermsOpened, |case| case.grounds.grants[0].opened.as_mut().unwrap().salt = [8; 32]),
            (Rule::TermsOpened, |case| case.sign(|terms| terms.organization = address(3))),
        ],
    );
}

#[test]
fn a_delegate_has_what_its_parent_has_and_no_more() {
    assert_each(
        delegated,
        Link::Parent,
        &[
            (Rule::GrantExists, |case| case.grounds.grants[0].parent = None),
            (Rule::GrantExists, |case| case.parent().grant = GrantId::new([8; 32])),
            (Rule::GrantExists, |case| case.parent().state = None),
            (Rule::NotRevoked, |case| case.given().revoked_at = NOW),
            (Rule::Mode, |case| case.given().mode = ConsentMode::Append as i32),
            (Rule::TermsOpened, |case| case.parent().opened = None),
            (Rule::TermsOpened, |case| case.parent().opened.as_mut().unwrap().salt = [8; 32]),
            (Rule::TermsOpened, |case| {
                case.parent().opened.as_mut().unwrap().terms.resource_types.insert("Condition".to_owned());
            }),
            (Rule::Delegable, |case| case.given().delegable = false),
            (Rule::Delegable, |case| case.given().parent = vec![4; 32]),
            (Rule::DelegatorInGoodStanding, |case| case.parent().standing = None),
            (Rule::DelegatorInGoodStanding, |case| case.parent().standing.as_mut().unwrap().suspended = 2),
            (Rule::Purpose, |case| case.sign_parent(|terms| terms.purposes = set(&["HPAYMT"]))),
            (Rule::ResourceType, |case| case.sign_parent(|terms| terms.resource_types = set(&["Condition"]))),
            (Rule::DataPeriod, |case| case.sign_parent(|terms| terms.data_period = Some(Seconds { start: 0, end: 9 }))),
            (Rule::Labels, |case| case.sign_parent(|terms| terms.labels.clear())),
            (Rule::GuardianSeesNoLabel, |case| case.given().by_guardian = true),
        ],
    );
    assert_each(delegated, Link::Own, &[(Rule::Labels, |case| case.sign(|terms| terms.labels.clear()))]);
}

#[test]
fn a_guardian_sees_no_labelled_record_and_lets_nobody_see_one() {
    assert_each(
        guardian,
        Link::Own,
        &[
            (Rule::GuardianSeesNoLabel, |case| case.facts.labels = set(&["PSY"])),
            (Rule::GuardianSeesNoLabel, |case| case.facts.labels = set(&["N", "R"])),
            (Rule::GuardianshipExists, |case| *case.guardianship() = None),
            (Rule::GuardianshipExists, |case| case.guardianship().as_mut().unwrap().until = 0),
            (Rule::Mode, |case| case.request.mode = ConsentMode::Append),
        ],
    );
    assert_each(granted, Link::Own, &[(Rule::GuardianSeesNoLabel, |case| case.grant().by_guardian = true)]);
    let unlabelled = |case: &mut Case| {
        case.grant().by_guardian = true;
        case.facts.labels = set(&["N"]);
    };
    assert_eq!(broken(granted, unlabelled), None);
}

#[test]
fn an_emergency_opens_while_its_organization_keeps_its_reviews() {
    assert_each(
        emergency,
        Link::Own,
        &[
            (Rule::OrganizationInGoodStanding, |case| case.standing().suspended = 1),
            (Rule::EmergencyExists, |case| case.grounds.emergencies[0].1 = None),
            (Rule::EmergencyAccredited, |case| case.standing().emergency = false),
            (Rule::NotUnjustified, |case| case.emergency().outcome = ReviewOutcome::NotJustified as i32),
            (Rule::Mode, |case| case.request.mode = ConsentMode::Append),
            (Rule::Grantee, |case| case.emergency().organization = address(8).to_vec()),
            (Rule::Actor, |case| case.emergency().practitioner = address(8).to_vec()),
        ],
    );
    assert_eq!(broken(emergency, |case| case.emergency().outcome = ReviewOutcome::Justified as i32), None);
}

/// One second before, at, and one second after every boundary.
#[test]
fn every_boundary_is_exact_to_the_second() {
    type Bound = fn(&mut Case, i64);
    type Boundary = (fn() -> Case, Link, Rule, Bound);
    // The rule holds from the second on.
    let starts: [Boundary; 3] = [
        (granted, Link::Own, Rule::Begun, |case, time| case.grant().not_before = time),
        (delegated, Link::Parent, Rule::Begun, |case, time| case.given().not_before = time),
        (emergency, Link::Own, Rule::Begun, |case, time| case.emergency().opened_at = time),
    ];
    // The rule holds before the second.
    let ends: [Boundary; 8] = [
        (granted, Link::Own, Rule::NotEnded, |case, time| case.grant().expires_at = time),
        (granted, Link::Own, Rule::PractitionerEnrolled, |case, time| case.enrolment().expires_at = time),
        (granted, Link::Own, Rule::OrganizationInGoodStanding, |case, time| case.standing().expires_at = time),
        (delegated, Link::Parent, Rule::NotEnded, |case, time| case.given().expires_at = time),
        (delegated, Link::Parent, Rule::DelegatorInGoodStanding, |case, time| {
            case.parent().standing.as_mut().unwrap().expires_at = time;
        }),
        (emergency, Link::Own, Rule::NotEnded, |case, time| case.emergency().expires_at = time),
        (emergency, Link::Own, Rule::ReviewsInTime, |case, time| case.grounds.reviews.open[0].review_by = time),
        (guardian, Link::Own, Rule::GuardianshipNotEnded, |case, time| {
            case.guardianship().as_mut().unwrap().until = time;
        }),
    ];
    for (start, link, rule, bound) in starts {
        for (time, expected) in [(NOW - 1, None), (NOW, None), (NOW + 1, Some((link, rule)))] {
            assert_eq!(broken(start, |case| bound(case, time)), expected, "{rule:?} from {time}");
        }
    }
    for (start, link, rule, bound) in ends {
        for (time, expected) in [(NOW - 1, Some((link, rule))), (NOW, Some((link, rule))), (NOW + 1, None)] {
            assert_eq!(broken(start, |case| bound(case, time)), expected, "{rule:?} until {time}");
        }
    }
    // The data period, from both sides.
    for (start, end, opens) in [(99, 150, false), (100, 150, true), (101, 150, true)] {
        let about = |case: &mut Case| case.facts.about = Some(Seconds { start, end });
        assert_eq!(broken(granted, about).is_none(), opens, "about {start}");
    }
    for (start, end, opens) in [(150, 199, true), (150, 200, true), (150, 201, false)] {
        let about = |case: &mut Case| case.facts.about = Some(Seconds { start, end });
        assert_eq!(broken(granted, about).is_none(), opens, "about until {end}");
    }
}

#[test]
fn a_decision_says_which_ground_and_which_rule() {
    let mut case = granted();
    let mut revoked = case.grounds.grants[0].clone();
    revoked.grant = GrantId::new([1; 32]);
    revoked.state.as_mut().unwrap().revoked_at = 1;
    case.grounds.grants.push(revoked);
    case.grounds.emergencies = emergency().grounds.emergencies;
    let (first, second) = (Ground::Grant(GrantId::new([1; 32])), Ground::Grant(GrantId::new([5; 32])));
    let broken = Some(Broken { link: Link::Own, rule: Rule::NotRevoked });
    let trace = vec![Step { ground: first, broken }, Step { ground: second, broken: None }];
    assert_eq!(case.decide(), Decision::Permit { ground: second, trace });
}
