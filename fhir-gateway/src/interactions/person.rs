//! Who is in front of an app: docs/api/auth.md
//!
//! A token's `user/` scopes are about a practitioner of this organization. Whether somebody is one is not the
//! issuer's word but the ledger's, by the first rules of every decision about a record.

use careledger_app::keys;
use careledger_wire::ids::{Address, GrantId};

use crate::{
    auth::{Caller, Person, scopes::Level},
    decide::{Ask, Beyond, Candidate, Rule, decide_grant},
    hooks::task::requester,
    index::extract::local_reference,
    mapping::practitioner,
    organization::Organization,
    outcome::Refusal,
};

/// The caller, with the practitioner whom the token names where this organization has enrolled one.
///
/// # Errors
/// Faults of this server, and of the ledger.
pub async fn admitted(organization: &Organization, caller: Caller) -> Result<Caller, Refusal> {
    let Some(Person::Named(reference)) = &caller.person else { return Ok(caller) };
    if !caller.scopes.has_level(Level::User) {
        return Ok(caller);
    }
    match enrolled(organization, reference).await? {
        Some(account) => Ok(Caller { person: Some(Person::Enrolled(account)), ..caller }),
        None => Ok(caller),
    }
}

/// The account of the Practitioner that a token names, where it is enrolled now.
async fn enrolled(organization: &Organization, reference: &str) -> Result<Option<Address>, Refusal> {
    let Some(("Practitioner", id)) = local_reference(reference, &organization.base_url) else { return Ok(None) };
    let resource = match requester(organization, id).await {
        Ok(resource) => resource,
        Err(Refusal::Invalid { .. }) => return Ok(None),
        Err(other) => return Err(other),
    };
    let Ok(Some(account)) = practitioner::account(&resource) else { return Ok(None) };
    let (ledger, own) = (&organization.ledger, organization.address());
    let ask = Ask {
        organization: own,
        standing: ledger.get_proven(&keys::organization(&own)).await?.value,
        practitioner: account,
        enrolment: ledger.get_proven(&keys::practitioner(&own, &account)).await?.value,
        purpose: String::new(),
        now: ledger.now(),
    };
    // About no grant at all: what is broken before it is asked for is about who asks.
    let none = Candidate { grant: GrantId::new([0; 32]), state: None, permit: None, beyond: Beyond::default() };
    let is_enrolled = decide_grant(&none, &ask) == Err(Rule::GrantExists);
    Ok(is_enrolled.then_some(account))
}
