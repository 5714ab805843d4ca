//! An organization asks a patient for access. Nothing opens until the patient grants.

use careledger_wire::{
    ids::{Commitment, Digest, RequestId, SubjectId},
    proto::{consent::MsgRequestAccess, state::AccessRequest},
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::REQUEST_SECONDS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
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
}

impl Action for RequestAccess {
    type Message = MsgRequestAccess;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            request: fields::id("request", &message.request)?,
            terms: fields::id("terms", &message.terms)?,
            body: fields::id("body", &message.body)?,
            expires_at: fields::time("expires_at", message.expires_at)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        block.check_end(self.expires_at, REQUEST_SECONDS_MAX)?;
        if !state.has(&keys::subject(&self.subject)) {
            return Err(Reject::UnknownSubject);
        }
        if state.has(&keys::request(&self.request)) { Err(Reject::RequestExists) } else { Ok(()) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let request = AccessRequest {
            requester: self.sender.address().to_vec(),
            subject: self.subject.to_vec(),
            terms: self.terms.to_vec(),
            body: self.body.to_vec(),
            expires_at: self.expires_at,
            grant: Vec::new(),
        };
        state.put(&keys::request(&self.request), &request);
    }
}
