//! The transactions as commands: one for each message, a flag for each field.

use std::path::PathBuf;

use careledger_wire::{
    ids::{
        Address, ClaimId, Commitment, Digest, EncryptionKey, FieldBytes, GrantId, ProposalId, RecordId, RequestId,
        StandingId, SubjectId,
    },
    proto::{accounts, consent, identity},
};
use clap::{Subcommand, ValueEnum};

use super::{
    accounts::AccountsAction,
    consent::{ConsentAction, Window},
    governance::Proposing,
    parse::{AnchorArgument, BindingArgument, SupersessionArgument, UnixTime},
};

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
        /// It may open views without consent in an emergency.
        #[arg(long)]
        emergency: bool,
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
        /// The standing approval under which it is granted at once.
        #[arg(long, value_name = "HEX")]
        standing: Option<StandingId>,
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
        #[command(flatten)]
        window: Window,
        /// The access request that this answers.
        #[arg(long, value_name = "HEX")]
        request: Option<RequestId>,
        /// The grantee may let one more organization act within the grant.
        #[arg(long)]
        delegable: bool,
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
    #[command(flatten)]
    Consent(ConsentAction),
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
    /// An issuer revokes attestations, or a registrar those of a suspended or expired issuer.
    RevokeAttestation {
        /// A commitment that was anchored; repeat for several.
        #[arg(long = "commitment", value_name = "HEX", required = true)]
        commitments: Vec<FieldBytes>,
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

    /// A registrar proposes registrars, a validator, a parameter or an upgrade.
    Propose(Proposing),
    /// A registrar approves a proposal.
    Vote {
        /// The proposal.
        #[arg(long, value_name = "HEX")]
        proposal: ProposalId,
    },
    /// A registrar takes its approval back; the proposer closes the proposal.
    Rescind {
        /// The proposal.
        #[arg(long, value_name = "HEX")]
        proposal: ProposalId,
    },
    /// An organization suspends a member of its staff.
    SuspendPractitioner {
        /// The practitioner's account.
        #[arg(long, value_name = "ADDRESS")]
        practitioner: Address,
    },
    /// An organization anchors many new records under one root.
    AnchorBatch {
        /// File with one RECORD:COMMITMENT on each line. Keep it: it is what proofs are made from.
        #[arg(long)]
        file: PathBuf,
    },
    /// An organization makes one record of a batch a record of its own, to supersede it and the rest.
    ExtractRecord {
        /// File of the batch, as it was anchored.
        #[arg(long)]
        file: PathBuf,
        /// The record.
        #[arg(long, value_name = "HEX")]
        record: RecordId,
    },
    /// An organization asks another to sign a record.
    RequestCountersignature {
        /// The record.
        #[arg(long, value_name = "HEX")]
        record: RecordId,
        /// Its current version.
        #[arg(long)]
        version: u32,
        /// Who is asked.
        #[arg(long, value_name = "ADDRESS")]
        countersigner: Address,
        /// After this it can no longer be given.
        #[arg(long, value_name = "TIME")]
        expires_at: UnixTime,
    },
    /// An organization signs another's record, as it was asked to.
    GiveCountersignature {
        /// The custodian's account.
        #[arg(long, value_name = "ADDRESS")]
        organization: Address,
        /// The record.
        #[arg(long, value_name = "HEX")]
        record: RecordId,
        /// The version that is signed.
        #[arg(long)]
        version: u32,
        /// Commitment to it.
        #[arg(long, value_name = "HEX")]
        commitment: Commitment,
    },
    /// An organization says that nothing of a record is left but its anchor.
    ShredRecord {
        /// The record.
        #[arg(long, value_name = "HEX")]
        record: RecordId,
    },
    /// A patient disputes an access that the custodian logged. Needs --derive.
    DisputeAccess {
        /// The subject [default: the one of --derive's organization].
        #[arg(long, value_name = "HEX")]
        subject: Option<SubjectId>,
        /// Hash of the leaf.
        #[arg(long, value_name = "HEX")]
        leaf: Digest,
        /// File with the leaf's place, as the custodian's gateway gives it.
        #[arg(long, value_name = "FILE")]
        inclusion: PathBuf,
    },
    /// An organization or a registrar forbids to shred a record.
    SetLegalHold {
        /// The custodian's account [default: the sender].
        #[arg(long, value_name = "ADDRESS")]
        organization: Option<Address>,
        /// The record.
        #[arg(long, value_name = "HEX")]
        record: RecordId,
    },
    /// An organization or a registrar ends the hold of its side.
    ReleaseLegalHold {
        /// The custodian's account [default: the sender].
        #[arg(long, value_name = "ADDRESS")]
        organization: Option<Address>,
        /// The record.
        #[arg(long, value_name = "HEX")]
        record: RecordId,
    },
    #[command(flatten)]
    Accounts(AccountsAction),
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
    /// Why a view was opened in an emergency.
    EmergencyReason => consent::EmergencyReason {
        Unconscious, LifeThreatening, Poisoning, PsychiatricCrisis, PublicHealthEmergency
    }
    /// What a review found.
    ReviewOutcome => consent::ReviewOutcome { Justified, NotJustified }
    /// What a grant opens.
    Mode => consent::ConsentMode { View, Append }
    /// How a key signs.
    KeyKind => accounts::KeyKind { Secp256k1, WebauthnP256 }
    /// What a key may do.
    KeyAuthority => accounts::KeyAuthority { Full, Device }
}
