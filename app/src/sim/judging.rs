//! The ledger's state against the model's.

use careledger_wire::{
    access_log,
    ids::{Address, Digest},
    proto::state::{self, AccessLogBatch},
};

use super::{
    messages::{grant_id, id, validator},
    model::{Account, Record},
    network::{Network, Violation},
    script::{Actor, Key},
};
use crate::{accounts, governance, keys, state::StateRead as _, store::memory::MemoryStore};

/// An id as a key names it.
fn named<T: for<'a> TryFrom<&'a [u8]>>(bytes: Vec<u8>) -> T {
    T::try_from(bytes.as_slice()).ok().expect("ids of simulations have 32 bytes")
}

impl Network {
    /// What the ledger holds is what the model holds.
    pub(super) fn compare_states(&self) -> Result<(), Violation> {
        let state = self.replicas[0].machine.store();
        let found = self
            .odd_account(state)
            .or_else(|| self.odd_identity(state))
            .or_else(|| self.odd_consent(state))
            .or_else(|| self.odd_record(state))
            .or_else(|| self.odd_log(state))
            .or_else(|| self.odd_governance(state));
        match found {
            Some(found) => self.broken("the ledger holds what the model holds", found),
            None => Ok(()),
        }
    }

    fn account(&self, actor: Actor) -> Address {
        self.signer(Key::Of(actor)).address()
    }

    /// Account, keys and recovery.
    fn odd_account(&self, state: &MemoryStore) -> Option<String> {
        self.model.accounts.iter().find_map(|(actor, account)| {
            let address = self.account(*actor);
            let found = state.get(&keys::account(&address)).unwrap_or_default();
            let held: Vec<(Vec<u8>, bool)> = accounts::keys_of(&found)
                .into_iter()
                .map(|key| (key.key.clone(), key.authority() == careledger_wire::proto::accounts::KeyAuthority::Full))
                .collect();
            let Account { number, sequence, keys: expected } = account;
            let same_keys = held.len() == expected.len()
                && expected
                    .iter()
                    .all(|(key, is_full)| held.contains(&(self.signer(*key).public_key().to_vec(), *is_full)));
            let guarded = self.model.guarded.get(actor).cloned().unwrap_or_default();
            let guardians = state.get(&keys::guardians(&address)).unwrap_or_default();
            let same_round = (guardians.round, guardians.is_recovering) == (guarded.round, guarded.is_recovering);
            let is_odd = (found.number, found.sequence) != (*number, *sequence) || !same_keys || !same_round;
            is_odd.then(|| format!("account of {actor}: {found:?} {guardians:?}, expected {account:?} {guarded:?}"))
        })
    }

    fn odd_identity(&self, state: &MemoryStore) -> Option<String> {
        for (organization, expected) in &self.model.organizations {
            let found = state.get(&keys::organization(&self.account(Actor::Organization(*organization))));
            let found = found.unwrap_or_default();
            let said = (found.evidence, found.emergency, found.suspended != 0);
            if said != (vec![expected.content + 1; 32], expected.emergency, expected.suspended) {
                return Some(format!("organization-{organization}: {said:?}, expected {expected:?}"));
            }
        }
        for ((organization, practitioner), expected) in &self.model.practitioners {
            let key = keys::practitioner(
                &self.account(Actor::Organization(*organization)),
                &self.account(Actor::Practitioner(*practitioner)),
            );
            let found = state.get(&key).unwrap_or_default();
            if (found.suspended_at != 0) != expected.suspended {
                return Some(format!("practitioner-{practitioner} of {organization}: {found:?}"));
            }
        }
        self.model.subjects.iter().find_map(|(subject, is_claimed)| {
            let found = state.get(&keys::subject(&self.subject(*subject)));
            let is_odd = found.map(|found| !found.encryption_key.is_empty()) != Some(*is_claimed);
            is_odd.then(|| format!("{subject:?}: claimed should be {is_claimed}"))
        })
    }

    fn odd_consent(&self, state: &MemoryStore) -> Option<String> {
        for ((subject, grant), expected) in &self.model.grants {
            let key = keys::consent(&self.subject(*subject), &named(grant_id(*grant)));
            let found = state.get(&key).unwrap_or_default();
            let said = (found.revoked_at != 0, found.amendments, found.closures.len(), found.by_guardian);
            let should =
                (expected.is_revoked, u32::from(expected.amendments), expected.reinstatements, expected.by_guardian);
            if said != should || found.expires_at != super::network::START + expected.until {
                return Some(format!("grant {grant} of {subject:?}: {found:?}, expected {expected:?}"));
            }
        }
        for ((subject, guardian), expected) in &self.model.guardians {
            let key = keys::guardianship(&self.subject(*subject), &self.account(Actor::Guardian(*guardian)));
            let found = state.get(&key).unwrap_or_default();
            let until = expected.in_force.map_or(0, |(until, _)| super::network::START + until);
            if found.until != until {
                return Some(format!("guardian-{guardian} of {subject:?}: {found:?}, expected {expected:?}"));
            }
        }
        for ((subject, emergency), expected) in &self.model.emergencies {
            let found = state.get(&keys::emergency(&self.subject(*subject), &named(id("emergency", *emergency))));
            if found.map(|found| found.outcome != 0) != Some(expected.is_reviewed) {
                return Some(format!("emergency {emergency} of {subject:?}: expected {expected:?}"));
            }
        }
        self.model.standing.iter().find_map(|((subject, standing), expected)| {
            let found = state.get(&keys::standing(&self.subject(*subject), &named(id("standing", *standing))));
            let is_odd = found.map(|found| found.uses) != Some(expected.uses.into());
            is_odd.then(|| format!("standing approval {standing} of {subject:?}: expected {expected:?}"))
        })
    }

    fn odd_record(&self, state: &MemoryStore) -> Option<String> {
        for ((organization, record), expected) in &self.model.records {
            let key = keys::record(&self.account(Actor::Organization(*organization)), &named(id("record", *record)));
            let found: state::Record = state.get(&key).unwrap_or_default();
            let said = (found.version, found.entered_in_error, found.shredded_at != 0);
            let held = (found.held_by_custodian, found.held_by_registrars);
            let Record { version, marked, is_shredded, held_by_custodian, held_by_registrars } = *expected;
            if said != (version.into(), marked.into(), is_shredded) || held != (held_by_custodian, held_by_registrars) {
                return Some(format!(
                    "record {record} of organization-{organization}: {found:?}, expected {expected:?}"
                ));
            }
        }
        self.model.countersignatures.iter().find_map(|((organization, record, by), expected)| {
            let [organization, by] = [organization, by].map(|number| self.account(Actor::Organization(*number)));
            let found = state.get(&keys::countersignature(&organization, &named(id("record", *record)), &by));
            let said = found.map(|found| (found.version, found.given_at != 0));
            let is_odd = said != Some((expected.version.into(), expected.is_given));
            is_odd.then(|| format!("countersignature of record {record}: {said:?}, expected {expected:?}"))
        })
    }

    /// From the second format on, each log has the root of its batches.
    fn odd_log(&self, state: &MemoryStore) -> Option<String> {
        self.model.logs.iter().find_map(|(organization, expected)| {
            let address = self.account(Actor::Organization(*organization));
            let batches: Vec<AccessLogBatch> = (1..=expected.len() as u64)
                .filter_map(|sequence| state.get(&keys::access_log_batch(&address, sequence)))
                .collect();
            let leaf = |batch: &AccessLogBatch| {
                access_log::batch_leaf(&named(batch.root.clone()), batch.count, batch.period_start, batch.period_end)
            };
            let leaves: Vec<Digest> = batches.iter().map(leaf).collect();
            let tree = state.get(&keys::access_log_tree(&address));
            let should = (self.model.format > 1 && !leaves.is_empty())
                .then(|| (leaves.len() as u64, access_log::root(&leaves).to_vec()));
            let is_odd = leaves.len() != expected.len() || tree.map(|tree| (tree.size, tree.root)) != should;
            is_odd.then(|| format!("access log of organization-{organization}: {} batches", expected.len()))
        })
    }

    fn odd_governance(&self, state: &MemoryStore) -> Option<String> {
        let governance = governance::of(state);
        let said = (
            governance.state_version.max(1),
            (governance.upgrade_version != 0).then_some((governance.upgrade_version, governance.upgrade_height)),
            governance.offences_tolerated,
            governance::unordered_seconds(state),
        );
        let parameters = &self.model.parameters;
        let should =
            (self.model.format, self.model.scheduled, parameters.offences_tolerated, parameters.unordered_seconds);
        if said != should {
            return Some(format!("governance: {said:?}, expected {should:?}"));
        }
        let mut powers: Vec<_> = self.model.validators.iter().map(|(key, power)| (validator(*key), *power)).collect();
        powers.sort();
        let known = governance::validators(state).into_iter().map(|(key, validator)| (key, validator.power));
        if !known.eq(powers) {
            return Some("the validators' powers are others".to_owned());
        }
        self.model.proposals.iter().find_map(|(proposal, expected)| {
            let found = state.get(&keys::proposal(&named(id("proposal", *proposal)))).unwrap_or_default();
            let is_open = found.status() == state::ProposalStatus::Open;
            let is_odd = (found.approvals.len(), is_open) != (expected.approvals.len(), expected.is_open);
            is_odd.then(|| format!("proposal {proposal}: {found:?}, expected {expected:?}"))
        })
    }
}
