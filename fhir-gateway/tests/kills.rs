//! A gateway that is killed in the middle of transactions: whatever it acknowledged is there afterwards, and
//! nothing that it did not is visible in part.
//!
//! Ten kills in each run; `CARELEDGER_KILLS=100` says how many others.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(1);
/// Longest that a condition may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// Clients that send at once.
const SENDERS: u64 = 3;
/// Patients in a transaction.
const PATIENTS: usize = 3;
/// Bytes by which the files grow at most before the gateway is killed: some transactions.
const GROWTH_BYTES_MAX: u64 = 1_000_000;
const SYSTEM: &str = "urn:careledger:kills";

/// An organization's gateway in a process of its own.
struct Gateway {
    home: PathBuf,
    listen: SocketAddr,
    process: Option<Child>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_careledger-gateway"))
}

impl Gateway {
    fn new(folder: &Path) -> Self {
        let home = folder.join("gateway");
        // Held together, so that they differ.
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [listen, rpc] = free.each_ref().map(|listener| listener.local_addr().unwrap());
        drop(free);
        let mut init = program();
        init.args(["init", "--organization", "riverside=provider", "--listen", &listen.to_string()]);
        let made = init.args(["--rpc-listen", &rpc.to_string(), "--folder"]).arg(&home).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { home, listen, process: None }
    }

    /// Starts it and waits until it answers.
    fn start(&mut self) {
        let mut start = program();
        start.args(["start", "--config"]).arg(self.home.join("gateway.toml"));
        self.process = Some(start.stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + DEADLINE;
        while self.ask("GET", "/metadata", "", None).is_none_or(|(status, _)| status != 200) {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the gateway ended: {ended:?}");
            assert!(Instant::now() < deadline, "the gateway is not ready in time");
            thread::sleep(POLL);
        }
    }

    /// As a power cut ends it, but for what the system has in memory.
    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // One that has ended needs no more.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn token(&self) -> String {
        let mut token = program();
        token.args(["token", "--client", "ehr", "--url", &format!("http://{}/riverside", self.listen), "--key"]);
        let output = token.arg(self.home.join("riverside/ehr.pem")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Status and body, unless the gateway went away meanwhile.
    fn ask(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Option<(u16, String)> {
        let mut connection = TcpStream::connect(self.listen).ok()?;
        connection.set_read_timeout(Some(DEADLINE)).ok()?;
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            connection,
            "{method} /riverside/fhir{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/fhir+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.listen,
            body.len(),
        )
        .ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        // The head alone is no answer: the gateway may be killed while it writes.
        let (_, body) = answer.split_once("\r\n\r\n").filter(|(_, body)| !body.is_empty())?;
        Some((status, body.to_owned()))
    }

    /// Bytes of all its files.
    fn bytes(&self) -> u64 {
        fn of(folder: &Path) -> u64 {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let size = |entry: fs::DirEntry| match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => of(&entry.path()),
                Ok(metadata) => metadata.len(),
                // Removed meanwhile.
                Err(_) => 0,
            };
            entries.map(size).sum()
        }
        of(&self.home)
    }
}

/// A transaction of patients with one identifier.
fn transaction(identifier: &str) -> Value {
    let patient = json!({
        "resource": { "resourceType": "Patient", "identifier": [{ "system": SYSTEM, "value": identifier }] },
        "request": { "method": "POST", "url": "Patient" },
    });
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": vec![patient; PATIENTS] })
}

/// What was sent, and whether it was acknowledged.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<String>,
    unanswered: Vec<String>,
}

/// Sends transactions until the gateway is killed, when its files have grown by `growth`.
fn round(gateway: &mut Gateway, next: &AtomicU64, growth: u64) -> Sent {
    gateway.start();
    let token = gateway.token();
    let before = gateway.bytes();
    let sent = Mutex::new(Sent::default());
    let mut process = gateway.process.take().unwrap();
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                loop {
                    let identifier = format!("transaction-{}", next.fetch_add(1, Ordering::SeqCst));
                    let answer = gateway.ask("POST", "", &token, Some(&transaction(&identifier)));
                    let mut sent = sent.lock().unwrap();
                    match answer {
                        Some((200, _)) => sent.acknowledged.push(identifier),
                        Some((status, body)) => panic!("{status}: {body}"),
                        None => return sent.unanswered.push(identifier),
                    }
                }
            });
        }
        let deadline = Instant::now() + DEADLINE;
        while gateway.bytes() < before + growth && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        process.kill().unwrap();
        process.wait().unwrap();
    });
    assert!(gateway.process.is_none());
    sent.into_inner().unwrap()
}

fn total(gateway: &Gateway, token: &str, identifier: &str) -> u64 {
    let path = format!("/Patient?identifier={SYSTEM}%7C{identifier}&_summary=count");
    let (status, body) = gateway.ask("GET", &path, token, None).expect("the gateway answers");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["total"].as_u64().unwrap()
}

#[test]
fn what_a_killed_gateway_acknowledged_is_there_and_nothing_else_is_there_in_part() {
    let kills: u64 = env::var("CARELEDGER_KILLS").map_or(10, |kills| kills.parse().expect("a number of kills"));
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::new(folder.path());
    let mut random = StdRng::seed_from_u64(1);
    let next = AtomicU64::new(0);
    let mut sent = Sent::default();
    for _ in 0..kills {
        let round = round(&mut gateway, &next, random.random_range(0..GROWTH_BYTES_MAX));
        sent.acknowledged.extend(round.acknowledged);
        sent.unanswered.extend(round.unanswered);
    }
    assert!(!sent.acknowledged.is_empty() && !sent.unanswered.is_empty(), "the kills came between requests only");
    gateway.start();
    let token = gateway.token();
    let whole = PATIENTS as u64;
    for identifier in &sent.acknowledged {
        assert_eq!(total(&gateway, &token, identifier), whole, "{identifier} was acknowledged");
    }
    let totals: Vec<_> = sent.unanswered.iter().map(|identifier| total(&gateway, &token, identifier)).collect();
    assert!(totals.iter().all(|total| [0, whole].contains(total)), "a part of a transaction is visible: {totals:?}");
    eprintln!("{kills} kills: {} acknowledged, {} unanswered", sent.acknowledged.len(), sent.unanswered.len());
    gateway.kill();
    let verified = program().args(["verify", "--config"]).arg(gateway.home.join("gateway.toml")).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
