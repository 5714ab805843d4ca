//! Who can listen in, and who may call from a browser.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{ConfigError, Server};

/// `[server.tls]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// File with the certificate chain in PEM, the server's own first.
    pub certificate: PathBuf,
    /// File with its private key in PEM.
    pub key: PathBuf,
    /// File with the certificates in PEM whose holders vouch for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authority: Option<PathBuf>,
    /// Whether clients must show a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Who shows none gets no connection.
    Required,
    /// Who shows one must show a good one.
    Optional,
}

impl Server {
    /// Who can listen in must be somebody who may.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let rule = |message: &str| Err(ConfigError::Rule(message.to_owned()));
        match &self.tls {
            None if !self.proxy_terminates_tls && !self.listen.ip().is_loopback() => {
                return rule(
                    "server.listen can be reached from other machines, in plain HTTP. Add [server.tls], or set \
                     proxy_terminates_tls = true where a proxy in front of the gateway speaks TLS, or listen on 127.0.0.1",
                );
            }
            Some(_) if self.proxy_terminates_tls => {
                return rule("proxy_terminates_tls and [server.tls] contradict each other: leave one of them out");
            }
            Some(_) if !self.base_url.starts_with("https://") => {
                return rule("with [server.tls] base_url must be an https address");
            }
            Some(tls) if tls.client_authority.is_some() != tls.client_certificates.is_some() => {
                return rule("client_authority and client_certificates go together: set both, or none");
            }
            _ => {}
        }
        let is_origin =
            |origin: &&String| Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == **origin);
        match self.allowed_origins.iter().find(|origin| !is_origin(origin)) {
            Some(wrong) => Err(ConfigError::Rule(format!(
                "{wrong} in allowed_origins is no origin such as https://app.example.org"
            ))),
            None => Ok(()),
        }
    }
}
