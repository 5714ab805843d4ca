//! An organization opens a provisional subject for a key that a patient's wallet derived for it.

use careledger_wire::{
    commitment,
    ids::{Address, SubjectId},
    proto::{
        identity::MsgOpenSubject,
        state::{AccountRole, Subject},
    },
};

use super::{Action, fields, possession::Binding, standing};
use crate::{
    accounts, keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/open-subject.md.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenSubject {
    sender: Sender,
    claimant: Address,
    binding: Option<Binding>,
}

impl OpenSubject {
    fn subject(&self) -> SubjectId {
        commitment::subject_id(self.sender.address(), &self.claimant)
    }
}

impl Action for OpenSubject {
    type Message = MsgOpenSubject;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let claimant = fields::id("claimant", &message.claimant)?;
        Ok(Self { sender: *sender, claimant, binding: Binding::parse(message.binding.as_ref(), &claimant)? })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        if state.has(&keys::subject(&self.subject())) {
            return Err(Reject::SubjectExists);
        }
        // One key has one subject: a key shared by two organizations would link their patients.
        let is_free = match &self.binding {
            None => accounts::is_unused(&self.claimant, state),
            Some(_) => accounts::is_free(&self.claimant, state),
        };
        if !is_free {
            return Err(Reject::AddressInUse);
        }
        self.binding.as_ref().map_or(Ok(()), |binding| binding.check(self.sender.address(), block, state))
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let key = self.binding.as_ref().map(|binding| &binding.key);
        accounts::open_for(self.sender.address(), &self.claimant, AccountRole::Claimant, key, state);
        let subject = Subject {
            organization: self.sender.address().to_vec(),
            claimant: self.claimant.to_vec(),
            ..Subject::default()
        };
        state.put(&keys::subject(&self.subject()), &subject);
    }
}
