//! A registrar approves a proposal; the approval that reaches the threshold lets it take effect.

use careledger_wire::{
    ids::ProposalId,
    proto::{
        governance::MsgVote,
        state::{Proposal, ProposalStatus},
    },
};

use super::{Action, fields, propose, standing};
use crate::{
    accounts,
    governance::Proposed,
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/vote.md.
#[derive(Debug, Clone, PartialEq)]
pub struct Vote {
    sender: Sender,
    proposal: ProposalId,
}

impl Vote {
    /// Whether this approval is the one that decides.
    fn decides(proposal: &Proposal, state: &impl StateRead) -> bool {
        proposal.approvals.len() + 1 >= accounts::parameters(state).registrar_threshold as usize
    }
}

impl Action for Vote {
    type Message = MsgVote;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self { sender: *sender, proposal: fields::id("proposal", &message.proposal)? })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::registrar(&self.sender, state)?;
        let proposal = propose::open(&self.proposal, block, state)?;
        if proposal.approvals.iter().any(|approval| approval == self.sender.address().as_bytes()) {
            return Err(Reject::AlreadyVoted);
        }
        if Self::decides(&proposal, state) {
            Proposed::parse(proposal.content.as_ref())?.check(block, state)?;
        }
        Ok(())
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::proposal(&self.proposal);
        let mut proposal: Proposal = state.get(&key).expect("check found it");
        let is_decided = Self::decides(&proposal, state);
        proposal.approvals.push(self.sender.address().to_vec());
        if is_decided {
            proposal.status = ProposalStatus::Accepted.into();
            proposal.closed_at = block.time;
        }
        state.put(&key, &proposal);
        if is_decided {
            let proposed = Proposed::parse(proposal.content.as_ref()).expect("check parsed it");
            proposed.apply(block, state);
        }
    }
}
