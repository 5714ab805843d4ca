//! The custodian's side of an access request: taken only where the ledger holds the same request,
//! and kept as a Task of the patient.

use careledger_app::keys;
use careledger_wire::commitment;
use serde_json::Value;

use super::{answer::Asker, messages::AccessRequest};
use crate::{
    json::Document,
    mapping::task::Delivery,
    naming,
    organization::Organization,
    outcome::Refusal,
    records::{Change, Content},
    remote::lookup,
    validate,
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
    let patient = organization.records.patient_of(&delivery.subject).await?.ok_or(Refusal::NotFound)?;
    let identifier = [("identifier", format!("{}|{}", naming::REQUEST, delivered.request))];
    let known = lookup::matches(organization, "Task", &identifier, 1);
    if !known.await?.is_empty() {
        return Ok(());
    }
    // One request is one Task, however often it is delivered.
    let id = hex::encode(&commitment::hash("careledger/task-id/1", &[delivered.request.as_bytes()])[..16]);
    let task = kept(&delivery.task(&id, &patient, &asker.address, organization.ledger.now()))?;
    let change = Change::Create {
        resource_type: "Task".to_owned(),
        id,
        content: Content::Json(task.into()),
        patient: Some(patient),
    };
    match organization.records.commit(vec![change], Vec::new()).await {
        Ok(_) | Err(Refusal::VersionConflict) => Ok(()),
        Err(other) => Err(other),
    }
}

/// The bytes of a Task as they are kept. What another organization wrote into it passes the same
/// checks as what a client sends: everything that is kept is read again by strict parsers.
fn kept(task: &Value) -> Result<Vec<u8>, Refusal> {
    let bytes = task.to_string().into_bytes();
    let document = Document::parse(bytes.clone()).map_err(|_| Refusal::NotFound)?;
    validate::resource(&document).map_err(|_| Refusal::NotFound)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use careledger_wire::ids::{Address, RequestId, SubjectId};

    use super::*;

    fn delivery() -> Delivery {
        Delivery {
            request: RequestId::new([3; 32]),
            subject: SubjectId::new([5; 32]),
            practitioner: Address::new([2; 20]),
            display: Some("Dr. South".to_owned()),
            purpose: "TREAT".to_owned(),
            scope: BTreeSet::from(["Condition".to_owned()]),
            expires_at: 2_000_000_000,
            salt: "07".repeat(32),
        }
    }

    #[test]
    fn a_delivery_with_control_characters_is_never_stored() {
        type Change = fn(&mut Delivery);
        let cases: [(Change, bool); 5] = [
            (|_| {}, true),
            (|delivery| delivery.display = Some("\0".to_owned()), false),
            (|delivery| delivery.purpose = "TRE\0AT".to_owned(), false),
            (|delivery| delivery.scope = BTreeSet::from(["\0".to_owned()]), false),
            (|delivery| delivery.expires_at = i64::MIN, true),
        ];
        for (change, is_kept) in cases {
            let mut delivery = delivery();
            change(&mut delivery);
            let task = delivery.task("t", "p", &Address::new([1; 20]), 1_000_000);
            assert_eq!(kept(&task).is_ok(), is_kept, "{task}");
        }
    }
}
