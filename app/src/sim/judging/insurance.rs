//! Plans, trees of commitments, and what proofs used up.

use careledger_wire::ids::FieldBytes;
use careledger_zk::field::Element;

use super::{Judge, at, key_id};
use crate::{
    insurance,
    keys::{self, TreeId},
    sim::{
        messages::{
            id,
            insurance::{Forest, amount, element, nullifier, plan_commitment, plan_of},
        },
        model::Tree,
        network::START,
    },
};

impl Judge<'_> {
    pub(super) fn insurance(&mut self) {
        let model = &self.network.model;
        for (organization, plan) in &model.plans {
            let insurer = self.organization(*organization);
            let should = plan_of(&insurer, *plan);
            let path = keys::plan(&field(plan_commitment(*organization, *plan)));
            self.holds(&path, format_args!("plan {plan} of organization-{organization}"), |found| {
                (found.insurer, found.policy_id) = (insurer.to_vec(), bytes(should.policy_id));
                found.intervals = should.intervals.iter().map(insurance::to_wire).collect();
                let terms = should.terms;
                (found.claims_per_period, found.period_days) = (terms.claims_per_period.into(), terms.period_days);
                (found.terms, found.claim_within_days) = (vec![5; 32], terms.claim_within_days);
                (found.age_days_min, found.age_days_max) = (terms.age_days_min, terms.age_days_max);
            });
        }
        self.tree(Forest::Attestations, &model.attestations);
        for (insurer, tree) in &model.enrolments {
            self.tree(Forest::Enrolments(*insurer), tree);
        }
        for (spent, (claim, height)) in &model.spent {
            let path = keys::nullifier(&field(nullifier(*spent)));
            self.holds(&path, format_args!("{spent:?}"), |found| {
                (found.claim, found.height) = (id("claim", *claim), signed(*height));
            });
        }
        for ((organization, claim), confirmed) in &model.confirmed {
            let insurer = self.organization(*organization);
            let path = keys::eligibility(&insurer, &key_id("claim", *claim));
            let proof = confirmed.proof;
            let day = u64::try_from(START + proof.as_of).ok().map(careledger_zk::date::Day::from_unix_seconds);
            self.holds(&path, format_args!("claim {claim} at organization-{organization}"), |found| {
                (found.insurer, found.plan) = (insurer.to_vec(), bytes(plan_commitment(proof.publisher, proof.plan)));
                found.as_of = day.and_then(Result::ok).map_or(0, careledger_zk::date::Day::number);
                (found.amount_commitment, found.confirmed_at) = (bytes(amount()), at(confirmed.time));
            });
        }
    }

    fn tree(&mut self, forest: Forest, tree: &Tree) {
        if tree.leaves.is_empty() {
            return;
        }
        let (id, kind) = match forest {
            Forest::Attestations => (TreeId::Attestations, "attested"),
            Forest::Enrolments(insurer) => (TreeId::Enrolments(self.organization(insurer)), "enrolled"),
        };
        let nodes = self.network.nodes(forest, tree.leaves.clone());
        for (level, nodes) in (0..).zip(nodes.iter()) {
            for (index, node) in (0..).zip(nodes) {
                self.holds(
                    &id.node(level, index),
                    format_args!("node {index} of level {level} in {forest:?}"),
                    |found| *found = bytes(*node),
                );
            }
        }
        let root = self.network.root(forest, tree.seen());
        self.holds(&id.tree(), format_args!("{forest:?}"), |found| {
            (found.leaves, found.root) = (tree.leaves.len() as u64, bytes(root));
        });
        for (commitment, anchored) in &tree.anchored {
            let issuer = self.organization(anchored.issuer).to_vec();
            let path = id.leaf(&field(element(kind, *commitment)));
            self.holds(&path, format_args!("leaf {commitment} of {forest:?}"), |found| {
                (found.index, found.issuer) = (anchored.place as u64, issuer);
                found.revoked_height = anchored.revoked.map_or(0, signed);
            });
        }
        for (leaves, (since, until)) in &tree.known {
            let path = id.root(&field(self.network.root(forest, leaves.clone())));
            self.holds(&path, format_args!("root of {leaves:?} in {forest:?}"), |found| {
                (found.since_height, found.until_height) = (signed(*since), until.map_or(0, signed));
            });
        }
    }
}

fn bytes(element: Element) -> Vec<u8> {
    element.to_bytes().to_vec()
}

fn field(element: Element) -> FieldBytes {
    FieldBytes::new(element.to_bytes())
}

fn signed(height: u64) -> i64 {
    i64::try_from(height).expect("a simulation has few blocks")
}
