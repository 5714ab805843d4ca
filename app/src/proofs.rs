//! Eligibility proofs: verdicts are a pure function of key, statement and proof, and remembered.

use std::{collections::BTreeMap, sync::Arc};

use careledger_wire::ids::CircuitId;
use careledger_zk::{
    key::{PreparedKey, VerifyingKey},
    statement::PublicInputs,
    verify::{self, PROOF_BYTES, VerifyError},
};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::{limits::VERIFIED_PROOFS_MAX, reject::Reject, remembered::Remembered};

/// A proof and what it should prove.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// Id of the verifying key.
    pub circuit: CircuitId,
    /// The statement.
    pub inputs: PublicInputs,
    /// The proof.
    pub proof: [u8; PROOF_BYTES],
}

/// Checks proofs. Remembers prepared keys and verdicts; forgetting them changes no verdict.
pub struct ProofVerifier {
    keys: Mutex<BTreeMap<CircuitId, Arc<PreparedKey>>>,
    verdicts: Mutex<Remembered<[u8; 32], Result<(), VerifyError>>>,
}

impl Default for ProofVerifier {
    fn default() -> Self {
        Self { keys: Mutex::default(), verdicts: Mutex::new(Remembered::new(VERIFIED_PROOFS_MAX)) }
    }
}

impl ProofVerifier {
    /// Whether the proof holds under the key of these bytes, which genesis accepted.
    pub fn verify(&self, key: &[u8], claimed: &Claimed) -> Result<(), Reject> {
        let digest = digest(claimed);
        let remembered = self.verdicts.lock().get(&digest);
        let verdict = remembered.unwrap_or_else(|| {
            let verdict = verify::verify(&self.prepared(&claimed.circuit, key), &claimed.inputs, &claimed.proof);
            self.verdicts.lock().insert(digest, verdict);
            verdict
        });
        verdict.map_err(|error| match error {
            VerifyError::Encoding => Reject::MalformedProof,
            VerifyError::Refused => Reject::ProofRefused,
        })
    }

    /// Checks many proofs under one key together, so that [`Self::verify`] finds their verdicts.
    /// A batch gives each proof the verdict that it has by itself.
    pub fn verify_ahead(&self, key: &[u8], circuit: &CircuitId, claimed: &[Claimed]) {
        let fresh: Vec<_> = {
            let verdicts = self.verdicts.lock();
            claimed
                .iter()
                .map(|claimed| (digest(claimed), claimed))
                .filter(|(d, _)| verdicts.get(d).is_none())
                .collect()
        };
        let batch: Vec<_> = fresh.iter().map(|(_, claimed)| (claimed.inputs, claimed.proof)).collect();
        let found = verify::verify_batch(&self.prepared(circuit, key), &batch);
        let mut verdicts = self.verdicts.lock();
        for ((digest, _), verdict) in fresh.into_iter().zip(found) {
            verdicts.insert(digest, verdict);
        }
    }

    fn prepared(&self, circuit: &CircuitId, key: &[u8]) -> Arc<PreparedKey> {
        let mut keys = self.keys.lock();
        let prepare = || Arc::new(VerifyingKey::decode(key).expect("genesis refuses unusable keys").prepare());
        Arc::clone(keys.entry(*circuit).or_insert_with(prepare))
    }
}

fn digest(claimed: &Claimed) -> [u8; 32] {
    let hasher = Sha256::new().chain_update(claimed.circuit.as_bytes()).chain_update(claimed.inputs.to_bytes());
    hasher.chain_update(claimed.proof).finalize().into()
}
