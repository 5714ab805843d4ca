//! A Practitioner's enrolment by its organization.

use careledger_wire::{
    commitment::{self, Salt},
    ids::Address,
    message::Message,
    proto::identity::{MsgEnrolPractitioner, PractitionerRole},
};
use serde_json::Value;

use super::{element::Element, period};
use crate::{naming, outcome::Refusal};

/// How long an enrolment lasts unless a qualification ends before: a year, in seconds.
const ENROLMENT_SECONDS: i64 = 365 * 86_400;
/// Code system of qualifications in FHIR's own examples (HL7 v2 table 0360).
const DEGREE: &str = "http://terminology.hl7.org/CodeSystem/v2-0360";
/// SNOMED CT, for occupations.
const SNOMED: &str = "http://snomed.info/sct";

/// The practitioner's account, where the Practitioner names one.
pub fn account(practitioner: &Value) -> Result<Option<Address>, Refusal> {
    let identifiers = Element::resource(practitioner).get("identifier");
    let account = identifiers.identifier(naming::ACCOUNT).map(str::parse).transpose();
    account.map_err(|_| identifiers.refuse("the account must be an address that starts with care1"))
}

/// Enrols `account` as staff of `organization`, from `now` (Unix seconds) for at most a year. The
/// qualification stays here; the ledger gets its salted commitment.
pub fn enrol(
    organization: &Address,
    account: &Address,
    practitioner: &Value,
    salt: &Salt,
    now: i64,
) -> Result<Message, Refusal> {
    let qualifications = Element::resource(practitioner).get("qualification");
    let mut expires_at = now + ENROLMENT_SECONDS;
    let mut role = None;
    for qualification in qualifications.items() {
        let until = period::period(&qualification.get("period"))?.end;
        if until > now {
            expires_at = expires_at.min(until);
            role = role.or_else(|| role_of(&qualification.get("code")));
        }
    }
    let role = role.unwrap_or(PractitionerRole::Physician);
    let committed = qualifications.value().to_string();
    let message = MsgEnrolPractitioner {
        sender: organization.to_string(),
        practitioner: account.to_vec(),
        role: role as i32,
        qualification: commitment::qualification(salt, committed.as_bytes()).to_vec(),
        expires_at,
        binding: None,
    };
    Ok(message.into())
}

fn role_of(code: &Element<'_>) -> Option<PractitionerRole> {
    let by_degree = match code.code(DEGREE) {
        Some("MD" | "DO" | "MBBS") => Some(PractitionerRole::Physician),
        Some("RN" | "CNP" | "APN" | "NP") => Some(PractitionerRole::Nurse),
        Some("PHARMD" | "RPH") => Some(PractitionerRole::Pharmacist),
        Some("MT") => Some(PractitionerRole::Laboratory),
        _ => None,
    };
    by_degree.or_else(|| match code.code(SNOMED) {
        Some("309343006") => Some(PractitionerRole::Physician),
        Some("106292003" | "224535009") => Some(PractitionerRole::Nurse),
        Some("46255001") => Some(PractitionerRole::Pharmacist),
        Some("159282002") => Some(PractitionerRole::Laboratory),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn enrolment(qualification: Value) -> MsgEnrolPractitioner {
        let practitioner = json!({"resourceType": "Practitioner", "qualification": qualification});
        let (organization, account) = (Address::new([1; 20]), Address::new([2; 20]));
        match enrol(&organization, &account, &practitioner, &[3; 32], 1_000).unwrap() {
            Message::EnrolPractitioner(message) => message,
            other => panic!("{}", other.type_url()),
        }
    }

    #[test]
    fn the_role_follows_the_qualification_that_is_in_force() {
        let degree = |code: &str| json!({"coding": [{"system": DEGREE, "code": code}]});
        let past = json!({"end": "1969"});
        let cases = [
            (json!([]), PractitionerRole::Physician),
            (json!([{"code": degree("RN")}]), PractitionerRole::Nurse),
            (json!([{"code": degree("PHARMD")}]), PractitionerRole::Pharmacist),
            (json!([{"code": degree("RN"), "period": past}, {"code": degree("MD")}]), PractitionerRole::Physician),
        ];
        for (qualification, role) in cases {
            assert_eq!(enrolment(qualification).role, role as i32);
        }
    }

    #[test]
    fn an_enrolment_ends_with_its_qualification_and_after_a_year_at_most() {
        let until = |end: &str| json!([{"code": {}, "period": {"end": end}}]);
        assert_eq!(enrolment(json!([])).expires_at, 1_000 + ENROLMENT_SECONDS);
        assert_eq!(enrolment(until("1970-01-31")).expires_at, 31 * 86_400);
        assert_eq!(enrolment(until("1990")).expires_at, 1_000 + ENROLMENT_SECONDS);
    }
}
