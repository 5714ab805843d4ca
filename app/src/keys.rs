//! Every path of the state, and the type of the value at it.
//!
//! A path is an ASCII area, `/`, and raw bytes of fixed sizes, so no path is a prefix of another
//! kind's. Paths are consensus data: golden vectors hold them.

pub mod areas;

use std::{fmt, marker::PhantomData};

use careledger_wire::{
    ids::{
        Address, CircuitId, ClaimId, Digest, EmergencyId, FieldBytes, GrantId, ProposalId, RecordId, RequestId,
        StandingId, SubjectId, TransactionHash, ValidatorKey,
    },
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

/// `chain`: written at genesis.
pub fn chain() -> Key<state::Chain> {
    Key::new("chain", &[])
}

/// `parameters`: written at genesis and when an account gets its number.
pub fn parameters() -> Key<state::Parameters> {
    Key::new("parameters", &[])
}

/// `account/<address>`: written when an address gets its role, and by each of its transactions.
pub fn account(address: &Address) -> Key<state::Account> {
    Key::new("account", &[address.as_bytes()])
}

/// `opened-quota/<organization>`: written by each transaction of an account that the organization opened.
pub fn opened_quota(organization: &Address) -> Key<state::OpenedQuota> {
    Key::new("opened-quota", &[organization.as_bytes()])
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

/// `subject/<subject>`: written by OpenSubject and ClaimSubject, and by whatever makes a grant or an emergency.
pub fn subject(subject: &SubjectId) -> Key<state::Subject> {
    Key::new("subject", &[subject.as_bytes()])
}

/// `request/<request>`: written by RequestAccess, closed by GrantConsent.
pub fn request(request: &RequestId) -> Key<state::AccessRequest> {
    Key::new("request", &[request.as_bytes()])
}

/// `consent/<subject>/<grant>`: written by GrantConsent, AmendConsent, RevokeConsent, ReinstateConsent,
/// DelegateConsent and by RequestAccess under a standing approval; read by every access decision.
pub fn consent(subject: &SubjectId, grant: &GrantId) -> Key<state::Grant> {
    Key::new("consent", &[subject.as_bytes(), grant.as_bytes()])
}

/// Everything below `subject`.
pub const SUBJECTS: &[u8] = b"subject/";

/// Everything below `practitioner`.
pub const PRACTITIONERS: &[u8] = b"practitioner/";

/// Everything below `guardianship`.
pub const GUARDIANSHIPS: &[u8] = b"guardianship/";

/// Everything below `consent`.
pub const CONSENTS: &[u8] = b"consent/";

/// Everything below `emergency`.
pub const EMERGENCIES: &[u8] = b"emergency/";

/// The subject in a path below an area of subjects, such as [`CONSENTS`].
pub fn subject_in(area: &[u8], path: &[u8]) -> Option<SubjectId> {
    SubjectId::try_from(path.strip_prefix(area)?.get(..SubjectId::LENGTH)?).ok()
}

/// Prefix of every grant of one subject.
pub fn consents_of(subject: &SubjectId) -> Vec<u8> {
    [CONSENTS, subject.as_bytes().as_slice(), b"/"].concat()
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

/// `delegation/<subject>/<parent grant>`: what was delegated from a grant, written by DelegateConsent.
pub fn delegation(subject: &SubjectId, parent: &GrantId) -> Key<state::Delegations> {
    Key::new("delegation", &[subject.as_bytes(), parent.as_bytes()])
}

/// `guardianship/<subject>/<guardian>`: written by AppointGuardian, read whenever a guardian sends.
pub fn guardianship(subject: &SubjectId, guardian: &Address) -> Key<state::Guardianship> {
    Key::new("guardianship", &[subject.as_bytes(), guardian.as_bytes()])
}

/// Prefix of every guardianship of one subject.
pub fn guardianships_of(subject: &SubjectId) -> Vec<u8> {
    [GUARDIANSHIPS, subject.as_bytes().as_slice(), b"/"].concat()
}

/// Subject and guardian of a path below [`GUARDIANSHIPS`].
pub fn guardianship_of(path: &[u8]) -> Option<(SubjectId, Address)> {
    let guardian = path.get(GUARDIANSHIPS.len() + SubjectId::LENGTH + 1..)?;
    Some((subject_in(GUARDIANSHIPS, path)?, Address::try_from(guardian).ok()?))
}

/// `emergency/<subject>/<emergency>`: written by BreakGlass and ReviewEmergency, read by access
/// decisions, by the patient's wallet and by the custodian.
pub fn emergency(subject: &SubjectId, emergency: &EmergencyId) -> Key<state::Emergency> {
    Key::new("emergency", &[subject.as_bytes(), emergency.as_bytes()])
}

/// Prefix of every emergency of one subject.
pub fn emergencies_of(subject: &SubjectId) -> Vec<u8> {
    [EMERGENCIES, subject.as_bytes().as_slice(), b"/"].concat()
}

/// `emergency-reviews/<organization>`: written by BreakGlass, shortened by ReviewEmergency.
pub fn emergency_reviews(organization: &Address) -> Key<state::EmergencyReviews> {
    Key::new("emergency-reviews", &[organization.as_bytes()])
}

/// `standing/<subject>/<standing approval>`: written by ApproveStanding, used by RequestAccess,
/// removed by WithdrawStanding.
pub fn standing(subject: &SubjectId, standing: &StandingId) -> Key<state::StandingApproval> {
    Key::new("standing", &[subject.as_bytes(), standing.as_bytes()])
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

// Governance

/// `proposal/<proposal>`: written by Propose, Vote and Rescind; never removed, so an id stands for
/// one content for ever.
pub fn proposal(proposal: &ProposalId) -> Key<state::Proposal> {
    Key::new("proposal", &[proposal.as_bytes()])
}

/// Everything below `proposal`.
pub const PROPOSALS: &[u8] = b"proposal/";

/// `validator/<Ed25519 public key>`: written at genesis, by Vote and by evidence; never removed.
pub fn validator(key: &ValidatorKey) -> Key<state::Validator> {
    Key::new("validator", &[key.as_bytes()])
}

/// Everything below `validator`.
pub const VALIDATORS: &[u8] = b"validator/";

/// The public key in a path below [`VALIDATORS`].
pub fn validator_key(path: &[u8]) -> Option<ValidatorKey> {
    ValidatorKey::try_from(path.strip_prefix(VALIDATORS)?).ok()
}

/// `upgrade/<version, 4 bytes big-endian>`: written when the upgrade was made.
pub fn upgrade(version: u32) -> Key<state::Upgrade> {
    Key::new("upgrade", &[&version.to_be_bytes()])
}

/// Everything below `upgrade`.
pub const UPGRADES: &[u8] = b"upgrade/";

/// `access-log-tree/<organization>`: the Merkle log over its batches, written by AnchorAccessLog
/// from state version 2 on.
pub fn access_log_tree(organization: &Address) -> Key<state::AccessLogTree> {
    Key::new("access-log-tree", &[organization.as_bytes()])
}

/// Everything below `access-log`.
pub const ACCESS_LOGS: &[u8] = b"access-log/";

/// The organization in a path below [`ACCESS_LOGS`].
pub fn access_log_of(path: &[u8]) -> Option<Address> {
    Address::try_from(path.strip_prefix(ACCESS_LOGS)?).ok()
}

/// `batch/<organization>/<root>`: written by AnchorBatch, read by ExtractRecord.
pub fn batch(organization: &Address, root: &Digest) -> Key<state::Batch> {
    Key::new("batch", &[organization.as_bytes(), root.as_bytes()])
}

/// `countersignature/<organization>/<record>/<countersigner>`: written by RequestCountersignature
/// and GiveCountersignature.
pub fn countersignature(
    organization: &Address,
    record: &RecordId,
    countersigner: &Address,
) -> Key<state::Countersignature> {
    Key::new("countersignature", &[organization.as_bytes(), record.as_bytes(), countersigner.as_bytes()])
}

/// Prefix of every batch of one organization's access log.
pub fn access_log_batches(organization: &Address) -> Vec<u8> {
    [b"access-log-batch/", organization.as_bytes().as_slice(), b"/"].concat()
}

/// `access-log-dispute/<subject>/<leaf>`: written by DisputeAccess, read by the custodian.
pub fn access_dispute(subject: &SubjectId, leaf: &Digest) -> Key<state::AccessDispute> {
    Key::new("access-log-dispute", &[subject.as_bytes(), leaf.as_bytes()])
}
