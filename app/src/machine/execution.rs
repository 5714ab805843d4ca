//! Reading transactions in parallel, trying them in order.

use std::collections::BTreeMap;

use careledger_wire::{
    ids::{CircuitId, TransactionHash},
    proto::{query::TransactionResult, tx::TxMsgData},
    transaction::{Transaction, TransactionError, hash},
};
use prost::Message as _;
use prost_types::Any;
use rayon::prelude::*;

use super::{
    authentication::{self, SignatureRule, Signatures},
    block_digest,
};
use crate::{
    actions::AnyAction,
    keys,
    limits::{MESSAGES_PER_TRANSACTION_MAX, PROOFS_PER_BLOCK_MAX, TX_BYTES_MAX},
    proofs::Claimed,
    reject::Reject,
    state::{Changes, Overlay, StateRead},
    store::Store,
    types::{BlockContext, Event, Outcome, Sender},
};

/// A transaction's bytes, understood as far as they can be without state.
pub(super) struct Read {
    hash: TransactionHash,
    bytes: usize,
    transaction: Result<Transaction, Reject>,
    actions: Result<Vec<AnyAction>, Reject>,
}

impl Read {
    fn new(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<Transaction, TransactionError>) -> Self {
        let transaction = if bytes.len() > TX_BYTES_MAX {
            Err(Reject::TooLarge)
        } else {
            decode(bytes).map_err(|_| Reject::Malformed).and_then(|transaction| {
                let messages = transaction.messages().len();
                if messages > MESSAGES_PER_TRANSACTION_MAX { Err(Reject::TooManyMessages) } else { Ok(transaction) }
            })
        };
        Self { hash: hash(bytes), bytes: bytes.len(), transaction, actions: Err(Reject::Malformed) }
    }

    /// Reads a transaction whose signature may be missing.
    pub(super) fn unsigned(bytes: &[u8]) -> Self {
        let mut read = Self::new(bytes, Transaction::decode_unsigned);
        read.parse();
        read
    }

    fn parse(&mut self) {
        if let Ok(transaction) = &self.transaction {
            let sender = Sender::new(transaction.signer());
            self.actions =
                transaction.messages().iter().map(|message| AnyAction::parse(&sender, message.clone())).collect();
        }
    }

    /// Gas: the transaction's bytes.
    pub(super) fn gas(&self) -> u64 {
        self.bytes as u64
    }

    /// Eligibility proofs in it.
    pub(super) fn proofs(&self) -> usize {
        self.actions.iter().flatten().filter(|action| matches!(action, AnyAction::ProveEligibility(_))).count()
    }
}

/// What became of a transaction.
pub(super) enum Delivered {
    /// It may not be in this block; nothing changed.
    NotAuthentic(Reject),
    /// It used its sequence or was remembered; nothing that it asked for happened.
    Refused(Reject),
    /// All that it asked for happened.
    Executed(Vec<Event>),
}

impl Delivered {
    pub(super) fn into_outcome(self, read: &Read) -> Outcome {
        match self {
            Self::NotAuthentic(reject) | Self::Refused(reject) => Outcome::refused(reject, read.gas()),
            Self::Executed(events) => {
                let data = read.transaction.as_ref().map(responses).unwrap_or_default();
                Outcome { code: 0, log: String::new(), data, gas_used: read.gas(), events }
            }
        }
    }
}

/// Transactions tried one after the other on one block's overlay.
pub(super) struct Running<'a, S> {
    state: Overlay<'a, S>,
    outcomes: Vec<Outcome>,
    answered: Vec<(TransactionHash, usize)>,
    /// Eligibility proofs so far.
    pub(super) proofs: usize,
}

/// A block's result that nothing was done with yet.
pub(super) struct Candidate {
    height: u64,
    time: i64,
    digest: [u8; 32],
    pub(super) changes: Changes,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) results: Vec<(TransactionHash, TransactionResult)>,
}

impl Candidate {
    /// Whether this is the result of exactly this block.
    pub(super) fn is_of(&self, height: u64, time: i64, transactions: &[Vec<u8>]) -> bool {
        (self.height, self.time) == (height, time) && self.digest == block_digest(transactions)
    }
}

impl<S: StateRead> Running<'_, S> {
    /// Answers a transaction with a refusal without trying it.
    pub(super) fn refuse(&mut self, read: &Read, reject: Reject) {
        self.outcomes.push(Outcome::refused(reject, read.gas()));
    }

    /// The result, as that of the block of `transactions`.
    pub(super) fn into_candidate(self, height: u64, time: i64, transactions: &[Vec<u8>]) -> Candidate {
        let result = |outcome: &Outcome| TransactionResult {
            height: i64::try_from(height).expect("CometBFT's heights are positive 64-bit integers"),
            code: outcome.code,
            log: outcome.log.clone(),
            time,
        };
        let results = self.answered.iter().map(|(hash, index)| (*hash, result(&self.outcomes[*index]))).collect();
        Candidate {
            height,
            time,
            digest: block_digest(transactions),
            changes: self.state.into_changes(),
            outcomes: self.outcomes,
            results,
        }
    }
}

/// Tries transactions on the committed state of a store.
pub(super) struct Execution<'a, S> {
    pub(super) store: &'a S,
    pub(super) context: BlockContext<'a>,
    pub(super) signatures: &'a Signatures,
}

impl<'a, S: Store> Execution<'a, S> {
    /// Reads one transaction, and checks its signature as far as the committed state allows.
    pub(super) fn read_signed(&self, bytes: &[u8]) -> Read {
        let mut read = Read::new(bytes, Transaction::decode);
        if let Ok(transaction) = &read.transaction {
            let account = self.store.get(&keys::account(&transaction.signer()));
            let is_signed = |number| self.signatures.verify(transaction, self.context.chain_id, number);
            // Parsing can cost much more than a signature: not for what nobody signed. An account
            // that an earlier transaction of the block opens has no number yet.
            if account.is_none_or(|account| is_signed(account.number)) {
                read.parse();
            }
        }
        read
    }

    /// Reads a block's transactions on every core, and checks their proofs together.
    pub(super) fn read_all(&self, transactions: &[Vec<u8>]) -> Vec<Read> {
        let reads: Vec<Read> = transactions.par_iter().map(|bytes| self.read_signed(bytes)).collect();
        let mut claims: BTreeMap<CircuitId, Vec<Claimed>> = BTreeMap::new();
        for action in reads.iter().flat_map(|read| read.actions.iter().flatten()) {
            if let AnyAction::ProveEligibility(action) = action {
                claims.entry(*action.circuit()).or_default().push(action.claimed(self.context.chain_id));
            }
        }
        for (circuit, mut claimed) in claims {
            claimed.truncate(PROOFS_PER_BLOCK_MAX);
            if let Some(key) = self.store.get(&keys::verifying_key(&circuit)) {
                self.context.verifier.verify_ahead(&key.key, &circuit, &claimed);
            }
        }
        reads
    }

    /// The state at the beginning of the block.
    pub(super) fn begin(&self) -> Running<'a, S> {
        let mut state = Overlay::new(self.store);
        authentication::prune(&self.context, &mut state);
        Running { state, outcomes: Vec::new(), answered: Vec::new(), proofs: 0 }
    }

    /// Tries the block's next transaction and notes its outcome. One that may not be in this block
    /// changes and notes nothing; one that fails with a code may be in it.
    pub(super) fn deliver_in_block(&self, read: &Read, block: &mut Running<'a, S>) -> Result<(), Reject> {
        let delivered = self.deliver(read, SignatureRule::Required, &mut block.state);
        if let Delivered::NotAuthentic(reject) = delivered {
            return Err(reject);
        }
        block.answered.push((read.hash, block.outcomes.len()));
        block.proofs += read.proofs();
        block.outcomes.push(delivered.into_outcome(read));
        Ok(())
    }

    /// Tries a transaction: all of its messages take effect, or none.
    pub(super) fn deliver<B: StateRead>(
        &self,
        read: &Read,
        rule: SignatureRule,
        state: &mut Overlay<'_, B>,
    ) -> Delivered {
        let transaction = match &read.transaction {
            Ok(transaction) => transaction,
            Err(reject) => return Delivered::NotAuthentic(*reject),
        };
        let account = match authentication::check(transaction, &self.context, rule, self.signatures, state) {
            Ok(account) => account,
            Err(reject) => return Delivered::NotAuthentic(reject),
        };
        authentication::consume(transaction, account, &self.context, state);
        let done = read.actions.clone().and_then(|actions| self.execute(actions, state));
        match done {
            Ok(changes) => {
                state.apply(changes);
                Delivered::Executed(events(transaction))
            }
            Err(reject) => Delivered::Refused(reject),
        }
    }

    fn execute<B: StateRead>(&self, actions: Vec<AnyAction>, state: &Overlay<'_, B>) -> Result<Changes, Reject> {
        let mut tried = Overlay::new(state);
        for action in actions {
            action.check(&self.context, &tried)?;
            action.execute(&self.context, &mut tried);
        }
        Ok(tried.into_changes())
    }
}

/// `TxMsgData`: an empty response for each message, as Cosmos clients expect.
fn responses(transaction: &Transaction) -> Vec<u8> {
    let response = |url: &str| Any { type_url: format!("{url}Response"), value: Vec::new() };
    let msg_responses = transaction.messages().iter().map(|message| response(message.type_url())).collect();
    TxMsgData { msg_responses }.encode_to_vec()
}

/// One `message` event for each message, as in the Cosmos SDK.
fn events(transaction: &Transaction) -> Vec<Event> {
    let sender = transaction.signer().to_string();
    let event = |url: &str| Event {
        kind: "message".to_owned(),
        attributes: vec![("action".to_owned(), url.to_owned()), ("sender".to_owned(), sender.clone())],
    };
    transaction.messages().iter().map(|message| event(message.type_url())).collect()
}
