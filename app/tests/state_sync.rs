//! A node joins from another's snapshot, and no peer can make it join anything else.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use careledger_app::{
    abci::{Application, Ledger},
    keys,
    machine::Machine,
    snapshot::{CHUNK_BYTES, FORMAT, Manifest},
    state::Pairs,
    store::{
        Store,
        disk::{DiskStore, Retention, Schedule},
        memory::MemoryStore,
    },
};
use careledger_wire::{ids::Address, proto::state::Account};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use support::{anchor, init_chain, register_hospital};
use tendermint_proto::v0_38::abci::{
    RequestApplySnapshotChunk, RequestLoadSnapshotChunk, RequestOfferSnapshot, Snapshot, request::Value as Asked,
    response_apply_snapshot_chunk::Result as Chunk, response_offer_snapshot::Result as Offer,
};

/// Only turns a hang into a failure.
const DEADLINE: Duration = Duration::from_secs(60);
const INTERVAL: u64 = 4;

fn open(folder: &Path) -> Ledger<DiskStore> {
    let store = DiskStore::open(&folder.join("state"), Retention::default()).unwrap();
    let schedule = Schedule { interval: INTERVAL, keep: 1 };
    Ledger::new(Machine::new(store.with_snapshots(&folder.join("snapshots"), schedule).unwrap()), 0)
}

/// Executes blocks up to `last`: registrations, then two thousand records in each.
fn advance(ledger: &impl Application, last: u64) -> Vec<u8> {
    let next = u64::try_from(ledger.info(Default::default()).last_block_height).unwrap() + 1;
    let mut app_hash = Vec::new();
    for height in next..=last {
        let transactions = if height == 1 { vec![register_hospital()] } else { vec![anchor(height - 2, 4_000)] };
        let Asked::FinalizeBlock(block) = support::finalize_request(height, &transactions) else { unreachable!() };
        let answer = ledger.finalize_block(block);
        assert!(answer.tx_results.iter().all(|result| result.code == 0), "{:?}", answer.tx_results[0]);
        app_hash = answer.app_hash.to_vec();
        ledger.commit();
    }
    app_hash
}

/// The snapshot of `height`, once its thread has written it.
fn taken(ledger: &impl Application, height: u64) -> Snapshot {
    let until = Instant::now() + DEADLINE;
    loop {
        let snapshots = ledger.list_snapshots().snapshots;
        if let Some(found) = snapshots.into_iter().find(|snapshot| snapshot.height == height) {
            return found;
        }
        assert!(Instant::now() < until, "no snapshot of height {height}");
        std::thread::yield_now();
    }
}

fn chunk(ledger: &impl Application, snapshot: &Snapshot, chunk: u32) -> Vec<u8> {
    let request = RequestLoadSnapshotChunk { height: snapshot.height, format: snapshot.format, chunk };
    ledger.load_snapshot_chunk(request).chunk.to_vec()
}

fn offer(ledger: &impl Application, snapshot: &Snapshot, app_hash: &[u8]) -> Offer {
    let request = RequestOfferSnapshot { snapshot: Some(snapshot.clone()), app_hash: app_hash.to_vec().into() };
    Offer::try_from(ledger.offer_snapshot(request).result).unwrap()
}

fn apply(ledger: &impl Application, index: u32, chunk: Vec<u8>) -> (Chunk, Vec<u32>, Vec<String>) {
    let request = RequestApplySnapshotChunk { index, chunk: chunk.into(), sender: "peer".to_owned() };
    let answer = ledger.apply_snapshot_chunk(request);
    (Chunk::try_from(answer.result).unwrap(), answer.refetch_chunks, answer.reject_senders)
}

/// Joins, and gives how many chunks that took.
fn join(giver: &impl Application, joiner: &impl Application, snapshot: &Snapshot, app_hash: &[u8]) -> u32 {
    assert_eq!(offer(joiner, snapshot, app_hash), Offer::Accept);
    for index in 0..snapshot.chunks {
        assert_eq!(apply(joiner, index, chunk(giver, snapshot, index)).0, Chunk::Accept, "chunk {index}");
    }
    snapshot.chunks
}

#[test]
fn a_node_that_joined_goes_on_as_those_that_executed_every_block() {
    let folder = tempfile::tempdir().unwrap();
    let giver = open(folder.path());
    giver.init_chain(init_chain());
    let app_hash = advance(&giver, INTERVAL);
    let snapshot = taken(&giver, INTERVAL);
    let last = advance(&giver, INTERVAL + 3);

    let other = tempfile::tempdir().unwrap();
    let joiner = open(other.path());
    assert!(join(&giver, &joiner, &snapshot, &app_hash) > 1, "more than one chunk is tried");
    let info = joiner.info(Default::default());
    assert_eq!((info.last_block_height, info.last_block_app_hash.to_vec()), (INTERVAL as i64, app_hash));
    drop(joiner);
    // What it joined is on its disk.
    let joiner = open(other.path());
    assert_eq!(advance(&joiner, INTERVAL + 3), last);
}

#[test]
fn a_chunk_that_was_altered_is_asked_for_again_from_others() {
    let giver = Ledger::new(Machine::new(MemoryStore::new()), 0);
    giver.init_chain(init_chain());
    let app_hash = advance(&giver, 4);
    let snapshot = taken(&giver, 4);
    let joiner = Ledger::new(Machine::new(MemoryStore::new()), 0);
    assert_eq!(offer(&joiner, &snapshot, &app_hash), Offer::Accept);
    let good = chunk(&giver, &snapshot, 0);
    let mut altered = good.clone();
    altered[40] ^= 1;
    let again = (Chunk::Retry, vec![0], vec!["peer".to_owned()]);
    for wrong in [altered, good[..good.len() - 1].to_vec(), Vec::new(), chunk(&giver, &snapshot, 1)] {
        assert_eq!(apply(&joiner, 0, wrong), again);
        assert_eq!(joiner.info(Default::default()).last_block_height, 0, "nothing was kept");
    }
    for index in 0..snapshot.chunks {
        assert_eq!(apply(&joiner, index, chunk(&giver, &snapshot, index)).0, Chunk::Accept);
    }
    assert_eq!(joiner.info(Default::default()).last_block_app_hash.to_vec(), app_hash);
}

/// A peer can make up a manifest with chunks that match it; it cannot make up the app hash.
#[test]
fn a_state_that_validators_did_not_sign_is_refused() {
    let honest = Ledger::new(Machine::new(MemoryStore::new()), 0);
    honest.init_chain(init_chain());
    let app_hash = advance(&honest, 3);
    let liar = Ledger::new(Machine::new(MemoryStore::new()), 0);
    liar.init_chain(init_chain());
    advance(&liar, 2);
    let Asked::FinalizeBlock(block) = support::finalize_request(3, &[anchor(1, 10)]) else { unreachable!() };
    liar.finalize_block(block);
    liar.commit();
    let snapshot = taken(&liar, 3);
    let joiner = Ledger::new(Machine::new(MemoryStore::new()), 0);
    assert_eq!(offer(&joiner, &snapshot, &app_hash), Offer::Accept);
    let mut last = Chunk::Unknown;
    for index in 0..snapshot.chunks {
        last = apply(&joiner, index, chunk(&liar, &snapshot, index)).0;
    }
    assert_eq!(last, Chunk::RejectSnapshot);
    assert_eq!(joiner.info(Default::default()).last_block_height, 0);
    assert_eq!(apply(&joiner, 0, Vec::new()).0, Chunk::Abort, "nothing is being joined any more");
    join(&honest, &joiner, &taken(&honest, 3), &app_hash);
}

/// A pair that a state may hold.
fn sound(number: u64) -> (Vec<u8>, Vec<u8>) {
    let mut address = [0; 20];
    address[12..].copy_from_slice(&number.to_be_bytes());
    let account = Account { number, ..Account::default() };
    (keys::account(&Address::new(address)).into_bytes(), account.encode_to_vec())
}

/// A snapshot of chunks that a peer made up, under a manifest that names them.
fn made_up(chunks: &[Pairs]) -> (Snapshot, Vec<Vec<u8>>) {
    let chunks: Vec<Vec<u8>> = chunks.iter().map(|pairs| borsh::to_vec(pairs).unwrap()).collect();
    let hashes = chunks.iter().map(|chunk| Sha256::digest(chunk).into()).collect();
    let manifest = Manifest { height: 3, time: support::GENESIS_TIME, chunks: hashes };
    let snapshot = Snapshot {
        height: manifest.height,
        format: FORMAT,
        chunks: chunks.len().try_into().unwrap(),
        hash: manifest.hash().to_vec().into(),
        metadata: manifest.encode().into(),
    };
    (snapshot, chunks)
}

/// Whatever a peer named in its own manifest was kept in memory until the last chunk was there.
#[test]
fn what_is_in_no_state_was_kept_until_the_last_chunk() {
    let joiner = Ledger::new(Machine::new(MemoryStore::new()), 0);
    let first: Pairs = (1..=4).map(sound).collect();
    let (key, value) = sound(5);
    let cases: [(&str, Pairs); 8] = [
        ("a key that came before", vec![sound(4)]),
        ("a key before those that came", vec![sound(2), sound(6)]),
        ("keys out of order", vec![sound(7), sound(6)]),
        ("no area of a state", vec![(b"z".repeat(1_000), vec![1])]),
        ("another path of an area", vec![([&key[..], b"/"].concat(), value.clone())]),
        ("an empty value", vec![(key.clone(), Vec::new())]),
        ("no value of its area", vec![(key.clone(), vec![0xff; 100])]),
        ("a value with more behind it", vec![(key, [&value[..], &[0xfa, 1, 1, 7]].concat())]),
    ];
    for (name, second) in cases {
        let (snapshot, chunks) = made_up(&[first.clone(), second, vec![sound(9)]]);
        assert_eq!(offer(&joiner, &snapshot, &[1; 32]), Offer::Accept, "{name}");
        let taken: Vec<Chunk> =
            chunks.into_iter().zip(0..).map(|(chunk, index)| apply(&joiner, index, chunk).0).collect();
        assert_eq!(taken, [Chunk::Accept, Chunk::RejectSnapshot, Chunk::Abort], "{name}");
    }
}

/// 65,536 chunks of 16 MB were held before the first look at the root.
#[test]
fn a_peer_could_fill_the_memory_of_a_node_that_joins() {
    let giver = Ledger::new(Machine::new(MemoryStore::new()), 0);
    giver.init_chain(init_chain());
    let app_hash = advance(&giver, 4);
    let true_one = taken(&giver, 4);
    let bounded = |bytes| Ledger::new(Machine::new(MemoryStore::new()), 0).with_join_bytes_max(bytes);

    let pair_bytes = |(key, value): (Vec<u8>, Vec<u8>)| (key.len() + value.len() + 48) as u64;
    let four: u64 = (1..=4).map(|number| pair_bytes(sound(number))).sum();
    let (made_up, chunks) = made_up(&[(1..=4).map(sound).collect(), vec![sound(5)], vec![sound(6)]]);
    let tight = bounded(2 * CHUNK_BYTES as u64 - 1);
    assert_eq!(offer(&tight, &made_up, &app_hash), Offer::Reject, "three chunks, two of them full, are more");
    let joiner = bounded(2 * CHUNK_BYTES as u64);
    assert_eq!(offer(&joiner, &made_up, &app_hash), Offer::Accept);
    // Each chunk is as large as it likes, and no more is held of all of them.
    let many: Pairs = (1..).map(sound).take(2 * CHUNK_BYTES / usize::try_from(four / 4).unwrap() + 1).collect();
    let (larger, larger_chunks) = self::made_up(&[many, vec![sound(u64::MAX)]]);
    assert_eq!(offer(&joiner, &larger, &app_hash), Offer::Accept);
    assert_eq!(apply(&joiner, 0, larger_chunks[0].clone()).0, Chunk::RejectSnapshot);
    assert_eq!(apply(&joiner, 1, larger_chunks[1].clone()).0, Chunk::Abort, "nothing of it is kept");
    assert_eq!(offer(&joiner, &made_up, &app_hash), Offer::Accept);
    assert_eq!(apply(&joiner, 0, chunks[0].clone()).0, Chunk::Accept);
    // A true one that is too large is refused likewise, and taken by who takes as much.
    assert_eq!(offer(&bounded(1), &true_one, &app_hash), Offer::Reject);
    join(&giver, &bounded(1 << 30), &true_one, &app_hash);
}

#[test]
fn an_offer_that_is_not_what_it_says_is_refused() {
    let giver = Ledger::new(Machine::new(MemoryStore::new()), 0);
    giver.init_chain(init_chain());
    let app_hash = advance(&giver, 2);
    let good = taken(&giver, 2);
    let manifest = Manifest::decode(&good.metadata).unwrap();
    let none = Manifest { chunks: Vec::new(), ..manifest };
    let cases: Vec<(&str, Snapshot, Offer)> = vec![
        ("another format", Snapshot { format: 2, ..good.clone() }, Offer::RejectFormat),
        ("another height", Snapshot { height: 3, ..good.clone() }, Offer::Reject),
        ("another number of chunks", Snapshot { chunks: 9, ..good.clone() }, Offer::Reject),
        ("another hash", Snapshot { hash: vec![1; 32].into(), ..good.clone() }, Offer::Reject),
        ("no manifest", Snapshot { metadata: vec![1; 9].into(), ..good.clone() }, Offer::Reject),
        (
            "no chunks",
            Snapshot { chunks: 0, hash: none.hash().to_vec().into(), metadata: none.encode().into(), ..good.clone() },
            Offer::Reject,
        ),
        ("as it is", good, Offer::Accept),
    ];
    let joiner = Ledger::new(Machine::new(MemoryStore::new()), 0);
    for (name, snapshot, expected) in cases {
        assert_eq!(offer(&joiner, &snapshot, &app_hash), expected, "{name}");
    }
    assert_eq!(offer(&giver, &taken(&giver, 2), &app_hash), Offer::Abort, "a node with a state keeps it");
}

#[test]
fn a_chunk_that_was_damaged_on_disk_is_not_given() {
    let folder = tempfile::tempdir().unwrap();
    let giver = open(folder.path());
    giver.init_chain(init_chain());
    advance(&giver, INTERVAL);
    let snapshot = taken(&giver, INTERVAL);
    let file = folder.path().join("snapshots").join(INTERVAL.to_string()).join("0");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(chunk(&giver, &snapshot, 0).is_empty());
    assert!(!chunk(&giver, &snapshot, 1).is_empty());
    assert!(chunk(&giver, &snapshot, snapshot.chunks).is_empty(), "past the end");
}

#[test]
fn only_the_newest_snapshots_stay() {
    let folder = tempfile::tempdir().unwrap();
    let giver = open(folder.path());
    giver.init_chain(init_chain());
    for height in [INTERVAL, 2 * INTERVAL] {
        advance(&giver, height);
        taken(&giver, height);
    }
    drop(giver);
    let heights: Vec<u64> = open(folder.path()).list_snapshots().snapshots.iter().map(|one| one.height).collect();
    assert_eq!(heights, [2 * INTERVAL]);
}

/// Nodes that joined dropped every peer that offered it ("height cannot be 0"), and so never joined a young chain.
#[test]
fn no_snapshot_of_a_genesis_is_taken_or_offered() {
    let folder = tempfile::tempdir().unwrap();
    let giver = open(folder.path());
    giver.init_chain(init_chain());
    // Waits for a thread that would write one.
    drop(giver);
    assert_eq!(open(folder.path()).list_snapshots().snapshots, []);
    // What an earlier version left is removed.
    let giver = open(folder.path());
    advance(&giver, INTERVAL);
    taken(&giver, INTERVAL);
    drop(giver);
    let snapshots = folder.path().join("snapshots");
    std::fs::rename(snapshots.join(INTERVAL.to_string()), snapshots.join("0")).unwrap();
    assert_eq!(open(folder.path()).list_snapshots().snapshots, []);
    assert!(!snapshots.join("0").exists());
}

/// A snapshot is the same bytes on every node that took it.
#[test]
fn nodes_take_equal_snapshots() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, other] = folders.each_ref().map(|folder| {
        let ledger = open(folder.path());
        ledger.init_chain(init_chain());
        advance(&ledger, INTERVAL);
        taken(&ledger, INTERVAL)
    });
    assert_eq!(one, other);
    let mut memory = Machine::new(MemoryStore::new());
    memory.init_chain(support::CHAIN, &support::app_state(), support::GENESIS_TIME).unwrap();
    assert_eq!(memory.store().snapshots(), []);
}
