//! What people wait for: one proof, one verification, a block of verifications.

#[path = "../tests/eligibility/scenario.rs"]
mod scenario;

use careledger_zk::{
    circuit,
    prover::Prover,
    verify::{verify, verify_batch},
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// Proofs in the batch that is measured.
const BATCH: usize = 64;

fn proofs(criterion: &mut Criterion) {
    let prover = Prover::development(env!("CARGO_TARGET_TMPDIR").as_ref()).expect("there are keys");
    let (statement, witness) = scenario::eligible();
    let proof = prover.prove(&statement, &witness).expect("an eligible member proves it");
    let key = prover.verifying_key().prepare();

    let mut group = criterion.benchmark_group("eligibility");
    group.sample_size(10);
    group.bench_function("shape", |bench| bench.iter(circuit::shape));
    group.bench_function("prove", |bench| {
        bench.iter(|| prover.prove(&statement, &witness).expect("it proves again"));
    });
    group.sample_size(50);
    group.bench_function("verify", |bench| {
        bench.iter(|| verify(&key, &statement, &proof).expect("it verifies"));
    });
    let batch = vec![(statement, proof); BATCH];
    group.bench_function("verify_batch_of_64", |bench| {
        bench.iter_batched(
            || batch.clone(),
            |batch| assert!(verify_batch(&key, &batch).iter().all(Result::is_ok)),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, proofs);
criterion_main!(benches);
