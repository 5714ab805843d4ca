//! A custodian asks another organization to sign a record.

use careledger_wire::{
    ids::{Address, RecordId},
    proto::{
        records::MsgRequestCountersignature,
        state::{Countersignature, Record},
    },
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::COUNTERSIGNATURE_SECONDS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/request-countersignature.md.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestCountersignature {
    sender: Sender,
    record: RecordId,
    version: u32,
    countersigner: Address,
    expires_at: i64,
}

impl RequestCountersignature {
    fn key(&self) -> keys::Key<Countersignature> {
        keys::countersignature(self.sender.address(), &self.record, &self.countersigner)
    }
}

impl Action for RequestCountersignature {
    type Message = MsgRequestCountersignature;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let countersigner: Address = fields::id("countersigner", &message.countersigner)?;
        if countersigner == *sender.address() {
            return Err(Reject::InvalidField("countersigner"));
        }
        Ok(Self {
            sender: *sender,
            record: fields::id("record", &message.record)?,
            version: fields::version("version", message.version)?,
            countersigner,
            expires_at: fields::time("expires_at", message.expires_at)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        block.check_end(self.expires_at, COUNTERSIGNATURE_SECONDS_MAX)?;
        standing::in_good_standing(&self.countersigner, block, state)?;
        let record = standing::record(self.sender.address(), &self.record, state)?;
        if record.version != self.version {
            return Err(Reject::WrongVersion);
        }
        let Some(asked) = state.get(&self.key()).filter(|asked| asked.version == self.version) else { return Ok(()) };
        if asked.given_at != 0 {
            return Err(Reject::AlreadyCountersigned);
        }
        if block.has_passed(asked.expires_at) { Ok(()) } else { Err(Reject::CountersignatureRequested) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let record: Record = state.get(&keys::record(self.sender.address(), &self.record)).expect("check found it");
        let asked = Countersignature {
            version: self.version,
            commitment: record.commitment,
            expires_at: self.expires_at,
            given_at: 0,
        };
        state.put(&self.key(), &asked);
    }
}
