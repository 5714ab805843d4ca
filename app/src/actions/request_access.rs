//! An organization asks a patient for access. Nothing opens until the patient grants, or has granted
//! such requests in advance.

use careledger_wire::{
    ids::{Commitment, Digest, GrantId, RequestId, StandingId, SubjectId},
    proto::{
        consent::MsgRequestAccess,
        state::{AccessRequest, Grant, StandingApproval},
    },
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::REQUEST_SECONDS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    subject_counts,
    types::{BlockContext, Sender},
};

/// See docs/transactions/request-access.md.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestAccess {
    sender: Sender,
    subject: SubjectId,
    request: RequestId,
    terms: Commitment,
    body: Digest,
    expires_at: i64,
    standing: Option<StandingId>,
}

impl RequestAccess {
    /// The id of the grant that a standing approval makes of this request.
    fn grant(&self) -> GrantId {
        GrantId::new(*self.request.as_bytes())
    }

    /// The standing approval must be for this organization and these terms, unended and not used up.
    fn check_standing(&self, id: &StandingId, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let approval = state.get(&keys::standing(&self.subject, id)).ok_or(Reject::UnknownStanding)?;
        let is_for = approval.grantee == self.sender.address().as_bytes() && approval.terms == self.terms.as_bytes();
        if !is_for || block.has_passed(approval.expires_at) || approval.uses >= approval.uses_max {
            return Err(Reject::StandingRefuses);
        }
        if state.has(&keys::consent(&self.subject, &self.grant())) { Err(Reject::GrantExists) } else { Ok(()) }
    }

    fn grant_under(&self, id: &StandingId, block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::standing(&self.subject, id);
        let approval: StandingApproval = state.get(&key).expect("check found it");
        let grant = Grant {
            grantee: approval.grantee.clone(),
            mode: approval.mode,
            not_before: block.time,
            // Nothing outlives what the patient approved.
            expires_at: block.time.saturating_add(approval.grant_seconds.into()).min(approval.expires_at),
            terms: approval.terms.clone(),
            body: approval.body.clone(),
            request: self.request.to_vec(),
            standing: id.to_vec(),
            ..Grant::default()
        };
        subject_counts::put_grant(&self.subject, &self.grant(), &grant, state);
        state.put(&key, &StandingApproval { uses: approval.uses + 1, ..approval });
    }
}

impl Action for RequestAccess {
    type Message = MsgRequestAccess;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let standing = match message.standing.as_slice() {
            [] => None,
            bytes => Some(fields::id("standing", bytes)?),
        };
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            request: fields::id("request", &message.request)?,
            terms: fields::id("terms", &message.terms)?,
            body: fields::id("body", &message.body)?,
            expires_at: fields::time("expires_at", message.expires_at)?,
            standing,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        block.check_end(self.expires_at, REQUEST_SECONDS_MAX)?;
        if !state.has(&keys::subject(&self.subject)) {
            return Err(Reject::UnknownSubject);
        }
        if state.has(&keys::request(&self.request)) {
            return Err(Reject::RequestExists);
        }
        self.standing.as_ref().map_or(Ok(()), |standing| self.check_standing(standing, block, state))
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let request = AccessRequest {
            requester: self.sender.address().to_vec(),
            subject: self.subject.to_vec(),
            terms: self.terms.to_vec(),
            body: self.body.to_vec(),
            expires_at: self.expires_at,
            grant: self.standing.map(|_| self.grant().to_vec()).unwrap_or_default(),
        };
        state.put(&keys::request(&self.request), &request);
        if let Some(standing) = &self.standing {
            self.grant_under(standing, block, state);
        }
    }
}
