//! A gateway on a socket, and clients that keep their connections.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on must stop")]

use std::time::Instant;

use criterion::{Criterion, Throughput};

mod server;

pub use server::{Server, start};

/// Observations that [`Server::fill`] stores.
pub const STORED: u64 = 2_000;
/// Patients that they are about.
pub const PATIENTS: u64 = 100;

impl Server {
    /// Stores what is read and searched.
    pub fn fill(&self) {
        for chunk in 0..STORED / 100 {
            let entries: Vec<String> = (chunk * 100..(chunk + 1) * 100)
                .map(|number| {
                    let resource = observation(number);
                    format!(r#"{{"resource":{resource},"request":{{"method":"PUT","url":"Observation/o{number}"}}}}"#)
                })
                .collect();
            let bundle = format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#, entries.join(","));
            let sent = self.client.post(&self.base_url).body(bundle).send();
            assert_eq!(self.run(sent).unwrap().status(), 200);
        }
    }
}

/// An Observation of Synthea's size.
pub fn observation(number: u64) -> String {
    let codes = ["8302-2", "29463-7"];
    let (patient, code) = (number % PATIENTS, codes[usize::from(number / PATIENTS % 2 == 1)]);
    format!(
        r#"{{"resourceType":"Observation","id":"o{number}","status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"vital-signs"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"{code}","display":"Body Height"}}],"text":"Body Height"}},"subject":{{"reference":"Patient/p{patient}"}},"effectiveDateTime":"2011-02-02T16:30:49-05:00","issued":"2011-02-02T16:30:49.825-05:00","valueQuantity":{{"value":181.2,"unit":"cm","system":"http://unitsofmeasure.org","code":"cm"}}}}"#
    )
}

/// Measures `request` at 1 and at 16 connections; one element is one request.
pub fn at_1_and_16(
    criterion: &mut Criterion,
    name: &str,
    server: &Server,
    request: impl Fn(&Server, u64) -> reqwest::RequestBuilder,
) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).throughput(Throughput::Elements(1));
    for connections in [1u64, 16] {
        group.bench_function(format!("{connections} connections"), |bencher| {
            bencher.iter_custom(|iterations| {
                let began = Instant::now();
                let one = |connection: u64| {
                    let request = &request;
                    async move {
                        for number in (connection..iterations).step_by(usize::try_from(connections).unwrap()) {
                            let response = request(server, number).send().await.unwrap();
                            assert!(response.status().is_success(), "{}", response.status());
                            response.bytes().await.unwrap();
                        }
                    }
                };
                server.run(futures::future::join_all((0..connections).map(one)));
                began.elapsed()
            });
        });
    }
    group.finish();
}
