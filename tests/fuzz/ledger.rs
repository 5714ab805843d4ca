//! What the ledger reads of strangers: transactions, frames, snapshots, signatures, proofs, queries.
//!
//! Each target takes bytes and says whether they were accepted. It asserts what must hold of bytes
//! that are accepted, besides that nothing panics.

use std::{collections::BTreeMap, str::FromStr as _, sync::LazyLock};

use careledger_app::{
    abci::{Application as _, Ledger, frame::FrameReader},
    genesis::Genesis,
    machine::{CheckKind, Machine, Prove},
    query,
    reject::Reject,
    signatures,
    snapshot::{self, Applied, JOIN_BYTES_MAX, Manifest, Restore},
    state::StateRead as _,
    store::{Store as _, memory::MemoryStore, tree},
};
use careledger_wire::{
    access_log::{self, Frontier, Head},
    ids::{Address, Digest},
    message::Message,
    proto::{
        accounts::KeyKind,
        state::Parameters,
        tx::{SimulateRequest, TxRaw},
    },
    signing::{PublicKey, Signature},
    transaction::{Replay, Transaction},
};
use careledger_zk::{
    date::Day,
    document::ProofDocument,
    key::{PreparedKey, VerifyingKey},
    opening::{AttestationOpening, EnrolmentOpening},
    plan::Plan,
    snarkjs::{KeyJson, ProofJson, PublicJson},
    statement::{INPUTS_BYTES, PublicInputs},
    verify::{PROOF_BYTES, Proof, verify},
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tendermint_proto::v0_38::abci::request::Value as Asked;

use super::driver::Target;

/// Every target by name, and its executions in an ordinary run of the tests.
pub const TARGETS: &[(&str, Target, usize)] = &[
    ("transaction", transaction, 30_000),
    ("simulate", simulate, 6_000),
    ("frame", frame, 6_000),
    ("snapshot", snapshot_chunk, 10_000),
    ("assertion", assertion, 10_000),
    ("proof", proof, 300),
    ("proof_json", proof_json, 3_000),
    ("verifying_key", verifying_key, 200),
    ("ics23", ics23_proof, 10_000),
    ("query", asked, 10_000),
    ("genesis", genesis, 1_500),
    ("access_log", access_log_paths, 20_000),
    ("identifiers", identifiers, 20_000),
];

const CHAIN: &str = "careledger-dev-fuzz";
const TIME: i64 = 1_800_000_000;

/// A genesis in which `registrars` may send anything.
pub fn machine_with(registrars: Vec<Address>) -> Machine<MemoryStore> {
    // The format that the committed snapshots are of: another has another root.
    let genesis = Genesis { registrars, registrar_threshold: 1, state_version: 2, ..Genesis::default() };
    let mut machine = Machine::new(MemoryStore::new());
    let json = serde_json::to_vec(&genesis).expect("a genesis is JSON");
    machine.init_chain(CHAIN, &json, TIME).expect("the genesis is sound");
    machine
}

/// The account that the seeds of [`simulate`] are of: the private key is 7.
pub fn registrar() -> Address {
    let key = hex::decode("025cbdf0646e5db4eaa398f365f2ea7a0e3d419b7e0330e39ce92bddedcac4f9bc").expect("digits");
    Address::of_key(key.as_slice().try_into().expect("a compressed key has 33 bytes"))
}

static MACHINE: LazyLock<Machine<MemoryStore>> = LazyLock::new(|| machine_with(vec![registrar()]));

/// `TxRaw`: what is accepted has one encoding, and its messages have one.
pub fn transaction(bytes: &[u8]) -> bool {
    let unsigned = Transaction::decode_unsigned(bytes);
    let Ok(read) = Transaction::decode(bytes) else { return false };
    assert!(unsigned.is_ok(), "what is signed is also a transaction without its signatures");
    let raw = TxRaw::decode(bytes).expect("an accepted transaction is protobuf");
    assert_eq!(raw.encode_to_vec(), bytes, "an accepted transaction has one encoding");
    for message in read.messages() {
        assert_eq!(Message::decode(&message.to_any()).as_ref(), Ok(message), "a message is what it is written as");
    }
    assert!(!read.messages().is_empty());
    assert_ne!(read.sign_digest(CHAIN, 0), read.sign_digest(CHAIN, 1), "a signature is for one account");
    if let Replay::UntilTime(time) = read.replay() {
        assert!(time > 0, "a time of none is no time");
    }
    true
}

/// A transaction through everything but its signature: every message is understood and tried.
pub fn simulate(bytes: &[u8]) -> bool {
    let before = MACHINE.app_hash();
    let checked = MACHINE.check(bytes, CheckKind::Recheck);
    assert_ne!(checked.code, 0, "nobody signed it");
    assert!(MACHINE.process(&[bytes.to_vec()], 1, TIME).is_err(), "what nobody signed is in no block");
    assert!(MACHINE.prepare(vec![bytes.to_vec()], 1 << 22, 1, TIME).is_empty());
    let request = SimulateRequest { tx_bytes: bytes.to_vec() }.encode_to_vec();
    let answer = MACHINE.query(query::SIMULATE, &request, 0, Prove::No);
    assert_eq!(MACHINE.app_hash(), before, "a simulation changes nothing");
    let unread = [Reject::Malformed, Reject::TooLarge, Reject::TooManyMessages, Reject::UnknownAccount];
    let authentic = [Reject::WrongSequence, Reject::TransactionExpired, Reject::TimeoutTooFar, Reject::UnknownKey];
    !unread.iter().chain(&authentic).any(|reject| reject.code() == answer.code)
}

/// Requests of ABCI, and of those what strangers' bytes are in.
pub fn frame(bytes: &[u8]) -> bool {
    let ledger = Ledger::new(machine_with(vec![registrar()]), 0);
    let mut reader = FrameReader::new(bytes);
    let mut count = 0;
    while let Ok(Some(request)) = reader.next_request() {
        count += 1;
        match request.value {
            Some(Asked::CheckTx(request)) => drop(ledger.check_tx(request)),
            Some(Asked::Query(request)) => drop(ledger.query(request)),
            Some(Asked::OfferSnapshot(request)) => drop(ledger.offer_snapshot(request)),
            Some(Asked::ApplySnapshotChunk(request)) => drop(ledger.apply_snapshot_chunk(request)),
            Some(Asked::LoadSnapshotChunk(request)) => drop(ledger.load_snapshot_chunk(request)),
            Some(Asked::PrepareProposal(request)) => drop(ledger.prepare_proposal(request)),
            Some(Asked::ProcessProposal(request)) => drop(ledger.process_proposal(request)),
            // These come of consensus, which two thirds of the validators decide.
            _ => {}
        }
        let has_more = reader.has_request();
        if count == 16 || !has_more {
            break;
        }
    }
    count > 0
}

/// A chunk that a peer sends, under a manifest that the same peer made; and a manifest alone.
pub fn snapshot_chunk(bytes: &[u8]) -> bool {
    if let Some(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes, "a manifest has one encoding");
    }
    let store = MACHINE.store();
    let manifest = Manifest { height: 1, time: TIME, chunks: vec![Sha256::digest(bytes).into()] };
    let size = (1, snapshot::FORMAT, 1);
    let restore = Restore::begin(size, &manifest.hash(), &manifest.encode(), store.app_hash(), JOIN_BYTES_MAX);
    let mut restore = restore.expect("the manifest is sound");
    match restore.apply(0, bytes) {
        Applied::Whole(restored) => {
            assert_eq!(restored.tree.root(), store.app_hash(), "a state is the one that validators signed");
            true
        }
        Applied::Forged => false,
        Applied::More | Applied::Wrong | Applied::TooLarge => {
            panic!("the chunk is the one of the manifest, and the only one")
        }
    }
}

/// A passkey's signature: one byte for what is signed, then the encoded assertion.
pub fn assertion(bytes: &[u8]) -> bool {
    let Some((first, rest)) = bytes.split_first() else { return false };
    let _ = Signature::decode(KeyKind::Secp256k1, rest);
    let Some(signature) = Signature::decode(KeyKind::WebauthnP256, rest) else { return false };
    assert_eq!(signature.encode(), rest, "an assertion has one encoding");
    let parameters = Parameters {
        webauthn_origins: vec!["http://localhost:41873".to_owned()],
        webauthn_rp_id_hashes: vec![Sha256::digest("localhost").to_vec()],
        ..Parameters::default()
    };
    let digest = Sha256::digest(SIGNED[usize::from(*first) % SIGNED.len()]).into();
    let is_about_it = signatures::check_assertion(&signature, &digest, &parameters).is_ok();
    let key = hex::decode("030efe4bd2f8ab2f53ce5da009ee8894774b39729cfb4a459931d2d570aa10734a").expect("digits");
    let key = PublicKey::new(KeyKind::WebauthnP256, &key).expect("the key that Chromium made");
    let holds = signatures::holds(&key, &digest, &signature);
    if let (true, Signature::WebAuthnP256(assertion)) = (is_about_it && holds, &signature) {
        assert_eq!(assertion.authenticator_data[32] & 5, 5, "its user was there");
    }
    is_about_it
}

/// What a recorded passkey signed, or might have.
const SIGNED: [&[u8]; 2] = [include_bytes!("assertion.sign-bytes"), b"something else"];

static DEVELOPMENT: LazyLock<PreparedKey> = LazyLock::new(|| VerifyingKey::development().prepare());

/// The public inputs and the 128 bytes of an eligibility proof.
pub fn proof(bytes: &[u8]) -> bool {
    let Some((inputs, rest)) = bytes.split_first_chunk::<INPUTS_BYTES>() else { return false };
    let Ok(proof): Result<&[u8; PROOF_BYTES], _> = rest.try_into() else { return false };
    let read = PublicInputs::from_bytes(inputs);
    assert!(read.is_err() || read.map(|read| read.to_bytes()) == Ok(*inputs), "inputs have one encoding");
    let points = Proof::from_bytes(proof).map(|read| {
        assert_eq!(&read.to_bytes(), proof, "a proof has one encoding");
    });
    let (Ok(inputs), Ok(())) = (read, points) else { return false };
    // No fuzzer finds a proof: what is accepted is only well formed.
    assert!(verify(&DEVELOPMENT, &inputs, proof).is_err(), "a proof was forged");
    true
}

/// The JSON documents around proofs, plans and openings.
pub fn proof_json(bytes: &[u8]) -> bool {
    let mut accepted = false;
    if let Ok(document) = serde_json::from_slice::<ProofDocument>(bytes) {
        let written = serde_json::to_vec(&document).expect("a document is JSON");
        assert_eq!(serde_json::from_slice::<ProofDocument>(&written).ok(), Some(document.clone()));
        let _ = (document.proof(), document.key_id());
        accepted = true;
    }
    if let Ok(proof) = serde_json::from_slice::<ProofJson>(bytes) {
        accepted |= proof.to_proof().is_ok();
    }
    if let Ok(inputs) = serde_json::from_slice::<PublicJson>(bytes) {
        accepted |= inputs.to_inputs().is_ok();
    }
    if let Ok(plan) = serde_json::from_slice::<Plan>(bytes) {
        accepted |= plan.check_partition().is_ok();
    }
    if let Ok(opening) = serde_json::from_slice::<AttestationOpening>(bytes) {
        accepted |= opening.commitment().is_ok();
    }
    if let Ok(opening) = serde_json::from_slice::<EnrolmentOpening>(bytes) {
        let _ = opening.commitment();
        accepted = true;
    }
    accepted
}

/// A verifying key, as genesis and files carry it, and as snarkjs writes it.
pub fn verifying_key(bytes: &[u8]) -> bool {
    if let Ok(json) = serde_json::from_slice::<KeyJson>(bytes) {
        return json.to_key(careledger_zk::key::KeyKind::Development).is_ok();
    }
    let Ok(key) = VerifyingKey::decode(bytes) else { return false };
    assert_eq!(key.encode().as_slice(), bytes, "a key has one encoding");
    true
}

/// The claims that the proofs of [`ics23_proof`] are about: the first is true, the second is, too.
const CLAIMS: [(&[u8], Option<&[u8]>); 6] = [
    (b"fuzz/present", Some(b"value")),
    (b"fuzz/absent", None),
    (b"fuzz/present", Some(b"another")),
    (b"fuzz/present", None),
    (b"fuzz/absent", Some(b"value")),
    (b"", None),
];

/// The tree that those claims are about.
pub fn proven_tree() -> (tree::Tree, BTreeMap<Vec<u8>, Vec<u8>>) {
    let mut pairs: BTreeMap<Vec<u8>, Vec<u8>> =
        (0u8..40).map(|number| (format!("fuzz/{number}").into_bytes(), vec![number; 9])).collect();
    pairs.insert(CLAIMS[0].0.to_vec(), CLAIMS[0].1.unwrap_or_default().to_vec());
    (tree::Tree::of(pairs.clone()), pairs)
}

static ROOT: LazyLock<[u8; 32]> = LazyLock::new(|| proven_tree().0.root());

/// A proof of state: one byte for the claim, then the proof. Nothing false is ever proven.
pub fn ics23_proof(bytes: &[u8]) -> bool {
    let Some((first, proof)) = bytes.split_first() else { return false };
    let claim = usize::from(*first) % CLAIMS.len();
    let (key, value) = CLAIMS[claim];
    let is_proven = tree::verify(&ROOT, key, value, proof).is_ok();
    assert!(!is_proven || claim < 2, "{} is not so, and was proven", key.escape_ascii());
    is_proven
}

/// The paths of `abci_query`, one of them wrong.
pub const PATHS: [&str; 7] =
    [query::KEY, query::SUBSPACE, query::TRANSACTION, query::PATH, query::ACCOUNT, query::SIMULATE, "/store/x/key"];

/// A query: a byte for the path, one for height and proof, then its data.
pub fn asked(bytes: &[u8]) -> bool {
    let [path, how, data @ ..] = bytes else { return false };
    let prove = if how & 1 == 1 { Prove::Yes } else { Prove::No };
    let height = match how >> 1 {
        127 => u64::MAX,
        height => height.into(),
    };
    let answer = MACHINE.query(PATHS[usize::from(*path) % PATHS.len()], data, height, prove);
    assert_ne!(answer.height, 0, "Cosmos clients take height 0 for a failure");
    if let Some(proof) = &answer.proof {
        let value = MACHINE.store().get_bytes(data);
        assert_eq!(answer.value, value.clone().unwrap_or_default());
        assert_eq!(tree::verify(&MACHINE.app_hash(), data, value.as_deref(), &proof.data), Ok(()), "a proof holds");
    }
    answer.code == 0
}

/// `app_state`: what is accepted starts a chain, the same each time.
pub fn genesis(bytes: &[u8]) -> bool {
    let Ok(read) = Genesis::from_json(bytes) else { return false };
    let written = serde_json::to_vec(&read).expect("a genesis is JSON");
    assert_eq!(Genesis::from_json(&written), Ok(read), "a genesis is what it is written as");
    let start = || Machine::new(MemoryStore::new()).init_chain(CHAIN, bytes, TIME);
    let (first, second) = (start(), start());
    assert_eq!(first, second);
    first.is_ok()
}

/// Paths in an access log: two bytes of place and size, then digests. Nothing false is shown.
pub fn access_log_paths(bytes: &[u8]) -> bool {
    let [place, size, rest @ ..] = bytes else { return false };
    let count = usize::from(size % 40) + 1;
    let (place, leaves) = (usize::from(*place), leaves(count));
    let root = access_log::root(&leaves);
    let digests: Vec<Digest> = rest.chunks(32).filter_map(|chunk| Digest::try_from(chunk).ok()).collect();
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    assert_eq!(frontier.root(), root, "a log that grew has the root of its leaves");
    let _ = Frontier::new(count as u64, digests.clone()).map(|mut other| {
        other.push(leaves[0]);
        other.root()
    });
    let Some((claimed, path)) = digests.split_first() else { return false };
    let is_included = access_log::verify_inclusion(claimed, place, count, path, &root);
    assert!(!is_included || leaves.get(place) == Some(claimed), "a leaf that is not there was shown");
    let older = Head { size: place as u64, root: *claimed };
    let newer = Head { size: count as u64, root };
    let is_consistent = access_log::verify_consistency(&older, &newer, path);
    let is_true = place <= count && access_log::root(&leaves[..place.min(count)]) == *claimed;
    assert!(!is_consistent || is_true, "a log that was rewritten was shown to have grown");
    is_included || is_consistent
}

/// The leaves of [`access_log_paths`].
pub fn leaves(count: usize) -> Vec<Digest> {
    (0..count).map(|number| access_log::leaf(&number.to_be_bytes())).collect()
}

/// Text that names something: addresses, ids, days.
pub fn identifiers(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let address = Address::from_str(text);
    if let Ok(address) = address {
        assert_eq!(address.to_string(), text, "an address has one spelling");
    }
    let digest = Digest::from_str(text);
    if let Ok(digest) = digest {
        assert_eq!(Digest::from_str(&digest.to_string()), Ok(digest));
    }
    let day = Day::from_str(text);
    if let Ok(day) = day {
        assert_eq!(day.to_string(), text, "a day has one spelling");
    }
    address.is_ok() || digest.is_ok() || day.is_ok()
}
