//! Gateways as processes run them: configuration, keystore, server, tokens; only in this process.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use careledger_gateway::{
    config,
    keys::{OrganizationKeys, keystore},
    ledger::Ledger,
    organization::Organization,
    server::{self, Gateway},
};
use careledger_wire::ids::Address;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

use super::answers;

/// A key made with OpenSSL for tests only.
const CLIENT_KEY: &[u8] = include_bytes!("../../src/auth/testdata/p384.pem");
const PASSPHRASE: &[u8] = b"of the tests";
/// How long a server may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks.
const POLL: Duration = Duration::from_millis(1);

/// An address that nobody listens on, given out once. It lies below the ports that the system hands
/// out by itself: one of those could be taken by a client's connection before the gateway listens.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 100).expect("below 100") * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(port < 32_768, "no port is free");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A running gateway that serves one organization.
pub struct Site {
    /// Name of the organization.
    pub name: &'static str,
    /// Base URL of the gateway.
    pub url: String,
    /// The organization behind it.
    pub organization: Arc<Organization>,
    gateway: Weak<Gateway>,
    token: String,
    handle: actix_web::dev::ServerHandle,
    http: reqwest::Client,
}

/// An answer of a gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Bytes of the body.
    pub bytes: Vec<u8>,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The body, where the status is the expected one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }
}

impl Site {
    /// Starts a gateway for the organization `name` with `keys`, listening on `address`.
    pub async fn start(
        folder: &Path,
        name: &'static str,
        keys: &OrganizationKeys,
        ledger: Ledger,
        address: SocketAddr,
        peers: &[(Address, String)],
    ) -> Self {
        let config = configuration(folder, name, keys, address, peers);
        let opened = Organization::open(&config, &config.organizations[0], ledger).await;
        let (organization, _) = opened.expect("the organization opens");
        let gateway = Arc::new(Gateway::new([Arc::clone(&organization)], 16 * 1024 * 1024));
        let served = Arc::downgrade(&gateway);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = server::serve(gateway, address, 1, None).expect("the address is free");
                sender.send(server.handle()).expect("the starter waits");
                server.await
            })
        });
        let handle = receiver.recv().expect("the server starts");
        let mut site = Self {
            name,
            url: format!("http://{address}"),
            organization,
            gateway: served,
            token: String::new(),
            handle,
            http: reqwest::Client::new(),
        };
        site.token = site.token_of("ehr").await;
        site
    }

    /// Stops listening; the organization's data stay.
    pub async fn stop(&self) {
        self.handle.stop(false).await;
    }

    /// An access token of a client: `ehr`, or `portal`, which reaches the Patient `local` alone.
    pub async fn token_of(&self, client: &str) -> String {
        self.token_for(client, "system/*.cruds patient/*.cruds").await
    }

    /// The same, with less than the client may have.
    pub async fn token_for(&self, client: &str, scope: &str) -> String {
        let url = format!("{}/{}/auth/token", self.url, self.name);
        let now = careledger_gateway::ledger::clock();
        let jti = hex::encode(careledger_gateway::keys::random::<16>());
        let claims = json!({"iss": client, "sub": client, "aud": url, "exp": now + 240, "iat": now, "jti": jti});
        let key = EncodingKey::from_ec_pem(CLIENT_KEY).expect("the test key is a P-384 key");
        let header = Header { kid: Some("test".to_owned()), ..Header::new(Algorithm::ES384) };
        let assertion = jsonwebtoken::encode(&header, &claims, &key).expect("claims sign");
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", scope),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.expect("the token endpoint answers").bytes().await.expect("a body");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// `GET` below the FHIR endpoint.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.http.get(self.address(path))).await
    }

    /// `GET` below the FHIR endpoint with another token.
    pub async fn get_by(&self, token: &str, path: &str) -> Reply {
        let request = self.http.get(self.address(path)).header("authorization", format!("Bearer {token}"));
        self.sent(request).await
    }

    /// `DELETE` of a resource.
    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.http.delete(self.address(path))).await
    }

    /// Starts an export; gives the path of its status below the FHIR endpoint.
    pub async fn export(&self, path: &str) -> String {
        let request = self.http.get(self.address(path)).header("prefer", "respond-async");
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let response = request.send().await.expect("the gateway answers");
        assert_eq!(response.status().as_u16(), 202);
        let location = response.headers().get("content-location").expect("a status address");
        location.to_str().expect("text").trim_start_matches(&self.address("")).to_owned()
    }

    /// `POST` of a resource.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.body(self.http.post(self.address(path)), body).await
    }

    /// `POST` of a resource with headers.
    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let request = headers
            .iter()
            .fold(self.http.post(self.address(path)), |request, (name, value)| request.header(*name, *value));
        self.body(request, body).await
    }

    /// `GET` below the FHIR endpoint of what `accept` names.
    pub async fn get_as(&self, path: &str, accept: &str) -> Reply {
        self.send(self.http.get(self.address(path)).header("accept", accept)).await
    }

    /// `PUT` of a resource.
    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.body(self.http.put(self.address(path)), body).await
    }

    /// `POST` of a Binary in its own format.
    pub async fn post_raw(&self, content_type: &str, bytes: &[u8]) -> Reply {
        let request = self.http.post(self.address("/Binary")).header("content-type", content_type);
        self.send(request.body(bytes.to_vec())).await
    }

    async fn body(&self, request: reqwest::RequestBuilder, body: &Value) -> Reply {
        self.send(request.header("content-type", "application/fhir+json").body(body.to_string())).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        self.sent(request.header("authorization", format!("Bearer {}", self.token))).await
    }

    async fn sent(&self, request: reqwest::RequestBuilder) -> Reply {
        let response = request.send().await.expect("the gateway answers");
        let (status, asked) = (response.status().as_u16(), format!("{}: {}", response.url(), response.status()));
        let media_type = response.headers().get("content-type").and_then(|found| found.to_str().ok());
        let media_type = media_type.unwrap_or_default().to_owned();
        let bytes = response.bytes().await.expect("a body").to_vec();
        answers::keep(&asked, &media_type, &bytes);
        Reply { status, bytes }
    }

    fn address(&self, path: &str) -> String {
        format!("{}/{}/fhir{path}", self.url, self.name)
    }
}

impl Drop for Site {
    /// The server ends with the journey: until then it holds the databases, whose files take space when they
    /// have no name any more. They are closed here, where nobody else has them: a process that ends while another
    /// thread closes one breaks off.
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        let deadline = Instant::now() + ENDED_WITHIN;
        while self.gateway.strong_count() > 0 && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        if self.gateway.strong_count() > 0 {
            eprintln!("the server of {} did not end in time", self.name);
        }
    }
}

/// The configuration of a gateway that serves one organization, its files written.
pub fn configuration(
    folder: &Path,
    name: &str,
    keys: &OrganizationKeys,
    address: SocketAddr,
    peers: &[(Address, String)],
) -> config::Config {
    std::fs::create_dir_all(folder).expect("a temporary folder takes folders");
    let key = EncodingKey::from_ec_pem(CLIENT_KEY).expect("the test key is a P-384 key");
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES384).expect("an EC key is a JWK");
    jwk.common.key_id = Some("test".to_owned());
    let path = |file: &str| folder.join(format!("{name}-{file}"));
    std::fs::write(path("jwks.json"), json!({"keys": [jwk]}).to_string()).expect("a file is written");
    std::fs::write(path("passphrase"), PASSPHRASE).expect("a file is written");
    if !path("keystore").exists() {
        keystore::create(&path("keystore"), PASSPHRASE, keys).expect("a keystore is written");
    }
    let client = |id: &str, scopes: &str, patient: Option<&str>| config::Client {
        id: id.to_owned(),
        jwks: path("jwks.json"),
        scopes: scopes.to_owned(),
        patient: patient.map(str::to_owned),
    };
    let organization = config::Organization {
        name: name.to_owned(),
        keystore: path("keystore"),
        passphrase_file: path("passphrase"),
        data: path("data"),
        postgres: None,
        clients: vec![client("ehr", "system/*.cruds", None), client("portal", "patient/*.cruds", Some("local"))],
        issuers: Vec::new(),
    };
    let peer = |(organization, url): &(Address, String)| config::Peer { organization: *organization, url: url.clone() };
    config::Config {
        ledger: config::LedgerKind::Comet,
        trusted_authorities: None,
        server: config::Server {
            listen: address,
            base_url: format!("http://{address}"),
            body_bytes_max: 16 * 1024 * 1024,
            workers: 1,
            operations_listen: None,
            proxy_terminates_tls: false,
            allowed_origins: Vec::new(),
            tls: None,
        },
        auth: config::Auth {
            token_seconds: 3_600,
            requests_per_second: 10_000,
            request_burst: 10_000,
            token_requests_per_second: 1_000,
        },
        audit: config::Audit { batch_leaves: 1_000, batch_seconds: 60 },
        subscriptions: config::Subscriptions::default(),
        memory: config::Memory::default(),
        embedded: None,
        comet: None,
        organizations: vec![organization],
        peers: peers.iter().map(peer).collect(),
    }
}
