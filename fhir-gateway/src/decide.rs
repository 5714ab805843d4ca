//! The access decision: a pure function of proven ledger state, the opened terms, the request and
//! the record. It explains itself by naming the first rule that does not hold, in the order of
//! [`Rule`]. A request names one grant, and no other is looked at.

use std::collections::BTreeSet;

use careledger_wire::{
    ids::Address,
    proto::{
        consent::ConsentMode,
        identity::SuspensionReason,
        state::{Grant, Organization, Practitioner},
    },
};

use crate::mapping::{
    consent::{Permit, Terms},
    period::Seconds,
};

/// Codes of v3 Confidentiality that close nothing.
const OPEN_LABELS: [&str; 4] = ["U", "L", "M", "N"];

/// A grant as the ledger and the custodian know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The ledger's state, proven; `None` where there is no such grant.
    pub state: Option<Grant>,
    /// The Consent that opens the commitments; `None` where the custodian holds none.
    pub permit: Option<Permit>,
}

/// Who asks, for what, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The organization whose key signed the request.
    pub organization: Address,
    /// The ledger's state of that organization, proven.
    pub standing: Option<Organization>,
    /// The practitioner whom it names.
    pub practitioner: Address,
    /// The ledger's state of that enrolment, proven.
    pub enrolment: Option<Practitioner>,
    /// Code of v3 ActReason.
    pub purpose: String,
    /// Time of the decision, Unix seconds.
    pub now: i64,
}

/// What a decision needs to know of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its FHIR type.
    pub resource_type: String,
    /// The time that it is about, where it says so.
    pub about: Option<Seconds>,
    /// Its security labels.
    pub labels: BTreeSet<String>,
}

/// The rules, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The organization is registered, unexpired and not suspended.
    OrganizationInGoodStanding,
    /// The practitioner is enrolled by that organization, unexpired.
    PractitionerEnrolled,
    /// The ledger knows the grant.
    GrantExists,
    /// It was not revoked.
    NotRevoked,
    /// Its window has begun.
    Begun,
    /// Its window has not ended.
    NotEnded,
    /// It opens reading.
    Mode,
    /// It is for this organization.
    Grantee,
    /// The custodian holds the terms, and they are those that the patient signed.
    TermsOpened,
    /// It is for this practitioner.
    Actor,
    /// It is for this purpose.
    Purpose,
    /// It opens this type of resource.
    ResourceType,
    /// It opens records about this time.
    DataPeriod,
    /// It opens every label that the record carries.
    Labels,
}

impl Rule {
    /// Every rule, in order.
    pub const ALL: [Self; 14] = [
        Self::OrganizationInGoodStanding,
        Self::PractitionerEnrolled,
        Self::GrantExists,
        Self::NotRevoked,
        Self::Begun,
        Self::NotEnded,
        Self::Mode,
        Self::Grantee,
        Self::TermsOpened,
        Self::Actor,
        Self::Purpose,
        Self::ResourceType,
        Self::DataPeriod,
        Self::Labels,
    ];

    /// Its name in the access log, whose lines stay for good: never changed.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// What a patient is told when it did not hold. docs/api/audit-event.md
    pub fn refused(self) -> &'static str {
        match self {
            Self::OrganizationInGoodStanding => "refused: the organization that asked is not in good standing",
            Self::PractitionerEnrolled => "refused: the practitioner is not enrolled by the organization that asked",
            Self::GrantExists => "refused: there is no such consent",
            Self::NotRevoked => "refused: the consent was revoked",
            Self::Begun => "refused: the consent is not in force yet",
            Self::NotEnded => "refused: the consent has ended",
            Self::Mode => "refused: the consent does not allow reading",
            Self::Grantee => "refused: the consent is for another organization",
            Self::TermsOpened => "refused: the terms that the patient signed are not known here",
            Self::Actor => "refused: the consent is for another practitioner",
            Self::Purpose => "refused: the consent does not allow this purpose",
            Self::ResourceType => "refused: the consent does not open this, or there is no such record",
            Self::DataPeriod => "refused: the consent does not open records about this time",
            Self::Labels => "refused: the consent does not open records with this security label",
        }
    }
}

/// Whether `ask` may read the record of which `facts` are known.
///
/// # Errors
/// The first rule that does not hold.
pub fn decide(candidate: &Candidate, ask: &Ask, facts: &Facts) -> Result<(), Rule> {
    decide_grant(candidate, ask)?;
    let terms = candidate.state.as_ref().and_then(|grant| opened(candidate, grant));
    let holds = |rule: fn(&Terms, &Facts) -> bool| terms.is_some_and(|terms| rule(terms, facts));
    first_broken(&[
        (Rule::ResourceType, holds(|terms, facts| terms.resource_types.contains(&facts.resource_type))),
        (Rule::DataPeriod, holds(is_within_data_period)),
        (Rule::Labels, holds(opens_labels)),
    ])
}

/// Whether the grant may open some record to `ask`.
///
/// # Errors
/// The first rule that does not hold whatever the record.
pub fn decide_grant(candidate: &Candidate, ask: &Ask) -> Result<(), Rule> {
    let grant = candidate.state.as_ref();
    let terms = grant.and_then(|grant| opened(candidate, grant));
    let stands = |standing: &Organization| {
        standing.suspended == SuspensionReason::Unspecified as i32 && ask.now < standing.expires_at
    };
    let is_for = |terms: &Terms| terms.practitioner.is_none_or(|only| only == ask.practitioner);
    first_broken(&[
        (Rule::OrganizationInGoodStanding, ask.standing.as_ref().is_some_and(stands)),
        (Rule::PractitionerEnrolled, ask.enrolment.as_ref().is_some_and(|enrolment| ask.now < enrolment.expires_at)),
        (Rule::GrantExists, grant.is_some()),
        (Rule::NotRevoked, grant.is_some_and(|grant| grant.revoked_at == 0)),
        (Rule::Begun, grant.is_some_and(|grant| ask.now >= grant.not_before)),
        (Rule::NotEnded, grant.is_some_and(|grant| ask.now < grant.expires_at)),
        (Rule::Mode, grant.is_some_and(|grant| grant.mode == ConsentMode::View as i32)),
        (Rule::Grantee, grant.is_some_and(|grant| grant.grantee == ask.organization.as_bytes())),
        (Rule::TermsOpened, terms.is_some()),
        (Rule::Actor, terms.is_some_and(is_for)),
        (Rule::Purpose, terms.is_some_and(|terms| terms.purposes.contains(&ask.purpose))),
    ])
}

fn first_broken(rules: &[(Rule, bool)]) -> Result<(), Rule> {
    match rules.iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((rule, _)) => Err(*rule),
    }
}

/// The terms, where they are those that the ledger's commitment is of and name its grantee.
fn opened<'a>(candidate: &'a Candidate, grant: &Grant) -> Option<&'a Terms> {
    let permit = candidate.permit.as_ref()?;
    let is_committed = permit.terms.commitment(&permit.salt).as_bytes().as_slice() == grant.terms;
    let names_grantee = permit.terms.organization.as_bytes().as_slice() == grant.grantee;
    (is_committed && names_grantee).then_some(&permit.terms)
}

/// A record is within the period when all that it is about is. One that does not say is outside.
fn is_within_data_period(terms: &Terms, facts: &Facts) -> bool {
    let Some(period) = terms.data_period else { return true };
    facts.about.is_some_and(|about| period.start <= about.start && about.end <= period.end)
}

fn opens_labels(terms: &Terms, facts: &Facts) -> bool {
    let is_open = |label: &String| OPEN_LABELS.contains(&label.as_str()) || terms.labels.contains(label);
    facts.labels.iter().all(is_open)
}

#[cfg(test)]
mod tests;
