//! What is kept: versions of resources, changes that are asked for, and a version as it lies in the
//! vault.

use actix_web::web::Bytes;
use careledger_wire::{
    commitment::Salt,
    ids::{Digest, SubjectId},
};

use crate::envelope::{Document, Wrap};

/// What a version of a resource contains. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// FHIR JSON, byte for byte as accepted, with the id set.
    Json(Bytes),
    /// A Binary that was sent in its own format.
    Raw {
        /// Its media type, as sent.
        content_type: String,
        /// The bytes, as sent.
        bytes: Bytes,
    },
    /// The resource was deleted with this version.
    Deleted,
}

impl Content {
    /// The bytes that are sealed; none for a deletion.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Json(bytes) | Self::Raw { bytes, .. } => bytes,
            Self::Deleted => &[],
        }
    }
}

/// One committed version of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// FHIR resource type.
    pub resource_type: String,
    /// FHIR id.
    pub id: String,
    /// Version, from 1; the ledger's version is the same.
    pub version: u32,
    /// Time of the block that committed the version, Unix seconds.
    pub last_updated: i64,
    /// What was accepted.
    pub content: Content,
    /// Local id of the Patient that the resource is about.
    pub patient: Option<String>,
    /// That patient's subject on the ledger, where one was open when the version was written.
    pub subject: Option<SubjectId>,
    /// Opens the commitment on the ledger.
    pub salt: Salt,
    /// SHA3-256 of the sealed body.
    pub address: Digest,
}

impl Stored {
    /// Local id of the Patient that the resource is about, or is.
    pub fn about(&self) -> Option<&str> {
        self.patient.as_deref().or((self.resource_type == "Patient").then_some(self.id.as_str()))
    }
}

/// A committed version without its content, as a history lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its place in the order in which versions became visible.
    pub sequence: u64,
    /// FHIR resource type.
    pub resource_type: String,
    /// FHIR id.
    pub id: String,
    /// Version, from 1.
    pub version: u32,
    /// Time of its block, Unix seconds.
    pub last_updated: i64,
    /// Local id of the Patient that the resource is about, or is.
    pub patient: Option<String>,
}

impl Listed {
    /// A version that became visible at `sequence`.
    pub fn of(sequence: u64, stored: &Stored) -> Self {
        Self {
            sequence,
            resource_type: stored.resource_type.clone(),
            id: stored.id.clone(),
            version: stored.version,
            last_updated: stored.last_updated,
            patient: stored.about().map(str::to_owned),
        }
    }
}

/// A change that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The first version of a resource.
    Create {
        /// FHIR resource type.
        resource_type: String,
        /// FHIR id: the client's, or one that the server chose.
        id: String,
        /// What was accepted.
        content: Content,
        /// Local id of the Patient that the resource is about.
        patient: Option<String>,
    },
    /// The next version, also of a resource that was deleted.
    Update {
        /// FHIR resource type.
        resource_type: String,
        /// FHIR id.
        id: String,
        /// What was accepted.
        content: Content,
        /// Local id of the Patient that the resource is about.
        patient: Option<String>,
        /// The version that it replaces.
        expected: u32,
    },
    /// The end of a resource; its versions stay readable by version.
    Delete {
        /// FHIR resource type.
        resource_type: String,
        /// FHIR id.
        id: String,
        /// The version that it replaces.
        expected: u32,
    },
}

impl Change {
    /// Local id of the Patient that the new version is about; none for a deletion.
    pub fn patient(&self) -> Option<&str> {
        match self {
            Self::Create { patient, .. } | Self::Update { patient, .. } => patient.as_deref(),
            Self::Delete { .. } => None,
        }
    }

    /// Type and id of what it changes, and the version that it replaces; none for a first one.
    pub fn target(&self) -> (&str, &str, Option<u32>) {
        match self {
            Self::Create { resource_type, id, .. } => (resource_type, id, None),
            Self::Update { resource_type, id, expected, .. } | Self::Delete { resource_type, id, expected } => {
                (resource_type, id, Some(*expected))
            }
        }
    }
}

/// A version as it lies in the vault, for release to another organization.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// What the body is bound to.
    pub document: Document,
    /// Ciphertext.
    pub body: Vec<u8>,
    /// The organization's own wrap of the document key.
    pub own_wrap: Wrap,
    /// FHIR resource type.
    pub resource_type: String,
    /// FHIR id.
    pub id: String,
    /// Media type of the content. A deletion, which has none, is never sealed for release.
    pub content_type: Option<String>,
    /// Time of the version's block, Unix seconds.
    pub last_updated: i64,
    /// Local id of the Patient.
    pub patient: Option<String>,
    /// The patient's subject on the ledger.
    pub subject: Option<SubjectId>,
    /// Opens the commitment on the ledger.
    pub salt: Salt,
}
