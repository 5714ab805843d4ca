//! `careledgerd query --prove` against nodes that answer truly, and against nodes that lie.
//!
//! Headers are signed by keys of the test; the state behind them is the real ledger's on disk.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Output,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use careledger_app::{
    abci::{Application, Ledger},
    keys,
    machine::Machine,
    query::SUBSPACE,
    store::disk::{DiskStore, Retention},
    subject_counts::COUNTED_SINCE,
    wallet::Signer,
};
use careledger_wire::{
    commitment,
    ids::SubjectId,
    proto::{
        audit::MsgAnchorAccessLog,
        consent::{ConsentMode, EmergencyReason, MsgBreakGlass, MsgGrantConsent},
        governance::{Content, MsgPropose, ScheduledUpgrade, content::Decision},
        identity::{
            MsgClaimSubject, MsgEnrolPractitioner, MsgOpenSubject, MsgRegisterOrganization, OrganizationKind,
            PractitionerRole,
        },
        query::Pairs,
    },
};
use prost::Message as _;
use serde_json::{Value, json};
use support::{
    CHAIN, GENESIS_TIME, anchor, careledgerd, finalize_request, init_chain, register_hospital, sign, signer,
};
use tendermint::{
    AppHash, Time,
    block::{CommitSig, Meta, signed_header::SignedHeader},
    validator::{Info, Set},
};
use tendermint_proto::v0_38::abci::{RequestInitChain, RequestQuery, request::Value as Asked};
use tendermint_testgen::{
    Commit, Header, Validator, light_block::generate_signed_header, validator::generate_validators,
};

/// Blocks of the chain. The last is empty, so that its own header has the root of the newest state.
const BLOCKS: u64 = 12;
/// Heights whose state the node can prove.
const RETAINED: u64 = 8;
const BLOCK_SECONDS: u64 = 10;
const PARAMETERS: &str = "706172616d6574657273";

/// What a node says other than the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    /// A value that the state does not have, under the true proof.
    Value,
    /// The proof, and the value, of another key.
    Key,
    /// The state of the height before the one that was asked for.
    Height,
    /// A header with another app hash, under the true signatures.
    Header,
    /// Headers that strangers signed, who are also named as validators.
    Strangers,
    /// Other validators than the header's.
    Validators,
    /// No signature, as a ledger without validators answers.
    Unsigned,
    /// Its newest block is an old one.
    Old,
    /// Another chain id.
    Chain,
    /// A second history, signed by the same validators.
    Fork,
    /// A state of its own, with sound proofs, in headers that carry its app hashes and the true signatures.
    State,
    /// A list of keys without its first.
    LeavesOut(&'static [u8]),
    /// As [`Lie::LeavesOut`], of pages that come again and again.
    Circles(&'static [u8]),
    /// A list whose first value is another.
    Alters(&'static [u8]),
}

/// What the chain is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// A hospital anchors so many records in each block.
    Records(u64),
    /// A patient grants, a physician breaks the glass, and the state comes to the format that counts both at
    /// [`COUNTED_FROM`].
    Consents,
    /// A hospital anchors a batch of its access log in each block.
    Log,
}

/// Height of the upgrade in [`Story::Consents`].
const COUNTED_FROM: u64 = 8;

struct Block {
    signed_header: SignedHeader,
    validators: Set,
}

struct Node {
    ledger: Ledger<DiskStore>,
    truth: Vec<Block>,
    shown: Vec<Block>,
    lie: Lie,
    _folders: [tempfile::TempDir; 2],
}

fn validators(names: [&str; 3]) -> Vec<Validator> {
    names.map(|name| Validator::new(name).voting_power(10)).to_vec()
}

/// The time of the block of this height: all of them are past, and the trusting period holds.
fn block_time(height: u64) -> u64 {
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 10_000;
    // The same for every call of a test run.
    static START: Mutex<Option<u64>> = Mutex::new(None);
    *START.lock().unwrap().get_or_insert(start) + height * BLOCK_SECONDS
}

fn signed(app_hashes: &[Vec<u8>], by: [&str; 3], data: u8) -> Vec<Block> {
    let by = validators(by);
    let mut blocks: Vec<Block> = Vec::new();
    for (height, app_hash) in (1..).zip(app_hashes) {
        let mut header = Header::new(&by)
            .height(height)
            .chain_id(CHAIN)
            .time(Time::from_unix_timestamp(block_time(height).cast_signed(), 0).unwrap())
            .app_hash(AppHash::try_from(app_hash.clone()).unwrap());
        header.last_block_id_hash = blocks.last().map(|last| last.signed_header.header.hash());
        // A second history differs in something that no query shows.
        header.proposer = Some(usize::from(data));
        let signed_header = generate_signed_header(&header, &Commit::new(header.clone(), 1)).unwrap();
        blocks.push(Block { signed_header, validators: Set::without_proposer(generate_validators(&by).unwrap()) });
    }
    blocks
}

/// A ledger of some blocks, the hospital's registration and its records in them, and what each header
/// carries: the root of the state of the height before.
fn ledger(folder: &Path, story: Story) -> (Ledger<DiskStore>, Vec<Vec<u8>>) {
    let retention = Retention { heights: RETAINED, ..Retention::default() };
    let ledger = Ledger::new(Machine::new(DiskStore::open(folder, retention).unwrap()), 0);
    let mut genesis: Value = serde_json::from_slice(&init_chain().app_state_bytes).unwrap();
    match story {
        Story::Records(_) => {}
        Story::Consents => genesis["state_version"] = json!(COUNTED_SINCE - 1),
        Story::Log => genesis["state_version"] = json!(2),
    }
    let genesis = RequestInitChain { app_state_bytes: serde_json::to_vec(&genesis).unwrap().into(), ..init_chain() };
    let mut app_hashes = vec![ledger.init_chain(genesis).app_hash.to_vec()];
    for height in 1..=BLOCKS {
        let transactions = match (story, height) {
            (Story::Consents, _) => consents(height),
            (_, 1) => vec![register_hospital()],
            (_, BLOCKS) => Vec::new(),
            (Story::Records(records), _) => vec![anchor(height - 2, records)],
            (Story::Log, _) => vec![batch(height - 1)],
        };
        let Asked::FinalizeBlock(block) = finalize_request(height, &transactions) else { unreachable!() };
        let answer = ledger.finalize_block(block);
        assert!(answer.tx_results.iter().all(|result| result.code == 0), "{:?}", answer.tx_results);
        app_hashes.push(answer.app_hash.to_vec());
        ledger.commit();
    }
    app_hashes.pop();
    (ledger, app_hashes)
}

fn subject() -> SubjectId {
    commitment::subject_id(&signer("hospital").address(), &signer("patient").address())
}

/// The hospital's batch of this number, from 1.
fn batch(sequence: u64) -> Vec<u8> {
    let message = MsgAnchorAccessLog {
        sender: signer("hospital").address().to_string(),
        sequence,
        root: id(&format!("batch {sequence}")),
        count: 3,
        period_start: GENESIS_TIME,
        period_end: GENESIS_TIME,
    };
    sign(&signer("hospital"), 1, sequence - 1, &[message.into()])
}

/// A name as an id.
fn id(name: &str) -> Vec<u8> {
    commitment::hash("test-id", &[name.as_bytes()]).to_vec()
}

/// The transactions of a height of [`Story::Consents`]. Accounts get their numbers in the order in which they come.
fn consents(height: u64) -> Vec<Vec<u8>> {
    let [registrar, hospital, patient, doctor] = ["registrar", "hospital", "patient", "doctor"].map(signer);
    let sender = |signer: &Signer| signer.address().to_string();
    let later = GENESIS_TIME + 86_400;
    let grant = |sequence: u64, name: &str| {
        let message = MsgGrantConsent {
            sender: sender(&patient),
            subject: subject().to_vec(),
            grant: id(name),
            grantee: hospital.address().to_vec(),
            mode: ConsentMode::View.into(),
            not_before: GENESIS_TIME,
            expires_at: later,
            terms: id("terms"),
            body: id("body"),
            ..MsgGrantConsent::default()
        };
        vec![sign(&patient, 2, sequence, &[message.into()])]
    };
    let breaks_glass = |sequence: u64, name: &str| {
        let message = MsgBreakGlass {
            sender: sender(&hospital),
            subject: subject().to_vec(),
            emergency: id(name),
            practitioner: doctor.address().to_vec(),
            reason: EmergencyReason::Unconscious.into(),
            seconds: 600,
        };
        vec![sign(&hospital, 1, sequence, &[message.into()])]
    };
    match height {
        1 => {
            let message = MsgRegisterOrganization {
                sender: sender(&registrar),
                organization: hospital.address().to_vec(),
                kind: OrganizationKind::Provider.into(),
                encryption_key: vec![9; 32],
                evidence: vec![1; 32],
                expires_at: GENESIS_TIME + 86_400 * 30,
                emergency: true,
            };
            vec![sign(&registrar, 0, 0, &[message.into()])]
        }
        2 => {
            let claimant = patient.address().to_vec();
            let opens = MsgOpenSubject { sender: sender(&hospital), claimant, binding: None };
            let enrols = MsgEnrolPractitioner {
                sender: sender(&hospital),
                practitioner: doctor.address().to_vec(),
                role: PractitionerRole::Physician.into(),
                qualification: vec![9; 32],
                expires_at: later,
                binding: None,
            };
            vec![sign(&hospital, 1, 0, &[opens.into(), enrols.into()])]
        }
        3 => {
            let subject = subject().to_vec();
            let claims = MsgClaimSubject { sender: sender(&patient), subject, encryption_key: vec![8; 32] };
            let decision = Decision::Upgrade(ScheduledUpgrade { version: COUNTED_SINCE, height: COUNTED_FROM });
            let proposes = MsgPropose {
                sender: sender(&registrar),
                proposal: id("upgrade"),
                expires_at: later,
                content: Some(Content { decision: Some(decision) }),
            };
            vec![sign(&patient, 2, 0, &[claims.into()]), sign(&registrar, 0, 1, &[proposes.into()])]
        }
        4 => grant(1, "before"),
        5 => breaks_glass(1, "one emergency"),
        6 => grant(2, "also before"),
        9 => grant(3, "after"),
        10 => breaks_glass(2, "another emergency"),
        _ => Vec::new(),
    }
}

impl Node {
    fn new(lie: Lie) -> Self {
        Self::of(Story::Records(3), lie)
    }

    fn of(story: Story, lie: Lie) -> Self {
        let (folder, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ledger, app_hashes) = ledger(folder.path(), story);
        let (ledger, own_hashes) = match lie {
            Lie::State => self::ledger(beside.path(), Story::Records(4)),
            _ => (ledger, app_hashes.clone()),
        };
        let honest = ["a", "b", "c"];
        let truth = signed(&app_hashes, honest, 0);
        let mut shown = match lie {
            Lie::Strangers => signed(&app_hashes, ["x", "y", "z"], 0),
            Lie::Fork => signed(&app_hashes, honest, 1),
            _ => signed(&app_hashes, honest, 0),
        };
        for (block, own) in shown.iter_mut().zip(own_hashes) {
            match lie {
                Lie::State => block.signed_header.header.app_hash = AppHash::try_from(own).unwrap(),
                Lie::Header => block.signed_header.header.app_hash = AppHash::try_from(vec![9; 32]).unwrap(),
                Lie::Unsigned => block.signed_header.commit.signatures.fill(CommitSig::BlockIdFlagAbsent),
                Lie::Validators => {
                    block.validators =
                        Set::without_proposer(generate_validators(&validators(["x", "y", "z"])).unwrap());
                }
                _ => {}
            }
        }
        Self { ledger, truth, shown, lie, _folders: [folder, beside] }
    }

    /// Serves until the test ends; its address.
    fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let node = Arc::new(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let node = Arc::clone(&node);
                std::thread::spawn(move || node.converse(&stream));
            }
        });
        url
    }

    fn converse(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut writer = stream;
        while let Some(request) = read_request(&mut reader) {
            let result = self.answer(request["method"].as_str().unwrap(), &request["params"]);
            let body = json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string();
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
            if writer.write_all((head + &body).as_bytes()).is_err() {
                return;
            }
        }
    }

    fn newest(&self) -> u64 {
        if self.lie == Lie::Old { 7 } else { BLOCKS }
    }

    fn block(&self, height: &Value) -> &Block {
        let height: usize = height.as_str().unwrap().parse().unwrap();
        &self.shown[height - 1]
    }

    fn answer(&self, method: &str, params: &Value) -> Value {
        match method {
            "status" => self.status(),
            "header" => json!({"header": self.block(&params["height"]).signed_header.header}),
            "commit" => {
                json!({"signed_header": self.block(&params["height"]).signed_header, "canonical": true})
            }
            "validators" => {
                let height: u64 = params["height"].as_str().unwrap().parse().unwrap();
                let known = self.shown.get(usize::try_from(height).unwrap() - 1).unwrap_or(&self.shown[0]);
                let named: Vec<Value> = known.validators.validators().iter().map(validator).collect();
                json!({"block_height": height.to_string(), "validators": named, "count": "3", "total": "3"})
            }
            "blockchain" => {
                let bound = |name: &str| params[name].as_str().unwrap().parse::<usize>().unwrap();
                let metas = self.shown[bound("minHeight") - 1..bound("maxHeight")].iter().rev().map(|block| Meta {
                    block_id: block.signed_header.commit.block_id,
                    block_size: 1,
                    header: block.signed_header.header.clone(),
                    num_txs: 0,
                });
                json!({"last_height": BLOCKS.to_string(), "block_metas": metas.collect::<Vec<_>>()})
            }
            "abci_query" => json!({"response": self.query(params)}),
            other => panic!("the client asked for {other}"),
        }
    }

    fn query(&self, params: &Value) -> Value {
        let asked: i64 = params["height"].as_str().map_or(0, |height| height.parse().unwrap());
        let data = hex::decode(params["data"].as_str().unwrap()).unwrap();
        let request = RequestQuery {
            path: params["path"].as_str().unwrap().to_owned(),
            data: if self.lie == Lie::Key { b"chain".to_vec() } else { data.clone() }.into(),
            height: match (self.lie, asked) {
                (Lie::Old, _) => 6,
                (Lie::Height, height) if height > 0 => height - 1,
                (_, height) => height,
            },
            prove: params["prove"].as_bool().unwrap(),
        };
        let mut answer = self.ledger.query(request);
        if params["path"] == SUBSPACE {
            answer.value = self.listed(&data, answer.value.to_vec()).into();
        }
        let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        let proof = answer.proof_ops.map(|proof| {
            let operation = &proof.ops[0];
            json!({"ops": [{"type": operation.r#type, "key": encode(&operation.key), "data": encode(&operation.data)}]})
        });
        let value = if self.lie == Lie::Value { b"forged" } else { &answer.value[..] };
        let height = if self.lie == Lie::Height && asked > 0 { asked } else { answer.height };
        json!({
            "code": answer.code, "log": answer.log, "info": "", "index": "0", "key": encode(&data),
            "value": encode(value), "proofOps": proof, "height": height.to_string(), "codespace": "",
        })
    }

    /// What it says to a question for a list: the truth is `pairs`.
    fn listed(&self, data: &[u8], pairs: Vec<u8>) -> Vec<u8> {
        let mut listed = Pairs::decode(&pairs[..]).unwrap();
        match self.lie {
            Lie::LeavesOut(prefix) if data.starts_with(prefix) => drop(listed.pairs.remove(0)),
            Lie::Alters(prefix) if data.starts_with(prefix) => {
                let other = listed.pairs[1].value.clone();
                listed.pairs[0].value = other;
            }
            Lie::Circles(prefix) if data.starts_with(prefix) => {
                listed.pairs.remove(0);
                listed.next = listed.pairs.last().unwrap().key.clone();
            }
            // Where the list was to go on it begins anew.
            Lie::Circles(prefix) if data.get(2..).is_some_and(|rest| rest.starts_with(prefix)) => {
                let length = usize::from(data[1]);
                let request = RequestQuery {
                    path: SUBSPACE.to_owned(),
                    data: data[2..2 + length].to_vec().into(),
                    ..RequestQuery::default()
                };
                return self.listed(&data[2..2 + length], self.ledger.query(request).value.to_vec());
            }
            _ => {}
        }
        listed.encode_to_vec()
    }

    fn status(&self) -> Value {
        let newest = &self.truth[usize::try_from(self.newest()).unwrap() - 1];
        let header = &newest.signed_header.header;
        json!({
            "node_info": {
                "protocol_version": {"p2p": "8", "block": "11", "app": "1"},
                "id": "00".repeat(20), "listen_addr": "tcp://127.0.0.1:0",
                "network": if self.lie == Lie::Chain { "elsewhere" } else { CHAIN },
                "version": "0.38.26", "channels": "40", "moniker": "test",
                "other": {"tx_index": "on", "rpc_address": "tcp://127.0.0.1:0"},
            },
            "sync_info": {
                "latest_block_hash": header.hash().to_string(),
                "latest_app_hash": header.app_hash.to_string(),
                "latest_block_height": header.height.to_string(),
                "latest_block_time": header.time.to_rfc3339(),
                "earliest_block_hash": "", "earliest_app_hash": "", "earliest_block_height": "1",
                "earliest_block_time": "1970-01-01T00:00:00Z", "catching_up": false,
            },
            "validator_info": validator(&newest.validators.validators()[0]),
        })
    }
}

/// As CometBFT writes one.
fn validator(info: &Info) -> Value {
    let mut value = serde_json::to_value(info).unwrap();
    value["voting_power"] = json!(info.power().to_string());
    value["proposer_priority"] = json!("0");
    value.as_object_mut().unwrap().retain(|name, _| name != "power" && name != "name");
    value
}

/// One JSON-RPC request; `None` when the client hung up.
fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn run(home: &Path, node: &str, words: &[&str]) -> Output {
    careledgerd(home).args(words).args(["--node", node, "--output", "json"]).output().unwrap()
}

fn asked(home: &Path, node: &str, words: &[&str]) -> Value {
    let output = run(home, node, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a refused command says, and that it prints no value.
fn refused(home: &Path, node: &str, words: &[&str]) -> String {
    let output = run(home, node, words);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

const PROVEN: [&str; 4] = ["query", "key", PARAMETERS, "--prove"];

/// Height and hash that the tests trust, as another node's operator tells them.
fn trusted(height: usize) -> [String; 4] {
    let node = Node::new(Lie::None);
    let hash = hex::encode(node.truth[height - 1].signed_header.header.hash().as_bytes());
    ["--trust-height".to_owned(), height.to_string(), "--trust-hash".to_owned(), hash]
}

fn with<'a>(words: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    words.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

#[test]
fn nothing_is_trusted_that_nobody_said_to_trust() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::None).serve();
    let said = refused(home.path(), &node, &PROVEN);
    for words in ["no header is trusted yet", "light newest", "--trust-on-first-use"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(refused(home.path(), &node, &["light", "status"]).contains("trusts no header"));
    let unproven = ["query", "key", PARAMETERS, "--trust-on-first-use"];
    assert!(refused(home.path(), &node, &unproven).contains("add --prove"));
}

#[test]
fn an_answer_says_what_it_rests_on_and_the_next_call_goes_on_from_there() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::None).serve();
    let trust = trusted(2);
    let shown = asked(home.path(), &node, &with(&PROVEN, &trust));
    let proven = &shown["proven"];
    assert_eq!((&proven["chain_id"], &proven["header_height"]), (&json!(CHAIN), &json!(BLOCKS)));
    assert_eq!(proven["signed_by"], "3 of 3 validators with 30 of 30 voting power");
    let rests_on = proven["trusted"].as_str().unwrap();
    assert!(rests_on.contains("height 2") && rests_on.contains(&trust[3]) && rests_on.contains("by hand"), "{proven}");
    let status = asked(home.path(), &node, &["light", "status"]);
    assert_eq!((&status["height"], &status["since_height"]), (&json!(BLOCKS), &json!(2)));
    assert_eq!(asked(home.path(), &node, &PROVEN)["proven"]["trusted"], proven["trusted"], "kept in the home");
    let earlier = refused(home.path(), &node, &with(&PROVEN, &trusted(5)));
    assert!(earlier.contains("verified height 12 already"), "{earlier}");
    let newest = asked(home.path(), &node, &["light", "newest"]);
    assert_eq!((&newest["height"], &newest["hash"]), (&status["height"], &status["hash"]));
    let absent = run(home.path(), &node, &["query", "key", "00", "--prove"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("its absence is proven"));
    assert_eq!(asked(home.path(), &node, &["light", "forget"]), json!({"forgotten": true}));
    assert!(refused(home.path(), &node, &PROVEN).contains("no header is trusted yet"));
}

#[test]
fn a_node_that_lies_is_refused_by_the_lies_own_name() {
    let at_height = ["query", "key", PARAMETERS, "--prove", "--at-height", "8"];
    let cases: [(Lie, &[&str], &str); 10] = [
        (Lie::Value, &at_height, "does not lead from this key and value"),
        (Lie::Key, &at_height, "does not lead from this key and value"),
        (Lie::Height, &at_height, "does not lead from this key and value"),
        (Lie::Header, &at_height, "does not lead from this key and value"),
        (Lie::State, &PROVEN, "not the one that its signatures are for"),
        (Lie::State, &at_height, "not the one that its signatures are for"),
        (Lie::Strangers, &PROVEN, "are not those of its header"),
        (Lie::Validators, &PROVEN, "are not those of its header"),
        (Lie::Unsigned, &PROVEN, "has no validators"),
        (Lie::Chain, &PROVEN, "the node's chain is `elsewhere`"),
    ];
    let trust = trusted(2);
    let honest = Node::new(Lie::None).serve();
    for (lie, words, expected) in cases {
        let home = tempfile::tempdir().unwrap();
        // The home knows the header of height 6; from here on the node lies.
        asked(home.path(), &honest, &with(&["query", "key", PARAMETERS, "--prove", "--at-height", "5"], &trust));
        let node = Node::new(lie).serve();
        let said = refused(home.path(), &node, words);
        assert!(said.contains(expected), "{lie:?}: {said}");
    }
}

/// A forged header whose proof is sound is a header that nobody signed.
#[test]
fn a_forged_header_is_refused_when_it_is_first_trusted() {
    for (lie, expected) in [(Lie::Header, "not the one that its signatures are for"), (Lie::Unsigned, "--trust-node")] {
        let home = tempfile::tempdir().unwrap();
        let node = Node::new(lie).serve();
        let said = refused(home.path(), &node, &["light", "update", "--trust-on-first-use"]);
        assert!(said.contains(expected), "{said}");
        assert!(!home.path().join("light").exists(), "nothing is kept");
    }
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::Strangers).serve();
    let said = refused(home.path(), &node, &with(&PROVEN, &trusted(2)));
    assert!(said.contains("the trusted one is"), "{said}");
}

#[test]
fn an_old_answer_and_an_expired_header_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::None).serve();
    asked(home.path(), &node, &with(&PROVEN, &trusted(2)));
    let old = Node::new(Lie::Old).serve();
    let said = refused(home.path(), &old, &PROVEN);
    assert!(said.contains("was verified before"), "{said}");
    let period = [&PROVEN[..], &["--trusting-period", "1h"]].concat();
    let said = refused(home.path(), &node, &period);
    assert!(said.contains("trusting period of 3600 s") && said.contains("light newest"), "{said}");
    let period = [&PROVEN[..], &["--trusting-period", "1h", "--trust-on-first-use"]].concat();
    assert!(refused(home.path(), &node, &period).contains("trusting period"), "the first use is over");
}

#[test]
fn first_use_is_said_and_an_embedded_ledger_is_believed_only_on_demand() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::None).serve();
    let first = asked(home.path(), &node, &[&PROVEN[..], &["--trust-on-first-use"]].concat());
    assert!(first["proven"]["trusted"].as_str().unwrap().contains("first use, compared with nobody"), "{first}");
    let home = tempfile::tempdir().unwrap();
    let embedded = Node::new(Lie::Unsigned).serve();
    let said = refused(home.path(), &embedded, &[&PROVEN[..], &["--trust-on-first-use"]].concat());
    assert!(said.contains("--trust-node"), "{said}");
    let shown = asked(home.path(), &embedded, &[&PROVEN[..], &["--trust-node"]].concat());
    assert!(shown["proven"]["trusted"].as_str().unwrap().contains("no signature was checked"), "{shown}");
    assert!(!home.path().join("light").exists(), "nothing is kept of it");
}

#[test]
fn witnesses_that_agree_are_named_and_those_that_do_not_are_told_apart() {
    let node = Node::new(Lie::None).serve();
    let trust = trusted(2);
    for (lie, expected) in [
        (Lie::None, None),
        (Lie::Header, Some("which does not hold")),
        (Lie::Fork, Some("validators signed two headers of height 12")),
    ] {
        let home = tempfile::tempdir().unwrap();
        let witness = Node::new(lie).serve();
        let words = [with(&PROVEN, &trust), vec!["--witness", &witness]].concat();
        match expected {
            None => assert_eq!(asked(home.path(), &node, &words)["proven"]["witnesses"], json!([witness])),
            Some(expected) => {
                let said = refused(home.path(), &node, &words);
                assert!(said.contains(expected) && said.contains(&witness), "{said}");
            }
        }
    }
}

#[test]
fn every_retained_height_and_time_is_proven_and_the_others_are_named() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(Lie::None);
    let expected: Vec<String> = (0..=BLOCKS)
        .map(|height| {
            let data = keys::account(&signer("hospital").address()).into_bytes().into();
            let path = "/store/careledger/key".to_owned();
            let height = height.cast_signed();
            hex::encode(node.ledger.query(RequestQuery { data, path, height, prove: false }).value)
        })
        .collect();
    let node = node.serve();
    let account = hex::encode(keys::account(&signer("hospital").address()).as_bytes());
    let ask = |option: &str, value: String| {
        let words = ["query", "key", &account, "--prove", option, &value];
        run(home.path(), &node, &with(&words, &trusted(11)))
    };
    let oldest = BLOCKS + 1 - RETAINED;
    for height in oldest..BLOCKS {
        let (from, until) = (block_time(height), block_time(height + 1));
        let moments = [from, until - 1].map(|time| ("--at-time", time.to_string()));
        for (option, value) in [("--at-height", height.to_string())].into_iter().chain(moments) {
            let output = ask(option, value.clone());
            assert!(output.status.success(), "{option} {value}: {}", String::from_utf8_lossy(&output.stderr));
            let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(shown["proven"]["state_height"], json!(height), "{option} {value}");
            assert_eq!(shown["value"], json!(expected[usize::try_from(height).unwrap()]), "{option} {value}");
        }
    }
    assert_ne!(expected[9], expected[10], "its sequence is another at each height");
    for (option, value, said) in [
        (
            "--at-height",
            oldest - 1,
            format!("height {} is not retained by this node: {oldest} to {BLOCKS} are", oldest - 1),
        ),
        ("--at-height", BLOCKS + 1, format!("height {} has not come: the newest is {BLOCKS}", BLOCKS + 1)),
        ("--at-time", block_time(oldest) - 1, format!("{oldest} to {BLOCKS} are")),
        ("--at-time", block_time(1) - 1, "the node's blocks begin at height 1".to_owned()),
        ("--at-time", block_time(BLOCKS), "what stands later is not known yet".to_owned()),
    ] {
        let output = ask(option, value.to_string());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{option} {value}");
        assert!(stderr.contains(&said) && stderr.contains("next: "), "{option} {value}: {stderr}");
    }
}

/// `query access` at a height (0: the newest) of the chain in which a patient grants.
fn access(node: &str, height: u64) -> Output {
    let home = tempfile::tempdir().unwrap();
    let (subject, height_text) = (hex::encode(subject().as_bytes()), height.to_string());
    let mut words = vec!["query", "access", &subject, "--prove", "--trust-on-first-use"];
    if height > 0 {
        words.extend(["--at-height", &height_text]);
    }
    run(home.path(), node, &words)
}

fn listed(output: &Output) -> (usize, usize, bool) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |name: &str| shown[name].as_object().unwrap().len();
    (count("grants"), count("emergencies"), shown["complete"].as_bool().unwrap())
}

#[test]
fn a_list_of_who_may_see_is_proven_to_be_complete_once_the_state_counts() {
    let node = Node::of(Story::Consents, Lie::None).serve();
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).contains("is the node's word");
    for (height, grants, emergencies) in [(5, 1, 1), (6, 2, 1), (COUNTED_FROM - 1, 2, 1)] {
        let output = access(&node, height);
        assert_eq!(listed(&output), (grants, emergencies, false), "height {height}");
        assert!(said(&output), "height {height}: it is said that nothing counts them there");
    }
    // The migration counted what was there before, and each new one counts itself.
    for (height, grants, emergencies) in [(COUNTED_FROM, 2, 1), (9, 3, 1), (10, 3, 2), (0, 3, 2)] {
        let output = access(&node, height);
        assert_eq!(listed(&output), (grants, emergencies, true), "height {height}");
        assert!(!said(&output), "height {height}");
    }
}

#[test]
fn a_node_that_leaves_out_who_may_see_is_found() {
    for (prefix, expected) in [
        (keys::CONSENTS, "the ledger counts 3 grants of this subject, the node showed 2"),
        (keys::EMERGENCIES, "the ledger counts 2 emergencies of this subject, the node showed 1"),
    ] {
        let node = Node::of(Story::Consents, Lie::LeavesOut(prefix)).serve();
        let output = access(&node, 0);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "nothing of it is printed: {said}");
        assert!(said.contains(expected) && said.contains("ask another node"), "{said}");
        // Where nothing counts, it is believed, and says so.
        assert!(!listed(&access(&node, COUNTED_FROM - 1)).2);
    }
}

/// `query audit` of the hospital.
fn audit<'a>(account: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["query", "audit", account], more].concat()
}

#[test]
fn an_access_log_is_audited_against_what_validators_signed() {
    let node = Node::of(Story::Log, Lie::None);
    let hash = hex::encode(node.truth[1].signed_header.header.hash().as_bytes());
    let (home, node) = (tempfile::tempdir().unwrap(), node.serve());
    let account = signer("hospital").address().to_string();
    let shown = asked(home.path(), &node, &audit(&account, &["--trust-height", "2", "--trust-hash", &hash]));
    assert_eq!((&shown["batches"], &shown["leaves"]), (&json!(BLOCKS - 2), &json!(3 * (BLOCKS - 2))));
    assert_eq!(shown["proven"]["signed_by"], "3 of 3 validators with 30 of 30 voting power");
    let noted = shown["note"].as_str().unwrap().strip_prefix("--since ").unwrap();
    asked(home.path(), &node, &audit(&account, &["--since", noted]));
    // The only contradiction that is the custodian's: its proven log does not begin as was noted.
    let said = refused(home.path(), &node, &audit(&account, &["--since", &format!("1:{}", "ab".repeat(32))]));
    assert!(said.contains("rewritten") && said.contains("ask the custodian"), "{said}");
    let stranger = signer("stranger").address().to_string();
    assert!(refused(home.path(), &node, &audit(&stranger, &[])).contains("its absence is proven"));
}

/// What a node made up was held against the custodian, or called proven, before anybody looked who signed it.
#[test]
fn a_custodian_was_accused_on_the_word_of_a_node() {
    let account = signer("hospital").address().to_string();
    let honest = Node::of(Story::Log, Lie::None);
    let hash = hex::encode(honest.truth[1].signed_header.header.hash().as_bytes());
    let honest = honest.serve();
    let batches = b"access-log-batch/";
    let noted = format!("1:{}", "ab".repeat(32));
    let cases: [(Lie, &[&str], &str); 5] = [
        // A state of its own, in which the hospital has no log.
        (Lie::State, &[], "another app hash than the validators signed"),
        (Lie::State, &["--since", &noted], "another app hash than the validators signed"),
        (Lie::LeavesOut(batches), &["--since", &noted], "the log has 10 batches, the node shows 9"),
        (Lie::Alters(batches), &["--since", &noted], "do not give the root that the ledger proves"),
        (Lie::Circles(batches), &["--since", &noted], "cannot be read"),
    ];
    for (lie, words, expected) in cases {
        let home = tempfile::tempdir().unwrap();
        let trust = ["--trust-height", "2", "--trust-hash", &hash];
        asked(home.path(), &honest, &["light", "update", trust[0], trust[1], trust[2], trust[3]]);
        let node = Node::of(Story::Log, lie).serve();
        let said = refused(home.path(), &node, &audit(&account, words));
        assert!(said.contains(expected), "{lie:?}: {said}");
        assert!(
            !said.contains("custodian") && !said.contains("rewritten") && !said.contains("absence"),
            "{lie:?}: {said}"
        );
    }
}
