//! TLS on the address of FHIR: rustls, TLS 1.2 and later, and client certificates where they are wanted.
//! docs/OPERATORS.md
//!
//! The certificate can be exchanged while the gateway runs ([`Identity::reload`]): one that is not usable
//! changes nothing.

mod dates;

use std::{fmt, path::Path, sync::Arc};

use parking_lot::RwLock;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use crate::{
    auth::clock,
    config::{ClientCertificates, Tls},
    json::instant,
};

/// Days before its end from which on a certificate is warned about.
const WARNING_DAYS: i64 = 14;

/// Why TLS cannot be set up. Each says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file has no certificates.
    #[error("certificate {0}: {1}. Write the chain there in PEM, the server's own certificate first")]
    Certificate(String, String),
    /// The file has no key.
    #[error("key {0}: {1}. Write the certificate's private key there in PEM, without a passphrase")]
    Key(String, String),
    /// The key is another certificate's.
    #[error(
        "key {key} does not belong to certificate {certificate}. Write the key there that the certificate was made for"
    )]
    Mismatch {
        /// File with the key.
        key: String,
        /// File with the certificate.
        certificate: String,
    },
    /// The certificate is not valid now.
    #[error("certificate {file} is valid from {from} to {to}, which is not now. Renew it, or set this machine's clock")]
    Dates {
        /// File with the certificate.
        file: String,
        /// First moment.
        from: String,
        /// Last moment.
        to: String,
    },
    /// The authority of client certificates cannot be used.
    #[error("client_authority {0}: {1}. Write the certificates there in PEM whose holders vouch for clients")]
    Authority(String, String),
}

/// The certificate that the server shows, and its key.
#[derive(Debug)]
pub struct Identity {
    settings: Tls,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Identity {
    /// Reads the certificate and the key again, for connections that come from now on.
    ///
    /// # Errors
    /// As a start would refuse them; then the old ones stay.
    pub fn reload(&self) -> Result<(), TlsError> {
        let read = certified(&self.settings, clock())?;
        *self.current.write() = Arc::new(read);
        Ok(())
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

/// Reads certificates and key as they are configured.
///
/// # Errors
/// What cannot be used, and what to do about it.
pub fn open(settings: &Tls) -> Result<(ServerConfig, Arc<Identity>), TlsError> {
    let current = RwLock::new(Arc::new(certified(settings, clock())?));
    let identity = Arc::new(Identity { settings: settings.clone(), current });
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for every version that is compiled in");
    let builder = match (&settings.client_authority, settings.client_certificates) {
        (Some(file), Some(wanted)) => builder.with_client_cert_verifier(verifier(file, wanted)?),
        _ => builder.with_no_client_auth(),
    };
    let resolver: Arc<dyn ResolvesServerCert> = Arc::<Identity>::clone(&identity);
    Ok((builder.with_cert_resolver(resolver), identity))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn verifier(
    file: &Path,
    wanted: ClientCertificates,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let refused = |problem: &dyn fmt::Display| TlsError::Authority(file.display().to_string(), problem.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in chain(file).map_err(|problem| refused(&problem))? {
        roots.add(certificate).map_err(|problem| refused(&problem))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = match wanted {
        ClientCertificates::Required => builder,
        ClientCertificates::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|problem| refused(&problem))
}

/// The certificates of a file, at least one.
fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err("has no certificate".to_owned()),
        other => other.map_err(|error| error.to_string()),
    }
}

/// `now` in Unix seconds.
fn certified(settings: &Tls, now: i64) -> Result<CertifiedKey, TlsError> {
    let (file, key_file) = (settings.certificate.display().to_string(), settings.key.display().to_string());
    let chain = chain(&settings.certificate).map_err(|problem| TlsError::Certificate(file.clone(), problem))?;
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .map_err(|problem| TlsError::Key(key_file.clone(), problem.to_string()))?;
    let (from, to) = dates::validity(&chain[0])
        .ok_or_else(|| TlsError::Certificate(file.clone(), "is not an X.509 certificate".to_owned()))?;
    if now < from || now > to {
        return Err(TlsError::Dates { file, from: instant(from), to: instant(to) });
    }
    if to - now < WARNING_DAYS * 86_400 {
        tracing::warn!(file, ends = instant(to), "the certificate ends soon: renew it, then send SIGHUP");
    }
    match CertifiedKey::from_der(chain, key, &provider()) {
        Ok(certified) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch { key: key_file, certificate: file }),
        Err(problem) => Err(TlsError::Key(key_file, problem.to_string())),
    }
}

#[cfg(test)]
mod tests;
