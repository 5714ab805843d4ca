//! An organization attests that it saw the holder in person. With two the time lock starts.

use careledger_wire::proto::accounts::MsgAttestRecovery;

use super::{Action, recovering::Candidate, standing};
use crate::{
    limits::{RECOVERY_ATTESTATIONS, RECOVERY_ATTESTATIONS_MAX, RECOVERY_IN_PERSON_SECONDS},
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
        let recovery = self.candidate.recovery(state);
        let sender = self.sender.address().as_bytes().as_slice();
        let is_enough = recovery.attestations.len() >= RECOVERY_ATTESTATIONS_MAX;
        if is_enough || recovery.attestations.iter().any(|attestation| attestation == sender) {
            return Err(Reject::RecoveryApproved);
        }
        Ok(())
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let mut recovery = self.candidate.recovery(state);
        recovery.attestations.push(self.sender.address().to_vec());
        if recovery.attested_from == 0 && recovery.attestations.len() >= RECOVERY_ATTESTATIONS {
            recovery.attested_from = block.time + RECOVERY_IN_PERSON_SECONDS;
        }
        self.candidate.put(&recovery, state);
    }
}
