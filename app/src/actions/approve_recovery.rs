//! A guardian approves a new key. With enough approvals the time lock starts.

use careledger_wire::proto::accounts::MsgApproveRecovery;

use super::{
    Action,
    recovering::{self, Candidate, Way},
};
use crate::{
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/approve-recovery.md.
#[derive(Debug, Clone, PartialEq)]
pub struct ApproveRecovery {
    sender: Sender,
    candidate: Candidate,
}

impl Action for ApproveRecovery {
    type Message = MsgApproveRecovery;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let candidate = Candidate::parse(&message.account, message.kind, &message.key)?;
        Ok(Self { sender: *sender, candidate })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        recovering::check_standing(&self.sender, block, state)?;
        let sender = self.sender.address().as_bytes().as_slice();
        let guardians = recovering::guardians(&self.candidate.account, state);
        if !guardians.guardians.iter().any(|guardian| guardian == sender) {
            return Err(Reject::NotAGuardian);
        }
        self.candidate.check(state)?;
        let approvals = self.candidate.recovery(block, state).approvals;
        if approvals.iter().any(|approval| approval == sender) { Err(Reject::RecoveryApproved) } else { Ok(()) }
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let mut recovery = self.candidate.recovery(block, state);
        self.candidate.add(Way::Guardians, &self.sender, &mut recovery, block, state);
        self.candidate.put(&recovery, state);
    }
}
