//! CometBFT's genesis file: read and checked as InitChain would, and made for a chain that continues another.

mod export_file;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use careledger_wire::ids::ValidatorKey;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tendermint_proto::{
    google::protobuf::{Duration, Timestamp},
    v0_38::{
        abci::{RequestInitChain, ValidatorUpdate},
        crypto::{PublicKey, public_key::Sum},
        types::{BlockParams, ConsensusParams, EvidenceParams},
    },
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{consensus, frame::FRAME_BYTES_MAX};
use crate::{
    genesis::{
        self,
        continued::{AppState, ContinuedError, Continues, Exported, Origin, origin_of},
    },
    governance,
    store::tree::Tree,
};

pub use export_file::{read_export, reading};

/// CometBFT's name for the only kind of key that the ledger accepts.
const ED25519: &str = "tendermint/PubKeyEd25519";
/// What a frame has besides `app_state`: validators, parameters, time.
const FRAME_OVERHEAD_BYTES: usize = 1024 * 1024;
/// Largest `app_state`: CometBFT gives it to the application in one frame.
pub const APP_STATE_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_OVERHEAD_BYTES;

/// What `app_state` has besides an export's pairs: its id, height, time and root.
const HEAD_BYTES_MAX: usize = 1024;

/// What a genesis file begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The chain's id.
    pub chain_id: String,
    /// Height of its first block.
    pub initial_height: u64,
    /// Root of its first state, which the first header carries.
    pub app_hash: [u8; 32],
    /// Validators with power.
    pub validators: usize,
    /// The state that it continues with.
    pub continues: Option<Origin>,
    /// Whether that state is in a file of its own.
    pub is_beside: bool,
}

/// The parts of the file that the ledger is told. CometBFT writes 64-bit numbers as text.
#[derive(Deserialize)]
struct File {
    chain_id: String,
    genesis_time: String,
    #[serde(default)]
    initial_height: Option<String>,
    #[serde(default)]
    consensus_params: Option<Parameters>,
    #[serde(default)]
    validators: Option<Vec<Validator>>,
    app_state: Value,
}

#[derive(Deserialize)]
struct Parameters {
    block: Option<Block>,
    evidence: Option<Evidence>,
}

#[derive(Deserialize)]
struct Block {
    max_bytes: String,
    max_gas: String,
}

#[derive(Deserialize)]
struct Evidence {
    max_age_num_blocks: String,
    /// Nanoseconds.
    max_age_duration: String,
    max_bytes: String,
}

#[derive(Deserialize)]
struct Validator {
    pub_key: Key,
    power: String,
}

#[derive(Deserialize)]
struct Key {
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

/// What CometBFT asks of the application because of this file.
///
/// # Errors
/// Where the file is not one of CometBFT 0.38, naming the field.
pub fn request(file: &str) -> Result<RequestInitChain, String> {
    let file: File = serde_json::from_str(file).map_err(|error| error.to_string())?;
    let time = OffsetDateTime::parse(&file.genesis_time, &Rfc3339);
    let time = time.map_err(|_| format!("genesis_time: `{}` is no time", file.genesis_time))?;
    let initial_height = file.initial_height.as_deref().map_or(Ok(1), |text| number("initial_height", text))?;
    // CometBFT would fill in its own, which the first state depends on.
    let given =
        file.consensus_params.ok_or("consensus_params: write them out; CometBFT's defaults are none of the file's")?;
    let parameters = Some(parameters(given)?);
    let validators = file.validators.unwrap_or_default().iter().enumerate().map(validator).collect::<Result<_, _>>()?;
    let nanos = i32::try_from(time.nanosecond()).expect("less than a thousand million");
    Ok(RequestInitChain {
        time: Some(Timestamp { seconds: time.unix_timestamp(), nanos }),
        chain_id: file.chain_id,
        consensus_params: parameters,
        validators,
        app_state_bytes: serde_json::to_vec(&file.app_state).expect("a value is JSON").into(),
        // CometBFT takes 0 for 1.
        initial_height: initial_height.max(1),
    })
}

/// What the chain of this file begins with: all that the application would check in InitChain. `beside` reads a state
/// that the file names and does not hold.
///
/// # Errors
/// Why it would refuse the file.
pub fn check(file: &str, beside: impl FnOnce(&Origin) -> Result<Exported, ContinuedError>) -> Result<Checked, String> {
    let request = request(file)?;
    if request.app_state_bytes.len() > APP_STATE_BYTES_MAX {
        return Err(format!(
            "app_state has {} bytes, more than the {APP_STATE_BYTES_MAX} that CometBFT can give to the application",
            request.app_state_bytes.len()
        ));
    }
    let given = request.consensus_params.as_ref();
    let consensus = consensus::consensus(given, &request.validators, request.initial_height)?;
    let time = super::seconds(request.time.as_ref());
    let mut is_beside = false;
    let beside = |origin: &Origin| {
        is_beside = true;
        beside(origin)
    };
    let first = genesis::first_state(&request.app_state_bytes, &request.chain_id, time, &consensus, beside);
    let first = first.map_err(|error| error.to_string())?;
    Ok(Checked {
        chain_id: request.chain_id,
        initial_height: consensus.initial_height,
        app_hash: Tree::default().with(&first).root(),
        validators: consensus.validators.len(),
        continues: origin_of(&request.app_state_bytes),
        is_beside,
    })
}

/// The genesis file of a chain that continues with an exported state, and what it begins. `validators` take the places
/// of those that have power in the state; where there are none given, those go on. The state is in the file where
/// `app_state` has at most `app_state_bytes_max` bytes with it ([`APP_STATE_BYTES_MAX`], or 0 for never), else beside it.
///
/// # Errors
/// Why no chain can begin so.
pub fn continuing(
    exported: Exported,
    chain_id: &str,
    time: i64,
    validators: &[(ValidatorKey, u64)],
    app_state_bytes_max: usize,
) -> Result<(String, Checked), String> {
    let state = exported.state();
    let mut validators = validators.to_vec();
    if validators.is_empty() {
        let known = governance::validators(state).into_iter();
        validators = known.map(|(key, validator)| (key, validator.power)).filter(|(_, power)| *power > 0).collect();
    }
    if validators.is_empty() {
        return Err("the state has no validator with power: name those of the new chain".to_owned());
    }
    let time = OffsetDateTime::from_unix_timestamp(time).ok().and_then(|time| time.format(&Rfc3339).ok());
    let time = time.ok_or("genesis_time is out of range")?;
    let evidence = governance::evidence(state);
    let fits = exported.pairs_bytes() + HEAD_BYTES_MAX <= app_state_bytes_max;
    let continues = if fits { Continues::Inside(&exported) } else { Continues::Beside(&exported.origin) };
    let file = json!({
        "genesis_time": time,
        "chain_id": chain_id,
        "initial_height": exported.origin.height.saturating_add(1).to_string(),
        "consensus_params": {
            "block": {
                "max_bytes": (governance::block_bytes(state) + consensus::BLOCK_OVERHEAD_BYTES).to_string(),
                // Work is bounded by the ledger's own limits.
                "max_gas": "-1",
            },
            "evidence": {
                "max_age_num_blocks": evidence.age_blocks.to_string(),
                "max_age_duration": (u128::from(evidence.age_seconds) * 1_000_000_000).to_string(),
                "max_bytes": evidence.bytes.to_string(),
            },
            "validator": { "pub_key_types": ["ed25519"] },
            "version": { "app": governance::state_version(state).to_string() },
            "abci": { "vote_extensions_enable_height": "0" },
        },
        "validators": validators.iter().map(written).collect::<Vec<_>>(),
        "app_hash": "",
        "app_state": AppState { continues },
    });
    let text = file.to_string();
    drop(file);
    let checked = check(&text, |_| Ok(exported))?;
    Ok((text, checked))
}

fn written((key, power): &(ValidatorKey, u64)) -> Value {
    let address = hex::encode_upper(&Sha256::digest(key.as_bytes())[..20]);
    let value = BASE64_STANDARD.encode(key.as_bytes());
    json!({
        "address": address,
        "pub_key": { "type": ED25519, "value": value },
        "power": power.to_string(),
        "name": "",
    })
}

fn number(name: &str, text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("{name}: `{text}` is no number"))
}

fn parameters(parameters: Parameters) -> Result<ConsensusParams, String> {
    let block = |block: Block| -> Result<BlockParams, String> {
        let (max_bytes, max_gas) =
            (number("block.max_bytes", &block.max_bytes)?, number("block.max_gas", &block.max_gas)?);
        Ok(BlockParams { max_bytes, max_gas })
    };
    let evidence = |evidence: Evidence| -> Result<EvidenceParams, String> {
        let nanos = number("evidence.max_age_duration", &evidence.max_age_duration)?;
        let rest = i32::try_from(nanos % 1_000_000_000).expect("less than a thousand million");
        Ok(EvidenceParams {
            max_age_num_blocks: number("evidence.max_age_num_blocks", &evidence.max_age_num_blocks)?,
            max_age_duration: Some(Duration { seconds: nanos / 1_000_000_000, nanos: rest }),
            max_bytes: number("evidence.max_bytes", &evidence.max_bytes)?,
        })
    };
    Ok(ConsensusParams {
        block: parameters.block.map(block).transpose()?,
        evidence: parameters.evidence.map(evidence).transpose()?,
        ..ConsensusParams::default()
    })
}

fn validator((place, validator): (usize, &Validator)) -> Result<ValidatorUpdate, String> {
    let wrong = |what: &str| format!("validator {place} (counted from 0): {what}");
    if validator.pub_key.kind != ED25519 {
        return Err(wrong("its key must be of type ed25519"));
    }
    let key = BASE64_STANDARD.decode(&validator.pub_key.value).map_err(|_| wrong("its key is not base64"))?;
    let power = number("power", &validator.power).map_err(|error| wrong(&error))?;
    Ok(ValidatorUpdate { pub_key: Some(PublicKey { sum: Some(Sum::Ed25519(key)) }), power })
}
