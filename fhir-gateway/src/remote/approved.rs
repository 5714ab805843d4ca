//! Access requests of this organization that patients approved, as the ledger says.

use careledger_app::keys;
use careledger_wire::{
    decision,
    ids::{Address, GrantId},
};

use super::lookup;
use crate::{
    hooks::task as request_task,
    mapping::{practitioner, task},
    naming,
    organization::Organization,
    outcome::Refusal,
    release::messages::Right,
};

/// Access requests of one patient, or in all, that are looked at.
const REQUESTS_MAX: u32 = 10_000;

/// An approved request: by which right what can be asked of whom, for which local Patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
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

/// The approved requests for the local Patient `patient`, in order of their grants.
pub async fn of_patient(organization: &Organization, patient: &str) -> Result<Vec<Approved>, Refusal> {
    collect(organization, Some(patient)).await
}

/// The approved request whose grant starts with these 16 hexadecimal digits.
pub async fn by_prefix(organization: &Organization, prefix: &str) -> Result<Option<Approved>, Refusal> {
    let all = collect(organization, None).await?;
    Ok(all.into_iter().find(|approved| approved.right.grant.to_string().starts_with(prefix)))
}

async fn collect(organization: &Organization, patient: Option<&str>) -> Result<Vec<Approved>, Refusal> {
    let code = format!("{}|{}", naming::TASK_CODE, naming::ACCESS_REQUEST);
    let mut criteria = vec![("code", code)];
    criteria.extend(patient.map(|id| ("patient", format!("Patient/{id}"))));
    let mut approved = Vec::new();
    for (id, resource) in lookup::matches(organization, "Task", &criteria, REQUESTS_MAX).await? {
        if !task::is_access_request(&resource) {
            continue;
        }
        // Requests of others, kept here as their custodian, name no local Practitioner.
        let Ok(request) = task::request(&resource) else { continue };
        approved.extend(answered(organization, &id, request).await?);
    }
    approved.sort_by_key(|approved| approved.right.grant);
    Ok(approved)
}

async fn answered(organization: &Organization, id: &str, request: task::Request) -> Result<Option<Approved>, Refusal> {
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
    Ok(Some(Approved { patient: request.patient, custodian: request.custodian, right, is_open }))
}
