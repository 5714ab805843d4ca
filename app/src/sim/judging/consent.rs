//! Requests, grants, guardians of minors, emergencies, standing approvals.

use std::collections::BTreeMap;

use careledger_wire::{
    ids::GrantId,
    proto::{
        consent::{ConsentMode, EmergencyReason, ReviewOutcome},
        state::{Closure, Delegations, GuardianshipApproval, OpenReview},
    },
};

use super::{Judge, as_set, at, key_id};
use crate::{
    keys,
    sim::{
        messages::{grant_id, id, named},
        model::{AUTOMATIC_SECONDS, REVIEW},
        script::{Actor, Key, Subject},
    },
};

/// How long a view stays open in an emergency.
const EMERGENCY: i64 = 600;

impl Judge<'_> {
    pub(super) fn consent(&mut self) {
        for (number, asked) in &self.network.model.requests {
            let (requester, subject) = (self.organization(asked.by).to_vec(), self.subject(asked.subject).to_vec());
            self.holds(&keys::request(&key_id("request", *number)), format_args!("request {number}"), |found| {
                (found.requester, found.subject) = (requester, subject);
                (found.terms, found.body) = (vec![10 + asked.terms; 32], vec![2; 32]);
                found.expires_at = at(asked.until);
                found.grant = asked.answer.map(grant_id).unwrap_or_default();
            });
        }
        self.grants();
        self.guardianships();
        self.emergencies();
        for ((subject, number), expected) in &self.network.model.standing {
            let grantee = self.organization(expected.grantee).to_vec();
            let path = keys::standing(&self.subject(*subject), &key_id("standing", *number));
            self.holds(&path, format_args!("standing approval {number} of {subject:?}"), |found| {
                found.grantee = grantee;
                found.set_mode(ConsentMode::View);
                (found.terms, found.body) = (vec![10 + expected.terms; 32], vec![2; 32]);
                found.grant_seconds = u32::try_from(AUTOMATIC_SECONDS).expect("a few minutes");
                (found.expires_at, found.uses_max) = (at(expected.until), expected.uses_max.into());
                found.uses = expected.uses.into();
            });
        }
    }

    fn grants(&mut self) {
        let model = &self.network.model;
        let mut delegated: BTreeMap<(Subject, u8), Vec<Vec<u8>>> = BTreeMap::new();
        for ((subject, number), expected) in &model.grants {
            let grantee = self.organization(expected.grantee).to_vec();
            let mut answers = model.requests.iter().filter(|(_, asked)| asked.subject == *subject);
            let answered = answers.find(|(_, asked)| asked.answer == Some(*number));
            // One that a standing approval made has its terms until the patient amends it.
            let standing = answered.and_then(|(_, asked)| asked.standing.map(|standing| (standing, asked.terms)));
            let (terms, body) = match standing {
                Some((_, terms)) if expected.amendments == 0 => (10 + terms, 2),
                _ => (3, 4),
            };
            let path = keys::consent(&self.subject(*subject), &named(grant_id(*number)));
            self.holds(&path, format_args!("grant {number} of {subject:?}"), |found| {
                found.grantee = grantee;
                found.set_mode(ConsentMode::View);
                (found.not_before, found.expires_at) = (at(expected.from), at(expected.until));
                (found.terms, found.body) = (vec![terms; 32], vec![body; 32]);
                found.request = answered.map(|(request, _)| id("request", *request)).unwrap_or_default();
                found.standing = standing.map(|(standing, _)| id("standing", standing)).unwrap_or_default();
                found.revoked_at = expected.revoked.map_or(0, at);
                let closure = |(revoked, reinstated): &(i64, i64)| Closure {
                    revoked_at: at(*revoked),
                    reinstated_at: at(*reinstated),
                };
                found.closures = expected.closures.iter().map(closure).collect();
                found.amendments = expected.amendments.into();
                (found.delegable, found.by_guardian) = (expected.is_delegable, expected.by_guardian);
                found.parent = expected.parent.map(grant_id).unwrap_or_default();
            });
            if let Some(parent) = expected.parent {
                delegated.entry((*subject, parent)).or_default().push(grant_id(*number));
            }
        }
        for ((subject, parent), grants) in delegated {
            let path = keys::delegation(&self.subject(subject), &named::<GrantId>(grant_id(parent)));
            let what = format_args!("what was delegated from {parent} of {subject:?}").to_string();
            self.holds(&path, what, |found: &mut Delegations| as_set(&mut found.grants, grants));
        }
    }

    fn guardianships(&mut self) {
        let evidence = |reason: u8| vec![20 + reason; 32];
        let network = self.network;
        let approval = |approved: Option<(i64, u8)>, generation: u64, key: Option<Key>| {
            let key = key.map(|key| network.signer(key).address().to_vec()).unwrap_or_default();
            let (until, reason) = approved?;
            Some(GuardianshipApproval { until: at(until), evidence: evidence(reason), generation, key })
        };
        for ((subject, guardian), expected) in &self.network.model.guardians {
            let path = keys::guardianship(&self.subject(*subject), &self.address(Actor::Guardian(*guardian)));
            self.holds(&path, format_args!("guardian-{guardian} of {subject:?}"), |found| {
                found.until = expected.in_force.map_or(0, |(until, _)| at(until));
                found.evidence = expected.in_force.map(|(_, reason)| evidence(reason)).unwrap_or_default();
                found.by_organization = approval(expected.by_custodian, expected.generation, None);
                found.by_subject = approval(expected.by_patient, 0, expected.key);
            });
        }
    }

    fn emergencies(&mut self) {
        let mut open: BTreeMap<u8, Vec<OpenReview>> = BTreeMap::new();
        for ((subject, number), expected) in &self.network.model.emergencies {
            let organization = self.organization(expected.by).to_vec();
            let practitioner = self.address(Actor::Practitioner(expected.practitioner)).to_vec();
            let reviewer = expected.review.map(|(reviewer, _)| self.address(reviewer).to_vec());
            let opened = at(expected.review_by - REVIEW);
            let path = keys::emergency(&self.subject(*subject), &key_id("emergency", *number));
            self.holds(&path, format_args!("emergency {number} of {subject:?}"), |found| {
                (found.organization, found.practitioner) = (organization, practitioner);
                found.set_reason(EmergencyReason::Unconscious);
                (found.opened_at, found.expires_at) = (opened, opened + EMERGENCY);
                found.review_by = at(expected.review_by);
                found.reviewed_at = expected.review.map_or(0, |(_, time)| at(time));
                found.set_outcome(match reviewer {
                    Some(_) => ReviewOutcome::Justified,
                    None => ReviewOutcome::Unspecified,
                });
                found.reviewer = reviewer.unwrap_or_default();
            });
            if expected.review.is_none() {
                open.entry(expected.by).or_default().push(OpenReview {
                    subject: self.subject(*subject).to_vec(),
                    emergency: id("emergency", *number),
                    review_by: at(expected.review_by),
                });
            }
        }
        // The oldest first; the model does not know the order of those of one block.
        let place = |one: &OpenReview| (one.review_by, one.subject.clone(), one.emergency.clone());
        for (organization, mut expected) in open {
            expected.sort_by_key(place);
            let path = keys::emergency_reviews(&self.organization(organization));
            self.holds(&path, format_args!("open reviews of organization-{organization}"), |found| {
                let mut held = found.open.clone();
                held.sort_by_key(place);
                if held != expected || !found.open.is_sorted_by_key(|one| one.review_by) {
                    found.open = expected;
                }
            });
        }
    }
}
