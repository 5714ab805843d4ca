//! A record must not be shredded: its custodian says so, or a registrar.

use careledger_wire::{
    ids::{Address, RecordId},
    proto::{records::MsgSetLegalHold, state::Record},
};

use super::{
    Action, fields,
    standing::{self, Holder},
};
use crate::{
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/set-legal-hold.md.
#[derive(Debug, Clone, PartialEq)]
pub struct SetLegalHold {
    sender: Sender,
    organization: Address,
    record: RecordId,
}

impl Action for SetLegalHold {
    type Message = MsgSetLegalHold;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            organization: fields::id("organization", &message.organization)?,
            record: fields::id("record", &message.record)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let holder = standing::holder(&self.sender, &self.organization, block, state)?;
        let record = standing::record(&self.organization, &self.record, state)?;
        let is_held = match holder {
            Holder::Custodian => record.held_by_custodian,
            Holder::Registrars => record.held_by_registrars,
        };
        if is_held { Err(Reject::RecordOnLegalHold) } else { Ok(()) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::record(&self.organization, &self.record);
        let record: Record = state.get(&key).expect("check found it");
        let next = if *self.sender.address() == self.organization {
            Record { held_by_custodian: true, ..record }
        } else {
            Record { held_by_registrars: true, ..record }
        };
        state.put(&key, &next);
    }
}
