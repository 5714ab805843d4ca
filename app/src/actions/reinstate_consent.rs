//! The patient opens a revoked grant again, as it was.

use careledger_wire::{
    ids::{GrantId, SubjectId},
    proto::{
        consent::MsgReinstateConsent,
        state::{Closure, Grant},
    },
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::REINSTATEMENTS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/reinstate-consent.md.
#[derive(Debug, Clone, PartialEq)]
pub struct ReinstateConsent {
    sender: Sender,
    subject: SubjectId,
    grant: GrantId,
}

impl Action for ReinstateConsent {
    type Message = MsgReinstateConsent;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            grant: fields::id("grant", &message.grant)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::claimed_subject_of(&self.sender, &self.subject, state)?;
        let grant = state.get(&keys::consent(&self.subject, &self.grant)).ok_or(Reject::UnknownGrant)?;
        if grant.revoked_at == 0 {
            return Err(Reject::GrantNotRevoked);
        }
        if block.has_passed(grant.expires_at) {
            return Err(Reject::GrantEnded);
        }
        if grant.closures.len() < REINSTATEMENTS_MAX { Ok(()) } else { Err(Reject::GrantFull) }
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::consent(&self.subject, &self.grant);
        let mut grant: Grant = state.get(&key).expect("check found it");
        // Who could see what on a past date keeps its answer.
        grant.closures.push(Closure { revoked_at: grant.revoked_at, reinstated_at: block.time });
        state.put(&key, &Grant { revoked_at: 0, ..grant });
    }
}
