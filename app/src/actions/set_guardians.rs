//! A patient or practitioner names who may restore the account when its keys are lost.

use std::collections::BTreeSet;

use careledger_wire::{
    ids::Address,
    proto::{
        accounts::MsgSetGuardians,
        state::{AccountRole, Guardians},
    },
};

use super::{Action, fields, recovering, standing};
use crate::{
    accounts, keys,
    limits::{GUARDIANS_MAX, RECOVERY_SECONDS_MAX, RECOVERY_SECONDS_MIN},
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/set-guardians.md.
#[derive(Debug, Clone, PartialEq)]
pub struct SetGuardians {
    sender: Sender,
    guardians: BTreeSet<Address>,
    threshold: u32,
    delay_seconds: i64,
}

impl Action for SetGuardians {
    type Message = MsgSetGuardians;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let given = message.guardians.iter().map(|guardian| fields::id("guardians", guardian));
        let guardians = given.collect::<Result<BTreeSet<Address>, Reject>>()?;
        let is_own = guardians.contains(sender.address());
        if is_own || guardians.len() != message.guardians.len() || guardians.len() > GUARDIANS_MAX {
            return Err(Reject::InvalidField("guardians"));
        }
        let (least, delays) = match guardians.len() {
            0 => (0, 0..=0),
            _ => (1, RECOVERY_SECONDS_MIN..=RECOVERY_SECONDS_MAX),
        };
        if !(least..=guardians.len()).contains(&(message.threshold as usize)) {
            return Err(Reject::InvalidField("threshold"));
        }
        if !delays.contains(&message.delay_seconds) {
            return Err(Reject::InvalidField("delay_seconds"));
        }
        let (threshold, delay_seconds) = (message.threshold, message.delay_seconds);
        Ok(Self { sender: *sender, guardians, threshold, delay_seconds })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        recovering::check_recoverable(self.sender.address(), state)?;
        standing::manages_keys(&self.sender, block, state)?;
        let is_unknown = |guardian: &Address| accounts::role(guardian, state) == AccountRole::Unspecified;
        if self.guardians.iter().any(is_unknown) { Err(Reject::UnknownGuardian) } else { Ok(()) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let round = recovering::guardians(self.sender.address(), state).round + 1;
        let guardians = Guardians {
            guardians: self.guardians.iter().map(Address::to_vec).collect(),
            threshold: self.threshold,
            delay_seconds: self.delay_seconds,
            round,
            is_recovering: false,
        };
        state.put(&keys::guardians(self.sender.address()), &guardians);
    }
}
