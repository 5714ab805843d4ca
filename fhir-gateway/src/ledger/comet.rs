//! A ledger behind the JSON-RPC of a CometBFT node, or of another gateway's embedded ledger.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use careledger_app::client::{Client, ClientError};
use careledger_wire::{
    ids::TransactionHash,
    proto::query::{PathRequest, PathResponse, TransactionResult},
};

use super::{OpenError, Proven, refused};
use crate::outcome::Refusal;

/// A connection to a ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Comet {
    client: Client,
    chain_id: Arc<str>,
    /// Time of the newest block that an answer named, Unix seconds.
    time: Arc<AtomicI64>,
    /// Times that the gateway asked.
    reads: Arc<AtomicU64>,
}

/// Pairs of the state, and the key to go on after.
pub type Page = (Vec<(Vec<u8>, Vec<u8>)>, Option<Vec<u8>>);

impl Comet {
    /// Connects, and learns the chain's id.
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        let unreachable = |error: ClientError| OpenError::Unreachable(error.to_string());
        let client = Client::new(url).map_err(unreachable)?;
        let chain_id = client.chain_id().await.map_err(unreachable)?.into();
        Ok(Self { client, chain_id, time: Arc::default(), reads: Arc::default() })
    }

    /// The chain's id.
    pub fn chain_id(&self) -> &str {
        &self.chain_id
    }

    /// Time of the newest block that an answer named, Unix seconds; 0 before any did.
    pub fn time(&self) -> i64 {
        self.time.load(Ordering::Relaxed)
    }

    /// Times that the gateway asked it something.
    pub fn reads(&self) -> &AtomicU64 {
        &self.reads
    }

    /// Broadcasts a transaction and waits for its block.
    pub async fn deliver(&self, bytes: &[u8], deadline: Duration) -> Result<TransactionResult, Refusal> {
        let result = self.client.deliver(bytes, deadline).await.map_err(refusal)?;
        self.time.fetch_max(result.time, Ordering::Relaxed);
        Ok(result)
    }

    /// The value under a key of the newest state, on the node's word.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        self.client.get(key).await.map_err(refusal)
    }

    /// The value under a key, proven against a block header.
    pub async fn get_proven(&self, key: &[u8]) -> Result<Proven<Option<Vec<u8>>>, Refusal> {
        let proven = self.client.get_proven(key, None).await.map_err(refusal)?;
        self.time.fetch_max(proven.header_time, Ordering::Relaxed);
        Ok(Proven { value: proven.value, height: proven.height })
    }

    /// One page of the pairs below `prefix`, after the key `after`.
    pub async fn pairs(&self, prefix: &[u8], after: Option<&[u8]>) -> Result<Page, Refusal> {
        self.client.pairs(prefix, after).await.map_err(refusal)
    }

    /// What the ledger would say to a transaction.
    pub async fn simulate(&self, bytes: &[u8]) -> Result<(), Refusal> {
        self.client.simulate(bytes).await.map(|_| ()).map_err(refusal)
    }

    /// The authentication path of an anchored commitment.
    pub async fn path(&self, request: &PathRequest) -> Result<Option<PathResponse>, Refusal> {
        self.client.path(request).await.map_err(refusal)
    }

    /// What became of a transaction.
    pub async fn result(&self, hash: &TransactionHash) -> Result<Option<TransactionResult>, Refusal> {
        self.client.result(hash).await.map_err(refusal)
    }
}

fn refusal(error: ClientError) -> Refusal {
    match error {
        ClientError::Refused { code, log } | ClientError::Query { code, log } => refused(code, &log),
        ClientError::Address(_)
        | ClientError::Unreachable { .. }
        | ClientError::Busy
        | ClientError::NotCommitted(_)
        | ClientError::NoHeader(_) => {
            tracing::warn!(%error, "the ledger did not answer");
            Refusal::LedgerUnavailable
        }
        ClientError::Answer(_) | ClientError::Proof(_) | ClientError::Height { .. } | ClientError::TooLong { .. } => {
            tracing::error!(%error, "the ledger's answer was not accepted");
            Refusal::LedgerUnavailable
        }
    }
}
