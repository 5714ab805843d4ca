//! What can be used once on a chain. A transaction that uses it again may be in no block.

use crate::{
    actions::Once,
    reject::Reject,
    state::{StateRead, StateWrite},
};

/// Refuses what was used before: in the state, or by an earlier message of the same transaction.
pub(super) fn check(uses: &[Once], state: &impl StateRead) -> Result<(), Reject> {
    for (place, own) in uses.iter().enumerate() {
        let is_used = |earlier: &Once| earlier.path == own.path;
        if uses[..place].iter().any(is_used) || state.get_bytes(&own.path).is_some() {
            return Err(own.used);
        }
    }
    Ok(())
}

/// Keeps it for a transaction that waits and is not tried now. For the mempool and for simulations alone:
/// what stands at these paths is nothing that a committed state may hold.
pub(super) fn reserve(uses: &[Once], state: &mut impl StateWrite) {
    for own in uses {
        state.put_bytes(own.path.clone(), Vec::new());
    }
}
