//! Short stories that lead to where chance alone seldom comes; what chance adds around and between
//! them makes them end otherwise.

use super::{
    chance::INSURER,
    generate::{Generator, usual},
    script::{
        Actor, COMMITMENTS, Decision, Key, ORGANIZATIONS, PATIENTS, PLANS, Proof, REGISTRARS_FIRST, Request, Which,
    },
};

const DAY: i64 = 86_400;

/// Adds one of them.
pub(super) fn tell(generator: &mut Generator) {
    match generator.random.below(26) {
        0 => recovery_by_guardians(generator),
        1 => recovery_in_person(generator),
        2 => emergency(generator),
        3 | 4 => minor(generator),
        5 => vote(generator, Vote::Upgrade),
        6 => vote(generator, Vote::Any),
        7 | 8 => rotation(generator),
        9 | 10 => standing(generator),
        11 => delegation(generator),
        12 => resignation(generator),
        13..15 => custody(generator),
        15..17 => question(generator),
        17..20 => insured(generator),
        20 => withdrawn(generator),
        21..23 => disputed(generator),
        _ => accreditation(generator),
    }
}

/// Any of the patients who have a subject.
pub(super) fn patient(generator: &mut Generator) -> u8 {
    1 + generator.random.below(PATIENTS - 1)
}

pub(super) fn spare(generator: &mut Generator) -> Key {
    Key::Spare(generator.random.below(super::script::SPARE_KEYS))
}

/// Guardians are named, approve, and after the lock the new key comes, or a veto.
fn recovery_by_guardians(generator: &mut Generator) {
    let (account, key) = (Actor::Patient(patient(generator)), spare(generator));
    let guardians = [Actor::Registrar(0), Actor::Organization(generator.random.below(ORGANIZATIONS))];
    let threshold = 1 + generator.random.below(2);
    generator.send(account, Request::SetGuardians { guardians, threshold, delay: DAY });
    generator.decide(3);
    for guardian in guardians.into_iter().take(usize::from(threshold)) {
        generator.send(guardian, Request::ApproveRecovery { account, key });
    }
    generator.send(guardians[0], Request::ApproveRecovery { account, key });
    generator.decide(5);
    if generator.random.happens(25) {
        generator.send(account, Request::VetoRecovery);
    }
    // On the boundary, a second before it, or long after.
    let seconds = [DAY - 2, DAY - 1, 2 * DAY][usize::from(generator.random.below(3))];
    generator.decide(seconds);
    generator.send(Actor::Registrar(1), Request::FinishRecovery { account, key, is_proven: true });
    generator.decide(1);
    let subject = usual(patient(generator));
    generator.send_with(account, key, Request::Revoke { subject, grant: 0 });
}

/// Two organizations saw the holder.
fn recovery_in_person(generator: &mut Generator) {
    let (account, key) = (Actor::Patient(patient(generator)), spare(generator));
    for organization in 0..2 {
        generator.send(Actor::Organization(organization), Request::AttestRecovery { account, key });
    }
    generator.decide(2);
    let seconds = [7 * DAY - 2, 7 * DAY - 1, 8 * DAY][usize::from(generator.random.below(3))];
    if generator.random.happens(30) {
        let registrar = Actor::Registrar(generator.random.below(REGISTRARS_FIRST));
        generator.send(registrar, Request::Suspend { organization: 1 });
    }
    generator.decide(seconds);
    generator.send(Actor::Registrar(2), Request::FinishRecovery { account, key, is_proven: true });
}

/// The glass is broken, and the review comes in time, late, or never.
fn emergency(generator: &mut Generator) {
    let organization = generator.random.below(ORGANIZATIONS);
    let (subject, emergency) = (usual(patient(generator)), generator.random.below(4));
    let (until, practitioner) = (generator.now() + 20 * DAY, generator.random.below(2));
    generator.send(Actor::Organization(organization), Request::Enrol { practitioner, until });
    if generator.random.happens(20) {
        generator.send(Actor::Organization(organization), Request::SuspendPractitioner { practitioner });
    }
    generator.send(Actor::Organization(organization), Request::BreakGlass { subject, emergency, practitioner });
    let seconds = [9, 7 * DAY - 1, 7 * DAY][usize::from(generator.random.below(3))];
    generator.decide(1);
    generator.decide(seconds);
    let another = (organization + generator.random.below(2)) % ORGANIZATIONS;
    let request = Request::BreakGlass { subject, emergency: emergency + 1, practitioner };
    generator.send(Actor::Organization(organization), request);
    generator.send(Actor::Organization(another), Request::Review { subject, emergency });
    let registrar = Actor::Registrar(generator.random.below(5));
    generator.send(registrar, Request::Review { subject, emergency });
}

/// A guardian decides for a minor until a date.
fn minor(generator: &mut Generator) {
    let patient = patient(generator);
    let (subject, guardian) = (usual(patient), generator.random.below(2));
    let until = generator.now() + 60;
    let appoint = Request::Appoint { subject, guardian, until, evidence: 0 };
    generator.send(Actor::Organization(subject.organization), appoint);
    generator.send(Actor::Patient(patient), appoint);
    generator.send(Actor::Patient(patient), appoint);
    generator.decide(2);
    let grantee = generator.random.below(ORGANIZATIONS);
    let (from, end) = (generator.now(), until - i64::from(generator.random.below(3)) + 1);
    let delegable = generator.random.happens(50);
    let grant = Request::Grant { subject, grant: 3, grantee, from, until: end, request: None, delegable };
    generator.send(Actor::Guardian(guardian), grant);
    let seconds = [5, 57, 58][usize::from(generator.random.below(3))];
    generator.decide(seconds);
    generator.send(Actor::Guardian(guardian), Request::Revoke { subject, grant: 3 });
}

/// What is voted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vote {
    Upgrade,
    Any,
}

/// Registrars agree on something, as on the next format a few blocks ahead; access logs go on through it.
fn vote(generator: &mut Generator, vote: Vote) {
    let proposal = generator.next_proposal();
    let organization = Actor::Organization(generator.random.below(ORGANIZATIONS));
    let (now, height) = (generator.now(), generator.height() + 2 + u64::from(generator.random.below(3)));
    let log = |sequence| Request::Log { sequence, from: now, to: now };
    generator.send(organization, log(1));
    let decision = match vote {
        Vote::Upgrade => Decision::Upgrade { version: 2, height },
        Vote::Any => generator.decision(),
    };
    generator.send(Actor::Registrar(0), Request::Propose { proposal, until: now + 3_000, decision });
    for registrar in 1..1 + generator.random.below(3) {
        generator.send(Actor::Registrar(registrar), Request::Vote { proposal });
    }
    generator.decide(1);
    generator.send(organization, log(2));
    generator.decide(1);
    generator.send(organization, log(3));
}

/// Registrars register an organization anew, for months.
fn accreditation(generator: &mut Generator) {
    let (organization, until) = (generator.random.below(ORGANIZATIONS), generator.months_later());
    let emergency = generator.random.happens(70);
    for registrar in 0..1 + generator.random.below(3) {
        generator.send(Actor::Registrar(registrar), Request::Register { organization, content: 0, until, emergency });
    }
    generator.decide(1);
}

/// A registrar is none any more, and tries what registrars may.
fn resignation(generator: &mut Generator) {
    let (proposal, until) = (generator.next_proposal(), generator.now() + 3_000);
    let decision = Decision::Registrars { set: 0b01011, threshold: 2 };
    generator.send(Actor::Registrar(0), Request::Propose { proposal, until, decision });
    generator.send(Actor::Registrar(1), Request::Vote { proposal });
    generator.decide(1);
    let (subject, organization) = (usual(patient(generator)), generator.random.below(ORGANIZATIONS));
    let resigned = Actor::Registrar(2);
    let tries = [
        Request::Review { subject, emergency: generator.random.below(4) },
        Request::Hold { organization, record: generator.random.below(4) },
        Request::Suspend { organization },
        Request::Vote { proposal },
    ];
    for request in tries {
        if generator.random.happens(60) {
            generator.send(resigned, request);
        }
    }
}

/// A record is anchored, countersigned, held, and shredded at last.
fn custody(generator: &mut Generator) {
    let (organization, another) = (generator.random.below(ORGANIZATIONS), generator.random.below(ORGANIZATIONS));
    let (own, record) = (Actor::Organization(organization), generator.random.below(4));
    let until = generator.now() + 40;
    generator.send(own, Request::Anchor { record, another: (record + 1) % 4 });
    generator.send(own, Request::Batch { batch: 0 });
    generator.decide(1);
    let is_sound = generator.random.happens(70);
    generator.send(own, Request::Extract { batch: 0, index: record % 2, is_sound });
    generator.send(own, Request::AskSignature { record, version: 1, countersigner: another, until });
    if generator.random.happens(40) {
        generator.send(own, Request::Supersede { record, version: 2 });
    }
    let seconds = [1, 38, 39][usize::from(generator.random.below(3))];
    generator.decide(seconds);
    for _ in 0..1 + generator.random.below(2) {
        generator.send(Actor::Organization(another), Request::Countersign { organization, record, version: 1 });
        generator.send(own, Request::AskSignature { record, version: 1, countersigner: another, until: until + 90 });
    }
    let version = 1 + generator.random.below(2);
    generator.send(own, Request::Mark { record, version });
    generator.send(own, Request::Mark { record, version });
    let holder = if generator.random.happens(50) { own } else { Actor::Registrar(1) };
    generator.send(holder, Request::Hold { organization, record });
    generator.send(own, Request::Shred { record });
    generator.decide(1);
    for _ in 0..1 + generator.random.below(2) {
        generator.send(holder, Request::Release { organization, record });
    }
    generator.send(own, Request::Shred { record });
}

/// An organization asks, and the patient answers: in time, too late, or twice.
fn question(generator: &mut Generator) {
    let (patient, organization) = (patient(generator), generator.random.below(ORGANIZATIONS));
    let (subject, request) = (usual(patient), 7 + generator.random.below(4));
    let until = generator.now() + 30;
    let asks = Request::Ask { subject, request, until, standing: None, terms: 0 };
    generator.send(Actor::Organization(organization), asks);
    let seconds = [1, 29, 30][usize::from(generator.random.below(3))];
    generator.decide(seconds);
    let grantee = if generator.random.happens(80) { organization } else { (organization + 1) % ORGANIZATIONS };
    let (from, end) = (generator.now(), generator.now() + 200);
    for grant in 8..10 {
        let request = Some(request);
        let grants = Request::Grant { subject, grant, grantee, from, until: end, request, delegable: false };
        generator.send(Actor::Patient(patient), grants);
    }
}

/// A grant is given, delegated, closed and opened again.
fn delegation(generator: &mut Generator) {
    let (patient, grantee) = (patient(generator), generator.random.below(ORGANIZATIONS));
    let (subject, parent, grant) = (usual(patient), generator.random.below(4), 4 + generator.random.below(3));
    let (from, until) = (generator.now(), generator.now() + 300);
    let grants = Request::Grant { subject, grant: parent, grantee, from, until, request: None, delegable: true };
    generator.send(Actor::Patient(patient), grants);
    generator.decide(1);
    let further = (grantee + 1) % ORGANIZATIONS;
    // Within the grant, or a second wider at either end.
    let (early, until) = (from - i64::from(generator.random.below(2)), until + i64::from(generator.random.below(2)));
    let delegates = Request::Delegate { subject, parent, grant, grantee: further, from: early, until };
    generator.send(Actor::Organization(grantee), delegates);
    let again = Request::Delegate { subject, parent: grant, grant: 7, grantee, from, until };
    generator.send(Actor::Organization(further), again);
    generator.decide(1);
    let closed = if generator.random.happens(50) { parent } else { grant };
    generator.send(Actor::Patient(patient), Request::Revoke { subject, grant: closed });
    generator.decide(1);
    generator.send(Actor::Patient(patient), Request::Reinstate { subject, grant: closed });
    let amends = Request::Amend { subject, grant: closed, version: 2, from, until, delegable: false };
    generator.send(Actor::Patient(patient), amends);
}

/// A new key takes the place of the old one.
fn rotation(generator: &mut Generator) {
    let actor = if generator.random.happens(50) {
        Actor::Patient(patient(generator))
    } else {
        Actor::Organization(generator.random.below(ORGANIZATIONS))
    };
    let (key, is_full) = (spare(generator), generator.random.happens(70));
    generator.send(actor, Request::AddKey { key, is_full, is_proven: true });
    generator.decide(1);
    generator.send_with(actor, key, Request::RemoveKey { key: Key::Of(actor) });
    generator.decide(1);
    let key = if generator.random.happens(50) { key } else { Key::Of(actor) };
    generator.send_with(actor, key, Request::RemoveKey { key });
}

/// A patient approves in advance; requests come until they are used up.
fn standing(generator: &mut Generator) {
    let (patient, grantee) = (patient(generator), generator.random.below(ORGANIZATIONS));
    let (subject, standing) = (usual(patient), generator.random.below(2));
    let until = generator.now() + 100;
    let request = Request::ApproveStanding { subject, standing, grantee, terms: 0, until, uses: 1 };
    generator.send(Actor::Patient(patient), request);
    generator.decide(1);
    for request in 4..6 {
        let asks = Request::Ask { subject, request, until: until + 50, standing: Some(standing), terms: 0 };
        generator.send(Actor::Organization(grantee), asks);
    }
    let seconds = [1, 98, 99][usize::from(generator.random.below(3))];
    generator.decide(seconds);
    let asks = Request::Ask { subject, request: 6, until: until + 50, standing: Some(standing), terms: 0 };
    generator.send(Actor::Organization(grantee), asks);
}

/// A plan is published, facts attested, a member enrolled; proofs come, and some of them meet.
fn insured(generator: &mut Generator) {
    let (insurer, plan) = (Actor::Organization(INSURER), generator.random.below(PLANS));
    // The insurer may not; who is none may not enrol.
    let attester = Actor::Organization(generator.random.below(ORGANIZATIONS));
    let enroller = if generator.random.happens(85) { insurer } else { attester };
    generator.send(insurer, Request::Publish { plan, is_sound: true });
    let [enrolled, attested, further] = [(); 3].map(|()| generator.random.below(COMMITMENTS));
    generator.send(enroller, Request::Cover { commitment: enrolled });
    generator.send(attester, Request::Attest { commitment: attested });
    generator.decide(1);
    let whole = Proof { publisher: INSURER, plan, ..generator.proof() };
    let until = generator.now() + DAY;
    let whole = Proof { attested: Which::Back(0), enrolled: Which::Back(0), as_of: generator.now(), until, ..whole };
    let until = generator.now() + 60;
    generator.send_unordered(attester, Request::Prove(whole), until);
    // Of the same event, of the same claim of the period, or of neither.
    let other = Proof { claim: whole.claim + 1, ..whole };
    let second = match generator.random.below(3) {
        0 => Proof { period: whole.period + 1, ..other },
        1 => Proof { event: whole.event + 1, ..other },
        _ => Proof { event: whole.event + 1, period: whole.period + 1, ..whole },
    };
    generator.send_unordered(insurer, Request::Prove(second), until);
    generator.offer();
    if generator.random.happens(40) {
        generator.send(attester, Request::Attest { commitment: further });
    }
    generator.decide(1);
    generator.send_unordered(insurer, Request::Prove(Proof { claim: whole.claim + 2, ..whole }), until);
    generator.offer();
}

/// What was attested is revoked, by its issuer or by a registrar; a proof that was made before comes in time
/// for it, or too late.
fn withdrawn(generator: &mut Generator) {
    let (issuer, commitment) = (generator.random.below(2), generator.random.below(COMMITMENTS));
    let plan = generator.random.below(PLANS);
    generator.send(Actor::Organization(INSURER), Request::Publish { plan, is_sound: true });
    generator.send(Actor::Organization(INSURER), Request::Cover { commitment });
    generator.send(Actor::Organization(issuer), Request::Attest { commitment });
    generator.decide(1);
    let by = if generator.random.happens(50) {
        generator.send(Actor::Registrar(0), Request::Suspend { organization: issuer });
        generator.decide(1);
        Actor::Registrar(1)
    } else {
        Actor::Organization(issuer)
    };
    generator.send(by, Request::Unattest { first: commitment, second: None });
    generator.decide(1);
    // At the end of the time for which a tree is known that another replaced.
    let blocks = if generator.random.happens(60) { 98 + generator.random.below(3) } else { 0 };
    generator.wait(blocks);
    let until = generator.now() + DAY;
    let proof = Proof { insurer: INSURER, publisher: INSURER, plan, flaw: None, until, ..generator.proof() };
    // Without the newest leaf the tree is the one from before it, and the newest tree is the one that was replaced.
    let attested = Which::Back(generator.random.below(2));
    let proof = Proof { attested, enrolled: Which::Back(0), as_of: generator.now(), ..proof };
    generator.send(Actor::Organization(INSURER), Request::Prove(proof));
    generator.decide(0);
    generator.send(Actor::Organization(INSURER), Request::Prove(Proof { claim: 7, ..proof }));
}

/// A custodian anchors who looked, and the patient disputes one access, or one that was none.
fn disputed(generator: &mut Generator) {
    let patient = patient(generator);
    let (subject, now) = (usual(patient), generator.now());
    let (custodian, sequence) = (Actor::Organization(subject.organization), 1 + generator.random.below(3));
    for log in 1..=sequence {
        generator.send(custodian, Request::Log { sequence: log, from: now, to: now });
        generator.decide(1);
    }
    for index in 0..1 + generator.random.below(3) {
        let is_sound = generator.random.happens(75);
        let dispute = Request::Dispute { subject, sequence, index, is_sound };
        generator.send(Actor::Patient(patient), dispute);
        generator.send(Actor::Patient(patient), dispute);
    }
}
