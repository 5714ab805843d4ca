//! An InsurancePlan as a plan of the eligibility statement. docs/api/insurance-plan.md is the page
//! of this profile.

use careledger_app::insurance;
use careledger_wire::{
    ids::{Address, Digest},
    message::Message,
};
use careledger_zk::{
    binding,
    code::{self, System},
    plan::{self, CLASS_COVERED, CLASS_EXCLUDED, CLASS_NEUTRAL, Interval, Plan, Terms},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::element::Element;
use crate::{naming, outcome::Refusal};

/// Oldest age that a plan can name, in days.
const OLDEST_AGE_DAYS: u64 = 150 * 366;

/// Reads the plan that an InsurancePlan publishes.
pub fn plan(resource: &Value, insurer: &Address) -> Result<Plan, Refusal> {
    let root = Element::resource(resource);
    let policy = policy(resource)?;
    let product = root.get("plan").items().next().ok_or_else(|| root.get("plan").refuse("is required"))?;
    let plan = Plan {
        policy_id: binding::policy_id_of(insurer.as_bytes(), &policy),
        scope: binding::scope_of(insurer.as_bytes()),
        intervals: intervals(&product)?,
        terms: terms(&product)?,
    };
    plan.check_partition().map_err(|error| product.refuse(&error.to_string()))?;
    Ok(plan)
}

/// SHA-256 of the policy's name, `system|value` of its identifier. The ledger and [`plan`] derive
/// the policy's identifier from it and the insurer.
pub fn policy(resource: &Value) -> Result<[u8; 32], Refusal> {
    let root = Element::resource(resource);
    let identifier = root.get("identifier").items().next();
    let identifier = identifier.ok_or_else(|| root.get("identifier").refuse("is required: it names the policy"))?;
    let system = identifier.get("system").text().unwrap_or_default();
    let name = format!("{system}|{}", identifier.get("value").required()?);
    Ok(Sha256::digest(name).into())
}

/// What the ledger is told. `bytes` are those of the InsurancePlan, the contract's text.
pub fn message(plan: &Plan, policy: [u8; 32], insurer: &Address, bytes: &[u8]) -> Message {
    let contract = Digest::new(Sha256::digest(bytes).into());
    insurance::publish_plan(insurer, plan, &Digest::new(policy), &contract).into()
}

/// The plan's intervals, sorted, with neutral ones in between.
fn intervals(product: &Element<'_>) -> Result<Vec<Interval>, Refusal> {
    let extensions = product.get("extension");
    let mut decided = Vec::new();
    for extension in extensions.items().filter(|item| item.get("url").text() == Some(naming::PLAN_INTERVAL)) {
        decided.push(interval(&extension)?);
    }
    if decided.is_empty() {
        return Err(extensions.refuse("needs at least one urn:careledger:extension:plan-interval"));
    }
    decided.sort_by_key(|interval| interval.lo);
    let mut all = Vec::with_capacity(2 * decided.len() + 1);
    let mut next = Some(0);
    for interval in decided {
        let Some(first) = next.filter(|first| *first <= interval.lo) else {
            return Err(extensions.refuse("two intervals overlap"));
        };
        if first < interval.lo {
            all.push(neutral(first, interval.lo - 1));
        }
        next = interval.hi.checked_add(1);
        all.push(interval);
    }
    all.extend(next.map(|first| neutral(first, u64::MAX)));
    if all.len() > plan::INTERVALS_MAX {
        return Err(extensions.refuse("has too many intervals: 256 with the neutral ones in between"));
    }
    Ok(all)
}

fn neutral(lo: u64, hi: u64) -> Interval {
    Interval { lo, hi, class: CLASS_NEUTRAL, wait_days: 0, cap: 0 }
}

fn interval(extension: &Element<'_>) -> Result<Interval, Refusal> {
    let class = part(extension, "class")?;
    let class = match class.get("valueCode").text() {
        Some("covered") => CLASS_COVERED,
        Some("excluded") => CLASS_EXCLUDED,
        _ => return Err(class.get("valueCode").refuse("must be covered or excluded")),
    };
    let (lo, hi) = codes(extension)?.into_inner();
    let (wait_days, cap) = if class == CLASS_COVERED {
        (part(extension, "wait-days")?.get("valueUnsignedInt").number()?, cap(extension)?)
    } else {
        (0, 0)
    };
    let wait_days = u32::try_from(wait_days).map_err(|_| extension.refuse("the wait is too long"))?;
    Ok(Interval { lo, hi, class, wait_days, cap })
}

/// Minor units: a decimal whose last two digits they are would be ambiguous between currencies.
fn cap(extension: &Element<'_>) -> Result<u64, Refusal> {
    part(extension, "cap")?.get("valueUnsignedInt").number()
}

/// `system` alone is all of it; with `prefix` everything under the prefix; with `low` and `high`
/// all numbers between the two codes.
fn codes(extension: &Element<'_>) -> Result<std::ops::RangeInclusive<u64>, Refusal> {
    let system = part(extension, "system")?.get("valueUri");
    let uri = system.required()?;
    let known = System::from_uri(uri).map_err(|error| system.refuse(&error.to_string()))?;
    if let Ok(prefix) = part(extension, "prefix") {
        let prefix = prefix.get("valueCode");
        return code::prefix_range(uri, prefix.required()?).map_err(|error| prefix.refuse(&error.to_string()));
    }
    let Ok(low) = part(extension, "low") else { return Ok(known.range()) };
    let end = |element: Element<'_>| {
        let element = element.get("valueCode");
        code::prefix_range(uri, element.required()?).map_err(|error| element.refuse(&error.to_string()))
    };
    let range = *end(low)?.start()..=*end(part(extension, "high")?)?.end();
    if range.is_empty() { Err(extension.refuse("high is before low")) } else { Ok(range) }
}

fn part<'a>(extension: &Element<'a>, name: &str) -> Result<Element<'a>, Refusal> {
    let found = extension.extension(name);
    found.ok_or_else(|| extension.refuse(&format!("needs the extension {name}")))
}

fn terms(product: &Element<'_>) -> Result<Terms, Refusal> {
    let extension = product.extension(naming::PLAN_TERMS);
    let extension =
        extension.ok_or_else(|| product.refuse("needs the extension urn:careledger:extension:plan-terms"))?;
    let number = |name: &str| part(&extension, name)?.get("valueUnsignedInt").number();
    let or = |name: &str, otherwise: u64| match part(&extension, name) {
        Ok(found) => found.get("valueUnsignedInt").number(),
        Err(_) => Ok(otherwise),
    };
    let too_large = || extension.refuse("has a number that is too large");
    let days = |days: u64| u32::try_from(days).map_err(|_| too_large());
    Ok(Terms {
        claims_per_period: u16::try_from(number("claims-per-period")?).map_err(|_| too_large())?,
        period_days: days(number("period-days")?)?,
        claim_within_days: days(number("claim-within-days")?)?,
        age_days_min: days(or("age-days-min", 0)?)?,
        age_days_max: days(or("age-days-max", OLDEST_AGE_DAYS)?)?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub fn resource(intervals: &[Value]) -> Value {
        let terms = json!({"url": naming::PLAN_TERMS, "extension": [
            {"url": "claims-per-period", "valueUnsignedInt": 2},
            {"url": "period-days", "valueUnsignedInt": 365},
            {"url": "claim-within-days", "valueUnsignedInt": 90},
        ]});
        let mut extensions = vec![terms];
        extensions.extend(intervals.iter().map(|parts| json!({"url": naming::PLAN_INTERVAL, "extension": parts})));
        json!({
            "resourceType": "InsurancePlan",
            "identifier": [{"system": "https://insurer.example/policies", "value": "gold"}],
            "plan": [{"extension": extensions}],
        })
    }

    pub fn icd(prefix: &str, class: &str) -> Value {
        json!([
            {"url": "system", "valueUri": System::Icd10Cm.uri()},
            {"url": "prefix", "valueCode": prefix},
            {"url": "class", "valueCode": class},
            {"url": "wait-days", "valueUnsignedInt": 30},
            {"url": "cap", "valueUnsignedInt": 500_000},
        ])
    }

    #[test]
    fn intervals_partition_the_code_space() {
        let insurer = Address::new([4; 20]);
        let plan = plan(&resource(&[icd("F", "excluded"), icd("E11", "covered")]), &insurer).unwrap();
        let classes: Vec<u32> = plan.intervals.iter().map(|interval| interval.class).collect();
        assert_eq!(classes, [CLASS_NEUTRAL, CLASS_COVERED, CLASS_NEUTRAL, CLASS_EXCLUDED, CLASS_NEUTRAL]);
        let covered = code::encode(System::Icd10Cm.uri(), "E11.9").unwrap();
        assert_eq!(plan.find(covered).unwrap().1.cap, 500_000);
        assert_eq!(plan.scope, binding::scope_of(insurer.as_bytes()));
    }

    /// docs/circuits/eligibility.md works through this plan.
    #[test]
    fn the_plan_of_the_worked_example_has_its_commitment() {
        let golden: Value = serde_json::from_str(include_str!("../../../zk/golden/plan.json")).unwrap();
        let resource = resource(&[icd("F", "excluded"), icd("E11", "covered")]);
        let plan = plan(&resource, &Address::new([4; 20])).unwrap();
        assert_eq!(plan.commitment().to_string(), golden["commitment"]);
    }

    #[test]
    fn a_plan_that_does_not_hold_together_is_refused() {
        let mut no_terms = resource(&[icd("E11", "covered")]);
        no_terms["plan"][0]["extension"].as_array_mut().unwrap().remove(0);
        let mut no_identifier = resource(&[icd("E11", "covered")]);
        no_identifier["identifier"] = json!([]);
        let cases = [
            resource(&[]),
            resource(&[icd("E11", "covered"), icd("E", "excluded")]),
            resource(&[icd("E11.65", "covered")]),
            resource(&[icd("E11", "perhaps")]),
            resource(&[json!([{"url": "system", "valueUri": "https://codes.example"}])]),
            no_terms,
            no_identifier,
        ];
        for (number, resource) in cases.iter().enumerate() {
            assert!(matches!(plan(resource, &Address::new([4; 20])), Err(Refusal::Invalid { .. })), "case {number}");
        }
    }
}
