//! The JSON documents that the tools read and write: wallets, proofs, amounts.

use serde::{Deserialize, Serialize};

use crate::{
    field::Element,
    key::VerifyingKey,
    statement::{CIRCUIT_DIGEST, CIRCUIT_ID, PublicInputs},
    verify::{PROOF_BYTES, VerifyError, verify},
};

/// A wallet's secret. Everything a member is to insurers and providers comes
/// from it, so it has no `Debug` and stays in a file that only its owner reads.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wallet {
    /// A uniform element.
    pub secret: Element,
}

/// A proof with what it proves: what a member sends to an insurer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofDocument {
    /// [`CIRCUIT_ID`] in hexadecimal.
    circuit: String,
    /// The verifying key's id in hexadecimal.
    key: String,
    /// What is proven about.
    pub inputs: PublicInputs,
    /// 128 bytes in hexadecimal.
    proof: String,
}

/// Opens the committed amount to whom the holder gives it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountOpening {
    /// What is payable at most, in minor units.
    pub amount: u64,
    /// The commitment's blinding.
    pub blinding: Element,
}

/// Why a proof document is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is of another circuit.
    #[error("the proof is of another circuit")]
    Circuit,
    /// It is under another key.
    #[error("the proof is under another verifying key")]
    Key,
    /// The proof is not 256 lower-case hexadecimal digits.
    #[error("a proof is written as 256 lower-case hexadecimal digits")]
    Hex,
    /// The key's id is not 64 lower-case hexadecimal digits.
    #[error("a key's id is written as 64 lower-case hexadecimal digits")]
    KeyHex,
    /// The proof does not verify.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

impl ProofDocument {
    /// A document of a proof under a key.
    pub fn new(key: &VerifyingKey, inputs: PublicInputs, proof: &[u8; PROOF_BYTES]) -> Self {
        Self {
            circuit: hex::encode(CIRCUIT_ID),
            key: hex::encode(key.id(&CIRCUIT_DIGEST)),
            inputs,
            proof: hex::encode(proof),
        }
    }

    /// The proof's bytes.
    pub fn proof(&self) -> Result<[u8; PROOF_BYTES], DocumentError> {
        bytes_of(&self.proof).ok_or(DocumentError::Hex)
    }

    /// The id of the verifying key that the proof is under.
    pub fn key_id(&self) -> Result<[u8; 32], DocumentError> {
        bytes_of(&self.key).ok_or(DocumentError::KeyHex)
    }

    /// Whether the document holds a proof of its inputs under this key.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), DocumentError> {
        if self.circuit != hex::encode(CIRCUIT_ID) {
            return Err(DocumentError::Circuit);
        }
        if self.key != hex::encode(key.id(&CIRCUIT_DIGEST)) {
            return Err(DocumentError::Key);
        }
        Ok(verify(&key.prepare(), &self.inputs, &self.proof()?)?)
    }
}

/// The bytes of lower-case hexadecimal digits.
fn bytes_of<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    (hex::encode(bytes) == text).then_some(bytes)
}
