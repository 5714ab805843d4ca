use proptest::prelude::*;

use std::collections::BTreeSet;

use super::*;
use crate::mapping::{consent::Terms, period::Seconds};

const NOW: i64 = 1_000_000;

#[test]
fn every_refusal_that_a_patient_may_see_is_documented() {
    let page = include_str!("../../../docs/api/audit-event.md");
    for (place, rule) in Rule::ALL.into_iter().enumerate() {
        assert_eq!(rule as usize, place, "{rule:?} is missing or out of order");
        assert!(page.contains(&format!("| `{}` |", rule.refused())), "{}", rule.refused());
    }
}

fn address(byte: u8) -> Address {
    Address::new([byte; 20])
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn terms() -> Terms {
    Terms {
        organization: address(1),
        practitioner: Some(address(2)),
        roles: BTreeSet::new(),
        purposes: set(&["TREAT"]),
        resource_types: set(&["DocumentReference"]),
        data_period: Some(Seconds { start: 100, end: 200 }),
        labels: set(&["PSY"]),
    }
}

fn candidate_of(terms: Terms) -> Candidate {
    let salt = [9; 32];
    Candidate {
        grant: GrantId::new([5; 32]),
        state: Some(Grant {
            grantee: terms.organization.to_vec(),
            mode: ConsentMode::View as i32,
            not_before: NOW - 10,
            expires_at: NOW + 10,
            terms: terms.commitment(&salt).to_vec(),
            ..Grant::default()
        }),
        permit: Some(Permit {
            terms,
            window: Seconds { start: NOW - 10, end: NOW + 10 },
            salt,
            grant: GrantId::new([5; 32]),
            patient: "p".to_owned(),
            delegable: false,
        }),
        beyond: Beyond::default(),
    }
}

fn ask() -> Ask {
    Ask {
        organization: address(1),
        standing: Some(Organization { expires_at: NOW + 5, ..Organization::default() }),
        practitioner: address(2),
        enrolment: Some(Practitioner { expires_at: NOW + 5, ..Practitioner::default() }),
        purpose: "TREAT".to_owned(),
        now: NOW,
    }
}

fn facts() -> Facts {
    Facts {
        resource_type: "DocumentReference".to_owned(),
        about: Some(Seconds { start: 150, end: 151 }),
        labels: set(&["N", "PSY"]),
    }
}

/// What one change of an otherwise permitted read gives: `None` where it stays permitted.
fn broken(change: impl FnOnce(&mut Candidate, &mut Ask, &mut Facts)) -> Option<Rule> {
    let (mut candidate, mut ask, mut facts) = (candidate_of(terms()), ask(), facts());
    change(&mut candidate, &mut ask, &mut facts);
    decide(&candidate, &ask, &facts).err()
}

fn grant(candidate: &mut Candidate) -> &mut Grant {
    candidate.state.as_mut().unwrap()
}

/// The ledger agrees with other terms: the patient signed these.
fn signed(candidate: &mut Candidate, change: impl FnOnce(&mut Terms)) {
    let mut terms = terms();
    change(&mut terms);
    *candidate = candidate_of(terms);
}

#[test]
fn what_the_patient_opened_is_permitted() {
    assert_eq!(broken(|_, _, _| {}), None);
}

#[test]
fn every_dimension_is_decided_by_its_rule() {
    type Change = fn(&mut Candidate, &mut Ask, &mut Facts);
    let cases: [(Rule, Change); 22] = [
        (Rule::OrganizationInGoodStanding, |_, ask, _| ask.standing = None),
        (Rule::OrganizationInGoodStanding, |_, ask, _| ask.standing.as_mut().unwrap().suspended = 1),
        (Rule::PractitionerEnrolled, |_, ask, _| ask.enrolment = None),
        (Rule::PractitionerEnrolled, |_, ask, _| ask.enrolment.as_mut().unwrap().suspended_at = 1),
        (Rule::GrantExists, |candidate, _, _| candidate.state = None),
        (Rule::NotRevoked, |candidate, _, _| grant(candidate).revoked_at = NOW - 5),
        (Rule::Mode, |candidate, _, _| grant(candidate).mode = ConsentMode::Append as i32),
        (Rule::Mode, |candidate, _, _| grant(candidate).mode = 0),
        (Rule::Grantee, |_, ask, _| ask.organization = address(8)),
        (Rule::TermsOpened, |candidate, _, _| candidate.permit = None),
        (Rule::TermsOpened, |candidate, _, _| candidate.permit.as_mut().unwrap().salt = [8; 32]),
        (Rule::TermsOpened, |candidate, _, _| {
            candidate.permit.as_mut().unwrap().terms.resource_types = set(&["DocumentReference", "Condition"]);
        }),
        (Rule::Actor, |_, ask, _| ask.practitioner = address(3)),
        (Rule::Purpose, |_, ask, _| ask.purpose = "HPAYMT".to_owned()),
        (Rule::ResourceType, |_, _, facts| facts.resource_type = "Condition".to_owned()),
        (Rule::DataPeriod, |_, _, facts| facts.about = None),
        (Rule::DataPeriod, |_, _, facts| facts.about = Some(Seconds { start: 99, end: 150 })),
        (Rule::DataPeriod, |_, _, facts| facts.about = Some(Seconds { start: 199, end: 201 })),
        (Rule::Labels, |_, _, facts| facts.labels = set(&["R"])),
        (Rule::Labels, |_, _, facts| facts.labels = set(&["PSY", "HIV"])),
        (Rule::Labels, |_, _, facts| facts.labels = set(&["V"])),
        (Rule::Labels, |candidate, _, _| signed(candidate, |terms| terms.labels.clear())),
    ];
    for (rule, change) in cases {
        assert_eq!(broken(change), Some(rule));
    }
}

#[test]
fn what_the_terms_leave_open_is_open() {
    type Change = fn(&mut Candidate, &mut Ask, &mut Facts);
    let cases: [Change; 4] = [
        |candidate, ask, _| {
            signed(candidate, |terms| terms.practitioner = None);
            ask.practitioner = address(3);
        },
        |candidate, _, facts| {
            signed(candidate, |terms| terms.data_period = None);
            facts.about = None;
        },
        |_, _, facts| facts.about = Some(Seconds { start: 100, end: 200 }),
        |_, _, facts| facts.labels = set(&["U", "L", "M", "N"]),
    ];
    for change in cases {
        assert_eq!(broken(change), None);
    }
}

#[test]
fn every_boundary_is_exact_to_the_second() {
    type Bound = fn(&mut Candidate, &mut Ask, i64);
    // The last argument is the time of the boundary; the rule holds on one side of it.
    let starts: [(Rule, Bound); 1] = [(Rule::Begun, |candidate, _, time| grant(candidate).not_before = time)];
    let ends: [(Rule, Bound); 3] = [
        (Rule::NotEnded, |candidate, _, time| grant(candidate).expires_at = time),
        (Rule::PractitionerEnrolled, |_, ask, time| ask.enrolment.as_mut().unwrap().expires_at = time),
        (Rule::OrganizationInGoodStanding, |_, ask, time| ask.standing.as_mut().unwrap().expires_at = time),
    ];
    for (rule, bound) in starts {
        for (time, expected) in [(NOW - 1, None), (NOW, None), (NOW + 1, Some(rule))] {
            assert_eq!(broken(|candidate, ask, _| bound(candidate, ask, time)), expected, "{rule:?} from {time}");
        }
    }
    for (rule, bound) in ends {
        for (time, expected) in [(NOW - 1, Some(rule)), (NOW, Some(rule)), (NOW + 1, None)] {
            assert_eq!(broken(|candidate, ask, _| bound(candidate, ask, time)), expected, "{rule:?} until {time}");
        }
    }
}

/// The candidate was delegated by organization 3, whose grant opens the same.
fn delegate(candidate: &mut Candidate) {
    let mut given = candidate_of(Terms { organization: address(3), ..terms() });
    let state = given.state.take().map(|state| Grant { delegable: true, ..state });
    grant(candidate).parent = vec![6; 32];
    candidate.beyond.parent = Some(Parent {
        grant: GrantId::new([6; 32]),
        state,
        opened: given.permit.as_ref().map(opened),
        standing: Some(Organization { expires_at: NOW + 5, ..Organization::default() }),
    });
}

#[test]
fn a_delegated_grant_needs_the_one_that_it_came_from() {
    assert_eq!(broken(|candidate, _, _| delegate(candidate)), None);
    let revoked = |candidate: &mut Candidate, _: &mut Ask, _: &mut Facts| {
        delegate(candidate);
        candidate.beyond.parent.as_mut().unwrap().state.as_mut().unwrap().revoked_at = 1;
    };
    assert_eq!(broken(revoked), Some(Rule::NotRevoked));
    assert_eq!(broken(|candidate, _, _| grant(candidate).parent = vec![6; 32]), Some(Rule::GrantExists));
}

/// The id is no grant's but an emergency's, of an accredited organization.
fn in_emergency(candidate: &mut Candidate, ask: &mut Ask) {
    (candidate.state, candidate.permit) = (None, None);
    ask.standing.as_mut().unwrap().emergency = true;
    candidate.beyond.emergency = Some(Emergency {
        organization: address(1).to_vec(),
        practitioner: address(2).to_vec(),
        opened_at: NOW - 1,
        expires_at: NOW + 1,
        ..Emergency::default()
    });
}

#[test]
fn an_emergency_is_judged_where_there_is_no_grant() {
    let opened = |candidate: &mut Candidate, ask: &mut Ask, facts: &mut Facts| {
        in_emergency(candidate, ask);
        facts.labels = set(&["R"]);
    };
    assert_eq!(broken(opened), None);
    let ended = |candidate: &mut Candidate, ask: &mut Ask, _: &mut Facts| {
        in_emergency(candidate, ask);
        ask.now = NOW + 1;
    };
    assert_eq!(broken(ended), Some(Rule::NotEnded));
    let (mut candidate, mut ask) = (candidate_of(terms()), ask());
    in_emergency(&mut candidate, &mut ask);
    assert_eq!(decide_grant(&candidate, &ask), Ok(()));
    ask.standing.as_mut().unwrap().emergency = false;
    assert_eq!(decide_grant(&candidate, &ask), Err(Rule::EmergencyAccredited));
}

type Break = fn(&mut Candidate, &mut Ask, &mut Facts);

/// What breaks each rule alone, in the order in which docs/api/consent.md lists the rules.
const BREAKING: [(Rule, Break); 14] = [
    (Rule::OrganizationInGoodStanding, |_, ask, _| ask.standing = None),
    (Rule::PractitionerEnrolled, |_, ask, _| ask.enrolment = None),
    (Rule::GrantExists, |candidate, _, _| candidate.state = None),
    (Rule::NotRevoked, |candidate, _, _| change(candidate, |grant| grant.revoked_at = 1)),
    (Rule::Begun, |candidate, _, _| change(candidate, |grant| grant.not_before = NOW + 1)),
    (Rule::NotEnded, |candidate, _, _| change(candidate, |grant| grant.expires_at = NOW)),
    (Rule::Mode, |candidate, _, _| change(candidate, |grant| grant.mode = 0)),
    (Rule::Grantee, |candidate, _, _| change(candidate, |grant| grant.grantee = vec![8; 20])),
    (Rule::TermsOpened, |candidate, _, _| candidate.permit = None),
    (Rule::Actor, |_, ask, _| ask.practitioner = address(3)),
    (Rule::Purpose, |_, ask, _| ask.purpose = "HPAYMT".to_owned()),
    (Rule::ResourceType, |_, _, facts| facts.resource_type = "Condition".to_owned()),
    (Rule::DataPeriod, |_, _, facts| facts.about = None),
    (Rule::Labels, |_, _, facts| facts.labels = set(&["R"])),
];

fn change(candidate: &mut Candidate, change: impl FnOnce(&mut Grant)) {
    if let Some(grant) = &mut candidate.state {
        change(grant);
    }
}

proptest! {
    #[test]
    fn the_first_rule_that_does_not_hold_is_named_in_the_documented_order(broken in any::<[bool; 14]>()) {
        let (mut candidate, mut ask, mut facts) = (candidate_of(terms()), ask(), facts());
        let mut expected = Ok(());
        for ((rule, change), _) in BREAKING.iter().zip(broken).filter(|(_, broken)| *broken) {
            change(&mut candidate, &mut ask, &mut facts);
            expected = expected.and(Err(*rule));
        }
        prop_assert_eq!(decide(&candidate, &ask, &facts), expected);
    }

    #[test]
    fn narrowing_never_opens(types in proptest::collection::btree_set("[AB]", 0..3), kind in "[AB]") {
        let mut candidate = candidate_of(terms());
        signed(&mut candidate, |terms| terms.resource_types = types.clone());
        let facts = Facts { resource_type: kind.clone(), ..facts() };
        prop_assert_eq!(decide(&candidate, &ask(), &facts).is_ok(), types.contains(&kind));
    }
}
