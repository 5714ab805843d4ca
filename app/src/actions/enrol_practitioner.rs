//! An organization enrols a member of its staff, or renews the enrolment.

use careledger_wire::{
    ids::{Address, Commitment},
    proto::{
        identity::{MsgEnrolPractitioner, PractitionerRole},
        state::{AccountRole, Practitioner},
    },
};

use super::{Action, fields, possession::Binding, standing};
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
    binding: Option<Binding>,
}

impl Action for EnrolPractitioner {
    type Message = MsgEnrolPractitioner;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let practitioner = fields::id("practitioner", &message.practitioner)?;
        Ok(Self {
            sender: *sender,
            practitioner,
            role: fields::choice("role", message.role)?,
            qualification: fields::id("qualification", &message.qualification)?,
            expires_at: fields::time("expires_at", message.expires_at)?,
            binding: Binding::parse(message.binding.as_ref(), &practitioner)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        block.check_end(self.expires_at, PRACTITIONER_SECONDS_MAX)?;
        let is_free = match &self.binding {
            None => accounts::is_unused(&self.practitioner, state),
            Some(_) => accounts::is_free(&self.practitioner, state),
        };
        if !is_free && accounts::role(&self.practitioner, state) != AccountRole::Practitioner {
            return Err(Reject::AddressInUse);
        }
        self.binding.as_ref().map_or(Ok(()), |binding| binding.check(self.sender.address(), block, state))
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let organization = self.sender.address();
        let key = self.binding.as_ref().map(|binding| &binding.key);
        accounts::open_for(organization, &self.practitioner, AccountRole::Practitioner, key, state);
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
