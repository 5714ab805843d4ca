//! From a command to the message that it describes.

use std::{fs, path::PathBuf};

use careledger_app::{
    insurance::{Bound, prove_eligibility, publish_plan},
    wallet::EncryptionPair,
};
use careledger_wire::{
    commitment,
    ids::{Address, Digest, GrantId, RequestId},
    message::Message,
    proto::{audit, consent, identity, insurance, records},
};
use careledger_zk::{binding, document::ProofDocument, plan::Plan};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Failure, Result,
    messages::Action,
    parse::{AnchorArgument, SupersessionArgument, with_file},
};

/// Who sends, as far as messages depend on it.
pub struct Sending {
    /// Account of the sender.
    pub sender: Address,
    /// Organization of `--derive`, and the patient's encryption key there.
    pub derived: Option<(Address, EncryptionPair)>,
    /// Clock of this machine, Unix seconds.
    pub now: i64,
}

/// A message, and what its sender needs to know of it later.
pub struct Prepared {
    /// What is signed.
    pub message: Message,
    /// Ids that were chosen or computed here, for the result.
    pub ids: Map<String, Value>,
}

impl Action {
    /// The message that this command describes.
    pub fn prepare(&self, sending: &Sending) -> Result<Prepared> {
        let mut ids = Map::new();
        let message = match self {
            Self::RegisterOrganization { .. }
            | Self::SuspendOrganization { .. }
            | Self::EnrolPractitioner { .. }
            | Self::OpenSubject { .. }
            | Self::ClaimSubject { .. } => self.identity(sending, &mut ids)?,
            Self::Consent(action) => action.prepare(sending, &mut ids),
            Self::RequestAccess { .. } | Self::GrantConsent { .. } | Self::RevokeConsent { .. } => {
                self.consent(sending, &mut ids)?
            }
            Self::AnchorRecords { .. }
            | Self::SupersedeRecords { .. }
            | Self::MarkEnteredInError { .. }
            | Self::AnchorAccessLog { .. } => self.records(sending)?,
            Self::PublishPlan { .. }
            | Self::AnchorAttestation { .. }
            | Self::RevokeAttestation { .. }
            | Self::AnchorEnrolment { .. }
            | Self::ProveEligibility { .. } => self.insurance(sending, &mut ids)?,
            Self::Propose(_) | Self::Vote { .. } | Self::Rescind { .. } | Self::SuspendPractitioner { .. } => {
                self.governance(sending, &mut ids)
            }
            Self::AnchorBatch { .. }
            | Self::ExtractRecord { .. }
            | Self::RequestCountersignature { .. }
            | Self::GiveCountersignature { .. }
            | Self::ShredRecord { .. }
            | Self::SetLegalHold { .. }
            | Self::DisputeAccess { .. }
            | Self::ReleaseLegalHold { .. } => self.custody(sending, &mut ids)?,
            Self::Accounts(action) => action.message(sending.sender.to_string()),
        };
        Ok(Prepared { message, ids })
    }

    fn identity(&self, sending: &Sending, ids: &mut Map<String, Value>) -> Result<Message> {
        let sender = sending.sender.to_string();
        Ok(match self {
            Self::RegisterOrganization { organization, kind, encryption_key, evidence, expires_at, emergency } => {
                identity::MsgRegisterOrganization {
                    sender,
                    organization: organization.to_vec(),
                    kind: (*kind).into(),
                    encryption_key: encryption_key.to_vec(),
                    evidence: evidence.to_vec(),
                    expires_at: expires_at.0,
                    emergency: *emergency,
                }
                .into()
            }
            Self::SuspendOrganization { organization, reason } => identity::MsgSuspendOrganization {
                sender,
                organization: organization.to_vec(),
                reason: (*reason).into(),
            }
            .into(),
            Self::EnrolPractitioner { practitioner, role, qualification, expires_at, binding } => {
                identity::MsgEnrolPractitioner {
                    sender,
                    practitioner: practitioner.to_vec(),
                    role: (*role).into(),
                    qualification: qualification.to_vec(),
                    expires_at: expires_at.0,
                    binding: binding.as_ref().map(|binding| binding.0.clone()),
                }
                .into()
            }
            Self::OpenSubject { claimant, binding } => {
                ids.insert("subject".to_owned(), json!(commitment::subject_id(&sending.sender, claimant)));
                let binding = binding.as_ref().map(|binding| binding.0.clone());
                identity::MsgOpenSubject { sender, claimant: claimant.to_vec(), binding }.into()
            }
            Self::ClaimSubject { subject, encryption_key } => {
                let derived = sending.derived.as_ref();
                let own = derived.map(|(organization, _)| commitment::subject_id(organization, &sending.sender));
                let subject = subject.or(own).ok_or_else(|| needs_derive("--subject"))?;
                let key = encryption_key.or(derived.map(|(_, pair)| pair.public));
                let encryption_key = key.ok_or_else(|| needs_derive("--encryption-key"))?.to_vec();
                ids.insert("subject".to_owned(), json!(subject));
                identity::MsgClaimSubject { sender, subject: subject.to_vec(), encryption_key }.into()
            }
            _ => unreachable!("prepare() sends the other actions elsewhere"),
        })
    }

    fn consent(&self, sending: &Sending, ids: &mut Map<String, Value>) -> Result<Message> {
        let sender = sending.sender.to_string();
        Ok(match self {
            Self::RequestAccess { subject, request, terms, body, expires_at, standing } => {
                let request = request.unwrap_or_else(|| RequestId::new(rand::random()));
                ids.insert("request".to_owned(), json!(request));
                consent::MsgRequestAccess {
                    sender,
                    subject: subject.to_vec(),
                    request: request.to_vec(),
                    terms: terms.to_vec(),
                    body: body.to_vec(),
                    expires_at: expires_at.0,
                    standing: standing.map(|standing| standing.to_vec()).unwrap_or_default(),
                }
                .into()
            }
            Self::GrantConsent { subject, grant, grantee, window, request, delegable } => {
                let grant = grant.unwrap_or_else(|| GrantId::new(rand::random()));
                ids.insert("grant".to_owned(), json!(grant));
                consent::MsgGrantConsent {
                    sender,
                    subject: subject.to_vec(),
                    grant: grant.to_vec(),
                    grantee: grantee.to_vec(),
                    mode: window.mode.into(),
                    not_before: window.not_before(sending),
                    expires_at: window.expires_at.0,
                    terms: window.terms.to_vec(),
                    body: window.body.to_vec(),
                    request: request.map(|request| request.to_vec()).unwrap_or_default(),
                    delegable: *delegable,
                }
                .into()
            }
            Self::RevokeConsent { subject, grant } => {
                consent::MsgRevokeConsent { sender, subject: subject.to_vec(), grant: grant.to_vec() }.into()
            }
            _ => unreachable!("prepare() sends the other actions elsewhere"),
        })
    }

    fn records(&self, sending: &Sending) -> Result<Message> {
        let sender = sending.sender.to_string();
        Ok(match self {
            Self::AnchorRecords { anchors, file } => {
                let anchors = with_file(anchors, file.as_ref()).map_err(Failure::new)?;
                let anchors = anchors.into_iter().map(|AnchorArgument(record, commitment)| records::Anchor {
                    record: record.to_vec(),
                    commitment: commitment.to_vec(),
                });
                records::MsgAnchorRecords { sender, anchors: anchors.collect() }.into()
            }
            Self::SupersedeRecords { records, file } => {
                let given = with_file(records, file.as_ref()).map_err(Failure::new)?;
                let supersessions = given.into_iter().map(|SupersessionArgument(record, version, commitment)| {
                    records::Supersession { record: record.to_vec(), version, commitment: commitment.to_vec() }
                });
                records::MsgSupersedeRecords { sender, supersessions: supersessions.collect() }.into()
            }
            Self::MarkEnteredInError { record, version } => {
                records::MsgMarkEnteredInError { sender, record: record.to_vec(), version: *version }.into()
            }
            Self::AnchorAccessLog { batch, root, count, period_start, period_end } => audit::MsgAnchorAccessLog {
                sender,
                sequence: *batch,
                root: root.to_vec(),
                count: *count,
                period_start: period_start.0,
                period_end: period_end.0,
            }
            .into(),
            _ => unreachable!("prepare() sends the other actions elsewhere"),
        })
    }

    fn insurance(&self, sending: &Sending, ids: &mut Map<String, Value>) -> Result<Message> {
        let sender = sending.sender.to_string();
        Ok(match self {
            Self::PublishPlan { plan, policy, contract } => {
                let plan: Plan = serde_json::from_slice(&read(plan)?)
                    .map_err(|error| Failure::new(format!("{}: {error}", plan.display())))?;
                plan.check_partition().map_err(Failure::new)?;
                let policy = Digest::new(Sha256::digest(policy.as_bytes()).into());
                check_policy(&plan, &sending.sender, &policy)?;
                ids.insert("plan".to_owned(), json!(plan.commitment()));
                let contract = Digest::new(Sha256::digest(read(contract)?).into());
                publish_plan(&sending.sender, &plan, &policy, &contract).into()
            }
            Self::AnchorAttestation { commitment } => {
                insurance::MsgAnchorAttestation { sender, commitment: commitment.to_vec() }.into()
            }
            Self::RevokeAttestation { commitments } => {
                let commitments = commitments.iter().map(|commitment| commitment.to_vec()).collect();
                insurance::MsgRevokeAttestation { sender, commitments }.into()
            }
            Self::AnchorEnrolment { commitment } => {
                insurance::MsgAnchorEnrolment { sender, commitment: commitment.to_vec() }.into()
            }
            Self::ProveEligibility { proof: path, insurer, claim, expires_at } => {
                let damaged = |error: String| Failure::new(format!("{}: {error}", path.display()));
                let document: ProofDocument =
                    serde_json::from_slice(&read(path)?).map_err(|error| damaged(error.to_string()))?;
                let (submitter, expires_at) = (sending.sender, expires_at.0);
                let bound = Bound { submitter, insurer: *insurer, claim: *claim, expires_at };
                prove_eligibility(&document, &bound).map_err(|error| damaged(error.to_string()))?.into()
            }
            _ => unreachable!("prepare() sends the other actions elsewhere"),
        })
    }
}

/// Refuses a plan that the ledger would know under another commitment than its file.
fn check_policy(plan: &Plan, insurer: &Address, policy: &Digest) -> Result<()> {
    let policy_id = binding::policy_id_of(insurer.as_bytes(), policy.as_bytes());
    let scope = binding::scope_of(insurer.as_bytes());
    if (plan.policy_id, plan.scope) == (policy_id, scope) {
        return Ok(());
    }
    let (policy_id, scope) = (hex::encode(policy_id.to_bytes()), hex::encode(scope.to_bytes()));
    Err(Failure::new("the plan is of another insurer or policy")
        .next(format!("for this sender and --policy its policy_id is {policy_id} and its scope {scope}")))
}

fn read(path: &PathBuf) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

pub(super) fn needs_derive(flag: &str) -> Failure {
    Failure::new(format!("this needs {flag}, or --derive with the organization"))
        .next("--derive ORGANIZATION signs with the key that the organization knows, and finds the subject by itself")
}
