//! The patient opens a window for one organization: a capability, effective once committed.

use careledger_wire::{
    ids::{Address, Commitment, Digest, GrantId, RequestId, SubjectId},
    proto::{
        consent::{ConsentMode, MsgGrantConsent},
        state::{AccessRequest, Grant},
    },
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::GRANT_SECONDS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    subject_counts,
    types::{BlockContext, Sender},
};

/// See docs/transactions/grant-consent.md.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantConsent {
    sender: Sender,
    subject: SubjectId,
    grant: GrantId,
    grantee: Address,
    mode: ConsentMode,
    not_before: i64,
    expires_at: i64,
    terms: Commitment,
    body: Digest,
    request: Option<RequestId>,
    delegable: bool,
}

impl GrantConsent {
    /// The named request must be open, and about this subject and this grantee.
    fn check_request(&self, id: &RequestId, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let request = state.get(&keys::request(id)).ok_or(Reject::UnknownRequest)?;
        if request.subject != self.subject.as_bytes() || request.requester != self.grantee.as_bytes() {
            return Err(Reject::RequestMismatch);
        }
        if !request.grant.is_empty() {
            return Err(Reject::RequestAnswered);
        }
        if block.has_passed(request.expires_at) { Err(Reject::RequestExpired) } else { Ok(()) }
    }
}

impl Action for GrantConsent {
    type Message = MsgGrantConsent;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let request = match message.request.as_slice() {
            [] => None,
            bytes => Some(fields::id("request", bytes)?),
        };
        let not_before = fields::time("not_before", message.not_before)?;
        let expires_at = fields::time("expires_at", message.expires_at)?;
        if expires_at <= not_before {
            return Err(Reject::InvalidField("expires_at"));
        }
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            grant: fields::id("grant", &message.grant)?,
            grantee: fields::id("grantee", &message.grantee)?,
            mode: fields::choice("mode", message.mode)?,
            not_before,
            expires_at,
            terms: fields::id("terms", &message.terms)?,
            body: fields::id("body", &message.body)?,
            request,
            delegable: message.delegable,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let acting = standing::acts_for(&self.sender, &self.subject, block, state)?;
        block.check_end(self.expires_at, GRANT_SECONDS_MAX)?;
        acting.check_window(self.expires_at)?;
        if standing::in_good_standing(&self.grantee, block, state).is_err() {
            return Err(Reject::GranteeNotInGoodStanding);
        }
        if state.has(&keys::consent(&self.subject, &self.grant)) {
            return Err(Reject::GrantExists);
        }
        self.request.as_ref().map_or(Ok(()), |request| self.check_request(request, block, state))
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        if let Some(id) = &self.request {
            let key = keys::request(id);
            let request: AccessRequest = state.get(&key).expect("check found it");
            state.put(&key, &AccessRequest { grant: self.grant.to_vec(), ..request });
        }
        let grant = Grant {
            grantee: self.grantee.to_vec(),
            mode: self.mode.into(),
            not_before: self.not_before,
            expires_at: self.expires_at,
            terms: self.terms.to_vec(),
            body: self.body.to_vec(),
            request: self.request.map(|request| request.to_vec()).unwrap_or_default(),
            delegable: self.delegable,
            by_guardian: standing::is_guardian(&self.sender, state),
            ..Grant::default()
        };
        subject_counts::put_grant(&self.subject, &self.grant, &grant, state);
    }
}
