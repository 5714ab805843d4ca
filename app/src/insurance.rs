//! The documents of eligibility (plans, proofs) as messages of the ledger: one conversion, for
//! whoever sends them and for the ledger itself.

use careledger_wire::{
    ids::{Address, ClaimId, Digest},
    proto::insurance::{self, MsgProveEligibility, MsgPublishPlan},
};
use careledger_zk::{
    document::{DocumentError, ProofDocument},
    plan::{self, Plan},
};

/// An interval of a plan, as the ledger writes it.
pub fn to_wire(interval: &plan::Interval) -> insurance::Interval {
    let plan::Interval { lo, hi, class, wait_days, cap } = *interval;
    insurance::Interval { low: lo, high: hi, class, wait_days, cap }
}

/// An interval of the ledger, as the rule reads it.
pub fn from_wire(interval: &insurance::Interval) -> plan::Interval {
    let insurance::Interval { low, high, class, wait_days, cap } = *interval;
    plan::Interval { lo: low, hi: high, class, wait_days, cap }
}

/// What publishes a plan. `policy` is the SHA-256 of the policy's name, from which and from the
/// insurer the plan's identifiers follow; `contract` that of the contract's text.
pub fn publish_plan(insurer: &Address, plan: &Plan, policy: &Digest, contract: &Digest) -> MsgPublishPlan {
    MsgPublishPlan {
        sender: insurer.to_string(),
        policy_id: policy.to_vec(),
        intervals: plan.intervals.iter().map(to_wire).collect(),
        claims_per_period: plan.terms.claims_per_period.into(),
        period_days: plan.terms.period_days,
        terms: contract.to_vec(),
        claim_within_days: plan.terms.claim_within_days,
        age_days_min: plan.terms.age_days_min,
        age_days_max: plan.terms.age_days_max,
    }
}

/// What a proof is bound to besides its chain: it is refused with any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The organization that sends it.
    pub submitter: Address,
    /// The insurer whom it is for.
    pub insurer: Address,
    /// The insurer's id of the claim.
    pub claim: ClaimId,
    /// From when on it is refused, Unix seconds.
    pub expires_at: i64,
}

/// What sends a proof.
///
/// # Errors
/// Where the document's proof or the id of its key is not the hexadecimal of as many bytes.
pub fn prove_eligibility(document: &ProofDocument, bound: &Bound) -> Result<MsgProveEligibility, DocumentError> {
    let inputs = &document.inputs;
    Ok(MsgProveEligibility {
        sender: bound.submitter.to_string(),
        insurer: bound.insurer.to_vec(),
        plan: inputs.policy.to_bytes().to_vec(),
        circuit: document.key_id()?.to_vec(),
        as_of: inputs.as_of.number(),
        attestation_root: inputs.att_root.to_bytes().to_vec(),
        enrolment_root: inputs.enr_root.to_bytes().to_vec(),
        event_nullifier: inputs.null_event.to_bytes().to_vec(),
        period_nullifier: inputs.null_period.to_bytes().to_vec(),
        amount_commitment: inputs.amount_commit.to_bytes().to_vec(),
        claim: bound.claim.to_vec(),
        expires_at: bound.expires_at,
        proof: document.proof()?.to_vec(),
    })
}
