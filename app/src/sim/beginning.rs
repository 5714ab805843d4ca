//! Where every simulation begins: a genesis, and the keys of everybody.

use std::collections::BTreeMap;

use careledger_wire::commitment;

use super::{
    messages,
    model::{POWER, THRESHOLD, WINDOW_BLOCKS, allowance},
    network::{CHAIN, START},
    script::{
        Actor, GUARDIANS, Key, ORGANIZATIONS, PATIENTS, PRACTITIONERS, REGISTRARS, REGISTRARS_FIRST, SPARE_KEYS,
        Script, VALIDATORS_FIRST,
    },
    trapdoor,
};
use crate::{
    genesis::{Consensus, Genesis, GenesisQuotas},
    machine::Machine,
    store::Store,
    wallet::Signer,
};

/// A machine at the genesis of a script.
pub(super) fn start<S: Store>(store: S, script: &Script) -> Machine<S> {
    let signers = signers();
    let address = |registrar: u8| signers[&Key::Of(Actor::Registrar(registrar))].address();
    let genesis = Genesis {
        registrars: (0..REGISTRARS_FIRST).map(address).collect(),
        registrar_threshold: THRESHOLD.into(),
        verifying_keys: vec![hex::encode(trapdoor::key().encode())],
        state_version: script.first_format,
        quotas: script.has_quotas.then(quotas),
        ..Genesis::default()
    };
    let genesis = serde_json::to_vec(&genesis).expect("addresses are JSON");
    let validators = (0..VALIDATORS_FIRST).map(|key| (messages::validator(key), POWER)).collect();
    let mut machine = Machine::new(store);
    let consensus = Consensus { validators, ..Consensus::default() };
    machine.init_chain_under(CHAIN, &genesis, START, &consensus).expect("genesis is sound");
    machine
}

/// As the model has them.
fn quotas() -> GenesisQuotas {
    GenesisQuotas {
        window_blocks: WINDOW_BLOCKS,
        registrar_bytes: allowance(Actor::Registrar(0)),
        organization_bytes: allowance(Actor::Organization(0)),
        practitioner_bytes: allowance(Actor::Practitioner(0)),
        claimant_bytes: allowance(Actor::Patient(0)),
    }
}

/// The keys of everybody, and those that are nobody's yet.
pub(super) fn signers() -> BTreeMap<Key, Signer> {
    let numbered = |count, actor: fn(u8) -> Actor| (0..count).map(actor).map(Key::Of);
    let keys = numbered(REGISTRARS, Actor::Registrar)
        .chain(numbered(ORGANIZATIONS, Actor::Organization))
        .chain(numbered(PATIENTS, Actor::Patient))
        .chain(numbered(PRACTITIONERS, Actor::Practitioner))
        .chain(numbered(GUARDIANS, Actor::Guardian))
        .chain((0..SPARE_KEYS).map(Key::Spare));
    let signer = |key: Key| {
        let secret = commitment::hash("careledger/simulation/1", &[key.to_string().as_bytes()]);
        (key, Signer::from_bytes(&secret).expect("a hash is a key, but for 2^-128"))
    };
    keys.map(signer).collect()
}
