//! Blocks: order, atomicity, proposals, the mempool.

use careledger_app::{
    limits::{
        HASHES_PER_BLOCK_MAX, MESSAGES_PER_TRANSACTION_MAX, PLAN_INTERVALS_MAX, PROOFS_PER_BLOCK_MAX, TX_BYTES_MIN,
        hashes_of_plan,
    },
    machine::{Block, CheckKind},
    reject::Reject,
};
use careledger_wire::{
    message::Message,
    proto::insurance::{Interval, MsgPublishPlan},
    transaction::Replay,
};
use proptest::prelude::*;

use crate::{
    check,
    script::{check_familiar, familiar, message, run},
    world::{START, World, machine, name_of},
};

fn messages(world: &World, sender: &str, part: &str) -> Vec<Message> {
    part.split(" + ").map(|part| message(world, None, sender, part)).collect()
}

#[test]
fn messages_of_a_transaction_take_effect_together_or_not_at_all() {
    check_familiar(
        "clinic anchors a + supersedes a:2 + marks a:2
         clinic anchors b + anchors c + anchors a
         clinic anchors b + anchors c
         clinic opens carol.clinic + opens carol.clinic
         clinic opens carol.clinic",
        "ok RecordExists ok SubjectExists ok",
    );
}

#[test]
fn a_transaction_has_a_bounded_number_of_messages() {
    let mut world = familiar();
    for (count, expected) in
        [(MESSAGES_PER_TRANSACTION_MAX + 1, "TooManyMessages"), (MESSAGES_PER_TRANSACTION_MAX, "ok")]
    {
        let anchors: Vec<_> = (0..count).map(|n| message(&world, None, "clinic", &format!("anchors a{n}"))).collect();
        let transaction = world.signed("clinic", &anchors);
        assert_eq!(name_of(&world.send(transaction)), expected);
    }
}

#[test]
fn an_empty_block_keeps_the_app_hash() {
    let mut world = familiar();
    let before = world.machine.app_hash();
    for time in [1, 100, 10_000] {
        world.time = time;
        world.decide(Vec::new());
        assert_eq!(world.machine.app_hash(), before);
    }
}

#[test]
fn garbage_changes_nothing() {
    let mut world = familiar();
    for bytes in [vec![], vec![0], vec![0xff; 100], vec![0x0a; 600 * 1024]] {
        assert!(["Malformed", "TooLarge"].contains(&name_of(&world.send(bytes))));
    }
    check("nobody opens alice.nobody", "UnknownAccount");
}

/// An account that one transaction of a block opens can send the next.
#[test]
fn a_block_is_executed_in_order() {
    let mut world = familiar();
    let opens = world.signed("clinic", &messages(&world, "clinic", "opens carol.clinic"));
    let number = {
        let mut later = familiar();
        run(&mut later, "clinic opens carol.clinic");
        later.account("carol.clinic").0
    };
    let unsigned = careledger_wire::transaction::Unsigned::new(
        &messages(&world, "carol.clinic", "claims carol.clinic"),
        &crate::world::public_key("carol.clinic"),
        crate::world::CHAIN,
        number,
        Replay::Sequence(0),
    );
    let claims = crate::world::sign(unsigned, "carol.clinic");
    let (height, time) = (world.machine.height() + 1, START);
    assert_eq!(world.machine.process(&[opens.clone(), claims.clone()], height, time), Ok(()));
    assert_eq!(world.machine.process(&[claims.clone(), opens.clone()], height, time), Err(Reject::UnknownAccount));
    let outcomes = world.decide(vec![opens, claims]);
    assert_eq!(outcomes.iter().map(name_of).collect::<Vec<_>>(), ["ok", "ok"]);
}

/// A proposer that includes what it may not gets no vote; if such a block were decided all the
/// same, every node would answer alike and nothing would happen twice.
#[test]
fn a_block_with_a_replay_is_refused_and_harmless() {
    let mut world = familiar();
    let transaction = world.signed("clinic", &messages(&world, "clinic", "anchors a"));
    let twice = vec![transaction.clone(), transaction.clone()];
    let (height, time) = (world.machine.height() + 1, START);
    assert_eq!(world.machine.process(&twice, height, time), Err(Reject::WrongSequence));
    assert_eq!(world.machine.prepare(twice.clone(), 1 << 20, height, time).len(), 1);
    let outcomes = world.decide(twice);
    assert_eq!(outcomes.iter().map(name_of).collect::<Vec<_>>(), ["ok", "WrongSequence"]);
    let result = world.machine.query(
        "/careledger.query.v1.Query/Transaction",
        careledger_wire::transaction::hash(&transaction).as_bytes(),
        0,
        careledger_app::machine::Prove::No,
    );
    let result: careledger_wire::proto::query::TransactionResult = prost::Message::decode(&*result.value).unwrap();
    assert_eq!((result.code, result.height), (0, height as i64), "the first answer stands");
}

#[test]
fn a_proposal_keeps_to_its_bytes_as_cometbft_counts_them() {
    let world = familiar();
    let transactions: Vec<Vec<u8>> = (0..20)
        .map(|number| {
            let anchors = messages(&world, "clinic", &format!("anchors a{number}"));
            world.signed_with("clinic", &anchors, Replay::UntilTime(START + 500))
        })
        .collect();
    let size = |kept: &[Vec<u8>]| {
        kept.iter()
            .map(|bytes| prost::encoding::encoded_len_varint(bytes.len() as u64) + 1 + bytes.len())
            .sum::<usize>()
    };
    let all = size(&transactions);
    for max_bytes in [0, 1, all / 3, all - 1, all] {
        let kept = world.machine.prepare(transactions.clone(), max_bytes, world.machine.height() + 1, START);
        assert!(size(&kept) <= max_bytes);
        assert_eq!(kept.len() == transactions.len(), max_bytes == all);
    }
}

#[test]
fn a_block_checks_a_bounded_number_of_proofs() {
    let mut world = familiar();
    run(&mut world, "payer publishes gold\nclinic attests fact\npayer covers alice");
    let proofs: Vec<Vec<u8>> = (0..PROOFS_PER_BLOCK_MAX + 1)
        .map(|n| {
            let proof = messages(&world, "lab", &format!("proves gold claim c{n} event e{n} period p{n}"));
            world.signed_with("lab", &proof, Replay::UntilTime(START + 500))
        })
        .collect();
    let (height, time) = (world.machine.height() + 1, START);
    assert_eq!(world.machine.process(&proofs, height, time), Err(Reject::TooManyProofs));
    assert_eq!(world.machine.prepare(proofs.clone(), 1 << 22, height, time).len(), PROOFS_PER_BLOCK_MAX);
    let outcomes = world.decide(proofs);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.code == 0).count(), PROOFS_PER_BLOCK_MAX);
    assert_eq!(name_of(&outcomes[PROOFS_PER_BLOCK_MAX]), "TooManyProofs");
}

/// Plans of the most intervals: the most hashes that bytes can buy.
fn largest_plans(world: &World, sender: &str, count: usize) -> Vec<Vec<u8>> {
    let mut plan = match messages(world, sender, "publishes gold").remove(0) {
        Message::PublishPlan(plan) => plan,
        other => panic!("{other:?} is no plan"),
    };
    let width = 1u64 << 56;
    let interval = |number: u64| Interval {
        low: number * width,
        high: number * width + (width - 1),
        class: 0,
        wait_days: 0,
        cap: 0,
    };
    plan.intervals = (0..PLAN_INTERVALS_MAX as u64).map(interval).collect();
    (0..count)
        .map(|number| {
            let named =
                MsgPublishPlan { policy_id: crate::world::bytes(&format!("policy {number}")).to_vec(), ..plan.clone() };
            world.signed_with(sender, &[named.into()], Replay::UntilTime(START + 500))
        })
        .collect()
}

#[test]
fn a_block_computes_a_bounded_number_of_hashes() {
    let mut world = familiar();
    let fit = HASHES_PER_BLOCK_MAX / hashes_of_plan(PLAN_INTERVALS_MAX);
    let plans = largest_plans(&world, "payer", fit + 2);
    let (height, time) = (world.machine.height() + 1, START);
    assert_eq!(world.machine.process(&plans, height, time), Err(Reject::TooMuchWork));
    assert_eq!(world.replica.process(&plans[..fit], height, time), Ok(()));
    assert_eq!(world.machine.prepare(plans.clone(), 1 << 22, height, time), plans[..fit]);
    // Decided all the same, it is answered alike everywhere, and what is cheap still takes effect.
    let mut block = plans;
    block.push(world.signed("clinic", &messages(&world, "clinic", "anchors a")));
    let outcomes = world.decide(block);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.code == 0).count(), fit + 1);
    assert_eq!(name_of(&outcomes[fit]), "TooMuchWork");
    assert_eq!(name_of(&outcomes[fit + 2]), "ok");
}

/// Who has no account, or did not sign, gets no hash computed: a plan that does not even parse is
/// refused for its signer, from an account that exists for what it is.
#[test]
fn what_nobody_signed_is_not_understood() {
    let mut world = familiar();
    for (sender, expected) in [("nobody", "UnknownAccount"), ("payer", "InvalidPlan")] {
        let plan = world.signed(sender, &messages(&world, sender, "publishes gold with gap"));
        assert_eq!(name_of(&world.machine.check(&plan, CheckKind::New)), expected);
        assert_eq!(name_of(&world.send(plan)), expected);
    }
    let mut forged = world.signed("payer", &messages(&world, "payer", "publishes gold with gap"));
    *forged.last_mut().expect("a signature") ^= 1;
    assert_eq!(name_of(&world.send(forged)), "BadSignature");
}

/// A transaction of another account, opened earlier in the block, is understood when its turn comes.
#[test]
fn an_insurer_that_a_block_registers_publishes_in_it() {
    let mut world = familiar();
    run(&mut world, "r1 registers other as insurer");
    let registers = world.signed("r2", &messages(&world, "r2", "registers other as insurer"));
    let number = {
        let mut later = familiar();
        run(&mut later, "r1 registers other as insurer\nr2 registers other as insurer");
        later.account("other").0
    };
    let plan = messages(&world, "other", "publishes gold");
    let key = crate::world::public_key("other");
    let unsigned =
        careledger_wire::transaction::Unsigned::new(&plan, &key, crate::world::CHAIN, number, Replay::Sequence(0));
    let block = vec![registers, crate::world::sign(unsigned, "other")];
    assert_eq!(world.machine.process(&block, world.machine.height() + 1, START), Ok(()));
    assert_eq!(world.decide(block).iter().map(name_of).collect::<Vec<_>>(), ["ok", "ok"]);
}

#[test]
fn a_block_of_crumbs_is_refused_before_it_is_read() {
    let world = familiar();
    let signed = world.signed("clinic", &messages(&world, "clinic", "anchors a"));
    assert!(signed.len() >= TX_BYTES_MIN);
    let (height, time) = (world.machine.height() + 1, START);
    for crumb in [vec![], vec![0x0a], vec![0; TX_BYTES_MIN - 1]] {
        let block = vec![signed.clone(), crumb];
        assert_eq!(world.machine.process(&block, height, time), Err(Reject::Malformed));
        assert_eq!(world.machine.prepare(block, 1 << 22, height, time), std::slice::from_ref(&signed));
    }
}

/// A recheck does not try again what is costly; the block does.
#[test]
fn a_recheck_leaves_costly_work_to_the_block() {
    let mut world = familiar();
    let plan = world.signed("payer", &messages(&world, "payer", "publishes gold"));
    assert_eq!(name_of(&world.machine.check(&plan, CheckKind::New)), "ok");
    world.decide(Vec::new());
    assert_eq!(name_of(&world.machine.check(&plan, CheckKind::Recheck)), "ok");
    let again = world.signed_with("payer", &messages(&world, "payer", "publishes gold"), Replay::UntilTime(START + 9));
    assert_eq!(name_of(&world.machine.check(&again, CheckKind::New)), "ok", "the recheck computed no plan");
    assert_eq!(world.decide(vec![plan, again]).iter().map(name_of).collect::<Vec<_>>(), ["ok", "PlanExists"]);
}

#[test]
fn the_mempool_knows_what_waits_before() {
    let mut world = familiar();
    let (_, sequence) = world.account("clinic");
    let next = |world: &World, offset, part: &str| {
        world.signed_with("clinic", &messages(world, "clinic", part), Replay::Sequence(sequence + offset))
    };
    let first = next(&world, 0, "anchors a");
    let second = next(&world, 1, "supersedes a:2");
    assert_eq!(name_of(&world.machine.check(&second, CheckKind::New)), "WrongSequence");
    assert_eq!(name_of(&world.machine.check(&first, CheckKind::New)), "ok");
    assert_eq!(name_of(&world.machine.check(&first, CheckKind::New)), "WrongSequence");
    assert_eq!(name_of(&world.machine.check(&second, CheckKind::New)), "ok");

    // After a commit only what is rechecked waits.
    world.decide(vec![first.clone()]);
    assert_eq!(name_of(&world.machine.check(&first, CheckKind::Recheck)), "WrongSequence");
    assert_eq!(name_of(&world.machine.check(&second, CheckKind::Recheck)), "ok");
    let third = next(&world, 2, "supersedes a:3");
    assert_eq!(name_of(&world.machine.check(&third, CheckKind::New)), "ok");
}

#[test]
fn two_claims_of_one_event_do_not_wait_together() {
    let mut world = familiar();
    run(&mut world, "payer publishes gold\nclinic attests fact\npayer covers alice");
    let first = world.signed("lab", &messages(&world, "lab", "proves gold claim c event e period p"));
    let second = world.signed("clinic", &messages(&world, "clinic", "proves gold claim d event e period q"));
    assert_eq!(name_of(&world.machine.check(&first, CheckKind::New)), "ok");
    assert_eq!(name_of(&world.machine.check(&second, CheckKind::New)), "EventAlreadyClaimed");
}

/// A transaction that can no longer take effect, but is signed and in sequence, stays: its
/// sender gets the code from a block.
#[test]
fn a_recheck_keeps_what_a_block_will_answer() {
    let mut world = familiar();
    let waiting = world.signed("clinic", &messages(&world, "clinic", "supersedes a:2"));
    assert_eq!(name_of(&world.machine.check(&waiting, CheckKind::New)), "UnknownRecord");
    assert_eq!(name_of(&world.machine.check(&waiting, CheckKind::Recheck)), "ok");
    assert_eq!(name_of(&world.decide(vec![waiting]).remove(0)), "UnknownRecord");
}

/// On a quiet network the last block is long ago; without a clock nothing is too far away.
#[test]
fn a_quiet_network_takes_transactions_of_today() {
    let mut world = familiar();
    let day = 86_400;
    let anchors = messages(&world, "clinic", "anchors a");
    let today = world.signed_with("clinic", &anchors, Replay::UntilTime(START + day + 300));
    assert_eq!(name_of(&world.machine.check(&today, CheckKind::New)), "ok");
    let fresh = familiar();
    fresh.machine.observe_clock(START + 1_000);
    assert_eq!(name_of(&fresh.machine.check(&today, CheckKind::New)), "TimeoutTooFar");
    fresh.machine.observe_clock(START + day);
    assert_eq!(name_of(&fresh.machine.check(&today, CheckKind::New)), "ok");
    world.time = day;
    assert_eq!(name_of(&world.decide(vec![today]).remove(0)), "ok");
}

/// Things that can be asked at any time, by anyone, in any order.
const REQUESTS: &[(&str, &str)] = &[
    ("r1", "registers new as provider"),
    ("r2", "registers new as provider"),
    ("r3", "suspends lab"),
    ("clinic", "enrols nurse"),
    ("clinic", "opens carol.clinic"),
    ("carol.clinic", "claims carol.clinic"),
    ("lab", "requests alice.clinic as q"),
    ("alice.clinic", "grants lab as g for q"),
    ("alice.clinic", "revokes g"),
    ("clinic", "anchors a b"),
    ("clinic", "supersedes a:2 + marks a:2"),
    ("clinic", "supersedes b:2 + anchors a"),
    ("lab", "logs 1"),
    ("lab", "logs 2"),
    ("payer", "publishes gold"),
    ("lab", "attests x"),
    ("clinic", "attests y"),
    ("payer", "covers x"),
    ("lab", "proves gold claim c event e period p"),
    ("clinic", "proves gold claim d event e period q"),
    ("alice.clinic", "grants lab as h delegable"),
    ("alice.clinic", "amends h to 2 delegable + amends h to 3"),
    ("alice.clinic", "revokes h + reinstates h"),
    ("lab", "delegates h to payer as d on alice.clinic"),
    ("clinic", "appoints uncle until 300 on alice.clinic"),
    ("alice.clinic", "appoints uncle until 300"),
    ("uncle", "grants lab as i until 300 on alice.clinic + revokes h on alice.clinic"),
    ("r1", "registers clinic as provider emergency"),
    ("r2", "registers clinic as provider emergency"),
    ("clinic", "breaks alice.clinic as e by doctor"),
    ("lab", "reviews e on alice.clinic"),
    ("alice.clinic", "preapproves lab as s uses 1"),
    ("lab", "requests alice.clinic as u under s"),
    ("alice.clinic", "withdraws s"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever comes in whatever order, in whatever blocks: the replica that only executes agrees
    /// with the machine that proposed other blocks first, and abandoned proposals leave nothing.
    #[test]
    fn replicas_agree_whatever_was_proposed(
        blocks in proptest::collection::vec(
            (proptest::collection::vec(0..REQUESTS.len(), 0..6), any::<bool>(), 0i64..400), 1..12),
    ) {
        let mut world = familiar();
        for (requests, abandons, seconds) in blocks {
            world.time += seconds;
            let transactions: Vec<Vec<u8>> = requests.iter().enumerate().map(|(place, request)| {
                let (sender, part) = REQUESTS[*request];
                let until = Replay::UntilTime(START + world.time + 100 + place as i64);
                world.signed_with(sender, &messages(&world, sender, part), until)
            }).collect();
            let (height, time) = (world.machine.height() + 1, START + world.time);
            let before = world.state();
            for transaction in &transactions {
                world.machine.check(transaction, CheckKind::New);
            }
            let kept = world.machine.prepare(transactions.clone(), 1 << 22, height, time);
            if abandons {
                let mut other = transactions.clone();
                other.reverse();
                let _ = world.machine.process(&other, height, time + 1);
            }
            prop_assert_eq!(&world.state(), &before);
            prop_assert_eq!(world.machine.process(&kept, height, time), Ok(()));
            // Both replicas agree in `decide`; here all of it, not only what was kept.
            world.decide(if abandons { transactions } else { kept });
        }
        prop_assert_eq!(world.machine.app_hash(), world.replica.app_hash());
        prop_assert_eq!(world.state(), world.replica.store().pairs().clone());
    }
}

#[test]
fn a_finalized_block_that_is_not_committed_leaves_nothing() {
    let mut world = familiar();
    let transaction = world.signed("clinic", &messages(&world, "clinic", "anchors a"));
    let before = (world.state(), world.machine.app_hash());
    let block = Block { height: world.machine.height() + 1, time: START, transactions: vec![transaction] };
    let first = world.machine.finalize(&block);
    assert_eq!((world.state(), world.machine.app_hash()), before);
    // The node dies here, and is asked again.
    assert_eq!(world.machine.finalize(&block), first);
    world.machine.commit();
    assert_eq!(world.machine.app_hash(), first.app_hash);
    assert_ne!(world.state(), before.0);
}

#[test]
fn a_machine_continues_where_its_store_is() {
    let mut world = familiar();
    run(&mut world, "clinic anchors a");
    let (height, app_hash) = (world.machine.height(), world.machine.app_hash());
    let store = std::mem::replace(&mut world.machine, machine(&crate::world::genesis())).into_store();
    world.machine = careledger_app::machine::Machine::new(store);
    assert_eq!((world.machine.height(), world.machine.app_hash()), (height, app_hash));
    assert_eq!(run(&mut world, "clinic anchors a\nclinic anchors b"), ["RecordExists", "ok"]);
}
