//! Requests, grants, guardians of minors, emergencies, standing approvals.

use super::{Answer, By, DAY, Model, ends};
use crate::sim::script::{AUTOMATIC_FROM, Actor, Key, Request, Subject};

/// Time for the review of an emergency.
pub(in crate::sim) const REVIEW: i64 = 7 * DAY;
/// Longest grant of a standing approval in a simulation.
pub(in crate::sim) const AUTOMATIC_SECONDS: i64 = 200;
/// Emergencies of one organization that may wait for their review.
const UNREVIEWED_MAX: usize = 16;

/// A request for access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Asked {
    pub(in crate::sim) by: u8,
    pub(in crate::sim) subject: Subject,
    pub(in crate::sim) until: i64,
    pub(in crate::sim) terms: u8,
    /// The standing approval that it was asked under.
    pub(in crate::sim) standing: Option<u8>,
    /// The grant that answered it.
    pub(in crate::sim) answer: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) struct Grant {
    pub(in crate::sim) grantee: u8,
    pub(in crate::sim) from: i64,
    pub(in crate::sim) until: i64,
    pub(in crate::sim) is_delegable: bool,
    pub(in crate::sim) parent: Option<u8>,
    /// When, while it is.
    pub(in crate::sim) revoked: Option<i64>,
    /// How often it was changed since it was given.
    pub(in crate::sim) amendments: u8,
    /// When it was revoked, and reinstated after that.
    pub(in crate::sim) closures: Vec<(i64, i64)>,
    pub(in crate::sim) by_guardian: bool,
}

/// Until when, for which reason; and what each side approved of the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sim) struct Guardianship {
    pub(in crate::sim) in_force: Option<(i64, u8)>,
    pub(in crate::sim) by_custodian: Option<(i64, u8)>,
    /// In which standing of the custodian, from format 5 on.
    pub(in crate::sim) generation: u64,
    pub(in crate::sim) by_patient: Option<(i64, u8)>,
    /// By which key of the patient, from format 5 on.
    pub(in crate::sim) key: Option<Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Emergency {
    pub(in crate::sim) by: u8,
    pub(in crate::sim) practitioner: u8,
    pub(in crate::sim) review_by: i64,
    /// Who, and when.
    pub(in crate::sim) review: Option<(Actor, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Standing {
    pub(in crate::sim) grantee: u8,
    pub(in crate::sim) terms: u8,
    pub(in crate::sim) until: i64,
    pub(in crate::sim) uses_max: u8,
    pub(in crate::sim) uses: u8,
}

impl Model {
    /// The patient, or a guardian with its end.
    fn acts_for(&self, by: By, subject: Subject) -> Result<Option<i64>, &'static str> {
        let Actor::Guardian(guardian) = by.actor else { return self.claimed(by, subject).map(|()| None) };
        if !self.subjects.contains_key(&subject) {
            return Err("UnknownSubject");
        }
        let guardianship = self.guardians.get(&(subject, guardian)).ok_or("NotTheSubject")?;
        match guardianship.in_force {
            Some((until, _)) if by.time < until => Ok(Some(until)),
            _ => Err("GuardianshipEnded"),
        }
    }

    /// Nobody opens a window beyond its own power.
    fn window(until: i64, power: Option<i64>, time: i64) -> Answer {
        ends(until, time)?;
        if power.is_some_and(|power| until > power) { Err("EndsTooLate") } else { Ok(()) }
    }

    pub(super) fn consent(&mut self, by: By, request: Request) -> Answer {
        match request {
            Request::Ask { subject, request, until, standing, terms } => {
                self.ask(by, request, Asked { by: 0, subject, until, terms, standing, answer: None })
            }
            Request::Grant { subject, grant, grantee, from, until, request, delegable } => {
                let power = self.acts_for(by, subject)?;
                Self::window(until, power, by.time)?;
                self.standing_of(grantee, by.time).map_err(|_| "GranteeNotInGoodStanding")?;
                if self.grants.contains_key(&(subject, grant)) {
                    return Err("GrantExists");
                }
                if let Some(id) = request {
                    self.answer(id, subject, (grantee, grant), by.time)?;
                }
                let by_guardian = power.is_some();
                let given = Grant { from, is_delegable: delegable, by_guardian, ..grant_to(grantee, until) };
                self.grants.insert((subject, grant), given);
                Ok(())
            }
            Request::Revoke { subject, grant } => {
                self.acts_for(by, subject)?;
                let found = self.grants.get_mut(&(subject, grant)).ok_or("UnknownGrant")?;
                if found.revoked.is_some() {
                    return Err("GrantRevoked");
                }
                found.revoked = Some(by.time);
                Ok(())
            }
            Request::Amend { subject, grant, version, from, until, delegable } => {
                let power = self.acts_for(by, subject)?;
                Self::window(until, power, by.time)?;
                let found = self.grants.get_mut(&(subject, grant)).ok_or("UnknownGrant")?;
                match found {
                    Grant { parent: Some(_), .. } => return Err("GrantDelegated"),
                    Grant { revoked: Some(_), .. } => return Err("GrantRevoked"),
                    Grant { until, .. } if self.format >= 5 && *until <= by.time => return Err("GrantEnded"),
                    // As it was given is its version 1.
                    Grant { amendments, .. } if *amendments + 2 != version => return Err("WrongVersion"),
                    _ => {}
                }
                (found.from, found.until, found.is_delegable) = (from, until, delegable);
                (found.amendments, found.by_guardian) = (found.amendments + 1, power.is_some());
                Ok(())
            }
            Request::Reinstate { subject, grant } => {
                self.claimed(by, subject)?;
                let found = self.grants.get_mut(&(subject, grant)).ok_or("UnknownGrant")?;
                let revoked = found.revoked.ok_or("GrantNotRevoked")?;
                if found.until <= by.time {
                    return Err("GrantEnded");
                }
                found.closures.push((revoked, by.time));
                found.revoked = None;
                Ok(())
            }
            Request::Delegate { subject, parent, grant, grantee, from, until } => {
                self.delegate(by, subject, parent, grant, Grant { from, ..grant_to(grantee, until) })
            }
            Request::Appoint { subject, guardian, until, evidence } => {
                self.appoint(by, subject, guardian, (until, evidence))
            }
            _ => self.beyond(by, request),
        }
    }

    fn ask(&mut self, by: By, id: u8, asked: Asked) -> Answer {
        let Asked { subject, until, terms, .. } = asked;
        let organization = self.organization(by)?;
        ends(until, by.time)?;
        if !self.subjects.contains_key(&subject) {
            return Err("UnknownSubject");
        }
        if self.requests.contains_key(&id) {
            return Err("RequestExists");
        }
        if let Some(standing) = asked.standing {
            let grant = (subject, AUTOMATIC_FROM + id);
            let approval = self.standing.get_mut(&(subject, standing)).ok_or("UnknownStanding")?;
            let is_for = approval.grantee == organization && approval.terms == terms;
            if !is_for || approval.until <= by.time || approval.uses >= approval.uses_max {
                return Err("StandingRefuses");
            }
            if self.grants.contains_key(&grant) {
                return Err("GrantExists");
            }
            approval.uses += 1;
            let end = (by.time + AUTOMATIC_SECONDS).min(approval.until);
            self.grants.insert(grant, Grant { from: by.time, ..grant_to(organization, end) });
        }
        let answer = asked.standing.map(|_| AUTOMATIC_FROM + id);
        self.requests.insert(id, Asked { by: organization, answer, ..asked });
        Ok(())
    }

    fn answer(&mut self, id: u8, subject: Subject, (grantee, grant): (u8, u8), time: i64) -> Answer {
        let request = self.requests.get_mut(&id).ok_or("UnknownRequest")?;
        if (request.by, request.subject) != (grantee, subject) {
            return Err("RequestMismatch");
        }
        if request.answer.is_some() {
            return Err("RequestAnswered");
        }
        if request.until <= time {
            return Err("RequestExpired");
        }
        request.answer = Some(grant);
        Ok(())
    }

    fn delegate(&mut self, by: By, subject: Subject, parent: u8, grant: u8, given: Grant) -> Answer {
        let organization = self.organization(by)?;
        let whole = self.grants.get(&(subject, parent)).ok_or("UnknownGrant")?;
        if whole.grantee != organization {
            return Err("NotTheGrantee");
        }
        if whole.parent.is_some() {
            return Err("GrantDelegated");
        }
        if !whole.is_delegable {
            return Err("GrantNotDelegable");
        }
        if whole.revoked.is_some() {
            return Err("GrantRevoked");
        }
        // What has not begun can be delegated; what has ended cannot.
        if whole.from <= by.time && whole.until <= by.time {
            return Err("GrantEnded");
        }
        if given.from < whole.from || given.until > whole.until {
            return Err("WiderThanGrant");
        }
        ends(given.until, by.time)?;
        self.standing_of(given.grantee, by.time).map_err(|_| "GranteeNotInGoodStanding")?;
        if self.grants.contains_key(&(subject, grant)) {
            return Err("GrantExists");
        }
        self.grants.insert((subject, grant), Grant { parent: Some(parent), ..given });
        Ok(())
    }

    fn appoint(&mut self, by: By, subject: Subject, guardian: u8, approval: (i64, u8)) -> Answer {
        let is_custodian = matches!(by.actor, Actor::Organization(_));
        if is_custodian {
            let organization = self.organization(by)?;
            if !self.subjects.contains_key(&subject) {
                return Err("UnknownSubject");
            }
            if organization != subject.organization {
                return Err("NotTheCustodian");
            }
        } else {
            self.claimed(by, subject)?;
            if self.format >= 5 {
                self.manages(by)?;
            }
        }
        ends(approval.0, by.time)?;
        let key = (subject, guardian);
        let mut known = self.guardians.get(&key).copied().unwrap_or_default();
        if self.format >= 5 && !self.still_speaks(subject.organization, known.generation, by.time) {
            (known.by_custodian, known.generation) = (None, 0);
        }
        let is_of = |key: Key| self.authority(Actor::Patient(subject.patient), key) == Some(true);
        if self.format >= 5 && !known.key.is_some_and(is_of) {
            (known.by_patient, known.key) = (None, None);
        }
        // A guardian's key is of one subject, for ever; unless it became one of another account.
        let actor = Actor::Guardian(guardian);
        let is_this_ones = known.in_force.is_some() && self.accounts.contains_key(&actor);
        if !is_this_ones && !self.is_unused(actor) {
            return Err("AddressInUse");
        }
        let own = if is_custodian { &mut known.by_custodian } else { &mut known.by_patient };
        if known.in_force == Some(approval) || own.replace(approval) == Some(approval) {
            return Err("AlreadyAppointed");
        }
        if is_custodian && self.format >= 5 {
            known.generation = self.generation(subject.organization);
        } else if self.format >= 5 {
            known.key = Some(by.key);
        }
        if known.by_custodian == known.by_patient {
            known = Guardianship { in_force: Some(approval), ..Guardianship::default() };
            self.open_for(subject.organization, Actor::Guardian(guardian));
        }
        self.guardians.insert(key, known);
        Ok(())
    }

    /// Emergencies and standing approvals.
    fn beyond(&mut self, by: By, request: Request) -> Answer {
        match request {
            Request::BreakGlass { subject, emergency, practitioner } => {
                self.break_glass(by, subject, emergency, practitioner)
            }
            Request::Review { subject, emergency } => {
                let is_registrar = self.is_registrar(by);
                if !is_registrar {
                    self.organization(by)?;
                }
                let found = self.emergencies.get_mut(&(subject, emergency)).ok_or("UnknownEmergency")?;
                if by.actor == Actor::Organization(found.by) {
                    return Err("OwnEmergency");
                }
                if found.review.is_some() {
                    return Err("EmergencyReviewed");
                }
                if !is_registrar && found.review_by <= by.time {
                    return Err("EmergencyReviewOverdue");
                }
                found.review = Some((by.actor, by.time));
                Ok(())
            }
            Request::ApproveStanding { subject, standing, grantee, terms, until, uses } => {
                self.claimed(by, subject)?;
                ends(until, by.time)?;
                self.standing_of(grantee, by.time).map_err(|_| "GranteeNotInGoodStanding")?;
                if self.standing.contains_key(&(subject, standing)) {
                    return Err("IdTaken");
                }
                let approval = Standing { grantee, terms, until, uses_max: uses, uses: 0 };
                self.standing.insert((subject, standing), approval);
                Ok(())
            }
            Request::WithdrawStanding { subject, standing } => {
                self.claimed(by, subject)?;
                self.standing.remove(&(subject, standing)).map(drop).ok_or("UnknownStanding")
            }
            _ => Ok(()),
        }
    }

    fn break_glass(&mut self, by: By, subject: Subject, emergency: u8, practitioner: u8) -> Answer {
        let organization = self.organization(by)?;
        if !self.organizations.get(&organization).is_some_and(|found| found.emergency) {
            return Err("EmergencyNotAccredited");
        }
        let own = self.emergencies.values().filter(|other| other.by == organization && other.review.is_none());
        let deadlines: Vec<i64> = own.map(|other| other.review_by).collect();
        if deadlines.iter().any(|deadline| *deadline <= by.time) {
            return Err("EmergencyReviewOverdue");
        }
        if deadlines.len() >= UNREVIEWED_MAX {
            return Err("TooManyUnreviewed");
        }
        let enrolment = self.practitioners.get(&(organization, practitioner));
        if enrolment.is_none_or(|enrolment| enrolment.until <= by.time || enrolment.suspended.is_some()) {
            return Err("PractitionerNotEnrolled");
        }
        if !self.subjects.contains_key(&subject) {
            return Err("UnknownSubject");
        }
        if self.emergencies.contains_key(&(subject, emergency)) {
            return Err("IdTaken");
        }
        let opened = Emergency { by: organization, practitioner, review_by: by.time + REVIEW, review: None };
        self.emergencies.insert((subject, emergency), opened);
        Ok(())
    }
}

fn grant_to(grantee: u8, until: i64) -> Grant {
    Grant {
        grantee,
        from: 0,
        until,
        is_delegable: false,
        parent: None,
        revoked: None,
        amendments: 0,
        closures: Vec::new(),
        by_guardian: false,
    }
}
