//! The patient takes a standing approval back.

use careledger_wire::{
    ids::{StandingId, SubjectId},
    proto::consent::MsgWithdrawStanding,
};

use super::{Action, fields, standing};
use crate::{
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/withdraw-standing.md.
#[derive(Debug, Clone, PartialEq)]
pub struct WithdrawStanding {
    sender: Sender,
    subject: SubjectId,
    standing: StandingId,
}

impl Action for WithdrawStanding {
    type Message = MsgWithdrawStanding;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            standing: fields::id("standing", &message.standing)?,
        })
    }

    fn check(&self, _block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::claimed_subject_of(&self.sender, &self.subject, state)?;
        if state.has(&keys::standing(&self.subject, &self.standing)) { Ok(()) } else { Err(Reject::UnknownStanding) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        state.delete(&keys::standing(&self.subject, &self.standing));
    }
}
