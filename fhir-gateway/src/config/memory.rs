//! How much memory the gateway takes.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Least of what databases may keep, for each of them.
const STORAGE_BYTES_MIN: usize = 8 * 1024 * 1024;

/// `[memory]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Bytes that an embedded ledger and the vaults on this machine's disk keep of what they read and of what
    /// they did not write out yet, all of them together.
    pub storage_bytes_max: usize,
    /// Bytes of request bodies that are worked on at the same time: a resource that is read, checked and sealed is
    /// many times as large as it was sent. Further requests wait; a larger body is worked on alone.
    pub bodies_bytes_max: usize,
    /// Bytes of ValueSets that searches of an organization tell the members of at the same time, beside the bodies. Further
    /// searches wait; larger ones are worked on alone.
    pub value_sets_bytes_max: usize,
    /// Changes of an embedded ledger's state whose older heights can be proven. Each costs one to two kilobytes.
    pub ledger_changes_max: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            storage_bytes_max: 64 * 1024 * 1024,
            bodies_bytes_max: 2 * 1024 * 1024,
            value_sets_bytes_max: 2 * 1024 * 1024,
            ledger_changes_max: 20_000,
        }
    }
}

impl Memory {
    /// Numbers must be above 0, and storage large enough to be used.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.storage_bytes_max < STORAGE_BYTES_MIN {
            return Err(ConfigError::Rule(format!("storage_bytes_max must be at least {STORAGE_BYTES_MIN}")));
        }
        if [self.bodies_bytes_max, self.value_sets_bytes_max, self.ledger_changes_max].contains(&0) {
            return Err(ConfigError::Rule("every number in [memory] must be above 0".to_owned()));
        }
        Ok(())
    }
}
