//! What the vault knows about one version besides its body. It names a patient, so it is sealed;
//! only ids that are keyed hashes stand in clear text.

use careledger_wire::{
    commitment::{self, Salt},
    ids::{Commitment, Digest, RecordId, SubjectId},
};
use serde::{Deserialize, Serialize};

use super::{Content, Listed, Stored};
use crate::{
    envelope::{Document, ValueKey},
    outcome::Refusal,
};

/// The description of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub resource_type: String,
    pub id: String,
    kind: Kind,
    pub patient: Option<String>,
    pub subject: Option<SubjectId>,
    #[serde(with = "salt_text")]
    pub salt: Salt,
    pub address: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Json,
    Raw { content_type: String },
    Deleted,
}

/// What a new version is about.
pub(super) struct About {
    pub resource_type: String,
    pub id: String,
    pub patient: Option<String>,
    pub subject: Option<SubjectId>,
}

impl Entry {
    pub fn new(about: About, content: &Content, salt: Salt, address: Digest) -> Self {
        let kind = match content {
            Content::Json(_) => Kind::Json,
            Content::Raw { content_type, .. } => Kind::Raw { content_type: content_type.clone() },
            Content::Deleted => Kind::Deleted,
        };
        let About { resource_type, id, patient, subject } = about;
        Self { resource_type, id, kind, patient, subject, salt, address }
    }

    pub fn is_deletion(&self) -> bool {
        self.kind == Kind::Deleted
    }

    pub fn content_type(&self) -> Option<String> {
        match &self.kind {
            Kind::Json => Some("application/fhir+json".to_owned()),
            Kind::Raw { content_type } => Some(content_type.clone()),
            Kind::Deleted => None,
        }
    }

    /// What stands on the ledger for this version.
    pub fn commitment(&self, version: u32) -> Commitment {
        let subject = self.subject.as_ref().map_or(&[][..], |subject| subject.as_bytes());
        commitment::record(&self.salt, subject, &self.resource_type, version, &self.address)
    }

    /// What this version contains, from its plaintext.
    pub fn content(&self, plaintext: Vec<u8>) -> Content {
        match &self.kind {
            Kind::Json => Content::Json(plaintext.into()),
            Kind::Raw { content_type } => Content::Raw { content_type: content_type.clone(), bytes: plaintext.into() },
            Kind::Deleted => Content::Deleted,
        }
    }

    /// The committed version as a history lists it.
    pub fn listed(self, sequence: u64, version: u32, last_updated: i64) -> Listed {
        let own = (self.resource_type == "Patient").then(|| self.id.clone());
        let (resource_type, id, patient) = (self.resource_type, self.id, self.patient.or(own));
        Listed { sequence, resource_type, id, version, last_updated, patient }
    }

    /// The committed version with its content.
    pub fn stored(self, version: u32, last_updated: i64, content: Content) -> Stored {
        Stored {
            resource_type: self.resource_type,
            id: self.id,
            version,
            last_updated,
            content,
            patient: self.patient,
            subject: self.subject,
            salt: self.salt,
            address: self.address,
        }
    }

    /// Seals it for the place `key`.
    pub fn seal(&self, entry_key: &ValueKey, key: &[u8]) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("text always serialises");
        entry_key.seal(&json, key)
    }

    pub fn open(entry_key: &ValueKey, key: &[u8], sealed: &[u8]) -> Result<Self, Refusal> {
        let json = entry_key.open(sealed, key).map_err(|_| Refusal::Lost("an entry of the vault does not open"))?;
        serde_json::from_slice(&json).map_err(|_| Refusal::Lost("an entry of the vault does not decode"))
    }
}

/// Key of one version: record, then version, so that versions are in order.
pub(super) fn key(record: &RecordId, version: u32) -> Vec<u8> {
    [record.as_bytes().as_slice(), &version.to_be_bytes()].concat()
}

/// The record and version of a key that [`key`] made.
pub(super) fn record_and_version(key: &[u8]) -> Result<(RecordId, u32), Refusal> {
    let fault = || Refusal::Internal("a version key of the vault has another length");
    let (record, version) = key.split_first_chunk::<32>().ok_or_else(fault)?;
    let version = version.try_into().map_err(|_| fault())?;
    Ok((RecordId::new(*record), u32::from_be_bytes(version)))
}

/// Key of one wrap: the version's key, then the recipient's key id.
pub(super) fn wrap_key(document: &Document, key_id: &Digest) -> Vec<u8> {
    let mut bytes = key(&document.record, document.version);
    bytes.extend_from_slice(key_id.as_bytes());
    bytes
}

/// Value that says which version is committed, and when.
pub(super) fn committed_value(version: u32, time: i64) -> Vec<u8> {
    [version.to_be_bytes().as_slice(), &time.to_be_bytes()].concat()
}

/// Reads what [`committed_value`] wrote.
pub(super) fn version_and_time(value: &[u8]) -> Result<(u32, i64), Refusal> {
    let fault = || Refusal::Lost("a version of the vault has another length");
    let (version, time) = value.split_first_chunk::<4>().ok_or_else(fault)?;
    let time = time.try_into().map_err(|_| fault())?;
    Ok((u32::from_be_bytes(*version), i64::from_be_bytes(time)))
}

/// Value that says since when, and in which run of the gateway, a version waits for the ledger.
pub(super) fn pending_value(since: i64, run: &[u8; 16]) -> Vec<u8> {
    [since.to_be_bytes().as_slice(), run].concat()
}

/// Reads what [`pending_value`] wrote.
pub(super) fn since_and_run(value: &[u8]) -> Result<(i64, [u8; 16]), Refusal> {
    let fault = || Refusal::Internal("a pending mark of the vault has another length");
    let (since, run) = value.split_first_chunk::<8>().ok_or_else(fault)?;
    Ok((i64::from_be_bytes(*since), run.try_into().map_err(|_| fault())?))
}

mod salt_text {
    use careledger_wire::commitment::Salt;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(salt: &Salt, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(salt))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Salt, D::Error> {
        let bytes = hex::decode(String::deserialize(deserializer)?).map_err(de::Error::custom)?;
        bytes.try_into().map_err(|_| de::Error::custom("a salt has 32 bytes"))
    }
}
