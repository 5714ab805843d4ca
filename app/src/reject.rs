//! Why a transaction is refused. docs/reject-codes.md says what the sender should do.

macro_rules! rejects {
    ($($(#[$doc:meta])* $name:ident $(($field:ty))? = $code:literal, $text:literal;)*) => {
        /// A refusal. Codes are consensus data: never renumbered, never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        pub enum Reject {
            $($(#[$doc])* #[error($text)] $name $(($field))?,)*
        }

        impl Reject {
            /// Every code, with its name and sentence, in order.
            pub const TABLE: &[(u32, &'static str, &'static str)] = &[$(($code, stringify!($name), $text)),*];

            /// The number in a transaction's result; never 0, which means that it took effect.
            pub const fn code(&self) -> u32 {
                match self { $(Self::$name { .. } => $code,)* }
            }

            /// The name of the code.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name { .. } => stringify!($name),)* }
            }
        }
    };
}

/// The codespace of every code.
pub const CODESPACE: &str = "careledger";

rejects! {
    /// It does not decode, or not canonically, or carries what this ledger does not know.
    Malformed = 1, "the transaction is not a valid CareLedger transaction";
    /// More bytes than [`crate::limits::TX_BYTES_MAX`].
    TooLarge = 2, "the transaction has too many bytes";
    /// More messages than [`crate::limits::MESSAGES_PER_TRANSACTION_MAX`].
    TooManyMessages = 3, "the transaction has too many messages";
    /// A field has another length, range or form than its type.
    InvalidField(&'static str) = 4, "field {0} has another length, range or form than it must";
    /// The signer has no role on this ledger.
    UnknownAccount = 5, "the signer's account is not known";
    /// The signature is not the signer's over these bytes, this chain and this account number.
    BadSignature = 6, "the signature does not hold for this chain and account";
    /// Another sequence than the account's next.
    WrongSequence = 7, "the sequence is not the account's next";
    /// An unordered transaction that was executed before.
    AlreadyExecuted = 8, "the transaction was executed before";
    /// Its time or height has passed.
    TransactionExpired = 9, "the transaction has expired";
    /// The named organization is not registered.
    UnknownOrganization = 10, "the organization is not registered";
    /// An unordered transaction that would have to be remembered for too long.
    TimeoutTooFar = 11, "the transaction's timeout is too far away";
    /// More eligibility proofs than a block checks.
    TooManyProofs = 12, "the block has too many eligibility proofs";
    /// More hashes than a block computes.
    TooMuchWork = 13, "the block has too much to compute";
    /// The organization is registered with exactly this content, and in good standing.
    AlreadyRegistered = 14, "the organization is registered so already";

    /// Only a registrar may send this.
    NotARegistrar = 20, "the sender is not a registrar";
    /// Only an organization may send this.
    NotAnOrganization = 21, "the sender is not an organization";
    /// The organization is suspended.
    OrganizationSuspended = 22, "the organization is suspended";
    /// The organization's accreditation has ended.
    OrganizationExpired = 23, "the organization's accreditation has expired";
    /// Another kind of organization may send this.
    WrongOrganizationKind = 24, "this kind of organization may not send this";
    /// This registrar approved the same content before.
    AlreadyApproved = 25, "the registrar approved this registration before";
    /// The address has another role, or is another subject's.
    AddressInUse = 26, "the address already has another role";
    /// An end that is in the past.
    AlreadyEnded = 27, "the end lies in the past";
    /// An end that is further away than the limit.
    EndsTooLate = 28, "the end is too far away";
    /// Only a patient's key may send this.
    NotAClaimant = 29, "the sender is not a patient's key";

    /// There is no such subject.
    UnknownSubject = 30, "the subject is not known";
    /// The organization opened this subject before.
    SubjectExists = 31, "the subject exists";
    /// The sender's key is not the subject's.
    NotTheSubject = 32, "the sender is not the subject";
    /// The subject was claimed before.
    SubjectClaimed = 33, "the subject was claimed before";
    /// The subject must be claimed first.
    SubjectNotClaimed = 34, "the subject is not claimed";

    /// The request id is taken.
    RequestExists = 40, "the request exists";
    /// There is no such request.
    UnknownRequest = 41, "the request is not known";
    /// The request was answered before.
    RequestAnswered = 42, "the request was answered before";
    /// The request can no longer be answered.
    RequestExpired = 43, "the request has expired";
    /// The request is of another subject or another organization.
    RequestMismatch = 44, "the request is of another subject or organization";
    /// The grant id is taken.
    GrantExists = 45, "the grant exists";
    /// There is no such grant.
    UnknownGrant = 46, "the grant is not known";
    /// The grant was revoked before.
    GrantRevoked = 47, "the grant was revoked before";
    /// The grantee is not registered, suspended or expired.
    GranteeNotInGoodStanding = 48, "the grantee is not an organization in good standing";

    /// The record exists: supersede it.
    RecordExists = 50, "the record exists";
    /// There is no such record of the sender.
    UnknownRecord = 51, "the record is not known";
    /// Another version than the ledger's current one asks for.
    WrongVersion = 52, "the version does not follow the ledger's";
    /// The version was marked before.
    AlreadyEnteredInError = 53, "the version was marked as entered in error before";
    /// One record twice in one message.
    DuplicateRecord = 54, "a record is named twice";

    /// Another sequence than the next batch's.
    AccessLogGap = 60, "the batch is not the next one of this access log";
    /// The batch's period begins before the last one's end.
    AccessLogOverlap = 61, "the batch's period begins before the end of the one before";
    /// The batch's period ends in the future.
    AccessLogFuture = 62, "the batch's period ends in the future";

    /// The plan was published before.
    PlanExists = 70, "the plan exists";
    /// There is no such plan.
    UnknownPlan = 71, "the plan is not known";
    /// The plan's intervals or terms do not hold together.
    InvalidPlan = 72, "the plan's intervals or terms are not valid";
    /// The commitment was anchored before.
    CommitmentExists = 73, "the commitment was anchored before";
    /// The tree has no place left.
    TreeFull = 74, "the tree is full";
    /// The plan is another insurer's.
    PlanOfAnotherInsurer = 75, "the plan is another insurer's";

    /// The network accepts no such verifying key.
    UnknownCircuit = 80, "the verifying key is not accepted here";
    /// The attestation root is unknown, or was replaced too long ago.
    StaleAttestationRoot = 81, "the attestation root is unknown or too old";
    /// The enrolment root is unknown, or was replaced too long ago.
    StaleEnrolmentRoot = 82, "the enrolment root is unknown or too old";
    /// The date of the statement is too far from the block's.
    AsOfOutOfRange = 83, "the date of the statement is too far from today";
    /// The event was claimed before.
    EventAlreadyClaimed = 84, "the event was claimed before";
    /// The period's claim was used before.
    PeriodClaimUsed = 85, "this claim of the period was used before";
    /// The insurer's claim was confirmed before.
    ClaimAlreadyConfirmed = 86, "the claim was confirmed before";
    /// The proof has expired.
    ProofExpired = 87, "the proof has expired";
    /// The proof's bytes are not three points of their groups.
    MalformedProof = 88, "the proof is not a proof";
    /// The proof does not prove this statement in this transaction.
    ProofRefused = 89, "the proof does not prove this statement for this sender, insurer and claim";

    /// The key is not in the account's set.
    UnknownKey = 100, "the key is not one of the account's";
    /// The key is a device's, which manages no keys.
    NotAFullKey = 101, "the key may not manage the account's keys";
    /// The key is or was a key of an account.
    KeyInUse = 102, "the key belongs or belonged to an account";
    /// Nobody could manage the account any more.
    LastFullKey = 103, "the account's last full key stays";
    /// More keys than [`crate::limits::KEYS_PER_ACCOUNT_MAX`].
    TooManyKeys = 104, "the account has as many keys as it may";
    /// The new key did not sign that it wants to be in this account's set on this chain.
    KeyNotProven = 105, "the new key's proof of possession does not hold for this chain and account";
    /// A passkey signed something else, elsewhere, or without its user.
    PasskeyRefused(&'static str) = 106, "the passkey's signature is refused: {0}";
    /// The account did not name the sender.
    NotAGuardian = 107, "the sender is not a guardian of the account";
    /// The sender approved or attested this key before.
    RecoveryApproved = 108, "this key was approved or attested by the sender before";
    /// Nobody approved or attested anything in this round.
    NoRecovery = 109, "no such recovery is under way";
    /// The time lock has not ended.
    RecoveryLocked = 110, "the recovery's time lock has not ended";
    /// Too few guardians approved it, or too few organizations in good standing attested it.
    RecoveryNotApproved = 111, "too few approved or attested the recovery";
    /// Only patients' and practitioners' accounts whose keys have shown themselves are restored.
    NotRecoverable = 112, "the account is no patient's or practitioner's whose key has shown itself";
    /// A guardian has no account.
    UnknownGuardian = 113, "a guardian has no account";
    /// The payer used its bytes of this window of blocks.
    QuotaUsed = 114, "the account that pays has used its quota of this window of blocks";
    /// The payer has enough in this node's mempool.
    TooManyWaiting = 115, "the account that pays has too much waiting in this node's mempool";
    /// Never anchored, or revoked before.
    UnknownAttestation = 116, "the attestation was never anchored, or is revoked";
    /// Only the issuer revokes, or a registrar where the issuer is out of good standing.
    NotTheIssuer = 117, "the attestation is not the sender's to revoke";

    /// The grant was delegated: only what the patient gave can be amended or delegated.
    GrantDelegated = 120, "the grant was delegated by its grantee";
    /// Only a revoked grant can be reinstated.
    GrantNotRevoked = 121, "the grant was not revoked";
    /// The grant's window has ended.
    GrantEnded = 122, "the grant's window has ended";
    /// The grant was delegated or reinstated as often as one may be.
    GrantFull = 123, "the grant was delegated or reinstated as often as one can be";
    /// Only the grant's grantee delegates it.
    NotTheGrantee = 124, "the sender is not the grant's grantee";
    /// The patient did not allow delegation.
    GrantNotDelegable = 125, "the grant may not be delegated";
    /// A delegate's window or mode that exceeds the grant's.
    WiderThanGrant = 126, "the delegate's window or mode is wider than the grant's";
    /// Another organization opened this subject.
    NotTheCustodian = 127, "the sender did not open this subject";
    /// The guardian's power has ended.
    GuardianshipEnded = 128, "the guardianship has ended";
    /// The sender approved the same, or it is in force.
    AlreadyAppointed = 129, "the sender approved this guardianship before, or it is in force";
    /// The organization's accreditation has no emergency capability.
    EmergencyNotAccredited = 130, "the organization is not accredited for emergencies";
    /// The practitioner is not enrolled by the sender, or no longer.
    PractitionerNotEnrolled = 131, "the practitioner is not enrolled by the sender";
    /// The id of an emergency or of a standing approval is taken.
    IdTaken = 132, "the id is taken";
    /// There is no such emergency of this subject.
    UnknownEmergency = 133, "the emergency is not known";
    /// A review's deadline has passed without it.
    EmergencyReviewOverdue = 134, "the review of an emergency is overdue";
    /// The organization has as many unreviewed emergencies as one may have.
    TooManyUnreviewed = 135, "too many emergencies wait for their review";
    /// Nobody reviews an emergency of their own.
    OwnEmergency = 136, "the emergency is the sender's own";
    /// The emergency was reviewed before.
    EmergencyReviewed = 137, "the emergency was reviewed before";
    /// There is no such standing approval of this subject.
    UnknownStanding = 138, "the standing approval is not known";
    /// The standing approval is for another organization or other terms, has ended, or is used up.
    StandingRefuses = 139, "the standing approval does not cover this request";

    /// There is no such proposal.
    UnknownProposal = 140, "the proposal is not known";
    /// The proposal's id is taken, for ever.
    ProposalExists = 141, "the proposal exists";
    /// It was accepted or withdrawn, or the registrars changed since.
    ProposalClosed = 142, "the proposal is closed";
    /// It can no longer be approved.
    ProposalExpired = 143, "the proposal has expired";
    /// This registrar approves it already.
    AlreadyVoted = 144, "the registrar approves the proposal already";
    /// This registrar does not approve it.
    NotApproved = 145, "the registrar does not approve the proposal";
    /// What is proposed is so already.
    NothingChanges = 146, "what is proposed is so already";
    /// The validators that stay could not decide blocks by themselves.
    TooMuchPowerMoves = 147, "too much voting power would change at once";
    /// No validator would be left.
    LastValidator = 148, "a chain keeps its last validator";
    /// More than the ledger tracks.
    TooManyValidators = 149, "there are too many validators";
    /// The block has a change of validators already.
    ValidatorsJustChanged = 150, "the block changes the validators already";
    /// Only a validator can be removed.
    UnknownValidator = 151, "the validator is not known";
    /// Outside the parameter's range.
    ParameterOutOfRange = 152, "the value is out of the parameter's range";
    /// Not the format after the state's, or another than the scheduled one.
    WrongUpgrade = 153, "the upgrade is not the one that comes next";
    /// A height that has passed, or is too far away.
    WrongUpgradeHeight = 154, "the height of the upgrade has passed or is too far away";
    /// The organization enrolled nobody at this address.
    UnknownPractitioner = 155, "the practitioner is not enrolled by the sender";
    /// The practitioner is suspended already.
    PractitionerSuspended = 156, "the practitioner is suspended";
    /// The organization anchored a batch with this root before.
    BatchExists = 157, "the batch exists";
    /// The sender anchored no such batch.
    UnknownBatch = 158, "the batch is not known";
    /// The path does not lead from this record to the batch's root.
    NotInBatch = 159, "the path does not show that the record is in the batch";
    /// Nobody asked the sender to countersign.
    UnknownCountersignature = 160, "the countersignature was not asked for";
    /// The organization is asked already, and can still sign.
    CountersignatureRequested = 161, "the countersignature is asked for already";
    /// It can no longer be given.
    CountersignatureExpired = 162, "the time for the countersignature has passed";
    /// This version is countersigned by this organization.
    AlreadyCountersigned = 163, "the version is countersigned already";
    /// Another version or commitment than was asked for, or than the record has now.
    CountersignatureMismatch = 164, "what is countersigned is not what was asked for, or no longer the record";
    /// Nothing is left of the record but its anchor.
    RecordShredded = 165, "the record was shredded";
    /// A hold forbids it, or is there already.
    RecordOnLegalHold = 166, "the record is on legal hold";
    /// There is no hold of the sender's kind.
    NotOnLegalHold = 167, "the record is not on hold by the sender";
    /// An organization speaks for its own records only.
    RecordOfAnother = 168, "the record is another organization's";
    /// The patient disputed this access before.
    AccessDisputed = 169, "the access was disputed before";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ascending_and_never_zero() {
        let codes: Vec<u32> = Reject::TABLE.iter().map(|row| row.0).collect();
        assert!(codes[0] > 0);
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
    }

    #[test]
    fn every_code_is_documented() {
        let page = include_str!("../../docs/reject-codes.md");
        for (code, name, _) in Reject::TABLE {
            assert!(
                page.contains(&format!("| {code} | `{name}` |")),
                "{code} {name} is missing in docs/reject-codes.md"
            );
        }
        let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains("| `")).count();
        assert_eq!(rows, Reject::TABLE.len(), "docs/reject-codes.md has a code that does not exist");
    }
}
