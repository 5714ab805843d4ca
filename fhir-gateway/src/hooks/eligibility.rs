//! A CoverageEligibilityRequest with a proof. docs/api/eligibility.md

use careledger_wire::commitment;
use serde_json::json;

use super::{Effects, Proposed};
use crate::{
    mapping::eligibility::{self, Verdict},
    organization::Organization,
    outcome::Refusal,
    records::{Change, Content},
};

/// What a proposed request asks for: the ledger's verdict and a CoverageEligibilityResponse. The
/// proof, the request and a favourable response are one transaction; where the ledger says that it
/// would refuse, request and response are kept without it.
pub async fn before(organization: &Organization, proposed: &Proposed, effects: &mut Effects) -> Result<(), Refusal> {
    let Change::Create { id, patient, .. } = &proposed.change else { return Ok(()) };
    let Some(document) = &proposed.document else { return Ok(()) };
    let request = document.to_value();
    let own = organization.address();
    let Some(claim) = eligibility::claim(&request, &own)? else { return Ok(()) };
    let messages = std::slice::from_ref(&claim.message);
    let verdict = match organization.ledger.rehearse(&organization.keys.signer, messages).await {
        Ok(()) => {
            effects.messages.push(claim.message.clone());
            Verdict::Eligible
        }
        Err(Refusal::Ledger { code, sentence }) => Verdict::Refused { code, sentence },
        Err(other) => return Err(other),
    };
    let response_id = response_id(id);
    let response = claim.response(&response_id, id, &request, &verdict, organization.ledger.now());
    effects.also.push(Change::Create {
        resource_type: "CoverageEligibilityResponse".to_owned(),
        id: response_id,
        content: Content::Json(json!(response).to_string().into()),
        patient: patient.clone(),
    });
    Ok(())
}

/// Id of the CoverageEligibilityResponse to the request `id`.
pub fn response_id(id: &str) -> String {
    let hash = commitment::hash("careledger/eligibility-response/1", &[id.as_bytes()]);
    hex::encode(&hash[..16])
}
