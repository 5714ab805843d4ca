//! The memory of RocksDB, for programs in which several databases live beside much else.
//!
//! Each column family of a database has write buffers and a cache of its own by default: one ledger and one
//! vault have eighteen. What this bounds is all of them together.

use rocksdb::{BlockBasedIndexType, BlockBasedOptions, Cache, Options, WriteBufferManager};

/// Newest writes of one column family, before they are written out. Small, because every one that is written to
/// at all has one.
const FAMILY_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Least memory that is worked with: below it every write would be written out by itself.
const BYTES_MIN: usize = 2 * FAMILY_BUFFER_BYTES;

/// Size of one part of a file's index or filter.
const METADATA_BLOCK_BYTES: usize = 4096;
/// One of a hundred keys that a file lacks is looked for in it.
pub(super) const FILTER_BITS_PER_KEY: f64 = 10.0;

/// Part of a write buffer that says which keys are not in it.
const UNWRITTEN_FILTER: f64 = 0.05;

/// Has a family tell without a search whether what was written last has a key: most that are looked for were written before.
pub(super) fn filter_unwritten(family: &mut Options) {
    family.set_memtable_whole_key_filtering(true);
    family.set_memtable_prefix_bloom_ratio(UNWRITTEN_FILTER);
}

/// What databases keep in memory of what they read and of what they did not write out yet, together.
/// Cheap to clone.
#[derive(Clone)]
pub struct DatabaseMemory {
    cache: Cache,
    buffers: WriteBufferManager,
}

impl DatabaseMemory {
    /// About so many bytes (at least eight megabytes): half of them may be taken by what is not written out yet,
    /// which leaves so much less for what was read. Where more is written than the disk takes, a family has two
    /// buffers of four megabytes for a while, and then its writers wait.
    pub fn of(bytes: usize) -> Self {
        let bytes = bytes.max(BYTES_MIN);
        let cache = Cache::new_lru_cache(bytes);
        // Writers do not stand still for all together: what would be written out to let one database go on may be
        // another's, which nobody writes to.
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(bytes / 2, false, cache.clone());
        Self { cache, buffers }
    }

    /// Has a database count its writes here.
    pub fn bind(&self, database: &mut Options) {
        database.set_write_buffer_manager(&self.buffers);
    }

    /// Bounds a column family, and gives how its tables are to be read.
    pub fn tables(&self, family: &mut Options) -> BlockBasedOptions {
        family.set_write_buffer_size(FAMILY_BUFFER_BYTES);
        filter_unwritten(family);
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        // Else they are in memory for every file that is open, and nothing counts them. In parts, because the whole
        // of a file's index is as large as hundreds of its blocks: it would drive them out, to be driven out by them.
        table.set_cache_index_and_filter_blocks(true);
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_metadata_block_size(METADATA_BLOCK_BYTES);
        table.set_pin_top_level_index_and_filter(true);
        // Whether a file has a key is told without reading a block of it.
        table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
        table.set_partition_filters(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table
    }

    /// Bytes of writes that are not written out yet.
    pub fn unwritten_bytes(&self) -> usize {
        self.buffers.get_usage()
    }

    /// Bytes of all that it bounds.
    pub fn bytes(&self) -> usize {
        // Unwritten bytes are counted in the cache, as if they were blocks of it.
        self.cache.get_usage()
    }
}
