//! The state in chunks, for a node that joins instead of replaying every block.
//!
//! CometBFT finds snapshots at other nodes, asks for their chunks one after the other, and knows
//! the app hash from headers that validators signed. Nothing of a peer is believed: each chunk
//! must have the hash that the manifest names, and the whole must have the app hash. That is known
//! with the last chunk only, so each pair must be one that a state may hold, in its place, and what
//! is kept until then is bounded.

use borsh::{BorshDeserialize, BorshSerialize};
use sha2::{Digest as _, Sha256};

use crate::{
    keys::{self, areas},
    state::{Pairs, StateRead as _},
    store::{ChainMeta, tree::Tree},
};

/// Version of manifest and chunks. Another number means other bytes.
pub const FORMAT: u32 = 1;
/// Bytes of keys and values in one chunk, which the last pair may exceed. CometBFT moves 16 MB.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// Chunks of one snapshot. A manifest names the hash of each, and CometBFT moves 4 MB of it.
pub const CHUNKS_MAX: usize = 65_536;
/// Most that a node holds of a state which it joins, unless its operator says otherwise: bytes of keys
/// and values, with 48 for each pair. Some fifty million records.
pub const JOIN_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// What a pair takes in memory besides the bytes of its key and its value: where they are.
const PAIR_BYTES: usize = 48;
/// Largest manifest in bytes.
const MANIFEST_BYTES_MAX: usize = 64 + 32 * CHUNKS_MAX;

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Manifest {
    /// The state is that after the block of this height.
    pub height: u64,
    /// Time of that block, Unix seconds. Not proven; nothing in a block depends on it.
    pub time: i64,
    /// SHA-256 of each chunk.
    pub chunks: Vec<[u8; 32]>,
}

impl Manifest {
    /// Its bytes, the snapshot's `metadata`.
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("a vector grows as needed")
    }

    /// Reads `metadata`; `None` where it is not a manifest.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let manifest = (bytes.len() <= MANIFEST_BYTES_MAX).then(|| borsh::from_slice::<Self>(bytes).ok())??;
        (1..=CHUNKS_MAX).contains(&manifest.chunks.len()).then_some(manifest)
    }

    /// SHA-256 of its bytes: equal on every node that took the same snapshot.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.encode()).into()
    }
}

/// Puts pairs, in key order, into chunks, each handed to `keep` as it is full; gives their hashes.
pub fn chunk<E>(
    pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    mut keep: impl FnMut(usize, Vec<u8>) -> Result<(), E>,
) -> Result<Vec<[u8; 32]>, E> {
    let mut hashes = Vec::new();
    let mut full = |pairs: &mut Pairs| {
        let bytes = borsh::to_vec(pairs).expect("a vector grows as needed");
        pairs.clear();
        hashes.push(Sha256::digest(&bytes).into());
        keep(hashes.len() - 1, bytes)
    };
    let mut gathered = Pairs::new();
    let mut size = 0;
    for (key, value) in pairs {
        size += key.len() + value.len();
        gathered.push((key, value));
        if size >= CHUNK_BYTES {
            full(&mut gathered)?;
            size = 0;
        }
    }
    if !gathered.is_empty() {
        full(&mut gathered)?;
    }
    Ok(hashes)
}

/// A snapshot that is being put together.
#[derive(Debug)]
pub struct Restore {
    manifest: Manifest,
    app_hash: [u8; 32],
    next: usize,
    pairs: Pairs,
    /// What the pairs take, and the most that they may.
    bytes: u64,
    bytes_max: u64,
}

/// Why a snapshot is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// This program does not read its format.
    Format,
    /// It is not what its hash and its manifest say.
    Damaged,
    /// It is more than this node takes.
    TooLarge,
}

/// What became of a chunk.
#[derive(Debug)]
pub enum Applied {
    /// More are needed.
    More,
    /// It is not the chunk that the manifest names: whoever sent it lied, or a disk failed.
    Wrong,
    /// The chunks are as the manifest names them, and yet this is no state, or not the one of the app hash.
    Forged,
    /// The state is more than this node takes.
    TooLarge,
    /// The state.
    Whole(Restored),
}

/// A state that has the app hash.
#[derive(Debug)]
pub struct Restored {
    /// The chain, as the state says.
    pub chain: ChainMeta,
    /// Height of the block after which this was the state.
    pub height: u64,
    /// Time of that block, Unix seconds.
    pub time: i64,
    /// Every pair, in key order.
    pub pairs: Pairs,
    /// Its tree.
    pub tree: Tree,
}

impl Restore {
    /// Begins with what was offered; `app_hash` is the one that validators signed. Of the state at most
    /// `bytes_max` are taken, counted as [`JOIN_BYTES_MAX`] is.
    pub fn begin(
        (height, format, chunks): (u64, u32, u32),
        hash: &[u8],
        metadata: &[u8],
        app_hash: [u8; 32],
        bytes_max: u64,
    ) -> Result<Self, Refused> {
        if format != FORMAT {
            return Err(Refused::Format);
        }
        let manifest = Manifest::decode(metadata).ok_or(Refused::Damaged)?;
        if manifest.height != height || manifest.chunks.len() != chunks as usize || manifest.hash() != hash {
            return Err(Refused::Damaged);
        }
        // All but the last are full.
        if (manifest.chunks.len() as u64 - 1) * CHUNK_BYTES as u64 > bytes_max {
            return Err(Refused::TooLarge);
        }
        Ok(Self { manifest, app_hash, next: 0, pairs: Pairs::new(), bytes: 0, bytes_max })
    }

    /// Takes the next chunk. One that was taken before changes nothing.
    pub fn apply(&mut self, index: u32, bytes: &[u8]) -> Applied {
        let index = index as usize;
        if index < self.next {
            return Applied::More;
        }
        let wanted = self.manifest.chunks.get(index).filter(|_| index == self.next);
        if wanted != Some(&Sha256::digest(bytes).into()) {
            return Applied::Wrong;
        }
        let Ok(pairs) = borsh::from_slice::<Pairs>(bytes) else { return Applied::Forged };
        for (key, value) in pairs {
            let is_next = self.pairs.last().is_none_or(|(last, _)| *last < key);
            if !is_next || areas::check(&key, &value).is_err() {
                return Applied::Forged;
            }
            self.bytes += (key.len() + value.len() + PAIR_BYTES) as u64;
            if self.bytes > self.bytes_max {
                return Applied::TooLarge;
            }
            self.pairs.push((key, value));
        }
        self.next += 1;
        if self.next < self.manifest.chunks.len() { Applied::More } else { self.finish() }
    }

    fn finish(&mut self) -> Applied {
        let pairs = std::mem::take(&mut self.pairs);
        let tree = Tree::of(pairs.iter().cloned());
        if tree.root() != self.app_hash {
            return Applied::Forged;
        }
        let state = Sorted(&pairs);
        let chain = state.get(&keys::chain()).expect("a state with a signed root was made by a genesis");
        Applied::Whole(Restored {
            chain: ChainMeta::from(chain),
            height: self.manifest.height,
            time: self.manifest.time,
            pairs,
            tree,
        })
    }
}

/// Pairs in key order, read as state.
struct Sorted<'a>(&'a Pairs);

impl crate::state::StateRead for Sorted<'_> {
    fn get_bytes(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.0.binary_search_by(|(other, _)| other.as_slice().cmp(key));
        found.ok().map(|index| self.0[index].1.clone())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Pairs {
        let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
        let start = self.0.partition_point(|(key, _)| key.as_slice() < from || after == Some(key));
        self.0[start..].iter().take_while(|(key, _)| key.starts_with(prefix)).take(limit).cloned().collect()
    }
}
