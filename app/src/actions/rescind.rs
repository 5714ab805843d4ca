//! A registrar takes its approval back; the proposer closes the proposal.

use careledger_wire::{
    ids::ProposalId,
    proto::{
        governance::MsgRescind,
        state::{Proposal, ProposalStatus},
    },
};

use super::{Action, fields, propose, standing};
use crate::{
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/rescind.md.
#[derive(Debug, Clone, PartialEq)]
pub struct Rescind {
    sender: Sender,
    proposal: ProposalId,
}

impl Action for Rescind {
    type Message = MsgRescind;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self { sender: *sender, proposal: fields::id("proposal", &message.proposal)? })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::registrar(&self.sender, state)?;
        let proposal = propose::open(&self.proposal, block, state)?;
        let sender = self.sender.address().as_bytes();
        if proposal.approvals.iter().any(|approval| approval == sender) { Ok(()) } else { Err(Reject::NotApproved) }
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::proposal(&self.proposal);
        let mut proposal: Proposal = state.get(&key).expect("check found it");
        let sender = self.sender.address().as_bytes();
        if proposal.proposer == sender {
            proposal.status = ProposalStatus::Withdrawn.into();
            proposal.closed_at = block.time;
        }
        proposal.approvals.retain(|approval| approval != sender);
        state.put(&key, &proposal);
    }
}
