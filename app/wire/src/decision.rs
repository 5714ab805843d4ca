//! Who may see what: a pure function of the ledger's state, the opened terms, the request and the
//! record. The ledger asks its parts that need no terms; gateways ask all of it.
//!
//! It explains itself: the trace names, for each ground that could have permitted, the first rule
//! that does not hold. The order of the grounds never matters: one that permits is enough, and of
//! several the first of [`Ground`]'s order is named.
//!
//! Absent on purpose: no rule denies what another ground permits, so nobody has to write a denial.

mod rules;

use std::collections::BTreeSet;

pub use self::rules::{
    OPEN_LABELS, broken_by_emergency, broken_by_grant, has_overdue_review, is_in_good_standing, out_of_force,
    out_of_power,
};
use self::rules::{guardian_rules, own};
use crate::{
    ids::{Address, EmergencyId, GrantId},
    proto::{
        consent::ConsentMode,
        state::{Emergency, EmergencyReviews, Grant, Guardianship, Organization, Practitioner},
    },
    terms::{Opened, Seconds},
};

/// A grant as the ledger and the custodian know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub grant: GrantId,
    /// The ledger's state, proven; `None` where there is no such grant.
    pub state: Option<Grant>,
    /// What opens its commitment; `None` where the custodian holds nothing that does.
    pub opened: Option<Opened>,
    /// The grant that it was delegated from, where it was.
    pub parent: Option<Parent>,
}

/// A grant that was delegated.
#[derive(Debug, Clone, PartialEq)]
pub struct Parent {
    /// Its id.
    pub grant: GrantId,
    /// The ledger's state, proven.
    pub state: Option<Grant>,
    /// What opens its commitment.
    pub opened: Option<Opened>,
    /// The ledger's state of its grantee, proven.
    pub standing: Option<Organization>,
}

/// What could permit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Grounds {
    /// Grants of the subject.
    pub grants: Vec<Candidate>,
    /// Emergencies of the subject, proven; `None` where there is no such emergency.
    pub emergencies: Vec<(EmergencyId, Option<Emergency>)>,
    /// The open reviews of the organization that asks, proven.
    pub reviews: EmergencyReviews,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Actor {
    /// A practitioner of an organization.
    Practitioner {
        /// The organization whose key signed the request.
        organization: Address,
        /// The ledger's state of that organization, proven.
        standing: Option<Organization>,
        /// The practitioner whom it names.
        practitioner: Address,
        /// The ledger's state of that enrolment, proven; it holds the role.
        enrolment: Option<Practitioner>,
    },
    /// The key of the subject's guardian.
    Guardian {
        /// The key's account.
        guardian: Address,
        /// The ledger's state of that guardianship, proven.
        guardianship: Option<Guardianship>,
    },
}

/// Who asks, for what, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Who.
    pub actor: Actor,
    /// Code of v3 ActReason.
    pub purpose: String,
    /// View or append.
    pub mode: ConsentMode,
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
    /// It opens what is asked: viewing, or appending.
    Mode,
    /// It is for this organization.
    Grantee,
    /// The custodian holds the terms, and they are those that were committed to.
    TermsOpened,
    /// It is for this practitioner.
    Actor,
    /// It is for practitioners of this qualification.
    Role,
    /// It is for this purpose.
    Purpose,
    /// It opens this type of resource.
    ResourceType,
    /// It opens records about this time.
    DataPeriod,
    /// It opens every label that the record carries.
    Labels,
    /// A guardian, or who was let in by one, sees no labelled record.
    GuardianSeesNoLabel,
    /// The grant that it was delegated from is known, and may be delegated.
    Delegable,
    /// The organization that delegated is in good standing.
    DelegatorInGoodStanding,
    /// The ledger knows the emergency.
    EmergencyExists,
    /// The organization is accredited for emergencies.
    EmergencyAccredited,
    /// No review of the organization's emergencies is overdue.
    ReviewsInTime,
    /// A review did not find the emergency unjustified.
    NotUnjustified,
    /// Both approved the guardianship.
    GuardianshipExists,
    /// The guardianship has not ended.
    GuardianshipNotEnded,
}

impl Rule {
    /// Every rule, in order.
    pub const ALL: [Self; 24] = [
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
        Self::Role,
        Self::Purpose,
        Self::ResourceType,
        Self::DataPeriod,
        Self::Labels,
        Self::GuardianSeesNoLabel,
        Self::Delegable,
        Self::DelegatorInGoodStanding,
        Self::EmergencyExists,
        Self::EmergencyAccredited,
        Self::ReviewsInTime,
        Self::NotUnjustified,
        Self::GuardianshipExists,
        Self::GuardianshipNotEnded,
    ];

    /// Its name in access logs, whose lines stay for good: never changed.
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
            Self::Role => "refused: the consent is for practitioners of another qualification",
            Self::Purpose => "refused: the consent does not allow this purpose",
            Self::ResourceType => "refused: the consent does not open this, or there is no such record",
            Self::DataPeriod => "refused: the consent does not open records about this time",
            Self::Labels => "refused: the consent does not open records with this security label",
            Self::GuardianSeesNoLabel => "refused: a guardian opens no labelled record",
            Self::Delegable => "refused: the consent may not be passed on",
            Self::DelegatorInGoodStanding => {
                "refused: the organization that passed the consent on is not in good standing"
            }
            Self::EmergencyExists => "refused: there is no such emergency",
            Self::EmergencyAccredited => "refused: the organization is not accredited for emergencies",
            Self::ReviewsInTime => "refused: the review of an earlier emergency is overdue",
            Self::NotUnjustified => "refused: the emergency was found unjustified",
            Self::GuardianshipExists => "refused: there is no such guardianship",
            Self::GuardianshipNotEnded => "refused: the guardianship has ended",
        }
    }
}

/// Something that could have permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// A grant.
    Grant(GrantId),
    /// An emergency.
    Emergency(EmergencyId),
    /// Being the subject's guardian.
    Guardianship(Address),
}

/// Whose rule it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// The ground's own.
    Own,
    /// That of the grant which it was delegated from.
    Parent,
}

/// A rule that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broken {
    /// Whose.
    pub link: Link,
    /// Which.
    pub rule: Rule,
}

/// One ground, and the first rule under it that does not hold; none where it permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The ground.
    pub ground: Ground,
    /// The rule.
    pub broken: Option<Broken>,
}

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// This ground permits; the trace ends with it.
    Permit {
        /// The ground.
        ground: Ground,
        /// What was looked at, in order.
        trace: Vec<Step>,
    },
    /// No ground does.
    Deny {
        /// Every ground, in order.
        trace: Vec<Step>,
    },
}

impl Decision {
    /// Whether it permits.
    pub fn is_permit(&self) -> bool {
        matches!(self, Self::Permit { .. })
    }

    /// Every ground that was looked at.
    pub fn trace(&self) -> &[Step] {
        match self {
            Self::Permit { trace, .. } | Self::Deny { trace } => trace,
        }
    }
}

/// Decides whether `request` may have the record of which `facts` are known.
pub fn decide(grounds: &Grounds, request: &Request, facts: &Facts) -> Decision {
    let mut steps: Vec<Step> = match &request.actor {
        Actor::Guardian { guardian, guardianship } => {
            let broken = guardian_rules(guardianship.as_ref(), request, facts).map(own);
            vec![Step { ground: Ground::Guardianship(*guardian), broken }]
        }
        Actor::Practitioner { .. } => {
            let grants = grounds.grants.iter().map(|candidate| Step {
                ground: Ground::Grant(candidate.grant),
                broken: broken_by_grant(candidate, request, Some(facts)),
            });
            let emergencies = grounds.emergencies.iter().map(|(id, emergency)| Step {
                ground: Ground::Emergency(*id),
                broken: broken_by_emergency(emergency.as_ref(), &grounds.reviews, request),
            });
            grants.chain(emergencies).collect()
        }
    };
    steps.sort_unstable();
    match steps.iter().position(|step| step.broken.is_none()) {
        Some(place) => {
            steps.truncate(place + 1);
            Decision::Permit { ground: steps[place].ground, trace: steps }
        }
        None => Decision::Deny { trace: steps },
    }
}

#[cfg(test)]
mod tests;
