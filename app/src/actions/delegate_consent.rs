//! A grantee lets one more organization act within its grant. One step only.

use careledger_wire::{
    decision::{self, Rule},
    ids::{Address, Commitment, Digest, GrantId, SubjectId},
    proto::{
        consent::{ConsentMode, MsgDelegateConsent},
        state::{Delegations, Grant},
    },
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::{DELEGATES_MAX, GRANT_SECONDS_MAX},
    reject::Reject,
    state::{StateRead, StateWrite},
    subject_counts,
    types::{BlockContext, Sender},
};

/// See docs/transactions/delegate-consent.md.
#[derive(Debug, Clone, PartialEq)]
pub struct DelegateConsent {
    sender: Sender,
    subject: SubjectId,
    parent: GrantId,
    grant: GrantId,
    grantee: Address,
    mode: ConsentMode,
    not_before: i64,
    expires_at: i64,
    terms: Commitment,
    body: Digest,
}

impl DelegateConsent {
    /// The parent must be the sender's, given by the patient for delegation, in force or to come,
    /// and wide enough.
    fn check_parent(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let parent = state.get(&keys::consent(&self.subject, &self.parent)).ok_or(Reject::UnknownGrant)?;
        if parent.grantee != self.sender.address().as_bytes() {
            return Err(Reject::NotTheGrantee);
        }
        if !parent.parent.is_empty() {
            return Err(Reject::GrantDelegated);
        }
        if !parent.delegable {
            return Err(Reject::GrantNotDelegable);
        }
        match decision::out_of_force(&parent, block.time) {
            Some(Rule::NotRevoked) => return Err(Reject::GrantRevoked),
            Some(Rule::NotEnded) => return Err(Reject::GrantEnded),
            _ => {}
        }
        let is_within = parent.not_before <= self.not_before && self.expires_at <= parent.expires_at;
        if is_within && parent.mode() == self.mode { Ok(()) } else { Err(Reject::WiderThanGrant) }
    }

    fn delegations(&self, state: &impl StateRead) -> Delegations {
        state.get(&keys::delegation(&self.subject, &self.parent)).unwrap_or_default()
    }
}

impl Action for DelegateConsent {
    type Message = MsgDelegateConsent;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let not_before = fields::time("not_before", message.not_before)?;
        let expires_at = fields::time("expires_at", message.expires_at)?;
        if expires_at <= not_before {
            return Err(Reject::InvalidField("expires_at"));
        }
        let grantee: Address = fields::id("grantee", &message.grantee)?;
        if grantee == *sender.address() {
            return Err(Reject::InvalidField("grantee"));
        }
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            parent: fields::id("parent", &message.parent)?,
            grant: fields::id("grant", &message.grant)?,
            grantee,
            mode: fields::choice("mode", message.mode)?,
            not_before,
            expires_at,
            terms: fields::id("terms", &message.terms)?,
            body: fields::id("body", &message.body)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        self.check_parent(block, state)?;
        block.check_end(self.expires_at, GRANT_SECONDS_MAX)?;
        if standing::in_good_standing(&self.grantee, block, state).is_err() {
            return Err(Reject::GranteeNotInGoodStanding);
        }
        if state.has(&keys::consent(&self.subject, &self.grant)) {
            return Err(Reject::GrantExists);
        }
        if self.delegations(state).grants.len() < DELEGATES_MAX { Ok(()) } else { Err(Reject::GrantFull) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let mut delegations = self.delegations(state);
        delegations.grants.push(self.grant.to_vec());
        state.put(&keys::delegation(&self.subject, &self.parent), &delegations);
        let grant = Grant {
            grantee: self.grantee.to_vec(),
            mode: self.mode.into(),
            not_before: self.not_before,
            expires_at: self.expires_at,
            terms: self.terms.to_vec(),
            body: self.body.to_vec(),
            parent: self.parent.to_vec(),
            ..Grant::default()
        };
        subject_counts::put_grant(&self.subject, &self.grant, &grant, state);
    }
}
