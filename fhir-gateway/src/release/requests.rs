//! The custodian's side of an access request: taken only where the ledger holds the same request,
//! and kept as a Task of the patient.

use careledger_app::keys;
use careledger_wire::commitment;

use super::{answer::Asker, messages::AccessRequest};
use crate::{
    mapping::task::Delivery,
    naming,
    organization::Organization,
    outcome::Refusal,
    records::{Change, Content},
    remote::lookup,
};

/// Takes a delivered access request. Taking one twice is taking it once.
///
/// # Errors
/// [`Refusal::NotFound`] where the ledger does not hold exactly this request, or the subject is no
/// patient of this organization: which of these is not told.
pub async fn take(organization: &Organization, asker: &Asker, delivered: &AccessRequest) -> Result<(), Refusal> {
    let state = organization.ledger.get_proven(&keys::request(&delivered.request)).await?.value;
    let state = state.filter(|state| {
        state.requester == asker.address.as_bytes() && state.body == delivered.sealed.digest().as_bytes()
    });
    let state = state.ok_or(Refusal::NotFound)?;
    let opened = delivered.sealed.open_access_request(&organization.keys.encryption, &delivered.request);
    let delivery: Delivery = opened.map_err(|_| Refusal::NotFound)?;
    let salt = delivery.salt().ok_or(Refusal::NotFound)?;
    let is_the_ledgers = delivery.request == delivered.request
        && delivery.subject.as_bytes().as_slice() == state.subject
        && delivery.expires_at == state.expires_at
        && delivery.terms(&asker.address).commitment(&salt).as_bytes().as_slice() == state.terms;
    if !is_the_ledgers {
        return Err(Refusal::NotFound);
    }
    let patient = organization.records.patient_of(&delivery.subject)?.ok_or(Refusal::NotFound)?;
    let identifier = [("identifier", format!("{}|{}", naming::REQUEST, delivered.request))];
    let known = lookup::matches(organization, "Task", &identifier, 1);
    if !known.await?.is_empty() {
        return Ok(());
    }
    // One request is one Task, however often it is delivered.
    let id = hex::encode(&commitment::hash("careledger/task-id/1", &[delivered.request.as_bytes()])[..16]);
    let task = delivery.task(&id, &patient, &asker.address, organization.ledger.now());
    let change = Change::Create {
        resource_type: "Task".to_owned(),
        id,
        content: Content::Json(task.to_string().into_bytes()),
        patient: Some(patient),
    };
    match organization.records.commit(vec![change], Vec::new()).await {
        Ok(_) | Err(Refusal::VersionConflict) => Ok(()),
        Err(other) => Err(other),
    }
}
