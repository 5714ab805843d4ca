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

/// What a message says of the grant that it makes or changes.
struct Said<'a> {
    subject: &'a [u8],
    grant: &'a [u8],
    mode: i32,
    not_before: i64,
    expires_at: i64,
    terms: &'a [u8],
    body: &'a [u8],
    delegable: bool,
}

/// Checks that `signed` grants exactly what the Consent says, on `subject`: given by the patient, or
/// delegated by a grantee.
pub fn agrees(signed: &Signed, permit: &Permit, consent: &Value, subject: &SubjectId) -> Result<(), Refusal> {
    let (said, grantee) = match &signed.message {
        Message::GrantConsent(message) => (
            Said {
                subject: &message.subject,
                grant: &message.grant,
                mode: message.mode,
                not_before: message.not_before,
                expires_at: message.expires_at,
                terms: &message.terms,
                body: &message.body,
                delegable: message.delegable,
            },
            &message.grantee,
        ),
        Message::DelegateConsent(message) => (
            Said {
                subject: &message.subject,
                grant: &message.grant,
                mode: message.mode,
                not_before: message.not_before,
                expires_at: message.expires_at,
                terms: &message.terms,
                body: &message.body,
                delegable: false,
            },
            &message.grantee,
        ),
        _ => return Err(Refusal::Rule("the signed transaction does not grant a consent".to_owned())),
    };
    if grantee != permit.terms.organization.as_bytes() {
        return Err(differs("grantee"));
    }
    same(&said, permit, consent, subject)
}

/// Checks that `signed` amends the grant on `subject` to exactly what the Consent says now.
pub fn amends(signed: &Signed, permit: &Permit, consent: &Value, subject: &SubjectId) -> Result<(), Refusal> {
    let Message::AmendConsent(message) = &signed.message else {
        return Err(Refusal::Rule("the signed transaction does not amend a consent".to_owned()));
    };
    let said = Said {
        subject: &message.subject,
        grant: &message.grant,
        mode: message.mode,
        not_before: message.not_before,
        expires_at: message.expires_at,
        terms: &message.terms,
        body: &message.body,
        delegable: message.delegable,
    };
    same(&said, permit, consent, subject)
}

/// Refuses the first field in which message and Consent differ.
fn same(said: &Said<'_>, permit: &Permit, consent: &Value, subject: &SubjectId) -> Result<(), Refusal> {
    let fields = [
        ("subject", said.subject == subject.as_bytes()),
        ("grant", said.grant == permit.grant.as_bytes()),
        ("mode", said.mode == ConsentMode::View as i32),
        ("not_before", said.not_before == permit.window.start),
        ("expires_at", said.expires_at == permit.window.end),
        ("terms", said.terms == permit.terms.commitment(&permit.salt).as_bytes()),
        ("body", said.body == consent::body_digest(&permit.salt, consent).as_bytes()),
        ("delegable", said.delegable == permit.delegable),
    ];
    fields.iter().find(|(_, is_equal)| !is_equal).map_or(Ok(()), |(field, _)| Err(differs(field)))
}

fn differs(field: &str) -> Refusal {
    Refusal::Rule(format!(
        "the signed transaction differs from the Consent in {field}; `careledger-gateway consent prepare` prints what it \
         must say"
    ))
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
