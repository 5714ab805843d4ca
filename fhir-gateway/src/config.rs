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

use crate::postgres;

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
    /// HTTP.
    pub server: Server,
    /// Tokens and rates.
    pub auth: Auth,
    /// When access-log batches are anchored.
    pub audit: Audit,
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
    /// Address to listen on. TLS is for the proxy in front of it.
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
    /// Seconds after which a batch that is not full is anchored.
    pub batch_seconds: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self { batch_leaves: 1_000, batch_seconds: 60 }
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
}

/// `[organization.postgres]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// The database, without a password: `postgresql://USER@HOST:PORT/DATABASE`.
    pub url: String,
    /// File with the password. `CARELEDGER_POSTGRES_PASSWORD_<NAME>` goes before it; without either, none
    /// is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Where sealed bodies are. Several processes of one organization share those in PostgreSQL.
    #[serde(default)]
    pub vault: VaultKind,
    /// Whether another machine is connected to without TLS.
    #[serde(default)]
    pub allow_unencrypted: bool,
}

/// Where an organization's vault is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum VaultKind {
    /// In the organization's folder, for one process.
    #[default]
    Local,
    /// Beside the index, for several processes.
    Postgres,
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

    /// The effective configuration as TOML, for the log and for `init`. It holds no secret.
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

    fn origin(&self) -> &str {
        self.server.base_url.trim_end_matches('/')
    }

    fn resolve(&mut self, folder: &Path) {
        let embedded = self.embedded.iter_mut().flat_map(|embedded| [&mut embedded.path, &mut embedded.genesis]);
        let organizations = self.organizations.iter_mut().flat_map(|organization| {
            let own = [&mut organization.keystore, &mut organization.passphrase_file, &mut organization.data];
            let password = organization.postgres.as_mut().and_then(|postgres| postgres.password_file.as_mut());
            own.into_iter().chain(password).chain(organization.clients.iter_mut().map(|client| &mut client.jwks))
        });
        for path in embedded.chain(organizations) {
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
                postgres::settings::address(postgres)
                    .map_err(|problem| ConfigError::Rule(format!("[organization.postgres] of {name}: {problem}")))?;
            }
            let mut ids = BTreeSet::new();
            if let Some(twice) = organization.clients.iter().find(|client| !ids.insert(&client.id)) {
                return Err(ConfigError::Rule(format!("{name} has two clients called {}", twice.id)));
            }
        }
        Ok(())
    }
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

    fn on_postgres(line: &str) -> String {
        EXAMPLE.replace("[[organization.client]]", &format!("[organization.postgres]\n{line}\n[[organization.client]]"))
    }

    #[test]
    fn an_organization_may_have_its_index_and_vault_in_postgresql() {
        let lines = "url = \"postgresql://care@127.0.0.1:5432/care\"\npassword_file = \"word\"\nvault = \"postgres\"";
        let postgres = read(&on_postgres(lines)).unwrap().organizations[0].postgres.clone().unwrap();
        assert_eq!((postgres.vault, postgres.allow_unencrypted), (VaultKind::Postgres, false));
        assert!(postgres.password_file.unwrap().is_absolute(), "paths are relative to the file");
    }

    #[test]
    fn unknown_missing_and_contradicting_keys_are_refused() {
        let cases = [
            (EXAMPLE.replace("workers =", "wrokers ="), "unknown field `wrokers`"),
            (EXAMPLE.replacen("listen =", "# listen =", 1), "missing field `listen`"),
            (EXAMPLE.replace("ledger = \"embedded\"", "ledger = \"comet\""), "needs the table [comet]"),
            (EXAMPLE.replace("ledger = \"embedded\"", "ledger = \"none\""), "unknown variant `none`"),
            (EXAMPLE.replace("http://127.0.0.1:8081/lakeside", "ftp://lakeside"), "not the address of an HTTP server"),
            (EXAMPLE.replace("token_seconds = 300", "token_seconds = 0"), "above 0"),
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
