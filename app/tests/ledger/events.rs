//! Events are those of docs/events.md: no other event, and no other key.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    golden,
    script::{familiar, message},
    world::name_of,
};

const PAGE: &str = include_str!("../../../docs/events.md");

/// Event and keys of each row of the section.
fn documented(section: &str) -> BTreeMap<String, Vec<String>> {
    let text = PAGE.split(&format!("## {section}\n")).nth(1).expect("the page has the section");
    let text = text.split("\n## ").next().expect("a section has a text");
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(names);
        let mut event = cells.next().expect("a row has an event");
        (event.remove(0), cells.next().expect("a row has keys"))
    })
    .collect()
}

#[test]
fn every_transaction_has_the_events_of_the_page_and_no_others() {
    let documented = documented("Of transactions");
    let mut world = familiar();
    let mut seen = BTreeSet::new();
    let claim = [("carol.clinic", "claims carol.clinic")];
    let restore = [("doctor", "restores bob.clinic with rescue")];
    for block in golden::blocks().into_iter().chain([claim.as_slice(), &restore]) {
        if block == restore {
            world.time += 86_400;
        }
        let mut waiting = block.to_vec();
        while !waiting.is_empty() {
            let signed = |(sender, part): &(&str, &str)| world.signed(sender, &[message(&world, None, sender, part)]);
            let outcomes = world.decide(waiting.iter().map(signed).collect());
            // A sender's next transaction is signed for the next block.
            let mut later = Vec::new();
            for (outcome, asked) in outcomes.into_iter().zip(waiting) {
                if name_of(&outcome) == "WrongSequence" {
                    later.push(asked);
                    continue;
                }
                assert_eq!(outcome.code == 0, !outcome.events.is_empty(), "{asked:?}");
                for event in outcome.events {
                    let keys: Vec<String> = event.attributes.iter().map(|(key, _)| key.clone()).collect();
                    assert_eq!(documented.get(&event.kind), Some(&keys), "{}", event.kind);
                    assert!(event.attributes.iter().all(|(_, value)| !value.is_empty()), "{event:?}");
                    seen.insert(event.kind);
                }
            }
            waiting = later;
        }
    }
    let missing: Vec<_> = documented.keys().filter(|event| !seen.contains(*event)).collect();
    assert!(missing.is_empty(), "the page has events that no transaction gives: {missing:?}");
}

#[test]
fn a_refused_transaction_has_no_event() {
    let mut world = familiar();
    let refused = world.signed("clinic", &[message(&world, None, "clinic", "suspends lab")]);
    assert_eq!(world.decide(vec![refused])[0].events, []);
}

#[test]
fn blocks_have_the_events_of_the_page() {
    let documented = documented("Of blocks");
    let expected = [
        ("validator_power", ["validator", "power"].as_slice()),
        ("consensus_parameters", &["state_version"]),
        ("misbehavior", &["validator", "height", "power"]),
    ];
    assert_eq!(documented.len(), expected.len());
    for (event, keys) in expected {
        assert_eq!(documented[event], keys, "{event}");
    }
    for event in crate::governance::block_events() {
        let keys: Vec<String> = event.attributes.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(documented[&event.kind], keys);
    }
}
