//! `POST /Observation` over HTTP on the embedded ledger that holds some already, at 1 and 16 connections.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};

fn create(criterion: &mut Criterion) {
    let server = support::start();
    server.fill();
    support::at_1_and_16(criterion, "create", &server, |server, number| {
        let url = format!("{}/Observation", server.base_url);
        server.client.post(url).body(support::observation(number)).header("prefer", "return=minimal")
    });
}

criterion_group!(benches, create);
criterion_main!(benches);
