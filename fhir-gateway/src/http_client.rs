//! HTTP clients that also work where the system trusts no certificate authority: a container often
//! has none, and a peer on a private network may need none.

use reqwest::{Client, ClientBuilder};

/// A client as `builder` describes it. Where the system has no certificates, it reaches `http://`
/// addresses, refuses every `https://` one, and says so in the log.
///
/// # Errors
/// Where TLS cannot be set up at all.
pub fn build(builder: impl Fn() -> ClientBuilder) -> reqwest::Result<Client> {
    builder().build().or_else(|error| {
        tracing::warn!(
            %error,
            "no certificate authority is trusted: https addresses will be refused; install the package ca-certificates"
        );
        builder().tls_certs_only([]).build()
    })
}
