//! Every path of the state, and the type of the value at it.
//!
//! A path is an ASCII area, `/`, and raw bytes of fixed sizes, so no path is a prefix of another
//! kind's. Paths are consensus data: golden vectors hold them.

use std::{fmt, marker::PhantomData};

use careledger_wire::{
    ids::{Address, CircuitId, ClaimId, Digest, FieldBytes, GrantId, RecordId, RequestId, SubjectId, TransactionHash},
    proto::state,
};

/// A value of the state.
pub trait Value: prost::Message + Default {}

impl<M: prost::Message + Default> Value for M {}

/// A path whose value is a `V`.
pub struct Key<V> {
    bytes: Vec<u8>,
    value: PhantomData<fn() -> V>,
}

impl<V> Key<V> {
    fn new(area: &str, parts: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(area.len() + parts.iter().map(|part| part.len() + 1).sum::<usize>());
        bytes.extend_from_slice(area.as_bytes());
        for part in parts {
            bytes.push(b'/');
            bytes.extend_from_slice(part);
        }
        Self { bytes, value: PhantomData }
    }

    /// The path's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The path's bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl<V> fmt::Debug for Key<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({})", self.bytes.escape_ascii())
    }
}

/// `parameters`: written at genesis and when an account gets its number.
pub fn parameters() -> Key<state::Parameters> {
    Key::new("parameters", &[])
}

/// `account/<address>`: written when an address gets its role, and by each of its transactions.
pub fn account(address: &Address) -> Key<state::Account> {
    Key::new("account", &[address.as_bytes()])
}

/// `account-key/<address of the key>`: whose further key it is or was, by AddKey, RemoveKey and FinishRecovery.
pub fn key_owner(key: &Address) -> Key<state::KeyOwner> {
    Key::new("account-key", &[key.as_bytes()])
}

/// `guardians/<account>`: written by every transaction of a recovery.
pub fn guardians(account: &Address) -> Key<state::Guardians> {
    Key::new("guardians", &[account.as_bytes()])
}

/// `recovery/<account>/<address of the new key>`: written by ApproveRecovery and AttestRecovery.
pub fn recovery(account: &Address, key: &Address) -> Key<state::Recovery> {
    Key::new("recovery", &[account.as_bytes(), key.as_bytes()])
}

/// `registration/<digest of content and standing>`: approvals below the threshold, by RegisterOrganization.
pub fn registration(content: &Digest) -> Key<state::Registration> {
    Key::new("registration", &[content.as_bytes()])
}

/// `organization/<address>`: written by RegisterOrganization and SuspendOrganization.
pub fn organization(organization: &Address) -> Key<state::Organization> {
    Key::new("organization", &[organization.as_bytes()])
}

/// Everything below `organization`.
pub const ORGANIZATIONS: &[u8] = b"organization/";

/// `practitioner/<organization>/<address>`: written by EnrolPractitioner, read by gateways.
pub fn practitioner(organization: &Address, practitioner: &Address) -> Key<state::Practitioner> {
    Key::new("practitioner", &[organization.as_bytes(), practitioner.as_bytes()])
}

/// `subject/<subject>`: written by OpenSubject and ClaimSubject.
pub fn subject(subject: &SubjectId) -> Key<state::Subject> {
    Key::new("subject", &[subject.as_bytes()])
}

/// `request/<request>`: written by RequestAccess, closed by GrantConsent.
pub fn request(request: &RequestId) -> Key<state::AccessRequest> {
    Key::new("request", &[request.as_bytes()])
}

/// `consent/<subject>/<grant>`: written by GrantConsent and RevokeConsent, read by every access decision.
pub fn consent(subject: &SubjectId, grant: &GrantId) -> Key<state::Grant> {
    Key::new("consent", &[subject.as_bytes(), grant.as_bytes()])
}

/// Prefix of every grant of one subject.
pub fn consents_of(subject: &SubjectId) -> Vec<u8> {
    [b"consent/", subject.as_bytes().as_slice(), b"/"].concat()
}

/// `record/<organization>/<record>`: written by AnchorRecords, SupersedeRecords, MarkEnteredInError.
pub fn record(organization: &Address, record: &RecordId) -> Key<state::Record> {
    Key::new("record", &[organization.as_bytes(), record.as_bytes()])
}

/// `access-log/<organization>`: how many batches, written by AnchorAccessLog.
pub fn access_log(organization: &Address) -> Key<state::AccessLog> {
    Key::new("access-log", &[organization.as_bytes()])
}

/// `access-log-batch/<organization>/<sequence, 8 bytes big-endian>`: written by AnchorAccessLog.
pub fn access_log_batch(organization: &Address, sequence: u64) -> Key<state::AccessLogBatch> {
    Key::new("access-log-batch", &[organization.as_bytes(), &sequence.to_be_bytes()])
}

/// `plan/<commitment>`: written by PublishPlan, read by ProveEligibility.
pub fn plan(commitment: &FieldBytes) -> Key<state::Plan> {
    Key::new("plan", &[commitment.as_bytes()])
}

/// A tree of commitments: all attestations, or one insurer's enrolments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeId {
    /// The one tree of attestations, of every provider.
    Attestations,
    /// The enrolments of this insurer.
    Enrolments(Address),
}

impl TreeId {
    fn key<V>(&self, kind: &str, rest: &[&[u8]]) -> Key<V> {
        match self {
            Self::Attestations => Key::new(&format!("attestation-{kind}"), rest),
            Self::Enrolments(insurer) => {
                let mut parts: Vec<&[u8]> = vec![insurer.as_bytes()];
                parts.extend_from_slice(rest);
                Key::new(&format!("enrolment-{kind}"), &parts)
            }
        }
    }

    /// `attestation-tree`, `enrolment-tree/<insurer>`: number of leaves and current root.
    pub fn tree(&self) -> Key<state::Tree> {
        self.key("tree", &[])
    }

    /// `attestation-node/<level><index>`, `enrolment-node/<insurer>/<level><index>`: one byte of
    /// level and 8 big-endian bytes of index; the value is the field element.
    pub fn node(&self, level: u8, index: u64) -> Key<Vec<u8>> {
        let mut place = [level; 9];
        place[1..].copy_from_slice(&index.to_be_bytes());
        self.key("node", &[&place])
    }

    /// `attestation-leaf/<commitment>`, `enrolment-leaf/<insurer>/<commitment>`: where a leaf is.
    pub fn leaf(&self, commitment: &FieldBytes) -> Key<state::Leaf> {
        self.key("leaf", &[commitment.as_bytes()])
    }

    /// `attestation-root/<root>`, `enrolment-root/<insurer>/<root>`: since and until when.
    pub fn root(&self, root: &FieldBytes) -> Key<state::Root> {
        self.key("root", &[root.as_bytes()])
    }
}

/// `nullifier/<nullifier>`: written by ProveEligibility, of events and of periods.
pub fn nullifier(nullifier: &FieldBytes) -> Key<state::Nullifier> {
    Key::new("nullifier", &[nullifier.as_bytes()])
}

/// `eligibility/<insurer>/<claim>`: written by ProveEligibility, read by the insurer.
pub fn eligibility(insurer: &Address, claim: &ClaimId) -> Key<state::Eligibility> {
    Key::new("eligibility", &[insurer.as_bytes(), claim.as_bytes()])
}

/// `verifying-key/<id>`: written at genesis.
pub fn verifying_key(circuit: &CircuitId) -> Key<state::VerifyingKey> {
    Key::new("verifying-key", &[circuit.as_bytes()])
}

/// `unordered/<expiry, 8 bytes big-endian>/<transaction hash>`: written by each unordered
/// transaction, forgotten after its expiry.
pub fn unordered(expires_at: i64, transaction: &TransactionHash) -> Key<state::Executed> {
    Key::new("unordered", &[&expires_at.to_be_bytes(), transaction.as_bytes()])
}

/// Everything below `unordered`, in order of expiry.
pub const UNORDERED: &[u8] = b"unordered/";

/// The expiry in a path below [`UNORDERED`].
pub fn unordered_expiry(path: &[u8]) -> Option<i64> {
    let bytes = path.strip_prefix(UNORDERED)?.first_chunk()?;
    Some(i64::from_be_bytes(*bytes))
}
