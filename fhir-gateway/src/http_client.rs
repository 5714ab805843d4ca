//! HTTP clients that also work where the system trusts no certificate authority: a container often
//! has none, and a peer on a private network may need none.

use std::{fs, path::Path};

use reqwest::{Certificate, Client, ClientBuilder};

/// Authorities that are trusted besides those of the system.
#[derive(Debug, Clone, Default)]
pub struct Trust(Vec<Certificate>);

impl Trust {
    /// The certificates of a file in PEM; none where there is no file.
    ///
    /// # Errors
    /// What is wrong with the file, and what to do.
    pub fn read(file: Option<&Path>) -> Result<Self, String> {
        let Some(file) = file else { return Ok(Self::default()) };
        let refused = |problem: String| {
            format!(
                "trusted_authorities {}: {problem}. Write the certificates there in PEM that peers are trusted by",
                file.display()
            )
        };
        let text = fs::read(file).map_err(|error| refused(error.to_string()))?;
        match Certificate::from_pem_bundle(&text) {
            Ok(certificates) if certificates.is_empty() => Err(refused("has no certificate".to_owned())),
            Ok(certificates) => Ok(Self(certificates)),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

/// A client as `builder` describes it, which trusts the system's authorities and `trust`. Where the system has
/// none, only those of `trust` are; without any every `https://` address is refused, and the log says so.
///
/// # Errors
/// Where TLS cannot be set up at all.
pub fn build(builder: impl Fn() -> ClientBuilder, trust: &Trust) -> reqwest::Result<Client> {
    let own = || trust.0.iter().cloned();
    let merged = || if trust.0.is_empty() { builder() } else { builder().tls_certs_merge(own()) };
    merged().build().or_else(|error| {
        tracing::warn!(
            %error,
            "the system trusts no certificate authority: https addresses of others than trusted_authorities will be \
             refused; install the package ca-certificates"
        );
        builder().tls_certs_only(own()).build()
    })
}
