//! A custodian anchors many new records under one root.

use careledger_wire::{
    ids::Digest,
    proto::{records::MsgAnchorBatch, state::Batch},
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::BATCH_RECORDS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/anchor-batch.md.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorBatch {
    sender: Sender,
    root: Digest,
    count: u32,
}

impl Action for AnchorBatch {
    type Message = MsgAnchorBatch;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        if !(1..=BATCH_RECORDS_MAX).contains(&message.count) {
            return Err(Reject::InvalidField("count"));
        }
        Ok(Self { sender: *sender, root: fields::id("root", &message.root)?, count: message.count })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        let key = keys::batch(self.sender.address(), &self.root);
        if state.has(&key) { Err(Reject::BatchExists) } else { Ok(()) }
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let batch = Batch { count: self.count, recorded_at: block.time };
        state.put(&keys::batch(self.sender.address(), &self.root), &batch);
    }
}
