//! A flood from one account delays the others by little.

use careledger_app::{
    keys,
    limits::{
        BLOCK_BYTES_MAX, PENDING_BYTES_PER_ACCOUNT_MAX, PENDING_PER_ACCOUNT_MAX, PENDING_PER_OPENER_MAX,
        PROOFS_PER_BLOCK_MAX,
    },
    machine::CheckKind,
    state::StateRead as _,
};
use careledger_wire::{
    proto::records::{Anchor, MsgAnchorRecords},
    transaction::{Replay, Unsigned},
};

use crate::{
    script::{familiar, message, run},
    world::{CHAIN, START, World, address, bytes, key, name_of, sign},
};

fn unordered(world: &World, sender: &str, part: &str) -> Vec<u8> {
    world.signed_with(sender, &[message(world, None, sender, part)], Replay::UntilTime(START + 500))
}

/// The clinic's batch `number` of many records.
fn batch(world: &World, number: usize, records: usize) -> Vec<u8> {
    let anchor = |index: usize| Anchor {
        record: bytes(&format!("{number} {index}")).to_vec(),
        commitment: bytes("commitment").to_vec(),
    };
    let anchors = (0..records).map(anchor).collect();
    let message = MsgAnchorRecords { sender: address("clinic").to_string(), anchors };
    world.signed_with("clinic", &[message.into()], Replay::UntilTime(START + 500))
}

#[test]
fn everyones_turn_comes_in_a_full_block() {
    let world = familiar();
    let mut waiting: Vec<Vec<u8>> = (0..100).map(|n| unordered(&world, "clinic", &format!("anchors a{n}"))).collect();
    waiting.push(unordered(&world, "lab", "anchors b"));
    waiting.push(unordered(&world, "alice.clinic", "grants lab as g"));
    let (height, room) = (world.machine.height() + 1, 10_000);
    let kept = world.machine.prepare(waiting.clone(), room, height, START);
    assert!(kept.contains(&waiting[100]) && kept.contains(&waiting[101]), "two who asked for little");
    assert!(kept.len() > 20, "and the block is full: {}", kept.len());
    assert!(kept.iter().map(Vec::len).sum::<usize>() > room - 1_000);
    let places: Vec<usize> =
        kept.iter().map(|bytes| waiting.iter().position(|other| other == bytes).unwrap()).collect();
    assert!(places.is_sorted(), "what is taken keeps its order: {places:?}");
    // With room for all, nothing moves.
    assert_eq!(world.machine.prepare(waiting.clone(), BLOCK_BYTES_MAX, height, START), waiting);
}

#[test]
fn a_senders_transactions_keep_their_order_and_a_gap_stalls_nobody_else() {
    let world = familiar();
    let (_, sequence) = world.account("clinic");
    let next = |offset: u64| {
        let anchors = message(&world, None, "clinic", &format!("anchors a{offset}"));
        world.signed_with("clinic", &[anchors], Replay::Sequence(sequence + offset))
    };
    let (height, room) = (world.machine.height() + 1, 3_000);
    let flood: Vec<Vec<u8>> = (0..40).map(next).collect();
    let other = unordered(&world, "lab", "anchors b");
    let kept = world.machine.prepare([&flood[..], std::slice::from_ref(&other)].concat(), room, height, START);
    assert_eq!(kept.last(), Some(&other));
    assert_eq!(kept[..kept.len() - 1], flood[..kept.len() - 1]);
    // The first is missing: nothing of the clinic can be in a block, and everything of the others is.
    let gap = [&flood[1..], std::slice::from_ref(&other)].concat();
    assert_eq!(world.machine.prepare(gap, room, height, START), [other]);
}

/// Proofs are few in a block: who floods it with them leaves room for another's.
#[test]
fn a_flood_of_proofs_leaves_room_for_another() {
    let mut world = familiar();
    run(&mut world, "payer publishes gold\nclinic attests fact\npayer covers alice");
    let prove =
        |sender: &str, n: usize| unordered(&world, sender, &format!("proves gold claim c{n} event e{n} period p{n}"));
    let mut waiting: Vec<Vec<u8>> = (0..PROOFS_PER_BLOCK_MAX + 5).map(|n| prove("lab", n)).collect();
    let other = prove("clinic", 9_999);
    waiting.push(other.clone());
    let kept = world.machine.prepare(waiting, BLOCK_BYTES_MAX, world.machine.height() + 1, START);
    assert_eq!(kept.len(), PROOFS_PER_BLOCK_MAX);
    assert!(kept.contains(&other));
}

#[test]
fn an_account_has_a_bounded_number_waiting() {
    let mut world = familiar();
    let flood: Vec<Vec<u8>> =
        (0..=PENDING_PER_ACCOUNT_MAX).map(|n| unordered(&world, "clinic", &format!("anchors a{n}"))).collect();
    for (number, transaction) in flood.iter().enumerate() {
        let expected = if number < PENDING_PER_ACCOUNT_MAX { "ok" } else { "TooManyWaiting" };
        assert_eq!(name_of(&world.machine.check(transaction, CheckKind::New)), expected, "{number}");
    }
    let other = unordered(&world, "lab", "anchors b");
    assert_eq!(name_of(&world.machine.check(&other, CheckKind::New)), "ok");
    // After a block what still waits is counted again, and is not refused.
    world.decide(flood[..10].to_vec());
    for transaction in &flood[10..PENDING_PER_ACCOUNT_MAX] {
        assert_eq!(name_of(&world.machine.check(transaction, CheckKind::Recheck)), "ok");
    }
    let more: Vec<Vec<u8>> = (0..11).map(|n| unordered(&world, "clinic", &format!("anchors b{n}"))).collect();
    let answers: Vec<&str> = more.iter().map(|one| name_of(&world.machine.check(one, CheckKind::New))).collect();
    assert_eq!(answers[..10], ["ok"; 10]);
    assert_eq!(answers[10], "TooManyWaiting");
}

/// Five of them filled a mempool of 5,000.
#[test]
fn all_whom_an_organization_opened_have_a_bounded_number_waiting() {
    let mut world = crate::formats::familiar_in(5);
    assert_eq!(
        run(
            &mut world,
            "clinic opens carol.clinic\ncarol.clinic claims carol.clinic\nlab opens dave.lab\ndave.lab claims dave.lab"
        ),
        ["ok"; 4]
    );
    let send = |world: &World, name: &str, number: usize| {
        let transaction = unordered(world, name, &format!("grants lab as {number}"));
        name_of(&world.machine.check(&transaction, CheckKind::New))
    };
    for name in ["alice.clinic", "bob.clinic"] {
        for number in 0..PENDING_PER_OPENER_MAX / 2 {
            assert_eq!(send(&world, name, number), "ok", "{name} {number}");
        }
    }
    assert_eq!(send(&world, "carol.clinic", 0), "TooManyWaiting");
    assert_eq!(send(&world, "dave.lab", 0), "ok");
    // Also whom it opens in what waits itself.
    let opens = unordered(&world, "clinic", "opens erin.clinic");
    assert_eq!(name_of(&world.machine.check(&opens, CheckKind::New)), "ok");
    let number = world.machine.store().get(&keys::parameters()).unwrap().next_account_number;
    let claims = message(&world, None, "erin.clinic", "claims erin.clinic");
    let claims = Unsigned::with_key(&[claims], &key("erin.clinic"), CHAIN, number, Replay::Sequence(0));
    assert_eq!(name_of(&world.machine.check(&sign(claims, "erin.clinic"), CheckKind::New)), "TooManyWaiting");
    // After a block what still waits is counted again.
    world.decide(Vec::new());
    assert_eq!(send(&world, "carol.clinic", 0), "ok");
}

/// CometBFT's mempool is first in, first out, and offers a block's worth of its oldest. One account
/// sends as much as it can, for ever; what another sends then is in one of the next two blocks.
#[test]
fn a_flood_delays_others_by_at_most_two_blocks() {
    let mut world = familiar();
    let mut mempool: Vec<Vec<u8>> = Vec::new();
    let mut number = 0;
    let mut waited: Vec<(Vec<u8>, u32)> = Vec::new();
    for round in 0..3 {
        let mut refused = 0;
        while refused < 2 {
            let transaction = batch(&world, number, 6_000);
            number += 1;
            match name_of(&world.machine.check(&transaction, CheckKind::New)) {
                "ok" => mempool.push(transaction),
                "TooManyWaiting" => refused += 1,
                other => panic!("{other}"),
            }
        }
        let held: usize = mempool.iter().map(Vec::len).sum();
        assert!(held <= PENDING_BYTES_PER_ACCOUNT_MAX + 4_096, "the flood is bounded: {held}");
        let other = unordered(&world, "lab", &format!("anchors b{round}"));
        assert_eq!(name_of(&world.machine.check(&other, CheckKind::New)), "ok");
        mempool.push(other.clone());
        waited.push((other, 0));

        let mut reaped = 0;
        let offered: Vec<Vec<u8>> = mempool
            .iter()
            .take_while(|bytes| {
                reaped += bytes.len() + 5;
                reaped <= BLOCK_BYTES_MAX
            })
            .cloned()
            .collect();
        // A proposer whose blocks are smaller than what it was offered, as under other parameters.
        let block = world.machine.prepare(offered, 1 << 20, world.machine.height() + 1, START);
        assert!(world.decide(block.clone()).iter().all(|outcome| outcome.code == 0));
        mempool.retain(|bytes| !block.contains(bytes));
        mempool.retain(|bytes| world.machine.check(bytes, CheckKind::Recheck).code == 0);
        for (transaction, blocks) in &mut waited {
            *blocks += u32::from(!block.contains(transaction) && mempool.contains(transaction));
        }
    }
    assert!(waited.iter().all(|(_, blocks)| *blocks < 2), "{:?}", waited.iter().map(|(_, n)| n).collect::<Vec<_>>());
    assert!(waited.iter().all(|(transaction, _)| !mempool.contains(transaction)), "all were taken");
}
