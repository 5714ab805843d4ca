//! A Practitioner with an account is enrolled on the ledger. docs/api/practitioner.md

use careledger_wire::commitment;

use super::{Effects, Proposed};
use crate::{mapping::practitioner, organization::Organization, outcome::Refusal, records::Change};

/// What a proposed Practitioner asks for. Putting it again renews the enrolment.
pub fn before(organization: &Organization, proposed: &Proposed, effects: &mut Effects) -> Result<(), Refusal> {
    let (Change::Create { id, .. } | Change::Update { id, .. }) = &proposed.change else { return Ok(()) };
    let Some(document) = &proposed.document else { return Ok(()) };
    let resource = document.to_value();
    let Some(account) = practitioner::account(&resource)? else { return Ok(()) };
    // The salt can be made again from the record and a key that only this organization has.
    let record = organization.keys.record_id("Practitioner", id);
    let secret = organization.keys.record_ids.derive("careledger/qualification-salt/1");
    let salt = commitment::hash("careledger/qualification-salt/1", &[secret.as_bytes(), record.as_bytes()]);
    let now = organization.ledger.now();
    effects.messages.push(practitioner::enrol(&organization.address(), &account, &resource, &salt, now)?);
    Ok(())
}
