//! The private side of the circuit as raw field elements: what an honest holder
//! puts there, and what a cheat could put there instead. Nothing here is
//! checked; the constraints do that.

use ark_bn254::Fr;
use ark_ff::Zero;

use crate::{
    binding,
    field::Element,
    opening::FACTS_MAX,
    plan::Interval,
    poseidon::{Domain, hash},
    rule::{Violation, Witness},
    statement::{INPUTS, PublicInputs},
    tree::{ARITY, DEPTH, Path, children},
};

/// A Merkle path as the circuit takes it: at each level all four children, and
/// the two bits of which one is the node below, the low bit first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPath {
    /// From the leaves up.
    pub children: Vec<[Fr; ARITY]>,
    /// From the leaves up.
    pub positions: Vec<[Fr; 2]>,
}

/// One fact slot, with the interval that its code lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSlot {
    /// The code's number; zero in an empty slot.
    pub code: Fr,
    /// The event's day.
    pub day: Fr,
    /// The event's amount.
    pub amount: Fr,
    /// The event's number.
    pub event: Fr,
    /// One for the claimed slot, zero for the others.
    pub claimed: Fr,
    /// First code number of the interval.
    pub lo: Fr,
    /// Last code number of the interval.
    pub hi: Fr,
    /// The interval's class.
    pub class: Fr,
    /// The interval's waiting days above its cap.
    pub packed: Fr,
    /// Where the interval is among the plan's.
    pub path: RawPath,
}

/// Everything private. Named as in [`crate::rule::Witness`] and its openings.
#[expect(missing_docs, reason = "each field is the one of the same name in the openings")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub secret: Fr,
    pub blinding: Fr,
    pub slots: [RawSlot; FACTS_MAX],
    pub birth: Fr,
    pub issued: Fr,
    pub expiry: Fr,
    pub complete: Fr,
    pub issuer: Fr,
    pub attestation_salt: Fr,
    pub attestation_path: RawPath,
    pub start: Fr,
    pub end: Fr,
    pub enrolment_salt: Fr,
    pub enrolment_path: RawPath,
    pub policy_id: Fr,
    pub scope: Fr,
    pub claims_per_period: Fr,
    pub period_days: Fr,
    pub claim_within_days: Fr,
    pub age_days_min: Fr,
    pub age_days_max: Fr,
    pub needs_complete_list: Fr,
    pub wait_days: Fr,
    pub cap: Fr,
    pub payable: Fr,
    pub amount_blinding: Fr,
    /// Which period the event is in.
    pub period: Fr,
    /// Days of the period before the event.
    pub period_offset: Fr,
    pub claim_number: Fr,
}

/// The public inputs as raw field elements.
pub fn raw_inputs(statement: &PublicInputs) -> [Fr; INPUTS] {
    statement.to_elements().map(Element::inner)
}

impl RawPath {
    /// The path of a leaf, padded or cut to `depth` levels.
    pub fn new(path: &Path, leaf: Element, depth: u8) -> Self {
        let mut raw = Self { children: Vec::new(), positions: Vec::new() };
        let mut node = leaf;
        for level in 0..u32::from(depth) {
            let none = [Element::ZERO; ARITY - 1];
            let siblings = path.siblings.get(level as usize).unwrap_or(&none);
            let position = path.index.checked_shr(2 * level).unwrap_or(0) % ARITY as u64;
            let all = children(node, position as usize, siblings);
            node = hash(Domain::NODE, all);
            raw.children.push(all.map(Element::inner));
            raw.positions.push([Fr::from(position & 1), Fr::from(position >> 1)]);
        }
        raw
    }
}

impl Assignment {
    /// What an honest holder assigns. Fails only where there is no claim to speak
    /// of; whether the rule holds is the circuit's question.
    pub fn new(witness: &Witness) -> Result<Self, Violation> {
        let (attestation, enrolment) = (&witness.attestation, &witness.enrolment);
        let (plan, terms) = (&witness.plan, &witness.plan.terms);
        let fact = witness.fact()?;
        let interval = plan.find(fact.code()).ok_or(Violation::Malformed)?.1;
        let issuer = &attestation.issuer.0;
        let attestation_leaf = crate::tree::Leaf::attestation(attestation.commitment()?, issuer);
        let insurer = &enrolment.insurer.0;
        let enrolment_leaf = crate::tree::Leaf::enrolment(enrolment.commitment(), insurer);
        let period_days = terms.period_days.max(1);
        let day = fact.day().number();
        Ok(Self {
            secret: witness.secret.inner(),
            blinding: witness.blinding.inner(),
            slots: slots(witness)?,
            birth: attestation.birth.number().into(),
            issued: attestation.issued.number().into(),
            expiry: attestation.expiry.number().into(),
            complete: attestation.complete.into(),
            issuer: binding::issuer_of(issuer).inner(),
            attestation_salt: attestation.salt.inner(),
            attestation_path: RawPath::new(&witness.attestation_path, attestation_leaf.node(), DEPTH),
            start: enrolment.start.number().into(),
            end: enrolment.end.number().into(),
            enrolment_salt: enrolment.salt.inner(),
            enrolment_path: RawPath::new(&witness.enrolment_path, enrolment_leaf.node(), DEPTH),
            policy_id: plan.policy_id.inner(),
            scope: plan.scope.inner(),
            claims_per_period: terms.claims_per_period.into(),
            period_days: terms.period_days.into(),
            claim_within_days: terms.claim_within_days.into(),
            age_days_min: terms.age_days_min.into(),
            age_days_max: terms.age_days_max.into(),
            needs_complete_list: plan.needs_complete_list().into(),
            wait_days: interval.wait_days.into(),
            cap: interval.cap.into(),
            payable: fact.amount().min(interval.cap).into(),
            amount_blinding: witness.amount_blinding.inner(),
            period: (day / period_days).into(),
            period_offset: (day % period_days).into(),
            claim_number: witness.claim_number.into(),
        })
    }

    /// An assignment of zeros, for a circuit whose values do not matter.
    pub fn blank() -> Self {
        let zero = Fr::zero();
        let path = |depth: u8| RawPath {
            children: vec![[zero; ARITY]; depth.into()],
            positions: vec![[zero; 2]; depth.into()],
        };
        let slot = RawSlot {
            code: zero,
            day: zero,
            amount: zero,
            event: zero,
            claimed: zero,
            lo: zero,
            hi: zero,
            class: zero,
            packed: zero,
            path: path(crate::plan::INTERVAL_DEPTH),
        };
        Self {
            secret: zero,
            blinding: zero,
            slots: std::array::from_fn(|_| slot.clone()),
            birth: zero,
            issued: zero,
            expiry: zero,
            complete: zero,
            issuer: zero,
            attestation_salt: zero,
            attestation_path: path(DEPTH),
            start: zero,
            end: zero,
            enrolment_salt: zero,
            enrolment_path: path(DEPTH),
            policy_id: zero,
            scope: zero,
            claims_per_period: zero,
            period_days: zero,
            claim_within_days: zero,
            age_days_min: zero,
            age_days_max: zero,
            needs_complete_list: zero,
            wait_days: zero,
            cap: zero,
            payable: zero,
            amount_blinding: zero,
            period: zero,
            period_offset: zero,
            claim_number: zero,
        }
    }
}

fn slots(witness: &Witness) -> Result<[RawSlot; FACTS_MAX], Violation> {
    let facts = &witness.attestation.facts;
    if facts.len() > FACTS_MAX {
        return Err(Violation::Malformed);
    }
    let mut slots = Vec::with_capacity(FACTS_MAX);
    for number in 0..FACTS_MAX {
        let fact = facts.get(number);
        let code = fact.map_or(0, crate::opening::Fact::code);
        let (index, interval) = witness.plan.find(code).ok_or(Violation::Malformed)?;
        let Interval { lo, hi, class, .. } = *interval;
        let path = witness.plan.interval_path(index);
        slots.push(RawSlot {
            code: code.into(),
            day: fact.map_or(0, |fact| fact.day().number()).into(),
            amount: fact.map_or(0, |fact| fact.amount()).into(),
            event: fact.map_or(0, |fact| fact.event()).into(),
            claimed: (number == witness.claimed).into(),
            lo: lo.into(),
            hi: hi.into(),
            class: class.into(),
            packed: interval.packed().inner(),
            path: RawPath::new(&path, interval.leaf(), crate::plan::INTERVAL_DEPTH),
        });
    }
    Ok(slots.try_into().expect("there are as many slots as were made"))
}
