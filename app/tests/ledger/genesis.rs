//! The first state, and what cannot start.

use careledger_app::{
    genesis::{Genesis, GenesisError, GenesisKind, GenesisOrganization},
    machine::Machine,
    sim::trapdoor,
    store::memory::MemoryStore,
};
use careledger_wire::ids::{Digest, EncryptionKey};

use crate::{
    script::run,
    world::{CHAIN, START, World, address, genesis, machine},
};

fn organization(name: &str, expires_at: i64) -> GenesisOrganization {
    GenesisOrganization {
        address: address(name),
        kind: GenesisKind::Provider,
        encryption_key: EncryptionKey::new([1; 32]),
        evidence: Digest::new([2; 32]),
        expires_at,
    }
}

#[test]
fn a_chain_starts_only_from_a_sound_genesis() {
    let sound = genesis();
    let with = |change: fn(&mut Genesis)| {
        let mut changed = sound.clone();
        change(&mut changed);
        changed
    };
    let clinic = address("clinic");
    let cases = [
        (CHAIN, sound.clone(), Ok(())),
        ("", sound.clone(), Err(GenesisError::ChainId)),
        (&"c".repeat(51), sound.clone(), Err(GenesisError::ChainId)),
        ("careledger-1", sound.clone(), Err(GenesisError::DevelopmentKey(0))),
        ("careledger-development", sound.clone(), Err(GenesisError::DevelopmentKey(0))),
        ("careledger-dev1", sound.clone(), Err(GenesisError::DevelopmentKey(0))),
        ("careledger-dev", sound.clone(), Ok(())),
        ("careledger-dev-x", sound.clone(), Ok(())),
        ("careledger-1", with(|genesis| genesis.verifying_keys.clear()), Ok(())),
        (CHAIN, with(|genesis| genesis.registrars.clear()), Err(GenesisError::Registrars)),
        (CHAIN, with(|genesis| genesis.registrars.push(address("r1"))), Err(GenesisError::Registrars)),
        (CHAIN, with(|genesis| genesis.registrar_threshold = 0), Err(GenesisError::Threshold)),
        (CHAIN, with(|genesis| genesis.registrar_threshold = 4), Err(GenesisError::Threshold)),
        (CHAIN, with(|genesis| genesis.registrar_threshold = 3), Ok(())),
        (CHAIN, with(|genesis| genesis.organizations.push(organization("clinic", START + 1))), Ok(())),
        (
            CHAIN,
            with(|genesis| genesis.organizations.push(organization("clinic", START))),
            Err(GenesisError::Organization(clinic)),
        ),
        (
            CHAIN,
            with(|genesis| genesis.organizations = vec![organization("clinic", START + 1); 2]),
            Err(GenesisError::Organization(clinic)),
        ),
        (
            CHAIN,
            with(|genesis| genesis.organizations.push(organization("r1", START + 1))),
            Err(GenesisError::Organization(address("r1"))),
        ),
    ];
    for (number, (chain_id, genesis, expected)) in cases.into_iter().enumerate() {
        let mut machine = Machine::new(MemoryStore::new());
        let started = machine.init_chain(chain_id, &serde_json::to_vec(&genesis).unwrap(), START);
        assert_eq!(started.map(|_| ()), expected, "case {number}");
    }
}

#[test]
fn unusable_verifying_keys_and_unknown_fields_are_refused() {
    let mut machine = Machine::new(MemoryStore::new());
    let mut damaged = trapdoor::key().encode();
    damaged[0] ^= 1;
    for key in [hex::encode(damaged), "zz".to_owned(), String::new()] {
        let genesis = Genesis { verifying_keys: vec![key], ..genesis() };
        let started = machine.init_chain(CHAIN, &serde_json::to_vec(&genesis).unwrap(), START);
        assert!(matches!(started, Err(GenesisError::VerifyingKey(0, _))));
    }
    for json in ["", "[]", "{}", r#"{"registrars":[],"registrar_threshold":1,"admin":"me"}"#] {
        assert!(matches!(machine.init_chain(CHAIN, json.as_bytes(), START), Err(GenesisError::Json(_))), "{json}");
    }
}

#[test]
fn genesis_may_be_sent_again_until_the_first_block() {
    let mut world = World::new();
    let json = serde_json::to_vec(&genesis()).unwrap();
    let root = world.machine.app_hash();
    assert_ne!(root, [0; 32]);
    let other = Genesis { registrar_threshold: 1, ..genesis() };
    let other_root = world.machine.init_chain(CHAIN, &serde_json::to_vec(&other).unwrap(), START).unwrap();
    assert_ne!(other_root, root);
    assert_eq!(world.machine.init_chain(CHAIN, &json, START), Ok(root));
    assert_eq!(world.machine.init_chain(CHAIN, &json, START), Ok(root));
    run(&mut world, "r1 registers clinic as provider");
    assert_eq!(world.machine.init_chain(CHAIN, &json, START), Err(GenesisError::Started));
}

#[test]
fn organizations_of_genesis_are_in_good_standing() {
    let genesis = Genesis { organizations: vec![organization("clinic", START + 100)], ..genesis() };
    let mut world = World { machine: machine(&genesis), replica: machine(&genesis), time: 0 };
    let answers = run(&mut world, "clinic anchors a\nat 99\nclinic anchors b\nat 100\nclinic anchors c");
    assert_eq!(answers, ["ok", "ok", "OrganizationExpired"]);
}
