//! Everything that a transaction can do: one file each, one table.

use careledger_wire::message::Message;

use crate::{
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

mod add_key;
mod anchor_access_log;
mod anchor_attestation;
mod anchor_enrolment;
mod anchor_records;
mod approve_recovery;
mod attest_recovery;
mod claim_subject;
mod commitment_tree;
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
mod remove_key;
mod request_access;
mod revoke_consent;
mod set_guardians;
pub(crate) mod standing;
mod supersede_records;
mod suspend_organization;
mod veto_recovery;

pub use add_key::AddKey;
pub use anchor_access_log::AnchorAccessLog;
pub use anchor_attestation::AnchorAttestation;
pub use anchor_enrolment::AnchorEnrolment;
pub use anchor_records::AnchorRecords;
pub use approve_recovery::ApproveRecovery;
pub use attest_recovery::AttestRecovery;
pub use claim_subject::ClaimSubject;
pub(crate) use commitment_tree::node as commitment_tree_node;
pub use enrol_practitioner::EnrolPractitioner;
pub use finish_recovery::FinishRecovery;
pub use grant_consent::GrantConsent;
pub use mark_entered_in_error::MarkEnteredInError;
pub use open_subject::OpenSubject;
pub use prove_eligibility::ProveEligibility;
pub use publish_plan::PublishPlan;
pub use register_organization::RegisterOrganization;
pub use remove_key::RemoveKey;
pub use request_access::RequestAccess;
pub use revoke_consent::RevokeConsent;
pub use set_guardians::SetGuardians;
pub use supersede_records::SupersedeRecords;
pub use suspend_organization::SuspendOrganization;
pub use veto_recovery::VetoRecovery;

/// One thing that a transaction can do. From phase to phase power rises and frequency falls.
pub trait Action: Sized {
    /// The message that asks for it.
    type Message;

    /// Shape and ranges. Sees no state.
    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject>;

    /// Rules that depend on state. Runs immediately before `execute`.
    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject>;

    /// Writes. Cannot reject: `check` passed on this same state a moment ago.
    fn execute(self, block: &BlockContext, state: &mut impl StateWrite);
}

macro_rules! actions {
    ($($name:ident),* $(,)?) => {
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

actions! {
    RegisterOrganization, SuspendOrganization, EnrolPractitioner, OpenSubject, ClaimSubject,
    RequestAccess, GrantConsent, RevokeConsent,
    AnchorRecords, SupersedeRecords, MarkEnteredInError,
    AnchorAccessLog,
    PublishPlan, AnchorAttestation, AnchorEnrolment, ProveEligibility,
    AddKey, RemoveKey, SetGuardians, ApproveRecovery, AttestRecovery, VetoRecovery, FinishRecovery,
}
