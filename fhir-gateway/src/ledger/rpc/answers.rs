//! The shapes of answers, field by field as CometBFT 0.38 gives them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_app::machine::QueryAnswer;
use careledger_wire::{ids::TransactionHash, transaction::GAS_LIMIT};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tendermint::Time;

use crate::ledger::blocks::{Execution, Kept};

/// Namespace of reject codes.
pub const CODESPACE: &str = "careledger";
/// The CometBFT whose answers these are.
const VERSION: &str = "0.38.26";
/// Public key of the first test of RFC 8032 section 7.1. Clients insist on a validator with a
/// valid key; this one has no power and signs nothing.
const PSEUDO_VALIDATOR: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// A transaction's hash as CometBFT spells it.
pub fn hash_text(hash: &TransactionHash) -> String {
    hash.to_string().to_uppercase()
}

/// `status`. `newest` is missing before the first block.
pub fn status(chain_id: &str, height: u64, app_hash: [u8; 32], newest: Option<&Kept>) -> Value {
    let hash = newest.map(|kept| kept.header.hash().to_string()).unwrap_or_default();
    let time = newest.map_or_else(Time::unix_epoch, |kept| kept.header.time);
    json!({
        "node_info": {
            "protocol_version": {"p2p": "8", "block": "11", "app": "1"},
            "id": hex::encode(&Sha256::digest(chain_id)[..20]),
            "listen_addr": "tcp://127.0.0.1:0",
            "network": chain_id,
            "version": VERSION,
            "channels": "40202122233038606100",
            "moniker": "embedded",
            "other": {"tx_index": "on", "rpc_address": "tcp://127.0.0.1:0"},
        },
        "sync_info": {
            "latest_block_hash": hash,
            "latest_app_hash": hex::encode_upper(app_hash),
            "latest_block_height": height.to_string(),
            "latest_block_time": time.to_rfc3339(),
            "earliest_block_hash": "",
            "earliest_app_hash": "",
            "earliest_block_height": "1",
            "earliest_block_time": "1970-01-01T00:00:00Z",
            "catching_up": false,
        },
        "validator_info": validator(),
    })
}

/// The validator that clients insist on.
pub fn validator() -> Value {
    let key = hex::decode(PSEUDO_VALIDATOR).expect("the constant is hexadecimal");
    json!({
        "address": hex::encode_upper(&Sha256::digest(&key)[..20]),
        "pub_key": {"type": "tendermint/PubKeyEd25519", "value": STANDARD.encode(&key)},
        "voting_power": "0",
        "proposer_priority": "0",
    })
}

/// `genesis`, without the application's state.
pub fn genesis(chain_id: &str, time: i64) -> Value {
    let time = Time::from_unix_timestamp(time, 0).unwrap_or_else(|_| Time::unix_epoch());
    json!({
        "genesis_time": time.to_rfc3339(), "chain_id": chain_id, "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": "4194304", "max_gas": "-1"},
            "evidence": {"max_age_num_blocks": "100000", "max_age_duration": "172800000000000", "max_bytes": "1048576"},
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "1"},
            "abci": {"vote_extensions_enable_height": "0"},
        },
        "validators": [], "app_hash": "",
    })
}

/// `abci_query`.
pub fn query(answer: &QueryAnswer) -> Value {
    let proof = answer.proof.as_ref().map(|proof| {
        json!({"ops": [{
            "type": proof.kind, "key": STANDARD.encode(&proof.key), "data": STANDARD.encode(&proof.data),
        }]})
    });
    json!({
        "code": answer.code,
        "log": answer.log,
        "info": "",
        "index": "0",
        "key": STANDARD.encode(&answer.key),
        "value": STANDARD.encode(&answer.value),
        "proofOps": proof,
        "height": answer.height.to_string(),
        "codespace": if answer.code == 0 { "" } else { CODESPACE },
    })
}

/// One transaction of a block, as `tx` and `tx_search` give it.
pub fn transaction(kept: &Kept, index: usize) -> Value {
    let bytes = hex::decode(&kept.transactions[index]).unwrap_or_default();
    let hash = careledger_wire::transaction::hash(&bytes);
    json!({
        "hash": hash_text(&hash),
        "height": kept.height().to_string(),
        "index": index,
        "tx_result": execution(&kept.executions[index]),
        "tx": STANDARD.encode(bytes),
    })
}

/// What became of a transaction.
pub fn execution(execution: &Execution) -> Value {
    let events: Vec<Value> = execution.events.iter().map(event).collect();
    let data = hex::decode(&execution.data).unwrap_or_default();
    json!({
        "code": execution.code,
        "data": STANDARD.encode(data),
        "log": execution.log,
        "info": "",
        "gas_wanted": GAS_LIMIT.to_string(),
        "gas_used": execution.gas_used.to_string(),
        "events": events,
        "codespace": if execution.code == 0 { "" } else { CODESPACE },
    })
}

fn event((kind, pairs): &(String, Vec<(String, String)>)) -> Value {
    let attributes: Vec<Value> =
        pairs.iter().map(|(key, value)| json!({"key": key, "value": value, "index": true})).collect();
    json!({"type": kind, "attributes": attributes})
}

/// A block with its transactions.
pub fn block(kept: &Kept) -> Value {
    let transactions: Vec<String> =
        kept.transactions.iter().map(|text| STANDARD.encode(hex::decode(text).unwrap_or_default())).collect();
    let last_commit = if kept.height() == 1 {
        json!({"height": "0", "round": 0, "block_id": {"hash": "", "parts": {"total": 0, "hash": ""}}, "signatures": []})
    } else {
        json!({
            "height": (kept.height() - 1).to_string(), "round": 0,
            "block_id": kept.header.last_block_id, "signatures": [absent()],
        })
    };
    json!({
        "header": kept.header, "data": {"txs": transactions},
        "evidence": {"evidence": []}, "last_commit": last_commit,
    })
}

/// The commit of a block.
pub fn commit(kept: &Kept) -> Value {
    json!({"height": kept.height().to_string(), "round": 0, "block_id": kept.id(), "signatures": [absent()]})
}

fn absent() -> Value {
    json!({"block_id_flag": 1, "validator_address": "", "timestamp": "0001-01-01T00:00:00Z", "signature": null})
}
