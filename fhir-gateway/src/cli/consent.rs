//! `careledger-gateway consent prepare`: what the patient's signed transaction must say for a
//! Consent. It needs no keys and talks to nobody.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    keys,
    mapping::consent::{self, Permit},
    naming,
    outcome::Refusal,
};

/// Works with a FHIR Consent on the patient's own machine.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Prints what the patient's signed transaction must say for a Consent.
    ///
    /// Where the Consent has no salt or no grant yet, random ones are added; `--out` is then the
    /// Consent to post.
    ///
    /// Example, with what it prints in the places of SUBJECT to BODY:
    ///   careledger-gateway consent prepare --consent consent.json --out consent-to-post.json
    ///   careledgerd tx grant-consent --from alice --derive care1hospital… --subject SUBJECT \
    ///       --grant GRANT --grantee GRANTEE --mode view --not-before NOT_BEFORE \
    ///       --expires-at EXPIRES_AT --terms TERMS --body BODY \
    ///       --offline --chain-id careledger-1 --account-number 7 --sequence 0
    /// The subject is what `GET Patient/{id}/$subject` gives.
    #[command(verbatim_doc_comment)]
    Prepare(Prepare),
}

/// Files of `consent prepare`.
#[derive(Debug, clap::Args)]
pub struct Prepare {
    /// The Consent, FHIR R4 JSON, with status active.
    #[arg(long, value_name = "FILE")]
    consent: PathBuf,
    /// Where to write the Consent to post, with its salt and its grant.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Why nothing was prepared.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What happened.
        reason: String,
    },
    /// The Consent cannot be granted.
    #[error("the Consent cannot be granted: {0}")]
    Consent(#[from] Refusal),
    /// The Consent lacks what only `--out` can add.
    #[error("the Consent has no salt or no grant: name a file with --out to write it with both")]
    NeedsOut,
}

impl Command {
    /// Runs the command; the result is printed as JSON.
    pub fn run(self) -> Result<Value, ConsentError> {
        match self {
            Self::Prepare(prepare) => prepare.run(),
        }
    }
}

impl Prepare {
    fn run(self) -> Result<Value, ConsentError> {
        let failed = |path: &PathBuf, reason: String| ConsentError::File { path: path.display().to_string(), reason };
        let bytes = fs::read(&self.consent).map_err(|error| failed(&self.consent, error.to_string()))?;
        let given: Value = serde_json::from_slice(&bytes).map_err(|error| failed(&self.consent, error.to_string()))?;
        let completed = complete(&given);
        if completed != given && self.out.is_none() {
            return Err(ConsentError::NeedsOut);
        }
        let permit = consent::permit(&completed)?;
        if let Some(out) = &self.out {
            let text = serde_json::to_string_pretty(&completed).map_err(|error| failed(out, error.to_string()))?;
            fs::write(out, text).map_err(|error| failed(out, error.to_string()))?;
        }
        Ok(prepared(&completed, &permit))
    }
}

/// What the transaction must say.
pub fn prepared(consent: &Value, permit: &Permit) -> Value {
    json!({
        "salt": hex::encode(permit.salt),
        "grant": permit.grant,
        "grantee": permit.terms.organization,
        "mode": "view",
        "not_before": permit.window.start,
        "expires_at": permit.window.end,
        "terms": permit.terms.commitment(&permit.salt),
        "body": consent::body_digest(&permit.salt, consent),
        "delegable": permit.delegable,
    })
}

/// The Consent with a random salt and a random grant where it has none.
pub fn complete(consent: &Value) -> Value {
    let mut completed = consent.clone();
    let has = |list: &str, key: &str, name: &str| {
        let items = consent.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        items.iter().any(|item| item.get(key).and_then(Value::as_str) == Some(name))
    };
    let random = || hex::encode(keys::random::<32>());
    if !has("extension", "url", naming::SALT) {
        push(&mut completed, "extension", json!({"url": naming::SALT, "valueString": random()}));
    }
    if !has("identifier", "system", naming::GRANT) {
        push(&mut completed, "identifier", json!({"system": naming::GRANT, "value": random()}));
    }
    completed
}

fn push(resource: &mut Value, list: &str, item: Value) {
    match resource.get_mut(list).and_then(Value::as_array_mut) {
        Some(items) => items.push(item),
        None => resource[list] = json!([item]),
    }
}

#[cfg(test)]
mod tests {
    use careledger_wire::ids::Address;

    use super::*;

    fn consent() -> Value {
        let account = json!({"system": naming::ACCOUNT, "value": Address::new([1; 20])});
        json!({
            "resourceType": "Consent",
            "status": "active",
            "patient": {"reference": "Patient/p"},
            "provision": {
                "type": "permit",
                "period": {"start": "2026-01-01", "end": "2026-12-31"},
                "actor": [{"reference": {"type": "Organization", "identifier": account}}],
                "purpose": [{"system": naming::ACT_REASON, "code": "TREAT"}],
                "class": [{"system": naming::RESOURCE_TYPES, "code": "DocumentReference"}],
            },
        })
    }

    #[test]
    fn a_consent_is_completed_once_and_prepared_the_same_every_time() {
        let completed = complete(&consent());
        assert_eq!(complete(&completed), completed);
        assert_ne!(complete(&consent()), completed, "salt and grant are random");
        let folder = tempfile::tempdir().unwrap();
        let (given, out) = (folder.path().join("given.json"), folder.path().join("out.json"));
        fs::write(&given, consent().to_string()).unwrap();
        let first = Prepare { consent: given.clone(), out: Some(out.clone()) }.run().unwrap();
        let again = Prepare { consent: out, out: None }.run().unwrap();
        assert_eq!(first, again);
        assert!(matches!(Prepare { consent: given, out: None }.run(), Err(ConsentError::NeedsOut)));
    }
}
