//! The patient takes a subject over. From here only the patient's key grants and revokes.

use careledger_wire::{
    ids::{EncryptionKey, SubjectId},
    proto::{identity::MsgClaimSubject, state::Subject},
};

use super::{Action, fields, standing};
use crate::{
    accounts, keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/claim-subject.md.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimSubject {
    sender: Sender,
    subject: SubjectId,
    encryption_key: EncryptionKey,
}

impl Action for ClaimSubject {
    type Message = MsgClaimSubject;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            encryption_key: fields::id("encryption_key", &message.encryption_key)?,
        })
    }

    fn check(&self, _block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let subject = standing::subject_of(&self.sender, &self.subject, state)?;
        // Another organization's subject is left over from before the key said where it wants to be.
        let bound_to = accounts::account(self.sender.address(), state).map(|account| account.bound_to);
        if bound_to.is_some_and(|bound_to| !bound_to.is_empty() && bound_to != subject.organization) {
            return Err(Reject::NotTheSubject);
        }
        if subject.encryption_key.is_empty() { Ok(()) } else { Err(Reject::SubjectClaimed) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::subject(&self.subject);
        let subject: Subject = state.get(&key).expect("check found it");
        state.put(&key, &Subject { encryption_key: self.encryption_key.to_vec(), ..subject });
    }
}
