//! A custodian marks the current version of a record as entered in error. It stays provable.

use careledger_wire::{
    ids::RecordId,
    proto::{records::MsgMarkEnteredInError, state::Record},
};

use super::{Action, fields, standing};
use crate::{
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/mark-entered-in-error.md.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkEnteredInError {
    sender: Sender,
    record: RecordId,
    version: u32,
}

impl Action for MarkEnteredInError {
    type Message = MsgMarkEnteredInError;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            record: fields::id("record", &message.record)?,
            version: fields::version("version", message.version)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        let record = standing::record(self.sender.address(), &self.record, state)?;
        if record.version != self.version {
            return Err(Reject::WrongVersion);
        }
        if record.entered_in_error == self.version { Err(Reject::AlreadyEnteredInError) } else { Ok(()) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::record(self.sender.address(), &self.record);
        let record: Record = state.get(&key).expect("check found it");
        state.put(&key, &Record { entered_in_error: self.version, ..record });
    }
}
