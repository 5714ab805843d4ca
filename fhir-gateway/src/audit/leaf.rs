//! What the access log holds: accesses, leaves and anchored batches.

use std::ops::RangeInclusive;

use careledger_wire::{
    access_log,
    ids::{Address, Digest, GrantId},
};
use serde::{Deserialize, Serialize};

use crate::{decide::Rule, keys::random};

/// What was done, in FHIR's AuditEvent actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// C
    Create,
    /// R
    Read,
    /// U
    Update,
    /// D
    Delete,
    /// E: a search or another operation.
    Execute,
}

/// Whether it was allowed, and if not, why; never with content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Allowed.
    Permitted,
    /// Refused, for this reason: a fixed word, such as a rule's name.
    Denied(String),
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Agent {
    /// A client of this organization.
    Client(String),
    /// Another organization, and its practitioner.
    Organization {
        /// The organization's account.
        organization: Address,
        /// The practitioner's account.
        practitioner: Option<Address>,
    },
}

/// A resource that was touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// FHIR resource type.
    pub resource_type: String,
    /// FHIR id; `None` for a search.
    pub id: Option<String>,
    /// Version.
    pub version: Option<u32>,
    /// What a search asked: its address and the names of its parameters. Never their values, which
    /// name people to whoever may read the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// Where a request came from. A leaf is hashed as it is written, so that what older ones do not
/// have is left out, not written as nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Network address of whoever connected: of a proxy, where one stands before the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `X-Request-Id` of the answer; the log of the gateway has it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl Origin {
    /// What no request asked for, such as a job that goes on by itself.
    pub const UNKNOWN: &'static Self = &Self { address: None, request: None };

    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// What happened, as the code that decided it says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// What was done.
    pub action: Action,
    /// Whether it was allowed.
    pub outcome: Outcome,
    /// Who did it.
    pub agent: Agent,
    /// Code of v3 ActReason.
    pub purpose: Option<String>,
    /// Local id of the Patient.
    pub patient: Option<String>,
    /// What was touched.
    pub entities: Vec<Entity>,
    /// By which grant.
    pub grant: Option<GrantId>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Origin::is_unknown")]
    pub origin: Origin,
}

/// What another organization was told about a patient, or was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    /// The organization that asked.
    pub organization: Address,
    /// Its practitioner.
    pub practitioner: Address,
    /// Code of v3 ActReason.
    pub purpose: String,
    /// The grant that it named.
    pub grant: GrantId,
    /// FHIR resource type that it asked for.
    pub resource_type: String,
    /// FHIR ids of what it asked for or was given; none for a search that found nothing.
    pub ids: Vec<String>,
    /// Local id of the Patient, where the subject is one of this organization's.
    pub patient: Option<String>,
    /// What was decided.
    pub verdict: Verdict,
    /// Where the request came from.
    pub origin: Origin,
}

/// What was decided about a disclosure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was released.
    Permitted,
    /// This rule did not hold.
    Denied(Rule),
}

/// One line of the access log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// Number of the leaf, from 1.
    pub number: u64,
    /// When, Unix seconds.
    pub time: i64,
    /// What happened.
    pub access: Access,
    /// Random, so that a hash of the leaf says nothing to whoever guesses what is in it.
    salt: String,
}

impl Leaf {
    /// A leaf with a salt of its own.
    pub(super) fn new(number: u64, time: i64, access: Access) -> Self {
        Self { number, time, access, salt: hex::encode(random::<16>()) }
    }

    /// The bytes whose hash is in the tree, with the salt: whoever may read the leaf may have them.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text always serialises")
    }

    /// Its hash in the tree.
    pub fn hash(&self) -> Digest {
        access_log::leaf(&self.bytes())
    }
}

/// One anchored batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchoredBatch {
    /// Numbers of the first and the last leaf.
    pub leaves: RangeInclusive<u64>,
    /// Merkle root over them.
    pub root: Digest,
    /// Time of the first and the last leaf, Unix seconds.
    pub period: (i64, i64),
}
