//! The access decision as the gateway asks it: who asks here is always another organization's
//! practitioner, and what is asked is always to view. The rules are the ledger's:
//! [`careledger_wire::decision`]. A request names one grant or emergency, and no other is looked at.

pub use careledger_wire::decision::{Facts, Parent, Rule};
use careledger_wire::{
    decision::{self, Actor, Request},
    ids::{Address, GrantId},
    proto::{
        consent::ConsentMode,
        state::{Emergency, EmergencyReviews, Grant, Organization, Practitioner},
    },
    terms::Opened,
};

use crate::mapping::consent::Permit;

/// A grant as the ledger and the custodian know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub grant: GrantId,
    /// The ledger's state, proven; `None` where there is no such grant.
    pub state: Option<Grant>,
    /// The Consent that opens the commitments; `None` where the custodian holds none.
    pub permit: Option<Permit>,
    /// What else the id can stand for.
    pub beyond: Beyond,
}

/// What a grant's id can stand for besides a grant that the patient gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Beyond {
    /// The grant that it was delegated from.
    pub parent: Option<Parent>,
    /// The emergency of this id, where there is no grant, proven.
    pub emergency: Option<Emergency>,
    /// The open reviews of the organization that asks, proven.
    pub reviews: EmergencyReviews,
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

/// Whether `ask` may read the record of which `facts` are known.
///
/// # Errors
/// The first rule that does not hold.
pub fn decide(candidate: &Candidate, ask: &Ask, facts: &Facts) -> Result<(), Rule> {
    first_broken(candidate, ask, Some(facts))
}

/// Whether the grant may open some record to `ask`.
///
/// # Errors
/// The first rule that does not hold whatever the record.
pub fn decide_grant(candidate: &Candidate, ask: &Ask) -> Result<(), Rule> {
    first_broken(candidate, ask, None)
}

fn first_broken(candidate: &Candidate, ask: &Ask, facts: Option<&Facts>) -> Result<(), Rule> {
    let Candidate { grant, state, permit, beyond } = candidate;
    let request = request(ask);
    let broken = if state.is_none() && beyond.emergency.is_some() {
        decision::broken_by_emergency(beyond.emergency.as_ref(), &beyond.reviews, &request)
    } else {
        let opened = permit.as_ref().map(opened);
        let known = decision::Candidate { grant: *grant, state: state.clone(), opened, parent: beyond.parent.clone() };
        decision::broken_by_grant(&known, &request, facts)
    };
    broken.map_or(Ok(()), |broken| Err(broken.rule))
}

/// What a Consent opens, as the decision takes it.
pub fn opened(permit: &Permit) -> Opened {
    Opened { terms: permit.terms.clone(), salt: permit.salt }
}

fn request(ask: &Ask) -> Request {
    let actor = Actor::Practitioner {
        organization: ask.organization,
        standing: ask.standing.clone(),
        practitioner: ask.practitioner,
        enrolment: ask.enrolment.clone(),
    };
    Request { actor, purpose: ask.purpose.clone(), mode: ConsentMode::View, now: ask.now }
}

#[cfg(test)]
mod tests;
