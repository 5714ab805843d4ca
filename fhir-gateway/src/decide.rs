//! The access decision as the gateway asks it: who asks here is always another organization's
//! practitioner, and what is asked is always to view. The rules are the ledger's:
//! [`careledger_wire::decision`].

pub use careledger_wire::decision::{Facts, Parent, Rule};
use careledger_wire::{
    decision::{self, Actor, Broken, Ground, Grounds, Request},
    ids::{Address, EmergencyId, GrantId},
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

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// This grant, or the emergency of this id, opens the record.
    Permit(GrantId),
    /// None does. For each one, in order of their ids, the first rule that does not hold.
    Deny(Vec<(GrantId, Rule)>),
}

impl Decision {
    /// Whether the record is opened.
    pub fn is_permit(&self) -> bool {
        matches!(self, Self::Permit(_))
    }
}

/// Decides whether `ask` may read the record of which `facts` are known.
pub fn decide(candidates: &[Candidate], ask: &Ask, facts: &Facts) -> Decision {
    match decision::decide(&grounds(candidates), &request(ask), facts) {
        decision::Decision::Permit { ground, .. } => Decision::Permit(id(&ground)),
        decision::Decision::Deny { trace } => {
            let broken = trace.iter().filter_map(|step| step.broken.map(|broken| (id(&step.ground), broken.rule)));
            Decision::Deny(broken.collect())
        }
    }
}

/// The first rule that does not hold whatever the record; `None` where the grant may open some.
pub fn first_broken_by_grant(candidate: &Candidate, ask: &Ask) -> Option<Rule> {
    let grounds = grounds(std::slice::from_ref(candidate));
    let request = request(ask);
    let of_grant = |grant| decision::broken_by_grant(grant, &request, None);
    let broken: Option<Broken> = match grounds.grants.first() {
        Some(grant) => of_grant(grant),
        None => decision::broken_by_emergency(candidate.beyond.emergency.as_ref(), &grounds.reviews, &request),
    };
    broken.map(|broken| broken.rule)
}

fn grounds(candidates: &[Candidate]) -> Grounds {
    let mut grounds = Grounds::default();
    for candidate in candidates {
        let Candidate { grant, state, permit, beyond } = candidate;
        if let (None, Some(emergency)) = (state, &beyond.emergency) {
            grounds.emergencies.push((EmergencyId::new(*grant.as_bytes()), Some(emergency.clone())));
            grounds.reviews = beyond.reviews.clone();
            continue;
        }
        grounds.grants.push(decision::Candidate {
            grant: *grant,
            state: state.clone(),
            opened: permit.as_ref().map(opened),
            parent: beyond.parent.clone(),
        });
    }
    grounds
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

/// A grant and an emergency are asked for by the same 32 bytes.
fn id(ground: &Ground) -> GrantId {
    match ground {
        Ground::Grant(grant) => *grant,
        Ground::Emergency(emergency) => GrantId::new(*emergency.as_bytes()),
        Ground::Guardianship(_) => unreachable!("no guardian asks a gateway as an organization"),
    }
}

#[cfg(test)]
mod tests;
