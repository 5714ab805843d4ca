//! Clients of the gateway under test, which is real but for the sockets of FHIR.

use std::{path::Path, rc::Rc, sync::Arc};

use actix_web::{
    App,
    http::header::{HeaderName, HeaderValue},
    middleware::Compress,
    test::{self, TestRequest},
};
use careledger_gateway::{
    config::Config,
    ledger,
    organization::Organization,
    server::{self, Gateway},
};
use futures::{FutureExt as _, future::LocalBoxFuture};
use serde_json::Value;

mod answers;
pub mod endpoint;
mod world;

pub use world::{BODY_BYTES_MAX, FHIR, SCOPE, World, exchange, made, opened_with, started, world, world_that_trusts};
use world::{TOKEN_SECONDS, chain, exchange_at};

/// Starts an organization that does nothing but what it is asked: no exports, no notifications.
pub async fn at_rest() -> World {
    at_rest_with_config().await.0
}

/// The same; gives its configuration too, and where its ledger's RPC is.
pub async fn at_rest_with_config() -> (World, Config, String) {
    let folder = tempfile::tempdir().unwrap();
    let config = made(folder.path()).await;
    let (ledger, ledger_url) = chain(folder.path(), &config);
    let organization = Organization::open_as_it_is(&config, &config.organizations[0], ledger).await.unwrap();
    (World::of(organization).with_folder(folder), config, ledger_url)
}

impl World {
    /// A token that ends in so many seconds, and when that is, Unix seconds.
    pub async fn token_for_seconds(&self, client: &str, seconds: i64) -> (String, i64) {
        let end = ledger::clock() + seconds;
        let issued = end - i64::from(TOKEN_SECONDS);
        let token = exchange_at(&self.organization, &self.assertion_of(client, issued), SCOPE, issued).await;
        (token.unwrap(), end)
    }

    /// A client with a token.
    pub async fn client(&self, name: &str) -> Client {
        Client::of(&self.gateway, self.token(name).await).await
    }
}

impl Client {
    /// A client of a gateway that is not the world's own.
    pub async fn of(gateway: &Arc<Gateway>, token: String) -> Self {
        let gateway = Arc::clone(gateway);
        let app = App::new().wrap(Compress::default()).configure(move |config| server::configure(config, &gateway));
        let app = Rc::new(test::init_service(app).await);
        let call = move |request: TestRequest| {
            let app = Rc::clone(&app);
            async move {
                let request = request.to_request();
                let asked = format!("{} {}", request.method(), request.uri());
                let response = test::call_service(&*app, request).await;
                let status = response.status().as_u16();
                let header = |(name, value): (&HeaderName, &HeaderValue)| {
                    (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                };
                let headers = response.headers().iter().map(header).collect();
                let got = Got { status, headers, bytes: test::read_body(response).await.to_vec() };
                answers::keep(
                    &format!("{asked}: {status}"),
                    got.header("content-type").unwrap_or_default(),
                    &got.bytes,
                );
                got
            }
            .boxed_local()
        };
        Self { call: Box::new(call), token }
    }
}

/// A client with a token.
pub struct Client {
    call: Box<dyn Fn(TestRequest) -> LocalBoxFuture<'static, Got>>,
    token: String,
}

/// What a client got.
#[derive(Debug, Clone)]
pub struct Got {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub bytes: Vec<u8>,
}

impl Client {
    /// The same client with another token.
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = token.to_owned();
        self
    }

    /// Sends a request; `path` is below the FHIR endpoint.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Got {
        let mut request = TestRequest::with_uri(&format!("{FHIR}{path}"))
            .method(method.parse().unwrap())
            .insert_header(("authorization", format!("Bearer {}", self.token)));
        let body = body.into();
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.insert_header(("content-type", "application/fhir+json"));
        }
        for header in headers {
            request = request.insert_header(*header);
        }
        (self.call)(request.set_payload(body)).await
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Got {
        self.send("GET", path, &[], Vec::new()).await
    }

    /// Creates or posts a Bundle.
    pub async fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Got {
        self.send("POST", path, &[], body).await
    }
}

impl Got {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Checks the status, showing the body where it differs.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The id in a Bundle's or a resource's answer.
    pub fn id(&self) -> String {
        self.json()["id"].as_str().unwrap_or_default().to_owned()
    }
}

/// A file of `golden/`; gzip is undone.
pub fn golden(path: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(path);
    let bytes = std::fs::read(&file).unwrap();
    if !path.ends_with(".gz") {
        return bytes;
    }
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes.as_slice()), &mut plain).unwrap();
    plain
}
