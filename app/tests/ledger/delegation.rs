//! One step of delegation, and what closes it.

use careledger_app::{keys, limits::DELEGATES_MAX, state::StateRead as _};
use careledger_wire::{
    decision::{self, Actor, Candidate, Facts, Ground, Grounds, Link, Parent, Request, Rule},
    ids::{Address, GrantId},
    proto::{
        consent::{ConsentMode, MsgDelegateConsent, MsgGrantConsent},
        state::{Organization, Practitioner},
    },
    terms::{Opened, Terms},
};

use crate::{
    script::{check_familiar, familiar, run, subject},
    world::{START, World, address, bytes, name_of},
};

#[test]
fn only_the_grantee_delegates_and_only_where_the_patient_allows_it() {
    check_familiar(
        "alice.clinic grants lab as g delegable
         alice.clinic grants lab as closed
         alice.clinic delegates g to payer as d on alice.clinic
         doctor delegates g to payer as d on alice.clinic
         chemist delegates g to payer as d on alice.clinic
         lab delegates other to payer as d on alice.clinic
         lab delegates g to payer as d on bob.clinic
         lab delegates closed to payer as d on alice.clinic
         lab delegates g to lab as d on alice.clinic
         lab delegates g to nobody as d on alice.clinic
         lab delegates g to payer as closed on alice.clinic
         lab delegates g to payer as d on alice.clinic
         lab delegates g to payer as d on alice.clinic",
        "ok ok NotAnOrganization NotAnOrganization NotTheGrantee UnknownGrant UnknownGrant GrantNotDelegable InvalidField
         GranteeNotInGoodStanding GrantExists ok GrantExists",
    );
}

#[test]
fn a_delegate_goes_no_further_and_is_no_wider() {
    check_familiar(
        "alice.clinic grants lab as g from 10 until 500 delegable
         lab delegates g to payer as d from 9 until 500 on alice.clinic
         lab delegates g to payer as d from 10 until 501 on alice.clinic
         lab delegates g to payer as d from 10 until 500 append on alice.clinic
         lab delegates g to payer as d from 20 until 20 on alice.clinic
         lab delegates g to payer as d from 10 until 500 on alice.clinic
         payer delegates d to chemist as e from 10 until 500 on alice.clinic
         alice.clinic amends d to 2
         alice.clinic revokes d
         alice.clinic reinstates d
         at 500
         lab delegates g to chemist as e from 10 until 500 on alice.clinic",
        "ok WiderThanGrant WiderThanGrant WiderThanGrant InvalidField ok GrantDelegated GrantDelegated ok ok GrantEnded",
    );
    check_familiar(
        "alice.clinic grants lab as g delegable
         alice.clinic revokes g
         lab delegates g to payer as d on alice.clinic
         alice.clinic reinstates g
         r1 suspends payer
         lab delegates g to payer as d on alice.clinic
         r1 suspends lab
         lab delegates g to chemist as d on alice.clinic",
        "ok ok GrantRevoked ok ok GranteeNotInGoodStanding ok OrganizationSuspended",
    );
}

#[test]
fn a_grant_has_a_bounded_number_of_delegates() {
    let mut world = familiar();
    run(&mut world, "alice.clinic grants lab as g delegable");
    for number in 0..=DELEGATES_MAX {
        let answers = run(&mut world, &format!("lab delegates g to payer as d{number} on alice.clinic"));
        assert_eq!(answers, [if number < DELEGATES_MAX { "ok" } else { "GrantFull" }]);
    }
    let key = keys::delegation(&subject("alice.clinic"), &GrantId::new(bytes("g")));
    assert_eq!(world.machine.store().get(&key).unwrap().grants.len(), DELEGATES_MAX);
}

const SALT: [u8; 32] = [3; 32];

fn terms(organization: &str) -> Terms {
    Terms {
        organization: address(organization),
        practitioner: None,
        roles: Default::default(),
        purposes: ["TREAT".to_owned()].into(),
        resource_types: ["Condition".to_owned()].into(),
        data_period: None,
        labels: Default::default(),
    }
}

/// What the decision says of the delegate `d` of `g` in the committed state.
fn decision_of_delegate(world: &World) -> Result<Ground, (Link, Rule)> {
    let store = world.machine.store();
    let grant = |name: &str| store.get(&keys::consent(&subject("alice.clinic"), &GrantId::new(bytes(name))));
    let organization = |name: &str| -> Option<Organization> { store.get(&keys::organization(&address(name))) };
    let nurse: Address = address("nurse");
    let enrolment: Option<Practitioner> = store.get(&keys::practitioner(&address("payer"), &nurse));
    let opened = |organization: &str| Some(Opened { terms: terms(organization), salt: SALT });
    let candidate = Candidate {
        grant: GrantId::new(bytes("d")),
        state: grant("d"),
        opened: opened("payer"),
        parent: Some(Parent {
            grant: GrantId::new(bytes("g")),
            state: grant("g"),
            opened: opened("lab"),
            standing: organization("lab"),
        }),
    };
    let request = Request {
        actor: Actor::Practitioner {
            organization: address("payer"),
            standing: organization("payer"),
            practitioner: nurse,
            enrolment,
        },
        purpose: "TREAT".to_owned(),
        mode: ConsentMode::View,
        now: world.machine.time(),
    };
    let facts = Facts { resource_type: "Condition".to_owned(), about: None, labels: Default::default() };
    let decided = decision::decide(&Grounds { grants: vec![candidate], ..Grounds::default() }, &request, &facts);
    match decided {
        decision::Decision::Permit { ground, .. } => Ok(ground),
        decision::Decision::Deny { trace } => {
            let broken = trace[0].broken.expect("a denial names its rule");
            Err((broken.link, broken.rule))
        }
    }
}

/// Alice's grant to the lab and the lab's delegate, with terms that the test can open.
fn delegated() -> World {
    let mut world = familiar();
    run(&mut world, "payer enrols nurse");
    let grant = MsgGrantConsent {
        sender: address("alice.clinic").to_string(),
        subject: subject("alice.clinic").to_vec(),
        grant: bytes("g").to_vec(),
        grantee: address("lab").to_vec(),
        mode: ConsentMode::View.into(),
        not_before: START,
        expires_at: START + 1_000,
        terms: terms("lab").commitment(&SALT).to_vec(),
        body: bytes("body").to_vec(),
        request: Vec::new(),
        delegable: true,
    };
    let delegate = MsgDelegateConsent {
        sender: address("lab").to_string(),
        subject: subject("alice.clinic").to_vec(),
        parent: bytes("g").to_vec(),
        grant: bytes("d").to_vec(),
        grantee: address("payer").to_vec(),
        mode: ConsentMode::View.into(),
        not_before: START,
        expires_at: START + 500,
        terms: terms("payer").commitment(&SALT).to_vec(),
        body: bytes("body").to_vec(),
    };
    for (sender, message) in [("alice.clinic", grant.into()), ("lab", delegate.into())] {
        let transaction = world.signed(sender, &[message]);
        assert_eq!(name_of(&world.send(transaction)), "ok");
    }
    assert_eq!(decision_of_delegate(&world), Ok(Ground::Grant(GrantId::new(bytes("d")))));
    world
}

/// In the block that changes the grant its delegates close, without a word about them.
#[test]
fn what_happens_to_a_grant_happens_to_its_delegates_in_the_same_block() {
    for (event, expected) in [
        ("alice.clinic revokes g", (Link::Parent, Rule::NotRevoked)),
        ("alice.clinic amends g to 2", (Link::Parent, Rule::TermsOpened)),
        ("alice.clinic amends g to 2 append", (Link::Parent, Rule::Mode)),
        ("alice.clinic amends g to 2 from 100", (Link::Parent, Rule::Begun)),
        ("r1 suspends lab", (Link::Parent, Rule::DelegatorInGoodStanding)),
        ("alice.clinic revokes d", (Link::Own, Rule::NotRevoked)),
    ] {
        let mut world = delegated();
        let before = world.state();
        assert_eq!(run(&mut world, event), ["ok"]);
        assert_eq!(decision_of_delegate(&world), Err(expected), "{event}");
        let touched = world.state().iter().filter(|(key, value)| before.get(*key) != Some(value)).count();
        assert_eq!(touched, 2, "{event}: the account and what was named, however many delegates there are");
    }
    let mut world = delegated();
    run(&mut world, "alice.clinic revokes g\nalice.clinic reinstates g");
    assert!(decision_of_delegate(&world).is_ok(), "a reinstated grant opens its delegates again");
}

#[test]
fn a_delegate_ends_with_its_own_window() {
    for (time, is_open) in [(499, true), (500, false), (501, false)] {
        let mut world = delegated();
        world.time = time;
        world.decide(Vec::new());
        assert_eq!(decision_of_delegate(&world).is_ok(), is_open, "at {time}");
    }
}
