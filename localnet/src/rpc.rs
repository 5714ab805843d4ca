//! The little of CometBFT's RPC that running a network needs.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ureq::Agent;

use crate::failure::Failure;

/// How long one call may take.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// One node's RPC.
#[derive(Clone, Debug)]
pub struct Rpc {
    address: String,
    agent: Agent,
}

/// A node's own view of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Height of the last committed block; 0 before the first.
    pub height: u64,
    /// Whether it is still fetching blocks that others have.
    pub catching_up: bool,
}

/// What all nodes must agree on at a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Hash of the block.
    pub block: String,
    /// State after the block before it, which this block's header commits to.
    pub app_hash: String,
}

impl Rpc {
    /// The RPC at an address like `http://127.0.0.1:26657`.
    pub fn new(address: impl Into<String>) -> Self {
        Self::within(address, CALL_TIME_MAX)
    }

    /// The same, where no call may take longer than `call_time_max`.
    pub fn within(address: impl Into<String>, call_time_max: Duration) -> Self {
        let agent = Agent::config_builder().timeout_global(Some(call_time_max)).build().new_agent();
        Self { address: address.into(), agent }
    }

    /// Where the node is.
    pub fn tip(&self) -> Result<Tip, Failure> {
        let status = self.call("status", json!({}))?;
        let sync = &status["sync_info"];
        Ok(Tip {
            height: self.number(&sync["latest_block_height"])?,
            catching_up: sync["catching_up"].as_bool().unwrap_or(true),
        })
    }

    /// Height of the first block that the node has.
    pub fn earliest(&self) -> Result<u64, Failure> {
        let status = self.call("status", json!({}))?;
        self.number(&status["sync_info"]["earliest_block_height"])
    }

    /// The block hash and app hash at a height.
    pub fn agreement(&self, height: u64) -> Result<Agreement, Failure> {
        let commit = self.call("commit", json!({ "height": height.to_string() }))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let header = &commit["signed_header"];
        match (text(&header["commit"]["block_id"]["hash"]), text(&header["header"]["app_hash"])) {
            (Some(block), Some(app_hash)) => Ok(Agreement { block, app_hash }),
            _ => Err(self.refused("commit", "no header in the answer")),
        }
    }

    /// Gives the node a transaction; returns when CheckTx accepted it.
    pub fn broadcast(&self, transaction: &[u8]) -> Result<(), Failure> {
        let answer = self.call("broadcast_tx_sync", json!({ "tx": STANDARD.encode(transaction) }))?;
        match answer["code"].as_u64() {
            Some(0) => Ok(()),
            code => Err(self.refused("broadcast_tx_sync", &format!("code {code:?}: {}", answer["log"]))),
        }
    }

    fn call(&self, method: &str, parameters: Value) -> Result<Value, Failure> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": parameters });
        let mut answer: Value = self
            .agent
            .post(&self.address)
            .config()
            .http_status_as_error(false)
            .build()
            .send_json(request)
            .and_then(|mut response| response.body_mut().read_json())
            .map_err(|error| self.refused(method, &error.to_string()))?;
        if let Some(error) = answer.get("error") {
            return Err(self.refused(method, &error.to_string()));
        }
        Ok(answer["result"].take())
    }

    fn number(&self, value: &Value) -> Result<u64, Failure> {
        value
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.refused("a number", &format!("{value} is none")))
    }

    fn refused(&self, method: &str, why: &str) -> Failure {
        Failure::Check(format!("{} {method}: {why}", self.address))
    }
}
