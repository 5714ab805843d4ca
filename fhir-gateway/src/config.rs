//! The gateway's configuration: one TOML file, every key in it, unknown keys refused.
//! `example.toml` shows all of them and a test reads it.
//!
//! Absent on purpose: secrets. The file names the files that hold them, so the whole
//! configuration can be logged.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use careledger_wire::ids::Address;
use serde::{Deserialize, Serialize};
use url::Url;

mod memory;
mod postgres;
mod server;
mod subscriptions;

use crate::postgres::settings;
pub use memory::Memory;
pub use postgres::{Postgres, SslMode, VaultKind};
pub use server::{ClientCertificates, Tls};
pub use subscriptions::Subscriptions;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the file system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, a missing key or a value of another type.
    #[error("configuration {path}: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// Where and what, from the TOML reader.
        message: String,
    },
    /// The values do not fit together.
    #[error("configuration: {0}")]
    Rule(String),
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which ledger: its table must be there too.
    pub ledger: LedgerKind,
    /// File with certificates in PEM that peers and issuers are trusted by, besides those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_authorities: Option<PathBuf>,
    /// HTTP.
    pub server: Server,
    /// Tokens and rates.
    pub auth: Auth,
    /// When access-log batches are anchored.
    pub audit: Audit,
    /// How Subscriptions are notified.
    #[serde(default)]
    pub subscriptions: Subscriptions,
    /// How much memory it takes.
    #[serde(default)]
    pub memory: Memory,
    /// The ledger in this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<Embedded>,
    /// The ledger behind a CometBFT node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comet: Option<Comet>,
    /// Organizations that this process serves.
    #[serde(rename = "organization")]
    pub organizations: Vec<Organization>,
    /// Where other organizations' gateways are.
    #[serde(default, rename = "peer", skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
}

/// Which ledger the gateway uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LedgerKind {
    /// Blocks are made in this process.
    Embedded,
    /// A CometBFT node makes them.
    Comet,
}

/// Largest request body in bytes, where nobody says otherwise.
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Threads that answer requests, where nobody says otherwise.
pub const WORKERS: usize = 2;

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// How clients reach it, with the path that a proxy puts before it, if any: tokens are issued for
    /// this address.
    pub base_url: String,
    /// Largest request body in bytes.
    pub body_bytes_max: usize,
    /// Threads that answer requests.
    pub workers: usize,
    /// Where `/health`, `/ready` and `/metrics` are, for the operator's tools only: they need no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations_listen: Option<SocketAddr>,
    /// Says that a proxy speaks TLS in front: else an address that other machines reach needs `[server.tls]`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_terminates_tls: bool,
    /// Web origins whose pages may call from a browser, such as `https://app.example.org`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// TLS on `listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Lifetime of an access token in seconds.
    pub token_seconds: u32,
    /// Requests that one client may make in a second, over time.
    pub requests_per_second: u32,
    /// Requests that one client may make at once after a pause.
    pub request_burst: u32,
    /// Token requests that one network address may make in a second.
    pub token_requests_per_second: u32,
}

impl Default for Auth {
    fn default() -> Self {
        Self { token_seconds: 300, requests_per_second: 500, request_burst: 2_000, token_requests_per_second: 20 }
    }
}

/// `[audit]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Leaves after which a batch is anchored.
    pub batch_leaves: u32,
    /// Seconds after which all that there is is anchored, also what fills no batch.
    pub batch_seconds: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self { batch_leaves: 4_000, batch_seconds: 60 }
    }
}

/// `[embedded]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// Folder of the state and blocks.
    pub path: PathBuf,
    /// Where the CometBFT-compatible RPC listens; keep it on a loopback address.
    pub rpc_listen: SocketAddr,
    /// Id of the chain.
    pub chain_id: String,
    /// Genesis `app_state` as JSON. Used once, when the ledger is new.
    pub genesis: PathBuf,
}

/// `[comet]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comet {
    /// RPC address of a CometBFT node, or of another gateway's embedded ledger.
    pub rpc: String,
}

/// `[[organization]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    /// Path segment of its URLs: lower-case letters, digits and hyphens.
    pub name: String,
    /// Its keystore.
    pub keystore: PathBuf,
    /// File with the keystore's passphrase. `CARELEDGER_PASSPHRASE_<NAME>` goes before it.
    pub passphrase_file: PathBuf,
    /// Folder of its vault and index, and of what waits for other organizations.
    pub data: PathBuf,
    /// Where its index is, if not in that folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,
    /// Programs that may ask for tokens.
    #[serde(default, rename = "client", skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Client>,
    /// Identity providers whose access tokens it accepts.
    #[serde(default, rename = "issuer", skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<Issuer>,
}

/// `[[organization.issuer]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its name: the `iss` of its tokens, and where its discovery document is.
    pub issuer: String,
    /// The `aud` of tokens that are for this organization.
    pub audience: String,
    /// The most that its tokens allow, separated by spaces.
    pub scopes: String,
    /// Seconds after which its keys are fetched again.
    pub keys_seconds: u32,
    /// Whether apps are sent to it: `.well-known/smart-configuration` names its endpoints.
    pub announced: bool,
}

/// `[[organization.client]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// File with its public keys, a JSON Web Key Set.
    pub jwks: PathBuf,
    /// Scopes that it may ask for, separated by spaces.
    pub scopes: String,
    /// The one Patient that its `patient/` scopes are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
}

/// `[[peer]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The other organization's account.
    pub organization: Address,
    /// Base URL of its gateway, with its path segment.
    pub url: String,
}

impl Config {
    /// Reads a file. Paths in it are relative to its folder.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| ConfigError::File { path: shown.clone(), source })?;
        let mut config: Self =
            toml::from_str(&text).map_err(|error| ConfigError::Syntax { path: shown, message: error.to_string() })?;
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        config.check()?;
        Ok(config)
    }

    /// The effective configuration as TOML, for the log: whose patient a client is stays out of it.
    pub fn to_log(&self) -> String {
        let mut shown = self.clone();
        let clients = shown.organizations.iter_mut().flat_map(|organization| &mut organization.clients);
        clients.filter_map(|client| client.patient.as_mut()).for_each(|patient| "(one)".clone_into(patient));
        shown.to_toml()
    }

    /// The effective configuration as TOML, for `init`. It holds no secret.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("paths of a configuration that was read are text")
    }

    /// URL of an organization's FHIR endpoint, without a slash at its end.
    pub fn fhir_url(&self, organization: &str) -> String {
        format!("{}/{organization}/fhir", self.origin())
    }

    /// URL of an organization's token endpoint.
    pub fn token_url(&self, organization: &str) -> String {
        format!("{}/{organization}/auth/token", self.origin())
    }

    /// Bytes that each database on this machine's disk may keep in memory: that of an embedded ledger, and
    /// those of the vaults that are here.
    pub fn storage_bytes_each(&self) -> usize {
        let is_here = |organization: &&Organization| {
            organization.postgres.as_ref().is_none_or(|postgres| postgres.vault == VaultKind::Local)
        };
        let vaults = self.organizations.iter().filter(is_here).count();
        self.memory.storage_bytes_max / (vaults + usize::from(self.ledger == LedgerKind::Embedded)).max(1)
    }

    fn origin(&self) -> &str {
        self.server.base_url.trim_end_matches('/')
    }

    fn resolve(&mut self, folder: &Path) {
        let embedded = self.embedded.iter_mut().flat_map(|embedded| [&mut embedded.path, &mut embedded.genesis]);
        let organizations = self.organizations.iter_mut().flat_map(|organization| {
            let own = [&mut organization.keystore, &mut organization.passphrase_file, &mut organization.data];
            let postgres = organization.postgres.as_mut();
            let files = postgres.map(|postgres| [postgres.password_file.as_mut(), postgres.root_certificate.as_mut()]);
            own.into_iter()
                .chain(files.into_iter().flatten().flatten())
                .chain(organization.clients.iter_mut().map(|client| &mut client.jwks))
        });
        let tls = self
            .server
            .tls
            .iter_mut()
            .flat_map(|tls| [&mut tls.certificate, &mut tls.key].into_iter().chain(tls.client_authority.as_mut()));
        for path in embedded.chain(organizations).chain(tls).chain(self.trusted_authorities.as_mut()) {
            *path = folder.join(&*path);
        }
    }

    /// Refuses values that do not fit together.
    pub fn check(&self) -> Result<(), ConfigError> {
        let rule = |message: &str| Err(ConfigError::Rule(message.to_owned()));
        match self.ledger {
            LedgerKind::Embedded if self.embedded.is_none() => {
                return rule("ledger = \"embedded\" needs the table [embedded]");
            }
            LedgerKind::Comet if self.comet.is_none() => return rule("ledger = \"comet\" needs the table [comet]"),
            _ => {}
        }
        self.server.check()?;
        self.subscriptions.check()?;
        self.memory.check()?;
        let urls = [&self.server.base_url].into_iter();
        let urls = urls.chain(self.comet.iter().map(|comet| &comet.rpc)).chain(self.peers.iter().map(|peer| &peer.url));
        for url in urls {
            let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            if parsed.is_none_or(|url| url.query().is_some() || url.fragment().is_some()) {
                return Err(ConfigError::Rule(format!("{url} is not the address of an HTTP server")));
            }
        }
        if self.organizations.is_empty() {
            return rule("at least one [[organization]] is needed");
        }
        let numbers = [
            self.auth.token_seconds,
            self.auth.requests_per_second,
            self.auth.request_burst,
            self.auth.token_requests_per_second,
            self.audit.batch_leaves,
            self.audit.batch_seconds,
        ];
        if numbers.contains(&0) || self.server.body_bytes_max == 0 || self.server.workers == 0 {
            return rule("limits, rates and intervals must be above 0");
        }
        let mut names = BTreeSet::new();
        for organization in &self.organizations {
            let name = &organization.name;
            if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
                return rule("an organization's name has lower-case letters, digits and hyphens only");
            }
            if !names.insert(name) {
                return Err(ConfigError::Rule(format!("two organizations are called {name}")));
            }
            if let Some(postgres) = &organization.postgres {
                settings::address(postgres)
                    .map_err(|problem| ConfigError::Rule(format!("[organization.postgres] of {name}: {problem}")))?;
            }
            let mut ids = BTreeSet::new();
            check_issuers(organization)?;
            if let Some(twice) = organization.clients.iter().find(|client| !ids.insert(&client.id)) {
                return Err(ConfigError::Rule(format!("{name} has two clients called {}", twice.id)));
            }
        }
        Ok(())
    }
}

/// Issuers are told apart by name, from each other and from clients.
fn check_issuers(organization: &Organization) -> Result<(), ConfigError> {
    let name = &organization.name;
    let mut names = BTreeSet::new();
    for issuer in &organization.issuers {
        let own = &issuer.issuer;
        if !names.insert(own) {
            return Err(ConfigError::Rule(format!("{name} has two issuers called {own}")));
        }
        if issuer.keys_seconds == 0 {
            return Err(ConfigError::Rule(format!("keys_seconds of issuer {own} must be above 0")));
        }
        // So are its callers called.
        if organization.clients.iter().any(|client| client.id.starts_with(&format!("{own}#"))) {
            return Err(ConfigError::Rule(format!("a client of {name} is called as the callers of {own} are")));
        }
    }
    if organization.issuers.iter().filter(|issuer| issuer.announced).count() > 1 {
        return Err(ConfigError::Rule(format!("{name} can announce one issuer only")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../example.toml");

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn the_example_is_current_and_names_every_key() {
        let config = read(EXAMPLE).unwrap();
        assert_eq!(config.ledger, LedgerKind::Embedded);
        assert_eq!((&config.auth, &config.audit), (&Auth::default(), &Audit::default()), "the limits of `init`");
        assert_eq!((&config.subscriptions, &config.memory), (&Subscriptions::default(), &Memory::default()));
        assert_eq!((config.server.body_bytes_max, config.server.workers), (BODY_BYTES_MAX, WORKERS));
        let client = &config.organizations[0].clients[0];
        assert!(client.jwks.is_absolute(), "paths are relative to the file");
        // What is written back holds the same keys as the example.
        let keys = |text: &str| {
            let key = |line: &str| line.trim_start_matches("# ").split_once(" = ").map(|(key, _)| key.to_owned());
            text.lines().filter_map(key).collect::<BTreeSet<_>>()
        };
        let written = keys(&config.to_toml());
        assert!(written.is_subset(&keys(EXAMPLE)), "{written:?}");
    }

    #[test]
    fn the_log_of_a_start_names_no_patient() {
        let text = EXAMPLE.replace("[[organization.client]]", "[[organization.client]]\npatient = \"canary\"");
        let config = read(&text).unwrap();
        assert!(config.to_toml().contains("canary"));
        let logged = config.to_log();
        assert!(!logged.contains("canary") && logged.contains("patient = "), "{logged}");
    }

    fn on_postgres(line: &str) -> String {
        EXAMPLE.replace("[[organization.client]]", &format!("[organization.postgres]\n{line}\n[[organization.client]]"))
    }

    #[test]
    fn an_organization_may_have_its_index_and_vault_in_postgresql() {
        let lines = "url = \"postgresql://care@127.0.0.1:5432/care\"\npassword_file = \"word\"\nvault = \"postgres\"";
        let postgres = read(&on_postgres(lines)).unwrap().organizations[0].postgres.clone().unwrap();
        assert_eq!((postgres.vault, postgres.allow_unencrypted), (VaultKind::Postgres, false));
        assert!(postgres.password_file.unwrap().is_absolute(), "paths are relative to the file");
        assert_eq!(postgres.sslmode, SslMode::Disable);
        let lines =
            "url = \"postgresql://care@db.example.org/care\"\nsslmode = \"verify-full\"\nroot_certificate = \"ca.pem\"";
        let postgres = read(&on_postgres(lines)).unwrap().organizations[0].postgres.clone().unwrap();
        assert!(postgres.sslmode == SslMode::VerifyFull && postgres.root_certificate.unwrap().is_absolute());
        // Encrypted to whoever answers is not enough: it could be anybody.
        assert!(read(&on_postgres(&lines.replace("verify-full", "require"))).is_err());
    }

    /// The example, with TLS in place of none.
    fn with_tls() -> String {
        let (before, after) = EXAMPLE.split_once("# [server.tls]").unwrap();
        let (table, after) = after.split_once("\n\n").unwrap();
        let table = table.replace("\n# ", "\n").replace("\nThe ", "\n# The ");
        format!("{before}[server.tls]{table}\n\n{after}").replace("base_url = \"http://", "base_url = \"https://")
    }

    #[test]
    fn tls_is_demanded_where_others_can_listen_in() {
        let config = read(&with_tls()).unwrap();
        let tls = config.server.tls.unwrap();
        assert!(tls.certificate.is_absolute() && tls.client_authority.unwrap().is_absolute());
        assert_eq!(tls.client_certificates, Some(ClientCertificates::Optional));
        let public = EXAMPLE.replacen("listen = \"127.0.0.1:8080\"", "listen = \"0.0.0.0:8080\"", 1);
        assert!(read(&public).is_err());
        read(&public.replacen("# proxy_terminates_tls", "proxy_terminates_tls", 1)).unwrap();
        read(&with_tls().replacen("listen = \"127.0.0.1:8080\"", "listen = \"0.0.0.0:8080\"", 1)).unwrap();
    }

    #[test]
    fn unknown_missing_and_contradicting_keys_are_refused() {
        let tls = with_tls();
        let cases = [
            (EXAMPLE.replace("workers =", "wrokers ="), "unknown field `wrokers`"),
            (EXAMPLE.replacen("listen =", "# listen =", 1), "missing field `listen`"),
            (EXAMPLE.replace("ledger = \"embedded\"", "ledger = \"comet\""), "needs the table [comet]"),
            (EXAMPLE.replace("ledger = \"embedded\"", "ledger = \"none\""), "unknown variant `none`"),
            (EXAMPLE.replace("http://127.0.0.1:8081/lakeside", "ftp://lakeside"), "not the address of an HTTP server"),
            (
                EXAMPLE.replacen("listen = \"127.0.0.1:8080\"", "listen = \"0.0.0.0:8080\"", 1),
                "Add [server.tls], or set",
            ),
            (tls.replace("https://", "http://"), "must be an https address"),
            (tls.replacen("# proxy_terminates_tls", "proxy_terminates_tls", 1), "contradict each other"),
            (tls.replacen("\nclient_certificates", "\n# client_certificates", 1), "go together"),
            (
                tls.replacen(
                    "# allowed_origins = [\"https://app.example.org\"]",
                    "allowed_origins = [\"https://a.b/\"]",
                    1,
                ),
                "no origin",
            ),
            (EXAMPLE.replace("token_seconds = 300", "token_seconds = 0"), "above 0"),
            (EXAMPLE.replace("attempts_max = 36", "attempts_max = 0"), "above 0"),
            (EXAMPLE.replace("bodies_bytes_max = 2097152", "bodies_bytes_max = 0"), "above 0"),
            (EXAMPLE.replace("value_sets_bytes_max = 2097152", "value_sets_bytes_max = 0"), "above 0"),
            (EXAMPLE.replace("storage_bytes_max = 67108864", "storage_bytes_max = 1000"), "at least 8388608"),
            (EXAMPLE.replace("trusted_endpoints = []", "trusted_endpoints = [\"10.0.0.0/8\"]"), "no origin"),
            (EXAMPLE.replace("trusted_endpoints = []", "trusted_endpoints = [\"http://127.0.0.1/hook\"]"), "no origin"),
            (EXAMPLE.replace("name = \"riverside\"", "name = \"River/side\""), "lower-case letters"),
            (on_postgres("url = \"postgresql://care@db.example.org/care\""), "clear text"),
            (on_postgres("url = \"postgresql://care:word@127.0.0.1/care\""), "password_file"),
            (on_postgres("vault = \"postgres\""), "missing field `url`"),
        ];
        for (text, expected) in cases {
            assert_ne!(text, EXAMPLE, "{expected}");
            let message = read(&text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
