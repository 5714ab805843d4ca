//! What goes into the state machine and what comes out, free of CometBFT's types.

use careledger_wire::{
    ids::{Address, ValidatorKey},
    signing::PublicKey,
};

use crate::{proofs::ProofVerifier, reject::Reject};

/// The account that signed a transaction. Made only where its signature is checked before
/// anything that it asks for is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    address: Address,
    key: PublicKey,
}

impl Sender {
    pub(crate) const fn new(address: Address, key: PublicKey) -> Self {
        Self { address, key }
    }

    /// Its address.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The key that signed: one of the account's when the transaction was taken.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// What a transaction can know besides the state.
///
/// Before a transaction is in a block, its time lies between two bounds: the last block's time,
/// and what the node's clock says. On a quiet network these are days apart.
#[derive(Clone, Copy)]
pub struct BlockContext<'a> {
    /// The chain's id.
    pub chain_id: &'a str,
    /// Height of the block.
    pub height: u64,
    /// Time of the block, Unix seconds; in the mempool the earliest that it can be.
    pub time: i64,
    /// Time of the block, Unix seconds; in the mempool the latest that it can be.
    pub time_max: i64,
    /// Checks eligibility proofs and remembers verdicts.
    pub verifier: &'a ProofVerifier,
}

impl BlockContext<'_> {
    /// Whether `time` is the block's or earlier: what lasts until `time`, exclusive, is over.
    pub fn has_passed(&self, time: i64) -> bool {
        time <= self.time
    }

    /// Whether `time` is the block's or earlier, as far as can be known: what may happen from `time` on
    /// may happen.
    pub fn may_have_passed(&self, time: i64) -> bool {
        time <= self.time_max
    }

    /// Whether `time` is more than `seconds` after the block's.
    pub fn is_beyond(&self, time: i64, seconds: i64) -> bool {
        time > self.time_max.saturating_add(seconds)
    }

    /// Refuses an end that has passed or is more than `seconds` away.
    pub fn check_end(&self, end: i64, seconds: i64) -> Result<(), Reject> {
        if self.has_passed(end) {
            return Err(Reject::AlreadyEnded);
        }
        if self.is_beyond(end, seconds) {
            return Err(Reject::EndsTooLate);
        }
        Ok(())
    }
}

/// Whether CheckTx sees a transaction for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// It just arrived.
    New,
    /// It waited through a block.
    Recheck,
}

/// A decided block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub height: u64,
    /// Its time, Unix seconds.
    pub time: i64,
    /// Its transactions' bytes.
    pub transactions: Vec<Vec<u8>>,
}

/// What became of one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// 0 when it took effect, else a [`Reject`] code in the codespace [`crate::reject::CODESPACE`].
    pub code: u32,
    /// The refusal in words. Not part of consensus.
    pub log: String,
    /// `cosmos.base.abci.v1beta1.TxMsgData` when it took effect.
    pub data: Vec<u8>,
    /// Bytes of the transaction: there are no fees, and work is bounded by limits.
    pub gas_used: u64,
    /// For indexers.
    pub events: Vec<Event>,
}

impl Outcome {
    /// The outcome of a refusal.
    pub fn refused(reject: Reject, gas_used: u64) -> Self {
        Self { code: reject.code(), log: reject.to_string(), gas_used, ..Self::default() }
    }
}

/// Something that happened, for indexers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its type.
    pub kind: String,
    /// Names and values; all may be indexed.
    pub attributes: Vec<(String, String)>,
}

/// What a block gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finalized {
    /// One for each transaction, in order.
    pub outcomes: Vec<Outcome>,
    /// Root of the state after the block.
    pub app_hash: [u8; 32],
    /// What CometBFT must change.
    pub updates: ConsensusUpdates,
    /// What happened in the block besides its transactions, for indexers.
    pub events: Vec<Event>,
}

/// What a validator did wrong, as a block's evidence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misbehavior {
    /// As CometBFT numbers it: 1 signed two blocks of one height, 2 attacked light clients.
    pub kind: u32,
    /// The validator's address: the first 20 bytes of the SHA-256 of its key.
    pub validator: [u8; 20],
    /// Height at which it happened.
    pub height: u64,
}

/// What a block changes of CometBFT. Made by comparing the state before and after it, so that
/// CometBFT is never told of a validator that it does not know, nor twice of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsensusUpdates {
    /// Validators whose power changed, by key; 0 removes.
    pub validators: Vec<(ValidatorKey, u64)>,
    /// All parameters, when one changed.
    pub parameters: Option<ConsensusParameters>,
}

/// CometBFT's parameters as far as the ledger sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsensusParameters {
    /// Format of the state, in every header.
    pub state_version: u32,
    /// Most bytes of transactions in a block; `None` where genesis decides.
    pub block_bytes: Option<u64>,
    /// `None` where genesis decides.
    pub evidence: Option<EvidenceParameters>,
}

/// How long and how much evidence of misbehavior is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceParameters {
    /// Blocks.
    pub age_blocks: u64,
    /// Seconds.
    pub age_seconds: u64,
    /// Most bytes of it in one block.
    pub bytes: u64,
}

/// Whether a query wants a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prove {
    /// With an ICS 23 proof.
    Yes,
    /// Without.
    No,
}

/// Answer to a query, as `ResponseQuery` carries it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryAnswer {
    /// 0 when answered.
    pub code: u32,
    /// The refusal in words.
    pub log: String,
    /// The key that was asked for.
    pub key: Vec<u8>,
    /// The answer; empty where nothing is at the key.
    pub value: Vec<u8>,
    /// ICS 23 proof of value or absence.
    pub proof: Option<ProofOperation>,
    /// Height of the state that answered; never 0.
    pub height: u64,
}

/// One `ProofOp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofOperation {
    /// Its type, [`crate::store::tree::PROOF_TYPE`].
    pub kind: String,
    /// The key.
    pub key: Vec<u8>,
    /// `CommitmentProof`, protobuf bytes.
    pub data: Vec<u8>,
}
