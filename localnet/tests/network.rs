//! The network commands against real CometBFT nodes, with its built-in key-value store as the application.

#![expect(clippy::unwrap_used, reason = "a failure is the test's own")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(50);

/// Only turns a hang into a failure.
const DEADLINE: Duration = Duration::from_secs(120);

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("network")
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_careledger-localnet"));
        command.args(words.split_whitespace()).arg("--home").arg(self.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed; returns what it printed.
    fn run(&self, words: &str) -> String {
        let output = self.command(words).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "`{words}` ended with {}: {text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// Runs a command that must fail; returns why it did.
    fn refused(&self, words: &str) -> String {
        let output = self.command(words).output().unwrap();
        assert!(!output.status.success(), "`{words}` succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Process ids that the supervisor recorded, by process.
    fn pids(&self) -> BTreeMap<String, String> {
        let Ok(entries) = fs::read_dir(self.path().join("pids")) else {
            return BTreeMap::new();
        };
        entries
            .flatten()
            .map(|entry| {
                let name = entry.path().file_stem().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(entry.path()).unwrap_or_default())
            })
            .collect()
    }
}

impl Drop for Home {
    /// A failed test must not leave its network behind.
    fn drop(&mut self) {
        if self.path().exists() {
            let _stopped = self.command("down").stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
}

fn runs(pid: &str) -> bool {
    Command::new("ps").args(["-o", "pid=", "-p", pid]).stdout(Stdio::null()).status().unwrap().success()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "{what}");
        thread::sleep(POLL);
    }
}

#[test]
fn four_validators_agree_while_one_is_killed_and_revived_on_either_node_program() {
    for node in ["careledger", "stock"] {
        let home = Home::new();
        home.run(&format!("up --app socket-kvstore --gateways 0 --node {node}"));
        home.run("check");
        home.run("kill --validator 3");
        assert!(home.run("status").contains("was killed on request"));
        let refused = home.refused("check");
        assert!(refused.contains("validator 3 does not answer; the others agree up to height"), "{refused}");
        home.run("revive --validator 3");
        eventually("the revived validator never agreed", || home.command("check").output().unwrap().status.success());
        home.run("down");
        assert_eq!(home.pids(), BTreeMap::new(), "a stopped network leaves no process ids");
        assert!(home.run("down").contains("did not run"));
        assert!(home.refused("check").contains("no network runs in"), "a network that does not run is not a sick one");
    }
}

#[test]
fn a_network_survives_the_death_of_a_node_of_its_supervisor_and_of_its_launcher() {
    let home = Home::new();
    home.run("up --app kvstore --gateways 0");
    assert!(home.refused("up --app kvstore --gateways 0").contains("already runs"));

    let before = home.pids();
    kill(&before["v1-node"]);
    eventually("the killed node was not started again", || home.run("status").contains("1 restarts"));

    kill(&before["supervisor"]);
    eventually("the supervisor still answers", || home.run("status").contains("does not run"));
    let orphans = home.pids();
    assert!(runs(&orphans["v0-node"]), "the nodes outlive their supervisor");
    assert!(home.run("up --app kvstore --gateways 0").contains("left behind"));
    assert!(!runs(&orphans["v0-node"]), "the orphans were stopped before the new nodes started");
    home.run("check");

    kill(&home.pids()["supervisor"]);
    home.run("down");
    assert_eq!(home.pids(), BTreeMap::new());
}

#[test]
fn a_reader_of_the_status_that_leaves_early_is_no_failure_and_ports_that_changed_are_told() {
    let home = Home::new();
    home.run("up --app kvstore --gateways 0");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = home.command("status").stdout(writer).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
    home.run("down");

    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(home.path().join("network.json")).unwrap()).unwrap();
    let first = u16::try_from(record["first_port"].as_u64().unwrap()).unwrap();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", first)).unwrap();
    let told = home.run("up --app kvstore --gateways 0");
    assert!(told.contains(&format!("not at {first}; source localnet.env again")), "{told}");
    home.run("check");
}

#[test]
fn a_process_id_that_now_belongs_to_someone_else_is_left_alone() {
    let home = Home::new();
    home.run("up --app kvstore --gateways 0");
    home.run("down");
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(home.path().join("pids/v0-node.pid"), stranger.id().to_string()).unwrap();
    assert!(home.run("down").contains("did not run"));
    assert!(runs(&stranger.id().to_string()));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_home_that_holds_something_else_is_never_removed() {
    let home = Home::new();
    fs::create_dir_all(home.path()).unwrap();
    let precious = home.path().join("thesis.tex");
    fs::write(&precious, "years of work").unwrap();
    for words in ["up --app kvstore --gateways 0", "up --app kvstore --gateways 0 --fresh"] {
        assert!(home.refused(words).contains("thesis.tex"), "{words}");
    }
    assert!(Path::exists(&precious));
    fs::remove_dir_all(home.path()).unwrap();
}
