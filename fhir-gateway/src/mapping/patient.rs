//! The account that a Patient names: the key that the patient's wallet derived for this
//! organization.

use careledger_wire::{
    commitment,
    ids::{Address, SubjectId},
    message::Message,
    proto::identity::MsgOpenSubject,
};
use serde_json::Value;

use super::element::Element;
use crate::{naming, outcome::Refusal};

/// The patient's account for this organization, where the Patient names one.
pub fn claimant(patient: &Value) -> Result<Option<Address>, Refusal> {
    let identifiers = Element::resource(patient).get("identifier");
    let account = identifiers.identifier(naming::ACCOUNT).map(str::parse).transpose();
    account.map_err(|_| identifiers.refuse("the account must be an address that starts with care1"))
}

/// The subject that the patient is at `organization`.
pub fn subject(organization: &Address, claimant: &Address) -> SubjectId {
    commitment::subject_id(organization, claimant)
}

/// Opens the subject.
pub fn open_subject(organization: &Address, claimant: &Address) -> Message {
    MsgOpenSubject { sender: organization.to_string(), claimant: claimant.to_vec(), binding: None }.into()
}
