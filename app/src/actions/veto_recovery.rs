//! Whoever still has a key of the account cancels every recovery of it.

use careledger_wire::proto::{accounts::MsgVetoRecovery, state::Guardians};

use super::{Action, recovering};
use crate::{
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/veto-recovery.md.
#[derive(Debug, Clone, PartialEq)]
pub struct VetoRecovery {
    sender: Sender,
}

impl Action for VetoRecovery {
    type Message = MsgVetoRecovery;

    fn parse(sender: &Sender, _message: Self::Message) -> Result<Self, Reject> {
        Ok(Self { sender: *sender })
    }

    fn check(&self, _block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        recovering::check_recoverable(self.sender.address(), state)?;
        let is_recovering = recovering::guardians(self.sender.address(), state).is_recovering;
        if is_recovering { Ok(()) } else { Err(Reject::NoRecovery) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let current = recovering::guardians(self.sender.address(), state);
        let next = Guardians { round: current.round + 1, is_recovering: false, ..current };
        state.put(&keys::guardians(self.sender.address()), &next);
    }
}
