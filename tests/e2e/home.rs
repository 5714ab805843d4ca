//! A network of its own in a temporary folder, through the commands that an operator types.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use careledger_tests::root;
use serde_json::{Value, json};

/// How often a condition is looked at while waiting for it.
pub const POLL: Duration = Duration::from_millis(100);
/// Only turns a hang into a failure.
const DEADLINE: Duration = Duration::from_secs(120);
/// How many validators `localnet/networks/four.toml` has.
pub const VALIDATORS: usize = 4;

static BUILT: Once = Once::new();

/// Cargo's target folder: this test's own executable is in it.
pub fn target() -> PathBuf {
    let program = env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().to_owned()
}

/// A program that cargo built.
pub fn built(program: &str) -> PathBuf {
    BUILT.call_once(build);
    target().join("debug").join(program)
}

/// A program of the ledger's examples that cargo built.
pub fn example(program: &str) -> PathBuf {
    BUILT.call_once(build);
    target().join("debug/examples").join(program)
}

/// Builds all programs: cargo builds for a test only those of its own package. The first of them builds the rest.
fn build() {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut first = Command::new(cargo);
    first.args(["build", "--locked", "--workspace", "--features", "careledger_zk/prover", "--bins", "--examples"]);
    let mut rest = Command::new(target().join("debug/careledger-localnet"));
    rest.arg("build");
    for command in [&mut first, &mut rest] {
        // Build scripts would be run again for what cargo tells this test about itself.
        for (name, _) in env::vars_os() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_NAME", "CARGO_BIN_", "CARGO_PRIMARY_PACKAGE"]
                .iter()
                .any(|prefix| name.to_string_lossy().starts_with(prefix))
            {
                command.env_remove(name);
            }
        }
        succeeded(command.env("CARGO_TARGET_DIR", target()).current_dir(root()));
    }
}

/// Runs a command that must succeed; returns what it printed.
pub fn succeeded(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Waits for a condition.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "{what}");
        thread::sleep(POLL);
    }
}

/// A home in a temporary folder.
pub struct Home {
    folder: tempfile::TempDir,
    /// Where the network's programs are: laid out as cargo's target folder.
    programs: PathBuf,
}

impl Home {
    pub fn new() -> Self {
        Self::over(&target())
    }

    /// One whose processes run the programs of this folder.
    pub fn over(programs: &Path) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), programs: programs.to_owned() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("network")
    }

    fn output(&self, words: &[&str]) -> Output {
        let mut command = Command::new(built("careledger-localnet"));
        command.args(words).arg("--home").arg(self.path()).env("CARGO_TARGET_DIR", &self.programs).current_dir(root());
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command of careledger-localnet that must succeed; returns what it printed.
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?} ended with {}:\n{text}\n{errors}\n{}", output.status, self.logs());
        text
    }

    /// Whether a command succeeds.
    pub fn succeeds(&self, words: &[&str]) -> bool {
        self.output(words).status.success()
    }

    /// Runs a command that must fail; returns why it did.
    pub fn refused(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert!(!output.status.success(), "{words:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The last lines of every gateway's log, for a failure.
    fn logs(&self) -> String {
        let mut text = String::new();
        for name in ["g0", "g1"] {
            let log = fs::read_to_string(self.path().join(format!("logs/{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            text.push_str(&format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(20)..].join("\n")));
        }
        text
    }

    /// The variables of an environment file in the home.
    pub fn environment(&self, file: &str) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.path().join(file)).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect()
    }

    /// A variable of the network's environment.
    pub fn variable(&self, name: &str) -> String {
        self.environment("localnet.env").remove(name).unwrap_or_else(|| panic!("localnet.env has no {name}"))
    }

    /// Process ids that the supervisor recorded, by process.
    pub fn pids(&self) -> BTreeMap<String, String> {
        let Ok(entries) = fs::read_dir(self.path().join("pids")) else { return BTreeMap::new() };
        let pid = |path: &Path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path));
        entries.flatten().map(|entry| pid(&entry.path())).map(|(name, pid)| (name, pid.unwrap())).collect()
    }

    /// An access token of an organization's EHR, through the real exchange.
    pub fn token(&self, organization: &str) -> String {
        let upper = organization.to_uppercase();
        let variable = |name: &str| self.variable(&format!("{upper}_{name}"));
        let text = succeeded(
            Command::new(built("careledger-gateway"))
                .args(["token", "--client", &variable("CLIENT_ID"), "--key", &variable("CLIENT_KEY")])
                .args(["--url", variable("BASE_URL").trim_end_matches("/fhir")]),
        );
        text.trim().to_owned()
    }

    /// Asks the node of validator `index`.
    pub fn rpc(&self, index: usize, method: &str, parameters: &Value) -> Value {
        let answer = self.ask(index, method, parameters);
        answer.unwrap_or_else(|error| panic!("{method} at validator {index}: {error}"))
    }

    /// As [`Self::rpc`]; an error of the node is an answer too.
    pub fn ask(&self, index: usize, method: &str, parameters: &Value) -> Result<Value, Value> {
        let address = self.variable(&format!("CARELEDGER_RPC_{index}"));
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
        let mut response = ureq::post(&address).send_json(request).unwrap();
        let mut answer: Value = response.body_mut().read_json().unwrap();
        if answer.get("error").is_none() { Ok(answer["result"].take()) } else { Err(answer) }
    }

    /// The last height of validator `index`.
    pub fn height(&self, index: usize) -> u64 {
        let status = self.rpc(index, "status", &json!({}));
        status["sync_info"]["latest_block_height"].as_str().unwrap().parse().unwrap()
    }

    /// Whether validator `index` answers and has the block of a height.
    pub fn reaches(&self, index: usize, height: u64) -> bool {
        let address = self.variable(&format!("CARELEDGER_RPC_{index}"));
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "status", "params": {}});
        let Ok(mut response) = ureq::post(&address).send_json(request) else { return false };
        let answer: Value = response.body_mut().read_json().unwrap_or_default();
        let latest = answer["result"]["sync_info"]["latest_block_height"].as_str();
        latest.and_then(|latest| latest.parse().ok()).is_some_and(|latest: u64| latest >= height)
    }

    /// A value of the state of validator `index`; `None` where nothing is under the key.
    pub fn state(&self, index: usize, key: &[u8]) -> Option<Vec<u8>> {
        let parameters = json!({"path": "/store/careledger/key", "data": hex::encode(key), "prove": false});
        let answer = self.rpc(index, "abci_query", &parameters);
        let value = answer["response"]["value"].as_str().filter(|value| !value.is_empty())?;
        Some(BASE64_STANDARD.decode(value).unwrap())
    }
}

impl Drop for Home {
    /// A failed test must not leave its processes behind.
    fn drop(&mut self) {
        if self.path().join("network.json").exists() {
            self.output(&["down"]);
        }
    }
}
