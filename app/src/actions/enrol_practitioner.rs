//! An organization enrols a member of its staff, or renews the enrolment.

use careledger_wire::{
    ids::{Address, Commitment},
    proto::{
        identity::{MsgEnrolPractitioner, PractitionerRole},
        state::{AccountRole, Practitioner},
    },
};

use super::{Action, fields, standing};
use crate::{
    accounts, keys,
    limits::PRACTITIONER_SECONDS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/enrol-practitioner.md.
#[derive(Debug, Clone, PartialEq)]
pub struct EnrolPractitioner {
    sender: Sender,
    practitioner: Address,
    role: PractitionerRole,
    qualification: Commitment,
    expires_at: i64,
}

impl Action for EnrolPractitioner {
    type Message = MsgEnrolPractitioner;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            practitioner: fields::id("practitioner", &message.practitioner)?,
            role: fields::choice("role", message.role)?,
            qualification: fields::id("qualification", &message.qualification)?,
            expires_at: fields::time("expires_at", message.expires_at)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        block.check_end(self.expires_at, PRACTITIONER_SECONDS_MAX)?;
        if accounts::is_free_for(&self.practitioner, AccountRole::Practitioner, state) {
            Ok(())
        } else {
            Err(Reject::AddressInUse)
        }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        accounts::open(&self.practitioner, AccountRole::Practitioner, state);
        let practitioner = Practitioner {
            organization: self.sender.address().to_vec(),
            role: self.role.into(),
            qualification: self.qualification.to_vec(),
            expires_at: self.expires_at,
            suspended_at: 0,
        };
        state.put(&keys::practitioner(self.sender.address(), &self.practitioner), &practitioner);
    }
}
