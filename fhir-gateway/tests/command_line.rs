//! `careledger-gateway` as a process of its own.

use std::{fs, process::Command};

const SMART_CONFIGURATION: &str = "http://127.0.0.1:9/general/fhir/.well-known/smart-configuration";

/// A container's image often trusts no certificate authority: a peer behind http is reached from it.
#[test]
fn a_system_without_certificate_authorities_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.pem");
    fs::write(&none, "").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_careledger-gateway"))
        // Nobody listens on the discard port: what matters is how far it comes.
        .args(["token", "--client", "ehr", "--url", "http://127.0.0.1:9/general", "--key"])
        .arg(folder.path().join("none.key"))
        .envs([("SSL_CERT_FILE", &none), ("SSL_CERT_DIR", &folder.path().to_owned())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(SMART_CONFIGURATION) && !said.contains("panicked"), "{said}");
}
