//! An organization attests that it saw the holder in person. With two the time lock starts.

use careledger_wire::proto::accounts::MsgAttestRecovery;

use super::{
    Action,
    recovering::{Candidate, Way},
    standing,
};
use crate::{
    limits::RECOVERY_ATTESTATIONS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/attest-recovery.md.
#[derive(Debug, Clone, PartialEq)]
pub struct AttestRecovery {
    sender: Sender,
    candidate: Candidate,
}

impl Action for AttestRecovery {
    type Message = MsgAttestRecovery;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let candidate = Candidate::parse(&message.account, message.kind, &message.key)?;
        Ok(Self { sender: *sender, candidate })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        self.candidate.check(state)?;
        let recovery = self.candidate.recovery(block, state);
        let sender = self.sender.address().as_bytes().as_slice();
        let is_enough = recovery.attestations.len() >= RECOVERY_ATTESTATIONS_MAX;
        if is_enough || recovery.attestations.iter().any(|attestation| attestation == sender) {
            return Err(Reject::RecoveryApproved);
        }
        Ok(())
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let mut recovery = self.candidate.recovery(block, state);
        self.candidate.add(Way::InPerson, &self.sender, &mut recovery, block, state);
        self.candidate.put(&recovery, state);
    }
}
