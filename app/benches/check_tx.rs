//! CheckTx of a consent: decoding, signature, rules, on the memory store.

#[path = "scene.rs"]
mod scene;

use std::cell::RefCell;

use careledger_app::machine::{Block, CheckKind};
use careledger_wire::proto::consent::{ConsentMode, MsgGrantConsent};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// The patient's consent number `number`.
fn consent(number: u64) -> Vec<u8> {
    let message = MsgGrantConsent {
        sender: scene::address("patient").to_string(),
        subject: scene::subject().to_vec(),
        grant: scene::bytes(&format!("grant {number}")).to_vec(),
        grantee: scene::address("clinic").to_vec(),
        mode: ConsentMode::View.into(),
        not_before: scene::NOW,
        expires_at: scene::NOW + 86_400,
        terms: scene::bytes("terms").to_vec(),
        body: scene::bytes("body").to_vec(),
        request: Vec::new(),
        delegable: false,
    };
    scene::signed(scene::PATIENT, message.into(), i64::try_from(number).expect("few consents"))
}

fn check_tx(criterion: &mut Criterion) {
    let machine = RefCell::new(scene::machine());
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
                consent(number)
            },
            |consent| assert_eq!(machine.borrow().check(&consent, CheckKind::New).code, 0),
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, check_tx);
criterion_main!(benches);
