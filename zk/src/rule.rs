//! The rule, in plain Rust: who is eligible, and for how much at most.
//!
//! `circuit` says the same in constraints; tests hold the two together. This is
//! the page to read to know what a proof proves.

use crate::{
    binding,
    field::Element,
    opening::{
        AttestationOpening, EnrolmentOpening, FACTS_MAX, Fact, OpeningError, Pseudonym, amount_commitment, member,
    },
    plan::{CLASS_COVERED, CLASS_EXCLUDED, Plan},
    poseidon::{Domain, hash},
    statement::PublicInputs,
    tree::{Leaf, Path},
};

/// What is proven about: public.
pub type Statement = PublicInputs;

/// What the holder knows: everything else.
#[derive(Clone)]
pub struct Witness {
    /// The wallet's secret; every pseudonym and nullifier comes from it.
    pub secret: Element,
    /// The blinding of the pseudonym in the attestation.
    pub blinding: Element,
    /// What the provider attested.
    pub attestation: AttestationOpening,
    /// Where its leaf is.
    pub attestation_path: Path,
    /// What the insurer enrolled.
    pub enrolment: EnrolmentOpening,
    /// Where its leaf is.
    pub enrolment_path: Path,
    /// The plan, as published.
    pub plan: Plan,
    /// Which fact is claimed, counted from zero.
    pub claimed: usize,
    /// Which of the period's claims this is, counted from zero.
    pub claim_number: u16,
    /// Blinds the committed amount.
    pub amount_blinding: Element,
}

/// The first part of the rule that does not hold. It names the rule and never
/// the values: it may be shown to whoever may see that a proof was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// There is no such fact, or an opening has no commitment.
    #[error("the openings do not describe a claim")]
    Malformed,
    /// The attestation is about another wallet's pseudonym.
    #[error("the attestation is not about this wallet")]
    NotTheHolder,
    /// The attestation is not in the tree with this root.
    #[error("the attestation is not in the attestation tree")]
    AttestationNotAnchored,
    /// The enrolment is of another wallet, policy or insurer.
    #[error("the enrolment is not of this wallet under this policy")]
    NotTheMember,
    /// The enrolment is not in the tree with this root.
    #[error("the enrolment is not in the enrolment tree")]
    EnrolmentNotAnchored,
    /// The statement names another plan.
    #[error("the statement is about another plan")]
    AnotherPlan,
    /// The attestation is dated after the day, has expired, or is older than its event.
    #[error("the attestation is not valid on this day")]
    AttestationNotValid,
    /// The event is before the end of the waiting time or after the end of cover.
    #[error("the event is outside the cover")]
    OutsideCover,
    /// The event is too long ago.
    #[error("the event is too long ago to be claimed")]
    TooLate,
    /// The member was too young or too old.
    #[error("the member's age at the event is not covered")]
    Age,
    /// The claimed code is not covered.
    #[error("the claimed code is not covered")]
    NotCovered,
    /// The list holds a code that the plan excludes.
    #[error("the plan excludes the member")]
    Excluded,
    /// The plan excludes codes, and the list is not said to be complete.
    #[error("the attestation is not a complete list, which this plan needs")]
    ListNotComplete,
    /// The period's claims are used up, by the holder's own count.
    #[error("the plan allows fewer claims in a period")]
    TooManyClaims,
    /// A nullifier is not the one of this event or this claim.
    #[error("a nullifier is not the one of this claim")]
    Nullifier,
    /// The committed amount is not what is payable.
    #[error("the committed amount is not what is payable")]
    Amount,
}

impl From<OpeningError> for Violation {
    fn from(_: OpeningError) -> Self {
        Self::Malformed
    }
}

impl Witness {
    /// The statement that this witness would prove on a day under a context.
    pub fn statement(&self, as_of: crate::date::Day, ctx: Element) -> Result<Statement, Violation> {
        let fact = self.fact()?;
        Ok(Statement {
            att_root: self.attestation_path.root(self.attestation_leaf()?),
            enr_root: self.enrolment_path.root(self.enrolment_leaf()),
            policy: self.plan.commitment(),
            as_of,
            null_event: self.event_nullifier(fact),
            null_period: self.period_nullifier(fact),
            amount_commit: amount_commitment(self.payable()?, self.amount_blinding),
            ctx,
        })
    }

    /// What is payable at most: the amount of the claimed fact, up to the cap.
    pub fn payable(&self) -> Result<u64, Violation> {
        let fact = self.fact()?;
        let (_, interval) = self.plan.find(fact.code()).ok_or(Violation::NotCovered)?;
        Ok(fact.amount().min(interval.cap))
    }

    pub(crate) fn fact(&self) -> Result<&Fact, Violation> {
        self.attestation.facts.get(self.claimed).ok_or(Violation::Malformed)
    }

    fn attestation_leaf(&self) -> Result<Element, Violation> {
        let commitment = self.attestation.commitment()?;
        Ok(Leaf::attestation(commitment, &self.attestation.issuer.0).node())
    }

    fn enrolment_leaf(&self) -> Element {
        Leaf::enrolment(self.enrolment.commitment(), &self.enrolment.insurer.0).node()
    }

    fn event_nullifier(&self, fact: &Fact) -> Element {
        let issuer = binding::issuer_of(&self.attestation.issuer.0);
        let event = Element::from(fact.event());
        hash(Domain::EVENT_NULLIFIER, [self.secret, issuer, event, self.plan.scope])
    }

    fn period_nullifier(&self, fact: &Fact) -> Element {
        // A plan whose period is zero days cannot be published.
        let period = fact.day().number() / self.plan.terms.period_days.max(1);
        let period = Element::from(u64::from(period));
        let number = Element::from(u64::from(self.claim_number));
        hash(Domain::PERIOD_NULLIFIER, [self.secret, self.plan.policy_id, period, number])
    }
}

/// Whether the holder is eligible as the statement says. The circuit accepts
/// exactly what this accepts, for every plan that may be published.
pub fn holds(statement: &Statement, witness: &Witness) -> Result<(), Violation> {
    if witness.attestation.facts.len() > FACTS_MAX {
        return Err(Violation::Malformed);
    }
    commitments_open(statement, witness)?;
    codes_are_covered(witness)?;
    event_is_covered(statement, witness)?;
    amount_is_payable(statement, witness)?;
    claim_is_spent_once(statement, witness)
}

/// The openings are the holder's, and are what the roots and the plan stand for.
fn commitments_open(statement: &Statement, witness: &Witness) -> Result<(), Violation> {
    let pseudonym = Pseudonym::new(witness.secret, witness.blinding).pseudonym;
    require(witness.attestation.pseudonym == pseudonym, Violation::NotTheHolder)?;
    let leaf = witness.attestation_leaf()?;
    let root = rooted(&witness.attestation_path, leaf);
    require(root == Some(statement.att_root), Violation::AttestationNotAnchored)?;

    let (plan, enrolment) = (&witness.plan, &witness.enrolment);
    require(plan.commitment() == statement.policy, Violation::AnotherPlan)?;
    let ours = enrolment.member == member(witness.secret, plan.scope)
        && enrolment.policy_id == plan.policy_id
        && binding::scope_of(&enrolment.insurer.0) == plan.scope;
    require(ours, Violation::NotTheMember)?;
    let root = rooted(&witness.enrolment_path, witness.enrolment_leaf());
    require(root == Some(statement.enr_root), Violation::EnrolmentNotAnchored)
}

/// The root of a path of the tree's own depth.
fn rooted(path: &Path, leaf: Element) -> Option<Element> {
    let whole = path.siblings.len() == usize::from(crate::tree::DEPTH) && path.index < crate::tree::LEAVES_MAX;
    whole.then(|| path.root(leaf))
}

/// No code on the list is excluded, and the claimed one is covered.
fn codes_are_covered(witness: &Witness) -> Result<(), Violation> {
    let plan = &witness.plan;
    let class_of = |fact: &Fact| plan.find(fact.code()).map(|(_, interval)| interval.class);
    let claimed = class_of(witness.fact()?);
    for fact in &witness.attestation.facts {
        require(class_of(fact) != Some(CLASS_EXCLUDED), Violation::Excluded)?;
    }
    require(claimed == Some(CLASS_COVERED), Violation::NotCovered)?;
    let complete = witness.attestation.complete || !plan.needs_complete_list();
    require(complete, Violation::ListNotComplete)
}

/// The days fit: attestation, cover, waiting time, lateness, age.
fn event_is_covered(statement: &Statement, witness: &Witness) -> Result<(), Violation> {
    let fact = witness.fact()?;
    let (attestation, enrolment) = (&witness.attestation, &witness.enrolment);
    let valid = fact.day() <= attestation.issued
        && attestation.issued <= statement.as_of
        && statement.as_of <= attestation.expiry;
    require(valid, Violation::AttestationNotValid)?;

    let terms = &witness.plan.terms;
    let (_, interval) = witness.plan.find(fact.code()).ok_or(Violation::NotCovered)?;
    let day = fact.day().number();
    let inside = enrolment.start.number() + interval.wait_days <= day && fact.day() <= enrolment.end;
    require(inside, Violation::OutsideCover)?;
    require(statement.as_of.number() <= day + terms.claim_within_days, Violation::TooLate)?;
    let age = day.checked_sub(attestation.birth.number()).ok_or(Violation::Age)?;
    require((terms.age_days_min..=terms.age_days_max).contains(&age), Violation::Age)
}

/// The committed amount is what is payable.
fn amount_is_payable(statement: &Statement, witness: &Witness) -> Result<(), Violation> {
    let amount = amount_commitment(witness.payable()?, witness.amount_blinding);
    require(statement.amount_commit == amount, Violation::Amount)
}

/// The nullifiers are those of this event and of one of the period's claims.
fn claim_is_spent_once(statement: &Statement, witness: &Witness) -> Result<(), Violation> {
    let fact = witness.fact()?;
    require(statement.null_event == witness.event_nullifier(fact), Violation::Nullifier)?;
    let allowed = witness.plan.terms.claims_per_period;
    require(witness.claim_number < allowed, Violation::TooManyClaims)?;
    require(statement.null_period == witness.period_nullifier(fact), Violation::Nullifier)
}

fn require(condition: bool, violation: Violation) -> Result<(), Violation> {
    if condition { Ok(()) } else { Err(violation) }
}
