//! A gateway on a socket.

use std::{net::TcpListener, sync::Arc};

use tokio::runtime::Runtime;

#[path = "../../tests/support/world.rs"]
mod gateway;

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
    let base_url = format!("http://127.0.0.1:{port}{}", gateway::FHIR);
    let mut server = Server { base_url, client: reqwest::Client::new(), runtime, world };
    let token = server.token("ehr");
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    headers.insert("content-type", "application/fhir+json".parse().unwrap());
    server.client = reqwest::Client::builder().default_headers(headers).build().unwrap();
    server.run(server.answers());
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
        self.run(self.world.token(client))
    }

    /// Waits for `work`.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}
