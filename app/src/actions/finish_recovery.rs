//! The time lock ended without a veto: one new key replaces all keys of the account.

use careledger_wire::{
    ids::Address,
    proto::{
        accounts::{KeyAuthority, MsgFinishRecovery},
        state::{AccountRole, Guardians, Recovery},
    },
    signing::Signature,
};

use super::{
    Action, possession,
    recovering::{self, Candidate, Way},
    standing,
};
use crate::{
    accounts, governance, keys,
    limits::RECOVERY_ATTESTATIONS,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// The format of the state from which on the approvals of organizations count in good standing only, as their
/// attestations always did.
const JUDGED_AGAIN_SINCE: u32 = 4;

/// See docs/transactions/finish-recovery.md.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishRecovery {
    sender: Sender,
    candidate: Candidate,
    possession: Signature,
}

/// Those who approved or attested.
fn addresses(those: &[Vec<u8>]) -> impl Iterator<Item = Address> {
    those.iter().map(|bytes| Address::try_from(bytes.as_slice()).expect("the ledger keeps addresses here"))
}

impl FinishRecovery {
    /// The way in which it was approved, once its time lock ended. Organizations must still be in
    /// good standing: one whose key was stolen speaks for nobody.
    fn path(&self, recovery: &Recovery, block: &BlockContext, state: &impl StateRead) -> Result<Way, Reject> {
        let in_standing = |address: &Address| standing::in_good_standing(address, block, state).is_ok();
        let counts = |address: &Address| {
            let is_organization = accounts::role(address, state) == AccountRole::Organization;
            !is_organization || in_standing(address) || governance::state_version(state) < JUDGED_AGAIN_SINCE
        };
        let attested = addresses(&recovery.attestations).filter(in_standing).count() >= RECOVERY_ATTESTATIONS;
        let threshold = recovering::guardians(&self.candidate.account, state).threshold;
        let approved = addresses(&recovery.approvals).filter(counts).count() >= threshold as usize;
        let approved_from = Some(recovery.approved_from).filter(|from| *from != 0 && approved);
        let attested_from = Some(recovery.attested_from).filter(|from| *from != 0 && attested);
        match (approved_from, attested_from) {
            (Some(from), _) if block.may_have_passed(from) => Ok(Way::Guardians),
            (_, Some(from)) if block.may_have_passed(from) => Ok(Way::InPerson),
            (None, None) => Err(Reject::RecoveryNotApproved),
            _ => Err(Reject::RecoveryLocked),
        }
    }
}

impl Action for FinishRecovery {
    type Message = MsgFinishRecovery;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let candidate = Candidate::parse(&message.account, message.kind, &message.key)?;
        let possession = Signature::decode(candidate.key.kind(), &message.possession);
        Ok(Self { sender: *sender, candidate, possession: possession.ok_or(Reject::InvalidField("possession"))? })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        recovering::check_standing(&self.sender, block, state)?;
        self.candidate.check(state)?;
        let recovery = self.candidate.recovery(block, state);
        if recovery.approvals.is_empty() && recovery.attestations.is_empty() {
            return Err(Reject::NoRecovery);
        }
        self.path(&recovery, block, state)?;
        possession::check(&self.candidate.account, &self.candidate.key, &self.possession, block, state)
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let Candidate { account, key } = self.candidate;
        let recovery = self.candidate.recovery(block, state);
        let path = self.path(&recovery, block, state).expect("check found it");
        let current = recovering::guardians(&account, state);
        let round = current.round + 1;
        let next = match path {
            Way::Guardians => Guardians { round, is_recovering: false, ..current },
            // Who took the keys may have named the guardians.
            Way::InPerson => Guardians { round, ..Guardians::default() },
        };
        state.put(&keys::guardians(&account), &next);
        state.delete(&keys::recovery(&account, &key.address()));
        accounts::set_keys(&account, vec![accounts::key_with(&key, KeyAuthority::Full)], state);
    }
}
