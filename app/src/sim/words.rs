//! An organization says something, loses its standing, may get it again, and others end what it began.

use super::{
    generate::{Generator, usual},
    script::{Actor, ORGANIZATIONS, REGISTRARS_FIRST, Request},
    stories::{patient, spare},
};

const DAY: i64 = 86_400;

/// Adds one of them.
pub(super) fn tell(generator: &mut Generator) {
    let patient = patient(generator);
    let (account, key, subject) = (Actor::Patient(patient), spare(generator), usual(patient));
    let organization = if generator.random.happens(50) { subject.organization } else { generator.random.below(2) };
    let (own, guardian) = (Actor::Organization(organization), generator.random.below(2));
    let appoint = Request::Appoint { subject, guardian, until: generator.now() + 300 * DAY, evidence: 1 };
    generator.send(own, appoint);
    generator.send(own, Request::AttestRecovery { account, key });
    generator.decide(1);
    let (until, registrar) = (generator.months_later(), Actor::Registrar(generator.random.below(REGISTRARS_FIRST)));
    if generator.random.happens(70) {
        generator.send(registrar, Request::Suspend { organization });
    }
    if generator.random.happens(60) {
        for registrar in (0..REGISTRARS_FIRST).map(Actor::Registrar) {
            generator.send(registrar, Request::Register { organization, content: 0, until, emergency: true });
        }
        generator.decide(1);
    }
    generator.send(account, appoint);
    for other in 0..ORGANIZATIONS {
        generator.send(Actor::Organization(other), Request::AttestRecovery { account, key });
        let seconds = if generator.random.happens(30) { 3 * DAY } else { 1 };
        generator.decide(seconds);
    }
    generator.send(Actor::Guardian(guardian), Request::Revoke { subject, grant: 0 });
    for seconds in [4 * DAY - 2, 2, 3 * DAY] {
        generator.decide(seconds);
        generator.send(registrar, Request::FinishRecovery { account, key, is_proven: true });
    }
    generator.decide(1);
}
