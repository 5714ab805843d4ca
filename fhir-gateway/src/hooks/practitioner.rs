//! A Practitioner with an account is enrolled on the ledger. docs/api/practitioner.md
//!
//! An account is one Practitioner's of this server: whoever acts by `user/` scopes is a Practitioner, and is on the
//! ledger by its account.

use std::collections::BTreeSet;

use careledger_wire::{commitment, ids::Address};

use super::{Effects, Proposed, beside::Beside, task::requester};
use crate::{
    mapping::practitioner, naming, organization::Organization, outcome::Refusal, records::Change, resources::resource,
    search::Query,
};

/// Practitioners that are looked at for the sake of an account. More than one has it only where they were stored
/// before that was refused.
const HOLDERS_MAX: u32 = 64;

/// What a proposed Practitioner asks for. Putting it again renews the enrolment.
pub async fn before(
    organization: &Organization,
    proposed: &Proposed,
    beside: &Beside<'_>,
    effects: &mut Effects,
) -> Result<(), Refusal> {
    let (Change::Create { id, .. } | Change::Update { id, .. }) = &proposed.change else { return Ok(()) };
    let Some(document) = &proposed.document else { return Ok(()) };
    let resource = document.to_value();
    let Some(account) = practitioner::account(&resource)? else { return Ok(()) };
    if beside.practitioners_with(&account) > 1 || is_taken(organization, id, &account, beside).await? {
        let problem = "another Practitioner of this server has that account; an account is one practitioner's";
        return Err(Refusal::Rule(problem.to_owned()));
    }
    // The salt can be made again from the record and a key that only this organization has.
    let record = organization.keys.record_id("Practitioner", id);
    let secret = organization.keys.record_ids.derive("careledger/qualification-salt/1");
    let salt = commitment::hash("careledger/qualification-salt/1", &[secret.as_bytes(), record.as_bytes()]);
    let now = organization.ledger.now();
    effects.messages.push(practitioner::enrol(&organization.address(), &account, &resource, &salt, now)?);
    // Before the commit, so that no crash can lose it. What never came to be has no account.
    organization.records.link_practitioner(id, &account).await
}

/// Whether an account is another Practitioner's than `id`. The caller holds the account against other requests.
///
/// # Errors
/// [`Refusal::LedgerUnavailable`] while the ledger may still commit that it is.
async fn is_taken(
    organization: &Organization,
    id: &str,
    account: &Address,
    beside: &Beside<'_>,
) -> Result<bool, Refusal> {
    let mut holders = named(organization, account).await?;
    // The index does not have what the ledger may still commit.
    holders.extend(organization.records.practitioner_of(account).await?);
    holders.remove(id);
    // What the same request makes of it was looked at.
    for holder in holders.iter().filter(|holder| !beside.writes_practitioner(holder)) {
        let exists = organization.records.settled("Practitioner", holder).await?.is_some();
        if exists && has(organization, holder, account).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The Practitioners that name an account, as the index has it.
async fn named(organization: &Organization, account: &Address) -> Result<BTreeSet<String>, Refusal> {
    let kind = resource("Practitioner").ok_or(Refusal::Internal("Practitioner is not kept"))?;
    let mut query = Query::all(kind);
    query.require("identifier", &format!("{}|{account}", naming::ACCOUNT), &organization.base_url)?;
    let hits = organization.index.run(move |index| index.matches(&query, HOLDERS_MAX)).await?;
    Ok(hits.into_iter().map(|hit| hit.id).collect())
}

/// Whether a Practitioner has an account now.
async fn has(organization: &Organization, id: &str, account: &Address) -> Result<bool, Refusal> {
    match requester(organization, id).await {
        Ok(resource) => Ok(practitioner::account(&resource).is_ok_and(|found| found == Some(*account))),
        // Deleted, or lost: nobody is that any more.
        Err(Refusal::Invalid { .. } | Refusal::Lost(_)) => Ok(false),
        Err(other) => Err(other),
    }
}
