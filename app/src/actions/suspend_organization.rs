//! A registrar's brake: from the next block the organization and everyone it enrolled is refused.

use careledger_wire::{
    ids::Address,
    proto::{
        identity::{MsgSuspendOrganization, SuspensionReason},
        state::Organization,
    },
};

use super::{Action, fields, standing};
use crate::{
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/suspend-organization.md.
#[derive(Debug, Clone, PartialEq)]
pub struct SuspendOrganization {
    sender: Sender,
    organization: Address,
    reason: SuspensionReason,
}

impl Action for SuspendOrganization {
    type Message = MsgSuspendOrganization;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            organization: fields::id("organization", &message.organization)?,
            reason: fields::choice("reason", message.reason)?,
        })
    }

    fn check(&self, _block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::registrar(&self.sender, state)?;
        let organization = state.get(&keys::organization(&self.organization)).ok_or(Reject::UnknownOrganization)?;
        if organization.suspended() == SuspensionReason::Unspecified {
            Ok(())
        } else {
            Err(Reject::OrganizationSuspended)
        }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::organization(&self.organization);
        let organization: Organization = state.get(&key).expect("check found it");
        let generation = organization.generation + 1;
        state.put(&key, &Organization { suspended: self.reason.into(), generation, ..organization });
    }
}
