//! The patient closes a grant. Effective from the next block.

use careledger_wire::{
    ids::{GrantId, SubjectId},
    proto::{consent::MsgRevokeConsent, state::Grant},
};

use super::{Action, fields, standing};
use crate::{
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/revoke-consent.md.
#[derive(Debug, Clone, PartialEq)]
pub struct RevokeConsent {
    sender: Sender,
    subject: SubjectId,
    grant: GrantId,
}

impl Action for RevokeConsent {
    type Message = MsgRevokeConsent;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            grant: fields::id("grant", &message.grant)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::acts_for(&self.sender, &self.subject, block, state)?;
        let grant = state.get(&keys::consent(&self.subject, &self.grant)).ok_or(Reject::UnknownGrant)?;
        if grant.revoked_at == 0 { Ok(()) } else { Err(Reject::GrantRevoked) }
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::consent(&self.subject, &self.grant);
        let grant: Grant = state.get(&key).expect("check found it");
        state.put(&key, &Grant { revoked_at: block.time, ..grant });
    }
}
