//! A block of 1,000 anchors against pure signature checking of the same block.
//!
//! The block is seen here for the first time: nothing was checked ahead, as on a node that only
//! receives it. The ratio is printed at the end; at most 4 is the aim.

#[path = "scene.rs"]
mod scene;

use std::time::{Duration, Instant};

use careledger_app::machine::{Block, Machine};
use careledger_wire::{
    proto::records::{Anchor, MsgAnchorRecords},
    transaction::Transaction,
};
use criterion::{Criterion, criterion_group, criterion_main};
use rayon::prelude::*;
use secp256k1::{Message, PublicKey, ecdsa, ecdsa::Signature};

const ANCHORS: u64 = 1_000;
/// Records that are there before, so that the tree has some depth.
const BEFORE: u64 = 20_000;

/// The clinic's anchor of record `number`, by itself in a transaction.
fn anchor(number: u64) -> Vec<u8> {
    let anchor = Anchor {
        record: scene::bytes(&format!("record {number}")).to_vec(),
        commitment: scene::bytes("sealed").to_vec(),
    };
    let message = MsgAnchorRecords { sender: scene::address("clinic").to_string(), anchors: vec![anchor] };
    scene::signed(scene::CLINIC, message.into(), i64::try_from(number).expect("few records"))
}

fn verify(bytes: &[u8]) -> bool {
    let transaction = Transaction::decode(bytes).expect("a transaction of ours");
    let digest = Message::from_digest(transaction.sign_digest(scene::CHAIN, scene::CLINIC.1));
    let key = PublicKey::from_byte_array_compressed(*transaction.sender().key.as_bytes()).expect("a key of ours");
    let signature = transaction.sender().signature.as_ref().expect("a signed transaction").encode();
    let signature = Signature::from_compact(&signature).expect("a signature of ours");
    ecdsa::verify(&signature, digest, &key).is_ok()
}

fn block(criterion: &mut Criterion) {
    let mut machine = scene::machine();
    for start in (0..BEFORE).step_by(1_000) {
        let transactions: Vec<Vec<u8>> = (start..start + 1_000).into_par_iter().map(anchor).collect();
        machine.finalize(&Block { height: machine.height() + 1, time: scene::NOW, transactions });
        machine.commit();
    }
    let store = machine.into_store();
    let transactions: Vec<Vec<u8>> = (BEFORE..BEFORE + ANCHORS).into_par_iter().map(anchor).collect();
    let mut group = criterion.benchmark_group("block of 1,000 anchors");
    group.sample_size(10);

    let mut signatures = Duration::MAX;
    group.bench_function("pure signature checking, in parallel", |bencher| {
        bencher.iter_custom(|iterations| {
            let started = Instant::now();
            for _ in 0..iterations {
                assert!(transactions.par_iter().all(|bytes| verify(bytes)));
            }
            let took = started.elapsed();
            signatures = signatures.min(took / u32::try_from(iterations).expect("few iterations"));
            took
        });
    });

    let mut whole = Duration::MAX;
    group.bench_function("finalize and commit", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut took = Duration::ZERO;
            for _ in 0..iterations {
                let mut machine = Machine::new(store.clone());
                let block =
                    Block { height: machine.height() + 1, time: scene::NOW, transactions: transactions.clone() };
                let started = Instant::now();
                let finalized = machine.finalize(&block);
                machine.commit();
                took += started.elapsed();
                assert!(finalized.outcomes.iter().all(|outcome| outcome.code == 0));
            }
            whole = whole.min(took / u32::try_from(iterations).expect("few iterations"));
            took
        });
    });
    group.finish();
    let ratio = whole.as_secs_f64() / signatures.as_secs_f64();
    println!("block / signatures = {ratio:.2} ({whole:.1?} / {signatures:.1?}, memory store)");
}

criterion_group!(benches, block);
criterion_main!(benches);
