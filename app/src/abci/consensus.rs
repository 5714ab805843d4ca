//! CometBFT's validators and parameters: what genesis says of them, and what a block changes.
//!
//! What CometBFT would stop for cannot be expressed here: updates are the difference of two states,
//! so none names a validator that CometBFT does not know; every key is Ed25519; evidence is smaller
//! than the smallest block that registrars can vote for.

use careledger_wire::ids::ValidatorKey;
use tendermint_proto::{
    google::protobuf::Duration,
    v0_38::{
        abci::{Misbehavior as Evidence, ValidatorUpdate},
        crypto::{PublicKey, public_key::Sum},
        types::{BlockParams, ConsensusParams, EvidenceParams, VersionParams},
    },
};

use super::unsigned;
use crate::{
    genesis::Consensus,
    limits::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, EVIDENCE_BYTES_MAX},
    types::{ConsensusParameters, ConsensusUpdates, EvidenceParameters, Misbehavior},
};

/// What a proposed block is beside its transactions: header, evidence and the last commit of a
/// hundred validators.
pub(super) const BLOCK_OVERHEAD_BYTES: usize = 64 * 1024;
/// Largest block that the network agrees on, all of it.
const CONSENSUS_BLOCK_BYTES_MAX: i64 = (BLOCK_BYTES_MAX + BLOCK_OVERHEAD_BYTES) as i64;
/// CometBFT stops above this (`MaxBlockSizeBytes`).
const COMETBFT_BLOCK_BYTES_MAX: i64 = 100 * 1024 * 1024;

const _: () = assert!(CONSENSUS_BLOCK_BYTES_MAX <= COMETBFT_BLOCK_BYTES_MAX, "CometBFT refuses larger blocks");
const _: () = assert!(EVIDENCE_BYTES_MAX <= BLOCK_BYTES_MIN, "CometBFT refuses evidence larger than a block");

/// The consensus parameters of the genesis file within what this ledger can bear.
pub(super) fn genesis_parameters(genesis: &ConsensusParams, state_version: u32) -> ConsensusParams {
    let asked = genesis.block.map_or(0, |block| block.max_bytes);
    let max_bytes = if (1..=CONSENSUS_BLOCK_BYTES_MAX).contains(&asked) { asked } else { CONSENSUS_BLOCK_BYTES_MAX };
    // CometBFT refuses evidence that may be larger than a block.
    let evidence_max = max_bytes.min(EVIDENCE_BYTES_MAX as i64);
    let evidence =
        genesis.evidence.map(|evidence| EvidenceParams { max_bytes: evidence.max_bytes.min(evidence_max), ..evidence });
    ConsensusParams {
        block: Some(block(max_bytes)),
        evidence,
        version: Some(version(state_version)),
        ..no_parameters()
    }
}

/// What the ledger keeps track of, of a chain that begins with these.
pub(super) fn consensus(
    given: Option<&ConsensusParams>,
    validators: &[ValidatorUpdate],
    initial_height: i64,
) -> Result<Consensus, String> {
    let validator = |validator: &ValidatorUpdate| {
        let key = match validator.pub_key.as_ref().and_then(|key| key.sum.as_ref()) {
            Some(Sum::Ed25519(bytes)) => ValidatorKey::try_from(bytes.as_slice()).map_err(|error| error.to_string())?,
            _ => return Err("every validator's key must be of type ed25519".to_owned()),
        };
        Ok((key, unsigned(validator.power)))
    };
    let evidence = given.and_then(|given| genesis_parameters(given, 1).evidence).map(|evidence| EvidenceParameters {
        age_blocks: unsigned(evidence.max_age_num_blocks),
        // Less than a second is one: 0 stands for what genesis left out.
        age_seconds: evidence.max_age_duration.map_or(0, |age| unsigned(age.seconds).max(1)),
        bytes: unsigned(evidence.max_bytes),
    });
    let validators = validators.iter().map(validator).collect::<Result<_, _>>()?;
    Ok(Consensus { validators, evidence, initial_height: unsigned(initial_height) })
}

/// What FinalizeBlock answers of `updates`.
pub(super) fn answer(updates: ConsensusUpdates) -> (Vec<ValidatorUpdate>, Option<ConsensusParams>) {
    let validator = |(key, power): (ValidatorKey, u64)| ValidatorUpdate {
        pub_key: Some(PublicKey { sum: Some(Sum::Ed25519(key.to_vec())) }),
        power: super::signed(power),
    };
    (updates.validators.into_iter().map(validator).collect(), updates.parameters.map(parameters))
}

/// What a block's evidence says.
pub(super) fn misbehavior(evidence: &Evidence) -> Option<Misbehavior> {
    let validator = evidence.validator.as_ref()?.address.as_ref().try_into().ok()?;
    Some(Misbehavior { kind: u32::try_from(evidence.r#type).ok()?, validator, height: unsigned(evidence.height) })
}

fn parameters(parameters: ConsensusParameters) -> ConsensusParams {
    let overhead = BLOCK_OVERHEAD_BYTES as u64;
    let evidence = parameters.evidence.map(|evidence| EvidenceParams {
        max_age_num_blocks: super::signed(evidence.age_blocks),
        max_age_duration: Some(Duration { seconds: super::signed(evidence.age_seconds), nanos: 0 }),
        max_bytes: super::signed(evidence.bytes),
    });
    ConsensusParams {
        block: parameters.block_bytes.map(|bytes| block(super::signed(bytes + overhead))),
        evidence,
        // CometBFT takes the version from every update, also from one without: then it would be 0.
        version: Some(version(parameters.state_version)),
        ..no_parameters()
    }
}

/// Work is bounded by limits and quotas; there is no gas.
fn block(max_bytes: i64) -> BlockParams {
    BlockParams { max_bytes, max_gas: -1 }
}

fn version(state_version: u32) -> VersionParams {
    VersionParams { app: state_version.into() }
}

fn no_parameters() -> ConsensusParams {
    ConsensusParams::default()
}
