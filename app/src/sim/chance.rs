//! What anybody asks for, by chance: few ids, few keys and near ends, so that they meet.

use super::{
    generate::{Generator, usual},
    model::batched,
    script::{
        Actor, COMMITMENTS, Decision, Flaw, GUARDIANS, IDS, Key, LOGGED, ORGANIZATIONS, PATIENTS, PLANS, PRACTITIONERS,
        Proof, Request, Subject, VALIDATORS, Which,
    },
};

const DAY: i64 = 86_400;

impl Generator {
    fn organization(&mut self) -> u8 {
        self.random.below(ORGANIZATIONS)
    }

    /// Mostly the subject that a patient has at the organization of the same number.
    fn subject(&mut self) -> Subject {
        let patient = self.random.below(PATIENTS);
        if self.random.happens(88) { usual(patient) } else { Subject { organization: self.organization(), patient } }
    }

    pub(super) fn identity(&mut self) -> (Actor, Request) {
        let organization = self.organization();
        match self.random.below(14) {
            0..6 => {
                // Few contents, so that registrars agree sometimes.
                // Rounded, for the same reason.
                let until = if self.random.happens(40) { self.now / 300 * 300 + 500 } else { self.months_later() };
                // Now and then one becomes another kind of organization.
                let content = u8::from(self.random.happens(6));
                let request = Request::Register { organization, content, until, emergency: self.random.happens(60) };
                let registrar = self.registrar();
                (self.mostly(registrar), request)
            }
            6 if self.random.happens(50) => {
                let registrar = self.registrar();
                (self.mostly(registrar), Request::Suspend { organization })
            }
            6..9 => {
                let (practitioner, until) = (self.random.below(PRACTITIONERS), self.end());
                (self.mostly(Actor::Organization(organization)), Request::Enrol { practitioner, until })
            }
            9 => {
                let practitioner = self.random.below(PRACTITIONERS);
                (self.mostly(Actor::Organization(organization)), Request::SuspendPractitioner { practitioner })
            }
            10..12 => {
                let subject = self.subject();
                (Actor::Organization(subject.organization), Request::Open { patient: subject.patient })
            }
            _ => {
                let subject = self.subject();
                (self.mostly(Actor::Patient(subject.patient)), Request::Claim { subject })
            }
        }
    }

    pub(super) fn keys(&mut self) -> (Actor, Request) {
        let actor = self.anybody();
        let account = match self.random.below(4) {
            0 => Actor::Practitioner(self.random.below(PRACTITIONERS)),
            1..3 => Actor::Patient(self.random.below(PATIENTS)),
            _ => self.anybody(),
        };
        let (key, is_proven) = (self.new_key(), self.random.happens(92));
        match self.random.below(12) {
            0..3 => (actor, Request::AddKey { key, is_full: self.random.happens(50), is_proven }),
            3..5 => {
                let key = if self.random.happens(50) { Key::Of(actor) } else { key };
                (actor, Request::RemoveKey { key })
            }
            5 => {
                let guardians = [self.anybody(), self.anybody()];
                let (threshold, delay) = (self.random.below(4), i64::from(self.random.below(4)) * DAY);
                (account, Request::SetGuardians { guardians, threshold, delay })
            }
            6..8 => (self.anybody(), Request::ApproveRecovery { account, key }),
            8..10 => {
                let organization = Actor::Organization(self.organization());
                (self.mostly(organization), Request::AttestRecovery { account, key })
            }
            10 => (account, Request::VetoRecovery),
            _ => (self.anybody(), Request::FinishRecovery { account, key, is_proven }),
        }
    }

    pub(super) fn consent(&mut self) -> (Actor, Request) {
        let subject = self.subject();
        let by_guardian = self.random.happens(12).then(|| Actor::Guardian(self.random.below(GUARDIANS)));
        let patient = self.mostly(Actor::Patient(subject.patient));
        let by_patient = by_guardian.unwrap_or(patient);
        let by_organization = Actor::Organization(self.organization());
        let (until, from) = (self.end(), self.now + self.random.seconds(200) - 100);
        let (id, small) = (self.random.below(IDS), self.random.below(3));
        let grantee = self.organization();
        match self.random.below(40) {
            0..6 => {
                // Mostly the organization and the subject that the grant below expects.
                let asks = if self.random.happens(80) { Actor::Organization(asker(id)) } else { by_organization };
                let about = if self.random.happens(80) { usual(id) } else { subject };
                let standing = self.random.happens(30).then_some(small);
                (asks, Request::Ask { subject: about, request: id, until, standing, terms: self.random.below(2) })
            }
            6..14 => {
                let delegable = self.random.happens(60);
                if self.random.happens(45) {
                    let (subject, grantee) = (usual(id), asker(id));
                    let (grant, request) = (self.random.below(IDS), Some(id));
                    let request = Request::Grant { subject, grant, grantee, from, until, request, delegable };
                    return (Actor::Patient(subject.patient), request);
                }
                let request = self.random.happens(20).then(|| self.random.below(IDS));
                (by_patient, Request::Grant { subject, grant: small, grantee, from, until, request, delegable })
            }
            14..18 => (by_patient, Request::Revoke { subject, grant: small }),
            18..21 => {
                let (version, delegable) = (self.random.below(4), self.random.happens(60));
                (by_patient, Request::Amend { subject, grant: small, version, from, until, delegable })
            }
            21..24 => (by_patient, Request::Reinstate { subject, grant: small }),
            24..28 => {
                let (grant, from) = (self.random.below(IDS), from + self.random.seconds(100));
                (by_organization, Request::Delegate { subject, parent: small, grant, grantee, from, until })
            }
            28..31 => {
                let custodian = Actor::Organization(subject.organization);
                let by = if self.random.happens(50) { self.mostly(custodian) } else { patient };
                let (guardian, evidence) = (self.random.below(GUARDIANS), self.random.below(2));
                (by, Request::Appoint { subject, guardian, until: self.now / 100 * 100 + 1_000, evidence })
            }
            31..34 => {
                let practitioner = self.random.below(PRACTITIONERS);
                (self.mostly(by_organization), Request::BreakGlass { subject, emergency: id, practitioner })
            }
            34..36 => {
                let registrar = self.registrar();
                let by = if self.random.happens(60) { by_organization } else { registrar };
                (self.mostly(by), Request::Review { subject, emergency: id })
            }
            36..39 => {
                let (terms, uses) = (self.random.below(2), 1 + self.random.below(2));
                let request = Request::ApproveStanding { subject, standing: small, grantee, terms, until, uses };
                (patient, request)
            }
            _ => (patient, Request::WithdrawStanding { subject, standing: small }),
        }
    }

    pub(super) fn record(&mut self) -> (Actor, Request) {
        let (organization, other) = (self.organization(), self.organization());
        let by = self.mostly(Actor::Organization(organization));
        let (record, version) = (self.random.below(IDS), self.random.below(2) + self.random.below(2));
        let of_batch = batched(0, self.random.below(2));
        let any = if self.random.happens(80) { record } else { of_batch };
        match self.random.below(24) {
            0..4 => (by, Request::Anchor { record, another: self.random.below(IDS) }),
            4..7 => (by, Request::Supersede { record: any, version: version + self.random.below(2) }),
            7..10 => (by, Request::Mark { record: any, version }),
            10 => (by, Request::Batch { batch: self.random.below(2) }),
            11..13 => {
                let (batch, index) = (self.random.below(2), self.random.below(2));
                (by, Request::Extract { batch, index, is_sound: self.random.happens(80) })
            }
            13..15 => {
                let until = self.end();
                (by, Request::AskSignature { record: any, version, countersigner: other, until })
            }
            15..18 => (by, Request::Countersign { organization: other, record: any, version }),
            18 => (by, Request::Shred { record: any }),
            19..22 => {
                let registrar = self.registrar();
                let by = if self.random.happens(60) { by } else { self.mostly(registrar) };
                match self.random.happens(55) {
                    true => (by, Request::Hold { organization, record: any }),
                    false => (by, Request::Release { organization, record: any }),
                }
            }
            _ => {
                let (sequence, from) = (self.random.below(4), self.now - self.random.seconds(60));
                (by, Request::Log { sequence, from, to: from + self.random.seconds(150) - 10 })
            }
        }
    }

    pub(super) fn insurance(&mut self) -> (Actor, Request) {
        let (attester, insurer) = (self.random.below(2), Actor::Organization(INSURER));
        let (commitment, plan) = (self.random.below(COMMITMENTS), self.random.below(PLANS));
        match self.random.below(20) {
            0..2 => (self.mostly(insurer), Request::Publish { plan, is_sound: self.random.happens(80) }),
            2..7 => (self.mostly(Actor::Organization(attester)), Request::Attest { commitment }),
            7..10 => {
                let second = self.random.happens(30).then(|| self.random.below(COMMITMENTS));
                let registrar = self.registrar();
                let by = if self.random.happens(75) { Actor::Organization(attester) } else { registrar };
                (self.mostly(by), Request::Unattest { first: commitment, second })
            }
            10..12 => (self.mostly(insurer), Request::Cover { commitment }),
            12..17 => (Actor::Organization(self.organization()), Request::Prove(self.proof())),
            _ => {
                let subject = self.subject();
                let (sequence, index) = (self.random.below(4), self.random.below(LOGGED + 1));
                let is_sound = self.random.happens(80);
                (self.mostly(Actor::Patient(subject.patient)), Request::Dispute { subject, sequence, index, is_sound })
            }
        }
    }

    /// Mostly one that holds, of few events and claims, so that they meet.
    pub(super) fn proof(&mut self) -> Proof {
        let [insurer, publisher] =
            [(); 2].map(|()| if self.random.happens(94) { INSURER } else { self.random.below(ORGANIZATIONS) });
        let days = if self.random.happens(85) { 0 } else { i64::from(self.random.below(8)) - 5 };
        let until = if self.random.happens(85) { self.now + 3 * DAY } else { self.end() };
        Proof {
            insurer,
            publisher,
            plan: self.random.below(PLANS),
            attested: Which::Back(self.random.below(2) / (1 + self.random.below(3))),
            enrolled: Which::Back(self.random.below(2) / (1 + self.random.below(3))),
            event: self.random.below(5),
            period: self.random.below(5),
            claim: self.random.below(6),
            as_of: self.now + days * DAY,
            until,
            flaw: self.random.happens(20).then(|| self.flaw()),
        }
    }

    fn flaw(&mut self) -> Flaw {
        [Flaw::Garbage, Flaw::OfAnother, Flaw::UnknownKey][usize::from(self.random.below(3))]
    }

    pub(super) fn governance(&mut self) -> (Actor, Request) {
        let registrar = self.registrar();
        let by = self.mostly(registrar);
        // Mostly the last one, or the one before.
        let proposal = self.proposals.saturating_sub(self.random.below(2));
        match self.random.below(10) {
            0..3 => {
                let (until, decision) = (self.end(), self.decision());
                let proposal = if self.random.happens(90) { self.next_proposal() } else { proposal };
                (by, Request::Propose { proposal, until, decision })
            }
            3..9 => (by, Request::Vote { proposal }),
            _ => (by, Request::Rescind { proposal }),
        }
    }

    pub(super) fn decision(&mut self) -> Decision {
        match self.random.below(12) {
            0..2 => Decision::Registrars { set: self.random.below(32), threshold: self.random.below(4) },
            2..6 => {
                let power = [0, 4, 10, 11, 19, 40][usize::from(self.random.below(6))];
                Decision::Validator { key: self.random.below(VALIDATORS), power }
            }
            6 => Decision::OffencesTolerated([0, 2, 11][usize::from(self.random.below(3))]),
            7..9 => Decision::UnorderedSeconds([119, 120, 300, 600][usize::from(self.random.below(4))]),
            9 => Decision::ProposalSeconds([3_599, 3_600, 90 * 86_400][usize::from(self.random.below(3))]),
            _ => {
                let soon = self.height + u64::from(self.random.below(6));
                match self.random.below(6) {
                    // Not the next format, or one that no program knows: it must not come to it.
                    0 => Decision::Upgrade { version: 3, height: self.height + 10_000 },
                    1 => Decision::Upgrade { version: 2, height: 0 },
                    2 => Decision::Upgrade { version: 1, height: soon },
                    _ => Decision::Upgrade { version: 2, height: soon },
                }
            }
        }
    }
}

/// The organization that mostly insures.
pub(super) const INSURER: u8 = 2;

/// The organization that usually asks with the request of this number.
fn asker(request: u8) -> u8 {
    (request + 1) % ORGANIZATIONS
}
