//! CheckTx of a consent: decoding, signature, rules, on the memory store.

#[path = "scene.rs"]
mod scene;

use careledger_app::machine::CheckKind;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn check_tx(criterion: &mut Criterion) {
    let machine = scene::machine();
    let mut number = 0;
    criterion.bench_function("check_tx of a consent", |bencher| {
        bencher.iter_batched(
            || {
                number += 1;
                scene::consent(number)
            },
            |consent| assert_eq!(machine.check(&consent, CheckKind::New).code, 0),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, check_tx);
criterion_main!(benches);
