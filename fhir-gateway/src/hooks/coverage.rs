//! A Coverage with a member commitment enrols the member on the ledger. docs/api/coverage.md

use careledger_app::keys::{self, TreeId};
use careledger_wire::{commitment, ids::FieldBytes};
use careledger_zk::{field::Element as FieldElement, opening::EnrolmentOpening};
use serde_json::Value;

use super::{Effects, Proposed};
use crate::{
    mapping::coverage,
    organization::Organization,
    outcome::Refusal,
    records::{Change, Content},
};

/// What a proposed Coverage asks for.
pub async fn before(organization: &Organization, proposed: &Proposed, effects: &mut Effects) -> Result<(), Refusal> {
    let (Change::Create { id, .. } | Change::Update { id, .. }) = &proposed.change else { return Ok(()) };
    let Some(document) = &proposed.document else { return Ok(()) };
    let Some(opening) = opening_of(organization, id, &document.to_value()).await? else { return Ok(()) };
    let insurer = organization.address();
    let leaf = FieldBytes::new(opening.commitment().to_bytes());
    if organization.ledger.get(&TreeId::Enrolments(insurer).leaf(&leaf)).await?.is_none() {
        effects.messages.push(coverage::message(&opening, &insurer));
    }
    Ok(())
}

/// `Coverage/{id}/$opening`: what the insurer gives to the member, so that the member can prove.
pub async fn opening(organization: &Organization, id: &str) -> Result<EnrolmentOpening, Refusal> {
    let Content::Json(bytes) = organization.records.read("Coverage", id).await?.content else {
        return Err(Refusal::NotFound);
    };
    let coverage: Value = serde_json::from_slice(&bytes).map_err(|_| Refusal::Internal("a Coverage does not parse"))?;
    let opening = opening_of(organization, id, &coverage).await?;
    opening.ok_or_else(|| {
        Refusal::Rule("the Coverage carries no member commitment, so there is nothing to open".to_owned())
    })
}

async fn opening_of(
    organization: &Organization,
    id: &str,
    coverage: &Value,
) -> Result<Option<EnrolmentOpening>, Refusal> {
    let Some(enrolment) = coverage::enrolment(coverage)? else { return Ok(None) };
    let insurer = organization.address();
    let plan = organization.ledger.get(&keys::plan(&enrolment.plan)).await?;
    let plan = plan.filter(|plan| plan.insurer == insurer.as_bytes());
    let plan = plan.ok_or_else(|| Refusal::invalid("Coverage.class", "names no plan that this insurer published"))?;
    let policy: [u8; 32] =
        plan.policy_id.as_slice().try_into().map_err(|_| Refusal::Internal("a policy id has a wrong length"))?;
    let policy = FieldElement::from_bytes(&policy).map_err(|_| Refusal::Internal("a policy id is not canonical"))?;
    Ok(Some(enrolment.opening(&insurer, policy, salt(organization, id))))
}

/// Random to everybody else, and made again from the record and a key that only this organization
/// has. The top byte is cleared: 248 bits are always a field element.
fn salt(organization: &Organization, id: &str) -> FieldElement {
    let purpose = "careledger/enrolment-salt/1";
    let secret = organization.keys.record_ids.derive(purpose);
    let record = organization.keys.record_id("Coverage", id);
    let mut bytes = commitment::hash(purpose, &[secret.as_bytes(), record.as_bytes()]);
    bytes[0] = 0;
    FieldElement::from_bytes(&bytes).expect("248 bits are below the modulus")
}
