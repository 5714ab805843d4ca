//! What an organization looks up and writes, counted.
//!
//! A clock tells two answers apart now and then; a count always does. What a caller may not see must
//! cost what costs that which is not there: tests compare these counts, and `/metrics` shows them to
//! the operator.

use std::{
    ops::Sub,
    sync::atomic::{AtomicU64, Ordering},
};

/// Counts since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Times that the vault was asked for a pair, or for several at once.
    pub vault_reads: u64,
    /// Bytes that it gave.
    pub vault_bytes: u64,
    /// Batches that were handed to it.
    pub vault_writes: u64,
    /// Times that the index was asked.
    pub index_reads: u64,
    /// Times that resources were compared with criteria in a database in memory, any number of them at once.
    pub comparisons: u64,
    /// Times that the ledger was asked: by all organizations of the process, which share it.
    pub ledger_reads: u64,
}

impl Sub for Work {
    type Output = Self;

    /// What was done since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            vault_reads: self.vault_reads - earlier.vault_reads,
            vault_bytes: self.vault_bytes - earlier.vault_bytes,
            vault_writes: self.vault_writes - earlier.vault_writes,
            index_reads: self.index_reads - earlier.index_reads,
            comparisons: self.comparisons - earlier.comparisons,
            ledger_reads: self.ledger_reads - earlier.ledger_reads,
        }
    }
}

impl Work {
    /// What two organizations of one process did.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            vault_reads: self.vault_reads + other.vault_reads,
            vault_bytes: self.vault_bytes + other.vault_bytes,
            vault_writes: self.vault_writes + other.vault_writes,
            index_reads: self.index_reads + other.index_reads,
            comparisons: self.comparisons + other.comparisons,
            // Each of them names that of all.
            ledger_reads: self.ledger_reads.max(other.ledger_reads),
        }
    }
}

/// Where an organization's vault and index count.
#[derive(Debug, Default)]
pub struct Counters {
    vault_reads: AtomicU64,
    vault_bytes: AtomicU64,
    vault_writes: AtomicU64,
    index_reads: AtomicU64,
    comparisons: AtomicU64,
}

impl Counters {
    /// The vault was asked, and gave so many bytes.
    pub fn vault_read(&self, bytes: usize) {
        self.vault_reads.fetch_add(1, Ordering::Relaxed);
        self.vault_bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A batch was handed to the vault.
    pub fn vault_write(&self) {
        self.vault_writes.fetch_add(1, Ordering::Relaxed);
    }

    /// The index was asked.
    pub fn index_read(&self) {
        self.index_reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Resources were compared in a database in memory.
    pub fn comparison(&self) {
        self.comparisons.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts so far, with those of the ledger.
    pub fn with_ledger(&self, ledger_reads: u64) -> Work {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Work {
            vault_reads: count(&self.vault_reads),
            vault_bytes: count(&self.vault_bytes),
            vault_writes: count(&self.vault_writes),
            index_reads: count(&self.index_reads),
            comparisons: count(&self.comparisons),
            ledger_reads,
        }
    }
}
