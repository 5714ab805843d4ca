//! A patient's signed transaction in a `Provenance.signature`, and what it must say to agree with
//! the Consent beside it. The gateway can relay it or leave it; it cannot make or alter one.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_wire::{
    ids::{GrantId, SubjectId},
    message::Message,
    proto::consent::{ConsentMode, MsgGrantConsent},
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
    let said = MsgGrantConsent {
        sender: message.sender.clone(),
        subject: subject.to_vec(),
        grant: permit.grant.to_vec(),
        grantee: permit.terms.organization.to_vec(),
        mode: ConsentMode::View as i32,
        not_before: permit.window.start,
        expires_at: permit.window.end,
        terms: permit.terms.commitment(&permit.salt).to_vec(),
        body: consent::body_digest(&permit.salt, consent).to_vec(),
        request: message.request.clone(),
        delegable: false,
    };
    let differences = [
        ("subject", message.subject == said.subject),
        ("grant", message.grant == said.grant),
        ("grantee", message.grantee == said.grantee),
        ("mode", message.mode == said.mode),
        ("not_before", message.not_before == said.not_before),
        ("expires_at", message.expires_at == said.expires_at),
        ("terms", message.terms == said.terms),
        ("body", message.body == said.body),
        ("delegable", message.delegable == said.delegable),
    ];
    match differences.into_iter().find(|(_, is_equal)| !is_equal) {
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
