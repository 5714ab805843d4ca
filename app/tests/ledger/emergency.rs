//! Views without consent: who opens one, who sees it, who reviews it, and what a missed review does.

use careledger_app::{
    keys,
    limits::{EMERGENCIES_UNREVIEWED_MAX, EMERGENCY_REVIEW_SECONDS},
    machine::Event,
    state::StateRead as _,
};
use careledger_wire::{
    decision::{self, Actor, Decision, Facts, Grounds, Request, Rule},
    ids::EmergencyId,
    proto::{
        consent::{ConsentMode, EmergencyReason, ReviewOutcome},
        state::Emergency,
    },
};

use crate::{
    script::{check_familiar, familiar, message, run, subject},
    world::{START, World, address, bytes, name_of},
};

const ACCREDITED: &str = "
    r1 registers clinic as provider emergency
    r2 registers clinic as provider emergency
    lab opens carol.lab";

fn accredited() -> World {
    let mut world = familiar();
    assert_eq!(run(&mut world, ACCREDITED), ["ok", "ok", "ok"]);
    world
}

#[track_caller]
fn check(script: &str, expected: &str) {
    assert_eq!(run(&mut accredited(), script), expected.split_whitespace().collect::<Vec<_>>());
}

fn emergency(world: &World, name: &str) -> Emergency {
    let key = keys::emergency(&subject("carol.lab"), &EmergencyId::new(bytes(name)));
    world.machine.store().get(&key).expect("an emergency")
}

/// The capability is part of what registrars agree on.
#[test]
fn registrars_agree_on_the_capability() {
    check_familiar(
        "clinic breaks alice.clinic as e by doctor
         r1 registers clinic as provider emergency
         clinic breaks alice.clinic as e by doctor
         r2 registers clinic as provider until 1000001
         clinic breaks alice.clinic as e by doctor
         r2 registers clinic as provider emergency
         clinic breaks alice.clinic as e by doctor
         r1 registers clinic as provider
         r2 registers clinic as provider
         clinic breaks alice.clinic as f by doctor",
        "EmergencyNotAccredited ok EmergencyNotAccredited ok EmergencyNotAccredited ok ok ok ok EmergencyNotAccredited",
    );
}

#[test]
fn an_accredited_organization_breaks_the_glass_for_one_practitioner_and_a_time() {
    check(
        "doctor breaks carol.lab as e by doctor
         alice.clinic breaks carol.lab as e by doctor
         lab breaks carol.lab as e by doctor
         clinic breaks carol.lab as e by nurse
         clinic breaks nobody.lab as e by doctor
         clinic breaks carol.lab as e by doctor for 0
         clinic breaks carol.lab as e by doctor for 86401
         clinic breaks carol.lab as e by doctor for 86400
         clinic breaks carol.lab as e by doctor
         clinic enrols nurse until 50
         at 50
         clinic breaks carol.lab as f by nurse
         r3 suspends clinic
         clinic breaks carol.lab as f by doctor",
        "NotAnOrganization NotAnOrganization EmergencyNotAccredited PractitionerNotEnrolled UnknownSubject InvalidField \
         InvalidField ok IdTaken ok PractitionerNotEnrolled ok OrganizationSuspended",
    );
}

#[test]
fn everyone_concerned_sees_it_in_the_same_block() {
    let mut world = accredited();
    world.time = 7;
    world.decide(Vec::new());
    let transaction = world.signed("clinic", &[message(&world, None, "clinic", "breaks carol.lab as e by doctor")]);
    let outcome = world.decide(vec![transaction]).remove(0);
    let notice = Event {
        kind: "break_glass".to_owned(),
        attributes: vec![
            ("subject".to_owned(), subject("carol.lab").to_string()),
            ("emergency".to_owned(), hex::encode(bytes("e"))),
            ("organization".to_owned(), address("clinic").to_string()),
        ],
    };
    assert!(outcome.events.contains(&notice), "{:?}", outcome.events);
    let expected = Emergency {
        organization: address("clinic").to_vec(),
        practitioner: address("doctor").to_vec(),
        reason: EmergencyReason::Unconscious.into(),
        opened_at: START + 7,
        expires_at: START + 107,
        review_by: START + 7 + EMERGENCY_REVIEW_SECONDS,
        ..Emergency::default()
    };
    assert_eq!(emergency(&world, "e"), expected);
    let listed = world.machine.store().scan(&keys::emergencies_of(&subject("carol.lab")), None, 10);
    assert_eq!(listed.len(), 1, "the wallet and the custodian find it by the subject");
}

#[test]
fn another_organization_or_a_registrar_reviews_once() {
    check(
        "clinic breaks carol.lab as e by doctor
         clinic breaks carol.lab as f by doctor
         clinic reviews e on carol.lab
         doctor reviews e on carol.lab
         alice.clinic reviews e on carol.lab
         lab reviews g on carol.lab
         lab reviews e on alice.clinic
         lab reviews e on carol.lab
         payer reviews e on carol.lab unjustified
         r3 reviews f on carol.lab unjustified
         lab reviews f on carol.lab",
        "ok ok OwnEmergency NotAnOrganization NotAnOrganization UnknownEmergency UnknownEmergency ok EmergencyReviewed ok \
         EmergencyReviewed",
    );
    let mut world = accredited();
    run(&mut world, "clinic breaks carol.lab as e by doctor\nat 9\nlab reviews e on carol.lab");
    let reviewed = emergency(&world, "e");
    assert_eq!((reviewed.outcome(), reviewed.reviewed_at), (ReviewOutcome::Justified, START + 9));
    assert_eq!(reviewed.reviewer, address("lab").to_vec());
    assert!(!world.machine.store().has(&keys::emergency_reviews(&address("clinic"))), "nothing waits any more");
}

/// An account keeps its role for ever; what registrars may, those of now may.
#[test]
fn who_was_a_registrar_reviews_nothing() {
    check(
        "clinic breaks carol.lab as e by doctor
         r1 proposes change registrars r1 r2 by 2
         r2 votes change
         r3 reviews e on carol.lab
         r2 reviews e on carol.lab",
        "ok ok ok NotAnOrganization ok",
    );
}

/// A new enrolment would open what was broken in the name of one who was suspended.
#[test]
fn the_glass_is_not_broken_for_a_suspended_practitioner() {
    check(
        "clinic suspends-staff doctor
         clinic breaks carol.lab as e by doctor
         clinic enrols doctor
         clinic breaks carol.lab as e by doctor",
        "ok PractitionerNotEnrolled ok ok",
    );
}

#[test]
fn unreviewed_emergencies_are_bounded() {
    let mut world = accredited();
    for number in 0..=EMERGENCIES_UNREVIEWED_MAX {
        let answers = run(&mut world, &format!("clinic breaks carol.lab as e{number} by doctor"));
        assert_eq!(answers, [if number < EMERGENCIES_UNREVIEWED_MAX { "ok" } else { "TooManyUnreviewed" }]);
    }
    assert_eq!(
        run(&mut world, "lab reviews e3 on carol.lab\nclinic breaks carol.lab as next by doctor"),
        ["ok", "ok"],
        "any review makes room"
    );
}

/// What the decision says in the committed state.
fn decided(world: &World, name: &str) -> Option<Rule> {
    let store = world.machine.store();
    let grounds = Grounds {
        grants: Vec::new(),
        emergencies: vec![(EmergencyId::new(bytes(name)), Some(emergency(world, name)))],
        reviews: store.get(&keys::emergency_reviews(&address("clinic"))).unwrap_or_default(),
    };
    let request = Request {
        actor: Actor::Practitioner {
            organization: address("clinic"),
            standing: store.get(&keys::organization(&address("clinic"))),
            practitioner: address("doctor"),
            enrolment: store.get(&keys::practitioner(&address("clinic"), &address("doctor"))),
        },
        purpose: "ETREAT".to_owned(),
        mode: ConsentMode::View,
        now: world.machine.time(),
    };
    let facts = Facts { resource_type: "Condition".to_owned(), about: None, labels: ["R".to_owned()].into() };
    match decision::decide(&grounds, &request, &facts) {
        Decision::Permit { .. } => None,
        Decision::Deny { trace } => Some(trace[0].broken.expect("a denial names its rule").rule),
    }
}

/// From the second of the deadline on, the organization opens nothing and sees nothing; only a
/// registrar's review lifts that.
#[test]
fn a_missed_review_suspends_the_capability() {
    let deadline = EMERGENCY_REVIEW_SECONDS;
    for (time, breaks, sees, reviews) in [
        (deadline - 1, "ok", None, "ok"),
        (deadline, "EmergencyReviewOverdue", Some(Rule::ReviewsInTime), "EmergencyReviewOverdue"),
        (deadline + 1, "EmergencyReviewOverdue", Some(Rule::ReviewsInTime), "EmergencyReviewOverdue"),
    ] {
        let mut world = accredited();
        // The second one is open across the deadline of the first.
        run(
            &mut world,
            &format!(
                "r1 registers clinic as provider emergency until 2000000\nr2 registers clinic as provider emergency until 2000000\nclinic enrols doctor until 2000000\nr1 registers lab as laboratory until 2000000\nr2 registers lab as laboratory until 2000000\nclinic breaks carol.lab as old by doctor\nat {}\nclinic breaks carol.lab as e by doctor for 1000",
                deadline - 500
            ),
        );
        let next = format!("at {time}\nclinic breaks carol.lab as next by doctor");
        assert_eq!(run(&mut world, &next), [breaks], "at {time}");
        assert_eq!(decided(&world, "e"), sees, "at {time}");
        assert_eq!(run(&mut world, "lab reviews old on carol.lab"), [reviews], "at {time}");
        if reviews != "ok" {
            assert_eq!(run(&mut world, "r1 reviews old on carol.lab"), ["ok"]);
            assert_eq!(run(&mut world, "clinic breaks carol.lab as next by doctor"), ["ok"]);
        }
        assert_eq!(decided(&world, "e"), None, "reviewed");
    }
}

#[test]
fn a_view_ends_at_its_second_and_with_an_unjustified_review() {
    for (time, expected) in [(99, None), (100, Some(Rule::NotEnded)), (101, Some(Rule::NotEnded))] {
        let mut world = accredited();
        run(&mut world, "clinic breaks carol.lab as e by doctor for 100");
        world.time = time;
        world.decide(Vec::new());
        assert_eq!(decided(&world, "e"), expected, "at {time}");
    }
    let mut world = accredited();
    run(&mut world, "clinic breaks carol.lab as e by doctor\nlab reviews e on carol.lab unjustified");
    assert_eq!(decided(&world, "e"), Some(Rule::NotUnjustified));
}

#[test]
fn a_grant_that_ends_keeps_no_emergency_waiting() {
    let mut world = accredited();
    let block = ["breaks carol.lab as a by doctor", "breaks carol.lab as b by doctor"]
        .map(|part| message(&world, None, "clinic", part));
    let transaction = world.signed("clinic", &block);
    assert_eq!(name_of(&world.send(transaction)), "ok");
    let waiting = world.machine.store().get(&keys::emergency_reviews(&address("clinic"))).expect("two wait");
    assert_eq!(waiting.open.len(), 2);
}
