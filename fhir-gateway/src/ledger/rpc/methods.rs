//! The calls that are answered, one function each, in one table.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_app::machine::Prove;
use careledger_wire::{ids::TransactionHash, transaction};
use serde_json::{Value, json};

use super::{CallError, answers, params::Params};
use crate::ledger::{
    blocks::Kept,
    embedded::{Denied, Shared},
};

/// Blocks in one answer of `blockchain`.
const BLOCKS_IN_ANSWER: u64 = 20;

/// Answers one call.
pub type Method = fn(&Shared, &Params) -> Result<Value, CallError>;

/// Every call that is answered.
pub const METHODS: &[(&str, Method)] = &[
    ("health", health),
    ("status", status),
    ("genesis", genesis),
    ("abci_info", abci_info),
    ("abci_query", abci_query),
    ("broadcast_tx_sync", broadcast_tx_sync),
    ("broadcast_tx_async", broadcast_tx_sync),
    ("num_unconfirmed_txs", num_unconfirmed_txs),
    ("tx", tx),
    ("tx_search", tx_search),
    ("block", block),
    ("block_results", block_results),
    ("header", header),
    ("commit", commit),
    ("blockchain", blockchain),
    ("validators", validators),
];

fn health(_: &Shared, _: &Params) -> Result<Value, CallError> {
    Ok(json!({}))
}

fn status(ledger: &Shared, _: &Params) -> Result<Value, CallError> {
    let (height, app_hash) = ledger.tip();
    Ok(answers::status(ledger.chain_id(), height, app_hash, ledger.blocks().get(height).as_ref()))
}

fn genesis(ledger: &Shared, _: &Params) -> Result<Value, CallError> {
    let first = ledger.blocks().get(1).map_or(0, |block| block.time());
    Ok(json!({"genesis": answers::genesis(ledger.chain_id(), first)}))
}

fn abci_info(ledger: &Shared, _: &Params) -> Result<Value, CallError> {
    let (height, app_hash) = ledger.tip();
    Ok(json!({"response": {
        "data": "careledger", "version": env!("CARGO_PKG_VERSION"), "app_version": "1",
        "last_block_height": height.to_string(), "last_block_app_hash": STANDARD.encode(app_hash),
    }}))
}

fn abci_query(ledger: &Shared, params: &Params) -> Result<Value, CallError> {
    let path = params.text("path")?.unwrap_or_default();
    let data = params.hexadecimal("data")?;
    let height = params.number("height")?.unwrap_or(0);
    let prove = if params.flag("prove")? { Prove::Yes } else { Prove::No };
    Ok(json!({"response": answers::query(&ledger.query(&path, &data, height, prove))}))
}

fn broadcast_tx_sync(ledger: &Shared, params: &Params) -> Result<Value, CallError> {
    let bytes = params.base64("tx")?.ok_or_else(|| CallError::params("tx is missing"))?;
    let hash = transaction::hash(&bytes);
    let (code, log) = match ledger.accept(bytes, None) {
        Ok(()) => (0, String::new()),
        Err(Denied::Refused { code, log }) => (code, log),
        Err(Denied::Full) => return Err(CallError::internal("mempool is full")),
    };
    let codespace = if code == 0 { "" } else { answers::CODESPACE };
    Ok(json!({"code": code, "data": "", "log": log, "codespace": codespace, "hash": answers::hash_text(&hash)}))
}

fn num_unconfirmed_txs(ledger: &Shared, _: &Params) -> Result<Value, CallError> {
    let (count, bytes) = ledger.waiting();
    let count = count.to_string();
    Ok(json!({"n_txs": count, "total": count, "total_bytes": bytes.to_string(), "txs": null}))
}

fn tx(ledger: &Shared, params: &Params) -> Result<Value, CallError> {
    let bytes = params.base64("hash")?.ok_or_else(|| CallError::params("hash is missing"))?;
    let hash = TransactionHash::try_from(bytes.as_slice()).map_err(|_| CallError::params("hash has 32 bytes"))?;
    let found = ledger.blocks().find(&hash);
    let (kept, index) =
        found.ok_or_else(|| CallError::internal(format!("tx ({}) not found", answers::hash_text(&hash))))?;
    Ok(answers::transaction(&kept, index))
}

/// Two questions are understood: `tx.hash='…'` and `tx.height=N`. There is no index of events.
fn tx_search(ledger: &Shared, params: &Params) -> Result<Value, CallError> {
    let query = params.text("query")?.unwrap_or_default();
    let compact: String = query.chars().filter(|character| !character.is_whitespace()).collect();
    let found: Vec<Value> = if let Some(hash) = compact.strip_prefix("tx.hash=") {
        let hash: TransactionHash =
            hash.trim_matches('\'').parse().map_err(|_| CallError::params("tx.hash has 64 hexadecimal digits"))?;
        let found = ledger.blocks().find(&hash);
        found.map(|(kept, index)| answers::transaction(&kept, index)).into_iter().collect()
    } else if let Some(height) = compact.strip_prefix("tx.height=") {
        let height = height.trim_matches('\'').parse().map_err(|_| CallError::params("tx.height is a number"))?;
        let kept = ledger.blocks().get(height);
        let all =
            kept.map(|kept| (0..kept.transactions.len()).map(|index| answers::transaction(&kept, index)).collect());
        all.unwrap_or_default()
    } else {
        return Err(CallError::params("only tx.hash='…' and tx.height=N can be searched for"));
    };
    Ok(json!({"total_count": found.len().to_string(), "txs": found}))
}

/// The block that `height` names; the newest where it names none.
fn named(ledger: &Shared, params: &Params) -> Result<Kept, CallError> {
    let (newest, _) = ledger.tip();
    let height = params.number("height")?.unwrap_or(newest);
    let missing = || CallError::internal(format!("there is no block at height {height}; the newest is {newest}"));
    ledger.blocks().get(height).ok_or_else(missing)
}

fn block(ledger: &Shared, params: &Params) -> Result<Value, CallError> {
    let kept = named(ledger, params)?;
    Ok(json!({"block_id": kept.id(), "block": answers::block(&kept)}))
}

fn block_results(ledger: &Shared, params: &Params) -> Result<Value, CallError> {
    let kept = named(ledger, params)?;
    let results: Vec<Value> = kept.executions.iter().map(answers::execution).collect();
    Ok(json!({
        "height": kept.height().to_string(), "txs_results": results, "finalize_block_events": [],
        "validator_updates": null, "consensus_param_updates": null, "app_hash": "",
    }))
}

fn header(ledger: &Shared, params: &Params) -> Result<Value, CallError> {
    Ok(json!({"header": named(ledger, params)?.header}))
}

fn commit(ledger: &Shared, params: &Params) -> Result<Value, CallError> {
    let kept = named(ledger, params)?;
    let commit = answers::commit(&kept);
    Ok(json!({"signed_header": {"header": kept.header, "commit": commit}, "canonical": true}))
}

fn blockchain(ledger: &Shared, params: &Params) -> Result<Value, CallError> {
    let (newest, _) = ledger.tip();
    let last = params.number("maxHeight")?.filter(|height| *height > 0).unwrap_or(newest).min(newest);
    let first = params.number("minHeight")?.unwrap_or(1).max(1).max((last + 1).saturating_sub(BLOCKS_IN_ANSWER));
    let metas: Vec<Value> = (first..=last).rev().filter_map(|height| ledger.blocks().get(height)).map(meta).collect();
    Ok(json!({"last_height": newest.to_string(), "block_metas": metas}))
}

fn meta(kept: Kept) -> Value {
    let size: usize = kept.transactions.iter().map(|text| text.len() / 2).sum();
    json!({
        "block_id": kept.id(), "block_size": size.to_string(),
        "num_txs": kept.transactions.len().to_string(), "header": kept.header,
    })
}

/// There is one pseudo-validator, without power: an embedded ledger has no consensus.
fn validators(ledger: &Shared, _: &Params) -> Result<Value, CallError> {
    let (height, _) = ledger.tip();
    Ok(json!({
        "block_height": height.to_string(), "count": "1", "total": "1",
        "validators": [answers::validator()],
    }))
}
