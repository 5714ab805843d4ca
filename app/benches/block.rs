//! A block of 1,000 transactions against pure signature checking of the same block, on the disk store,
//! with ten thousand, a hundred thousand and a million records before it.
//!
//! Nine of ten transactions anchor a record or grant a consent; the others supersede, revoke and ask.
//! Each block is seen for the first time: nothing was checked ahead, as on a node that only receives
//! it. Printed at the end: the ratio (at most 2 is the aim), and what a block costs on the largest
//! state against the smallest (at most 1.3).

#[path = "scene.rs"]
mod scene;
#[path = "signature.rs"]
mod signature;

use std::time::{Duration, Instant};

use careledger_app::{
    machine::{Block, Machine},
    store::disk::{DiskStore, Retention},
};
use careledger_wire::{
    message::Message,
    proto::{
        consent::{MsgRequestAccess, MsgRevokeConsent},
        records::{Anchor, MsgAnchorRecords, MsgSupersedeRecords, Supersession},
    },
};
use rayon::prelude::*;

/// Records before the blocks that are measured.
const RECORDS: [u64; 3] = [10_000, 100_000, 1_000_000];
/// Records that one transaction anchors on the way there, and such transactions in a block.
const RECORDS_PER_TRANSACTION: u64 = 1_000;
const TRANSACTIONS_PER_BLOCK: u64 = 10;
/// Blocks that are measured at each size; the quickest counts.
const BLOCKS: u64 = 10;

fn anchor(number: u64) -> Anchor {
    Anchor { record: scene::bytes(&format!("record {number}")).to_vec(), commitment: scene::bytes("sealed").to_vec() }
}

fn anchors(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let nonce = i64::try_from(numbers.start).expect("few records");
    let sender = scene::address("clinic").to_string();
    scene::signed(scene::CLINIC, MsgAnchorRecords { sender, anchors: numbers.map(anchor).collect() }.into(), nonce)
}

/// The transaction at `place` of block `block`; what it changes was there before the block.
fn transaction(records: u64, block: u64, place: u64) -> Vec<u8> {
    let number = block * 1_000 + place;
    let nonce = i64::try_from(number).expect("few transactions");
    let clinic = |message: Message| scene::signed(scene::CLINIC, message, nonce);
    let sender = scene::address("clinic").to_string();
    match place % 20 {
        0..12 => anchors(records + number..records + number + 1),
        12..18 => scene::consent(number),
        18 if place % 40 == 18 => {
            let record = scene::bytes(&format!("record {number}")).to_vec();
            let commitment = scene::bytes("sealed again").to_vec();
            let supersessions = vec![Supersession { record, version: 2, commitment }];
            clinic(MsgSupersedeRecords { sender, supersessions }.into())
        }
        18 => clinic(
            MsgRequestAccess {
                sender,
                subject: scene::subject().to_vec(),
                request: scene::bytes(&format!("request {number}")).to_vec(),
                terms: scene::bytes("terms").to_vec(),
                body: scene::bytes("body").to_vec(),
                expires_at: scene::NOW + 86_400,
                standing: Vec::new(),
            }
            .into(),
        ),
        _ => {
            // A consent of the same block.
            let revoke = MsgRevokeConsent {
                sender: scene::address("patient").to_string(),
                subject: scene::subject().to_vec(),
                grant: scene::bytes(&format!("grant {}", number - 2)).to_vec(),
            };
            scene::signed(scene::PATIENT, revoke.into(), nonce)
        }
    }
}

fn run(machine: &mut Machine<DiskStore>, transactions: Vec<Vec<u8>>) -> (Duration, Duration) {
    let block = Block { height: machine.height() + 1, time: scene::NOW, transactions };
    let started = Instant::now();
    let finalized = machine.finalize(&block);
    let computed = started.elapsed();
    machine.commit();
    let durable = started.elapsed();
    assert!(finalized.outcomes.iter().all(|outcome| outcome.code == 0), "every transaction of the bench takes effect");
    (computed, durable)
}

/// Quickest signature checking, quickest computation of the root, quickest block until it is durable.
fn measure(records: u64) -> [Duration; 3] {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut machine = scene::machine(DiskStore::open(folder.path(), Retention::default()).expect("the store opens"));
    let numbers: Vec<u64> = (0..records).step_by(usize::try_from(RECORDS_PER_TRANSACTION).expect("small")).collect();
    for starts in numbers.chunks(usize::try_from(TRANSACTIONS_PER_BLOCK).expect("small")) {
        let transactions = starts.par_iter().map(|start| anchors(*start..*start + RECORDS_PER_TRANSACTION)).collect();
        run(&mut machine, transactions);
    }
    let mut best = [Duration::MAX; 3];
    for block in 0..BLOCKS {
        let transactions: Vec<Vec<u8>> =
            (0..1_000_u64).into_par_iter().map(|place| transaction(records, block, place)).collect();
        let started = Instant::now();
        assert!(transactions.par_iter().all(|bytes| signature::holds(bytes)));
        let signatures = started.elapsed();
        let (computed, durable) = run(&mut machine, transactions);
        best = [best[0].min(signatures), best[1].min(computed), best[2].min(durable)];
    }
    best
}

fn main() {
    let measured = RECORDS.map(measure);
    for (records, [signatures, computed, durable]) in RECORDS.iter().zip(measured) {
        println!(
            "{records} records before: signatures {signatures:.1?}, root known {computed:.1?}, durable {durable:.1?}; \
             root ÷ signatures {:.2}, durable ÷ signatures {:.2}",
            computed.as_secs_f64() / signatures.as_secs_f64(),
            durable.as_secs_f64() / signatures.as_secs_f64(),
        );
    }
    let [first, .., last] = measured;
    println!(
        "a block at {} records ÷ at {}: {:.2}",
        RECORDS[2],
        RECORDS[0],
        last[2].as_secs_f64() / first[2].as_secs_f64()
    );
}
