//! What one validator's application does for one consent on its way into a block, on the disk store: the
//! first look, a second look after another block, the proposal, the block, and keeping it.
//!
//! Printed: microseconds for a consent in each, of the quickest block; signature checking alone beside it.

#[path = "scene.rs"]
mod scene;
#[path = "signature.rs"]
mod signature;

use std::time::{Duration, Instant};

use careledger_app::{
    machine::{Block, CheckKind, Machine},
    store::disk::{DiskStore, Retention},
};

/// Consents in a block: what a loaded network of four validators has.
const CONSENTS: u64 = 400;
/// Blocks that are measured; the quickest counts.
const BLOCKS: u64 = 20;

const STEPS: [&str; 6] = ["signature alone", "new", "recheck", "process", "finalize", "commit"];

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = DiskStore::open(folder.path(), Retention::default()).expect("an empty folder");
    let mut machine = scene::machine(store);
    let mut best = [Duration::MAX; STEPS.len()];
    for block in 0..BLOCKS {
        let consents: Vec<_> = (block * CONSENTS..(block + 1) * CONSENTS).map(scene::consent).collect();
        for (best, took) in best.iter_mut().zip(life(&mut machine, &consents)) {
            *best = took.min(*best);
        }
    }
    let micros = |took: Duration| took.as_secs_f64() * 1e6 / CONSENTS as f64;
    for (step, took) in STEPS.iter().zip(best) {
        println!("{step}: {:.1} µs", micros(took));
    }
    println!("all but the signature alone: {:.1} µs", micros(best[1..].iter().sum()));
}

/// How long each step takes for all of `consents`.
fn life(machine: &mut Machine<DiskStore>, consents: &[Vec<u8>]) -> [Duration; STEPS.len()] {
    let alone = timed(|| consents.iter().for_each(|consent| assert!(signature::holds(consent), "the scene signs")));
    let look = |machine: &Machine<DiskStore>, kind| {
        timed(|| consents.iter().for_each(|consent| assert_eq!(machine.check(consent, kind).code, 0)))
    };
    let new = look(machine, CheckKind::New);
    block(machine, Vec::new());
    let recheck = look(machine, CheckKind::Recheck);
    let [process, finalize, commit] = block(machine, consents.to_vec());
    [alone, new, recheck, process, finalize, commit]
}

/// Decides and keeps a block of these.
fn block(machine: &mut Machine<DiskStore>, transactions: Vec<Vec<u8>>) -> [Duration; 3] {
    let block = Block { height: machine.height() + 1, time: scene::NOW, transactions };
    let process = timed(|| machine.process(&block.transactions, block.height, block.time).expect("all may be in it"));
    let finalize = timed(|| assert!(machine.finalize(&block).outcomes.iter().all(|outcome| outcome.code == 0)));
    [process, finalize, timed(|| machine.commit())]
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
