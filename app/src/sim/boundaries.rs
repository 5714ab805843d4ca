//! Ends, to the second: something that lasts until a time is tried a second before it, at it, and a second after.

use super::{
    generate::{Generator, usual},
    script::{Actor, Decision, ORGANIZATIONS, PATIENTS, Request},
};

/// Adds one of them.
pub(super) fn tell(generator: &mut Generator) {
    let organization = generator.random.below(ORGANIZATIONS);
    let (own, patient) = (Actor::Organization(organization), 1 + generator.random.below(PATIENTS - 1));
    let (subject, end) = (usual(patient), generator.now() + 30);
    let tried = match generator.random.below(4) {
        0 => {
            accredit(generator, organization, end);
            (own, Request::Batch { batch: generator.random.below(30) })
        }
        1 => {
            let practitioner = generator.random.below(2);
            let until = generator.months_later();
            accredit(generator, organization, until);
            generator.send(own, Request::Enrol { practitioner, until: end });
            (own, Request::BreakGlass { subject, emergency: 10 + generator.random.below(200), practitioner })
        }
        2 => {
            let (proposal, power) = (generator.next_proposal(), 10 + u64::from(generator.random.below(3)));
            let decision = Decision::Validator { key: 0, power };
            generator.send(Actor::Registrar(0), Request::Propose { proposal, until: end, decision });
            (Actor::Registrar(1), Request::Vote { proposal })
        }
        _ => {
            let guardian = generator.random.below(2);
            let appoint = Request::Appoint { subject, guardian, until: end, evidence: 1 };
            generator.send(Actor::Organization(subject.organization), appoint);
            generator.send(Actor::Patient(patient), appoint);
            (Actor::Guardian(guardian), Request::Revoke { subject, grant: generator.random.below(4) })
        }
    };
    generator.decide(1);
    let late = i64::from(generator.random.below(3)) - 1;
    generator.send(tried.0, tried.1);
    generator.decide(end - generator.now() + late);
    if let Request::BreakGlass { subject, emergency, .. } = tried.1 {
        // One that waits for its review would keep the next from being tried.
        generator.send(Actor::Registrar(0), Request::Review { subject, emergency });
    }
    let until = generator.months_later();
    accredit(generator, organization, until);
    generator.decide(1);
}

/// Two registrars register an organization, which may break the glass.
fn accredit(generator: &mut Generator, organization: u8, until: i64) {
    for registrar in 0..2 {
        let request = Request::Register { organization, content: 0, until, emergency: true };
        generator.send(Actor::Registrar(registrar), request);
    }
    generator.decide(1);
}
