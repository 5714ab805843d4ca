//! Outcomes of recent transactions: this node's own memory, not part of the Merkle state.

use careledger_wire::{ids::TransactionHash, proto::query::TransactionResult};
use prost::Message as _;
use rocksdb::WriteBatch;

use super::{
    DiskStore,
    layout::{RESULTS, RESULTS_BY_HEIGHT, height_of},
};
use crate::fault;

impl DiskStore {
    /// Adds the outcomes of a block and removes those of the block that leaves the window.
    pub(super) fn write_results(
        &self,
        batch: &mut WriteBatch,
        height: u64,
        outcomes: Vec<(TransactionHash, TransactionResult)>,
    ) {
        let (results, by_height) = (self.family(RESULTS), self.family(RESULTS_BY_HEIGHT));
        let first_kept = (height + 1).saturating_sub(self.retention.results_blocks);
        for (key, _) in self.pairs_from(RESULTS_BY_HEIGHT, &[]) {
            let Some(old) = height_of(&key).filter(|old| *old < first_kept) else { break };
            let hash = &key[8..];
            if self.read_result(hash).is_some_and(|result| result.height as u64 == old) {
                batch.delete_cf(results, hash);
            }
            batch.delete_cf(by_height, &key);
        }
        for (hash, result) in outcomes {
            // The same bytes may stand in a later block again, refused: what took effect stays known.
            if self.read_result(hash.as_bytes()).is_some_and(|earlier| earlier.code == 0) {
                continue;
            }
            batch.put_cf(results, hash.as_bytes(), result.encode_to_vec());
            batch.put_cf(by_height, [&height.to_be_bytes()[..], hash.as_bytes()].concat(), []);
        }
    }

    pub(super) fn read_result(&self, hash: &[u8]) -> Option<TransactionResult> {
        let bytes = self.read(RESULTS, hash)?;
        Some(TransactionResult::decode(bytes.as_slice()).unwrap_or_else(|error| fault::stop("reading a result", error)))
    }
}
