//! What the ledger would say, found out before anything is sent.

use std::collections::BTreeMap;

use careledger_app::{accounts, keys, reject::Reject, signatures};
use careledger_wire::{
    ids::Address,
    message::Message,
    proto::state::Account,
    signing::Signature,
    transaction::{self, Replay, Signatory, Transaction, Unsigned},
};

use super::{Ledger, VALIDITY_SECONDS, committed, refused};
use crate::{keys::OrganizationSigner, outcome::Refusal};

/// Transactions signed by others, tried one after the other as if each were in a block already.
/// What they do to one another's messages is not tried.
#[derive(Debug)]
pub struct Rehearsal<'a> {
    ledger: &'a Ledger,
    /// The sequence that each signer's next transaction must carry.
    sequences: BTreeMap<Address, u64>,
}

impl Ledger {
    /// What the ledger would say to `messages` of `signer` now, without sending them.
    ///
    /// # Errors
    /// [`Refusal::Ledger`] when it would refuse.
    pub async fn rehearse(&self, signer: &OrganizationSigner, messages: &[Message]) -> Result<(), Refusal> {
        let transaction = self.sign(signer, messages, self.now() + VALIDITY_SECONDS).await?;
        self.simulate(transaction).await
    }

    /// Begins to try transactions that others signed.
    pub fn rehearsal(&self) -> Rehearsal<'_> {
        Rehearsal { ledger: self, sequences: BTreeMap::new() }
    }

    async fn simulate(&self, transaction: Vec<u8>) -> Result<(), Refusal> {
        self.count();
        match self {
            Self::Embedded(embedded) => embedded.simulate(transaction),
            Self::Comet(comet) => comet.simulate(&transaction).await,
        }
    }
}

impl Rehearsal<'_> {
    /// Tries the next transaction. One that took effect before is as good as relayed.
    ///
    /// # Errors
    /// [`Refusal::Ledger`] when the ledger would refuse it, or did.
    pub async fn next(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let hash = transaction::hash(bytes);
        if let Some(result) = self.ledger.result(&hash).await? {
            return committed(hash, &result).map(|_| ());
        }
        let transaction = Transaction::decode(bytes).map_err(|_| code(Reject::Malformed))?;
        let signer = transaction.signer();
        // The ledger tries a copy without a signature where a signature does not hold.
        let account = self.account_of(&transaction, transaction.sender()).await?;
        if let Some(sponsor) = transaction.sponsor() {
            self.account_of(&transaction, sponsor).await?;
        }
        let Replay::Sequence(sequence) = transaction.replay() else {
            return self.ledger.simulate(bytes.to_vec()).await;
        };
        let next = self.sequences.entry(signer).or_insert(account.sequence);
        if sequence != *next {
            return Err(code(Reject::WrongSequence));
        }
        *next += 1;
        if sequence == account.sequence {
            return self.ledger.simulate(bytes.to_vec()).await;
        }
        // It follows on others of the same signer: the same messages are tried as the next ones.
        let (messages, key) = (transaction.messages(), &transaction.sender().key);
        let replay = Replay::Sequence(account.sequence);
        let mut now = Unsigned::with_key(messages, key, self.ledger.chain_id(), account.number, replay);
        if let Some(sponsor) = transaction.sponsor() {
            now = now.sponsored_by(&sponsor.account, &sponsor.key);
        }
        self.ledger.simulate(now.signed_by(&[])).await
    }

    /// The account of one who signed, with a key of it.
    async fn account_of(&self, transaction: &Transaction, signatory: &Signatory) -> Result<Account, Refusal> {
        let address = &signatory.account;
        let account = self.ledger.get(&keys::account(address)).await?.ok_or_else(|| code(Reject::UnknownAccount))?;
        if accounts::authority(address, &account, &signatory.key).is_none() {
            return Err(code(Reject::UnknownKey));
        }
        let digest = transaction.sign_digest(self.ledger.chain_id(), account.number);
        let Some(signature) = &signatory.signature else { return Err(code(Reject::BadSignature)) };
        if matches!(signature, Signature::WebAuthnP256(_)) {
            let parameters = self.ledger.get(&keys::parameters()).await?.unwrap_or_default();
            signatures::check_assertion(signature, &digest, &parameters).map_err(code)?;
        }
        let holds = signatures::holds(&signatory.key, &digest, signature);
        if holds { Ok(account) } else { Err(code(Reject::BadSignature)) }
    }
}

fn code(reject: Reject) -> Refusal {
    refused(reject.code(), &reject.to_string())
}
