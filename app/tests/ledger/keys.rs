//! Key sets: who may sign for an account, and who may change that.

use careledger_app::{keys, limits::KEYS_PER_ACCOUNT_MAX, machine::CheckKind, state::StateRead as _};
use careledger_wire::{
    message::Message,
    proto::{
        accounts::{KeyAuthority, KeyKind, MsgAddKey},
        tx::{BaseAccount, QueryAccountRequest, QueryAccountResponse},
    },
    transaction::{Replay, Unsigned},
};
use prost::Message as _;

use crate::{
    script::{check_familiar, familiar, message, run},
    world::{CHAIN, World, address, bytes, key, name_of, sign, signature},
};

#[test]
fn a_device_acts_for_its_account_and_manages_no_keys() {
    check_familiar(
        "alice.clinic@phone grants lab as g on alice.clinic
         alice.clinic adds phone as device
         alice.clinic@phone grants lab as g on alice.clinic
         alice.clinic revokes g
         alice.clinic@phone adds tablet as device
         alice.clinic@phone adds tablet as full
         alice.clinic@phone removes alice.clinic
         alice.clinic@phone removes phone
         bob.clinic@phone grants lab as h on bob.clinic
         alice.clinic removes phone
         alice.clinic@phone grants lab as i on alice.clinic
         alice.clinic grants lab as i",
        "UnknownKey ok ok ok NotAFullKey NotAFullKey NotAFullKey NotAFullKey UnknownKey ok UnknownKey ok",
    );
}

#[test]
fn keys_rotate_and_the_account_stays() {
    check_familiar(
        "clinic adds second as full
         clinic@second anchors a
         clinic@second removes clinic
         clinic anchors b
         clinic adds third as full
         clinic@second adds third as full
         clinic@third removes second
         clinic@second anchors b
         clinic@third anchors b",
        "ok ok ok UnknownKey UnknownKey ok ok UnknownKey ok",
    );
}

#[test]
fn the_last_full_key_stays() {
    check_familiar(
        "alice.clinic removes alice.clinic
         alice.clinic adds phone as device
         alice.clinic removes alice.clinic
         alice.clinic adds second as full
         alice.clinic removes alice.clinic
         alice.clinic@second removes second
         alice.clinic@second removes alice.clinic
         alice.clinic@second removes other",
        "LastFullKey ok LastFullKey ok ok LastFullKey UnknownKey UnknownKey",
    );
}

/// A thief who has one full key for a moment cannot bring back what was removed, and a key that
/// stood for two accounts would link them.
#[test]
fn a_key_belongs_to_one_account_once() {
    check_familiar(
        "alice.clinic adds phone as device
         alice.clinic adds phone as full
         alice.clinic adds alice.clinic as device
         bob.clinic adds phone as device
         bob.clinic adds alice.clinic as device
         alice.clinic removes phone
         alice.clinic adds phone as device
         bob.clinic adds phone as device
         lab opens phone
         lab enrols phone
         r1 registers phone as provider
         alice.clinic adds next as full
         alice.clinic@next removes alice.clinic
         alice.clinic@next adds alice.clinic as device
         bob.clinic adds alice.clinic as device",
        "ok KeyInUse KeyInUse KeyInUse KeyInUse ok KeyInUse KeyInUse AddressInUse AddressInUse AddressInUse ok ok KeyInUse KeyInUse",
    );
}

#[test]
fn nobodys_key_is_added_unknowingly() {
    check_familiar(
        "clinic adds phone as device proven-by=clinic
         clinic adds phone as device proven-for=lab
         clinic adds phone as device proven-on=careledger-dev-2
         clinic adds phone as nothing
         clinic adds phone as device",
        "KeyNotProven KeyNotProven KeyNotProven InvalidField ok",
    );
}

#[test]
fn an_account_has_a_bounded_number_of_keys() {
    let mut world = familiar();
    for number in 1..KEYS_PER_ACCOUNT_MAX {
        assert_eq!(run(&mut world, &format!("clinic adds phone-{number} as device")), ["ok"]);
    }
    let script = "clinic adds another as device\nclinic removes phone-3\nclinic adds another as device";
    assert_eq!(run(&mut world, script), ["TooManyKeys", "ok", "ok"]);
}

#[test]
fn a_key_has_the_form_of_its_kind() {
    let world = familiar();
    let new = key("phone");
    let possession = signature("phone", &careledger_wire::commitment::possession(CHAIN, &address("clinic"), &new));
    let sound = MsgAddKey {
        sender: address("clinic").to_string(),
        kind: KeyKind::Secp256k1.into(),
        key: new.as_bytes().to_vec(),
        authority: KeyAuthority::Device.into(),
        possession: possession.encode(),
    };
    let cases = [
        (MsgAddKey { kind: KeyKind::Unspecified.into(), ..sound.clone() }, "InvalidField"),
        (MsgAddKey { kind: 3, ..sound.clone() }, "InvalidField"),
        (MsgAddKey { kind: KeyKind::WebauthnP256.into(), ..sound.clone() }, "InvalidField"),
        (MsgAddKey { key: vec![2; 32], ..sound.clone() }, "InvalidField"),
        (MsgAddKey { key: vec![0xff; 33], ..sound.clone() }, "KeyNotProven"),
        (MsgAddKey { authority: 3, ..sound.clone() }, "InvalidField"),
        (MsgAddKey { possession: vec![1; 63], ..sound.clone() }, "InvalidField"),
        (MsgAddKey { possession: vec![1; 64], ..sound.clone() }, "KeyNotProven"),
        (sound, "ok"),
    ];
    for (number, (add, expected)) in cases.into_iter().enumerate() {
        let mut world = familiar();
        let transaction = world.signed("clinic", &[add.into()]);
        assert_eq!(name_of(&world.send(transaction)), expected, "case {number}");
    }
    assert!(world.state().keys().all(|key| !key.starts_with(b"account-key/")));
}

/// What is removed in a block signs nothing later in it.
#[test]
fn a_removed_key_is_refused_in_the_same_block() {
    let mut world = familiar();
    run(&mut world, "clinic adds phone as device");
    let (number, sequence) = world.account("clinic");
    let signed = |sender: &str, offset: u64, part: &str| {
        let parsed: Message = message(&world, None, sender, part);
        let replay = Replay::Sequence(sequence + offset);
        sign(Unsigned::with_key(&[parsed], &key(sender), CHAIN, number, replay), sender)
    };
    let block = vec![signed("clinic", 0, "removes phone"), signed("clinic@phone", 1, "anchors a")];
    assert!(world.machine.process(&block, world.machine.height() + 1, crate::world::START).is_err());
    assert_eq!(world.decide(block).iter().map(name_of).collect::<Vec<_>>(), ["ok", "UnknownKey"]);
}

/// A stranger's signature over somebody's message is worth nothing, and costs nothing.
#[test]
fn another_accounts_key_signs_for_nobody() {
    let mut world = familiar();
    let (number, sequence) = world.account("payer");
    let plan = message(&world, None, "payer", "publishes gold with gap");
    let unsigned = Unsigned::with_key(&[plan], &key("lab"), CHAIN, number, Replay::Sequence(sequence));
    let transaction = sign(unsigned, "lab");
    assert_eq!(name_of(&world.machine.check(&transaction, CheckKind::New)), "UnknownKey");
    assert_eq!(name_of(&world.send(transaction)), "UnknownKey");
}

#[test]
fn a_cosmos_wallet_finds_the_first_key_of_its_kind() {
    let shown = |world: &World| {
        let request = QueryAccountRequest { address: address("clinic").to_string() }.encode_to_vec();
        let answer =
            world.machine.query(careledger_app::query::ACCOUNT, &request, 0, careledger_app::machine::Prove::No);
        let response = QueryAccountResponse::decode(answer.value.as_slice()).unwrap();
        BaseAccount::decode(response.account.unwrap().value.as_slice()).unwrap().pub_key
    };
    let mut world = familiar();
    run(&mut world, "clinic adds second as full");
    assert_eq!(shown(&world), Some(key("clinic").to_any()));
    run(&mut world, "clinic@second removes clinic");
    assert_eq!(shown(&world), Some(key("second").to_any()));
}

/// An account that never had a second key is stored as before there were any.
#[test]
fn a_single_key_leaves_the_account_as_it_was() {
    let mut world = familiar();
    run(&mut world, "clinic anchors a");
    let account = world.machine.store().get(&keys::account(&address("clinic"))).unwrap();
    assert_eq!((account.keys.len(), account.public_key), (0, key("clinic").as_bytes().to_vec()));
    assert!(world.state().values().all(|value| value != &bytes("phone").to_vec()));
}
