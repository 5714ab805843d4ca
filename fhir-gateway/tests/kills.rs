//! A gateway that is killed in the middle of transactions: whatever it acknowledged is there afterwards, and
//! nothing that it did not is visible in part.
//!
//! Ten kills in each run; `CARELEDGER_KILLS=100` says how many others. A third as many are of a gateway that notifies a
//! Subscription: what was acknowledged before a kill is told after it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
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

/// An endpoint that takes every notification; gives what it was told, in order.
fn endpoint() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, told) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let own = Arc::clone(&told);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let own = Arc::clone(&own);
            // One that breaks off is the gateway's, which was killed.
            thread::spawn(move || take(&connection, &own));
        }
    });
    (address, told)
}

fn take(mut connection: &TcpStream, told: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
            if let Some((_, text)) = line.to_ascii_lowercase().split_once("content-length:") {
                length = text.trim().parse().ok()?;
            }
            head += &line;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let resource: Value = serde_json::from_slice(&body).ok()?;
        told.lock().unwrap().push(resource["identifier"][0]["value"].as_str()?.to_owned());
        write!(connection, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}

#[test]
fn what_was_acknowledged_before_a_kill_is_told_at_least_once_and_in_order() {
    let kills: u64 = env::var("CARELEDGER_KILLS").map_or(10, |kills| kills.parse().expect("a number of kills"));
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::new(folder.path());
    let (address, told) = endpoint();
    let file = gateway.home.join("gateway.toml");
    let trusted = format!("trusted_endpoints = [\"http://{address}\"]");
    let config = fs::read_to_string(&file).unwrap();
    assert!(config.contains("trusted_endpoints = []"), "{config}");
    fs::write(&file, config.replace("trusted_endpoints = []", &trusted)).unwrap();
    gateway.start();
    let subscription = json!({
        "resourceType": "Subscription", "status": "requested", "reason": "a test", "criteria": "Patient",
        "channel": { "type": "rest-hook", "endpoint": format!("http://{address}/hook"), "payload": "application/fhir+json" },
    });
    let made = gateway.ask("POST", "/Subscription", &gateway.token(), Some(&subscription)).unwrap();
    assert_eq!(made.0, 201, "{}", made.1);
    gateway.kill();
    let mut random = StdRng::seed_from_u64(2);
    let next = AtomicU64::new(0);
    let mut acknowledged = Vec::new();
    for _ in 0..kills.div_ceil(3) {
        acknowledged.extend(round(&mut gateway, &next, random.random_range(0..GROWTH_BYTES_MAX)).acknowledged);
    }
    gateway.start();
    let token = gateway.token();
    let history = |told: &Mutex<Vec<String>>| -> Vec<String> { told.lock().unwrap().clone() };
    let deadline = Instant::now() + DEADLINE;
    let is_told = |identifier: &String| history(&told).iter().filter(|found| *found == identifier).count() >= PATIENTS;
    while !acknowledged.iter().all(is_told) {
        assert!(Instant::now() < deadline, "{} of {} were told", history(&told).len(), acknowledged.len() * PATIENTS);
        thread::sleep(POLL);
    }
    // The first time that each was told: in the order in which they became visible.
    let mut first: Vec<String> = Vec::new();
    history(&told).into_iter().for_each(|identifier| {
        if !first.contains(&identifier) {
            first.push(identifier);
        }
    });
    let (status, body) = gateway.ask("GET", "/Patient?_count=500&_elements=identifier", &token, None).unwrap();
    assert_eq!(status, 200, "{body}");
    let bundle: Value = serde_json::from_str(&body).unwrap();
    let mut visible: Vec<String> = Vec::new();
    for entry in bundle["entry"].as_array().unwrap() {
        let identifier = entry["resource"]["identifier"][0]["value"].as_str().unwrap().to_owned();
        if !visible.contains(&identifier) {
            visible.push(identifier);
        }
    }
    let length = first.len().min(visible.len());
    assert!(length > 0 && first[..length] == visible[..length], "told {first:?}, and visible are {visible:?}");
    eprintln!("{} acknowledged, {} notifications", acknowledged.len() * PATIENTS, history(&told).len());
}
