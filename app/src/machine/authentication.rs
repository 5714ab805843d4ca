//! Who signed a transaction, and that it is not replayed.

use careledger_wire::{
    ids::TransactionHash,
    proto::state::{Account, Executed},
    transaction::{Replay, Transaction},
};
use parking_lot::Mutex;
use secp256k1::{PublicKey, ecdsa, ecdsa::Signature};

use crate::{
    governance, keys,
    limits::VERIFIED_SIGNATURES_MAX,
    proofs::Remembered,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::BlockContext,
};

/// Whether a signature is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureRule {
    /// In the mempool and in blocks.
    Required,
    /// In simulations only.
    Waived,
}

/// Checks signatures and remembers which held. The hash covers every byte of the transaction, so a
/// verdict is never taken for other bytes.
pub(super) struct Signatures {
    held: Mutex<Remembered<(TransactionHash, u64), ()>>,
}

impl Default for Signatures {
    fn default() -> Self {
        Self { held: Mutex::new(Remembered::new(VERIFIED_SIGNATURES_MAX)) }
    }
}

impl Signatures {
    /// Whether the signature is its key's over these bytes, this chain and this account number.
    /// The C library refuses a high s, so a transaction has one signature and one hash.
    pub(super) fn verify(&self, transaction: &Transaction, chain_id: &str, account_number: u64) -> bool {
        let id = (transaction.hash(), account_number);
        if self.held.lock().get(&id).is_some() {
            return true;
        }
        let message = secp256k1::Message::from_digest(transaction.sign_digest(chain_id, account_number));
        let Ok(key) = PublicKey::from_byte_array_compressed(*transaction.public_key()) else { return false };
        let Ok(signature) = Signature::from_compact(transaction.signature()) else { return false };
        let holds = ecdsa::verify(&signature, message, &key).is_ok();
        if holds {
            self.held.lock().insert(id, ());
        }
        holds
    }
}

/// Refuses what may not be in this block at all; gives the signer's account.
pub(super) fn check(
    transaction: &Transaction,
    block: &BlockContext,
    rule: SignatureRule,
    signatures: &Signatures,
    state: &impl StateRead,
) -> Result<Account, Reject> {
    let account = state.get(&keys::account(&transaction.signer())).ok_or(Reject::UnknownAccount)?;
    if transaction.timeout_height() != 0 && transaction.timeout_height() < block.height {
        return Err(Reject::TransactionExpired);
    }
    match transaction.replay() {
        Replay::Sequence(sequence) if sequence != account.sequence => return Err(Reject::WrongSequence),
        Replay::Sequence(_) => {}
        Replay::UntilTime(time) if block.has_passed(time) => return Err(Reject::TransactionExpired),
        Replay::UntilTime(time) if block.is_beyond(time, governance::unordered_seconds(state)) => {
            return Err(Reject::TimeoutTooFar);
        }
        Replay::UntilTime(time) if state.has(&keys::unordered(time, &transaction.hash())) => {
            return Err(Reject::AlreadyExecuted);
        }
        Replay::UntilTime(_) => {}
    }
    let is_signed = || signatures.verify(transaction, block.chain_id, account.number);
    if rule == SignatureRule::Waived || is_signed() { Ok(account) } else { Err(Reject::BadSignature) }
}

/// Uses up the sequence, or remembers the hash. Stays even when a message is refused: a
/// transaction gets one answer.
pub(super) fn consume(transaction: &Transaction, account: Account, block: &BlockContext, state: &mut impl StateWrite) {
    let mut next = account;
    match transaction.replay() {
        Replay::Sequence(_) => next.sequence += 1,
        Replay::UntilTime(time) => {
            let height = i64::try_from(block.height).expect("CometBFT's heights are positive 64-bit integers");
            state.put(&keys::unordered(time, &transaction.hash()), &Executed { height });
            if !next.public_key.is_empty() {
                return;
            }
        }
    }
    next.public_key = transaction.public_key().to_vec();
    state.put(&keys::account(&transaction.signer()), &next);
}

/// Forgets unordered transactions that their expiry now protects, at most `most`.
pub(super) fn prune(block: &BlockContext, most: usize, state: &mut impl StateWrite) {
    for (path, _) in state.scan(keys::UNORDERED, None, most) {
        let expiry = keys::unordered_expiry(&path).expect("unordered paths carry their expiry");
        if !block.has_passed(expiry) {
            return;
        }
        state.delete_bytes(&path);
    }
}
