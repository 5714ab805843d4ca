//! Who signed a transaction, and that it is not replayed.

use careledger_wire::{
    ids::{Address, TransactionHash},
    message::Message,
    proto::state::{Account, AccountRole, Executed},
    signing::Signature,
    transaction::{Replay, Signatory, Transaction},
};
use parking_lot::Mutex;

use super::quotas::{self, Paid};
use crate::{
    accounts,
    actions::standing,
    governance, keys,
    limits::VERIFIED_SIGNATURES_MAX,
    reject::Reject,
    remembered::Remembered,
    signatures,
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
    held: Mutex<Remembered<(TransactionHash, Address, u64), ()>>,
}

impl Default for Signatures {
    fn default() -> Self {
        Self { held: Mutex::new(Remembered::new(VERIFIED_SIGNATURES_MAX)) }
    }
}

impl Signatures {
    /// Refuses what `signatory` did not sign over these bytes, this chain and this account number.
    /// Every form has one low s. What a passkey's user saw is judged each time, because what the
    /// parameters allow can change; that the signature holds is remembered.
    fn check(
        &self,
        transaction: &Transaction,
        signatory: &Signatory,
        chain_id: &str,
        number: u64,
        state: &impl StateRead,
    ) -> Result<(), Reject> {
        let Some(signature) = &signatory.signature else { return Err(Reject::BadSignature) };
        let id = (transaction.hash(), signatory.account, number);
        let is_held = self.held.lock().get(&id).is_some();
        let is_passkeys = matches!(signature, Signature::WebAuthnP256(_));
        if is_held && !is_passkeys {
            return Ok(());
        }
        let digest = transaction.sign_digest(chain_id, number);
        if is_passkeys {
            signatures::check_assertion(signature, &digest, &accounts::parameters(state))?;
        }
        if !is_held {
            if !signatures::holds(&signatory.key, &digest, signature) {
                return Err(Reject::BadSignature);
            }
            self.held.lock().insert(id, ());
        }
        Ok(())
    }
}

/// The account that is meant, when the key is one of its.
fn account_of(signatory: &Signatory, state: &impl StateRead) -> Result<Account, Reject> {
    let account = accounts::account(&signatory.account, state).ok_or(Reject::UnknownAccount)?;
    match accounts::authority(&signatory.account, &account, &signatory.key) {
        Some(_) if accounts::is_one_key(&signatory.key, state) => Ok(account),
        _ => Err(Reject::UnknownKey),
    }
}

/// The format of the state from which on a fee names no coin: its name was free text.
const NO_COIN_SINCE: u32 = 5;

/// Refuses what programs do not know before a format, as they do, and what is known no more since one.
pub(super) fn check_format(transaction: &Transaction, state: &impl StateRead) -> Result<(), Reject> {
    let needed = transaction.messages().iter().map(Message::format).max().unwrap_or(1);
    if needed == 1 && transaction.names_no_coin() {
        return Ok(());
    }
    let format = governance::state_version(state);
    let is_known = needed <= format && (transaction.names_no_coin() || format < NO_COIN_SINCE);
    if is_known { Ok(()) } else { Err(Reject::Malformed) }
}

/// The sponsor's account; an organization sponsors in good standing only.
fn sponsor_of(sponsor: &Signatory, block: &BlockContext, state: &impl StateRead) -> Result<Account, Reject> {
    let account = account_of(sponsor, state)?;
    if account.role() == AccountRole::Organization {
        standing::in_good_standing(&sponsor.account, block, state)?;
    }
    Ok(account)
}

/// Whether an account of this state sends it with one of its keys; remembers the verdict.
pub(super) fn is_signed_now(
    transaction: &Transaction,
    chain_id: &str,
    signatures: &Signatures,
    state: &impl StateRead,
) -> bool {
    let holds = |signatory: &Signatory| {
        let checked = account_of(signatory, state)
            .and_then(|account| signatures.check(transaction, signatory, chain_id, account.number, state));
        checked.is_ok()
    };
    holds(transaction.sender()) && transaction.sponsor().is_none_or(holds)
}

/// The accounts of those who signed.
pub(super) struct Parties {
    sender: Account,
    sponsor: Option<Account>,
}

impl Parties {
    /// Whose quota it is.
    pub(super) fn payer(&self) -> &Account {
        self.sponsor.as_ref().unwrap_or(&self.sender)
    }
}

/// Refuses what may not be in this block at all; gives the signers' accounts.
pub(super) fn check(
    transaction: &Transaction,
    block: &BlockContext,
    rule: SignatureRule,
    signatures: &Signatures,
    state: &impl StateRead,
) -> Result<Parties, Reject> {
    check_format(transaction, state)?;
    let account = account_of(transaction.sender(), state)?;
    let sponsor = transaction.sponsor().map(|sponsor| sponsor_of(sponsor, block, state)).transpose()?;
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
    if rule == SignatureRule::Required {
        signatures.check(transaction, transaction.sender(), block.chain_id, account.number, state)?;
        if let (Some(signatory), Some(sponsor)) = (transaction.sponsor(), &sponsor) {
            signatures.check(transaction, signatory, block.chain_id, sponsor.number, state)?;
        }
    }
    Ok(Parties { sender: account, sponsor })
}

/// Uses up the sequence, or remembers the hash, and the payer's quota. Stays even when a message is
/// refused: a transaction gets one answer.
pub(super) fn consume(
    transaction: &Transaction,
    parties: Parties,
    paid: Option<Paid>,
    block: &BlockContext,
    state: &mut impl StateWrite,
) {
    let Parties { mut sender, sponsor } = parties;
    let mut is_changed = accounts::learn(&mut sender, &transaction.sender().key);
    match transaction.replay() {
        Replay::Sequence(_) => {
            sender.sequence += 1;
            is_changed = true;
        }
        Replay::UntilTime(time) => {
            let height = i64::try_from(block.height).expect("CometBFT's heights are positive 64-bit integers");
            state.put(&keys::unordered(time, &transaction.hash()), &Executed { height });
        }
    }
    match (transaction.sponsor(), sponsor) {
        (Some(signatory), Some(mut sponsor)) => {
            let learned = accounts::learn(&mut sponsor, &signatory.key);
            if quotas::charge(&mut sponsor, paid, state) || learned {
                state.put(&keys::account(&signatory.account), &sponsor);
            }
        }
        _ => is_changed |= quotas::charge(&mut sender, paid, state),
    }
    if is_changed {
        state.put(&keys::account(&transaction.signer()), &sender);
    }
}

/// Remembered transactions that are looked at together.
const PRUNED_PER_PAGE: usize = 32;

/// Forgets unordered transactions that their expiry now protects, at most `most`.
pub(super) fn prune(block: &BlockContext, most: usize, state: &mut impl StateWrite) {
    let mut after: Option<Vec<u8>> = None;
    let mut left = most;
    // Page by page, in order of expiry: in most blocks the first pair says that there is nothing to do.
    while left > 0 {
        let page = state.scan(keys::UNORDERED, after.as_deref(), left.min(PRUNED_PER_PAGE));
        let Some((last, _)) = page.last() else { return };
        after = Some(last.clone());
        left -= page.len();
        for (path, _) in page {
            let expiry = keys::unordered_expiry(&path).expect("unordered paths carry their expiry");
            if !block.has_passed(expiry) {
                return;
            }
            state.delete_bytes(&path);
        }
    }
}
