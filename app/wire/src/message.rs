//! The closed set of messages, each with its type URL. A message that is not here is refused.

use prost::Message as _;
use prost_types::Any;

use crate::proto::{accounts, audit, consent, governance, identity, insurance, records};

/// Why a message was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// No such message in this version of the ledger.
    #[error("the message type is not one of CareLedger's")]
    UnknownType,
    /// The bytes do not decode, or are not the only encoding of what they decode to: an
    /// unknown field, an explicit default, or fields out of order (Cosmos SDK ADR-020, ADR-027).
    #[error("the message is not in canonical protobuf encoding, or has an unknown field")]
    NotCanonical,
}

macro_rules! messages {
    ($($(#[$doc:meta])* $variant:ident($type:path) = $url:literal,)*) => {
        /// One message of a transaction.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Message {
            $($(#[$doc])* $variant($type),)*
        }

        impl Message {
            /// Every type URL, in the order of the table.
            pub const TYPE_URLS: &[&str] = &[$($url),*];

            /// Reads a message strictly.
            pub fn decode(any: &Any) -> Result<Self, MessageError> {
                match any.type_url.as_str() {
                    $($url => Ok(Self::$variant(canonical::<$type>(&any.value)?)),)*
                    _ => Err(MessageError::UnknownType),
                }
            }

            /// The message as a transaction carries it.
            pub fn to_any(&self) -> Any {
                match self {
                    $(Self::$variant(message) => Any {
                        type_url: $url.to_owned(),
                        value: message.encode_to_vec(),
                    },)*
                }
            }

            /// Its type URL.
            pub fn type_url(&self) -> &'static str {
                match self { $(Self::$variant(_) => $url,)* }
            }

            /// The account that must have signed, as the message spells it.
            pub fn sender(&self) -> &str {
                match self { $(Self::$variant(message) => &message.sender,)* }
            }
        }

        $(impl From<$type> for Message {
            fn from(message: $type) -> Self {
                Self::$variant(message)
            }
        })*
    };
}

messages! {
    /// docs/transactions/register-organization.md
    RegisterOrganization(identity::MsgRegisterOrganization) = "/careledger.identity.v1.MsgRegisterOrganization",
    /// docs/transactions/suspend-organization.md
    SuspendOrganization(identity::MsgSuspendOrganization) = "/careledger.identity.v1.MsgSuspendOrganization",
    /// docs/transactions/enrol-practitioner.md
    EnrolPractitioner(identity::MsgEnrolPractitioner) = "/careledger.identity.v1.MsgEnrolPractitioner",
    /// docs/transactions/open-subject.md
    OpenSubject(identity::MsgOpenSubject) = "/careledger.identity.v1.MsgOpenSubject",
    /// docs/transactions/claim-subject.md
    ClaimSubject(identity::MsgClaimSubject) = "/careledger.identity.v1.MsgClaimSubject",
    /// docs/transactions/request-access.md
    RequestAccess(consent::MsgRequestAccess) = "/careledger.consent.v1.MsgRequestAccess",
    /// docs/transactions/grant-consent.md
    GrantConsent(consent::MsgGrantConsent) = "/careledger.consent.v1.MsgGrantConsent",
    /// docs/transactions/revoke-consent.md
    RevokeConsent(consent::MsgRevokeConsent) = "/careledger.consent.v1.MsgRevokeConsent",
    /// docs/transactions/anchor-records.md
    AnchorRecords(records::MsgAnchorRecords) = "/careledger.records.v1.MsgAnchorRecords",
    /// docs/transactions/supersede-records.md
    SupersedeRecords(records::MsgSupersedeRecords) = "/careledger.records.v1.MsgSupersedeRecords",
    /// docs/transactions/mark-entered-in-error.md
    MarkEnteredInError(records::MsgMarkEnteredInError) = "/careledger.records.v1.MsgMarkEnteredInError",
    /// docs/transactions/anchor-access-log.md
    AnchorAccessLog(audit::MsgAnchorAccessLog) = "/careledger.audit.v1.MsgAnchorAccessLog",
    /// docs/transactions/publish-plan.md
    PublishPlan(insurance::MsgPublishPlan) = "/careledger.insurance.v1.MsgPublishPlan",
    /// docs/transactions/anchor-attestation.md
    AnchorAttestation(insurance::MsgAnchorAttestation) = "/careledger.insurance.v1.MsgAnchorAttestation",
    /// docs/transactions/revoke-attestation.md
    RevokeAttestation(insurance::MsgRevokeAttestation) = "/careledger.insurance.v1.MsgRevokeAttestation",
    /// docs/transactions/anchor-enrolment.md
    AnchorEnrolment(insurance::MsgAnchorEnrolment) = "/careledger.insurance.v1.MsgAnchorEnrolment",
    /// docs/transactions/prove-eligibility.md
    ProveEligibility(insurance::MsgProveEligibility) = "/careledger.insurance.v1.MsgProveEligibility",

    /// docs/transactions/propose.md
    Propose(governance::MsgPropose) = "/careledger.governance.v1.MsgPropose",
    /// docs/transactions/vote.md
    Vote(governance::MsgVote) = "/careledger.governance.v1.MsgVote",
    /// docs/transactions/rescind.md
    Rescind(governance::MsgRescind) = "/careledger.governance.v1.MsgRescind",
    /// docs/transactions/suspend-practitioner.md
    SuspendPractitioner(governance::MsgSuspendPractitioner) = "/careledger.governance.v1.MsgSuspendPractitioner",
    /// docs/transactions/anchor-batch.md
    AnchorBatch(records::MsgAnchorBatch) = "/careledger.records.v1.MsgAnchorBatch",
    /// docs/transactions/extract-record.md
    ExtractRecord(records::MsgExtractRecord) = "/careledger.records.v1.MsgExtractRecord",
    /// docs/transactions/request-countersignature.md
    RequestCountersignature(records::MsgRequestCountersignature) = "/careledger.records.v1.MsgRequestCountersignature",
    /// docs/transactions/give-countersignature.md
    GiveCountersignature(records::MsgGiveCountersignature) = "/careledger.records.v1.MsgGiveCountersignature",
    /// docs/transactions/shred-record.md
    ShredRecord(records::MsgShredRecord) = "/careledger.records.v1.MsgShredRecord",
    /// docs/transactions/set-legal-hold.md
    SetLegalHold(records::MsgSetLegalHold) = "/careledger.records.v1.MsgSetLegalHold",
    /// docs/transactions/release-legal-hold.md
    ReleaseLegalHold(records::MsgReleaseLegalHold) = "/careledger.records.v1.MsgReleaseLegalHold",
    /// docs/transactions/dispute-access.md
    DisputeAccess(audit::MsgDisputeAccess) = "/careledger.audit.v1.MsgDisputeAccess",
    /// docs/transactions/amend-consent.md
    AmendConsent(consent::MsgAmendConsent) = "/careledger.consent.v1.MsgAmendConsent",
    /// docs/transactions/reinstate-consent.md
    ReinstateConsent(consent::MsgReinstateConsent) = "/careledger.consent.v1.MsgReinstateConsent",
    /// docs/transactions/delegate-consent.md
    DelegateConsent(consent::MsgDelegateConsent) = "/careledger.consent.v1.MsgDelegateConsent",
    /// docs/transactions/appoint-guardian.md
    AppointGuardian(consent::MsgAppointGuardian) = "/careledger.consent.v1.MsgAppointGuardian",
    /// docs/transactions/break-glass.md
    BreakGlass(consent::MsgBreakGlass) = "/careledger.consent.v1.MsgBreakGlass",
    /// docs/transactions/review-emergency.md
    ReviewEmergency(consent::MsgReviewEmergency) = "/careledger.consent.v1.MsgReviewEmergency",
    /// docs/transactions/approve-standing.md
    ApproveStanding(consent::MsgApproveStanding) = "/careledger.consent.v1.MsgApproveStanding",
    /// docs/transactions/withdraw-standing.md
    WithdrawStanding(consent::MsgWithdrawStanding) = "/careledger.consent.v1.MsgWithdrawStanding",
    /// docs/transactions/add-key.md
    AddKey(accounts::MsgAddKey) = "/careledger.accounts.v1.MsgAddKey",
    /// docs/transactions/remove-key.md
    RemoveKey(accounts::MsgRemoveKey) = "/careledger.accounts.v1.MsgRemoveKey",
    /// docs/transactions/set-guardians.md
    SetGuardians(accounts::MsgSetGuardians) = "/careledger.accounts.v1.MsgSetGuardians",
    /// docs/transactions/approve-recovery.md
    ApproveRecovery(accounts::MsgApproveRecovery) = "/careledger.accounts.v1.MsgApproveRecovery",
    /// docs/transactions/attest-recovery.md
    AttestRecovery(accounts::MsgAttestRecovery) = "/careledger.accounts.v1.MsgAttestRecovery",
    /// docs/transactions/veto-recovery.md
    VetoRecovery(accounts::MsgVetoRecovery) = "/careledger.accounts.v1.MsgVetoRecovery",
    /// docs/transactions/finish-recovery.md
    FinishRecovery(accounts::MsgFinishRecovery) = "/careledger.accounts.v1.MsgFinishRecovery",
}

impl Message {
    /// The format of the state from which on a message may say this. A program from before it does not know the field.
    pub fn format(&self) -> u32 {
        match self {
            Self::AppointGuardian(message) if message.binding.is_some() => 5,
            _ => 1,
        }
    }
}

/// Decodes `bytes` and refuses every encoding but the canonical one. Prost drops unknown fields
/// silently; encoding again shows what it dropped.
pub(crate) fn canonical<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, MessageError> {
    let message = M::decode(bytes).map_err(|_| MessageError::NotCanonical)?;
    if message.encoded_len() == bytes.len() && message.encode_to_vec() == bytes {
        Ok(message)
    } else {
        Err(MessageError::NotCanonical)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_types_and_fields_are_refused() {
        let revoke = Message::from(consent::MsgRevokeConsent {
            sender: "care1".to_owned(),
            subject: vec![1; 32],
            grant: vec![2; 32],
        });
        let any = revoke.to_any();
        assert_eq!(Message::decode(&any), Ok(revoke));

        let unknown_type = Any { type_url: "/cosmos.bank.v1beta1.MsgSend".to_owned(), ..any.clone() };
        assert_eq!(Message::decode(&unknown_type), Err(MessageError::UnknownType));

        // Field 15 with varint 1; an explicit empty field 1; a truncated field.
        for appended in [&[0x78, 0x01][..], &[0x0a, 0x00], &[0x12]] {
            let mut value = any.value.clone();
            value.extend_from_slice(appended);
            let changed = Any { value, ..any.clone() };
            assert_eq!(Message::decode(&changed), Err(MessageError::NotCanonical), "{appended:?}");
        }
    }

    #[test]
    fn every_type_url_is_there_once() {
        let mut urls = Message::TYPE_URLS.to_vec();
        urls.sort_unstable();
        urls.dedup();
        assert_eq!(urls.len(), Message::TYPE_URLS.len());
    }
}
