//! Where an organization's database is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// Whether the connection is encrypted, to a server that proves to be the one of `url`.
    #[serde(default)]
    pub sslmode: SslMode,
    /// File with the certificates in PEM by which the server is trusted, and by no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_certificate: Option<PathBuf>,
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

/// Whether the connection to PostgreSQL is encrypted. Of libpq's modes those that say what they do: one that is
/// encrypted to whoever answers, or only if the server likes, is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// It is not.
    #[default]
    Disable,
    /// By TLS, with a certificate for the host of the address.
    VerifyFull,
}
