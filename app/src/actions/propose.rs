//! A registrar proposes what the registrars decide on together.

use careledger_wire::{
    ids::ProposalId,
    proto::{
        governance::{Content, MsgPropose},
        state::{Proposal, ProposalStatus},
    },
};

use super::{Action, fields, standing};
use crate::{
    accounts,
    governance::{self, Proposed},
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/propose.md.
#[derive(Debug, Clone, PartialEq)]
pub struct Propose {
    sender: Sender,
    proposal: ProposalId,
    expires_at: i64,
    content: Option<Content>,
    proposed: Proposed,
}

impl Action for Propose {
    type Message = MsgPropose;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            proposal: fields::id("proposal", &message.proposal)?,
            expires_at: fields::time("expires_at", message.expires_at)?,
            proposed: Proposed::parse(message.content.as_ref())?,
            content: message.content,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::registrar(&self.sender, state)?;
        block.check_end(self.expires_at, governance::proposal_seconds(state))?;
        if state.has(&keys::proposal(&self.proposal)) {
            return Err(Reject::ProposalExists);
        }
        self.proposed.check(block, state)
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let parameters = accounts::parameters(state);
        let is_decided = parameters.registrar_threshold <= 1;
        let proposal = Proposal {
            proposer: self.sender.address().to_vec(),
            expires_at: self.expires_at,
            approvals: vec![self.sender.address().to_vec()],
            status: if is_decided { ProposalStatus::Accepted } else { ProposalStatus::Open }.into(),
            registrar_generation: parameters.governance.unwrap_or_default().registrar_generation,
            closed_at: if is_decided { block.time } else { 0 },
            content: self.content,
        };
        state.put(&keys::proposal(&self.proposal), &proposal);
        if is_decided {
            self.proposed.apply(block, state);
        }
    }
}

/// The proposal, while it can be approved or withdrawn.
pub(super) fn open(id: &ProposalId, block: &BlockContext, state: &impl StateRead) -> Result<Proposal, Reject> {
    let proposal = state.get(&keys::proposal(id)).ok_or(Reject::UnknownProposal)?;
    let is_of_these_registrars = proposal.registrar_generation == governance::of(state).registrar_generation;
    if proposal.status() != ProposalStatus::Open || !is_of_these_registrars {
        return Err(Reject::ProposalClosed);
    }
    if block.has_passed(proposal.expires_at) { Err(Reject::ProposalExpired) } else { Ok(proposal) }
}
