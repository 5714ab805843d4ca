//! CheckTx of a consent: decoding, signature, rules, on the memory store.

#[path = "scene.rs"]
mod scene;

use std::cell::RefCell;

use careledger_app::{
    machine::{Block, CheckKind},
    store::memory::MemoryStore,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn check_tx(criterion: &mut Criterion) {
    let machine = RefCell::new(scene::machine(MemoryStore::new()));
    let mut number = 0;
    criterion.bench_function("check_tx of a consent", |bencher| {
        bencher.iter_batched(
            || {
                number += 1;
                // A block now and then: an account has a bounded number of transactions waiting.
                if number % 500 == 0 {
                    let mut machine = machine.borrow_mut();
                    let height = machine.height() + 1;
                    machine.finalize(&Block { height, time: scene::NOW, transactions: Vec::new() });
                    machine.commit();
                }
                scene::consent(number)
            },
            |consent| assert_eq!(machine.borrow().check(&consent, CheckKind::New).code, 0),
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, check_tx);
criterion_main!(benches);
