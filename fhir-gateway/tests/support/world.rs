//! A real gateway in process: keystore, vault, index, embedded ledger, tokens. Only the sockets
//! of FHIR are missing. Where a server is named, vault and index are in a database of their own there.

use std::{path::Path, sync::Arc};

use careledger_gateway::{
    config::{self, Config, VaultKind},
    keys::{OrganizationKeys, keystore},
    ledger::{
        self, Ledger,
        embedded::{self, Embedded},
    },
    organization::{self, Organization},
    server::Gateway,
};
use careledger_wire::ids::Address;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::json;

/// Path of the FHIR endpoint.
pub const FHIR: &str = "/hospital/fhir";
/// Largest body that the gateway under test takes.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a token is good.
pub const TOKEN_SECONDS: u32 = 300;

/// Test key, made with OpenSSL for tests only.
const CLIENT_KEY: &[u8] = include_bytes!("../../src/auth/testdata/p384.pem");
const PASSPHRASE: &str = "a passphrase for tests";

/// All that a client may do.
pub const SCOPE: &str = "system/*.cruds patient/*.cruds";

/// Variable that names the server for tests: an address of a role that may make databases.
const SERVER: &str = "CARELEDGER_TEST_POSTGRES";

/// One organization on its own chain.
pub struct World {
    /// Where it is, if it goes with it.
    _folder: Option<tempfile::TempDir>,
    /// The organization.
    pub organization: Arc<Organization>,
    /// What serves it.
    pub gateway: Arc<Gateway>,
}

/// Starts an organization.
pub async fn world() -> World {
    world_that_trusts(Vec::new()).await
}

/// Starts an organization that accepts tokens of these issuers.
pub async fn world_that_trusts(issuers: Vec<config::Issuer>) -> World {
    opened_with(|config| config.organizations[0].issuers = issuers).await.0
}

/// Starts an organization with another configuration; gives that, and where its ledger's RPC is.
pub async fn opened_with(change: impl FnOnce(&mut Config)) -> (World, Config, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = made(folder.path()).await;
    change(&mut config);
    let (world, ledger_url) = started(folder.path(), &config).await;
    (world.with_folder(folder), config, ledger_url)
}

/// Makes an organization in a folder, which is not started yet.
pub async fn made(folder: &Path) -> Config {
    let mut config = configuration(folder);
    config.organizations[0].postgres = database(folder).await;
    let keys = OrganizationKeys::random();
    keystore::create(&config.organizations[0].keystore, PASSPHRASE.as_bytes(), &keys).unwrap();
    std::fs::write(&config.organizations[0].passphrase_file, PASSPHRASE).unwrap();
    std::fs::write(&config.organizations[0].clients[0].jwks, jwks()).unwrap();
    config
}

/// Starts the organization that was made in a folder, also once more after the runtime of an earlier start is gone.
pub async fn started(folder: &Path, config: &Config) -> (World, String) {
    let (ledger, ledger_url) = chain(folder, config);
    let (organization, _) = Organization::open(config, &config.organizations[0], ledger).await.unwrap();
    (World::of(organization), ledger_url)
}

/// The chain of an organization that was made in a folder, and where its RPC is.
pub fn chain(folder: &Path, config: &Config) -> (Ledger, String) {
    let keys = organization::open_keys(&config.organizations[0]).unwrap();
    let settings = embedded::Settings {
        chain_id: "careledger-dev-fhir".to_owned(),
        app_state: genesis(&keys),
        rpc_listen: "127.0.0.1:0".parse().unwrap(),
        memory: embedded::Memory::default(),
    };
    let embedded = Embedded::open(&folder.join("ledger"), &settings).unwrap();
    let ledger_url = format!("http://{}", embedded.rpc_address());
    (Ledger::Embedded(embedded), ledger_url)
}

impl World {
    /// What serves an organization.
    pub fn of(organization: Arc<Organization>) -> Self {
        let gateway = Arc::new(Gateway::new([Arc::clone(&organization)], BODY_BYTES_MAX));
        Self { _folder: None, organization, gateway }
    }

    /// The same, which keeps its folder as long as it is.
    pub fn with_folder(mut self, folder: tempfile::TempDir) -> Self {
        self._folder = Some(folder);
        self
    }
}

/// A new database on the server for tests; none where no server is named.
async fn database(folder: &Path) -> Option<config::Postgres> {
    let server: tokio_postgres::Config = std::env::var(SERVER).ok()?.parse().unwrap();
    let (client, connection) = server.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let name = format!("world_{}", uuid::Uuid::new_v4().simple());
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let password_file = folder.join("postgres-password");
    std::fs::write(&password_file, server.get_password().unwrap()).unwrap();
    let (user, port) = (server.get_user().unwrap(), server.get_ports()[0]);
    Some(config::Postgres {
        sslmode: config::SslMode::Disable,
        root_certificate: None,
        url: format!("postgresql://{user}@127.0.0.1:{port}/{name}"),
        password_file: Some(password_file),
        vault: VaultKind::Postgres,
        allow_unencrypted: false,
    })
}

fn configuration(folder: &Path) -> Config {
    let client = |id: &str, scopes: &str| config::Client {
        id: id.to_owned(),
        jwks: folder.join("jwks.json"),
        scopes: scopes.to_owned(),
        patient: scopes.starts_with("patient/").then(|| "p1".to_owned()),
    };
    Config {
        ledger: config::LedgerKind::Embedded,
        trusted_authorities: None,
        server: config::Server {
            listen: "127.0.0.1:0".parse().unwrap(),
            base_url: "http://localhost".parse().unwrap(),
            body_bytes_max: BODY_BYTES_MAX,
            workers: 1,
            operations_listen: None,
            proxy_terminates_tls: false,
            allowed_origins: Vec::new(),
            tls: None,
        },
        auth: config::Auth {
            token_seconds: TOKEN_SECONDS,
            requests_per_second: 100_000,
            request_burst: 100_000,
            token_requests_per_second: 1_000,
        },
        audit: config::Audit { batch_leaves: 100_000, batch_seconds: 3_600 },
        subscriptions: config::Subscriptions::default(),
        memory: config::Memory::default(),
        embedded: None,
        comet: None,
        organizations: vec![config::Organization {
            name: "hospital".to_owned(),
            keystore: folder.join("keystore.json"),
            passphrase_file: folder.join("passphrase"),
            data: folder.join("data"),
            postgres: None,
            clients: vec![
                client("ehr", "system/*.cruds"),
                client("reader", "system/Patient.rs"),
                client("portal", "patient/*.cruds"),
            ],
            issuers: Vec::new(),
        }],
        peers: Vec::new(),
    }
}

fn genesis(keys: &OrganizationKeys) -> Vec<u8> {
    let organization = json!({
        "address": keys.signer.address(),
        "kind": "provider",
        "encryption_key": keys.encryption.public(),
        "evidence": "00".repeat(32),
        "expires_at": ledger::clock() + 30 * 86_400,
    });
    let registrars = [Address::new([1; 20])];
    json!({"registrars": registrars, "registrar_threshold": 1, "organizations": [organization]})
        .to_string()
        .into_bytes()
}

fn jwks() -> String {
    let key = EncodingKey::from_ec_pem(CLIENT_KEY).unwrap();
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES384).unwrap();
    jwk.common.key_id = Some("one".to_owned());
    json!({"keys": [jwk]}).to_string()
}

impl World {
    /// A client's assertion, to be exchanged for a token once.
    pub fn assertion(&self, client: &str) -> String {
        self.assertion_of(client, ledger::clock())
    }

    /// The same, as of an earlier or later time, Unix seconds.
    pub fn assertion_of(&self, client: &str, now: i64) -> String {
        let url = self.organization.authority.token_url();
        let mut header = Header::new(Algorithm::ES384);
        header.kid = Some("one".to_owned());
        let claims = json!({
            "iss": client, "sub": client, "aud": url, "exp": now + 60, "jti": uuid::Uuid::new_v4().to_string(),
        });
        let key = EncodingKey::from_ec_pem(CLIENT_KEY).unwrap();
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }

    /// An access token, by the exchange that clients do.
    pub async fn token(&self, client: &str) -> String {
        self.token_for(client, SCOPE).await
    }

    /// The same, with less than the client may have.
    pub async fn token_for(&self, client: &str, scope: &str) -> String {
        exchange(&self.organization, &self.assertion(client), scope).await.unwrap()
    }
}

/// Exchanges an assertion for a token; the error's code where it is refused.
pub async fn exchange(organization: &Organization, assertion: &str, scope: &str) -> Result<String, &'static str> {
    exchange_at(organization, assertion, scope, ledger::clock()).await
}

/// The same, as of an earlier or later time, Unix seconds.
pub async fn exchange_at(
    organization: &Organization,
    assertion: &str,
    scope: &str,
    now: i64,
) -> Result<String, &'static str> {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("scope", scope)
        .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        .append_pair("client_assertion", assertion)
        .finish();
    let issued = organization.authority.issue(form.as_bytes(), now).await;
    issued.map(|token| token.access_token).map_err(|error| error.code())
}
