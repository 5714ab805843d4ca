//! A small chain with named actors, and a replica that must always agree.

use std::collections::BTreeMap;

use careledger_app::{
    genesis::{Consensus, Genesis},
    machine::{Block, CheckKind, Machine, Outcome},
    reject::Reject,
    sim::trapdoor,
    store::memory::MemoryStore,
};
use careledger_wire::{
    ids::Address,
    message::Message,
    signing::{PublicKey, Signature},
    transaction::{Replay, Unsigned},
};
use secp256k1::{SecretKey, ecdsa};
use sha2::{Digest as _, Sha256};

use crate::passkeys;

pub const CHAIN: &str = "careledger-dev-1";
/// 2027-01-15T08:00:00Z: second 0 of every script.
pub const START: i64 = 1_800_000_000;

/// 32 bytes for a name.
pub fn bytes(name: &str) -> [u8; 32] {
    Sha256::digest(name).into()
}

/// A canonical field element for a name.
pub fn element(name: &str) -> [u8; 32] {
    let mut element = bytes(name);
    element[0] = 0;
    element
}

/// `clinic@phone` is the account of the clinic, where the key `phone` signs.
fn parts(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, name))
}

pub fn secret(name: &str) -> SecretKey {
    SecretKey::from_secret_bytes(bytes(parts(name).1)).expect("a hash is a key, but for 2^-128")
}

pub fn public_key(name: &str) -> [u8; 33] {
    secp256k1::PublicKey::from_secret_key(&secret(name)).serialize()
}

/// The key of a name; those that start with `pass-` are passkeys.
pub fn key(name: &str) -> PublicKey {
    let key = parts(name).1;
    if key.starts_with("pass-") { passkeys::public_key(key) } else { PublicKey::Secp256k1(public_key(key)) }
}

/// The account of a name.
pub fn address(name: &str) -> Address {
    key(parts(name).0).address()
}

/// Signature of a name's key over the SHA-256 of `message`.
pub fn signature(name: &str, message: &[u8]) -> Signature {
    let digest: [u8; 32] = Sha256::digest(message).into();
    match key(name) {
        PublicKey::WebAuthnP256(_) => passkeys::assertion(parts(name).1, &digest),
        PublicKey::Secp256k1(_) => {
            let signature = ecdsa::sign(secp256k1::Message::from_digest(digest), &secret(name));
            Signature::Secp256k1(signature.serialize_compact())
        }
    }
}

pub fn sign(unsigned: Unsigned, name: &str) -> Vec<u8> {
    let signature = signature(name, &unsigned.sign_bytes());
    unsigned.signed_by(&[signature])
}

pub fn genesis() -> Genesis {
    Genesis {
        registrars: ["r1", "r2", "r3"].map(address).to_vec(),
        registrar_threshold: 2,
        verifying_keys: vec![hex::encode(trapdoor::key().encode())],
        state_version: 1,
        ..Genesis::default()
    }
}

pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Two replicas: `machine` proposes, votes and decides; `replica` only learns what was decided.
pub struct World {
    pub machine: Machine<MemoryStore>,
    pub replica: Machine<MemoryStore>,
    /// Seconds since [`START`].
    pub time: i64,
}

impl World {
    pub fn new() -> Self {
        Self { machine: machine(&genesis()), replica: machine(&genesis()), time: 0 }
    }

    pub fn state(&self) -> State {
        self.machine.store().pairs().clone()
    }

    /// Account number and sequence; what an unknown account would guess.
    pub fn account(&self, name: &str) -> (u64, u64) {
        use careledger_app::{keys, state::StateRead as _};
        let account = self.machine.store().get(&keys::account(&address(name)));
        account.map_or((0, 0), |account| (account.number, account.sequence))
    }

    /// A signed transaction with the sender's next sequence.
    pub fn signed(&self, sender: &str, messages: &[Message]) -> Vec<u8> {
        let (_, sequence) = self.account(sender);
        self.signed_with(sender, messages, Replay::Sequence(sequence))
    }

    pub fn signed_with(&self, sender: &str, messages: &[Message], replay: Replay) -> Vec<u8> {
        let (number, _) = self.account(sender);
        sign(Unsigned::with_key(messages, &key(sender), CHAIN, number, replay), sender)
    }

    /// Decides a block of these transactions on both replicas, whatever a proposer would say.
    pub fn decide(&mut self, transactions: Vec<Vec<u8>>) -> Vec<Outcome> {
        let block = Block { height: self.machine.height() + 1, time: START + self.time, transactions };
        let finalized = self.machine.finalize(&block);
        assert_eq!(self.replica.finalize(&block), finalized, "replicas agree");
        self.machine.commit();
        self.replica.commit();
        assert_eq!(self.machine.app_hash(), finalized.app_hash);
        finalized.outcomes
    }

    /// Sends one transaction the way the network does: CheckTx, proposal, vote, decision.
    pub fn send(&mut self, transaction: Vec<u8>) -> Outcome {
        self.machine.observe_clock(START + self.time);
        // The last block's time is the present.
        if self.machine.time() != START + self.time {
            self.decide(Vec::new());
        }
        let before = self.state();
        let checked = self.machine.check(&transaction, CheckKind::New);
        assert_eq!(self.state(), before, "CheckTx leaves the committed state alone");

        let (height, time) = (self.machine.height() + 1, START + self.time);
        let proposed = self.machine.prepare(vec![transaction.clone()], 1 << 22, height, time);
        assert_eq!(self.state(), before, "a proposal leaves the committed state alone");
        let voted = self.replica.process(std::slice::from_ref(&transaction), height, time);
        assert_eq!(proposed.len() == 1, voted.is_ok(), "an honest proposer is voted for");

        let outcome = self.decide(vec![transaction]).remove(0);
        if let Err(reject) = voted {
            assert_eq!(outcome.code, reject.code());
            assert_eq!(self.state(), before, "what may not be in a block changes nothing");
        }
        if outcome.code == 0 {
            assert_eq!(checked.code, 0, "CheckTx refused what the block accepts: {}", checked.log);
        } else {
            assert!([0, outcome.code].contains(&checked.code), "CheckTx: {}, block: {}", checked.log, outcome.log);
            assert_refusal_left_nothing(&before, &self.state());
        }
        outcome
    }
}

pub fn machine(genesis: &Genesis) -> Machine<MemoryStore> {
    machine_under(genesis, &Consensus::default())
}

/// A machine under a CometBFT that begins with these validators and parameters.
pub fn machine_under(genesis: &Genesis, consensus: &Consensus) -> Machine<MemoryStore> {
    let mut machine = Machine::new(MemoryStore::new());
    let json = serde_json::to_vec(genesis).expect("genesis is JSON");
    machine.init_chain_under(CHAIN, &json, START, consensus).expect("genesis is accepted");
    machine
}

/// The name of an outcome's code.
pub fn name_of(outcome: &Outcome) -> &'static str {
    if outcome.code == 0 {
        return "ok";
    }
    let row = Reject::TABLE.iter().find(|row| row.0 == outcome.code);
    row.expect("every code is in the table").1
}

/// A refused transaction used its sequence, or is remembered. Nothing else.
fn assert_refusal_left_nothing(before: &State, after: &State) {
    for key in before.keys().chain(after.keys()) {
        // An account learns its first key, too.
        let is_replay_protection = key.starts_with(b"account/") || key.starts_with(b"unordered/");
        assert!(
            is_replay_protection || before.get(key) == after.get(key),
            "a refused transaction changed {}",
            key.escape_ascii()
        );
    }
}
