//! A Coverage as an enrolment that the member can prove. docs/api/coverage.md is the page of this
//! profile.

use careledger_wire::{
    ids::{Address, FieldBytes},
    message::Message,
    proto::insurance::MsgAnchorEnrolment,
};
use careledger_zk::{
    date::Day,
    field::Element as FieldElement,
    opening::{Account, EnrolmentOpening},
};
use serde_json::Value;

use super::element::Element;
use crate::{naming, outcome::Refusal};

/// Code system of `Coverage.class.type` (FHIR R4).
const CLASS_TYPE: &str = "http://terminology.hl7.org/CodeSystem/coverage-class";

/// What a Coverage says of a member's enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The member as this insurer knows them in zero knowledge.
    pub member: FieldElement,
    /// Commitment of the plan that the member enrols in.
    pub plan: FieldBytes,
    /// First day of cover.
    pub start: Day,
    /// Last day of cover.
    pub end: Day,
}

/// The enrolment, where the Coverage carries a member commitment; others are kept like any other
/// resource.
pub fn enrolment(coverage: &Value) -> Result<Option<Enrolment>, Refusal> {
    let root = Element::resource(coverage);
    let Some(member) = root.extension(naming::MEMBER) else { return Ok(None) };
    let classes = root.get("class");
    let class = classes.items().find(|class| class.get("type").code(CLASS_TYPE) == Some("plan"));
    let class =
        class.ok_or_else(|| classes.refuse("needs a class of type plan whose value is the plan's commitment"))?;
    let period = root.get("period");
    let day = |name: &str| period.get(name).parse::<Day>("must be a day, YYYY-MM-DD");
    let (start, end) = (day("start")?, day("end")?);
    if end < start {
        return Err(period.refuse("ends before it starts"));
    }
    let member = member.get("valueString");
    let member_element =
        FieldElement::from_hex(member.required()?).map_err(|error| member.refuse(&error.to_string()))?;
    Ok(Some(Enrolment { member: member_element, plan: FieldBytes::new(class.get("value").bytes32()?), start, end }))
}

impl Enrolment {
    /// The opening that the insurer gives to the member.
    pub fn opening(&self, insurer: &Address, policy_id: FieldElement, salt: FieldElement) -> EnrolmentOpening {
        EnrolmentOpening {
            insurer: Account(*insurer.as_bytes()),
            member: self.member,
            policy_id,
            start: self.start,
            end: self.end,
            salt,
        }
    }
}

/// What the ledger is told of an opening.
pub fn message(opening: &EnrolmentOpening, insurer: &Address) -> Message {
    let commitment = opening.commitment().to_bytes().to_vec();
    MsgAnchorEnrolment { sender: insurer.to_string(), commitment }.into()
}
