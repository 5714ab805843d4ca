//! Access requests of this organization that patients approved, as the ledger says.

use careledger_app::keys;
use careledger_wire::{
    decision,
    ids::{Address, GrantId},
};
use serde_json::Value;

use super::{lookup, names::Name};
use crate::{
    hooks::task as request_task,
    mapping::{practitioner, task},
    naming,
    organization::Organization,
    outcome::Refusal,
    release::messages::Right,
};

/// Access requests of one patient that are looked at.
const REQUESTS_MAX: u32 = 10_000;

/// An approved request: by which right what can be asked of whom, for which local Patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// What it is called in the ids of what it opens.
    pub name: Name,
    /// Local id of the Patient whom the request was for.
    pub patient: String,
    /// Who holds the records.
    pub custodian: Address,
    /// What to show them.
    pub right: Right,
    /// Whether the ledger says that the grant is in its window and not revoked.
    pub is_open: bool,
}

impl Approved {
    /// Whether it was this practitioner who asked; anybody, if none is named.
    pub fn is_by(&self, practitioner: Option<&Address>) -> bool {
        practitioner.is_none_or(|practitioner| *practitioner == self.right.practitioner)
    }
}

/// The approved requests for the local Patient `patient`, in order of their grants. Their names lead
/// back to them from now on.
pub async fn of_patient(organization: &Organization, patient: &str) -> Result<Vec<Approved>, Refusal> {
    let code = format!("{}|{}", naming::TASK_CODE, naming::ACCESS_REQUEST);
    let criteria = [("code", code), ("patient", format!("Patient/{patient}"))];
    let mut approved = Vec::new();
    for (id, resource) in lookup::matches(organization, "Task", &criteria, REQUESTS_MAX).await? {
        let Some(found) = of_task(organization, &id, &resource).await? else { continue };
        organization.network.names().give(&id).await?;
        approved.push(found);
    }
    approved.sort_by_key(|approved| approved.right.grant);
    Ok(approved)
}

/// The approved request of that name. What it costs does not depend on how many there are.
pub async fn by_name(organization: &Organization, name: &Name) -> Result<Option<Approved>, Refusal> {
    let Some(id) = organization.network.names().task(name).await? else { return Ok(None) };
    match lookup::current(organization, "Task", &id).await? {
        Some((_, resource)) => of_task(organization, &id, &resource).await,
        None => Ok(None),
    }
}

/// The request in a Task, where it is one and was approved.
async fn of_task(organization: &Organization, id: &str, resource: &Value) -> Result<Option<Approved>, Refusal> {
    if !task::is_access_request(resource) {
        return Ok(None);
    }
    // Requests of others, kept here as their custodian, name no local Practitioner.
    let Ok(request) = task::request(resource) else { return Ok(None) };
    let (request_id, _) = request_task::identity(organization, id);
    let state = organization.ledger.get_proven(&keys::request(&request_id)).await?.value;
    let grant = state.and_then(|state| GrantId::try_from(state.grant.as_slice()).ok());
    let Some(grant) = grant else { return Ok(None) };
    // A Practitioner who is gone, or names no account any more, asks for nothing; the other
    // approvals of the patient stand.
    let requester = match request_task::requester(organization, &request.requester).await {
        Ok(requester) => requester,
        Err(Refusal::Invalid { .. }) => return Ok(None),
        Err(other) => return Err(other),
    };
    let Ok(Some(practitioner)) = practitioner::account(&requester) else { return Ok(None) };
    let state = organization.ledger.get_proven(&keys::consent(&request.subject, &grant)).await?.value;
    let now = organization.ledger.now();
    let is_open = state.is_some_and(|state| decision::out_of_force(&state, now).is_none());
    let right = Right { grant, subject: request.subject, purpose: request.purpose, practitioner };
    let name = organization.network.names().of(id);
    Ok(Some(Approved { name, patient: request.patient, custodian: request.custodian, right, is_open }))
}
