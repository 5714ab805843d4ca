//! A node that answers truly, or lies in one way.
//!
//! Headers are signed by keys of the test; the state behind them is the real ledger's on disk.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use careledger_app::{
    abci::{Application, Ledger},
    machine::Machine,
    store::disk::{DiskStore, Retention},
};
use serde_json::{Value, json};
use tendermint::{
    AppHash, Time,
    block::{CommitSig, Meta, signed_header::SignedHeader},
    validator::{Info, Set},
};
use tendermint_proto::v0_38::abci::{RequestQuery, request::Value as Asked};
use tendermint_testgen::{
    Commit, Header, Validator, light_block::generate_signed_header, validator::generate_validators,
};

use crate::support::{CHAIN, anchor, finalize_request, init_chain, register_hospital};

/// Blocks of the chain. The last is empty, so that its own header has the root of the newest state.
pub const BLOCKS: u64 = 12;
/// Heights whose state the node can prove.
pub const RETAINED: u64 = 8;
const BLOCK_SECONDS: u64 = 10;

/// What a node says other than the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// None: it answers truly.
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
}

/// A block as a node shows it.
pub struct Block {
    /// The header, and who signed it.
    pub signed_header: SignedHeader,
    validators: Set,
}

/// A node with its state and the blocks that it shows.
pub struct Node {
    /// The ledger behind it.
    pub ledger: Ledger<DiskStore>,
    /// The blocks as they are, the first one first.
    pub truth: Vec<Block>,
    shown: Vec<Block>,
    lie: Lie,
    _folders: [tempfile::TempDir; 2],
}

impl Node {
    /// A node that tells this lie.
    pub fn new(lie: Lie) -> Self {
        let (folder, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ledger, app_hashes) = ledger(folder.path(), 3);
        let (ledger, own_hashes) =
            if lie == Lie::State { self::ledger(beside.path(), 4) } else { (ledger, app_hashes.clone()) };
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
    pub fn serve(self) -> String {
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
        let answer = self.ledger.query(request);
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

fn validators(names: [&str; 3]) -> Vec<Validator> {
    names.map(|name| Validator::new(name).voting_power(10)).to_vec()
}

/// The time of the block of this height: all of them are past, and the trusting period holds.
pub fn block_time(height: u64) -> u64 {
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
fn ledger(folder: &Path, records: u64) -> (Ledger<DiskStore>, Vec<Vec<u8>>) {
    let retention = Retention { heights: RETAINED, ..Retention::default() };
    let ledger = Ledger::new(Machine::new(DiskStore::open(folder, retention).unwrap()), 0);
    let mut app_hashes = vec![ledger.init_chain(init_chain()).app_hash.to_vec()];
    for height in 1..=BLOCKS {
        let transactions = match height {
            1 => vec![register_hospital()],
            BLOCKS => Vec::new(),
            _ => vec![anchor(height - 2, records)],
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
