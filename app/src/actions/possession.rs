//! What keys say besides transactions: that they want to be in an account's set, or to have their
//! account at an organization.

use careledger_wire::{
    commitment,
    ids::Address,
    proto::accounts as proto,
    signing::{PublicKey, Signature},
};
use sha2::{Digest as _, Sha256};

use super::fields;
use crate::{
    accounts::{self, parameters},
    reject::Reject,
    signatures,
    state::StateRead,
    types::BlockContext,
};

/// Refuses a key that did not sign that it wants to be one of this account's on this chain.
pub(super) fn check(
    account: &Address,
    key: &PublicKey,
    proof: &Signature,
    block: &BlockContext,
    state: &impl StateRead,
) -> Result<(), Reject> {
    check_signed(&commitment::possession(block.chain_id, account, key), key, proof, state)
}

fn check_signed(bytes: &[u8; 32], key: &PublicKey, proof: &Signature, state: &impl StateRead) -> Result<(), Reject> {
    let digest = Sha256::digest(bytes).into();
    signatures::check_assertion(proof, &digest, &parameters(state))?;
    if accounts::is_one_key(key, state) && signatures::holds(key, &digest, proof) {
        Ok(())
    } else {
        Err(Reject::KeyNotProven)
    }
}

/// A key's word that it wants its account at an organization.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Binding {
    pub(super) key: PublicKey,
    signature: Signature,
}

impl Binding {
    /// The word of the key whose address is `account`, where a message carries one.
    pub(super) fn parse(binding: Option<&proto::Binding>, account: &Address) -> Result<Option<Self>, Reject> {
        let Some(binding) = binding else { return Ok(None) };
        let kind = fields::choice("binding", binding.kind)?;
        let key = PublicKey::new(kind, &binding.key).filter(|key| key.address() == *account);
        let signature = Signature::decode(kind, &binding.signature);
        let (Some(key), Some(signature)) = (key, signature) else { return Err(Reject::InvalidField("binding")) };
        Ok(Some(Self { key, signature }))
    }

    /// Refuses what is not the key's word to this organization on this chain.
    pub(super) fn check(
        &self,
        organization: &Address,
        block: &BlockContext,
        state: &impl StateRead,
    ) -> Result<(), Reject> {
        let bytes = commitment::binding(block.chain_id, organization, &self.key);
        check_signed(&bytes, &self.key, &self.signature, state)
    }
}
