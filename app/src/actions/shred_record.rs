//! A custodian says that nothing of a record is left but its anchor.

use careledger_wire::{
    ids::RecordId,
    proto::{records::MsgShredRecord, state::Record},
};

use super::{Action, fields, standing};
use crate::{
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/shred-record.md.
#[derive(Debug, Clone, PartialEq)]
pub struct ShredRecord {
    sender: Sender,
    record: RecordId,
}

impl Action for ShredRecord {
    type Message = MsgShredRecord;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self { sender: *sender, record: fields::id("record", &message.record)? })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        let record = standing::record(self.sender.address(), &self.record, state)?;
        if record.held_by_custodian || record.held_by_registrars { Err(Reject::RecordOnLegalHold) } else { Ok(()) }
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::record(self.sender.address(), &self.record);
        let record: Record = state.get(&key).expect("check found it");
        state.put(&key, &Record { shredded_at: block.time, ..record });
    }
}
