//! How the state lies on disk: column families, keys and rows. `disk.rs` has the table.

use borsh::{BorshDeserialize, BorshSerialize};
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, Options};

pub(super) const META: &str = "meta";
pub(super) const STATE: &str = "state";
pub(super) const NODES: &str = "nodes";
pub(super) const VALUES: &str = "values";
pub(super) const HEIGHTS: &str = "heights";
pub(super) const STALE: &str = "stale";
pub(super) const RESULTS: &str = "results";
pub(super) const RESULTS_BY_HEIGHT: &str = "results-by-height";
pub(super) const FAMILIES: [&str; 8] = [META, STATE, NODES, VALUES, HEIGHTS, STALE, RESULTS, RESULTS_BY_HEIGHT];

pub(super) const TIP: &[u8] = b"tip";
/// Layout of the column families. Another number means another program wrote them.
pub(super) const FORMAT: u32 = 1;

/// Memory for blocks that were read.
pub(super) const CACHE_BYTES: usize = 128 * 1024 * 1024;
/// Memory of one column family's newest writes.
pub(super) const WRITE_BUFFER_BYTES: usize = 32 * 1024 * 1024;

/// What was committed last.
#[derive(Debug, Clone, BorshSerialize, BorshDeserialize)]
pub(super) struct Tip {
    pub(super) format: u32,
    pub(super) height: u64,
    pub(super) time: i64,
    pub(super) app_hash: [u8; 32],
    /// Newest version of the tree; none while the state is empty.
    pub(super) version: Option<u64>,
    /// Chain id and genesis time, once they are known.
    pub(super) chain: Option<(String, i64)>,
}

/// A key's value from one version on.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub(super) struct ValueRow {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

pub(super) const STALE_NODE: u8 = 0;
pub(super) const STALE_VALUE: u8 = 1;

pub(super) fn stale_key(version: u64, kind: u8, key: &[u8]) -> Vec<u8> {
    [&version.to_be_bytes()[..], &[kind], key].concat()
}

pub(super) fn value_key(key_hash: &[u8; 32], version: u64) -> Vec<u8> {
    [&key_hash[..], &version.to_be_bytes()].concat()
}

/// The number that a key or a value starts with.
pub(super) fn version_of(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|first| u64::from_be_bytes(*first))
}

pub(super) fn families() -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&cache);
    // Most keys of a block are new: the filter answers that without reading.
    table.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    FAMILIES.iter().map(|name| ColumnFamilyDescriptor::new(*name, options.clone())).collect()
}
