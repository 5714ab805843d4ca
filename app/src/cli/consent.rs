//! Transactions of consent beyond granting and revoking, as commands.

use careledger_wire::{
    ids::{Address, Commitment, Digest, EmergencyId, GrantId, StandingId, SubjectId},
    message::Message,
    proto::consent,
};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    messages::{EmergencyReason, Mode, ReviewOutcome},
    parse::{BindingArgument, UnixTime},
    prepare::Sending,
};

/// What a grant opens, and for how long: the same whether it is given, amended or delegated.
#[derive(Debug, Clone, Args)]
pub struct Window {
    /// What it opens; a delegate's grant opens what the delegated one does.
    #[arg(long)]
    pub mode: Mode,
    /// First second of the window [default: now].
    #[arg(long, value_name = "TIME")]
    not_before: Option<UnixTime>,
    /// End of the window, exclusive.
    #[arg(long, value_name = "TIME")]
    pub expires_at: UnixTime,
    /// Salted commitment to purpose, scope, data period and actor; careledger-gateway consent prepare prints it.
    #[arg(long, value_name = "HEX")]
    pub terms: Commitment,
    /// Salted hash of the FHIR Consent in canonical form; careledger-gateway consent prepare prints it.
    #[arg(long, value_name = "HEX")]
    pub body: Digest,
}

impl Window {
    /// First second, Unix seconds.
    pub fn not_before(&self, sending: &Sending) -> i64 {
        self.not_before.map_or(sending.now, |time| time.0)
    }
}

/// What to send. docs/transactions/ has a page for each.
#[derive(Debug, Subcommand)]
pub enum ConsentAction {
    /// A patient, or the patient's guardian, changes a grant that stands.
    AmendConsent {
        /// The subject.
        #[arg(long, value_name = "HEX")]
        subject: SubjectId,
        /// The grant.
        #[arg(long, value_name = "HEX")]
        grant: GrantId,
        /// The version that this makes: 2 for the first amendment, then one more each time.
        #[arg(long)]
        version: u32,
        #[command(flatten)]
        window: Window,
        /// The grantee may let one more organization act within the grant.
        #[arg(long)]
        delegable: bool,
    },
    /// A patient opens a revoked grant again.
    ReinstateConsent {
        /// The subject.
        #[arg(long, value_name = "HEX")]
        subject: SubjectId,
        /// The grant.
        #[arg(long, value_name = "HEX")]
        grant: GrantId,
    },
    /// A grantee lets one more organization act within its grant.
    DelegateConsent {
        /// The subject.
        #[arg(long, value_name = "HEX")]
        subject: SubjectId,
        /// The grant that is delegated.
        #[arg(long, value_name = "HEX")]
        parent: GrantId,
        /// Id of the delegate's grant [default: random].
        #[arg(long, value_name = "HEX")]
        grant: Option<GrantId>,
        /// The organization that may act on it.
        #[arg(long, value_name = "ADDRESS")]
        grantee: Address,
        #[command(flatten)]
        window: Window,
    },
    /// A subject's organization or the subject approves a guardian; both must approve the same.
    AppointGuardian {
        /// The subject.
        #[arg(long, value_name = "HEX")]
        subject: SubjectId,
        /// Account that the guardian's wallet derived for this subject alone.
        #[arg(long, value_name = "ADDRESS")]
        guardian: Address,
        /// End of the guardianship, exclusive.
        #[arg(long, value_name = "TIME")]
        until: UnixTime,
        /// Salted commitment to the evidence.
        #[arg(long, value_name = "HEX")]
        evidence: Commitment,
        /// The guardian's word (keys bind-to --organization, of the one that opened the subject): nobody else can have the
        /// account then.
        #[arg(long, value_name = "KIND:KEY:SIGNATURE")]
        binding: Option<BindingArgument>,
    },
    /// An accredited organization opens a view without consent.
    BreakGlass {
        /// The subject.
        #[arg(long, value_name = "HEX")]
        subject: SubjectId,
        /// Id of the emergency [default: random].
        #[arg(long, value_name = "HEX")]
        emergency: Option<EmergencyId>,
        /// The practitioner who looks.
        #[arg(long, value_name = "ADDRESS")]
        practitioner: Address,
        /// Why.
        #[arg(long)]
        reason: EmergencyReason,
        /// How long the view is open, in seconds: a day at most.
        #[arg(long)]
        seconds: u32,
    },
    /// Another organization, or a registrar, reviews an emergency.
    ReviewEmergency {
        /// The subject.
        #[arg(long, value_name = "HEX")]
        subject: SubjectId,
        /// The emergency.
        #[arg(long, value_name = "HEX")]
        emergency: EmergencyId,
        /// What the review found.
        #[arg(long)]
        outcome: ReviewOutcome,
    },
    /// A patient approves requests of one organization in advance.
    ApproveStanding {
        /// The subject.
        #[arg(long, value_name = "HEX")]
        subject: SubjectId,
        /// Id of the approval [default: random].
        #[arg(long, value_name = "HEX")]
        standing: Option<StandingId>,
        /// The organization whose requests are granted.
        #[arg(long, value_name = "ADDRESS")]
        grantee: Address,
        /// What each grant opens.
        #[arg(long)]
        mode: Mode,
        /// Salted commitment to the terms that a request must name.
        #[arg(long, value_name = "HEX")]
        terms: Commitment,
        /// SHA3-256 of the sealed FHIR Consent.
        #[arg(long, value_name = "HEX")]
        body: Digest,
        /// Length of each grant, in seconds.
        #[arg(long)]
        grant_seconds: u32,
        /// No grant is made, and none lasts, beyond this.
        #[arg(long, value_name = "TIME")]
        expires_at: UnixTime,
        /// Grants that it may make.
        #[arg(long)]
        uses_max: u32,
    },
    /// A patient takes a standing approval back.
    WithdrawStanding {
        /// The subject.
        #[arg(long, value_name = "HEX")]
        subject: SubjectId,
        /// The approval.
        #[arg(long, value_name = "HEX")]
        standing: StandingId,
    },
}

impl ConsentAction {
    /// The message that this command describes. Ids that are chosen here go into `ids`.
    pub fn prepare(&self, sending: &Sending, ids: &mut Map<String, Value>) -> Message {
        let sender = sending.sender.to_string();
        match self {
            Self::AmendConsent { .. } | Self::ReinstateConsent { .. } | Self::DelegateConsent { .. } => {
                self.of_grant(sending, ids)
            }
            Self::AppointGuardian { subject, guardian, until, evidence, binding } => consent::MsgAppointGuardian {
                sender,
                subject: subject.to_vec(),
                guardian: guardian.to_vec(),
                until: until.0,
                evidence: evidence.to_vec(),
                binding: binding.clone().map(|binding| binding.0),
            }
            .into(),
            Self::BreakGlass { subject, emergency, practitioner, reason, seconds } => {
                let emergency = emergency.unwrap_or_else(|| EmergencyId::new(rand::random()));
                ids.insert("emergency".to_owned(), json!(emergency));
                consent::MsgBreakGlass {
                    sender,
                    subject: subject.to_vec(),
                    emergency: emergency.to_vec(),
                    practitioner: practitioner.to_vec(),
                    reason: (*reason).into(),
                    seconds: *seconds,
                }
                .into()
            }
            Self::ReviewEmergency { subject, emergency, outcome } => consent::MsgReviewEmergency {
                sender,
                subject: subject.to_vec(),
                emergency: emergency.to_vec(),
                outcome: (*outcome).into(),
            }
            .into(),
            Self::ApproveStanding { .. } | Self::WithdrawStanding { .. } => self.of_standing(sender, ids),
        }
    }

    fn of_grant(&self, sending: &Sending, ids: &mut Map<String, Value>) -> Message {
        let sender = sending.sender.to_string();
        match self {
            Self::AmendConsent { subject, grant, version, window, delegable } => consent::MsgAmendConsent {
                sender,
                subject: subject.to_vec(),
                grant: grant.to_vec(),
                version: *version,
                mode: window.mode.into(),
                not_before: window.not_before(sending),
                expires_at: window.expires_at.0,
                terms: window.terms.to_vec(),
                body: window.body.to_vec(),
                delegable: *delegable,
            }
            .into(),
            Self::ReinstateConsent { subject, grant } => {
                consent::MsgReinstateConsent { sender, subject: subject.to_vec(), grant: grant.to_vec() }.into()
            }
            Self::DelegateConsent { subject, parent, grant, grantee, window } => {
                let grant = grant.unwrap_or_else(|| GrantId::new(rand::random()));
                ids.insert("grant".to_owned(), json!(grant));
                consent::MsgDelegateConsent {
                    sender,
                    subject: subject.to_vec(),
                    parent: parent.to_vec(),
                    grant: grant.to_vec(),
                    grantee: grantee.to_vec(),
                    mode: window.mode.into(),
                    not_before: window.not_before(sending),
                    expires_at: window.expires_at.0,
                    terms: window.terms.to_vec(),
                    body: window.body.to_vec(),
                }
                .into()
            }
            _ => unreachable!("prepare() sends the other actions elsewhere"),
        }
    }

    fn of_standing(&self, sender: String, ids: &mut Map<String, Value>) -> Message {
        match self {
            Self::ApproveStanding {
                subject,
                standing,
                grantee,
                mode,
                terms,
                body,
                grant_seconds,
                expires_at,
                uses_max,
            } => {
                let standing = standing.unwrap_or_else(|| StandingId::new(rand::random()));
                ids.insert("standing".to_owned(), json!(standing));
                consent::MsgApproveStanding {
                    sender,
                    subject: subject.to_vec(),
                    standing: standing.to_vec(),
                    grantee: grantee.to_vec(),
                    mode: (*mode).into(),
                    terms: terms.to_vec(),
                    body: body.to_vec(),
                    grant_seconds: *grant_seconds,
                    expires_at: expires_at.0,
                    uses_max: *uses_max,
                }
                .into()
            }
            Self::WithdrawStanding { subject, standing } => {
                consent::MsgWithdrawStanding { sender, subject: subject.to_vec(), standing: standing.to_vec() }.into()
            }
            _ => unreachable!("prepare() sends the other actions elsewhere"),
        }
    }
}
