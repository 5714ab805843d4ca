//! `GET /Observation?patient=…&code=…` over HTTP on the embedded ledger, at 1 and 16 connections:
//! ten matches each.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};

fn search(criterion: &mut Criterion) {
    let server = support::start();
    server.fill();
    support::at_1_and_16(criterion, "search", &server, |server, number| {
        let patient = number % support::PATIENTS;
        let url = format!("{}/Observation?patient=p{patient}&code=http://loinc.org|8302-2&_count=10", server.base_url);
        server.client.get(url)
    });
}

criterion_group!(benches, search);
criterion_main!(benches);
