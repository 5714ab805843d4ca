//! Organizations, their staff, and subjects.

use super::{Answer, By, Model, ends};
use crate::sim::script::{Actor, Key, Request, Subject};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Organization {
    pub(in crate::sim) content: u8,
    pub(in crate::sim) until: i64,
    pub(in crate::sim) emergency: bool,
    pub(in crate::sim) suspended: bool,
    pub(in crate::sim) generation: u64,
}

/// What registrars agree on: organization, content, end, capability; and what stood before: the
/// organization's generation and the registrars'.
pub(super) type Registration = (u8, u8, i64, bool, u64, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Enrolment {
    pub(in crate::sim) until: i64,
    /// When its organization did.
    pub(in crate::sim) suspended: Option<i64>,
}

impl Model {
    pub(super) fn standing_of(&self, organization: u8, time: i64) -> Answer {
        match self.organizations.get(&organization) {
            None => Err("UnknownOrganization"),
            Some(found) if found.suspended => Err("OrganizationSuspended"),
            Some(found) if found.until <= time => Err("OrganizationExpired"),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn organization(&self, by: By) -> Result<u8, &'static str> {
        let Actor::Organization(organization) = by.actor else { return Err("NotAnOrganization") };
        self.standing_of(organization, by.time).map(|()| organization)
    }

    /// Who was a registrar is none.
    pub(super) fn is_registrar(&self, by: By) -> bool {
        matches!(by.actor, Actor::Registrar(registrar) if self.registrars.contains(&registrar))
    }

    pub(super) fn registrar(&self, by: By) -> Result<u8, &'static str> {
        match by.actor {
            Actor::Registrar(registrar) if self.registrars.contains(&registrar) => Ok(registrar),
            _ => Err("NotARegistrar"),
        }
    }

    pub(super) fn is_unused(&self, actor: Actor) -> bool {
        !self.accounts.contains_key(&actor) && !self.bound.contains_key(&Key::Of(actor))
    }

    /// Whether the patient has claimed the subject, by whose key it is asked.
    pub(super) fn patient_of(&self, by: By, subject: Subject) -> Result<bool, &'static str> {
        let Actor::Patient(patient) = by.actor else { return Err("NotAClaimant") };
        let is_claimed = *self.subjects.get(&subject).ok_or("UnknownSubject")?;
        if patient == subject.patient { Ok(is_claimed) } else { Err("NotTheSubject") }
    }

    pub(super) fn claimed(&self, by: By, subject: Subject) -> Answer {
        if self.patient_of(by, subject)? { Ok(()) } else { Err("SubjectNotClaimed") }
    }

    pub(super) fn identity(&mut self, by: By, request: Request) -> Answer {
        match request {
            Request::Register { organization, content, until, emergency } => {
                self.register(by, organization, content, until, emergency)
            }
            Request::Suspend { organization } => {
                self.registrar(by)?;
                let found = self.organizations.get_mut(&organization).ok_or("UnknownOrganization")?;
                if found.suspended {
                    return Err("OrganizationSuspended");
                }
                (found.suspended, found.generation) = (true, found.generation + 1);
                Ok(())
            }
            Request::Enrol { practitioner, until } => {
                let organization = self.organization(by)?;
                ends(until, by.time)?;
                // Several organizations may enrol one practitioner.
                let actor = Actor::Practitioner(practitioner);
                if !self.is_unused(actor) && !self.accounts.contains_key(&actor) {
                    return Err("AddressInUse");
                }
                self.open_for(organization, actor);
                self.practitioners.insert((organization, practitioner), Enrolment { until, suspended: None });
                Ok(())
            }
            Request::SuspendPractitioner { practitioner } => {
                let organization = self.organization(by)?;
                let found = self.practitioners.get_mut(&(organization, practitioner)).ok_or("UnknownPractitioner")?;
                if found.suspended.is_some() {
                    return Err("PractitionerSuspended");
                }
                found.suspended = Some(by.time);
                Ok(())
            }
            Request::Open { patient } => {
                let organization = self.organization(by)?;
                let subject = Subject { organization, patient };
                if self.subjects.contains_key(&subject) {
                    return Err("SubjectExists");
                }
                if !self.is_unused(Actor::Patient(patient)) {
                    return Err("AddressInUse");
                }
                self.open_for(organization, Actor::Patient(patient));
                self.subjects.insert(subject, false);
                Ok(())
            }
            Request::Claim { subject } => {
                if self.patient_of(by, subject)? {
                    return Err("SubjectClaimed");
                }
                self.subjects.insert(subject, true);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn register(&mut self, by: By, organization: u8, content: u8, until: i64, emergency: bool) -> Answer {
        let registrar = self.registrar(by)?;
        ends(until, by.time)?;
        let known = self.organizations.get(&organization).copied();
        let next = (content, until, emergency, false);
        if known.is_some_and(|known| (known.content, known.until, known.emergency, known.suspended) == next) {
            return Err("AlreadyRegistered");
        }
        let generation = known.map_or(0, |known| known.generation);
        let pending = (organization, content, until, emergency, generation, self.registrar_generation);
        let threshold = usize::from(self.threshold);
        let approvals = self.approvals.entry(pending).or_default();
        if !approvals.insert(registrar) {
            return Err("AlreadyApproved");
        }
        if approvals.len() >= threshold {
            self.approvals.remove(&pending);
            let registered = Organization { content, until, emergency, suspended: false, generation: generation + 1 };
            self.organizations.insert(organization, registered);
            self.open(Actor::Organization(organization));
        }
        Ok(())
    }
}
