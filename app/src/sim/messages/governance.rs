//! What registrars vote on.

use careledger_wire::{
    message::Message,
    proto::governance::{
        Content, MsgPropose, MsgRescind, MsgVote, Parameter, ParameterChange, RegistrarChange, ScheduledUpgrade,
        ValidatorChange, content,
    },
};

use super::{id, unknown, validator};
use crate::sim::{
    network::{Network, START},
    script::{Actor, Decision, REGISTRARS, Request},
};

impl Network {
    pub(super) fn governance_message(&self, sender: String, request: Request) -> Message {
        match request {
            Request::Propose { proposal, until, decision } => MsgPropose {
                sender,
                proposal: id("proposal", proposal),
                expires_at: START + until,
                content: Some(Content { decision: Some(self.decision(decision)) }),
            }
            .into(),
            Request::Vote { proposal } => MsgVote { sender, proposal: id("proposal", proposal) }.into(),
            Request::Rescind { proposal } => MsgRescind { sender, proposal: id("proposal", proposal) }.into(),
            other => unknown(other),
        }
    }

    /// A decision as proposals carry it.
    pub(in crate::sim) fn decision(&self, decision: Decision) -> content::Decision {
        let parameter = |parameter: Parameter, value| {
            content::Decision::Parameter(ParameterChange { parameter: parameter.into(), value })
        };
        match decision {
            Decision::Registrars { set, threshold } => {
                let members = (0..REGISTRARS).filter(|registrar| set >> registrar & 1 == 1);
                let mut registrars: Vec<Vec<u8>> =
                    members.map(|registrar| self.address(Actor::Registrar(registrar))).collect();
                registrars.sort();
                content::Decision::Registrars(RegistrarChange { registrars, threshold: threshold.into() })
            }
            Decision::Validator { key, power } => {
                content::Decision::Validator(ValidatorChange { public_key: validator(key).to_vec(), power })
            }
            Decision::OffencesTolerated(value) => parameter(Parameter::OffencesTolerated, value),
            Decision::UnorderedSeconds(value) => parameter(Parameter::UnorderedSeconds, value),
            Decision::ProposalSeconds(value) => parameter(Parameter::ProposalSeconds, value),
            Decision::Upgrade { version, height } => content::Decision::Upgrade(ScheduledUpgrade { version, height }),
        }
    }
}
