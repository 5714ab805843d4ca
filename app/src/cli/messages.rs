//! The transactions as commands: one for each message, a flag for each field.

use std::path::PathBuf;

use careledger_wire::{
    ids::{Address, ClaimId, Commitment, Digest, EncryptionKey, FieldBytes, GrantId, RecordId, RequestId, SubjectId},
    proto::{accounts, consent, identity},
};
use clap::{Args, Subcommand, ValueEnum};

use super::parse::{AnchorArgument, BindingArgument, HexBytes, KeyBytes, SupersessionArgument, UnixTime};

/// What to send. docs/transactions/ has a page for each.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// A registrar approves an organization's registration or renewal.
    RegisterOrganization {
        /// The organization's account.
        #[arg(long, value_name = "ADDRESS")]
        organization: Address,
        /// What it does.
        #[arg(long)]
        kind: Kind,
        /// X25519 public key to which document keys are sealed for it.
        #[arg(long, value_name = "HEX")]
        encryption_key: EncryptionKey,
        /// SHA-256 of the accreditation evidence, which stays off chain.
        #[arg(long, value_name = "HEX")]
        evidence: Digest,
        /// End of the accreditation.
        #[arg(long, value_name = "TIME")]
        expires_at: UnixTime,
    },
    /// A registrar suspends an organization and everyone it enrolled.
    SuspendOrganization {
        /// The organization's account.
        #[arg(long, value_name = "ADDRESS")]
        organization: Address,
        /// Why.
        #[arg(long)]
        reason: Reason,
    },
    /// An organization enrols a member of its staff, or renews the enrolment.
    EnrolPractitioner {
        /// The practitioner's account.
        #[arg(long, value_name = "ADDRESS")]
        practitioner: Address,
        /// What the practitioner is qualified as.
        #[arg(long)]
        role: PractitionerRole,
        /// Salted commitment to the qualification.
        #[arg(long, value_name = "HEX")]
        qualification: Commitment,
        /// End of the enrolment.
        #[arg(long, value_name = "TIME")]
        expires_at: UnixTime,
        /// The practitioner's word (keys bind-to --organization): nobody else can have the account then.
        #[arg(long, value_name = "KIND:KEY:SIGNATURE")]
        binding: Option<BindingArgument>,
    },
    /// An organization opens its view of a patient, for the patient to claim.
    OpenSubject {
        /// Account that the patient's wallet derived for this organization (keys show --derive).
        #[arg(long, value_name = "ADDRESS")]
        claimant: Address,
        /// The patient's word (keys bind-to --derive): nobody else can have the account then.
        #[arg(long, value_name = "KIND:KEY:SIGNATURE")]
        binding: Option<BindingArgument>,
    },
    /// A patient takes a subject over: from then on only the patient grants. Needs --derive.
    ClaimSubject {
        /// The subject [default: the one of --derive's organization].
        #[arg(long, value_name = "HEX")]
        subject: Option<SubjectId>,
        /// X25519 public key of the patient for this subject [default: derived from the key].
        #[arg(long, value_name = "HEX")]
        encryption_key: Option<EncryptionKey>,
    },
    /// An organization asks a patient for access. Nothing opens until the patient grants.
    RequestAccess {
        /// The subject.
        #[arg(long, value_name = "HEX")]
        subject: SubjectId,
        /// Id of the request [default: random].
        #[arg(long, value_name = "HEX")]
        request: Option<RequestId>,
        /// Salted commitment to the terms asked for.
        #[arg(long, value_name = "HEX")]
        terms: Commitment,
        /// SHA3-256 of the sealed request.
        #[arg(long, value_name = "HEX")]
        body: Digest,
        /// After this the request cannot be answered.
        #[arg(long, value_name = "TIME")]
        expires_at: UnixTime,
    },
    /// A patient opens a window for one organization.
    GrantConsent {
        /// The subject.
        #[arg(long, value_name = "HEX")]
        subject: SubjectId,
        /// Id of the grant [default: random].
        #[arg(long, value_name = "HEX")]
        grant: Option<GrantId>,
        /// The organization that may act on it.
        #[arg(long, value_name = "ADDRESS")]
        grantee: Address,
        /// What it opens.
        #[arg(long)]
        mode: Mode,
        /// First second of the window [default: now].
        #[arg(long, value_name = "TIME")]
        not_before: Option<UnixTime>,
        /// End of the window, exclusive.
        #[arg(long, value_name = "TIME")]
        expires_at: UnixTime,
        /// Salted commitment to purpose, scope, data period and actor.
        #[arg(long, value_name = "HEX")]
        terms: Commitment,
        /// SHA3-256 of the sealed FHIR Consent.
        #[arg(long, value_name = "HEX")]
        body: Digest,
        /// The access request that this answers.
        #[arg(long, value_name = "HEX")]
        request: Option<RequestId>,
    },
    /// A patient closes a grant, effective from the next block.
    RevokeConsent {
        /// The subject.
        #[arg(long, value_name = "HEX")]
        subject: SubjectId,
        /// The grant.
        #[arg(long, value_name = "HEX")]
        grant: GrantId,
    },
    /// An organization anchors new records; all or none.
    AnchorRecords {
        /// A record and the commitment to its first version; repeat for several.
        #[arg(long = "anchor", value_name = "RECORD:COMMITMENT", required_unless_present = "file")]
        anchors: Vec<AnchorArgument>,
        /// File with one RECORD:COMMITMENT on each line.
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// An organization replaces records by their next version; all or none.
    SupersedeRecords {
        /// A record, its new version and the commitment to it; repeat for several.
        #[arg(long = "record", value_name = "RECORD:VERSION:COMMITMENT", required_unless_present = "file")]
        records: Vec<SupersessionArgument>,
        /// File with one RECORD:VERSION:COMMITMENT on each line.
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// An organization marks a record as entered in error.
    MarkEnteredInError {
        /// The record.
        #[arg(long, value_name = "HEX")]
        record: RecordId,
        /// The version that is marked: the current one.
        #[arg(long)]
        version: u32,
    },
    /// An organization anchors a batch of its access log.
    AnchorAccessLog {
        /// Number of the batch: 1 for the first, then one more each time.
        #[arg(long)]
        batch: u64,
        /// Merkle root over the leaves (RFC 6962, SHA-256).
        #[arg(long, value_name = "HEX")]
        root: Digest,
        /// Number of leaves.
        #[arg(long)]
        count: u32,
        /// Time of the first leaf.
        #[arg(long, value_name = "TIME")]
        period_start: UnixTime,
        /// Time of the last leaf.
        #[arg(long, value_name = "TIME")]
        period_end: UnixTime,
    },
    /// An insurer publishes a plan.
    PublishPlan {
        /// The plan as JSON (docs/circuits/eligibility.md).
        #[arg(long, value_name = "FILE")]
        plan: PathBuf,
        /// Name of the policy; only its SHA-256 is sent. The plan's `policy_id` follows from it.
        #[arg(long, value_name = "NAME")]
        policy: String,
        /// The contract's text; only its SHA-256 is sent.
        #[arg(long, value_name = "FILE")]
        contract: PathBuf,
    },
    /// A provider anchors the commitment to facts that it attests about a patient.
    AnchorAttestation {
        /// The commitment, a field element.
        #[arg(long, value_name = "HEX")]
        commitment: FieldBytes,
    },
    /// An insurer anchors the commitment to a member's enrolment.
    AnchorEnrolment {
        /// The commitment, a field element.
        #[arg(long, value_name = "HEX")]
        commitment: FieldBytes,
    },
    /// Prove that a member's plan covers an event, without saying which.
    ProveEligibility {
        /// The proof as `prove eligibility` wrote it.
        #[arg(long, value_name = "FILE")]
        proof: PathBuf,
        /// The insurer, as bound into the proof.
        #[arg(long, value_name = "ADDRESS")]
        insurer: Address,
        /// The insurer's id of the claim, as bound into the proof.
        #[arg(long, value_name = "HEX")]
        claim: ClaimId,
        /// When the proof stops being accepted, as bound into it.
        #[arg(long, value_name = "TIME")]
        expires_at: UnixTime,
    },

    /// Give the account another key. Needs a full key.
    AddKey {
        /// How the new key signs.
        #[arg(long)]
        kind: KeyKind,
        /// The new key: 33 bytes, compressed.
        #[arg(long, value_name = "HEX")]
        key: KeyBytes,
        /// What it may do: everything, or everything but managing keys.
        #[arg(long)]
        authority: KeyAuthority,
        /// The new key's own signature (keys prove-possession).
        #[arg(long, value_name = "HEX")]
        possession: HexBytes,
    },
    /// Take a key from the account for ever. Needs a full key, and leaves one.
    RemoveKey {
        /// How the key signs.
        #[arg(long)]
        kind: KeyKind,
        /// The key: 33 bytes, compressed.
        #[arg(long, value_name = "HEX")]
        key: KeyBytes,
    },
    /// Name who may restore the account when its keys are lost. Needs a full key.
    SetGuardians {
        /// Account of a guardian; repeat for several. None: nobody may.
        #[arg(long = "guardian", value_name = "ADDRESS")]
        guardians: Vec<Address>,
        /// How many of them must approve a new key.
        #[arg(long, default_value_t = 0)]
        threshold: u32,
        /// Time in which a recovery can be vetoed.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        delay_seconds: i64,
    },
    /// A guardian approves a new key for an account.
    ApproveRecovery(Candidate),
    /// An organization attests that it saw the account's holder in person, with a new key.
    AttestRecovery(Candidate),
    /// Cancel every recovery of the account. Any key of it will do.
    VetoRecovery,
    /// Replace all keys of an account by the approved one, once the time lock ended.
    FinishRecovery {
        #[command(flatten)]
        candidate: Candidate,
        /// The new key's own signature (keys prove-possession).
        #[arg(long, value_name = "HEX")]
        possession: HexBytes,
    },
}

/// A new key for an account whose keys are lost.
#[derive(Debug, Args)]
pub struct Candidate {
    /// The account to restore.
    #[arg(long, value_name = "ADDRESS")]
    pub lost: Address,
    /// How the new key signs.
    #[arg(long)]
    pub kind: KeyKind,
    /// The new key: 33 bytes, compressed.
    #[arg(long, value_name = "HEX")]
    pub key: KeyBytes,
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident => $target:path { $($choice:ident),* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, ValueEnum)]
        pub enum $name { $($choice),* }

        impl From<$name> for i32 {
            fn from(choice: $name) -> Self {
                use $target as Target;
                match choice { $($name::$choice => Target::$choice.into()),* }
            }
        }
    )*};
}

choices! {
    /// What an organization does.
    Kind => identity::OrganizationKind { Provider, Insurer, Laboratory, Pharmacy }
    /// Why an organization is suspended.
    Reason => identity::SuspensionReason { AccreditationWithdrawn, KeyCompromised, UnderInvestigation, OwnRequest }
    /// What a practitioner is qualified as.
    PractitionerRole => identity::PractitionerRole { Physician, Nurse, Pharmacist, Laboratory, Administrator }
    /// What a grant opens.
    Mode => consent::ConsentMode { View, Append }
    /// How a key signs.
    KeyKind => accounts::KeyKind { Secp256k1, WebauthnP256 }
    /// What a key may do.
    KeyAuthority => accounts::KeyAuthority { Full, Device }
}
