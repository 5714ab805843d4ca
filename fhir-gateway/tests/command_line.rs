//! `careledger-gateway` as a process of its own.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Time between two looks at whether the gateway is ready.
const POLL: Duration = Duration::from_millis(50);
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

/// A process that ends with the test, also where the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended needs no more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The whole answer to a GET, if somebody listens.
fn get(address: SocketAddr, path: &str, token: &str) -> Option<String> {
    let mut connection = TcpStream::connect(address).ok()?;
    let headers = format!("host: {address}\r\nauthorization: Bearer {token}\r\nconnection: close");
    write!(connection, "GET {path} HTTP/1.1\r\n{headers}\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// What the operator's tools read, from a gateway that runs.
#[test]
fn a_gateway_that_init_made_passes_its_check_and_says_that_it_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("gateway");
    let gateway = || Command::new(env!("CARGO_BIN_EXE_careledger-gateway"));
    // Held together, so that they differ.
    let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [listen, rpc, operations] = free.each_ref().map(|listener| listener.local_addr().unwrap());
    drop(free);
    let made = gateway()
        .args(["init", "--organization", "riverside=provider", "--listen", &listen.to_string()])
        .args(["--rpc-listen", &rpc.to_string(), "--folder"])
        .arg(&home)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let file = home.join("gateway.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("[server]\n", &format!("[server]\noperations_listen = \"{operations}\"\n"), 1))
        .unwrap();

    let check = || gateway().args(["check", "--config"]).arg(&file).output().unwrap();
    let checked = check();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && said.contains("riverside: keystore opens, account care1"), "{said}");

    let started = gateway().args(["start", "--config"]).arg(&file).stderr(Stdio::null()).spawn();
    let mut running = Running(started.unwrap());
    let ask = |path: &str| get(operations, path, "");
    let deadline = Instant::now() + Duration::from_secs(60);
    while ask("/ready").is_none_or(|answer| !answer.ends_with("ready\n")) {
        assert!(running.0.try_wait().unwrap().is_none(), "the gateway ended");
        assert!(Instant::now() < deadline, "the gateway is not ready in time");
        thread::sleep(POLL);
    }
    assert!(ask("/health").is_some_and(|answer| answer.ends_with("alive\n")));
    assert!(ask("/metrics").is_some_and(|answer| answer.contains("careledger_gateway_ledger_block_time_seconds")));

    let file = folder.path().join("patients.ndjson");
    let lines = [
        r#"{"resourceType":"Patient","id":"kept","gender":"other"}"#,
        r#"{"resourceType":"Patient","gender":"no such gender"}"#,
        r#"{"resourceType":"Patient","gender":"female"}"#,
    ];
    fs::write(&file, lines.join("\n")).unwrap();
    let import = || {
        let mut import = gateway();
        import.args(["import", "--client", "ehr", "--url", &format!("http://{listen}/riverside"), "--key"]);
        let output = import.arg(home.join("riverside/ehr.pem")).arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.success(), said)
    };
    let (succeeded, said) = import();
    assert!(!succeeded && said.contains("line 2: 4") && said.contains("3 of 3"), "{said}");
    let refused = fs::read_to_string(folder.path().join("patients.ndjson.refused.ndjson")).unwrap();
    assert_eq!(refused.trim_end(), lines[1]);
    // Stopped after the first line, as a kill would leave it: nothing is stored twice.
    fs::write(folder.path().join("patients.ndjson.imported"), "1\n").unwrap();
    let (_, said) = import();
    assert!(said.contains("going on after 1 of 3"), "{said}");
    let mut token = gateway();
    token.args(["token", "--client", "ehr", "--url", &format!("http://{listen}/riverside"), "--key"]);
    let token = String::from_utf8(token.arg(home.join("riverside/ehr.pem")).output().unwrap().stdout).unwrap();
    let found = get(listen, "/riverside/fhir/Patient?_summary=count", token.trim_end()).unwrap();
    assert!(found.contains(r#""total":2"#), "{found}");
    let metrics = ask("/metrics").unwrap();
    let put = r#"careledger_gateway_requests_total{method="PUT",status="201"} 1"#;
    assert!(metrics.lines().any(|line| line == put), "{metrics}");
    drop(running);

    fs::remove_file(home.join("riverside/ehr.jwks.json")).unwrap();
    let checked = check();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success() && said.contains("keys of client ehr"), "{said}");
}
