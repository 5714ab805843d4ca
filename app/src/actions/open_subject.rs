//! An organization opens a provisional subject for a key that a patient's wallet derived for it.

use careledger_wire::{
    commitment,
    ids::{Address, SubjectId},
    proto::{
        identity::MsgOpenSubject,
        state::{AccountRole, Subject},
    },
};

use super::{Action, fields, standing};
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
}

impl OpenSubject {
    fn subject(&self) -> SubjectId {
        commitment::subject_id(self.sender.address(), &self.claimant)
    }
}

impl Action for OpenSubject {
    type Message = MsgOpenSubject;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self { sender: *sender, claimant: fields::id("claimant", &message.claimant)? })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        if state.has(&keys::subject(&self.subject())) {
            return Err(Reject::SubjectExists);
        }
        // One key has one subject: a key shared by two organizations would link their patients.
        if !accounts::is_unused(&self.claimant, state) {
            return Err(Reject::AddressInUse);
        }
        Ok(())
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        accounts::open(&self.claimant, AccountRole::Claimant, state);
        let subject = Subject {
            organization: self.sender.address().to_vec(),
            claimant: self.claimant.to_vec(),
            encryption_key: Vec::new(),
        };
        state.put(&keys::subject(&self.subject()), &subject);
    }
}
