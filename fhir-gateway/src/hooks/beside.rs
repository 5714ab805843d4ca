//! What the changes of one request say of one another, read once however many they are.

use std::collections::HashMap;

use careledger_wire::ids::Address;
use serde_json::Value;

use super::{Proposed, consent::grants};
use crate::{
    json::Document,
    mapping::{
        practitioner,
        signed::{self, Signed},
    },
    outcome::Refusal,
};

/// The Patients, Practitioners, grants and Provenances of one request.
#[derive(Debug, Default)]
pub struct Beside<'a> {
    patients: HashMap<&'a str, &'a Document>,
    /// Which account each Practitioner that is written has then, if any.
    practitioners: HashMap<&'a str, Option<Address>>,
    /// How many Consents name a grant.
    grants: HashMap<String, usize>,
    provenances: Vec<Value>,
    /// Which Provenance is the first about a resource.
    targets: HashMap<String, usize>,
}

impl<'a> Beside<'a> {
    /// Reads what `changes` say.
    pub fn of(changes: &'a [Proposed]) -> Self {
        let mut beside = Self::default();
        for Proposed { change, document, .. } in changes {
            if let ("Practitioner", id, _) = change.target() {
                // What cannot be read is refused where it is asked for.
                let account = document.as_ref().map(|document| practitioner::account(&document.to_value()));
                beside.practitioners.insert(id, account.and_then(Result::ok).flatten());
            }
        }
        for document in changes.iter().filter_map(|proposed| proposed.document.as_ref()) {
            match (document.resource_type(), document.id()) {
                (Some("Patient"), Some(id)) => {
                    beside.patients.entry(id).or_insert(document);
                }
                (Some("Consent"), _) => {
                    for grant in grants(&document.to_value()) {
                        *beside.grants.entry(grant.to_owned()).or_default() += 1;
                    }
                }
                (Some("Provenance"), _) => beside.add(document.to_value()),
                _ => {}
            }
        }
        beside
    }

    fn add(&mut self, provenance: Value) {
        let number = self.provenances.len();
        for target in signed::targets(&provenance) {
            self.targets.entry(target.to_owned()).or_insert(number);
        }
        self.provenances.push(provenance);
    }

    /// The Patient `id`, where the request writes it.
    pub fn patient(&self, id: &str) -> Option<&'a Document> {
        self.patients.get(id).copied()
    }

    /// Whether the request writes the Practitioner `id`.
    pub fn writes_practitioner(&self, id: &str) -> bool {
        self.practitioners.contains_key(id)
    }

    /// How many Practitioners of the request have an account.
    pub fn practitioners_with(&self, account: &Address) -> usize {
        self.practitioners.values().filter(|found| found.as_ref() == Some(account)).count()
    }

    /// How many Consents of the request name `grant`.
    pub fn consents_with(&self, grant: &str) -> usize {
        self.grants.get(grant).copied().unwrap_or_default()
    }

    /// The patient's transaction in a Provenance of the request whose target is `reference`.
    ///
    /// # Errors
    /// Where the Provenance carries one that cannot be read.
    pub fn signed(&self, reference: &str) -> Result<Option<Signed>, Refusal> {
        match self.targets.get(reference) {
            Some(number) => signed::transaction(&self.provenances[*number]),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Change, Content};

    fn proposed(text: &str) -> Proposed {
        let document = Document::parse(text.to_owned()).unwrap();
        let (resource_type, id) = (document.resource_type().unwrap().to_owned(), "x".to_owned());
        let change = Change::Create { resource_type, id, content: Content::Json(Default::default()), patient: None };
        Proposed { change, document: Some(document), entry: None }
    }

    #[test]
    fn changes_are_found_by_what_they_are_about() {
        let consent = |grant: &str| {
            let identifier = format!(r#"{{"system":"urn:careledger:grant","value":"{grant}"}}"#);
            proposed(&format!(r#"{{"resourceType":"Consent","identifier":[{identifier}]}}"#))
        };
        let broken = r#"{"resourceType":"Provenance","target":[{"reference":"Consent/a"},{"reference":"Consent/b"}],
            "signature":[{"type":[{"code":"1.2.840.10065.1.12.1.7"}],"sigFormat":"text/plain"}]}"#;
        let unsigned =
            r#"{"resourceType":"Provenance","target":[{"reference":"Consent/b"},{"reference":"Consent/c"}]}"#;
        let changes = [
            proposed(r#"{"resourceType":"Patient","id":"p"}"#),
            consent("05"),
            consent("05"),
            consent("06"),
            proposed(broken),
            proposed(unsigned),
        ];
        let beside = Beside::of(&changes);
        assert_eq!(beside.patient("p").and_then(|patient| patient.id()), Some("p"));
        assert!(beside.patient("q").is_none());
        assert_eq!(["05", "06", "07"].map(|grant| beside.consents_with(grant)), [2, 1, 0]);
        for (reference, expected) in
            [("Consent/a", None), ("Consent/b", None), ("Consent/c", Some(None)), ("d", Some(None))]
        {
            assert_eq!(beside.signed(reference).ok(), expected, "{reference}");
        }
    }
}
