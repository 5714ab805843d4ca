//! TLS to PostgreSQL: the server proves by a certificate that it is the one of the address, or there is no
//! connection.
//!
//! Absent on purpose: the system's authorities, any of which could vouch for another server; and channel
//! binding, by which a client notices a middleman whom its certificates did not tell it about.

use std::{
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject as _},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Socket,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_rustls::TlsConnector;

/// Whom to trust. Cheap to clone.
#[derive(Clone)]
pub struct Tls(TlsConnector);

impl Tls {
    /// Trusts the certificates of a file in PEM, and no others.
    ///
    /// # Errors
    /// What is wrong with the file, and what to do.
    pub fn read(file: &Path) -> Result<Self, String> {
        let refused = |problem: String| {
            format!(
                "root_certificate {}: {problem}. Write the certificates there in PEM that PostgreSQL is trusted by",
                file.display()
            )
        };
        let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = read.map_err(|error| refused(error.to_string()))?;
        if certificates.is_empty() {
            return Err(refused("has no certificate".to_owned()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for every version that is compiled in")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, InvalidDnsNameError> {
        Ok(Handshake { connector: self.0.clone(), host: ServerName::try_from(host.to_owned())? })
    }
}

/// A handshake with one server.
pub struct Handshake {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let stream = self.connector.connect(self.host, socket).await?;
            Ok(Encrypted(Box::new(stream)))
        })
    }
}

/// A connection that others can neither read nor alter.
pub struct Encrypted(Box<tokio_rustls::client::TlsStream<Socket>>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Fault, Postgres, Settings},
        *,
    };

    /// Certificates of tests: the server's is for `127.0.0.1` and `localhost`, by this authority.
    const AUTHORITY: &str = "authority.pem";
    const OTHER_AUTHORITY: &str = "other-authority.pem";

    fn trusting(authority: &str) -> Tls {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/testdata");
        Tls::read(&folder.join(authority)).expect("certificates of tests")
    }

    /// What the server says of the connection: whether it is encrypted.
    fn connected(host: Option<&str>, tls: Option<Tls>) -> Option<Result<bool, Fault>> {
        let Some(settings) = Settings::for_test() else {
            println!("SKIPPED, not passed: CARELEDGER_TEST_POSTGRES names no server");
            return None;
        };
        let postgres = Postgres::open(settings.encrypted(host, tls)).expect("threads");
        Some(postgres.session().and_then(|session| {
            session.run(|connected| async move {
                let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
                connected.client().query_one(sql, &[]).await?.try_get(0)
            })
        }))
    }

    #[test]
    fn a_server_that_proves_to_be_the_one_of_the_address_is_spoken_to_in_secret() {
        let Some(encrypted) = connected(None, Some(trusting(AUTHORITY))) else { return };
        assert_eq!(encrypted, Ok(true));
        assert_eq!(connected(Some("localhost"), Some(trusting(AUTHORITY))), Some(Ok(true)));
        assert_eq!(connected(None, None), Some(Ok(false)), "what was configured, and nothing else");
    }

    #[test]
    fn a_server_that_does_not_prove_it_is_not_spoken_to() {
        // Another authority's word, and a certificate that is for another name of the same machine.
        for (host, authority) in [(None, OTHER_AUTHORITY), (Some("other.example.org"), AUTHORITY)] {
            let Some(refused) = connected(host, Some(trusting(authority))) else { return };
            let Err(Fault::Refused { advice, .. }) = refused else { panic!("{host:?} {authority}: {refused:?}") };
            assert!(advice.contains("root_certificate"), "{advice}");
        }
    }

    #[test]
    fn a_file_that_holds_no_certificate_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("root.pem");
        for text in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")] {
            if let Some(text) = text {
                std::fs::write(&file, text).expect("written");
            }
            let problem = Tls::read(&file).err().expect("refused");
            assert!(problem.contains("root.pem") && problem.contains("PEM"), "{problem}");
        }
    }
}
