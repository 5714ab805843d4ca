//! An organization signs another's record, as it was asked to.

use careledger_wire::{
    ids::{Address, Commitment, RecordId},
    proto::{records::MsgGiveCountersignature, state::Countersignature},
};

use super::{Action, fields, standing};
use crate::{
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/give-countersignature.md.
#[derive(Debug, Clone, PartialEq)]
pub struct GiveCountersignature {
    sender: Sender,
    organization: Address,
    record: RecordId,
    version: u32,
    commitment: Commitment,
}

impl GiveCountersignature {
    fn key(&self) -> keys::Key<Countersignature> {
        keys::countersignature(&self.organization, &self.record, self.sender.address())
    }
}

impl Action for GiveCountersignature {
    type Message = MsgGiveCountersignature;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            organization: fields::id("organization", &message.organization)?,
            record: fields::id("record", &message.record)?,
            version: fields::version("version", message.version)?,
            commitment: fields::id("commitment", &message.commitment)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        let asked = state.get(&self.key()).ok_or(Reject::UnknownCountersignature)?;
        if asked.given_at != 0 {
            return Err(Reject::AlreadyCountersigned);
        }
        if block.has_passed(asked.expires_at) {
            return Err(Reject::CountersignatureExpired);
        }
        let record = standing::record(&self.organization, &self.record, state)?;
        let is_what_was_asked = asked.version == self.version && asked.commitment == self.commitment.as_bytes();
        let is_current = record.version == self.version;
        if is_what_was_asked && is_current { Ok(()) } else { Err(Reject::CountersignatureMismatch) }
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let asked: Countersignature = state.get(&self.key()).expect("check found it");
        state.put(&self.key(), &Countersignature { given_at: block.time, ..asked });
    }
}
