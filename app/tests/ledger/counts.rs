//! What shows that a list of who may see is complete: a subject counts its grants and emergencies.

use careledger_app::{
    keys,
    machine::Machine,
    state::StateRead as _,
    store::{Store as _, tree::Tree},
};

use crate::{
    governance::{agree, finalize},
    script::{familiar, run, subject},
    world::World,
};

const SUBJECTS: [&str; 2] = ["alice.clinic", "bob.clinic"];

/// Every way to make a grant or an emergency, and what makes none.
const MADE: &str = "
    r1 registers clinic as provider emergency
    r2 registers clinic as provider emergency
    alice.clinic grants lab as g delegable
    alice.clinic grants lab as g
    lab delegates g to payer as d on alice.clinic
    lab delegates g to payer as d on alice.clinic
    bob.clinic preapproves lab as s
    lab requests bob.clinic as r under s
    lab requests bob.clinic as plain
    bob.clinic grants lab as h for plain
    alice.clinic appoints uncle
    clinic appoints uncle on alice.clinic
    uncle grants lab as i on alice.clinic
    clinic breaks alice.clinic as e by doctor
    clinic breaks alice.clinic as e by doctor
    clinic breaks bob.clinic as f by doctor
    alice.clinic amends g to 2 delegable
    alice.clinic revokes g
    alice.clinic reinstates g
    lab reviews e on alice.clinic";

/// The same once more, under other names.
const MORE: &str = "
    alice.clinic grants lab as more-g delegable
    lab delegates more-g to payer as more-d on alice.clinic
    lab requests bob.clinic as more-r under s
    clinic breaks alice.clinic as more-e by doctor";

/// Grants and emergencies as the subject counts them, and as they stand in the state.
fn counts(world: &World, name: &str) -> [(u64, u64); 2] {
    let (state, subject) = (world.machine.store(), subject(name));
    let counted = state.get(&keys::subject(&subject)).expect("a subject");
    let below = |prefix: Vec<u8>| state.scan(&prefix, None, usize::MAX).len() as u64;
    let there = (below(keys::consents_of(&subject)), below(keys::emergencies_of(&subject)));
    [(counted.grants, counted.emergencies), there]
}

/// Decides empty blocks until the next format has come.
fn upgrade(world: &mut World, version: u32) {
    agree(world, &format!("upgrade {version} in 2"));
    while world.machine.state_version() < version {
        finalize(world, Vec::new(), &[]);
    }
}

#[test]
fn a_subject_counts_what_was_made_of_it_from_the_third_format_on() {
    let mut world = familiar();
    upgrade(&mut world, 2);
    let answers = run(&mut world, MADE);
    assert_eq!(answers.iter().filter(|answer| **answer == "ok").count(), 17, "{answers:?}");
    for (name, there) in SUBJECTS.into_iter().zip([(3, 1), (2, 1)]) {
        assert_eq!(counts(&world, name), [(0, 0), there], "{name}: nothing is counted yet");
    }
    upgrade(&mut world, 3);
    for name in SUBJECTS {
        let [counted, there] = counts(&world, name);
        assert_eq!(counted, there, "{name}: the migration counts what was there");
    }
    assert_eq!(run(&mut world, MORE), ["ok"; 4]);
    for (name, there) in SUBJECTS.into_iter().zip([(5, 2), (3, 1)]) {
        assert_eq!(counts(&world, name), [there; 2], "{name}: what is made counts itself");
    }
    // What claims a subject, amends, revokes or reviews changes no count; what is refused does not either.
    let again = "
        alice.clinic grants lab as more-g
        alice.clinic amends more-g to 2
        alice.clinic revokes more-g
        clinic breaks alice.clinic as more-e by doctor
        lab reviews more-e on alice.clinic";
    run(&mut world, again);
    assert_eq!(counts(&world, "alice.clinic"), [(5, 2); 2]);
}

/// A chain that begins with the third format has the state of one that came to it, where the same was made.
#[test]
fn counting_one_by_one_and_at_once_give_the_same_subjects() {
    let made = |script: &[&str], first: u32| {
        let mut world = familiar();
        (2..=first).for_each(|version| upgrade(&mut world, version));
        for part in script {
            run(&mut world, part);
        }
        (first + 1..=3).for_each(|version| upgrade(&mut world, version));
        SUBJECTS.map(|name| world.machine.store().get_bytes(keys::subject(&subject(name)).as_bytes()))
    };
    let before = made(&[MADE, MORE], 2);
    assert!(before.iter().all(Option::is_some));
    assert_eq!(before, made(&[MADE, MORE], 3));
}

#[test]
fn the_migration_looks_at_more_than_one_page_of_grants() {
    let mut world = familiar();
    upgrade(&mut world, 2);
    run(&mut world, "bob.clinic grants lab as only");
    // Beyond a page, and beside another subject whose grants follow.
    let grants: Vec<String> = (0..1_050).map(|number| format!("alice.clinic grants lab as g{number}")).collect();
    for some in grants.chunks(150) {
        let answers = run(&mut world, &some.join("\n"));
        assert!(answers.iter().all(|answer| *answer == "ok"), "{answers:?}");
    }
    upgrade(&mut world, 3);
    assert_eq!(counts(&world, "alice.clinic"), [(1_050, 0); 2]);
    assert_eq!(counts(&world, "bob.clinic"), [(1, 0); 2]);
    let store = world.machine.store();
    assert_eq!(Tree::of(store.pairs().clone()).root(), Machine::new(store.clone()).app_hash());
    assert_eq!(store.app_hash(), world.replica.app_hash());
}
