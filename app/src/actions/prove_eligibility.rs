//! Proves that a member's plan covers an event, without saying which.

use careledger_wire::{
    ids::{Address, CircuitId, ClaimId},
    proto::{
        insurance::MsgProveEligibility,
        state::{Eligibility, Nullifier},
    },
};
use careledger_zk::{
    binding,
    date::Day,
    field::Element,
    statement::{CIRCUIT_ID, PublicInputs},
    verify::PROOF_BYTES,
};

use super::{Action, Once, commitment_tree, fields, standing};
use crate::{
    keys::{self, TreeId},
    limits::{AS_OF_AHEAD_DAYS_MAX, AS_OF_BEHIND_DAYS_MAX, PROOF_SECONDS_MAX},
    proofs::Claimed,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/prove-eligibility.md.
#[derive(Debug, Clone, PartialEq)]
pub struct ProveEligibility {
    sender: Sender,
    insurer: Address,
    plan: Element,
    circuit: CircuitId,
    as_of: Day,
    attestation_root: Element,
    enrolment_root: Element,
    event_nullifier: Element,
    period_nullifier: Element,
    amount_commitment: Element,
    claim: ClaimId,
    expires_at: i64,
    proof: [u8; PROOF_BYTES],
}

impl ProveEligibility {
    /// The statement of this transaction on this chain. What binds it is computed here, never
    /// taken from the sender.
    pub fn claimed(&self, chain_id: &str) -> Claimed {
        let expiry = u64::try_from(self.expires_at).expect("a time is after 1970");
        let insurer = self.insurer.as_bytes();
        let submitter = self.sender.address().as_bytes();
        let inputs = PublicInputs {
            att_root: self.attestation_root,
            enr_root: self.enrolment_root,
            policy: self.plan,
            as_of: self.as_of,
            null_event: self.event_nullifier,
            null_period: self.period_nullifier,
            amount_commit: self.amount_commitment,
            ctx: binding::context(chain_id, &CIRCUIT_ID, insurer, self.claim.as_bytes(), submitter, expiry),
        };
        Claimed { circuit: self.circuit, inputs, proof: self.proof }
    }

    /// Id of the verifying key that it names.
    pub fn circuit(&self) -> &CircuitId {
        &self.circuit
    }

    fn check_date(&self, block: &BlockContext) -> Result<(), Reject> {
        let day = |time: i64| {
            let seconds = u64::try_from(time).unwrap_or_default();
            Day::from_unix_seconds(seconds).map_or(u32::MAX, Day::number)
        };
        let as_of = self.as_of.number();
        let is_old = as_of.saturating_add(AS_OF_BEHIND_DAYS_MAX) < day(block.time);
        let is_ahead = as_of > day(block.time_max).saturating_add(AS_OF_AHEAD_DAYS_MAX);
        if is_old || is_ahead { Err(Reject::AsOfOutOfRange) } else { Ok(()) }
    }

    fn check_plan(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let plan = state.get(&keys::plan(&fields::field_bytes(self.plan))).ok_or(Reject::UnknownPlan)?;
        if plan.insurer != self.insurer.as_bytes() {
            return Err(Reject::PlanOfAnotherInsurer);
        }
        // The plan of an insurer that may not act any more covers nobody.
        standing::in_good_standing(&self.insurer, block, state).map(|_| ())
    }

    fn check_roots(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let is_recent = |id: TreeId, root| commitment_tree::is_recent(&id, &fields::field_bytes(root), block, state);
        if !is_recent(TreeId::Attestations, self.attestation_root) {
            return Err(Reject::StaleAttestationRoot);
        }
        if !is_recent(TreeId::Enrolments(self.insurer), self.enrolment_root) {
            return Err(Reject::StaleEnrolmentRoot);
        }
        Ok(())
    }

    fn check_unconfirmed(&self, state: &impl StateRead) -> Result<(), Reject> {
        let is_confirmed = state.has(&keys::eligibility(&self.insurer, &self.claim));
        if is_confirmed { Err(Reject::ClaimAlreadyConfirmed) } else { Ok(()) }
    }
}

/// The nullifiers of the event and of the period: two different ones.
fn nullifiers(message: &MsgProveEligibility) -> Result<[Element; 2], Reject> {
    let event = fields::element("event_nullifier", &message.event_nullifier)?;
    let period = fields::element("period_nullifier", &message.period_nullifier)?;
    if event == period { Err(Reject::InvalidField("period_nullifier")) } else { Ok([event, period]) }
}

impl Action for ProveEligibility {
    type Message = MsgProveEligibility;

    /// Both nullifiers, whichever proof shows them.
    fn once(message: &Self::Message) -> Vec<Once> {
        let Ok([event, period]) = nullifiers(message) else { return Vec::new() };
        let path = |nullifier| keys::nullifier(&fields::field_bytes(nullifier)).into_bytes();
        vec![
            Once { path: path(event), used: Reject::EventAlreadyClaimed },
            Once { path: path(period), used: Reject::PeriodClaimUsed },
        ]
    }

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let [event_nullifier, period_nullifier] = nullifiers(&message)?;
        Ok(Self {
            sender: *sender,
            insurer: fields::id("insurer", &message.insurer)?,
            plan: fields::element("plan", &message.plan)?,
            circuit: fields::id("circuit", &message.circuit)?,
            as_of: Day::from_number(message.as_of).map_err(|_| Reject::InvalidField("as_of"))?,
            attestation_root: fields::element("attestation_root", &message.attestation_root)?,
            enrolment_root: fields::element("enrolment_root", &message.enrolment_root)?,
            event_nullifier,
            period_nullifier,
            amount_commitment: fields::element("amount_commitment", &message.amount_commitment)?,
            claim: fields::id("claim", &message.claim)?,
            expires_at: fields::time("expires_at", message.expires_at)?,
            proof: fields::id("proof", &message.proof)?,
        })
    }

    /// Cheap rules first: the proof, which costs a pairing, comes last.
    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        let key = state.get(&keys::verifying_key(&self.circuit)).ok_or(Reject::UnknownCircuit)?;
        if block.has_passed(self.expires_at) {
            return Err(Reject::ProofExpired);
        }
        if block.is_beyond(self.expires_at, PROOF_SECONDS_MAX) {
            return Err(Reject::EndsTooLate);
        }
        self.check_plan(block, state)?;
        self.check_date(block)?;
        self.check_roots(block, state)?;
        self.check_unconfirmed(state)?;
        block.verifier.verify(&key.key, &self.claimed(block.chain_id))
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let height = i64::try_from(block.height).expect("CometBFT's heights are positive 64-bit integers");
        for nullifier in [self.event_nullifier, self.period_nullifier] {
            let used = Nullifier { claim: self.claim.to_vec(), height };
            state.put(&keys::nullifier(&fields::field_bytes(nullifier)), &used);
        }
        let eligibility = Eligibility {
            insurer: self.insurer.to_vec(),
            plan: self.plan.to_bytes().to_vec(),
            as_of: self.as_of.number(),
            amount_commitment: self.amount_commitment.to_bytes().to_vec(),
            confirmed_at: block.time,
        };
        state.put(&keys::eligibility(&self.insurer, &self.claim), &eligibility);
    }
}
