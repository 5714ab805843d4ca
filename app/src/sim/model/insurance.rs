//! Plans, attestations, enrolments, proofs of eligibility; and accesses that patients dispute.

use std::collections::BTreeMap;

use super::{Answer, By, DAY, Model, Sent};
use crate::sim::script::{Actor, Flaw, LOGGED, Proof, Request, Subject, Which};

/// Blocks for which a tree is known after another took its place.
const WINDOW: u64 = 100;
/// Genesis is at eight in the morning.
const MORNING: i64 = 8 * 3_600;

/// What a tree holds, in order: who anchored which commitment; nothing where it was revoked.
pub(in crate::sim) type Leaves = Vec<Option<(u8, u8)>>;

/// A commitment's place, its issuer, and the height of its revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Anchored {
    pub(in crate::sim) place: usize,
    pub(in crate::sim) issuer: u8,
    pub(in crate::sim) revoked: Option<u64>,
}

/// A tree that only grows, and every tree that it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sim) struct Tree {
    pub(in crate::sim) leaves: Leaves,
    pub(in crate::sim) anchored: BTreeMap<u8, Anchored>,
    /// Each once, in the order in which they came.
    past: Vec<Leaves>,
    /// Since which height each tree is known, and at which another took its place.
    pub(in crate::sim) known: BTreeMap<Leaves, (u64, Option<u64>)>,
}

impl Tree {
    /// The tree as proofs see it: what was revoked at its end is as if it never was.
    pub(in crate::sim) fn seen(&self) -> Leaves {
        let end = self.leaves.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.leaves[..end].to_vec()
    }

    fn append(&mut self, issuer: u8, commitment: u8, height: u64) -> Answer {
        if self.anchored.contains_key(&commitment) {
            return Err("CommitmentExists");
        }
        let before = self.seen();
        self.anchored.insert(commitment, Anchored { place: self.leaves.len(), issuer, revoked: None });
        self.leaves.push(Some((issuer, commitment)));
        self.turn(&before, height);
        Ok(())
    }

    /// Another tree than `before` stands from here on. What a block both made and replaced, nobody saw.
    fn turn(&mut self, before: &Leaves, height: u64) {
        if let Some((since, until)) = self.known.get_mut(before) {
            *until = Some(height);
            if *since == height {
                self.known.remove(before);
            }
        }
        let now = self.seen();
        let since = self.known.get(&now).map_or(height, |(since, _)| *since);
        self.known.insert(now.clone(), (since, None));
        if !self.past.contains(&now) {
            self.past.push(now);
        }
    }

    fn is_known(&self, which: Which, height: u64) -> bool {
        match self.known.get(&self.named(which)) {
            Some((_, Some(until))) => height - until <= WINDOW,
            Some((_, None)) => true,
            None => false,
        }
    }

    /// Which one it is from now on, however many come.
    pub(in crate::sim) fn number(&self, which: Which) -> Which {
        match which {
            Which::Back(back) => Which::Number(self.past.len().checked_sub(1 + usize::from(back))),
            Which::Number(_) => which,
        }
    }

    pub(in crate::sim) fn named(&self, which: Which) -> Leaves {
        match self.number(which) {
            Which::Number(Some(number)) => self.past.get(number).cloned().unwrap_or_default(),
            _ => Leaves::default(),
        }
    }
}

/// What a proof uses up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sim) enum Spent {
    Event(u8),
    Period(u8),
}

/// A claim that was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Confirmed {
    pub(in crate::sim) proof: Proof,
    pub(in crate::sim) time: i64,
}

/// What organizations say that they are when they register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Kind {
    Provider,
    Laboratory,
    Insurer,
}

/// Each content of a registration says another kind.
pub(in crate::sim) fn kind(organization: u8, content: u8) -> Kind {
    match (organization + content) % 3 {
        0 => Kind::Provider,
        1 => Kind::Laboratory,
        _ => Kind::Insurer,
    }
}

/// The day of a second after genesis.
fn day(time: i64) -> i64 {
    (time + MORNING).div_euclid(DAY)
}

impl Model {
    /// Whether it uses again what was used, or one thing twice.
    pub(super) fn uses_again(&self, sent: &Sent) -> bool {
        let mut used: Vec<Spent> = self.spent.keys().copied().collect();
        let spent = sent.requests.iter().filter_map(|request| match request {
            Request::Prove(proof) => Some([Spent::Event(proof.event), Spent::Period(proof.period)]),
            _ => None,
        });
        let mut spent = spent.flatten();
        spent.any(|one| {
            let is_used = used.contains(&one);
            used.push(one);
            is_used
        })
    }

    fn insurer(&self, by: By) -> Result<u8, &'static str> {
        let organization = self.organization(by)?;
        if self.is_of_kind(organization, &[Kind::Insurer]) { Ok(organization) } else { Err("WrongOrganizationKind") }
    }

    fn is_of_kind(&self, organization: u8, kinds: &[Kind]) -> bool {
        let content = self.organizations.get(&organization).map(|found| found.content);
        content.is_some_and(|content| kinds.contains(&kind(organization, content)))
    }

    pub(super) fn insurance(&mut self, by: By, request: Request) -> Answer {
        match request {
            Request::Publish { plan, .. } => {
                let insurer = self.insurer(by)?;
                if self.plans.insert((insurer, plan)) { Ok(()) } else { Err("PlanExists") }
            }
            Request::Attest { commitment } => {
                let organization = self.organization(by)?;
                if !self.is_of_kind(organization, &[Kind::Provider, Kind::Laboratory]) {
                    return Err("WrongOrganizationKind");
                }
                self.attestations.append(organization, commitment, by.height)
            }
            Request::Cover { commitment } => {
                let insurer = self.insurer(by)?;
                self.enrolments.entry(insurer).or_default().append(insurer, commitment, by.height)
            }
            Request::Unattest { first, second } => self.unattest(by, first, second),
            Request::Prove(proof) => self.prove(by, proof),
            Request::Dispute { subject, sequence, index, is_sound } => {
                self.dispute(by, subject, (sequence, index), is_sound)
            }
            _ => Ok(()),
        }
    }

    fn unattest(&mut self, by: By, first: u8, second: Option<u8>) -> Answer {
        let is_registrar = self.is_registrar(by);
        if !is_registrar {
            self.organization(by)?;
        }
        let before = self.attestations.seen();
        for commitment in [Some(first), second].into_iter().flatten() {
            let found = self.attestations.anchored.get(&commitment).copied();
            let found = found.filter(|found| found.revoked.is_none()).ok_or("UnknownAttestation")?;
            let may = if is_registrar {
                self.standing_of(found.issuer, by.time).is_err()
            } else {
                by.actor == Actor::Organization(found.issuer)
            };
            if !may {
                return Err("NotTheIssuer");
            }
            self.attestations.anchored.insert(commitment, Anchored { revoked: Some(by.height), ..found });
            self.attestations.leaves[found.place] = None;
        }
        self.attestations.turn(&before, by.height);
        Ok(())
    }

    fn prove(&mut self, by: By, proof: Proof) -> Answer {
        self.organization(by)?;
        if proof.flaw == Some(Flaw::UnknownKey) {
            return Err("UnknownCircuit");
        }
        if proof.until <= by.time {
            return Err("ProofExpired");
        }
        if proof.until > by.time + 7 * DAY {
            return Err("EndsTooLate");
        }
        if !self.plans.contains(&(proof.publisher, proof.plan)) {
            return Err("UnknownPlan");
        }
        if proof.publisher != proof.insurer {
            return Err("PlanOfAnotherInsurer");
        }
        self.standing_of(proof.insurer, by.time)?;
        if !(day(by.time) - 3..=day(by.time) + 1).contains(&day(proof.as_of)) {
            return Err("AsOfOutOfRange");
        }
        if !self.attestations.is_known(proof.attested, by.height) {
            return Err("StaleAttestationRoot");
        }
        if !self.enrolments.get(&proof.insurer).is_some_and(|tree| tree.is_known(proof.enrolled, by.height)) {
            return Err("StaleEnrolmentRoot");
        }
        if self.confirmed.contains_key(&(proof.insurer, proof.claim)) {
            return Err("ClaimAlreadyConfirmed");
        }
        match proof.flaw {
            Some(Flaw::Garbage) => return Err("MalformedProof"),
            Some(Flaw::OfAnother) => return Err("ProofRefused"),
            Some(Flaw::UnknownKey) | None => {}
        }
        for spent in [Spent::Event(proof.event), Spent::Period(proof.period)] {
            self.spent.insert(spent, (proof.claim, by.height));
        }
        self.confirmed.insert((proof.insurer, proof.claim), Confirmed { proof, time: by.time });
        Ok(())
    }

    /// The patient's own key disputes, claimed or not, what the custodian really anchored.
    fn dispute(&mut self, by: By, subject: Subject, access: (u8, u8), is_sound: bool) -> Answer {
        self.patient_of(by, subject)?;
        if self.disputes.contains_key(&(subject, access)) {
            return Err("AccessDisputed");
        }
        let batches = self.logs.get(&subject.organization).map_or(0, Vec::len);
        let (sequence, index) = access;
        if sequence == 0 || usize::from(sequence) > batches {
            return Err("UnknownBatch");
        }
        if !is_sound || index >= LOGGED {
            return Err("NotInBatch");
        }
        self.disputes.insert((subject, access), by.time);
        Ok(())
    }
}
