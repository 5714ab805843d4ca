//! Blocks from a node, over CometBFT's JSON-RPC.

use tendermint::{Time, block::Header, validator};
use tendermint_rpc::{Client as _, Paging};

use super::{
    LightError, Source,
    block::{self, SignedBlock},
};
use crate::client::{Client, height_of};

/// Validators that are asked for at once: as many as CometBFT answers.
const VALIDATORS_PER_PAGE: u8 = 100;
/// Pages that are read of one set; the ledger has no more than [`crate::limits::VALIDATORS_MAX`] validators.
const PAGES_MAX: usize = 4;
const _: () = assert!(
    VALIDATORS_PER_PAGE as usize * PAGES_MAX >= crate::limits::VALIDATORS_MAX,
    "every set of validators can be read"
);

/// The newest block that a node has, on its word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Id of its chain.
    pub chain_id: String,
    /// Height of its oldest block that it still has.
    pub oldest_height: u64,
    /// Height of its newest block.
    pub height: u64,
    /// Time of that block.
    pub time: Time,
}

impl Newest {
    /// Asks the node.
    pub async fn of(client: &Client) -> Result<Self, LightError> {
        let status = client.call(|| client.rpc.status()).await.map_err(|error| client.unreachable(&error))?;
        let sync = status.sync_info;
        Ok(Self {
            chain_id: status.node_info.network.to_string(),
            oldest_height: sync.earliest_block_height.value(),
            height: sync.latest_block_height.value(),
            time: sync.latest_block_time,
        })
    }
}

impl Source for Client {
    fn name(&self) -> &str {
        self.url()
    }

    async fn block(&self, height: u64) -> Result<SignedBlock, LightError> {
        // Another node may be a block behind.
        self.wait_for_header(height).await?;
        let asked = height_of(height)?;
        let answer = self.call(|| self.rpc.commit(asked)).await.map_err(|error| self.unreachable(&error))?;
        let signed_header = answer.signed_header;
        if signed_header.header.height != asked {
            let reason = format!("it is of height {}", signed_header.header.height);
            return Err(LightError::Block { url: self.url().to_owned(), height, reason });
        }
        Ok(SignedBlock {
            signed_header,
            validators: validators(self, height).await?,
            next_validators: validators(self, height + 1).await?,
        })
    }

    async fn headers(&self, first: u64, last: u64) -> Result<Vec<Header>, LightError> {
        let (from, to) = (height_of(first)?, height_of(last)?);
        let answer = self.call(|| self.rpc.blockchain(from, to)).await.map_err(|error| self.unreachable(&error))?;
        let mut headers: Vec<Header> = answer.block_metas.into_iter().map(|meta| meta.header).collect();
        headers.sort_by_key(|header| header.height);
        Ok(headers)
    }
}

async fn validators(client: &Client, height: u64) -> Result<validator::Set, LightError> {
    let asked = height_of(height)?;
    let unusable = |reason: &str| LightError::Block { url: client.url().to_owned(), height, reason: reason.to_owned() };
    let mut named: Vec<validator::Info> = Vec::new();
    for page in 1..=PAGES_MAX {
        let paging = Paging::Specific { page_number: page.into(), per_page: VALIDATORS_PER_PAGE.into() };
        let answer = client.call(|| client.rpc.validators(asked, paging)).await;
        let answer = answer.map_err(|error| client.unreachable(&error))?;
        let is_empty = answer.validators.is_empty();
        named.extend(answer.validators);
        if is_empty || named.len() >= usize::try_from(answer.total).unwrap_or(0) {
            return block::validators(named).ok_or_else(|| unusable("its validators have too much voting power"));
        }
    }
    Err(unusable("it has too many validators"))
}
