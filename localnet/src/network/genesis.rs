//! The genesis that all validators share.

use serde_json::{Value, json};

use crate::failure::Failure;

/// Largest block. Bounds what one proposal costs to gossip.
const BLOCK_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Largest evidence in a block; CometBFT refuses a genesis where it exceeds the block.
const EVIDENCE_BYTES_MAX: u64 = 1024 * 1024;
const _: () = assert!(EVIDENCE_BYTES_MAX <= BLOCK_BYTES_MAX, "evidence must fit a block");
const _: () = assert!(BLOCK_BYTES_MAX > 0, "InitChain panics on a block of no bytes");

/// Turns the genesis that CometBFT generated (keys, time) into the network's.
///
/// # Errors
/// When the generated genesis is not of the shape that CometBFT 0.38 writes.
pub fn complete(generated: &str, chain_id: &str, app_state: Option<Value>) -> Result<String, Failure> {
    let mut genesis: Value = serde_json::from_str(generated)
        .map_err(|error| Failure::Check(format!("CometBFT's generated genesis: {error}")))?;
    let validators = genesis["validators"].as_array().map_or(0, Vec::len);
    if validators == 0 || !genesis["consensus_params"].is_object() {
        return Err(Failure::Check("CometBFT's generated genesis has another shape than expected".into()));
    }
    genesis["chain_id"] = chain_id.into();
    genesis["consensus_params"]["block"] = json!({
        "max_bytes": BLOCK_BYTES_MAX.to_string(),
        // Work is bounded by the ledger's own limits; 0 would let no transaction in.
        "max_gas": "-1",
    });
    genesis["consensus_params"]["evidence"]["max_bytes"] = EVIDENCE_BYTES_MAX.to_string().into();
    if let Some(state) = app_state {
        genesis["app_state"] = state;
    }
    serde_json::to_string_pretty(&genesis).map_err(|error| Failure::Check(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATED: &str = r#"{"genesis_time":"2026-01-01T00:00:00Z","chain_id":"chain-x","initial_height":"0",
        "consensus_params":{"block":{"max_bytes":"4194304","max_gas":"10000000"},
        "evidence":{"max_age_num_blocks":"100000","max_age_duration":"172800000000000","max_bytes":"99999999"},
        "validator":{"pub_key_types":["ed25519"]},"version":{"app":"0"},"abci":{"vote_extensions_enable_height":"0"}},
        "validators":[{"address":"A","pub_key":{"type":"tendermint/PubKeyEd25519","value":"B"},"power":"1","name":"v0"}],
        "app_hash":""}"#;

    #[test]
    fn the_genesis_keeps_the_keys_and_avoids_what_cometbft_trips_over() {
        let state = json!({ "registrars": ["care1"] });
        let genesis: Value =
            serde_json::from_str(&complete(GENERATED, "careledger-dev-1", Some(state.clone())).unwrap()).unwrap();
        let before: Value = serde_json::from_str(GENERATED).unwrap();
        assert_eq!(genesis["chain_id"], "careledger-dev-1");
        assert_eq!(genesis["app_state"], state);
        assert_eq!(genesis["validators"], before["validators"]);
        assert_eq!(genesis["consensus_params"]["block"]["max_gas"], "-1");
        let bytes = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
        let parameters = &genesis["consensus_params"];
        assert!(bytes(&parameters["evidence"]["max_bytes"]) <= bytes(&parameters["block"]["max_bytes"]));
        assert_eq!(parameters["evidence"]["max_age_num_blocks"], "100000");
    }

    #[test]
    fn a_genesis_of_another_shape_is_refused() {
        for generated in ["{}", "not JSON", r#"{"validators":[],"consensus_params":{}}"#] {
            assert!(complete(generated, "test-1", None).is_err(), "{generated}");
        }
    }
}
