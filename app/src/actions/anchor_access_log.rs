//! A custodian anchors the root of its next batch of access-log leaves.

use careledger_wire::{
    ids::Digest,
    proto::{
        audit::MsgAnchorAccessLog,
        state::{AccessLog, AccessLogBatch},
    },
};

use super::{Action, fields, standing};
use crate::{
    access_log_tree, governance, keys,
    limits::{ACCESS_LOG_LEAVES_MAX, CLOCK_AHEAD_SECONDS_MAX},
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/anchor-access-log.md.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorAccessLog {
    sender: Sender,
    sequence: u64,
    root: Digest,
    count: u32,
    period_start: i64,
    period_end: i64,
}

impl Action for AnchorAccessLog {
    type Message = MsgAnchorAccessLog;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        if message.sequence == 0 {
            return Err(Reject::InvalidField("sequence"));
        }
        if !(1..=ACCESS_LOG_LEAVES_MAX).contains(&message.count) {
            return Err(Reject::InvalidField("count"));
        }
        let period_start = fields::time("period_start", message.period_start)?;
        let period_end = fields::time("period_end", message.period_end)?;
        if period_end < period_start {
            return Err(Reject::InvalidField("period_end"));
        }
        let root = fields::id("root", &message.root)?;
        Ok(Self { sender: *sender, sequence: message.sequence, root, count: message.count, period_start, period_end })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        let organization = self.sender.address();
        let batches = state.get(&keys::access_log(organization)).unwrap_or_default().batches;
        if batches.checked_add(1) != Some(self.sequence) {
            return Err(Reject::AccessLogGap);
        }
        let before = state.get(&keys::access_log_batch(organization, batches));
        if before.is_some_and(|before| self.period_start < before.period_end) {
            return Err(Reject::AccessLogOverlap);
        }
        if block.is_beyond(self.period_end, CLOCK_AHEAD_SECONDS_MAX) {
            return Err(Reject::AccessLogFuture);
        }
        Ok(())
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let organization = self.sender.address();
        let batch = AccessLogBatch {
            root: self.root.to_vec(),
            count: self.count,
            period_start: self.period_start,
            period_end: self.period_end,
            recorded_at: block.time,
        };
        state.put(&keys::access_log_batch(organization, self.sequence), &batch);
        state.put(&keys::access_log(organization), &AccessLog { batches: self.sequence });
        if governance::state_version(state) >= 2 {
            access_log_tree::append(organization, &batch, state);
        }
    }
}
