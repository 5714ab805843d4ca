//! What a real CometBFT asks the ledger and what it is answered, frame by frame, for others to replay.
//!
//! Between the two stands a proxy that lets one call through at a time, so that what it writes down is in the
//! order in which it happened. One file is one life of the application: it ends when the application is killed.
//! `app/tests/recorded.rs` replays the files of `app/golden/recordings`. To record them anew:
//! `UPDATE_GOLDEN=1 cargo test --workspace --features careledger_zk/prover --test e2e record`

use std::{
    env, fs,
    io::{self, Read, Write as _},
    net::TcpListener,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use careledger_tests::root;
use careledger_wire::{
    commitment,
    ids::Address,
    message::Message,
    proto::{
        identity::{MsgRegisterOrganization, OrganizationKind},
        records::{Anchor, MsgAnchorRecords},
    },
    transaction::{Replay, Unsigned},
};
use secp256k1::{PublicKey, SecretKey, ecdsa};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::home::{built, eventually, succeeded, target};

const CHAIN: &str = "careledger-dev-recorded";
/// Heights between two snapshots; the replaying test has the same.
const SNAPSHOT_INTERVAL: u64 = 10;
/// 2031-01-01, an end of an accreditation.
const EXPIRES_AT: i64 = 1_924_992_000;

/// Fields of ABCI's `Request` that this file asks for by name.
const INIT_CHAIN: u64 = 5;
const COMMIT: u64 = 11;
const OFFER_SNAPSHOT: u64 = 13;
const LOAD_SNAPSHOT_CHUNK: u64 = 14;
const APPLY_SNAPSHOT_CHUNK: u64 = 15;
const FINALIZE_BLOCK: u64 = 20;

/// A frame with its length before it, as it was on the wire; `None` where the stream ended.
fn frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut length = 0u64;
    for shift in (0..).step_by(7) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
        length |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let start = bytes.len();
    bytes.resize(start + usize::try_from(length).unwrap(), 0);
    stream.read_exact(&mut bytes[start..])?;
    Ok(bytes)
}

/// Which field of its message a frame sets.
fn kind(frame: &[u8]) -> u64 {
    let payload = &frame[frame.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1..];
    let tag = u64::from(payload[0] & 0x7f) | if payload[0] & 0x80 == 0 { 0 } else { u64::from(payload[1]) << 7 };
    tag >> 3
}

/// What passed so far.
#[derive(Default)]
struct Passed {
    frames: Vec<u8>,
    kinds: Vec<u64>,
    /// The Commit of the block with this transaction is not delivered: whoever waits for it kills the application.
    stops_with: Option<Vec<u8>>,
    /// That block was decided.
    stops_at_commit: bool,
    stopped: bool,
}

impl Passed {
    /// Lets one request through, and its response back.
    fn pass(&mut self, request: &[u8], application: &mut UnixStream) -> io::Result<Vec<u8>> {
        let has = |transaction: &Vec<u8>| memchr::memmem::find(request, transaction).is_some();
        self.stops_at_commit |= kind(request) == FINALIZE_BLOCK && self.stops_with.as_ref().is_some_and(has);
        self.stopped |= self.stops_at_commit && kind(request) == COMMIT;
        if self.stopped {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        application.write_all(request)?;
        let response = frame(application)?;
        self.frames.extend_from_slice(request);
        self.frames.extend_from_slice(&response);
        self.kinds.push(kind(request));
        Ok(response)
    }
}

/// Serves CometBFT at `socket` with what answers at `application`.
fn proxy(socket: &Path, application: &Path) -> Arc<Mutex<Passed>> {
    let passed = Arc::new(Mutex::new(Passed::default()));
    let listener = UnixListener::bind(socket).unwrap();
    let (application, shared) = (application.to_owned(), Arc::clone(&passed));
    thread::spawn(move || {
        for node in listener.incoming() {
            let (mut node, shared) = (node.unwrap(), Arc::clone(&shared));
            let Ok(mut application) = UnixStream::connect(&application) else { continue };
            thread::spawn(move || -> io::Result<()> {
                loop {
                    let request = frame(&mut node)?;
                    let response = shared.lock().unwrap().pass(&request, &mut application)?;
                    node.write_all(&response)?;
                }
            });
        }
    });
    passed
}

/// A process, killed when dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        let errors = log.try_clone().unwrap();
        Self(command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either it ended by itself or it ends now.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// A CometBFT node and its ledger, each life of which is recorded.
struct Recorded {
    folder: PathBuf,
    rpc: u16,
    p2p: u16,
    lives: usize,
}

/// Both processes, with what passes between them.
struct Life {
    passed: Arc<Mutex<Passed>>,
    node: Running,
    _application: Running,
}

impl Recorded {
    fn new(folder: &Path, registrar: &Address) -> Self {
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [rpc, p2p] = ports.each_ref().map(|port| port.local_addr().unwrap().port());
        let recorded = Self { folder: folder.to_owned(), rpc, p2p, lives: 0 };
        fs::create_dir_all(folder).unwrap();
        succeeded(Command::new(stock()).args(["init", "--home"]).arg(recorded.node_home()));
        let registrar = registrar.to_string();
        succeeded(
            Command::new(built("careledgerd"))
                .args(["init", "--chain-id", CHAIN, "--registrar", &registrar, "--home"])
                .arg(recorded.app_home()),
        );
        let settings = recorded.app_home().join("config/app.toml");
        edit(&settings, &[("snapshots.interval", (SNAPSHOT_INTERVAL as i64).into())]);
        edit(
            &recorded.node_home().join("config/config.toml"),
            &[
                ("rpc.laddr", format!("tcp://127.0.0.1:{rpc}").into()),
                ("p2p.laddr", format!("tcp://127.0.0.1:{p2p}").into()),
                ("p2p.addr_book_strict", false.into()),
                ("p2p.allow_duplicate_ip", true.into()),
                ("consensus.create_empty_blocks", false.into()),
                ("consensus.timeout_commit", "100ms".into()),
            ],
        );
        recorded
    }

    fn node_home(&self) -> PathBuf {
        self.folder.join("node")
    }

    fn app_home(&self) -> PathBuf {
        self.folder.join("app")
    }

    fn genesis(&self) -> PathBuf {
        self.node_home().join("config/genesis.json")
    }

    /// Starts both.
    fn live(&mut self) -> Life {
        self.lives += 1;
        let name = |what: &str| self.folder.join(format!("{what}-{}", self.lives));
        let (application, asked) = (name("app"), name("asked"));
        let mut ledger = Command::new(built("careledgerd"));
        ledger.args(["start", "--abci", &format!("unix://{}", application.display()), "--home"]).arg(self.app_home());
        let ledger = Running::start(&mut ledger, &name("app-log"));
        eventually("the ledger never listened", || application.exists());
        let passed = proxy(&asked, &application);
        let mut node = Command::new(stock());
        node.args(["start", "--proxy_app", &format!("unix://{}", asked.display()), "--home"]).arg(self.node_home());
        let node = Running::start(&mut node, &name("node-log"));
        Life { passed, node, _application: ledger }
    }

    fn ask(&self, method: &str, parameters: &Value) -> Option<Value> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
        let mut response = ureq::post(format!("http://127.0.0.1:{}", self.rpc)).send_json(request).ok()?;
        let mut answer: Value = response.body_mut().read_json().ok()?;
        answer.get("error").is_none().then(|| answer["result"].take())
    }

    fn height(&self) -> u64 {
        let status = self.ask("status", &json!({})).unwrap_or_default();
        status["sync_info"]["latest_block_height"].as_str().map_or(0, |height| height.parse().unwrap())
    }

    /// The code of CheckTx.
    fn send(&self, transaction: &[u8]) -> u64 {
        let mut answer = None;
        let parameters = json!({"tx": BASE64_STANDARD.encode(transaction)});
        eventually("the node never took a transaction", || {
            answer = self.ask("broadcast_tx_sync", &parameters);
            answer.is_some()
        });
        answer.unwrap()["code"].as_u64().unwrap()
    }

    /// Sends a transaction and waits for its block, and for the one that CometBFT makes to seal it.
    fn commit(&self, transaction: &[u8]) {
        assert_eq!(self.send(transaction), 0);
        let parameters = json!({"hash": BASE64_STANDARD.encode(Sha256::digest(transaction))});
        eventually("the transaction was never in a block", || {
            let found = self.ask("tx", &parameters).unwrap_or_default();
            let height = found["height"].as_str().and_then(|height| height.parse::<u64>().ok());
            height.is_some_and(|height| self.height() > height)
        });
    }
}

impl Life {
    /// Ends it; gives the frames and which requests there were.
    fn end(mut self) -> (Vec<u8>, Vec<u64>) {
        succeeded(Command::new("kill").args(["-TERM", &self.node.0.id().to_string()]));
        eventually("the node never ended", || self.node.0.try_wait().unwrap().is_some());
        self.into_recording()
    }

    fn into_recording(self) -> (Vec<u8>, Vec<u64>) {
        let mut passed = self.passed.lock().unwrap();
        (std::mem::take(&mut passed.frames), std::mem::take(&mut passed.kinds))
    }
}

/// CometBFT's own program.
fn stock() -> PathBuf {
    // The other programs are built with it.
    built("careledgerd");
    target().join("cometbft/cometbft")
}

/// Sets `section.key`s of a TOML file that has them.
fn edit(file: &Path, settings: &[(&str, toml::Value)]) {
    let mut table: toml::Table = fs::read_to_string(file).unwrap().parse().unwrap();
    for (path, value) in settings {
        let (section, key) = path.split_once('.').unwrap();
        let found = table[section].as_table_mut().unwrap().insert(key.to_owned(), value.clone());
        assert!(found.is_some(), "{path} is a setting");
    }
    fs::write(file, table.to_string()).unwrap();
}

/// Somebody who signs, and the number of their account.
struct Signer {
    secret: SecretKey,
    number: u64,
}

impl Signer {
    fn new(name: &str, number: u64) -> Self {
        let digest = commitment::hash("careledger/test-key/1", &[name.as_bytes()]);
        Self { secret: SecretKey::from_secret_bytes(digest).unwrap(), number }
    }

    fn public_key(&self) -> [u8; 33] {
        PublicKey::from_secret_key(&self.secret).serialize()
    }

    fn address(&self) -> Address {
        Address::of_key(&self.public_key())
    }

    fn sign(&self, sequence: u64, message: Message) -> Vec<u8> {
        let unsigned = Unsigned::new(&[message], &self.public_key(), CHAIN, self.number, Replay::Sequence(sequence));
        let digest: [u8; 32] = Sha256::digest(unsigned.sign_bytes()).into();
        let signature = ecdsa::sign(secp256k1::Message::from_digest(digest), &self.secret);
        unsigned.signed(signature.serialize_compact())
    }
}

fn register(registrar: &Signer, organization: &Signer) -> Vec<u8> {
    let message = MsgRegisterOrganization {
        sender: registrar.address().to_string(),
        organization: organization.address().to_vec(),
        kind: OrganizationKind::Provider.into(),
        encryption_key: vec![9; 32],
        evidence: vec![1; 32],
        expires_at: EXPIRES_AT,
        emergency: false,
    };
    registrar.sign(0, message.into())
}

fn anchor(organization: &Signer, sequence: u64) -> Vec<u8> {
    let record = commitment::hash("test-id", &[&sequence.to_be_bytes()]).to_vec();
    let anchors = vec![Anchor { record, commitment: vec![7; 32] }];
    organization.sign(sequence, MsgAnchorRecords { sender: organization.address().to_string(), anchors }.into())
}

/// Records the four lives; see the head of this file.
fn record(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let (registrar, hospital) = (Signer::new("registrar", 0), Signer::new("hospital", 1));
    let mut validator = Recorded::new(&folder.join("v"), &registrar.address());
    let mut genesis: Value = serde_json::from_str(&fs::read_to_string(validator.genesis()).unwrap()).unwrap();
    let app_state = fs::read_to_string(validator.app_home().join("config/app_genesis.json")).unwrap();
    genesis["app_state"] = serde_json::from_str(&app_state).unwrap();
    genesis["chain_id"] = CHAIN.into();
    fs::write(validator.genesis(), genesis.to_string()).unwrap();

    let life = validator.live();
    validator.commit(&register(&registrar, &hospital));
    validator.commit(&anchor(&hospital, 0));
    assert_ne!(validator.send(&register(&registrar, &hospital)[1..]), 0, "CheckTx refuses");
    let account = [b"account/".as_slice(), hospital.address().as_bytes()].concat();
    let query = json!({"path": "/store/careledger/key", "data": hex::encode(account), "prove": true});
    assert!(validator.ask("abci_query", &query).is_some());
    let (first, kinds) = life.end();
    assert!(kinds.contains(&INIT_CHAIN) && kinds.contains(&FINALIZE_BLOCK));

    let life = validator.live();
    validator.commit(&anchor(&hospital, 1));
    let lost = anchor(&hospital, 2);
    life.passed.lock().unwrap().stops_with = Some(lost.clone());
    assert_eq!(validator.send(&lost), 0);
    eventually("no Commit came", || life.passed.lock().unwrap().stopped);
    let (crashed, kinds) = life.into_recording();
    let finalized = kinds.iter().rposition(|kind| *kind == FINALIZE_BLOCK).unwrap();
    assert!(!kinds[finalized..].contains(&COMMIT), "it ends between FinalizeBlock and Commit");

    let life = validator.live();
    for sequence in 3.. {
        validator.commit(&anchor(&hospital, sequence));
        // A light client needs two headers after the snapshot's.
        if validator.height() > SNAPSHOT_INTERVAL + 3 {
            break;
        }
    }
    let manifest = validator.app_home().join(format!("snapshots/{SNAPSHOT_INTERVAL}/manifest"));
    eventually("no snapshot was taken", || manifest.exists());
    let joined = join(folder, &validator, &registrar.address());
    let (replayed, kinds) = life.end();
    assert!(kinds.iter().position(|kind| *kind == FINALIZE_BLOCK) < kinds.iter().position(|kind| *kind == COMMIT));
    assert!(kinds.contains(&LOAD_SNAPSHOT_CHUNK) && !kinds.contains(&INIT_CHAIN));
    vec![("1-first", first), ("2-killed-before-commit", crashed), ("3-replayed", replayed), ("joined", joined)]
}

/// A second node joins from the validator's snapshot; gives its recording.
fn join(folder: &Path, validator: &Recorded, registrar: &Address) -> Vec<u8> {
    let mut joining = Recorded::new(&folder.join("j"), registrar);
    fs::copy(validator.genesis(), joining.genesis()).unwrap();
    let id = succeeded(Command::new(stock()).args(["show-node-id", "--home"]).arg(validator.node_home()));
    let trusted = validator.ask("commit", &json!({"height": "1"})).unwrap();
    let hash = trusted["signed_header"]["commit"]["block_id"]["hash"].as_str().unwrap().to_owned();
    let server = format!("http://127.0.0.1:{}", validator.rpc);
    edit(
        &joining.node_home().join("config/config.toml"),
        &[
            ("p2p.persistent_peers", format!("{}@127.0.0.1:{}", id.trim(), validator.p2p).into()),
            ("statesync.enable", true.into()),
            ("statesync.rpc_servers", format!("{server},{server}").into()),
            ("statesync.trust_height", 1.into()),
            ("statesync.trust_hash", hash.into()),
            ("statesync.discovery_time", "5s".into()),
        ],
    );
    let life = joining.live();
    let goal = validator.height();
    eventually("the second node never joined", || joining.height() >= goal);
    let (joined, kinds) = life.end();
    assert!(kinds.contains(&OFFER_SNAPSHOT) && kinds.contains(&APPLY_SNAPSHOT_CHUNK) && !kinds.contains(&INIT_CHAIN));
    joined
}

/// Records, and with `UPDATE_GOLDEN` keeps what was recorded.
pub fn calls_of_a_real_node() {
    let folder = tempfile::tempdir().unwrap();
    for (name, frames) in record(folder.path()) {
        assert!(frames.len() > 1_000, "{name} has something to replay");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            let golden = root().join("app/golden/recordings");
            fs::create_dir_all(&golden).unwrap();
            fs::write(golden.join(format!("{name}.abci")), frames).unwrap();
        }
    }
}
