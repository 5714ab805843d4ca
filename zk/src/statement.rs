//! What is public about a proof: eight field elements, in a fixed order.

use serde::{Deserialize, Serialize};

use crate::{
    date::Day,
    field::{ELEMENT_BYTES, Element, ElementError},
};

/// Public inputs of the circuit.
pub const INPUTS: usize = 8;
/// Bytes of all public inputs on a wire.
pub const INPUTS_BYTES: usize = INPUTS * ELEMENT_BYTES;

/// The circuit's stable name is `careledger/circuit/eligibility/1`; this is the
/// SHA-256 of the name. Nullifier tags survive an upgrade, this does not.
pub const CIRCUIT_ID: [u8; 32] = [
    0x25, 0xa3, 0xf5, 0x91, 0x4a, 0x20, 0xd3, 0x68, 0xa0, 0x16, 0xc6, 0xa6, 0x4d, 0x8f, 0xd9, 0xbd, 0x61, 0x4e, 0xec,
    0xd3, 0xbf, 0x49, 0xd4, 0x44, 0x11, 0x9f, 0x14, 0xed, 0x3f, 0x10, 0xe4, 0xda,
];

/// SHA-256 of the circuit's constraints in the iden3 `.r1cs` format. A test
/// holds it to the circuit; a key's id holds it to the key.
pub const CIRCUIT_DIGEST: [u8; 32] = [
    0x50, 0x9d, 0x8e, 0x4d, 0xb9, 0xce, 0xa7, 0x4f, 0x81, 0xa0, 0x64, 0xab, 0x81, 0xfd, 0x63, 0x16, 0x9c, 0x57, 0xf3,
    0xec, 0xb6, 0xa9, 0x57, 0x7e, 0x84, 0x67, 0x25, 0xa6, 0x5d, 0x9f, 0x90, 0x58,
];

/// The public side of the statement. The ledger accepts a proof where the
/// roots are recent, `policy` is published, `as_of` is near the block's day,
/// both nullifiers are new, and `ctx` is what it computes from the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicInputs {
    /// Root of the attestation tree.
    pub att_root: Element,
    /// Root of the enrolment tree.
    pub enr_root: Element,
    /// Commitment of the plan ([`crate::plan::Plan::commitment`]).
    pub policy: Element,
    /// The day on which the statement holds.
    pub as_of: Day,
    /// Spends the event: one event, one claim, however often it is corrected.
    pub null_event: Element,
    /// Spends one of the period's claims.
    pub null_period: Element,
    /// Commitment to what is payable at most.
    pub amount_commit: Element,
    /// What the proof is bound to ([`crate::binding::context`]).
    pub ctx: Element,
}

/// Why bytes are not public inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputsError {
    /// An element is not canonical.
    #[error(transparent)]
    Element(#[from] ElementError),
    /// `as_of` is not a day.
    #[error("the day is not below 2^20")]
    Day,
}

impl PublicInputs {
    /// The inputs in the circuit's order.
    pub fn to_elements(&self) -> [Element; INPUTS] {
        [
            self.att_root,
            self.enr_root,
            self.policy,
            Element::from(u64::from(self.as_of.number())),
            self.null_event,
            self.null_period,
            self.amount_commit,
            self.ctx,
        ]
    }

    /// Reads the circuit's order; refuses a day of more than twenty bits.
    pub fn from_elements(elements: [Element; INPUTS]) -> Result<Self, InputsError> {
        let [att_root, enr_root, policy, as_of, null_event, null_period, amount_commit, ctx] = elements;
        let bytes = as_of.to_bytes();
        let (high, low) = bytes.split_at(ELEMENT_BYTES - 4);
        if high.iter().any(|byte| *byte != 0) {
            return Err(InputsError::Day);
        }
        let number = low.iter().fold(0, |value, byte| (value << 8) | u32::from(*byte));
        let as_of = Day::from_number(number).map_err(|_| InputsError::Day)?;
        Ok(Self { att_root, enr_root, policy, as_of, null_event, null_period, amount_commit, ctx })
    }

    /// The inputs as bytes: each element big-endian, in the circuit's order.
    pub fn to_bytes(&self) -> [u8; INPUTS_BYTES] {
        let mut bytes = [0; INPUTS_BYTES];
        for (chunk, element) in bytes.chunks_exact_mut(ELEMENT_BYTES).zip(self.to_elements()) {
            chunk.copy_from_slice(&element.to_bytes());
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] writes, and nothing else.
    pub fn from_bytes(bytes: &[u8; INPUTS_BYTES]) -> Result<Self, InputsError> {
        let mut elements = [Element::ZERO; INPUTS];
        for (element, chunk) in elements.iter_mut().zip(bytes.chunks_exact(ELEMENT_BYTES)) {
            let chunk = chunk.try_into().expect("chunks are of one element's length");
            *element = Element::from_bytes(chunk)?;
        }
        Self::from_elements(elements)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_circuit_id_is_the_hash_of_its_name() {
        assert_eq!(CIRCUIT_ID, *Sha256::digest("careledger/circuit/eligibility/1"));
    }

    proptest! {
        #[test]
        fn inputs_are_written_as_they_are_read(
            mut bytes in proptest::collection::vec(any::<u8>(), INPUTS_BYTES),
            tame in any::<bool>(),
            day in 0_u32..1 << 21,
        ) {
            if tame {
                bytes.chunks_exact_mut(32).for_each(|chunk| chunk[0] &= 0x1f);
                bytes[96..124].fill(0);
                bytes[124..128].copy_from_slice(&day.to_be_bytes());
            }
            let bytes: [u8; INPUTS_BYTES] = bytes.try_into().expect("the length is right");
            let read = PublicInputs::from_bytes(&bytes);
            if tame {
                prop_assert_eq!(read.is_ok(), day < 1 << 20);
            }
            if let Ok(inputs) = read {
                prop_assert_eq!(inputs.to_bytes(), bytes);
            }
        }
    }
}
