//! A chain with one provider and one patient, for the benches.

use careledger_app::{
    genesis::{Genesis, GenesisKind, GenesisOrganization},
    machine::{Block, Machine},
    store::Store,
};
use careledger_wire::{
    commitment,
    ids::{Address, Digest, EncryptionKey, SubjectId},
    message::Message,
    proto::{
        consent::{ConsentMode, MsgGrantConsent},
        identity::{MsgClaimSubject, MsgOpenSubject},
    },
    transaction::{Replay, Unsigned},
};
use secp256k1::{PublicKey, SecretKey, ecdsa};
use sha2::{Digest as _, Sha256};

/// The chain's id.
pub const CHAIN: &str = "careledger-dev-bench";
/// Time of every block, Unix seconds.
pub const NOW: i64 = 1_800_000_000;

/// Account numbers: the registrar, the clinic, the patient.
pub const CLINIC: (&str, u64) = ("clinic", 1);
pub const PATIENT: (&str, u64) = ("patient", 2);

/// 32 bytes for a name.
pub fn bytes(name: &str) -> [u8; 32] {
    Sha256::digest(name).into()
}

fn secret(name: &str) -> SecretKey {
    SecretKey::from_secret_bytes(bytes(name)).expect("a hash is a key, but for 2^-128")
}

fn public_key(name: &str) -> [u8; 33] {
    PublicKey::from_secret_key(&secret(name)).serialize()
}

/// The account of a name.
pub fn address(name: &str) -> Address {
    Address::of_key(&public_key(name))
}

/// A signed unordered transaction; `nonce` makes it another one.
pub fn signed((name, number): (&str, u64), message: Message, nonce: i64) -> Vec<u8> {
    let replay = Replay::UntilTime(NOW + 1 + nonce % 600);
    let unsigned = Unsigned::new(&[message], &public_key(name), CHAIN, number, replay);
    let digest: [u8; 32] = Sha256::digest(unsigned.sign_bytes()).into();
    let signature = ecdsa::sign(secp256k1::Message::from_digest(digest), &secret(name));
    unsigned.signed(signature.serialize_compact())
}

/// The patient's subject at the clinic.
pub fn subject() -> SubjectId {
    commitment::subject_id(&address("clinic"), &address("patient"))
}

/// The patient's consent number `number`.
pub fn consent(number: u64) -> Vec<u8> {
    let message = MsgGrantConsent {
        sender: address("patient").to_string(),
        subject: subject().to_vec(),
        grant: bytes(&format!("grant {number}")).to_vec(),
        grantee: address("clinic").to_vec(),
        mode: ConsentMode::View.into(),
        not_before: NOW,
        expires_at: NOW + 86_400,
        terms: bytes("terms").to_vec(),
        body: bytes("body").to_vec(),
        request: Vec::new(),
        delegable: false,
    };
    signed(PATIENT, message.into(), i64::try_from(number).expect("few consents"))
}

/// The chain's genesis.
pub fn genesis() -> Vec<u8> {
    let genesis = Genesis {
        registrars: vec![address("registrar")],
        registrar_threshold: 1,
        verifying_keys: Vec::new(),
        organizations: vec![GenesisOrganization {
            address: address("clinic"),
            kind: GenesisKind::Provider,
            encryption_key: EncryptionKey::new([1; 32]),
            evidence: Digest::new([2; 32]),
            expires_at: NOW + 1_000_000,
        }],
        ..Genesis::default()
    };
    serde_json::to_vec(&genesis).expect("genesis is JSON")
}

/// A machine whose patient has claimed their subject.
pub fn machine<S: Store>(store: S) -> Machine<S> {
    let mut machine = Machine::new(store);
    machine.init_chain(CHAIN, &genesis(), NOW).expect("genesis is sound");
    let opens =
        MsgOpenSubject { sender: address("clinic").to_string(), claimant: address("patient").to_vec(), binding: None };
    let claims = MsgClaimSubject {
        sender: address("patient").to_string(),
        subject: subject().to_vec(),
        encryption_key: bytes("key").to_vec(),
    };
    let transactions = vec![signed(CLINIC, opens.into(), 1), signed(PATIENT, claims.into(), 2)];
    let finalized = machine.finalize(&Block { height: 1, time: NOW, transactions });
    assert!(finalized.outcomes.iter().all(|outcome| outcome.code == 0), "{:?}", finalized.outcomes);
    machine.commit();
    machine
}
