//! A Patient with an account opens a subject on the ledger. docs/api/patient.md

use careledger_app::keys;
use careledger_wire::ids::SubjectId;
use serde_json::Value;

use super::{Effects, Proposed, beside::Beside, names_account};
use crate::{
    mapping::patient,
    organization::Organization,
    outcome::Refusal,
    records::{Change, Content},
};

/// What a proposed Patient asks for.
pub async fn before(organization: &Organization, proposed: &Proposed, effects: &mut Effects) -> Result<(), Refusal> {
    let (Change::Create { id, .. } | Change::Update { id, .. }) = &proposed.change else { return Ok(()) };
    let Some(document) = proposed.document.as_ref().filter(|document| names_account(document)) else { return Ok(()) };
    let Some(claimant) = patient::claimant(&document.to_value())? else { return Ok(()) };
    let own = organization.address();
    let subject = patient::subject(&own, &claimant);
    let linked = organization.records.subject_of(id).await?;
    if let Some(linked) = linked.filter(|linked| *linked != subject)
        && is_bound(organization, id, &linked).await?
    {
        return Err(Refusal::Rule("the patient's account cannot be changed: consents were given with it".to_owned()));
    }
    let holder = organization.records.patient_of(&subject).await?;
    if let Some(holder) = holder.filter(|holder| holder != id)
        && is_bound(organization, &holder, &subject).await?
    {
        return Err(Refusal::Rule("another Patient of this server has that account".to_owned()));
    }
    if organization.ledger.get(&keys::subject(&subject)).await?.is_none() {
        effects.messages.push(patient::open_subject(&own, &claimant));
    }
    // Before the commit, so that no crash can lose it. What never came to be binds nobody.
    organization.records.link_subject(id, &subject).await
}

/// Whether a link holds: a request that was refused after it was linked leaves one behind, for a
/// Patient or a subject that never came to be. While the ledger may still commit the Patient, that
/// is not known, and nobody else gets the account.
async fn is_bound(organization: &Organization, patient: &str, subject: &SubjectId) -> Result<bool, Refusal> {
    // First the Patient: what is found out about its last write may be that it opened the subject.
    let exists = organization.records.settled("Patient", patient).await?.is_some();
    Ok(exists && organization.ledger.get(&keys::subject(subject)).await?.is_some())
}

/// The subject of the Patient `id`, who may be in the same request.
pub async fn subject_of(organization: &Organization, id: &str, beside: &Beside<'_>) -> Result<SubjectId, Refusal> {
    let without_account = || Refusal::Rule("the Patient names no account, so nobody can sign for it".to_owned());
    let patient: Value = match beside.patient(id) {
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
