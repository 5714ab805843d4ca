//! Everything that a transaction can do: one file each, one table.

use careledger_wire::message::Message;

use crate::{
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

mod add_key;
mod amend_consent;
mod anchor_access_log;
mod anchor_attestation;
mod anchor_enrolment;
mod anchor_records;
mod appoint_guardian;
mod approve_recovery;
mod approve_standing;
mod attest_recovery;
mod break_glass;
mod claim_subject;
mod commitment_tree;
mod delegate_consent;
mod enrol_practitioner;
mod fields;
mod finish_recovery;
mod grant_consent;
mod mark_entered_in_error;
mod open_subject;
mod possession;
mod prove_eligibility;
mod publish_plan;
mod recovering;
mod register_organization;
mod reinstate_consent;
mod remove_key;
mod request_access;
mod review_emergency;
mod revoke_attestation;
mod revoke_consent;
mod set_guardians;
pub(crate) mod standing;
mod supersede_records;
mod suspend_organization;
mod veto_recovery;
mod withdraw_standing;

mod anchor_batch;
mod dispute_access;
mod extract_record;
mod give_countersignature;
mod propose;
mod release_legal_hold;
mod request_countersignature;
mod rescind;
mod set_legal_hold;
mod shred_record;
mod suspend_practitioner;
mod vote;

pub(crate) use commitment_tree::node as commitment_tree_node;

/// Something that can be used once on a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Path at which the state notes the use.
    pub path: Vec<u8>,
    /// What to answer who uses it again.
    pub used: Reject,
}

/// One thing that a transaction can do. From phase to phase power rises and frequency falls.
pub trait Action: Sized {
    /// The message that asks for it.
    type Message;

    /// What the message uses that can be used once; nothing where the message cannot be understood. Cheap:
    /// nobody has signed the message yet. A transaction that uses anything again may be in no block, so
    /// `check` and `execute` never see one. `execute` must write at every path.
    fn once(_message: &Self::Message) -> Vec<Once> {
        Vec::new()
    }

    /// Shape and ranges. Sees no state.
    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject>;

    /// Rules that depend on state. Runs immediately before `execute`.
    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject>;

    /// Writes. Cannot reject: `check` passed on this same state a moment ago.
    fn execute(self, block: &BlockContext, state: &mut impl StateWrite);
}

macro_rules! actions {
    ($($module:ident::$name:ident),* $(,)?) => {
        $(pub use $module::$name;)*

        /// An action whose message was understood.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "each has its page in docs/transactions")]
        pub enum AnyAction {
            $($name($name),)*
        }

        impl AnyAction {
            /// See [`Action::parse`].
            pub fn parse(sender: &Sender, message: Message) -> Result<Self, Reject> {
                match message {
                    $(Message::$name(message) => $name::parse(sender, message).map(Self::$name),)*
                }
            }

            /// See [`Action::once`].
            pub fn once(message: &Message) -> Vec<Once> {
                match message { $(Message::$name(message) => $name::once(message),)* }
            }

            /// See [`Action::check`].
            pub fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
                match self { $(Self::$name(action) => action.check(block, state),)* }
            }

            /// See [`Action::execute`].
            pub fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
                match self { $(Self::$name(action) => action.execute(block, state),)* }
            }
        }
    };
}

// With the file's `mod` line above, this is all that makes an action known. The `mod` lines stay
// outside of the macro: rustfmt finds a file only by them.
actions! {
    register_organization::RegisterOrganization,
    suspend_organization::SuspendOrganization,
    enrol_practitioner::EnrolPractitioner,
    open_subject::OpenSubject,
    claim_subject::ClaimSubject,
    request_access::RequestAccess,
    grant_consent::GrantConsent,
    revoke_consent::RevokeConsent,
    anchor_records::AnchorRecords,
    supersede_records::SupersedeRecords,
    mark_entered_in_error::MarkEnteredInError,
    anchor_access_log::AnchorAccessLog,
    publish_plan::PublishPlan,
    anchor_attestation::AnchorAttestation,
    revoke_attestation::RevokeAttestation,
    anchor_enrolment::AnchorEnrolment,
    prove_eligibility::ProveEligibility,
    propose::Propose,
    vote::Vote,
    rescind::Rescind,
    suspend_practitioner::SuspendPractitioner,
    anchor_batch::AnchorBatch,
    extract_record::ExtractRecord,
    request_countersignature::RequestCountersignature,
    give_countersignature::GiveCountersignature,
    shred_record::ShredRecord,
    set_legal_hold::SetLegalHold,
    release_legal_hold::ReleaseLegalHold,
    dispute_access::DisputeAccess,
    amend_consent::AmendConsent,
    reinstate_consent::ReinstateConsent,
    delegate_consent::DelegateConsent,
    appoint_guardian::AppointGuardian,
    break_glass::BreakGlass,
    review_emergency::ReviewEmergency,
    approve_standing::ApproveStanding,
    withdraw_standing::WithdrawStanding,
    add_key::AddKey,
    remove_key::RemoveKey,
    set_guardians::SetGuardians,
    approve_recovery::ApproveRecovery,
    attest_recovery::AttestRecovery,
    veto_recovery::VetoRecovery,
    finish_recovery::FinishRecovery,
}
