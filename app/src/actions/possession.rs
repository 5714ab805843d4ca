//! The proof that a key's holder wants it in an account's set.

use careledger_wire::{
    commitment,
    ids::Address,
    signing::{PublicKey, Signature},
};
use sha2::{Digest as _, Sha256};

use crate::{accounts, reject::Reject, signatures, state::StateRead, types::BlockContext};

/// Refuses what `key` did not sign for this account on this chain.
pub(super) fn check(
    account: &Address,
    key: &PublicKey,
    proof: &Signature,
    block: &BlockContext,
    state: &impl StateRead,
) -> Result<(), Reject> {
    let digest = Sha256::digest(commitment::possession(block.chain_id, account, key)).into();
    signatures::check_assertion(proof, &digest, &accounts::parameters(state))?;
    if signatures::holds(key, &digest, proof) { Ok(()) } else { Err(Reject::KeyNotProven) }
}
