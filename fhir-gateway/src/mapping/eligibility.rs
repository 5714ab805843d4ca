//! A proof in a CoverageEligibilityRequest, and the answer. docs/api/eligibility.md is the page of
//! this profile.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_app::insurance::{Bound, prove_eligibility};
use careledger_wire::{
    ids::{Address, ClaimId},
    message::Message,
};
use careledger_zk::document::ProofDocument;
use serde_json::{Value, json};

use super::{element::Element, period, task::timestamp};
use crate::{naming, outcome::Refusal};

/// Longest proof document in bytes. One has about 1,200.
const PROOF_DOCUMENT_BYTES_MAX: usize = 16 * 1024;

/// A proof that waits to be checked by the ledger.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The insurer whom it is for.
    pub insurer: Address,
    /// The insurer's id of the claim.
    pub claim: ClaimId,
    /// The proof and what it is about.
    pub document: ProofDocument,
    /// What the ledger is told.
    pub message: Message,
}

/// The claim, where the request carries a proof; others are kept like any other resource. `own`
/// submits it, which the proof must be bound to, and is the insurer where the request names no
/// account.
pub fn claim(request: &Value, own: &Address) -> Result<Option<Claim>, Refusal> {
    let root = Element::resource(request);
    let Some(extension) = root.extension(naming::ELIGIBILITY_PROOF) else { return Ok(None) };
    let expires = extension.extension("expires");
    let expires = expires.ok_or_else(|| extension.refuse("needs the extension expires"))?.get("valueInstant");
    let expires_at = period::seconds(expires.required()?).ok_or_else(|| expires.refuse("is not an instant"))?.start;
    let proof = extension.extension("proof");
    let proof = proof.ok_or_else(|| extension.refuse("needs the extension proof"))?.get("valueBase64Binary");
    let document = document(&proof)?;
    let insurer = root.get("insurer").get("identifier");
    let insurer = match insurer.identifier_value(naming::ACCOUNT) {
        Some(account) => account.parse().map_err(|_| insurer.refuse("is not an account's address"))?,
        None => *own,
    };
    let identifiers = root.get("identifier");
    let claim = identifiers.identifier(naming::CLAIM);
    let claim = claim.ok_or_else(|| identifiers.refuse("needs the claim: system urn:careledger:claim"))?;
    let claim = claim.parse().map_err(|_| identifiers.refuse("a claim has 64 hexadecimal digits"))?;
    let bound = Bound { submitter: *own, insurer, claim, expires_at };
    let message = prove_eligibility(&document, &bound).map_err(|error| proof.refuse(&error.to_string()))?.into();
    Ok(Some(Claim { insurer, claim, document, message }))
}

fn document(proof: &Element<'_>) -> Result<ProofDocument, Refusal> {
    let text = proof.required()?;
    if text.len() > PROOF_DOCUMENT_BYTES_MAX {
        return Err(proof.refuse("is too long for a proof"));
    }
    let not_a_proof = || proof.refuse("is not the base64 of a proof's JSON");
    let bytes = STANDARD.decode(text).map_err(|_| not_a_proof())?;
    serde_json::from_slice(&bytes).map_err(|_| not_a_proof())
}

impl Claim {
    /// The CoverageEligibilityResponse `id` to the request `request_id`, made at `now` (Unix
    /// seconds): eligible, or why not.
    pub fn response(&self, id: &str, request_id: &str, request: &Value, verdict: &Verdict, now: i64) -> Value {
        let mut response = json!({
            "resourceType": "CoverageEligibilityResponse",
            "id": id,
            "identifier": [{"system": naming::CLAIM, "value": self.claim}],
            "status": "active",
            "purpose": ["validation"],
            "patient": request.get("patient").cloned().unwrap_or_else(|| json!({"display": "not told"})),
            "created": timestamp(now),
            "request": {"reference": format!("CoverageEligibilityRequest/{request_id}")},
            "insurer": {"type": "Organization", "identifier": {"system": naming::ACCOUNT, "value": self.insurer}},
        });
        match verdict {
            Verdict::Eligible => {
                let coverage = request.pointer("/insurance/0/coverage").cloned();
                response["outcome"] = json!("complete");
                response["disposition"] = json!("Eligible: the ledger verified the proof.");
                response["insurance"] = json!([{
                    "coverage": coverage.unwrap_or_else(|| json!({"display": "proven in zero knowledge"})),
                    "inforce": true,
                }]);
                response["extension"] = json!([{
                    "url": naming::AMOUNT_COMMITMENT,
                    "valueString": self.document.inputs.amount_commit,
                }]);
            }
            Verdict::Refused { code, sentence } => {
                response["outcome"] = json!("error");
                response["disposition"] = json!(format!("Not eligible: {sentence}."));
                response["error"] = json!([{"code": {
                    "coding": [{"system": naming::REJECT_CODE, "code": code.to_string()}],
                    "text": sentence,
                }}]);
            }
        }
        response
    }
}

/// What the ledger says to a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It verified the proof.
    Eligible,
    /// It refused.
    Refused {
        /// Reject code.
        code: u32,
        /// The code's sentence.
        sentence: String,
    },
}
