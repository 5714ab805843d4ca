//! A nullifier is used once: a block in which one is used again is refused, and the chain goes on.

use careledger_app::{
    machine::{CheckKind, Outcome, Prove},
    reject::Reject,
};
use careledger_wire::{message::Message, transaction::Replay};

use crate::{
    script::{familiar, message, run},
    sponsors::{bounded, sponsored},
    world::{START, World, name_of},
};

const COVERED: &str = "payer publishes gold\nclinic attests fact\npayer covers alice";

/// The familiar chain, where `payer` covers Alice.
fn covered() -> World {
    let mut world = familiar();
    assert_eq!(run(&mut world, COVERED), ["ok"; 3]);
    world
}

/// An unordered transaction of `sender`, of messages that are joined by ` + `.
fn sent(world: &World, sender: &str, parts: &str) -> Vec<u8> {
    let messages: Vec<Message> = parts.split(" + ").map(|part| message(world, None, sender, part)).collect();
    world.signed_with(sender, &messages, Replay::UntilTime(START + world.time + 500))
}

fn proof(claim: &str, event: &str, period: &str) -> String {
    format!("proves gold claim {claim} event {event} period {period}")
}

fn names(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes.iter().map(name_of).collect()
}

fn process(world: &World, block: &[Vec<u8>]) -> Result<(), Reject> {
    let verdict = world.machine.process(block, world.machine.height() + 1, START + world.time);
    assert_eq!(world.replica.process(block, world.machine.height() + 1, START + world.time), verdict);
    verdict
}

fn prepare(world: &World, waiting: &[Vec<u8>]) -> Vec<Vec<u8>> {
    world.machine.prepare(waiting.to_vec(), 1 << 22, world.machine.height() + 1, START + world.time)
}

/// Each of a block's second uses, and how it is refused: what is shared is an event, a claim of a period,
/// or both, by another claim, sender or proof.
const SECOND_USES: [(&str, &str, Reject); 5] = [
    ("lab", "proves gold claim d event e period q", Reject::EventAlreadyClaimed),
    ("clinic", "proves gold claim d event f period p", Reject::PeriodClaimUsed),
    ("clinic", "proves gold claim c event e period p", Reject::EventAlreadyClaimed),
    ("lab", "proves gold claim c event e period p random=9", Reject::EventAlreadyClaimed),
    ("clinic", "anchors a + proves gold claim d event f period p", Reject::PeriodClaimUsed),
];

#[test]
fn a_block_that_uses_a_nullifier_of_an_earlier_block_is_refused() {
    let mut world = covered();
    assert_eq!(run(&mut world, &format!("lab {}", proof("c", "e", "p"))), ["ok"]);
    for (sender, parts, expected) in SECOND_USES {
        let block = [sent(&world, "lab", "anchors x"), sent(&world, sender, parts)];
        assert_eq!(process(&world, &block), Err(expected), "{sender} {parts}");
        assert_eq!(prepare(&world, &block), block[..1], "an honest proposer leaves it out");
        assert_eq!(process(&world, &block[..1]), Ok(()));
    }
}

#[test]
fn a_block_that_uses_one_nullifier_twice_is_refused() {
    let world = covered();
    let first = sent(&world, "lab", &proof("c", "e", "p"));
    for (sender, parts, expected) in SECOND_USES {
        let block = [first.clone(), sent(&world, "lab", "anchors x"), sent(&world, sender, parts)];
        assert_eq!(process(&world, &block), Err(expected), "{sender} {parts}");
        assert_eq!(prepare(&world, &block), block[..2], "an honest proposer leaves out the second");
        let turned = [block[2].clone(), first.clone()];
        assert!(process(&world, &turned).is_err(), "whichever comes first");
        assert_eq!(process(&world, &block[..2]), Ok(()));
    }
}

/// A sequence, an unordered transaction, a sponsor's word, a nullifier: whatever counts once is refused in a proposal
/// that has it twice, and in one after the block that used it up.
#[test]
fn whatever_counts_once_is_refused_twice_in_a_proposal_and_again_after_its_block() {
    type Case = (&'static str, fn(&World) -> Vec<u8>, Reject);
    let cases: [Case; 4] = [
        ("a sequence", |world| world.signed("lab", &[message(world, None, "lab", "anchors x")]), Reject::WrongSequence),
        ("an unordered transaction", |world| sent(world, "lab", "anchors x"), Reject::AlreadyExecuted),
        ("a sponsor's word", |world| sponsored(world, "chemist", "payer", "anchors x"), Reject::WrongSequence),
        (
            "an unordered proof, whose transaction counts once too",
            |world| sent(world, "lab", &proof("c", "e", "p")),
            Reject::AlreadyExecuted,
        ),
    ];
    for (name, transaction, expected) in cases {
        let mut world = covered();
        let once = transaction(&world);
        let other = sent(&world, "clinic", "anchors a");
        let twice = vec![once.clone(), other.clone(), once.clone()];
        assert_eq!(process(&world, &twice), Err(expected), "{name}");
        let honest = prepare(&world, &twice);
        assert_eq!(honest, twice[..2], "{name}: an honest proposer leaves out the second");
        assert_eq!(names(&world.decide(honest)), ["ok", "ok"], "{name}: the chain goes on");
        assert_eq!(process(&world, std::slice::from_ref(&once)), Err(expected), "{name}");
        assert_eq!(prepare(&world, &[once]), [[0; 0]; 0], "{name}");
    }
}

#[test]
fn a_transaction_that_uses_a_nullifier_twice_is_in_no_block() {
    let mut world = covered();
    let parts = format!("{} + {}", proof("c", "e", "p"), proof("d", "e", "q"));
    let twice = sent(&world, "lab", &parts);
    assert_eq!(process(&world, std::slice::from_ref(&twice)), Err(Reject::EventAlreadyClaimed));
    assert_eq!(prepare(&world, std::slice::from_ref(&twice)), [[0; 0]; 0]);
    assert_eq!(name_of(&world.send(twice)), "EventAlreadyClaimed");
    let both = format!("{} + {}", proof("c", "e", "p"), proof("d", "f", "q"));
    let both = sent(&world, "lab", &both);
    assert_eq!(name_of(&world.send(both)), "ok");
}

/// Every two proofs over a few events and claims of periods: they share a block when they share nothing.
#[test]
fn two_proofs_share_a_block_exactly_when_they_share_no_nullifier() {
    let world = covered();
    for event in ["e", "f"] {
        for period in ["p", "q"] {
            let block =
                [sent(&world, "lab", &proof("c", "e", "p")), sent(&world, "clinic", &proof("d", event, period))];
            let expected = match (event, period) {
                ("e", _) => Err(Reject::EventAlreadyClaimed),
                (_, "p") => Err(Reject::PeriodClaimUsed),
                _ => Ok(()),
            };
            assert_eq!(process(&world, &block), expected, "{event} {period}");
            assert_eq!(prepare(&world, &block).len(), if expected.is_ok() { 2 } else { 1 });
        }
    }
}

#[test]
fn the_chain_goes_on_after_a_block_with_a_duplicate_nullifier() {
    let mut world = covered();
    let first = sent(&world, "lab", &proof("c", "e", "p"));
    let second = sent(&world, "clinic", &proof("d", "e", "q"));
    let waiting = vec![first, second.clone(), sent(&world, "payer", "covers more")];
    let before = world.state();
    assert_eq!(process(&world, &waiting), Err(Reject::EventAlreadyClaimed));
    assert_eq!(world.state(), before, "a refused block leaves nothing");
    // The next round's proposer is honest.
    let proposed = prepare(&world, &waiting);
    assert_eq!(process(&world, &proposed), Ok(()));
    assert_eq!(names(&world.decide(proposed)), ["ok", "ok"]);
    assert_eq!(process(&world, std::slice::from_ref(&second)), Err(Reject::EventAlreadyClaimed));
    assert_eq!(run(&mut world, "clinic anchors a"), ["ok"]);
}

/// Should validators decide such a block all the same, every node answers alike, and what may not be in it
/// changes nothing: no sequence, nothing remembered, nobody's quota.
#[test]
fn a_decided_block_with_a_duplicate_nullifier_answers_it_and_changes_nothing_for_it() {
    let begin = || {
        let mut world = bounded();
        assert_eq!(run(&mut world, COVERED), ["ok"; 3]);
        world
    };
    let mut world = begin();
    let first = sent(&world, "lab", &proof("c", "e", "p"));
    let part = proof("d", "e", "q");
    let ordered = world.signed("clinic", &[message(&world, None, "clinic", &part)]);
    let paid = sponsored(&world, "chemist", "payer", &part);
    let again = [sent(&world, "clinic", &part), ordered, paid];
    let outcomes = world.decide([std::slice::from_ref(&first), &again].concat());
    assert_eq!(names(&outcomes), ["ok", "EventAlreadyClaimed", "EventAlreadyClaimed", "EventAlreadyClaimed"]);
    let mut alone = begin();
    alone.decide(vec![first]);
    assert_eq!(world.state(), alone.state());
    assert_eq!(world.machine.app_hash(), alone.machine.app_hash());
    for transaction in again {
        let hash = careledger_wire::transaction::hash(&transaction);
        let result = world.machine.query("/careledger.query.v1.Query/Transaction", hash.as_bytes(), 0, Prove::No);
        assert!(result.value.is_empty(), "it is in no block's results");
    }
}

/// Two nodes hear of two proofs of one event; a block takes one.
#[test]
fn the_loser_of_two_racing_proofs_leaves_the_mempool_with_its_code() {
    let mut world = covered();
    let first = sent(&world, "lab", &proof("c", "e", "p"));
    let second = world.signed("clinic", &[message(&world, None, "clinic", &proof("d", "e", "q"))]);
    assert_eq!(name_of(&world.machine.check(&first, CheckKind::New)), "ok");
    assert_eq!(name_of(&world.replica.check(&second, CheckKind::New)), "ok");
    assert_eq!(names(&world.decide(vec![first.clone()])), ["ok"]);
    assert_eq!(name_of(&world.replica.check(&second, CheckKind::Recheck)), "EventAlreadyClaimed");
    assert_eq!(name_of(&world.machine.check(&second, CheckKind::New)), "EventAlreadyClaimed");
    // Its sequence is still the next one.
    assert_eq!(run(&mut world, "clinic anchors a"), ["ok"]);
}

/// A recheck tries no proof, and still knows what it would use.
#[test]
fn a_proof_that_waits_through_a_block_keeps_its_nullifiers() {
    let mut world = covered();
    let first = sent(&world, "lab", &proof("c", "e", "p"));
    let second = sent(&world, "clinic", &proof("d", "f", "p"));
    assert_eq!(name_of(&world.machine.check(&first, CheckKind::New)), "ok");
    world.decide(Vec::new());
    assert_eq!(name_of(&world.machine.check(&first, CheckKind::Recheck)), "ok");
    assert_eq!(name_of(&world.machine.check(&second, CheckKind::New)), "PeriodClaimUsed");
    // What waits no longer keeps nothing.
    world.decide(Vec::new());
    assert_eq!(name_of(&world.machine.check(&second, CheckKind::New)), "ok");
    assert_eq!(names(&world.decide(vec![second])), ["ok"]);
}

/// Who knows another's nullifiers, but has no proof, uses up nothing.
#[test]
fn a_proof_that_is_refused_uses_no_nullifier() {
    let mut world = covered();
    let bad = sent(&world, "clinic", &format!("{} made-by=lab", proof("d", "e", "p")));
    let good = sent(&world, "lab", &proof("c", "e", "p"));
    let block = vec![bad, good];
    assert_eq!(process(&world, &block), Ok(()));
    assert_eq!(prepare(&world, &block), block);
    assert_eq!(names(&world.decide(block)), ["ProofRefused", "ok"]);
}
