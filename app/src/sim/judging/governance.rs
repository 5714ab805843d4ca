//! Registrars, validators, parameters, proposals, upgrades.

use careledger_wire::proto::{
    governance::Content,
    state::{Governance, ProposalStatus},
};

use super::{Judge, as_set, at, key_id};
use crate::{
    governance, keys,
    sim::{messages::validator, script::Actor},
};

impl Judge<'_> {
    pub(super) fn governance(&mut self) {
        let (network, model) = (self.network, &self.network.model);
        let registrars: Vec<Actor> = model.registrars.iter().map(|number| Actor::Registrar(*number)).collect();
        let registrars = self.addresses(&registrars);
        // 0 stands for what genesis or the limits say.
        let seconds = (governance::unordered_seconds(self.state), governance::proposal_seconds(self.state));
        self.holds(&keys::parameters(), "parameters", |found| {
            as_set(&mut found.registrars, registrars);
            (found.registrar_threshold, found.next_account_number) = (model.threshold.into(), model.next_number);
            let parameters = &model.parameters;
            let mut changed = found.governance.unwrap_or_default();
            changed.registrar_generation = model.registrar_generation;
            changed.validators_changed_at = model.validators_changed_at;
            changed.offences_tolerated = parameters.offences_tolerated;
            (changed.upgrade_version, changed.upgrade_height) = model.scheduled.unwrap_or_default();
            if changed.state_version.max(1) != model.format {
                changed.state_version = model.format;
            }
            if seconds.0 != parameters.unordered_seconds {
                changed.unordered_seconds = parameters.unordered_seconds.cast_unsigned();
            }
            if seconds.1 != parameters.proposal_seconds {
                changed.proposal_seconds = parameters.proposal_seconds.cast_unsigned();
            }
            // It is absent until something changes.
            if found.governance.is_some() || changed != Governance::default() {
                found.governance = Some(changed);
            }
        });
        for (key, power) in &model.validators {
            self.holds(&keys::validator(&validator(*key)), format_args!("validator {key}"), |found| {
                // No block of a simulation has evidence.
                (found.power, found.offences) = (*power, 0);
                found.removed_height = model.removed.get(key).copied().unwrap_or_default();
                found.newest_offences.clear();
            });
        }
        for (number, expected) in &model.proposals {
            let proposer = self.address(Actor::Registrar(expected.by)).to_vec();
            let approvals: Vec<Actor> = expected.approvals.iter().map(|one| Actor::Registrar(*one)).collect();
            let approvals = self.addresses(&approvals);
            let content = Content { decision: Some(network.decision(expected.decision)) };
            self.holds(&keys::proposal(&key_id("proposal", *number)), format_args!("proposal {number}"), |found| {
                (found.proposer, found.expires_at) = (proposer, at(expected.until));
                as_set(&mut found.approvals, approvals);
                found.set_status(match (expected.closed, expected.is_withdrawn) {
                    (None, _) => ProposalStatus::Open,
                    (Some(_), false) => ProposalStatus::Accepted,
                    (Some(_), true) => ProposalStatus::Withdrawn,
                });
                found.registrar_generation = expected.generation;
                found.closed_at = expected.closed.map_or(0, at);
                found.content = Some(content);
            });
        }
        for (version, made) in &model.upgraded {
            self.holds(&keys::upgrade(*version), format_args!("upgrade to format {version}"), |found| {
                (found.height, found.time) = (made.height, at(made.time));
            });
        }
    }
}
