//! The few JSON-RPC calls of the load, on one kept-alive connection for each thread.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use careledger_wire::transaction::hash;
use serde_json::{Value, json};

/// Longest that one call may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One thread's connection.
pub struct Rpc {
    agent: ureq::Agent,
    url: String,
}

/// What a node said to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It waits for a block.
    Yes,
    /// The mempool is full.
    Full,
    /// The ledger refused it.
    Refused,
}

/// A block, as far as it is measured.
#[derive(Debug, Clone, Copy)]
pub struct BlockInfo {
    /// Its height.
    pub height: u64,
    /// Its number of transactions.
    pub transactions: u64,
    /// When the validators agreed on the block before it, Unix time: the time of its header.
    pub time: Duration,
}

/// What an application is asked about its committed state.
#[derive(Debug)]
pub struct Question {
    path: &'static str,
    data: Vec<u8>,
}

/// Asks CareLedger for a transaction's result.
pub fn result_of_transaction(transaction: &[u8]) -> Question {
    Question { path: careledger_app::query::TRANSACTION, data: hash(transaction).to_vec() }
}

/// Asks CometBFT's key-value store for a pair's value.
pub fn value_of_pair(transaction: &[u8]) -> Question {
    let key = transaction.split(|byte| *byte == b'=').next().unwrap_or_default();
    Question { path: "", data: key.to_vec() }
}

impl Rpc {
    pub fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None).build();
        Self { agent: config.into(), url: url.to_owned() }
    }

    pub fn broadcast(&self, transaction: &[u8]) -> Result<Accepted, String> {
        let answer = self.call("broadcast_tx_sync", &json!({ "tx": BASE64_STANDARD.encode(transaction) }))?;
        if let Some(error) = answer.get("error") {
            let error = error.to_string();
            return if error.contains("mempool is full") { Ok(Accepted::Full) } else { Err(error) };
        }
        let code = answer["result"]["code"].as_u64();
        Ok(if code == Some(0) { Accepted::Yes } else { Accepted::Refused })
    }

    /// Transactions that wait for a block.
    pub fn waiting(&self) -> Result<u64, String> {
        number(&self.call("num_unconfirmed_txs", &json!({}))?["result"]["total"])
    }

    /// Height of the newest block.
    pub fn height(&self) -> Result<u64, String> {
        number(&self.call("status", &json!({}))?["result"]["sync_info"]["latest_block_height"])
    }

    /// The blocks from `from` to `to`, oldest first; at most twenty.
    pub fn blocks(&self, from: u64, to: u64) -> Result<Vec<BlockInfo>, String> {
        let range = json!({ "minHeight": from.to_string(), "maxHeight": to.to_string() });
        let answer = self.call("blockchain", &range)?;
        let metas = answer["result"]["block_metas"].as_array().ok_or("the node lists no blocks")?;
        let read = |meta: &Value| {
            let header = &meta["header"];
            Ok(BlockInfo {
                height: number(&header["height"])?,
                transactions: number(&meta["num_txs"])?,
                time: time(&header["time"])?,
            })
        };
        let mut blocks = metas.iter().map(read).collect::<Result<Vec<_>, String>>()?;
        blocks.sort_by_key(|block| block.height);
        Ok(blocks)
    }

    /// Whether the application's committed state has an answer.
    pub fn has_answer(&self, question: &Question) -> Result<bool, String> {
        let question = json!({ "path": question.path, "data": hex::encode(&question.data) });
        let answer = self.call("abci_query", &question)?;
        Ok(answer["result"]["response"]["value"].as_str().is_some_and(|value| !value.is_empty()))
    }

    fn call(&self, method: &str, parameters: &Value) -> Result<Value, String> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": parameters });
        // CometBFT answers refusals of its own with status 500 and a body that says why.
        let sent = self.agent.post(&self.url).config().http_status_as_error(false).build().send_json(&request);
        let mut answer = sent.map_err(|error| format!("{method}: {error}"))?;
        answer.body_mut().read_json().map_err(|error| format!("{method}: {error}"))
    }
}

fn number(value: &Value) -> Result<u64, String> {
    let read = value.as_str().and_then(|text| text.parse().ok()).or_else(|| value.as_u64());
    read.ok_or_else(|| format!("expected a number, found {value}"))
}

fn time(value: &Value) -> Result<Duration, String> {
    let text = value.as_str().ok_or_else(|| format!("expected a time, found {value}"))?;
    let time = tendermint::Time::parse_from_rfc3339(text).map_err(|_| format!("`{text}` is no time"))?;
    time.duration_since(tendermint::Time::unix_epoch()).map_err(|_| format!("`{text}` is before 1970"))
}
