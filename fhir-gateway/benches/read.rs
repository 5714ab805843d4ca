//! `GET /Observation/{id}` over HTTP on the embedded ledger, at 1 and 16 connections.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};

fn read(criterion: &mut Criterion) {
    let server = support::start();
    server.fill();
    support::at_1_and_16(criterion, "read", &server, |server, number| {
        let url = format!("{}/Observation/o{}", server.base_url, number % support::STORED);
        server.client.get(url)
    });
}

criterion_group!(benches, read);
criterion_main!(benches);
