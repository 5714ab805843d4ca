//! Facts that a provider attests, from a patient's Conditions. docs/api/eligibility.md says how
//! they are asked for.

use careledger_wire::{ids::Address, message::Message, proto::insurance::MsgAnchorAttestation};
use careledger_zk::{
    code::System,
    date::Day,
    field::Element as FieldElement,
    opening::{AttestationOpening, FACTS_MAX, Fact},
};
use serde_json::Value;

use super::element::Element;
use crate::outcome::Refusal;

/// How long an attestation can be used unless it says otherwise, in days.
pub const VALID_DAYS: u32 = 365;

/// One fact that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Local id of the Condition.
    pub condition: String,
    /// What it cost, in minor units.
    pub amount: u64,
}

/// What the body of `$attest` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The patient's pseudonym for this attestation alone.
    pub pseudonym: FieldElement,
    /// The facts, at most eight; every Condition of the patient where there are none.
    pub facts: Vec<Asked>,
    /// Last day on which it can be used, where the caller names one.
    pub expiry: Option<Day>,
}

/// Reads the Parameters of `$attest`.
pub fn ask(parameters: &Value) -> Result<Ask, Refusal> {
    let root = Element::resource(parameters);
    let all = root.get("parameter");
    let named = |name: &'static str| all.items().find(|item| item.get("name").text() == Some(name));
    let pid = named("pid").ok_or_else(|| all.refuse("needs the parameter pid"))?.get("valueString");
    let pseudonym = FieldElement::from_hex(pid.required()?).map_err(|error| pid.refuse(&error.to_string()))?;
    let mut facts = Vec::new();
    for fact in all.items().filter(|item| item.get("name").text() == Some("fact")) {
        facts.push(asked(&fact)?);
    }
    if facts.len() > FACTS_MAX {
        return Err(all.refuse("an attestation has at most 8 facts"));
    }
    let expiry =
        named("expiry").map(|expiry| expiry.get("valueDate").parse("must be a day, YYYY-MM-DD")).transpose()?;
    Ok(Ask { pseudonym, facts, expiry })
}

fn asked(fact: &Element<'_>) -> Result<Asked, Refusal> {
    let parts = fact.get("part");
    let part = |name: &'static str| parts.items().find(|item| item.get("name").text() == Some(name));
    let condition = part("condition").ok_or_else(|| parts.refuse("needs the part condition"))?.get("valueReference");
    let id = condition.local_id("Condition");
    let amount = part("amount").map_or(Ok(0), |amount| amount.get("valueUnsignedInt").number())?;
    Ok(Asked {
        condition: id.ok_or_else(|| condition.refuse("must be a Condition of this server"))?.to_owned(),
        amount,
    })
}

/// The fact that a Condition is; `event` names it among this provider's own for good. `None`
/// where it has no code that plans can speak about, or no day.
pub fn fact(condition: &Value, amount: u64, event: u64) -> Option<Fact> {
    let root = Element::resource(condition);
    let days = ["onsetDateTime", "recordedDate"].map(|name| root.get(name).text());
    let day: Day = days.into_iter().flatten().find_map(|text| text.get(..10).and_then(|day| day.parse().ok()))?;
    let code = root.get("code");
    System::ALL.into_iter().find_map(|system| {
        let value = code.code(system.uri())?;
        Fact::new(system.uri(), value, day, amount, event).ok()
    })
}

/// What the ledger is told of an opening.
pub fn message(opening: &AttestationOpening, provider: &Address) -> Result<Message, Refusal> {
    let commitment = opening.commitment().map_err(|error| Refusal::Rule(error.to_string()))?;
    let message = MsgAnchorAttestation { sender: provider.to_string(), commitment: commitment.to_bytes().to_vec() };
    Ok(message.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_is_a_fact_by_its_first_code_that_plans_know() {
        let condition = json!({
            "resourceType": "Condition",
            "code": {"coding": [
                {"system": "https://own.example", "code": "x"},
                {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "E11.9"},
            ]},
            "onsetDateTime": "2026-03-04T05:06:07-05:00",
        });
        let fact = fact(&condition, 12_300, 77).unwrap();
        assert_eq!(fact.code(), careledger_zk::code::encode("http://hl7.org/fhir/sid/icd-10-cm", "E11.9").unwrap());
        assert_eq!((fact.day().to_string().as_str(), fact.amount(), fact.event()), ("2026-03-04", 12_300, 77));
    }

    #[test]
    fn a_condition_without_code_or_day_is_no_fact() {
        let code = json!({"coding": [{"system": "http://snomed.info/sct", "code": "44054006"}]});
        let cases = [
            json!({"resourceType": "Condition", "code": code}),
            json!({"resourceType": "Condition", "onsetDateTime": "2026-03-04"}),
            json!({"resourceType": "Condition", "code": {"text": "flu"}, "onsetDateTime": "2026-03-04"}),
            json!({"resourceType": "Condition", "code": code, "onsetDateTime": "2026"}),
        ];
        for condition in cases {
            assert_eq!(fact(&condition, 0, 0), None);
        }
    }
}
