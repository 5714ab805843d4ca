//! What registrars vote on.

use std::collections::BTreeSet;

use super::{Answer, By, DAY, Model, ends};
use crate::sim::script::{Actor, Decision, REGISTRARS, Request};

/// Blocks after which a scheduled upgrade comes at the latest.
const UPGRADE_BLOCKS_MAX: u64 = 10_000_000;

/// What can be voted on besides validators, registrars and upgrades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Parameters {
    pub(in crate::sim) offences_tolerated: u64,
    pub(in crate::sim) unordered_seconds: i64,
    pub(in crate::sim) proposal_seconds: i64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { offences_tolerated: 0, unordered_seconds: 600, proposal_seconds: 90 * DAY }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) struct Proposal {
    pub(in crate::sim) by: u8,
    pub(in crate::sim) until: i64,
    pub(in crate::sim) decision: Decision,
    pub(in crate::sim) approvals: BTreeSet<u8>,
    /// When it was accepted or withdrawn.
    pub(in crate::sim) closed: Option<i64>,
    /// Its proposer took it back.
    pub(in crate::sim) is_withdrawn: bool,
    pub(in crate::sim) generation: u64,
}

/// Ranges, whatever the ledger holds.
pub(super) fn shape(decision: Decision) -> Answer {
    let is_within = match decision {
        Decision::Registrars { set, threshold } => {
            let count = members(set).len();
            let is_list = count > 0 && (1..=count).contains(&usize::from(threshold));
            return if is_list { Ok(()) } else { Err("InvalidField") };
        }
        Decision::Upgrade { version: 0 | 1, .. } => return Err("InvalidField"),
        Decision::Validator { .. } | Decision::Upgrade { .. } => true,
        Decision::OffencesTolerated(value) => value <= 10,
        Decision::UnorderedSeconds(value) => (120..=600).contains(&value),
        Decision::ProposalSeconds(value) => (3_600..=90 * 86_400).contains(&value),
    };
    if is_within { Ok(()) } else { Err("ParameterOutOfRange") }
}

fn members(set: u8) -> BTreeSet<u8> {
    (0..REGISTRARS).filter(|registrar| set >> registrar & 1 == 1).collect()
}

impl Model {
    pub(super) fn govern(&mut self, by: By, request: Request) -> Answer {
        let registrar = self.registrar(by)?;
        match request {
            Request::Propose { proposal, until, decision } => {
                ends(until, by.time)?;
                if until > by.time + self.parameters.proposal_seconds {
                    return Err("EndsTooLate");
                }
                if self.proposals.contains_key(&proposal) {
                    return Err("ProposalExists");
                }
                let (height, time) = (by.height, by.time);
                self.can_be(decision, height)?;
                let approvals = [registrar].into();
                let generation = self.registrar_generation;
                let closed = (self.threshold == 1).then_some(time);
                let is_withdrawn = false;
                let by = registrar;
                let made = Proposal { by, until, decision, approvals, closed, is_withdrawn, generation };
                self.proposals.insert(proposal, made);
                if closed.is_some() {
                    self.become_so(decision, height);
                }
                Ok(())
            }
            Request::Vote { proposal } => {
                let mut found = self.opened(proposal, by.time)?;
                if !found.approvals.insert(registrar) {
                    return Err("AlreadyVoted");
                }
                let is_decided = found.approvals.len() >= usize::from(self.threshold);
                if is_decided {
                    self.can_be(found.decision, by.height)?;
                    found.closed = Some(by.time);
                }
                let decision = found.decision;
                self.proposals.insert(proposal, found);
                if is_decided {
                    self.become_so(decision, by.height);
                }
                Ok(())
            }
            Request::Rescind { proposal } => {
                let mut found = self.opened(proposal, by.time)?;
                if !found.approvals.remove(&registrar) {
                    return Err("NotApproved");
                }
                found.is_withdrawn = found.by == registrar;
                found.closed = found.is_withdrawn.then_some(by.time);
                self.proposals.insert(proposal, found);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn opened(&self, proposal: u8, time: i64) -> Result<Proposal, &'static str> {
        let found = self.proposals.get(&proposal).ok_or("UnknownProposal")?;
        if found.closed.is_some() || found.generation != self.registrar_generation {
            return Err("ProposalClosed");
        }
        if found.until <= time { Err("ProposalExpired") } else { Ok(found.clone()) }
    }

    /// Whether it can take effect now.
    fn can_be(&self, decision: Decision, height: u64) -> Answer {
        let changes = |is_other: bool| if is_other { Ok(()) } else { Err("NothingChanges") };
        match decision {
            Decision::Registrars { set, threshold } => {
                changes(members(set) != self.registrars || threshold != self.threshold)?;
                let is_free = |registrar: &u8| {
                    let actor = Actor::Registrar(*registrar);
                    self.accounts.contains_key(&actor) || self.is_unused(actor)
                };
                if members(set).iter().all(is_free) { Ok(()) } else { Err("AddressInUse") }
            }
            Decision::Validator { key, power } => self.can_have(key, power, height),
            Decision::OffencesTolerated(value) => changes(value != self.parameters.offences_tolerated),
            Decision::UnorderedSeconds(value) => changes(value.cast_signed() != self.parameters.unordered_seconds),
            Decision::ProposalSeconds(value) => changes(value.cast_signed() != self.parameters.proposal_seconds),
            Decision::Upgrade { version, height: 0 } => match self.scheduled {
                Some((scheduled, at)) if scheduled == version && at > height => Ok(()),
                _ => Err("WrongUpgrade"),
            },
            Decision::Upgrade { version, height: at } => {
                if self.scheduled.is_some() || version != self.format + 1 {
                    return Err("WrongUpgrade");
                }
                let is_to_come = at > height && at - height <= UPGRADE_BLOCKS_MAX;
                if is_to_come { Ok(()) } else { Err("WrongUpgradeHeight") }
            }
        }
    }

    /// Those whose power stays decide blocks by themselves, before and after.
    fn can_have(&self, key: u8, power: u64, height: u64) -> Answer {
        match self.validators.get(&key) {
            None if power == 0 => return Err("UnknownValidator"),
            Some(current) if *current == power => return Err("NothingChanges"),
            _ if self.validators_changed_at == height => return Err("ValidatorsJustChanged"),
            _ => {}
        }
        let mut next = self.validators.clone();
        next.insert(key, power);
        if next.values().all(|power| *power == 0) {
            return Err("LastValidator");
        }
        let before: u64 = self.validators.values().sum();
        let after: u64 = next.values().sum();
        let stays: u64 =
            self.validators.iter().map(|(key, power)| (*power).min(next.get(key).copied().unwrap_or(0))).sum();
        if stays * 3 > after * 2 && stays * 3 >= before * 2 { Ok(()) } else { Err("TooMuchPowerMoves") }
    }

    /// Who has no power has none since now, where no earlier height is known.
    pub(super) fn note_removed(&mut self, height: u64) {
        if self.format >= 4 {
            for (key, _) in self.validators.iter().filter(|(_, power)| **power == 0) {
                self.removed.entry(*key).or_insert(height);
            }
        }
    }

    fn become_so(&mut self, decision: Decision, height: u64) {
        match decision {
            Decision::Registrars { set, threshold } => {
                (self.registrars, self.threshold) = (members(set), threshold);
                self.registrar_generation += 1;
                // In the order of their addresses, which the network knows.
                let ranks: Vec<u8> = self.ranks.iter().filter(|rank| self.registrars.contains(rank)).copied().collect();
                ranks.into_iter().for_each(|registrar| self.open(Actor::Registrar(registrar)));
            }
            Decision::Validator { key, power } => {
                self.validators.insert(key, power);
                self.removed.remove(&key);
                self.note_removed(height);
                self.validators_changed_at = height;
            }
            Decision::OffencesTolerated(value) => self.parameters.offences_tolerated = value,
            Decision::UnorderedSeconds(value) => self.parameters.unordered_seconds = value.cast_signed(),
            Decision::ProposalSeconds(value) => self.parameters.proposal_seconds = value.cast_signed(),
            Decision::Upgrade { height: 0, .. } => self.scheduled = None,
            Decision::Upgrade { version, height } => self.scheduled = Some((version, height)),
        }
    }
}
