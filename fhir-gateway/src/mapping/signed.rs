//! A patient's signed transaction in a `Provenance.signature`, and what it must say to agree with
//! the Consent beside it. The gateway can relay it or leave it; it cannot make or alter one.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_wire::{
    ids::{GrantId, SubjectId},
    message::Message,
    proto::consent::ConsentMode,
    transaction::Transaction,
};
use serde_json::Value;

use super::{
    consent::{self, Permit},
    element::Element,
};
use crate::{naming, outcome::Refusal};

/// A transaction that a Provenance carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed {
    /// `TxRaw`, as the patient's wallet made it.
    pub bytes: Vec<u8>,
    /// Its one message.
    pub message: Message,
}

/// Local references that a Provenance is about.
pub fn targets(provenance: &Value) -> Vec<&str> {
    let targets = Element::resource(provenance).get("target");
    targets.items().filter_map(|target| target.get("reference").text()).collect()
}

/// The consent transaction that a Provenance carries, if it carries one.
pub fn transaction(provenance: &Value) -> Result<Option<Signed>, Refusal> {
    let signatures = Element::resource(provenance).get("signature");
    let is_consent = |signature: &Element<'_>| {
        signature.get("type").items().any(|kind| kind.get("code").text() == Some(naming::CONSENT_SIGNATURE))
    };
    let Some(signature) = signatures.items().find(is_consent) else { return Ok(None) };
    let format = signature.get("sigFormat");
    if format.text() != Some(naming::TRANSACTION_MEDIA_TYPE) {
        return Err(format.refuse("must be application/vnd.careledger.tx"));
    }
    let data = signature.get("data");
    let bytes = STANDARD.decode(data.required()?).map_err(|_| data.refuse("is not base64"))?;
    let transaction = Transaction::decode(&bytes).map_err(|error| data.refuse(&error.to_string()))?;
    match transaction.messages() {
        [message] => Ok(Some(Signed { message: message.clone(), bytes })),
        _ => Err(data.refuse("must carry exactly one message")),
    }
}

/// Checks that `signed` grants exactly what the Consent says, on `subject`.
pub fn agrees(signed: &Signed, permit: &Permit, consent: &Value, subject: &SubjectId) -> Result<(), Refusal> {
    let Message::GrantConsent(message) = &signed.message else {
        return Err(Refusal::Rule("the signed transaction does not grant a consent".to_owned()));
    };
    let differences = [
        ("subject", message.subject == subject.as_bytes()),
        ("grant", message.grant == permit.grant.as_bytes()),
        ("grantee", message.grantee == permit.terms.organization.as_bytes()),
        ("mode", message.mode == ConsentMode::View as i32),
        ("not_before", message.not_before == permit.window.start),
        ("expires_at", message.expires_at == permit.window.end),
        ("terms", message.terms == permit.terms.commitment(&permit.salt).as_bytes()),
        ("body", message.body == consent::body_digest(&permit.salt, consent).as_bytes()),
        // A Consent has no element that allows it.
        ("delegable", !message.delegable),
    ];
    none_of(&differences)
}

/// Checks that `signed` amends the grant on `subject` to exactly what the Consent says now.
pub fn amends(signed: &Signed, permit: &Permit, consent: &Value, subject: &SubjectId) -> Result<(), Refusal> {
    let Message::AmendConsent(message) = &signed.message else {
        return Err(Refusal::Rule("the signed transaction does not amend a consent".to_owned()));
    };
    none_of(&[
        ("subject", message.subject == subject.as_bytes()),
        ("grant", message.grant == permit.grant.as_bytes()),
        ("mode", message.mode == ConsentMode::View as i32),
        ("not_before", message.not_before == permit.window.start),
        ("expires_at", message.expires_at == permit.window.end),
        ("terms", message.terms == permit.terms.commitment(&permit.salt).as_bytes()),
        ("body", message.body == consent::body_digest(&permit.salt, consent).as_bytes()),
        ("delegable", !message.delegable),
    ])
}

/// Refuses the first field in which transaction and Consent differ.
fn none_of(fields: &[(&str, bool)]) -> Result<(), Refusal> {
    match fields.iter().find(|(_, is_equal)| !is_equal) {
        None => Ok(()),
        Some((field, _)) => Err(Refusal::Rule(format!(
            "the signed transaction differs from the Consent in {field}; `careledger-gateway consent prepare` prints \
             what it must say"
        ))),
    }
}

/// Checks that `signed` revokes `grant` on `subject`.
pub fn revokes(signed: &Signed, grant: &GrantId, subject: &SubjectId) -> Result<(), Refusal> {
    match &signed.message {
        Message::RevokeConsent(message)
            if message.grant == grant.as_bytes() && message.subject == subject.as_bytes() =>
        {
            Ok(())
        }
        _ => Err(Refusal::Rule("the signed transaction does not revoke this Consent's grant".to_owned())),
    }
}
