//! A transaction takes effect once, on one chain, for one account, in its time.

use careledger_app::{limits::UNORDERED_PRUNED_PER_BLOCK_MAX, machine::CheckKind};
use careledger_wire::{
    message::Message,
    proto::tx::{TxBody, TxRaw},
    transaction::{Replay, Unsigned},
};
use prost::Message as _;

use crate::{
    script::{familiar, message, run},
    world::{CHAIN, START, World, name_of, public_key, sign},
};

fn anchor(world: &World, record: &str) -> Message {
    message(world, None, "clinic", &format!("anchors {record}"))
}

#[test]
fn sequences_follow_each_other() {
    let mut world = familiar();
    let (_, sequence) = world.account("clinic");
    for (offset, expected) in [(1, "WrongSequence"), (0, "ok"), (0, "WrongSequence"), (1, "ok"), (9, "WrongSequence")] {
        let anchor = anchor(&world, &format!("a{offset}"));
        let transaction = world.signed_with("clinic", &[anchor], Replay::Sequence(sequence + offset));
        assert_eq!(name_of(&world.send(transaction)), expected, "offset {offset}");
    }
}

#[test]
fn a_refused_transaction_uses_its_sequence() {
    let mut world = familiar();
    run(&mut world, "clinic anchors a");
    let (_, sequence) = world.account("clinic");
    let refused = world.signed("clinic", &[anchor(&world, "a")]);
    assert_eq!(name_of(&world.send(refused.clone())), "RecordExists");
    assert_eq!(world.account("clinic").1, sequence + 1);
    assert_eq!(name_of(&world.send(refused)), "WrongSequence");
}

#[test]
fn unordered_transactions_take_effect_in_any_order_and_once() {
    let mut world = familiar();
    let until = |time| Replay::UntilTime(START + time);
    let first = world.signed_with("clinic", &[anchor(&world, "a")], until(500));
    let second = world.signed_with("clinic", &[anchor(&world, "b")], until(400));
    let (_, sequence) = world.account("clinic");
    for (transaction, expected) in
        [(&second, "ok"), (&first, "ok"), (&first, "AlreadyExecuted"), (&second, "AlreadyExecuted")]
    {
        assert_eq!(name_of(&world.send(transaction.clone())), expected);
    }
    assert_eq!(world.account("clinic").1, sequence, "unordered transactions use no sequence");
    // One that was refused is not taken up later.
    let refused = world.signed_with("clinic", &[anchor(&world, "a")], until(450));
    assert_eq!(name_of(&world.send(refused.clone())), "RecordExists");
    assert_eq!(name_of(&world.send(refused)), "AlreadyExecuted");
}

#[test]
fn an_unordered_transaction_lives_to_the_second() {
    let mut world = familiar();
    world.time = 1_000;
    for (until, expected) in [
        (1_000, "TransactionExpired"),
        (1_001, "ok"),
        (1_600, "ok"),
        (1_601, "TimeoutTooFar"),
        (1, "TransactionExpired"),
    ] {
        let anchor = anchor(&world, &format!("a{until}"));
        let transaction = world.signed_with("clinic", &[anchor], Replay::UntilTime(START + until));
        assert_eq!(name_of(&world.send(transaction)), expected, "until {until}");
    }
}

#[test]
fn what_is_remembered_is_forgotten_after_its_expiry_and_still_refused() {
    let mut world = familiar();
    let transaction = world.signed_with("clinic", &[anchor(&world, "a")], Replay::UntilTime(START + 500));
    assert_eq!(name_of(&world.send(transaction.clone())), "ok");
    let remembered = |world: &World| world.state().keys().filter(|key| key.starts_with(b"unordered/")).count();
    for (time, expected) in [(499, 1), (500, 0)] {
        world.time = time;
        world.decide(Vec::new());
        assert_eq!(remembered(&world), expected, "at {time}");
        assert_ne!(name_of(&world.send(transaction.clone())), "ok");
    }
}

/// A block forgets more than it remembers, however many it takes.
#[test]
fn remembered_transactions_cannot_pile_up() {
    let mut world = familiar();
    let unordered = |world: &World, count: usize, until: i64| -> Vec<Vec<u8>> {
        let replay = Replay::UntilTime(START + until);
        (0..count).map(|n| world.signed_with("clinic", &[anchor(world, &format!("{until} {n}"))], replay)).collect()
    };
    let most = UNORDERED_PRUNED_PER_BLOCK_MAX;
    let first = unordered(&world, most + most / 2, 10);
    world.decide(first);
    world.time = 20;
    let second = unordered(&world, most * 3 / 4, 500);
    world.decide(second);
    let remembered = world.state().keys().filter(|key| key.starts_with(b"unordered/")).count();
    assert_eq!(remembered, most * 3 / 4, "all that expired is forgotten");
}

#[test]
fn a_height_limit_is_kept_to_the_block() {
    let mut world = familiar();
    let limited = |world: &World, record: &str, timeout_height: u64| {
        let raw = TxRaw::decode(world.signed("clinic", &[anchor(world, record)]).as_slice()).unwrap();
        let body = TxBody { timeout_height, ..TxBody::decode(raw.body_bytes.as_slice()).unwrap() };
        resigned(world, TxRaw { body_bytes: body.encode_to_vec(), ..raw })
    };
    let height = world.machine.height();
    let late = limited(&world, "a", height);
    assert_eq!(name_of(&world.send(late)), "TransactionExpired");
    let next = world.machine.height() + 1;
    let in_time = limited(&world, "a", next);
    assert_eq!(name_of(&world.send(in_time)), "ok");
}

fn resigned(world: &World, raw: TxRaw) -> Vec<u8> {
    use careledger_wire::proto::tx::SignDoc;
    use sha2::{Digest as _, Sha256};
    let document = SignDoc {
        body_bytes: raw.body_bytes.clone(),
        auth_info_bytes: raw.auth_info_bytes.clone(),
        chain_id: CHAIN.to_owned(),
        account_number: world.account("clinic").0,
    };
    let digest: [u8; 32] = Sha256::digest(document.encode_to_vec()).into();
    let signature = secp256k1::ecdsa::sign(secp256k1::Message::from_digest(digest), &crate::world::secret("clinic"));
    TxRaw { signatures: vec![signature.serialize_compact().to_vec()], ..raw }.encode_to_vec()
}

#[test]
fn a_signature_is_for_one_chain_one_account_and_one_spelling() {
    let mut world = familiar();
    let (number, sequence) = world.account("clinic");
    let replay = Replay::Sequence(sequence);
    let key = public_key("clinic");
    let anchors = [anchor(&world, "a")];
    let other_chain = sign(Unsigned::new(&anchors, &key, "careledger-dev-2", number, replay), "clinic");
    let other_number = sign(Unsigned::new(&anchors, &key, CHAIN, number + 1, replay), "clinic");
    let other_key = sign(Unsigned::new(&anchors, &key, CHAIN, number, replay), "lab");
    let good = world.signed("clinic", &anchors);
    for (transaction, expected) in [
        (other_chain, "BadSignature"),
        (other_number, "BadSignature"),
        (other_key, "BadSignature"),
        (with_high_s(&good), "BadSignature"),
        (good, "ok"),
    ] {
        assert_eq!(name_of(&world.send(transaction)), expected);
    }
}

/// The other signature of the same message: s becomes n − s.
fn with_high_s(transaction: &[u8]) -> Vec<u8> {
    let mut raw = TxRaw::decode(transaction).expect("a transaction of ours");
    let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").expect("hexadecimal");
    let mut borrow = 0;
    for place in (0..32).rev() {
        let difference = i32::from(order[place]) - i32::from(raw.signatures[0][32 + place]) - borrow;
        borrow = i32::from(difference < 0);
        raw.signatures[0][32 + place] = (difference & 0xff) as u8;
    }
    raw.encode_to_vec()
}

#[test]
fn a_remembered_signature_never_stands_for_other_bytes() {
    let mut world = familiar();
    let good = world.signed_with("clinic", &[anchor(&world, "a")], Replay::UntilTime(START + 500));
    assert_eq!(world.machine.check(&good, CheckKind::New).code, 0);
    for bit in 0..good.len() * 8 {
        let mut changed = good.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(world.machine.check(&changed, CheckKind::New).code, 0, "bit {bit}");
        let (height, time) = (world.machine.height() + 1, START);
        assert!(world.machine.process(&[changed], height, time).is_err(), "bit {bit}");
    }
    assert_eq!(name_of(&world.decide(vec![good]).remove(0)), "ok");
}
