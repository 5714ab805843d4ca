//! Transactions as they are read: once on each node, however often they are looked at.
//!
//! A transaction comes to CheckTx, again to each recheck while it waits, and with the block. What its
//! bytes say does not depend on state, so it is read the first time and remembered by its hash.

use std::sync::{Arc, OnceLock};

use careledger_wire::{
    ids::{Address, TransactionHash},
    transaction::{Transaction, TransactionError, hash},
};
use parking_lot::Mutex;
use rayon::prelude::*;

use super::work::Work;
use crate::{
    actions::{AnyAction, Once},
    limits::{MESSAGES_PER_TRANSACTION_MAX, READ_TRANSACTION_BYTES_MAX, READ_TRANSACTIONS_MAX, TX_BYTES_MAX},
    reject::Reject,
    remembered::Remembered,
    types::Sender,
};

/// A transaction's bytes, understood as far as they can be without state.
pub(super) struct Read {
    hash: TransactionHash,
    bytes: usize,
    transaction: Result<Transaction, Reject>,
    work: Work,
    once: Vec<Once>,
    /// What it asks for; none before its signature held. Understanding it can cost much more than
    /// a signature, which is not done for what nobody signed.
    actions: OnceLock<Result<Vec<AnyAction>, Reject>>,
}

impl Read {
    fn new(
        hash: TransactionHash,
        bytes: &[u8],
        decode: impl Fn(&[u8]) -> Result<Transaction, TransactionError>,
    ) -> Self {
        let transaction = if bytes.len() > TX_BYTES_MAX {
            Err(Reject::TooLarge)
        } else {
            decode(bytes).map_err(|_| Reject::Malformed).and_then(|transaction| {
                let messages = transaction.messages().len();
                if messages > MESSAGES_PER_TRANSACTION_MAX { Err(Reject::TooManyMessages) } else { Ok(transaction) }
            })
        };
        let messages = transaction.as_ref().map(Transaction::messages).unwrap_or_default();
        let (work, once) = (Work::of(messages), messages.iter().flat_map(AnyAction::once).collect());
        Self { hash, bytes: bytes.len(), transaction, work, once, actions: OnceLock::new() }
    }

    /// Reads a transaction.
    pub(super) fn signed(bytes: &[u8]) -> Self {
        Self::new(hash(bytes), bytes, Transaction::decode)
    }

    /// Reads a transaction whose signature may be missing.
    pub(super) fn unsigned(bytes: &[u8]) -> Self {
        Self::new(hash(bytes), bytes, Transaction::decode_unsigned)
    }

    /// SHA-256 of its bytes.
    pub(super) fn hash(&self) -> TransactionHash {
        self.hash
    }

    /// The transaction, or why these bytes can be in no block, whatever the state is.
    pub(super) fn transaction(&self) -> Result<&Transaction, Reject> {
        self.transaction.as_ref().map_err(|reject| *reject)
    }

    /// Gas: the transaction's bytes.
    pub(super) fn gas(&self) -> u64 {
        self.bytes as u64
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Who sends it and whose quota it uses.
    pub(super) fn parties(&self) -> Option<(Address, Address)> {
        self.transaction.as_ref().ok().map(|transaction| (transaction.signer(), transaction.payer()))
    }

    /// What it costs besides its bytes and its signature.
    pub(super) fn work(&self) -> Work {
        self.work
    }

    /// What it uses that can be used once.
    pub(super) fn once(&self) -> &[Once] {
        &self.once
    }

    /// What it asks for. To be called once its signature held.
    pub(super) fn understand(&self, transaction: &Transaction) -> &Result<Vec<AnyAction>, Reject> {
        self.actions.get_or_init(|| {
            let sender = Sender::new(transaction.signer(), transaction.sender().key);
            transaction.messages().iter().map(|message| AnyAction::parse(&sender, message.clone())).collect()
        })
    }

    /// What it asks for, as far as that is understood already.
    pub(super) fn understood(&self) -> &[AnyAction] {
        self.actions.get().and_then(|actions| actions.as_deref().ok()).unwrap_or_default()
    }

    /// Whether what it asks for was looked at: then its signature held.
    pub(super) fn is_understood(&self) -> bool {
        self.actions.get().is_some()
    }
}

/// Transactions that were read lately. Bounded: large ones are read each time.
pub(super) struct Reading {
    lately: Mutex<Remembered<TransactionHash, Arc<Read>>>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { lately: Mutex::new(Remembered::new(READ_TRANSACTIONS_MAX)) }
    }
}

impl Reading {
    /// The transaction of these bytes.
    pub(super) fn read(&self, bytes: &[u8]) -> Arc<Read> {
        let hash = hash(bytes);
        self.known(&hash).unwrap_or_else(|| self.read_anew(hash, bytes))
    }

    /// The transactions of a block: those that were not read before on every core.
    pub(super) fn read_all(&self, transactions: &[Vec<u8>]) -> Vec<Arc<Read>> {
        let known: Vec<_> = transactions.iter().map(|bytes| (hash(bytes), bytes)).collect();
        let mut reads: Vec<_> = known.iter().map(|(hash, _)| self.known(hash)).collect();
        let unknown: Vec<_> = reads.iter_mut().zip(&known).filter(|(read, _)| read.is_none()).collect();
        unknown.into_par_iter().for_each(|(read, (hash, bytes))| *read = Some(self.read_anew(*hash, bytes)));
        reads.into_iter().map(|read| read.expect("what was not known was read")).collect()
    }

    fn known(&self, hash: &TransactionHash) -> Option<Arc<Read>> {
        self.lately.lock().get(hash)
    }

    fn read_anew(&self, hash: TransactionHash, bytes: &[u8]) -> Arc<Read> {
        let read = Arc::new(Read::new(hash, bytes, Transaction::decode));
        // What cannot be a transaction is refused once and not seen again.
        if bytes.len() <= READ_TRANSACTION_BYTES_MAX && read.transaction.is_ok() {
            self.lately.lock().insert(hash, Arc::clone(&read));
        }
        read
    }
}
