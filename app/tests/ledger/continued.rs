//! A chain that continues another: what it begins with, what it refuses to begin with.

use std::{collections::BTreeMap, sync::LazyLock};

use careledger_app::{
    genesis::{
        Consensus, GenesisError,
        continued::{ContinuedError, Exported, Origin},
        first_state,
    },
    keys,
    machine::{Block, Machine},
    state::StateRead as _,
    store::{Store as _, memory::MemoryStore, tree::Tree},
};
use careledger_wire::{
    ids::ValidatorKey,
    proto::state::{self, AccountRole},
    transaction::{Replay, Unsigned},
};

use proptest::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::{
    golden,
    script::{familiar, message},
    world::{CHAIN, World, address, key, name_of, sign},
};

/// What an export and a genesis file say, as anybody who edits one writes it.
#[derive(Debug, Clone, Serialize)]
struct Printed {
    chain_id: String,
    height: u64,
    time: i64,
    app_hash: String,
    pairs: Vec<(String, String)>,
}

const NEXT_CHAIN: &str = "careledger-dev-2";

/// A world in which every transaction took effect, so that every area of the state has something.
fn lived() -> World {
    let mut world = familiar();
    for requests in golden::blocks() {
        let signed = |(sender, part): &(&str, &str)| world.signed(sender, &[message(&world, None, sender, part)]);
        let transactions = requests.iter().map(signed).collect();
        world.decide(transactions);
    }
    world
}

fn exported(machine: &Machine<MemoryStore>) -> Printed {
    let pairs = machine.store().pairs().iter().map(|(key, value)| (hex::encode(key), hex::encode(value)));
    Printed {
        chain_id: machine.chain_id().expect("the chain began"),
        height: machine.height(),
        time: machine.time(),
        app_hash: hex::encode(machine.app_hash()),
        pairs: pairs.collect(),
    }
}

fn bytes(digits: &str) -> Vec<u8> {
    hex::decode(digits).expect("an export is hexadecimal")
}

fn app_state(exported: &Printed) -> Vec<u8> {
    serde_json::to_vec(&json!({ "continues": exported })).expect("an export is JSON")
}

/// The genesis that names this export and does not hold it.
fn app_state_without_pairs(exported: &Printed) -> Vec<u8> {
    let mut app_state = json!({ "continues": exported });
    app_state["continues"].as_object_mut().expect("it is an object").remove("pairs");
    serde_json::to_vec(&app_state).expect("an export is JSON")
}

fn begin(
    exported: &Printed,
    chain_id: &str,
    time: i64,
    consensus: &Consensus,
) -> Result<Machine<MemoryStore>, GenesisError> {
    let mut machine = Machine::new(MemoryStore::new());
    machine.init_chain_under(chain_id, &app_state(exported), time, consensus)?;
    Ok(machine)
}

fn from(exported: &Printed) -> Consensus {
    Consensus { initial_height: exported.height + 1, ..Consensus::default() }
}

/// Keys whose values differ, or that only one of them has.
fn differing(one: &Printed, other: &Printed) -> Vec<String> {
    let [one, other]: [BTreeMap<_, _>; 2] = [one, other].map(|exported| exported.pairs.iter().cloned().collect());
    let keys = one.keys().chain(other.keys()).filter(|key| one.get(*key) != other.get(*key));
    let mut keys: Vec<String> = keys.map(|key| bytes(key).escape_ascii().to_string()).collect();
    keys.sort();
    keys.dedup();
    keys
}

#[test]
fn the_state_goes_on_but_for_the_chain_itself() {
    let before = exported(&lived().machine);
    assert!(before.pairs.len() > 100, "the state has something of everything");
    let machine = begin(&before, NEXT_CHAIN, before.time, &from(&before)).unwrap();
    assert!(!machine.has_blocks());
    let after = exported(&machine);
    assert_eq!(differing(&before, &after), ["chain"]);
    assert_eq!((after.height, after.time), (before.height, before.time));
    assert_ne!(after.app_hash, before.app_hash);
    let chain: state::Chain = machine.store().get(&keys::chain()).unwrap();
    let expected =
        state::Chain { chain_id: NEXT_CHAIN.to_owned(), genesis_time: before.time, initial_height: before.height + 1 };
    assert_eq!(chain, expected);
    // And of that chain again another, as often as one likes.
    let third = begin(&after, "careledger-dev-3", after.time, &from(&after)).unwrap();
    assert_eq!(differing(&after, &exported(&third)), ["chain"]);
}

#[test]
fn accounts_go_on_with_their_sequences_and_nothing_that_was_signed_before_counts() {
    let world = lived();
    let before = exported(&world.machine);
    let mut machine = begin(&before, NEXT_CHAIN, before.time, &from(&before)).unwrap();
    let messages = [message(&world, None, "lab", "anchors after")];
    let (number, sequence) = world.account("lab");
    let signed = |chain: &str| {
        sign(Unsigned::with_key(&messages, &key("lab"), chain, number, Replay::Sequence(sequence)), "lab")
    };
    let block = Block {
        height: before.height + 1,
        time: before.time + 5,
        transactions: vec![signed(CHAIN), signed(NEXT_CHAIN)],
    };
    let finalized = machine.finalize(&block);
    let answers: Vec<&str> = finalized.outcomes.iter().map(name_of).collect();
    assert_eq!(answers, ["BadSignature", "ok"]);
    machine.commit();
    assert!(machine.has_blocks() && machine.height() == before.height + 1);
    let again = machine.init_chain(NEXT_CHAIN, b"{}", before.time);
    assert_eq!(again, Err(GenesisError::Started));
}

#[test]
fn the_genesis_file_says_who_validates_and_what_they_did_stays_known() {
    let world = lived();
    let validator = |byte| ValidatorKey::new([byte; 32]);
    let before = exported(&world.machine);
    let first = Consensus { validators: vec![(validator(1), 10), (validator(2), 20)], ..from(&before) };
    let second = exported(&begin(&before, NEXT_CHAIN, before.time, &first).unwrap());
    let next = Consensus { validators: vec![(validator(2), 20), (validator(3), 5)], ..from(&second) };
    let machine = begin(&second, "careledger-dev-3", second.time, &next).unwrap();
    let power = |byte| machine.store().get(&keys::validator(&validator(byte))).map(|validator| validator.power);
    assert_eq!([power(1), power(2), power(3)], [Some(0), Some(20), Some(5)]);
    let changed = differing(&second, &exported(&machine));
    assert!(changed.iter().all(|key| key == "chain" || key.starts_with("validator/")), "{changed:?}");
    for validators in [vec![(validator(1), 0)], vec![(validator(1), 1); 2]] {
        let refused = begin(&second, "careledger-dev-3", second.time, &Consensus { validators, ..from(&second) });
        assert_eq!(refused.err(), Some(GenesisError::Validators));
    }
}

/// Before format 4 a removed validator was an empty value; such a chain goes on too, and what goes on has none.
#[test]
fn a_state_whose_validators_were_removed_goes_on() {
    let validator = |byte| ValidatorKey::new([byte; 32]);
    let before = exported(&lived().machine);
    let first = Consensus { validators: vec![(validator(1), 10), (validator(2), 20)], ..from(&before) };
    let mut state = exported(&begin(&before, NEXT_CHAIN, before.time, &first).unwrap());
    let removed = String::new();
    let path = hex::encode(keys::validator(&validator(1)).as_bytes());
    let pair = state.pairs.iter_mut().find(|(key, _)| *key == path).expect("it is a validator");
    pair.1 = removed;
    let state = rehashed(state);
    let next = Consensus { validators: vec![(validator(2), 20)], ..from(&state) };
    let machine = begin(&state, "careledger-dev-3", state.time, &next).unwrap();
    let again = exported(&machine);
    assert!(again.pairs.iter().all(|(_, value)| !value.is_empty()));
    begin(&again, "careledger-dev-4", again.time, &Consensus { validators: vec![(validator(2), 20)], ..from(&again) })
        .expect("that chain goes on in its turn");
}

/// The same pairs with another value at a path, and the root that belongs to them: an edit by somebody who knows how.
fn forged<M: prost::Message + Default>(exported: &Printed, path: &[u8], change: impl Fn(&mut M)) -> Printed {
    let mut pairs = exported.pairs.clone();
    let place = pairs.iter().position(|(key, _)| *key == hex::encode(path)).expect("the path is there");
    let mut value = M::decode(bytes(&pairs[place].1).as_slice()).expect("the value is of this type");
    change(&mut value);
    pairs[place].1 = hex::encode(value.encode_to_vec());
    rehashed(Printed { pairs, ..exported.clone() })
}

fn rehashed(exported: Printed) -> Printed {
    let decoded = exported.pairs.iter().map(|(key, value)| (bytes(key), bytes(value)));
    let app_hash = hex::encode(Tree::of(decoded).root());
    Printed { app_hash, ..exported }
}

#[test]
fn an_export_that_was_edited_is_refused_and_the_place_is_named() {
    let exported = exported(&lived().machine);
    let edited = |edit: fn(&mut Vec<(String, String)>)| {
        let mut pairs = exported.pairs.clone();
        edit(&mut pairs);
        Printed { pairs, ..exported.clone() }
    };
    let parameters = keys::parameters();
    let clinic = keys::account(&address("clinic"));
    let cases: Vec<(&str, Printed, &str)> = vec![
        ("a key is no hex", edited(|pairs| pairs[2].0.push('x')), "pair 2 ("),
        ("a value is no hex", edited(|pairs| pairs[3].1.push('x')), "pair 3 ("),
        ("an unknown area", edited(|pairs| pairs[0].0.insert_str(0, "61")), "no area of the state"),
        ("a path too long", edited(|pairs| pairs[1].0.push_str("00")), "pair 1 ("),
        ("an empty value", edited(|pairs| pairs[4].1.clear()), "pair 4 ("),
        ("a value of another type", edited(|pairs| pairs[5].1.push_str("f80701")), "not one that the ledger writes"),
        ("two pairs exchanged", edited(|pairs| pairs.swap(6, 7)), "pair 7 ("),
        ("a pair twice", edited(|pairs| pairs.insert(8, pairs[8].clone())), "pair 9 ("),
        ("a pair lost", edited(|pairs| drop(pairs.remove(9))), "a pair was changed, added or lost"),
        (
            "a value changed",
            Printed {
                app_hash: exported.app_hash.clone(),
                ..forged::<state::Account>(&exported, clinic.as_bytes(), |account| account.sequence += 1)
            },
            "a pair was changed, added or lost",
        ),
        ("another chain", Printed { chain_id: "careledger-dev-9".to_owned(), ..exported.clone() }, "chain: "),
        (
            "no registrars",
            forged::<state::Parameters>(&exported, parameters.as_bytes(), |parameters| parameters.registrars.clear()),
            "parameters: the registrars",
        ),
        (
            "a registrar without an account",
            forged::<state::Parameters>(&exported, parameters.as_bytes(), |parameters| {
                parameters.registrars[0][0] ^= 1
            }),
            "parameters: the registrars",
        ),
        (
            "a format that nobody knows",
            forged::<state::Parameters>(&exported, parameters.as_bytes(), |parameters| {
                parameters.governance.get_or_insert_default().state_version = 99;
            }),
            "format of the state",
        ),
        (
            "an upgrade that was passed over",
            forged::<state::Parameters>(&exported, parameters.as_bytes(), |parameters| {
                let governance = parameters.governance.get_or_insert_default();
                (governance.upgrade_version, governance.upgrade_height) = (3, 1);
            }),
            "an upgrade was due",
        ),
        (
            "an account's number twice",
            forged::<state::Account>(&exported, clinic.as_bytes(), |account| account.number = 0),
            "number is another's",
        ),
        (
            "an account without a role",
            forged::<state::Account>(&exported, clinic.as_bytes(), |account| {
                account.role = AccountRole::Unspecified.into()
            }),
            "account has no role",
        ),
        (
            "a key that is none",
            forged::<state::Account>(&exported, clinic.as_bytes(), |account| account.keys[0].key.truncate(5)),
            "a key of the account is none",
        ),
        (
            "an organization whose account is a patient's",
            forged::<state::Account>(&exported, clinic.as_bytes(), |account| {
                account.role = AccountRole::Claimant.into()
            }),
            "the organization has no account",
        ),
    ];
    for (name, edited, expected) in cases {
        let refused = begin(&edited, NEXT_CHAIN, edited.time, &from(&edited)).err().map(|error| error.to_string());
        let refused = refused.unwrap_or_else(|| panic!("{name} was accepted"));
        assert!(refused.starts_with("app_state, continues: ") && refused.contains(expected), "{name}: {refused}");
    }
}

#[test]
fn a_chain_continues_only_with_an_id_a_height_and_a_time_of_its_own() {
    let before = exported(&lived().machine);
    let next = from(&before);
    let at = |initial_height| Consensus { initial_height, ..Consensus::default() };
    let height = ContinuedError::InitialHeight(before.height + 1);
    let cases = [
        (CHAIN, before.time, next.clone(), ContinuedError::SameChainId(CHAIN.to_owned()).into()),
        (NEXT_CHAIN, before.time, at(1), height.clone().into()),
        (NEXT_CHAIN, before.time, at(before.height), height.into()),
        (NEXT_CHAIN, before.time - 1, next.clone(), ContinuedError::Time(before.time).into()),
        ("", before.time, next.clone(), GenesisError::ChainId),
        // Everybody could forge proofs under the development key.
        ("careledger-1", before.time, next, GenesisError::DevelopmentKey(0)),
    ];
    for (chain_id, time, consensus, expected) in cases {
        assert_eq!(begin(&before, chain_id, time, &consensus).err(), Some(expected));
    }
}

fn read(exported: &Printed) -> Exported {
    serde_json::from_value(serde_json::to_value(exported).expect("an export is JSON")).expect("it was printed so")
}

/// The first state of a chain whose genesis file names `named`, where `beside` is the export beside it.
fn begin_beside(named: &Printed, beside: Result<Exported, ContinuedError>) -> Result<[u8; 32], GenesisError> {
    let app_state = app_state_without_pairs(named);
    let first = first_state(&app_state, NEXT_CHAIN, named.time, &from(named), |_| beside)?;
    Ok(Machine::new(MemoryStore::new()).begin(NEXT_CHAIN, named.time, &from(named), first))
}

#[test]
fn a_state_beside_the_genesis_file_begins_the_same_chain_as_one_in_it() {
    let before = exported(&lived().machine);
    let inside = begin(&before, NEXT_CHAIN, before.time, &from(&before)).unwrap();
    assert_eq!(begin_beside(&before, Ok(read(&before))), Ok(inside.app_hash()));
}

#[test]
fn a_state_beside_the_genesis_file_must_be_the_one_that_it_names() {
    let before = exported(&lived().machine);
    let origin = |printed: &Printed| {
        let Printed { chain_id, height, time, app_hash, .. } = printed.clone();
        Box::new(Origin { chain_id, height, time, app_hash })
    };
    // A state that is sound, and another one: everybody who has it sees another app hash.
    let registrars = keys::parameters();
    let other = forged::<state::Parameters>(&before, registrars.as_bytes(), |parameters| {
        parameters.registrar_threshold = 1;
    });
    assert_ne!(other.app_hash, before.app_hash);
    assert!(begin(&other, NEXT_CHAIN, other.time, &from(&other)).is_ok(), "it could begin a chain of its own");
    let another = ContinuedError::Another(origin(&before), origin(&other));
    assert_eq!(begin_beside(&before, Ok(read(&other))), Err(another.into()));
    // The same under a forged name.
    let renamed = Printed { app_hash: before.app_hash.clone(), ..other.clone() };
    let refused = begin_beside(&before, Ok(read(&renamed)));
    assert!(matches!(refused, Err(GenesisError::Continued(ContinuedError::Root { .. }))), "{refused:?}");
    for edited in [
        Printed { height: before.height + 1, ..before.clone() },
        Printed { time: before.time + 1, ..before.clone() },
        Printed { chain_id: "careledger-dev-9".to_owned(), ..before.clone() },
    ] {
        let another = ContinuedError::Another(origin(&before), origin(&edited));
        assert_eq!(begin_beside(&before, Ok(read(&edited))), Err(another.into()));
    }
}

#[test]
fn a_ledger_that_reads_no_files_says_so_where_the_state_is_beside_the_genesis() {
    let before = exported(&lived().machine);
    let mut machine = Machine::new(MemoryStore::new());
    let refused = machine.init_chain_under(NEXT_CHAIN, &app_state_without_pairs(&before), before.time, &from(&before));
    let said = refused.unwrap_err().to_string();
    assert!(said.contains(&before.app_hash) && said.contains("only careledgerd under CometBFT reads one"), "{said}");
    assert!(machine.store().chain().is_none(), "nothing was written");
}

#[test]
fn no_form_of_app_state_is_taken_for_the_other() {
    let mut machine = Machine::new(MemoryStore::new());
    for text in [r#"{"continues": null}"#, r#"{"continues": {}}"#, r#"{"continues": [], "registrars": []}"#, "[]", ""] {
        assert!(machine.init_chain(CHAIN, text.as_bytes(), 1).is_err(), "{text}");
    }
    let genesis = serde_json::to_vec(&crate::world::genesis()).unwrap();
    let later = Consensus { initial_height: 2, ..Consensus::default() };
    assert_eq!(machine.init_chain_under(CHAIN, &genesis, 1, &later), Err(GenesisError::InitialHeight));
    assert!(machine.store().chain().is_none(), "nothing was written");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever becomes of the bytes on their way, no chain begins with another state, and nothing panics.
    #[test]
    fn damaged_bytes_begin_no_other_state(places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        static EXPORTED: LazyLock<Printed> = LazyLock::new(|| exported(&lived().machine));
        let before = &*EXPORTED;
        let mut app_state = app_state(before);
        for (place, byte) in places {
            let place = place.index(app_state.len());
            app_state[place] = byte;
        }
        let mut machine = Machine::new(MemoryStore::new());
        if machine.init_chain_under(NEXT_CHAIN, &app_state, before.time, &from(before)).is_ok() {
            let differing = differing(before, &exported(&machine));
            prop_assert_eq!(differing, ["chain"]);
        }
    }
}
