//! A header with its signatures and validators.

use tendermint::{Hash, block::signed_header::SignedHeader, validator};

/// What a light client looks at of a block. Validators' addresses always follow from their keys:
/// the header names keys and powers alone, and an address that a node invents would let one
/// signature count for another validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBlock {
    /// The header and who signed it.
    pub signed_header: SignedHeader,
    /// Those who could sign it.
    pub validators: validator::Set,
    /// Those who can sign the next.
    pub next_validators: validator::Set,
}

/// Who signed a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signatures {
    /// Validators whose signatures were checked and hold.
    pub signers: usize,
    /// All validators.
    pub validators: usize,
    /// Voting power of those who signed.
    pub power: u64,
    /// Voting power of all.
    pub power_total: u64,
}

impl SignedBlock {
    /// Height of the block.
    pub fn height(&self) -> u64 {
        self.signed_header.header.height.value()
    }

    /// Hash of the header, which names the block.
    pub fn hash(&self) -> Hash {
        self.signed_header.header.hash()
    }
}

/// A set of these keys and powers. What else is said of a validator is not believed. `None` where
/// the powers are more than a set can have.
pub fn validators(named: Vec<validator::Info>) -> Option<validator::Set> {
    let total = named.iter().try_fold(0u64, |total, info| total.checked_add(info.power()))?;
    if total > validator::Set::MAX_TOTAL_VOTING_POWER {
        return None;
    }
    let derived = named.into_iter().map(|info| validator::Info::new(info.pub_key, info.power));
    Some(validator::Set::without_proposer(derived.collect()))
}
