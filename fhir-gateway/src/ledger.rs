//! The chain, in this process ([`embedded`]) or behind a CometBFT node ([`comet`]). The rest of
//! the gateway does not know which.
//!
//! Absent on purpose: nothing here can make or alter another account's transaction;
//! [`Ledger::relay`] passes its bytes on as they are.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use careledger_app::{
    keys::{Key, Value},
    reject::Reject,
};
use careledger_wire::{
    ids::{Address, TransactionHash},
    message::Message,
    proto::query::{PathRequest, PathResponse, TransactionResult},
    transaction::{self, Replay, Unsigned},
};

use crate::{keys::OrganizationSigner, outcome::Refusal};

pub mod blocks;
pub mod comet;
pub mod embedded;
pub mod rehearsal;
pub mod rpc;

/// Longest wait for a transaction's block.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(20);
/// How long a transaction of an organization stays valid, in seconds. The ledger allows 600.
pub const VALIDITY_SECONDS: i64 = 240;
/// Pages that one scan asks for at most.
const SCAN_PAGES_MAX: usize = 1_000;

/// A transaction that took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Height of its block.
    pub height: u64,
    /// Time of its block, Unix seconds.
    pub time: i64,
    /// Its hash.
    pub hash: TransactionHash,
}

/// A value that follows from a block header by a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven<V> {
    /// The value.
    pub value: V,
    /// Height of the state it was read from.
    pub height: u64,
}

/// Why a ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state on disk cannot be opened.
    #[error("the ledger at {path} cannot be opened: {reason}")]
    Storage {
        /// Its folder.
        path: String,
        /// What happened.
        reason: String,
    },
    /// The genesis is refused, or is another chain's.
    #[error("the genesis of the embedded ledger is refused: {0}")]
    Genesis(String),
    /// The RPC cannot be served at the configured address.
    #[error("the ledger's RPC cannot listen on {address}: {reason}")]
    Listen {
        /// The configured address.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The RPC address of the node is wrong or nobody answers there.
    #[error("the ledger does not answer: {0}")]
    Unreachable(String),
}

/// A ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Ledger {
    /// Blocks are made in this process.
    Embedded(embedded::Embedded),
    /// A CometBFT node, or another gateway's embedded ledger, makes them.
    Comet(comet::Comet),
}

impl Ledger {
    /// Opens the ledger in `path` and serves its RPC; must run inside a tokio runtime.
    pub fn open_embedded(path: &Path, settings: &embedded::Settings) -> Result<Self, OpenError> {
        embedded::Embedded::open(path, settings).map(Self::Embedded)
    }

    /// Connects to the RPC at `url` (`http://HOST:PORT`).
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        comet::Comet::connect(url).await.map(Self::Comet)
    }

    /// The chain's id.
    pub fn chain_id(&self) -> &str {
        match self {
            Self::Embedded(embedded) => embedded.chain_id(),
            Self::Comet(comet) => comet.chain_id(),
        }
    }

    /// Time of the last block that this process knows of, Unix seconds; 0 before the first.
    pub fn time(&self) -> i64 {
        match self {
            Self::Embedded(embedded) => embedded.time(),
            Self::Comet(comet) => comet.time(),
        }
    }

    /// The time that decisions are made at: the last block's, or this machine's clock where that
    /// is later, since a chain without transactions makes no blocks. Unix seconds.
    pub fn now(&self) -> i64 {
        clock().max(self.time())
    }

    /// Times that it was asked something: a value, a range, a path, a result or a rehearsal.
    pub fn reads(&self) -> u64 {
        self.counter().load(Ordering::Relaxed)
    }

    fn counter(&self) -> &AtomicU64 {
        match self {
            Self::Embedded(embedded) => embedded.reads(),
            Self::Comet(comet) => comet.reads(),
        }
    }

    fn count(&self) {
        self.counter().fetch_add(1, Ordering::Relaxed);
    }

    /// Signs `messages` of `signer` as one unordered transaction and waits for its block. Equal
    /// messages within one second give the same transaction, which takes effect once.
    ///
    /// # Errors
    /// [`Refusal::Ledger`] when refused, [`Refusal::LedgerUnavailable`] past the deadline.
    pub async fn submit(&self, signer: &OrganizationSigner, messages: Vec<Message>) -> Result<Committed, Refusal> {
        let expiry = self.now() + VALIDITY_SECONDS;
        let transaction = self.sign(signer, &messages, expiry).await?;
        self.relay(transaction).await
    }

    async fn sign(&self, signer: &OrganizationSigner, messages: &[Message], expiry: i64) -> Result<Vec<u8>, Refusal> {
        let number = self.account_number(&signer.address()).await?;
        let replay = Replay::UntilTime(expiry);
        let unsigned = Unsigned::new(messages, signer.public_key(), self.chain_id(), number, replay);
        let signature = signer.sign(&unsigned.sign_bytes());
        Ok(unsigned.signed(signature))
    }

    /// The account's number; 0 where it has no role yet, which the ledger then refuses by name.
    async fn account_number(&self, address: &Address) -> Result<u64, Refusal> {
        let account = self.get(&careledger_app::keys::account(address)).await?;
        Ok(account.map_or(0, |account| account.number))
    }

    /// Passes on somebody's signed transaction and waits for its block. Passing the same bytes on
    /// twice is one transaction.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn relay(&self, transaction: Vec<u8>) -> Result<Committed, Refusal> {
        let hash = transaction::hash(&transaction);
        let result = match self {
            Self::Embedded(embedded) => embedded.deliver(transaction, COMMIT_DEADLINE).await?,
            Self::Comet(comet) => comet.deliver(&transaction, COMMIT_DEADLINE).await?,
        };
        committed(hash, &result)
    }

    /// The value under `key` in the newest state, on the node's word: for this organization's own
    /// bookkeeping only.
    pub async fn get<V: Value>(&self, key: &Key<V>) -> Result<Option<V>, Refusal> {
        self.count();
        let bytes = match self {
            Self::Embedded(embedded) => embedded.get(key.as_bytes()),
            Self::Comet(comet) => comet.get(key.as_bytes()).await?,
        };
        bytes.map(|bytes| decode(&bytes)).transpose()
    }

    /// The value under `key`, or its absence, with its proof checked against the app hash of a
    /// block header: for every decision about somebody else.
    pub async fn get_proven<V: Value>(&self, key: &Key<V>) -> Result<Proven<Option<V>>, Refusal> {
        self.count();
        let Proven { value, height } = match self {
            Self::Embedded(embedded) => embedded.get_proven(key.as_bytes())?,
            Self::Comet(comet) => comet.get_proven(key.as_bytes()).await?,
        };
        let value = value.map(|bytes| decode(&bytes)).transpose()?;
        Ok(Proven { value, height })
    }

    /// Every pair below `prefix`, in key order, on the node's word.
    pub async fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Refusal> {
        self.count();
        let mut pairs = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        for _ in 0..SCAN_PAGES_MAX {
            let (page, next) = match self {
                Self::Embedded(embedded) => embedded.pairs(prefix, after.as_deref())?,
                Self::Comet(comet) => comet.pairs(prefix, after.as_deref()).await?,
            };
            pairs.extend(page);
            match next {
                Some(next) => after = Some(next),
                None => return Ok(pairs),
            }
        }
        Err(Refusal::Internal("a scan of the ledger did not end"))
    }

    /// The authentication path of an anchored attestation or enrolment; `None` where it was
    /// never anchored.
    pub async fn path(&self, request: &PathRequest) -> Result<Option<PathResponse>, Refusal> {
        self.count();
        match self {
            Self::Embedded(embedded) => embedded.path(request),
            Self::Comet(comet) => comet.path(request).await,
        }
    }

    /// What became of a transaction; `None` while it is in no block, or long after.
    pub async fn result(&self, hash: &TransactionHash) -> Result<Option<TransactionResult>, Refusal> {
        self.count();
        match self {
            Self::Embedded(embedded) => embedded.result(hash),
            Self::Comet(comet) => comet.result(hash).await,
        }
    }
}

/// This machine's clock, Unix seconds.
pub fn clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn committed(hash: TransactionHash, result: &TransactionResult) -> Result<Committed, Refusal> {
    if result.code != 0 {
        return Err(refused(result.code, &result.log));
    }
    let height = u64::try_from(result.height).map_err(|_| Refusal::Internal("a block has a negative height"))?;
    Ok(Committed { height, time: result.time, hash })
}

/// A refusal of the ledger: its code, and its sentence, which the ledger keeps free of content.
pub(crate) fn refused(code: u32, log: &str) -> Refusal {
    // What waits before is in a block soon: sending again is safe.
    if code == Reject::TooManyWaiting.code() {
        return Refusal::LedgerUnavailable;
    }
    Refusal::Ledger { code, sentence: log.to_owned() }
}

fn decode<V: Value>(bytes: &[u8]) -> Result<V, Refusal> {
    V::decode(bytes).map_err(|_| Refusal::Internal("a value of the ledger's state does not decode"))
}
