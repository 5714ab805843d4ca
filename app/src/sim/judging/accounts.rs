//! Accounts, their keys and recovery; organizations, their staff, and subjects.

use std::collections::BTreeMap;

use careledger_wire::proto::{
    accounts::{KeyAuthority, KeyKind},
    identity::{PractitionerRole, SuspensionReason},
    state::{AccountKey, AccountRole, RecoveryWord, Registration},
};
use prost::Message as _;

use super::{Judge, as_set, at};
use crate::{
    accounts, keys,
    sim::{messages::kind_of, model::Word, script::Actor},
    state::StateRead as _,
};

impl Judge<'_> {
    pub(super) fn accounts(&mut self) {
        let network = self.network;
        for (actor, account) in &network.model.accounts {
            let expected = account.keys.iter().map(|(key, is_full)| AccountKey {
                kind: KeyKind::Secp256k1.into(),
                key: network.signer(*key).public_key().to_vec(),
                authority: if *is_full { KeyAuthority::Full } else { KeyAuthority::Device }.into(),
            });
            let mut expected: Vec<AccountKey> = expected.collect();
            expected.sort_by(|one, other| one.key.cmp(&other.key));
            let opened_by = account.opened_by.map(|number| self.organization(number).to_vec()).unwrap_or_default();
            self.holds(&keys::account(&self.address(*actor)), format_args!("account of {actor}"), |found| {
                (found.number, found.sequence) = (account.number, account.sequence);
                found.set_role(role(*actor));
                (found.quota_window, found.quota_used_bytes) = account.paid;
                // Nobody binds.
                found.bound_to.clear();
                found.opened_by = opened_by;
                let mut held = accounts::keys_of(found);
                held.sort_by(|one, other| one.key.cmp(&other.key));
                if held != expected {
                    found.keys.clone_from(&expected);
                }
            });
        }
        for (organization, paid) in &network.model.opened {
            let path = keys::opened_quota(&self.organization(*organization));
            self.holds(&path, format_args!("quota of whom organization-{organization} opened"), |found| {
                (found.window, found.used_bytes) = *paid;
            });
        }
        for (key, actor) in &network.model.bound {
            let owner = self.address(*actor).to_vec();
            let path = keys::key_owner(&network.signer(*key).address());
            self.holds(&path, format_args!("owner of {key}"), |found| found.account = owner);
        }
        for (actor, guarded) in &network.model.guarded {
            let expected = self.addresses(&guarded.guardians);
            self.holds(&keys::guardians(&self.address(*actor)), format_args!("guardians of {actor}"), |found| {
                as_set(&mut found.guardians, expected);
                (found.threshold, found.delay_seconds) = (guarded.threshold.into(), guarded.delay);
                (found.round, found.is_recovering) = (guarded.round, guarded.is_recovering);
            });
        }
        for ((actor, key), recovery) in &network.model.recoveries {
            let organizations: BTreeMap<Actor, Word> =
                recovery.attestations.iter().map(|(number, word)| (Actor::Organization(*number), *word)).collect();
            let (approvals, attestations) = (self.words(&recovery.approvals), self.words(&organizations));
            let path = keys::recovery(&self.address(*actor), &network.signer(*key).address());
            self.holds(&path, format_args!("recovery of {actor} by {key}"), |found| {
                found.round = recovery.round;
                as_words((&mut found.approvals, &mut found.approval_words), approvals);
                as_words((&mut found.attestations, &mut found.attestation_words), attestations);
                found.approved_from = recovery.approved_from.map_or(0, at);
                found.attested_from = recovery.attested_from.map_or(0, at);
            });
        }
    }

    /// Who said it, and what is kept beside it.
    fn words(&self, words: &BTreeMap<Actor, Word>) -> Vec<(Vec<u8>, Option<RecoveryWord>)> {
        let kept = |(generation, time)| RecoveryWord { generation, time: at(time) };
        words.iter().map(|(actor, word)| (self.address(*actor).to_vec(), word.map(kept))).collect()
    }

    pub(super) fn identity(&mut self) {
        let model = &self.network.model;
        for (organization, expected) in &model.organizations {
            let path = keys::organization(&self.organization(*organization));
            self.holds(&path, format_args!("organization-{organization}"), |found| {
                found.set_kind(kind_of(*organization, expected.content));
                (found.encryption_key, found.evidence) = (vec![7; 32], vec![expected.content + 1; 32]);
                (found.expires_at, found.generation) = (at(expected.until), expected.generation);
                found.emergency = expected.emergency;
                found.set_suspended(if expected.suspended {
                    SuspensionReason::UnderInvestigation
                } else {
                    SuspensionReason::Unspecified
                });
            });
        }
        for ((organization, practitioner), expected) in &model.practitioners {
            let own = self.organization(*organization);
            let path = keys::practitioner(&own, &self.address(Actor::Practitioner(*practitioner)));
            self.holds(&path, format_args!("practitioner-{practitioner} of organization-{organization}"), |found| {
                found.organization = own.to_vec();
                found.set_role(PractitionerRole::Physician);
                (found.qualification, found.expires_at) = (vec![9; 32], at(expected.until));
                found.suspended_at = expected.suspended.map_or(0, at);
            });
        }
        for (subject, is_claimed) in &model.subjects {
            // None is ever removed.
            let grants = model.grants.keys().filter(|(of, _)| of == subject).count();
            let emergencies = model.emergencies.keys().filter(|(of, _)| of == subject).count();
            let counted = if model.format >= 3 { (grants as u64, emergencies as u64) } else { (0, 0) };
            let organization = self.organization(subject.organization).to_vec();
            let claimant = self.address(Actor::Patient(subject.patient)).to_vec();
            self.holds(&keys::subject(&self.subject(*subject)), format_args!("{subject:?}"), |found| {
                (found.organization, found.claimant) = (organization, claimant);
                found.encryption_key = if *is_claimed { vec![8; 32] } else { Vec::new() };
                (found.grants, found.emergencies) = counted;
            });
        }
        self.registrations();
    }

    /// What registrars approved and is not decided. Its paths are hashes of the content: who approved is compared.
    fn registrations(&mut self) {
        let mut found = Vec::new();
        for (path, value) in self.state.scan(b"registration/", None, usize::MAX) {
            let mut approvals = Registration::decode(value.as_slice()).expect("what the ledger wrote").approvals;
            approvals.sort();
            found.push(approvals);
            self.seen.insert(path);
        }
        let mut expected = Vec::new();
        for approvals in self.network.model.approvals.values().filter(|approvals| !approvals.is_empty()) {
            let registrars: Vec<Actor> = approvals.iter().map(|number| Actor::Registrar(*number)).collect();
            let mut approvals = self.addresses(&registrars);
            approvals.sort();
            expected.push(approvals);
        }
        found.sort();
        expected.sort();
        if found != expected {
            self.note(format!("{} registrations wait for approvals, expected {}", found.len(), expected.len()));
        }
    }
}

/// Two lists that belong together, in an order that the model does not know.
fn as_words(
    (those, words): (&mut Vec<Vec<u8>>, &mut Vec<RecoveryWord>),
    mut expected: Vec<(Vec<u8>, Option<RecoveryWord>)>,
) {
    let kept = words.iter().cloned().map(Some).chain(std::iter::repeat(None));
    let mut found: Vec<_> = those.iter().cloned().zip(kept).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    if found != expected || words.len() > those.len() {
        (*those, *words) = (expected.iter().map(|(by, _)| by.clone()).collect(), Vec::new());
    }
}

fn role(actor: Actor) -> AccountRole {
    match actor {
        Actor::Registrar(_) => AccountRole::Registrar,
        Actor::Organization(_) => AccountRole::Organization,
        Actor::Patient(_) => AccountRole::Claimant,
        Actor::Practitioner(_) => AccountRole::Practitioner,
        Actor::Guardian(_) => AccountRole::Guardian,
    }
}
