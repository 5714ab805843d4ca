//! `Patient/{id}/$attest`: a provider attests facts about its own patient. docs/api/eligibility.md

use careledger_wire::{commitment, ids::Address};
use careledger_zk::{
    date::Day,
    field::Element as FieldElement,
    opening::{Account, AttestationOpening, FACTS_MAX, Fact},
};
use serde_json::Value;

use crate::{
    keys,
    mapping::{
        attestation::{self, Ask},
        element::Element,
    },
    organization::Organization,
    outcome::Refusal,
    records::Content,
    remote::lookup,
};

/// Anchors the attestation and gives its opening, which the provider hands to the patient and does
/// not keep: a lost one is attested again under a fresh pseudonym.
pub async fn attest(organization: &Organization, id: &str, parameters: &Value) -> Result<AttestationOpening, Refusal> {
    let ask = attestation::ask(parameters)?;
    let patient = resource(organization, "Patient", id).await?;
    let birth = Element::resource(&patient).get("birthDate");
    let birth: Day = birth.parse("must be a whole day for an attestation")?;
    let (facts, complete) = facts(organization, id, &ask).await?;
    let now = u64::try_from(organization.ledger.now()).map_err(|_| Refusal::Internal("the clock is before 1970"))?;
    let out_of_range = |_| Refusal::Internal("the clock is out of range");
    let issued = Day::from_unix_seconds(now).map_err(out_of_range)?;
    let until = Day::from_number(issued.number() + attestation::VALID_DAYS).map_err(out_of_range)?;
    let provider: Address = organization.address();
    let opening = AttestationOpening {
        issuer: Account(*provider.as_bytes()),
        pseudonym: ask.pseudonym,
        facts,
        complete,
        birth,
        issued,
        expiry: ask.expiry.unwrap_or(until),
        salt: random_element(),
    };
    let message = attestation::message(&opening, &provider)?;
    organization.ledger.submit(&organization.keys.signer, vec![message]).await?;
    Ok(opening)
}

/// The facts that were asked for; every Condition where none was. The list is complete only where
/// every Condition that plans can speak about is on it.
async fn facts(organization: &Organization, patient: &str, ask: &Ask) -> Result<(Vec<Fact>, bool), Refusal> {
    let all = lookup::of_patient(organization, "Condition", patient).await?;
    let amount_of = |id: &str| ask.facts.iter().find(|fact| fact.condition == id).map_or(0, |fact| fact.amount);
    let mut known = Vec::new();
    for (id, condition) in &all {
        if let Some(fact) = attestation::fact(condition, amount_of(id), event(organization, id)) {
            known.push((id, fact));
        }
    }
    if ask.facts.is_empty() {
        let complete = known.len() <= FACTS_MAX;
        // The newest are the ones that a claim is about.
        known.sort_by_key(|(_, fact)| std::cmp::Reverse(fact.day()));
        return Ok((known.into_iter().take(FACTS_MAX).map(|(_, fact)| fact).collect(), complete));
    }
    let total = known.len();
    let mut chosen = Vec::with_capacity(ask.facts.len());
    for (at, asked) in ask.facts.iter().enumerate() {
        if ask.facts[..at].iter().any(|earlier| earlier.condition == asked.condition) {
            // Twice would count what happened once twice, and make the list look complete.
            return Err(Refusal::invalid(
                "Parameters.parameter.part.valueReference",
                "names the same Condition as another fact",
            ));
        }
        let found = known.iter().find(|(id, _)| **id == asked.condition);
        let found = found.ok_or_else(|| {
            Refusal::invalid(
                "Parameters.parameter.part.valueReference",
                "names no Condition of this Patient with a day and a code that plans can speak about",
            )
        })?;
        chosen.push(found.1.clone());
    }
    let complete = chosen.len() == total;
    Ok((chosen, complete))
}

/// The number of an event among this provider's own: a corrected Condition keeps it.
fn event(organization: &Organization, condition: &str) -> u64 {
    let purpose = "careledger/event/1";
    let secret = organization.keys.record_ids.derive(purpose);
    let record = organization.keys.record_id("Condition", condition);
    let hash = commitment::hash(purpose, &[secret.as_bytes(), record.as_bytes()]);
    u64::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
}

async fn resource(organization: &Organization, resource_type: &str, id: &str) -> Result<Value, Refusal> {
    let Content::Json(bytes) = organization.records.read(resource_type, id).await?.content else {
        return Err(Refusal::NotFound);
    };
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Internal("a resource does not parse"))
}

/// 248 random bits, which are always a field element.
fn random_element() -> FieldElement {
    let mut bytes: [u8; 32] = keys::random();
    bytes[0] = 0;
    FieldElement::from_bytes(&bytes).expect("248 bits are below the modulus")
}
