//! The patient, or the patient's guardian, changes a grant that stands. Its id and grantee stay.

use careledger_wire::{
    ids::{Commitment, Digest, GrantId, SubjectId},
    proto::{
        consent::{ConsentMode, MsgAmendConsent},
        state::Grant,
    },
};

use super::{Action, fields, standing};
use crate::{
    governance, keys,
    limits::GRANT_SECONDS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// The format of the state from which on an amendment opens no grant that has ended.
const STAYS_ENDED_SINCE: u32 = 5;

/// See docs/transactions/amend-consent.md.
#[derive(Debug, Clone, PartialEq)]
pub struct AmendConsent {
    sender: Sender,
    subject: SubjectId,
    grant: GrantId,
    version: u32,
    mode: ConsentMode,
    not_before: i64,
    expires_at: i64,
    terms: Commitment,
    body: Digest,
    delegable: bool,
}

impl Action for AmendConsent {
    type Message = MsgAmendConsent;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let not_before = fields::time("not_before", message.not_before)?;
        let expires_at = fields::time("expires_at", message.expires_at)?;
        if expires_at <= not_before {
            return Err(Reject::InvalidField("expires_at"));
        }
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            grant: fields::id("grant", &message.grant)?,
            version: fields::version("version", message.version)?,
            mode: fields::choice("mode", message.mode)?,
            not_before,
            expires_at,
            terms: fields::id("terms", &message.terms)?,
            body: fields::id("body", &message.body)?,
            delegable: message.delegable,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let acting = standing::acts_for(&self.sender, &self.subject, block, state)?;
        block.check_end(self.expires_at, GRANT_SECONDS_MAX)?;
        acting.check_window(self.expires_at)?;
        let grant = state.get(&keys::consent(&self.subject, &self.grant)).ok_or(Reject::UnknownGrant)?;
        if !grant.parent.is_empty() {
            return Err(Reject::GrantDelegated);
        }
        // What is revoked is reinstated first, by the subject alone: an amendment never opens it.
        if grant.revoked_at != 0 {
            return Err(Reject::GrantRevoked);
        }
        // Nor what has ended: that is granted anew, to a grantee in good standing.
        if block.has_passed(grant.expires_at) && governance::state_version(state) >= STAYS_ENDED_SINCE {
            return Err(Reject::GrantEnded);
        }
        // As granted is version 1.
        if grant.amendments.checked_add(2) == Some(self.version) { Ok(()) } else { Err(Reject::WrongVersion) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::consent(&self.subject, &self.grant);
        let grant: Grant = state.get(&key).expect("check found it");
        let amended = Grant {
            mode: self.mode.into(),
            not_before: self.not_before,
            expires_at: self.expires_at,
            terms: self.terms.to_vec(),
            body: self.body.to_vec(),
            amendments: grant.amendments + 1,
            delegable: self.delegable,
            by_guardian: standing::is_guardian(&self.sender, state),
            ..grant
        };
        state.put(&key, &amended);
    }
}
