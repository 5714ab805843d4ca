//! Joining from a snapshot of a million records against executing the blocks that made them.
//!
//! Only the application's part of both: fetching blocks and checking their commits comes on top for a
//! node that replays, fetching chunks for one that joins.

#[expect(dead_code, reason = "only anchors are replayed here")]
#[path = "scene.rs"]
mod scene;

use std::time::{Duration, Instant};

use careledger_app::{
    machine::Block,
    snapshot::{self, Applied, JOIN_BYTES_MAX, Manifest, Restore},
    state::StateRead as _,
    store::{
        Store as _,
        disk::{DiskStore, Retention},
    },
};
use careledger_wire::proto::records::{Anchor, MsgAnchorRecords};
use rayon::prelude::*;

const RECORDS: u64 = 1_000_000;
/// Transactions of one record each in a block.
const RECORDS_PER_BLOCK: u64 = 1_000;

fn anchor(number: u64) -> Vec<u8> {
    let record = scene::bytes(&format!("record {number}")).to_vec();
    let anchors = vec![Anchor { record, commitment: scene::bytes("sealed").to_vec() }];
    let sender = scene::address("clinic").to_string();
    let nonce = i64::try_from(number).expect("few records");
    scene::signed(scene::CLINIC, MsgAnchorRecords { sender, anchors }.into(), nonce)
}

fn main() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let [replayed, joined] =
        folders.each_ref().map(|folder| DiskStore::open(folder.path(), Retention::default()).expect("the store opens"));
    let mut machine = scene::machine(replayed);
    let mut executed = Duration::ZERO;
    for start in (0..RECORDS).step_by(usize::try_from(RECORDS_PER_BLOCK).expect("small")) {
        let transactions = (start..start + RECORDS_PER_BLOCK).into_par_iter().map(anchor).collect();
        let block = Block { height: machine.height() + 1, time: scene::NOW, transactions };
        let started = Instant::now();
        let finalized = machine.finalize(&block);
        machine.commit();
        executed += started.elapsed();
        assert!(finalized.outcomes.iter().all(|outcome| outcome.code == 0), "every anchor takes effect");
    }
    let (height, time, app_hash) = (machine.height(), machine.time(), machine.app_hash());
    let mut chunks = Vec::new();
    let pairs = machine.store().scan(b"", None, usize::MAX);
    let hashes = snapshot::chunk(pairs, |_, bytes| {
        chunks.push(bytes);
        Ok::<_, std::convert::Infallible>(())
    });
    let manifest = Manifest { height, time, chunks: hashes.unwrap_or_else(|never| match never {}) };
    drop(machine);

    let mut store = joined;
    let started = Instant::now();
    let offered = (height, snapshot::FORMAT, u32::try_from(chunks.len()).expect("few chunks"));
    let mut restore =
        Restore::begin(offered, &manifest.hash(), &manifest.encode(), app_hash, JOIN_BYTES_MAX).expect("it is whole");
    let restored = chunks.iter().zip(0..).find_map(|(bytes, index)| match restore.apply(index, bytes) {
        Applied::Whole(restored) => Some(restored),
        Applied::More => None,
        Applied::Wrong | Applied::Forged | Applied::TooLarge => panic!("the snapshot was taken from this state"),
    });
    store.install(restored.expect("the last chunk makes it whole"));
    let installed = started.elapsed();
    assert_eq!(store.app_hash(), app_hash);
    println!(
        "{RECORDS} records: executing their blocks {executed:.1?}, installing the snapshot ({} chunks) {installed:.1?}; ratio {:.1}",
        chunks.len(),
        executed.as_secs_f64() / installed.as_secs_f64(),
    );
}
