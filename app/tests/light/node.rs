//! A node that answers truly, or lies.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use careledger_app::{
    abci::{Application as _, Ledger},
    query::SUBSPACE,
    store::disk::DiskStore,
};
use careledger_wire::proto::query::{Pairs, pairs::Pair};
use prost::Message as _;
use serde_json::{Value, json};
use tendermint::{
    AppHash,
    block::{CommitSig, Meta},
    validator::{Info, Set},
};
use tendermint_proto::v0_38::abci::RequestQuery;
use tendermint_testgen::validator::generate_validators;

use crate::{
    chain::{self, BLOCKS, Block, Story, signed, validators},
    support::CHAIN,
};

/// Pairs of a page of [`Lie::Pages`], and bytes of each value.
pub const PAGE_PAIRS: u64 = 100;
pub const VALUE_BYTES: usize = 100;

/// What a node says other than the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
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
    /// As [`Lie::Alters`], of a value longer than any.
    Long(&'static [u8]),
    /// A list that goes on for as many pages, whatever there is.
    Pages(&'static [u8], u64),
}

pub struct Node {
    pub ledger: Ledger<DiskStore>,
    pub truth: Vec<Block>,
    shown: Vec<Block>,
    lie: Lie,
    _folders: [tempfile::TempDir; 2],
}

/// A node that serves, at this address.
pub struct Served {
    url: String,
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Deref for Served {
    type Target = str;

    fn deref(&self) -> &str {
        &self.url
    }
}

/// Its folders go with it: those of nodes that served until the process ended stayed where they were, 75 MB each.
impl Drop for Served {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes who waits for the next to come.
        drop(TcpStream::connect(self.address));
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Node {
    pub fn new(lie: Lie) -> Self {
        Self::of(Story::Records(3), lie)
    }

    pub fn of(story: Story, lie: Lie) -> Self {
        let (folder, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ledger, app_hashes) = chain::ledger(folder.path(), story);
        let (ledger, own_hashes) = match lie {
            Lie::State => chain::ledger(beside.path(), Story::Records(4)),
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

    /// Serves until what is returned is dropped.
    pub fn serve(self) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || self.serve_until(&is_over, &listener)
        });
        Served { url: format!("http://{address}"), address, is_over, thread: Some(thread) }
    }

    fn serve_until(&self, is_over: &AtomicBool, listener: &TcpListener) {
        let mut streams = Vec::new();
        thread::scope(|scope| {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                streams.push(stream.try_clone().unwrap());
                scope.spawn(move || self.converse(&stream));
            }
            // Who asked may have hung up.
            streams.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        });
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
            Lie::Long(prefix) if data.starts_with(prefix) => listed.pairs[0].value = vec![0xff; 1_000_000],
            Lie::Pages(prefix, pages) => listed = page(prefix, pages, data),
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

/// The page that follows what `data` asks for, of a made-up list of so many pages.
fn page(prefix: &[u8], pages: u64, data: &[u8]) -> Pairs {
    let goes_on = !data.starts_with(prefix);
    let first = if goes_on { u64::from_be_bytes(*data.last_chunk().unwrap()) + 1 } else { 0 };
    let key = |number: u64| [prefix, &number.to_be_bytes()].concat();
    let numbers = first..first + PAGE_PAIRS;
    let next = if numbers.end / PAGE_PAIRS < pages { key(numbers.end - 1) } else { Vec::new() };
    Pairs { pairs: numbers.map(|number| Pair { key: key(number), value: vec![7; VALUE_BYTES] }).collect(), next }
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
