use std::{fs, path::PathBuf};

use super::*;

/// Test certificates, made with OpenSSL for these tests only.
const SERVER: &[u8] = include_bytes!("../testdata/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("../testdata/server.key");
const OTHER: &[u8] = include_bytes!("../testdata/other-server.pem");
const OTHER_KEY: &[u8] = include_bytes!("../testdata/other-server.key");
const AUTHORITY: &[u8] = include_bytes!("../testdata/authority.pem");

const IN_2019: i64 = 1_575_000_000;
const IN_2030: i64 = 1_900_000_000;
const IN_2121: i64 = 4_770_000_000;

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.write("certificate.pem", SERVER);
        files.write("key.pem", SERVER_KEY);
        files.write("authority.pem", AUTHORITY);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap();
    }

    fn settings(&self) -> Tls {
        Tls {
            certificate: self.path("certificate.pem"),
            key: self.path("key.pem"),
            client_authority: Some(self.path("authority.pem")),
            client_certificates: Some(ClientCertificates::Required),
        }
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_with_what_to_do_next() {
    let cases: &[(&str, &[u8], i64, &str)] = &[
        ("certificate.pem", b"", IN_2030, "has no certificate. Write the chain there"),
        ("certificate.pem", SERVER_KEY, IN_2030, "has no certificate. Write the chain there"),
        ("certificate.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", IN_2030, "X.509"),
        ("key.pem", b"", IN_2030, "Write the certificate's private key there"),
        ("key.pem", SERVER, IN_2030, "Write the certificate's private key there"),
        ("key.pem", OTHER_KEY, IN_2030, "does not belong to certificate"),
        (
            "certificate.pem",
            SERVER,
            IN_2019,
            "valid from 2020-01-01T00:00:00Z to 2120-01-01T00:00:00Z, which is not now",
        ),
        ("certificate.pem", SERVER, IN_2121, "which is not now. Renew it"),
    ];
    for (name, content, now, expected) in cases {
        let files = Files::new();
        assert!(certified(&files.settings(), IN_2030).is_ok());
        files.write(name, content);
        let problem = certified(&files.settings(), *now).unwrap_err().to_string();
        assert!(problem.contains(expected), "{expected}: {problem}");
        assert!(problem.contains(name), "the file is named: {problem}");
    }
    let files = Files::new();
    for missing in ["key.pem", "certificate.pem"] {
        fs::remove_file(files.path(missing)).unwrap();
        assert!(certified(&files.settings(), IN_2030).unwrap_err().to_string().contains(missing));
    }
}

#[test]
fn an_authority_of_clients_that_cannot_be_used_is_refused_at_the_start() {
    let files = Files::new();
    open(&files.settings()).unwrap();
    for content in [&b""[..], SERVER_KEY] {
        files.write("authority.pem", content);
        let problem = open(&files.settings()).unwrap_err().to_string();
        assert!(problem.starts_with("client_authority") && problem.contains("authority.pem"), "{problem}");
    }
}

#[test]
fn a_certificate_is_exchanged_while_the_gateway_runs_and_a_broken_one_changes_nothing() {
    let files = Files::new();
    let (_, identity) = open(&files.settings()).unwrap();
    let shown = || identity.current.read().cert[0].to_vec();
    let first = shown();
    identity.reload().unwrap();
    assert_eq!(shown(), first);
    files.write("certificate.pem", OTHER);
    assert!(matches!(identity.reload(), Err(TlsError::Mismatch { .. })));
    assert_eq!(shown(), first);
    files.write("key.pem", OTHER_KEY);
    identity.reload().unwrap();
    assert_ne!(shown(), first);
}
