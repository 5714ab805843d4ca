//! `POST /Observation` over HTTP on the embedded ledger, at 1 and 16 connections.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on must stop")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};

fn create(criterion: &mut Criterion) {
    let server = support::start();
    support::at_1_and_16(criterion, "create", &server, |server, number| {
        let url = format!("{}/Observation", server.base_url);
        server.client.post(url).body(support::observation(number)).header("prefer", "return=minimal")
    });
}

criterion_group!(benches, create);
criterion_main!(benches);
