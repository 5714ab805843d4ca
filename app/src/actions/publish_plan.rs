//! An insurer publishes a plan. The ledger computes the commitment that proofs name.

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
    commitment: FieldBytes,
    plan: Plan,
    contract: Digest,
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
        Ok(Self { sender: *sender, commitment: fields::field_bytes(plan.commitment()), plan, contract })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization_of(&[OrganizationKind::Insurer], &self.sender, block, state)?;
        if state.has(&keys::plan(&self.commitment)) { Err(Reject::PlanExists) } else { Ok(()) }
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
        state.put(&keys::plan(&self.commitment), &plan);
    }
}
