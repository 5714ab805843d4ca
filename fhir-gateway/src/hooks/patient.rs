//! A Patient with an account opens a subject on the ledger. docs/api/patient.md

use careledger_app::keys;
use careledger_wire::ids::SubjectId;
use serde_json::Value;

use super::{Effects, Proposed};
use crate::{
    mapping::patient,
    organization::Organization,
    outcome::Refusal,
    records::{Change, Content},
};

/// What a proposed Patient asks for.
pub async fn before(organization: &Organization, proposed: &Proposed, effects: &mut Effects) -> Result<(), Refusal> {
    let (Change::Create { id, .. } | Change::Update { id, .. }) = &proposed.change else { return Ok(()) };
    let Some(document) = &proposed.document else { return Ok(()) };
    let Some(claimant) = patient::claimant(&document.to_value())? else { return Ok(()) };
    let own = organization.address();
    let subject = patient::subject(&own, &claimant);
    let linked = organization.records.subject_of(id)?;
    if linked.is_some_and(|linked| linked != subject) {
        return Err(Refusal::Rule("the patient's account cannot be changed: consents were given with it".to_owned()));
    }
    let holder = organization.records.patient_of(&subject)?;
    if holder.is_some_and(|holder| holder != *id) {
        return Err(Refusal::Rule("another Patient of this server has that account".to_owned()));
    }
    if organization.ledger.get(&keys::subject(&subject)).await?.is_none() {
        effects.messages.push(patient::open_subject(&own, &claimant));
    }
    // Before the commit, so that no crash can lose it. A link to a subject that was never opened
    // opens nothing.
    organization.records.link_subject(id, &subject).await
}

/// The subject of the Patient `id`, who may be in the same request.
pub async fn subject_of(organization: &Organization, id: &str, all: &[Proposed]) -> Result<SubjectId, Refusal> {
    let without_account = || Refusal::Rule("the Patient names no account, so nobody can sign for it".to_owned());
    let proposed = all.iter().find(|proposed| {
        let document = proposed.document.as_ref();
        document.is_some_and(|document| document.resource_type() == Some("Patient") && document.id() == Some(id))
    });
    let patient: Value = match proposed.and_then(|proposed| proposed.document.as_ref()) {
        Some(document) => document.to_value(),
        None => match organization.records.read("Patient", id).await?.content {
            Content::Json(bytes) => {
                serde_json::from_slice(&bytes).map_err(|_| Refusal::Internal("a Patient does not parse"))?
            }
            Content::Raw { .. } | Content::Deleted => return Err(without_account()),
        },
    };
    let claimant = patient::claimant(&patient)?.ok_or_else(without_account)?;
    Ok(patient::subject(&organization.address(), &claimant))
}
