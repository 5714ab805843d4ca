//! A state that is behind the blocks that were made is brought up to them when the ledger is opened.
//!
//! Every block is durable before the state that it gives. So a state that lost its newest changes, by
//! a crash or by damage that the disk did not report, gets them again from the blocks: a revocation
//! that was acknowledged stays one. What does not fit together is never guessed.

use careledger_app::{
    machine::{Block, Machine},
    store::Store,
};

use crate::ledger::blocks::{Blocks, Kept};

const ADVICE: &str =
    "Nothing was changed. Restore `state` and `blocks` together from one backup; docs/RUNBOOK.md says how";

/// Refuses to begin a new state beside blocks of an older one.
pub(super) fn nothing_to_bring_up(blocks: &Blocks) -> Result<(), String> {
    match blocks.newest()? {
        0 => Ok(()),
        newest => Err(format!("the state is missing, and there are blocks up to height {newest}. {ADVICE}")),
    }
}

/// Executes the blocks that the state lacks.
///
/// # Errors
/// Where the blocks do not follow on the state, or do not give what they gave when they were made.
pub(super) fn bring_up<S: Store>(machine: &mut Machine<S>, blocks: &Blocks) -> Result<(), String> {
    let (found, newest) = (machine.height(), blocks.newest()?);
    if newest < found {
        return Err(format!("the state is at height {found}, and the newest block is {newest}. {ADVICE}"));
    }
    for height in found + 1..=newest {
        let kept = blocks.get(height);
        let kept =
            kept.ok_or_else(|| format!("the state is at height {found}, and block {height} is missing. {ADVICE}"))?;
        let is_next = machine.app_hash() == kept.header.app_hash.as_bytes();
        if !is_next || !gives_the_same(machine, &kept)? {
            return Err(format!("block {height} does not fit to the state before it. {ADVICE}"));
        }
        machine.commit();
    }
    if newest > found {
        tracing::warn!(from = found, to = newest, "the state was behind its blocks, which were executed again");
    }
    Ok(())
}

/// Executes a block, not yet committed, and says whether every transaction gave what it gave before.
/// The root that it gives is checked against the header that follows.
fn gives_the_same<S: Store>(machine: &mut Machine<S>, kept: &Kept) -> Result<bool, String> {
    let transactions = kept.transactions.iter().map(hex::decode).collect::<Result<_, _>>();
    let transactions = transactions.map_err(|_| format!("block {} does not decode. {ADVICE}", kept.height()))?;
    let block = Block { height: kept.height(), time: kept.time(), transactions };
    let outcomes = machine.finalize(&block).outcomes;
    Ok(outcomes.iter().map(|outcome| outcome.code).eq(kept.executions.iter().map(|execution| execution.code)))
}
