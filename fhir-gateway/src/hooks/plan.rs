//! An InsurancePlan with intervals is published on the ledger. docs/api/insurance-plan.md

use careledger_app::keys;
use careledger_wire::ids::FieldBytes;
use careledger_zk::plan::Plan;
use serde_json::Value;

use super::{Effects, Proposed};
use crate::{
    mapping::{element::Element, plan},
    naming,
    organization::Organization,
    outcome::Refusal,
    records::Content,
};

/// What a proposed InsurancePlan asks for; one without intervals is kept like any other resource.
pub async fn before(organization: &Organization, proposed: &Proposed, effects: &mut Effects) -> Result<(), Refusal> {
    let Some(document) = &proposed.document else { return Ok(()) };
    let resource = document.to_value();
    let products = Element::resource(&resource).get("plan");
    if !products.items().any(|product| product.extension(naming::PLAN_INTERVAL).is_some()) {
        return Ok(());
    }
    let insurer = organization.address();
    let plan = plan::plan(&resource, &insurer)?;
    let commitment = FieldBytes::new(plan.commitment().to_bytes());
    if organization.ledger.get(&keys::plan(&commitment)).await?.is_none() {
        effects.messages.push(plan::message(&plan, plan::policy(&resource)?, &insurer, document.bytes()));
    }
    Ok(())
}

/// `InsurancePlan/{id}/$plan`: the plan that the resource publishes, as proofs name it.
pub async fn published(organization: &Organization, id: &str) -> Result<Plan, Refusal> {
    let Content::Json(bytes) = organization.records.read("InsurancePlan", id).await?.content else {
        return Err(Refusal::NotFound);
    };
    let resource: Value =
        serde_json::from_slice(&bytes).map_err(|_| Refusal::Internal("an InsurancePlan does not parse"))?;
    plan::plan(&resource, &organization.address())
}
