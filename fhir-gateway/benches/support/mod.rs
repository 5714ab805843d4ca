//! A gateway on a socket, and clients that keep their connections.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on must stop")]

use std::{net::TcpListener, sync::Arc, time::Instant};

use criterion::{Criterion, Throughput};
use tokio::runtime::Runtime;

#[path = "../../tests/support/world.rs"]
mod gateway;

/// Observations that [`Server::fill`] stores.
pub const STORED: u64 = 2_000;
/// Patients that they are about.
pub const PATIENTS: u64 = 100;

/// A running gateway.
pub struct Server {
    /// URL of the FHIR endpoint.
    pub base_url: String,
    /// Carries the token.
    pub client: reqwest::Client,
    runtime: Runtime,
    world: gateway::World,
}

/// Starts a gateway with an own chain.
pub fn start() -> Server {
    let runtime = Runtime::new().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let world = runtime.block_on(gateway::world());
    let gateway = Arc::clone(&world.gateway);
    std::thread::spawn(move || {
        let server = careledger_gateway::server::serve(gateway, ([127, 0, 0, 1], port).into(), 2, None).unwrap();
        actix_web::rt::System::new().block_on(server).unwrap();
    });
    let token = runtime.block_on(world.token("ehr"));
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    headers.insert("content-type", "application/fhir+json".parse().unwrap());
    let client = reqwest::Client::builder().default_headers(headers).build().unwrap();
    let base_url = format!("http://127.0.0.1:{port}{}", gateway::FHIR);
    let server = Server { base_url, client, runtime, world };
    server.runtime.block_on(server.answers());
    server
}

impl Server {
    async fn answers(&self) {
        let url = format!("{}/metadata", self.base_url);
        while self.client.get(&url).send().await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// An access token of a client.
    pub fn token(&self, client: &str) -> String {
        self.runtime.block_on(self.world.token(client))
    }

    /// Waits for `work`.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

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
            assert_eq!(self.runtime.block_on(sent).unwrap().status(), 200);
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
                server.runtime.block_on(futures::future::join_all((0..connections).map(one)));
                began.elapsed()
            });
        });
    }
    group.finish();
}
