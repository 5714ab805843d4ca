//! `careledger-gateway` as a process of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
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

/// The settings are built in, where cargo finds `.cargo/config.toml`: without them a gateway holds much more memory.
#[cfg(target_os = "linux")]
#[test]
fn it_allocates_as_it_was_configured() {
    let output = Command::new(env!("CARGO_BIN_EXE_careledger-gateway"))
        .arg("--version")
        .env("MALLOC_CONF", "stats_print:true")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    for setting in ["narenas: 1", "dirty_decay_ms: 100", "muzzy_decay_ms: 0", "background_thread: true"] {
        assert!(said.contains(&format!("opt.{setting}")), "{setting}: {said}");
    }
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

/// What `init` made in a folder, with an address for the operator's tools.
struct Home {
    folder: PathBuf,
    listen: SocketAddr,
    operations: SocketAddr,
}

fn gateway() -> Command {
    Command::new(env!("CARGO_BIN_EXE_careledger-gateway"))
}

impl Home {
    fn make(folder: PathBuf) -> Self {
        // Held together, so that they differ.
        let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [listen, rpc, operations] = free.each_ref().map(|listener| listener.local_addr().unwrap());
        drop(free);
        let made = gateway()
            .args(["init", "--organization", "riverside=provider", "--listen", &listen.to_string()])
            .args(["--rpc-listen", &rpc.to_string(), "--folder"])
            .arg(&folder)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let home = Self { folder, listen, operations };
        let text = fs::read_to_string(home.configuration()).unwrap();
        let server = format!("[server]\noperations_listen = \"{operations}\"\n");
        fs::write(home.configuration(), text.replacen("[server]\n", &server, 1)).unwrap();
        home
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("gateway.toml")
    }

    /// Starts the gateway, and waits until it is ready.
    fn start(&self) -> Running {
        let started = gateway().args(["start", "--config"]).arg(self.configuration()).stderr(Stdio::null()).spawn();
        let mut running = Running(started.unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while get(self.operations, "/ready", "").is_none_or(|answer| !answer.ends_with("ready\n")) {
            assert!(running.0.try_wait().unwrap().is_none(), "the gateway ended");
            assert!(Instant::now() < deadline, "the gateway is not ready in time");
            thread::sleep(POLL);
        }
        running
    }

    /// A command that is a client of the gateway.
    fn client(&self, command: &str) -> Command {
        let mut client = gateway();
        client.args([command, "--client", "ehr", "--url", &format!("http://{}/riverside", self.listen), "--key"]);
        client.arg(self.folder.join("riverside/ehr.pem"));
        client
    }
}

/// Whether a command succeeded, and everything that it said.
fn said(output: Output) -> (bool, String) {
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.success(), said)
}

/// Ids of the resources in the files of a folder whose names begin so, and how many lines they have.
fn resources(folder: &Path, stem: &str) -> (BTreeSet<String>, usize) {
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(stem) && name.ends_with(".ndjson")
    };
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(is_one);
    let text: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    (text.lines().map(id).collect(), text.lines().count())
}

/// A killed gateway goes on with the exports that it had, and the command that waits for one does not notice.
#[test]
fn an_export_is_whole_although_the_gateway_was_killed_in_the_middle() {
    const BUNDLES: usize = 4;
    const PATIENTS: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::make(folder.path().join("gateway"));
    let running = home.start();
    let bundle = |number: usize| {
        let entries = (0..PATIENTS).map(|patient| {
            let id = format!("p-{number}-{patient}");
            let resource = serde_json::json!({"resourceType": "Patient", "id": id, "active": true});
            serde_json::json!({"resource": resource, "request": {"method": "PUT", "url": format!("Patient/{id}")}})
        });
        let entries: Vec<_> = entries.collect();
        serde_json::json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}).to_string()
    };
    let file = folder.path().join("patients.ndjson");
    fs::write(&file, (0..BUNDLES).map(bundle).collect::<Vec<_>>().join("\n")).unwrap();
    let (succeeded, told) = said(home.client("import").arg(&file).output().unwrap());
    assert!(succeeded, "{told}");

    let to = folder.path().join("exported");
    let mut export = home.client("export");
    let export = export.arg(&to).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // As soon as the gateway has said that it began.
    while !fs::read_to_string(to.join("export.json")).is_ok_and(|note| note.contains("bulk/")) {
        assert!(Instant::now() < deadline, "the export does not begin");
        thread::sleep(POLL / 10);
    }
    drop(running);
    let running = home.start();
    let (succeeded, told) = said(export.wait_with_output().unwrap());
    assert!(succeeded, "{told}");
    let whole = resources(&to, "Patient-");
    assert_eq!((whole.0.len(), whole.1), (BUNDLES * PATIENTS, BUNDLES * PATIENTS), "each once: {told}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&to), mode(&to.join("Patient-00000.ndjson"))), (0o700, 0o600));

    let again = || said(home.client("export").arg(&to).output().unwrap());
    let (succeeded, told) = again();
    assert!(succeeded && told.contains("complete"), "{told}");
    // Stopped before its last file; meanwhile the gateway has forgotten the export.
    let note = fs::read_to_string(to.join("export.json")).unwrap();
    fs::write(to.join("export.json"), note.replace("\"complete\": true", "\"complete\": false")).unwrap();
    let (succeeded, told) = again();
    assert!(succeeded && told.contains("beginning anew"), "{told}");
    assert_eq!(resources(&to, "Patient-"), whole);
    let (succeeded, told) = said(home.client("export").args(["--types", "Practitioner"]).arg(&to).output().unwrap());
    assert!(!succeeded && told.contains("holds another export"), "{told}");
    drop(running);
}

/// What the operator's tools read, from a gateway that runs.
#[test]
fn a_gateway_that_init_made_passes_its_check_and_says_that_it_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::make(folder.path().join("gateway"));
    let check = || gateway().args(["check", "--config"]).arg(home.configuration()).output().unwrap();
    let checked = check();
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && told.contains("riverside: keystore opens, account care1"), "{told}");

    let running = home.start();
    let ask = |path: &str| get(home.operations, path, "");
    assert!(ask("/health").is_some_and(|answer| answer.ends_with("alive\n")));
    assert!(ask("/metrics").is_some_and(|answer| answer.contains("careledger_gateway_ledger_block_time_seconds")));

    let file = folder.path().join("patients.ndjson");
    let lines = [
        r#"{"resourceType":"Patient","id":"kept","gender":"other"}"#,
        r#"{"resourceType":"Patient","gender":"no such gender"}"#,
        r#"{"resourceType":"Patient","gender":"female"}"#,
    ];
    fs::write(&file, lines.join("\n")).unwrap();
    let import = || said(home.client("import").arg(&file).output().unwrap());
    let (succeeded, told) = import();
    assert!(!succeeded && told.contains("line 2: 4") && told.contains("3 of 3"), "{told}");
    let refused = fs::read_to_string(folder.path().join("patients.ndjson.refused.ndjson")).unwrap();
    assert_eq!(refused.trim_end(), lines[1]);
    // Stopped after the first line, as a kill would leave it: nothing is stored twice.
    fs::write(folder.path().join("patients.ndjson.imported"), "1\n").unwrap();
    let (_, told) = import();
    assert!(told.contains("going on after 1 of 3"), "{told}");
    let token = String::from_utf8(home.client("token").output().unwrap().stdout).unwrap();
    let found = get(home.listen, "/riverside/fhir/Patient?_summary=count", token.trim_end()).unwrap();
    assert!(found.contains(r#""total":2"#), "{found}");
    // As a stop leaves it that came before the first note: what is there is not sent again.
    fs::write(folder.path().join("patients.ndjson.imported"), "0\n").unwrap();
    import();
    let metrics = ask("/metrics").unwrap();
    assert!(!metrics.contains(r#"method="PUT",status="200""#), "{metrics}");
    let put = r#"careledger_gateway_requests_total{method="PUT",status="201"} 1"#;
    assert!(metrics.lines().any(|line| line == put), "{metrics}");
    drop(running);

    fs::remove_file(home.folder.join("riverside/ehr.jwks.json")).unwrap();
    let checked = check();
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success() && told.contains("keys of client ehr"), "{told}");
}
