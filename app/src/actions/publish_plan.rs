//! An insurer publishes a plan. The ledger computes the commitment that proofs name.

use std::sync::OnceLock;

use careledger_wire::{
    ids::{Digest, FieldBytes},
    proto::{identity::OrganizationKind, insurance::MsgPublishPlan, state},
};
use careledger_zk::{
    binding,
    plan::{Plan, Terms},
};

use super::{Action, fields, standing};
use crate::{
    insurance, keys,
    limits::PLAN_INTERVALS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/publish-plan.md.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishPlan {
    sender: Sender,
    /// Some hundred hashes, so computed for an insurer alone, and once.
    commitment: OnceLock<FieldBytes>,
    plan: Plan,
    contract: Digest,
}

impl PublishPlan {
    /// Computes the commitment where the sender may publish, so that `check` finds it. Changes no verdict.
    pub fn compute_ahead(&self, block: &BlockContext, state: &impl StateRead) {
        if self.check_sender(block, state).is_ok() {
            self.commitment();
        }
    }

    fn check_sender(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization_of(&[OrganizationKind::Insurer], &self.sender, block, state)
    }

    fn commitment(&self) -> &FieldBytes {
        self.commitment.get_or_init(|| fields::field_bytes(self.plan.commitment()))
    }
}

impl Action for PublishPlan {
    type Message = MsgPublishPlan;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        if !(1..=PLAN_INTERVALS_MAX).contains(&message.intervals.len()) {
            return Err(Reject::InvalidField("intervals"));
        }
        let claims_per_period =
            u16::try_from(message.claims_per_period).map_err(|_| Reject::InvalidField("claims_per_period"))?;
        let policy: Digest = fields::id("policy_id", &message.policy_id)?;
        let plan = Plan {
            // Derived: whoever chose it freely could choose another insurer's, and tell from equal
            // period nullifiers who is a member of both.
            policy_id: binding::policy_id_of(sender.address().as_bytes(), policy.as_bytes()),
            scope: binding::scope_of(sender.address().as_bytes()),
            intervals: message.intervals.iter().map(insurance::from_wire).collect(),
            terms: Terms {
                claims_per_period,
                period_days: message.period_days,
                claim_within_days: message.claim_within_days,
                age_days_min: message.age_days_min,
                age_days_max: message.age_days_max,
            },
        };
        plan.check_partition().map_err(|_| Reject::InvalidPlan)?;
        let contract = fields::id("terms", &message.terms)?;
        Ok(Self { sender: *sender, commitment: OnceLock::new(), plan, contract })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        self.check_sender(block, state)?;
        if state.has(&keys::plan(self.commitment())) { Err(Reject::PlanExists) } else { Ok(()) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let terms = &self.plan.terms;
        let plan = state::Plan {
            insurer: self.sender.address().to_vec(),
            policy_id: self.plan.policy_id.to_bytes().to_vec(),
            intervals: self.plan.intervals.iter().map(insurance::to_wire).collect(),
            claims_per_period: u32::from(terms.claims_per_period),
            period_days: terms.period_days,
            terms: self.contract.to_vec(),
            claim_within_days: terms.claim_within_days,
            age_days_min: terms.age_days_min,
            age_days_max: terms.age_days_max,
        };
        state.put(&keys::plan(self.commitment()), &plan);
    }
}

#[cfg(test)]
mod tests {
    use careledger_wire::{
        ids::Address,
        proto::{
            insurance::Interval,
            state::{Account, AccountRole, Organization},
        },
        signing::PublicKey,
    };

    use super::*;
    use crate::{proofs::ProofVerifier, state::Overlay, store::memory::MemoryStore};

    const NOW: i64 = 1_000;

    fn message() -> MsgPublishPlan {
        let neutral = Interval { low: 0, high: u64::MAX, ..Interval::default() };
        MsgPublishPlan {
            policy_id: vec![1; 32],
            intervals: vec![neutral],
            claims_per_period: 1,
            period_days: 365,
            claim_within_days: 90,
            age_days_max: 40_000,
            terms: vec![2; 32],
            ..MsgPublishPlan::default()
        }
    }

    /// What any account sent made every node hash for nothing, at each look at it.
    #[test]
    fn no_commitment_was_to_be_computed_before_the_sender_may_publish() {
        let address = Address::new([7; 20]);
        let parsed = || {
            PublishPlan::parse(&Sender::new(address, PublicKey::Secp256k1([2; 33])), message()).expect("a sound plan")
        };
        let store = MemoryStore::new();
        let verifier = ProofVerifier::default();
        let block = BlockContext { chain_id: "test", height: 1, time: NOW, time_max: NOW, verifier: &verifier };
        let role = |role: AccountRole| Account { role: role.into(), number: 1, ..Account::default() };
        let kind =
            |kind: OrganizationKind| Organization { kind: kind.into(), expires_at: NOW + 1, ..Organization::default() };
        let ended = Organization { expires_at: NOW, ..kind(OrganizationKind::Insurer) };
        let cases = [
            (None, None, Err(Reject::NotAnOrganization)),
            (Some(role(AccountRole::Claimant)), None, Err(Reject::NotAnOrganization)),
            (
                Some(role(AccountRole::Organization)),
                Some(kind(OrganizationKind::Provider)),
                Err(Reject::WrongOrganizationKind),
            ),
            (Some(role(AccountRole::Organization)), Some(ended), Err(Reject::OrganizationExpired)),
            (Some(role(AccountRole::Organization)), Some(kind(OrganizationKind::Insurer)), Ok(())),
        ];
        for (account, organization, expected) in cases {
            let mut state = Overlay::new(&store);
            if let Some(account) = account {
                state.put(&keys::account(&address), &account);
            }
            if let Some(organization) = organization {
                state.put(&keys::organization(&address), &organization);
            }
            let (checked, ahead) = (parsed(), parsed());
            assert!(checked.commitment.get().is_none(), "reading a plan computes nothing");
            assert_eq!(checked.check(&block, &state), expected);
            ahead.compute_ahead(&block, &state);
            for plan in [checked, ahead] {
                assert_eq!(plan.commitment.get().is_some(), expected.is_ok(), "{expected:?}");
            }
        }
    }
}
