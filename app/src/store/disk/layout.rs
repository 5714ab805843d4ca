//! How the state lies on disk: column families, keys and rows. `disk.rs` has the table.

use borsh::{BorshDeserialize, BorshSerialize};
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options};

use super::memory::{DatabaseMemory, FILTER_BITS_PER_KEY, filter_unwritten};

pub(super) const META: &str = "meta";
pub(super) const STATE: &str = "state";
pub(super) const REPLACED: &str = "replaced";
pub(super) const RESULTS: &str = "results";
pub(super) const RESULTS_BY_HEIGHT: &str = "results-by-height";
pub(super) const FAMILIES: [&str; 5] = [META, STATE, REPLACED, RESULTS, RESULTS_BY_HEIGHT];

pub(super) const TIP: &[u8] = b"tip";
/// Before the height, in a key of `meta`.
const TIP_AT: &[u8] = b"tip/";
/// Layout of the column families. Another number means another program wrote them.
pub(super) const FORMAT: u32 = 2;

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
    /// Oldest height that can be proven.
    pub(super) oldest: u64,
    /// Chain id and genesis time, once they are known.
    pub(super) chain: Option<(String, i64)>,
}

/// Where `meta` keeps what [`TIP`] was after `height`.
pub(super) fn tip_key(height: u64) -> Vec<u8> {
    [TIP_AT, &height.to_be_bytes()].concat()
}

pub(super) fn replaced_key(height: u64, key: &[u8]) -> Vec<u8> {
    [&height.to_be_bytes()[..], key].concat()
}

/// The height that a row starts with.
pub(super) fn height_of(row: &[u8]) -> Option<u64> {
    row.first_chunk().map(|first| u64::from_be_bytes(*first))
}

/// How the database is opened, each time. A record that was cut off at the log's end is the write that
/// a crash interrupted, and was never acknowledged; one that is damaged before the end is an error: RocksDB's
/// default would silently open the state as it was before that record.
pub(super) fn database() -> Options {
    let mut options = Options::default();
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options
}

/// The column families of a database that has its memory to itself, or shares this one.
pub(super) fn families(memory: Option<&DatabaseMemory>) -> Vec<ColumnFamilyDescriptor> {
    let mut options = Options::default();
    let table = match memory {
        Some(memory) => memory.tables(&mut options),
        None => {
            let mut table = BlockBasedOptions::default();
            table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
            options.set_write_buffer_size(WRITE_BUFFER_BYTES);
            // Most keys of a block are new: the filter answers that without reading, and the next one of what was written last.
            table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
            filter_unwritten(&mut options);
            table
        }
    };
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    FAMILIES.iter().map(|name| ColumnFamilyDescriptor::new(*name, options.clone())).collect()
}
