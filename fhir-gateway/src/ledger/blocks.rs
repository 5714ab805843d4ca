//! The blocks of an embedded ledger, kept for those who ask its RPC (wallets, `careledgerd`, and
//! other gateways), and to bring up a state that is behind them (`embedded/catching_up.rs`).
//!
//! Headers are chained and hashed as CometBFT's are. There are no validators: every commit's one
//! signature is marked absent, and a proof against such a header is worth as much as this process.

use std::path::Path;

use careledger_app::{
    machine::{Block, Outcome},
    store::disk::DatabaseMemory,
};
use careledger_wire::{ids::TransactionHash, transaction};
use parking_lot::Mutex;
use rocksdb::{DB, Direction, IteratorMode, WriteBatch, WriteOptions};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tendermint::{
    AppHash, Hash, Time, account,
    block::{self, Header, header::Version, parts},
    chain,
    hash::Algorithm,
    merkle,
};

use crate::damage;

/// Blocks that are kept; older ones are forgotten.
const RETAINED_BLOCKS: u64 = 200_000;
/// Version of CometBFT's block protocol that 0.38 speaks.
const BLOCK_PROTOCOL: u64 = 11;
const BLOCK_PREFIX: u8 = b'b';
const TRANSACTION_PREFIX: u8 = b't';

/// What became of one transaction of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// 0 when it took effect.
    pub code: u32,
    /// The refusal in words.
    pub log: String,
    /// `TxMsgData` of a transaction that took effect, hexadecimal.
    pub data: String,
    /// Work that it took.
    pub gas_used: u64,
    /// Its events, each a type and pairs of key and value.
    pub events: Vec<(String, Vec<(String, String)>)>,
}

/// A block as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// Its header.
    pub header: Header,
    /// Its transactions, hexadecimal.
    pub transactions: Vec<String>,
    /// What became of them, in the same order.
    pub executions: Vec<Execution>,
}

impl Kept {
    /// The block's id.
    pub fn id(&self) -> block::Id {
        let hash = self.header.hash();
        let parts = parts::Header::new(1, hash).expect("one part with a hash is a legal set of parts");
        block::Id { hash, part_set_header: parts }
    }

    /// Height of the block.
    pub fn height(&self) -> u64 {
        self.header.height.value()
    }

    /// Time of the block, Unix seconds.
    pub fn time(&self) -> i64 {
        self.header.time.unix_timestamp()
    }
}

/// Blocks on disk.
#[derive(Debug)]
pub struct Blocks {
    database: DB,
    chain_id: chain::Id,
    /// Height and id of the block that was kept last, whom the next one names.
    last: Mutex<Option<(u64, block::Id)>>,
}

impl Blocks {
    /// Opens or makes the folder. `memory` bounds what it keeps in memory.
    pub fn open(path: &Path, chain_id: &str, memory: &DatabaseMemory) -> Result<Self, String> {
        let mut options = damage::options();
        memory.bind(&mut options);
        let tables = memory.tables(&mut options);
        options.set_block_based_table_factory(&tables);
        let database = DB::open(&options, path).map_err(|error| damage::unopened(path, &error))?;
        let chain_id = chain_id.parse().map_err(|_| format!("`{chain_id}` is not a chain id"))?;
        Ok(Self { database, chain_id, last: Mutex::default() })
    }

    /// Height of the newest block; 0 where there is none.
    ///
    /// # Errors
    /// Where the disk does not give it.
    pub fn newest(&self) -> Result<u64, String> {
        let newest = self.database.iterator(IteratorMode::From(&block_key(u64::MAX), Direction::Reverse)).next();
        let newest = newest.transpose().map_err(|error| error.to_string())?;
        let height = newest.and_then(|(key, _)| {
            let (prefix, height) = key.split_first()?;
            (*prefix == BLOCK_PREFIX).then(|| height.try_into().map(u64::from_be_bytes).ok())?
        });
        Ok(height.unwrap_or(0))
    }

    /// The block at `height`.
    pub fn get(&self, height: u64) -> Option<Kept> {
        let bytes = self.database.get(block_key(height)).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// Where a transaction is: its block and its place in it.
    pub fn find(&self, hash: &TransactionHash) -> Option<(Kept, usize)> {
        let place = self.database.get(transaction_key(hash)).ok()??;
        let (height, index) = place.split_at_checked(8)?;
        let height = u64::from_be_bytes(height.try_into().ok()?);
        let index = u32::from_be_bytes(index.try_into().ok()?);
        Some((self.get(height)?, usize::try_from(index).ok()?))
    }

    /// Makes the header of a block over the state whose root is `app_hash`, and keeps it durably: a
    /// block is here before the state that it gives, whatever fails in between.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub fn keep(&self, block: &Block, outcomes: &[Outcome], app_hash: [u8; 32]) -> Result<(), String> {
        let kept = Kept {
            header: self.header(block, app_hash)?,
            transactions: block.transactions.iter().map(hex::encode).collect(),
            executions: outcomes.iter().map(execution).collect(),
        };
        let bytes = serde_json::to_vec(&kept).map_err(|error| error.to_string())?;
        let mut batch = WriteBatch::default();
        batch.put(block_key(block.height), bytes);
        for (index, transaction) in (0_u32..).zip(&block.transactions) {
            let place = [&block.height.to_be_bytes()[..], &index.to_be_bytes()].concat();
            batch.put(transaction_key(&transaction::hash(transaction)), place);
        }
        if let Some(old) = block.height.checked_sub(RETAINED_BLOCKS) {
            batch.delete(block_key(old));
        }
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        self.database.write_opt(batch, &durable).map_err(|error| error.to_string())?;
        *self.last.lock() = Some((block.height, kept.id()));
        Ok(())
    }

    /// The id of the block at `height`, where there is one.
    fn id_of(&self, height: u64) -> Option<block::Id> {
        let last = self.last.lock().filter(|(kept, _)| *kept == height);
        last.map(|(_, id)| id).or_else(|| self.get(height).as_ref().map(Kept::id))
    }

    fn header(&self, block: &Block, app_hash: [u8; 32]) -> Result<Header, String> {
        let hashes: Vec<_> = block.transactions.iter().map(|bytes| Sha256::digest(bytes).to_vec()).collect();
        let nobody = Hash::Sha256(Sha256::digest([]).into());
        Ok(Header {
            version: Version { block: BLOCK_PROTOCOL, app: 1 },
            chain_id: self.chain_id.clone(),
            height: block.height.try_into().map_err(|_| "a block's height is out of range")?,
            time: Time::from_unix_timestamp(block.time, 0).map_err(|_| "a block's time is out of range")?,
            last_block_id: block.height.checked_sub(1).and_then(|before| self.id_of(before)),
            last_commit_hash: Some(nobody),
            data_hash: Some(Hash::Sha256(
                merkle::simple_hash_from_byte_vectors::<tendermint::crypto::default::Sha256>(&hashes),
            )),
            validators_hash: nobody,
            next_validators_hash: nobody,
            consensus_hash: nobody,
            app_hash: AppHash::try_from(app_hash.to_vec()).map_err(|_| "an app hash is out of range")?,
            last_results_hash: Some(nobody),
            evidence_hash: Some(Hash::from_bytes(Algorithm::Sha256, &Sha256::digest([])).map_err(|_| "a hash")?),
            proposer_address: account::Id::new([0; 20]),
        })
    }
}

fn execution(outcome: &Outcome) -> Execution {
    let events = outcome.events.iter().map(|event| (event.kind.clone(), event.attributes.clone()));
    Execution {
        code: outcome.code,
        log: outcome.log.clone(),
        data: hex::encode(&outcome.data),
        gas_used: outcome.gas_used,
        events: events.collect(),
    }
}

fn block_key(height: u64) -> [u8; 9] {
    let mut key = [BLOCK_PREFIX; 9];
    key[1..].copy_from_slice(&height.to_be_bytes());
    key
}

fn transaction_key(hash: &TransactionHash) -> [u8; 33] {
    let mut key = [TRANSACTION_PREFIX; 33];
    key[1..].copy_from_slice(hash.as_bytes());
    key
}
