//! An organization suspends a member of its staff.

use careledger_wire::{
    ids::Address,
    proto::{governance::MsgSuspendPractitioner, state::Practitioner},
};

use super::{Action, fields, standing};
use crate::{
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/suspend-practitioner.md.
#[derive(Debug, Clone, PartialEq)]
pub struct SuspendPractitioner {
    sender: Sender,
    practitioner: Address,
}

impl Action for SuspendPractitioner {
    type Message = MsgSuspendPractitioner;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self { sender: *sender, practitioner: fields::id("practitioner", &message.practitioner)? })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        let key = keys::practitioner(self.sender.address(), &self.practitioner);
        let practitioner = state.get(&key).ok_or(Reject::UnknownPractitioner)?;
        if practitioner.suspended_at == 0 { Ok(()) } else { Err(Reject::PractitionerSuspended) }
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::practitioner(self.sender.address(), &self.practitioner);
        let practitioner: Practitioner = state.get(&key).expect("check found it");
        state.put(&key, &Practitioner { suspended_at: block.time, ..practitioner });
    }
}
