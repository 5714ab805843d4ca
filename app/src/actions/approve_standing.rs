//! The patient approves requests of one organization in advance, within caps.

use careledger_wire::{
    ids::{Address, Commitment, Digest, StandingId, SubjectId},
    proto::{
        consent::{ConsentMode, MsgApproveStanding},
        state::StandingApproval,
    },
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::{STANDING_GRANT_SECONDS_MAX, STANDING_SECONDS_MAX, STANDING_USES_MAX},
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/approve-standing.md.
#[derive(Debug, Clone, PartialEq)]
pub struct ApproveStanding {
    sender: Sender,
    subject: SubjectId,
    standing: StandingId,
    grantee: Address,
    mode: ConsentMode,
    terms: Commitment,
    body: Digest,
    grant_seconds: u32,
    expires_at: i64,
    uses_max: u32,
}

impl Action for ApproveStanding {
    type Message = MsgApproveStanding;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        if !(1..=STANDING_GRANT_SECONDS_MAX).contains(&message.grant_seconds) {
            return Err(Reject::InvalidField("grant_seconds"));
        }
        if !(1..=STANDING_USES_MAX).contains(&message.uses_max) {
            return Err(Reject::InvalidField("uses_max"));
        }
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            standing: fields::id("standing", &message.standing)?,
            grantee: fields::id("grantee", &message.grantee)?,
            mode: fields::choice("mode", message.mode)?,
            terms: fields::id("terms", &message.terms)?,
            body: fields::id("body", &message.body)?,
            grant_seconds: message.grant_seconds,
            expires_at: fields::time("expires_at", message.expires_at)?,
            uses_max: message.uses_max,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::claimed_subject_of(&self.sender, &self.subject, state)?;
        block.check_end(self.expires_at, STANDING_SECONDS_MAX)?;
        if standing::in_good_standing(&self.grantee, block, state).is_err() {
            return Err(Reject::GranteeNotInGoodStanding);
        }
        if state.has(&keys::standing(&self.subject, &self.standing)) { Err(Reject::IdTaken) } else { Ok(()) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let approval = StandingApproval {
            grantee: self.grantee.to_vec(),
            mode: self.mode.into(),
            terms: self.terms.to_vec(),
            body: self.body.to_vec(),
            grant_seconds: self.grant_seconds,
            expires_at: self.expires_at,
            uses_max: self.uses_max,
            uses: 0,
        };
        state.put(&keys::standing(&self.subject, &self.standing), &approval);
    }
}
