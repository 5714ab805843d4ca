//! Each organization's Merkle log over the batches of its access log, as the state keeps it.

use careledger_wire::{
    access_log::{Frontier, batch_leaf},
    ids::{Address, Digest},
    proto::state::{AccessLogBatch, AccessLogTree},
};

use crate::{
    keys,
    state::{StateRead, StateWrite},
};

/// Organizations that the migration looks at together.
const PAGE: usize = 1_000;

/// Appends a batch to its organization's log.
pub fn append(organization: &Address, batch: &AccessLogBatch, state: &mut impl StateWrite) {
    let mut frontier = frontier(organization, state);
    frontier.push(leaf(batch));
    put(organization, &frontier, state);
}

/// Makes the logs of all batches that were anchored before there were any.
pub fn migrate(state: &mut impl StateWrite) {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = state.scan(keys::ACCESS_LOGS, after.as_deref(), PAGE);
        for (path, _) in &page {
            let organization = keys::access_log_of(path).expect("access-log paths end in an address");
            let batches = state.get(&keys::access_log(&organization)).unwrap_or_default().batches;
            let mut frontier = Frontier::default();
            for sequence in 1..=batches {
                let batch = state.get(&keys::access_log_batch(&organization, sequence));
                frontier.push(leaf(&batch.expect("an access log has every batch that it counts")));
            }
            put(&organization, &frontier, state);
        }
        match page.into_iter().next_back() {
            Some((path, _)) => after = Some(path),
            None => return,
        }
    }
}

fn frontier(organization: &Address, state: &impl StateRead) -> Frontier {
    let tree = state.get(&keys::access_log_tree(organization)).unwrap_or_default();
    let frontier = Frontier::new(tree.size, tree.peaks.iter().map(|peak| digest(peak)).collect());
    frontier.expect("a log is only written by appending")
}

fn put(organization: &Address, frontier: &Frontier, state: &mut impl StateWrite) {
    let tree = AccessLogTree {
        size: frontier.size(),
        peaks: frontier.peaks().iter().map(Digest::to_vec).collect(),
        root: frontier.root().to_vec(),
    };
    state.put(&keys::access_log_tree(organization), &tree);
}

fn leaf(batch: &AccessLogBatch) -> Digest {
    batch_leaf(&digest(&batch.root), batch.count, batch.period_start, batch.period_end)
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::try_from(bytes).expect("the state holds only whole digests")
}
