//! The transactions of registrars, and of custodians about batches, countersignatures and holds.

use std::path::PathBuf;

use careledger_app::{
    client::{Client, LISTED_BYTES_MAX},
    keys,
};
use careledger_wire::{
    access_log, commitment,
    ids::{Address, Commitment, Digest, ProposalId, RecordId, ValidatorKey},
    message::Message,
    proto::{audit, governance, records, state},
};
use clap::{Args, ValueEnum};
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::{
    Failure, Result,
    audit::read_inclusion,
    describe::{Describe, account, choice},
    messages::Action,
    parse::{AnchorArgument, UnixTime, now, with_file},
    prepare::{Sending, needs_derive},
};

/// What registrars decide on: exactly one of these.
#[derive(Debug, Args)]
#[group(id = "decision", required = true, multiple = true)]
pub struct Decision {
    /// One of the registrars from now on; repeat for each.
    #[arg(long = "registrar", value_name = "ADDRESS", requires = "threshold", conflicts_with_all = ["validator", "parameter", "upgrade"])]
    registrars: Vec<Address>,
    /// How many of them must agree.
    #[arg(long, requires = "registrars")]
    threshold: Option<u32>,
    /// A validator's Ed25519 public key.
    #[arg(long, value_name = "HEX", requires = "power", conflicts_with_all = ["parameter", "upgrade"])]
    validator: Option<ValidatorKey>,
    /// Its voting power; 0 removes it.
    #[arg(long, requires = "validator")]
    power: Option<u64>,
    /// A parameter.
    #[arg(long, requires = "value", conflicts_with = "upgrade")]
    parameter: Option<ParameterName>,
    /// Its value.
    #[arg(long, requires = "parameter")]
    value: Option<u64>,
    /// Format of the state after an upgrade: one more than now.
    #[arg(long, value_name = "VERSION", requires = "at_height")]
    upgrade: Option<u32>,
    /// First block of the upgrade; 0 calls it off.
    #[arg(long, value_name = "HEIGHT", requires = "upgrade")]
    at_height: Option<u64>,
}

/// What can change while the network runs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ParameterName {
    /// Most bytes of transactions in one block.
    BlockBytes,
    /// Blocks for which evidence is accepted.
    EvidenceAgeBlocks,
    /// Seconds for which evidence is accepted.
    EvidenceAgeSeconds,
    /// Longest validity of an unordered transaction.
    UnorderedSeconds,
    /// Offences that a validator survives.
    OffencesTolerated,
    /// How long a proposal can be voted on.
    ProposalSeconds,
}

impl From<ParameterName> for governance::Parameter {
    fn from(name: ParameterName) -> Self {
        match name {
            ParameterName::BlockBytes => Self::BlockBytes,
            ParameterName::EvidenceAgeBlocks => Self::EvidenceAgeBlocks,
            ParameterName::EvidenceAgeSeconds => Self::EvidenceAgeSeconds,
            ParameterName::UnorderedSeconds => Self::UnorderedSeconds,
            ParameterName::OffencesTolerated => Self::OffencesTolerated,
            ParameterName::ProposalSeconds => Self::ProposalSeconds,
        }
    }
}

/// What is proposed, and until when.
#[derive(Debug, Args)]
pub struct Proposing {
    /// Id of the proposal [default: random].
    #[arg(long, value_name = "HEX")]
    proposal: Option<ProposalId>,
    /// After this it can no longer be approved.
    #[arg(long, value_name = "TIME", default_value = "+14d")]
    expires_at: UnixTime,
    #[command(flatten)]
    decision: Decision,
}

impl Decision {
    fn content(&self) -> governance::Content {
        use governance::content::Decision as Wire;
        let decision = if let Some(threshold) = self.threshold {
            let mut registrars: Vec<Vec<u8>> = self.registrars.iter().map(Address::to_vec).collect();
            registrars.sort();
            Some(Wire::Registrars(governance::RegistrarChange { registrars, threshold }))
        } else if let (Some(key), Some(power)) = (self.validator, self.power) {
            Some(Wire::Validator(governance::ValidatorChange { public_key: key.to_vec(), power }))
        } else if let (Some(name), Some(value)) = (self.parameter, self.value) {
            let parameter = governance::Parameter::from(name).into();
            Some(Wire::Parameter(governance::ParameterChange { parameter, value }))
        } else if let (Some(version), Some(height)) = (self.upgrade, self.at_height) {
            Some(Wire::Upgrade(governance::ScheduledUpgrade { version, height }))
        } else {
            None
        };
        governance::Content { decision }
    }
}

impl Action {
    /// The messages of registrars, and of organizations about their staff.
    pub(super) fn governance(&self, sending: &Sending, ids: &mut Map<String, Value>) -> Message {
        let sender = sending.sender.to_string();
        match self {
            Self::Propose(proposing) => {
                let proposal = proposing.proposal.unwrap_or_else(|| ProposalId::new(rand::random()));
                ids.insert("proposal".to_owned(), json!(proposal));
                governance::MsgPropose {
                    sender,
                    proposal: proposal.to_vec(),
                    expires_at: proposing.expires_at.0,
                    content: Some(proposing.decision.content()),
                }
                .into()
            }
            Self::Vote { proposal } => governance::MsgVote { sender, proposal: proposal.to_vec() }.into(),
            Self::Rescind { proposal } => governance::MsgRescind { sender, proposal: proposal.to_vec() }.into(),
            Self::SuspendPractitioner { practitioner } => {
                governance::MsgSuspendPractitioner { sender, practitioner: practitioner.to_vec() }.into()
            }
            _ => unreachable!("prepare() sends the other actions elsewhere"),
        }
    }

    /// The messages of custodians about batches, countersignatures and holds.
    pub(super) fn custody(&self, sending: &Sending, ids: &mut Map<String, Value>) -> Result<Message> {
        let sender = sending.sender.to_string();
        Ok(match self {
            Self::AnchorBatch { file } => {
                let leaves = leaves(&batch(file)?);
                let root = access_log::root(&leaves);
                ids.insert("batch".to_owned(), json!(root));
                let count = u32::try_from(leaves.len()).map_err(Failure::new)?;
                records::MsgAnchorBatch { sender, root: root.to_vec(), count }.into()
            }
            Self::ExtractRecord { file, record } => extraction(sender, &batch(file)?, record)?.into(),
            Self::RequestCountersignature { record, version, countersigner, expires_at } => {
                records::MsgRequestCountersignature {
                    sender,
                    record: record.to_vec(),
                    version: *version,
                    countersigner: countersigner.to_vec(),
                    expires_at: expires_at.0,
                }
                .into()
            }
            Self::GiveCountersignature { organization, record, version, commitment } => {
                records::MsgGiveCountersignature {
                    sender,
                    organization: organization.to_vec(),
                    record: record.to_vec(),
                    version: *version,
                    commitment: commitment.to_vec(),
                }
                .into()
            }
            Self::DisputeAccess { subject, leaf, inclusion } => {
                let derived = sending.derived.as_ref();
                let own = derived.map(|(organization, _)| commitment::subject_id(organization, &sending.sender));
                let subject = subject.or(own).ok_or_else(|| needs_derive("--subject"))?;
                let place = read_inclusion(inclusion)?;
                audit::MsgDisputeAccess {
                    sender,
                    subject: subject.to_vec(),
                    sequence: place.sequence,
                    leaf: leaf.to_vec(),
                    index: u32::try_from(place.index).map_err(Failure::new)?,
                    path: place.path.iter().map(Digest::to_vec).collect(),
                }
                .into()
            }
            Self::ShredRecord { record } => records::MsgShredRecord { sender, record: record.to_vec() }.into(),
            Self::SetLegalHold { organization, record } => {
                let organization = organization.unwrap_or(sending.sender).to_vec();
                records::MsgSetLegalHold { sender, organization, record: record.to_vec() }.into()
            }
            Self::ReleaseLegalHold { organization, record } => {
                let organization = organization.unwrap_or(sending.sender).to_vec();
                records::MsgReleaseLegalHold { sender, organization, record: record.to_vec() }.into()
            }
            _ => unreachable!("prepare() sends the other actions elsewhere"),
        })
    }
}

fn batch(file: &PathBuf) -> Result<Vec<(RecordId, Commitment)>> {
    let given = with_file(&[], Some(file)).map_err(Failure::new)?;
    Ok(given.into_iter().map(|AnchorArgument(record, commitment)| (record, commitment)).collect())
}

fn leaves(batch: &[(RecordId, Commitment)]) -> Vec<Digest> {
    batch.iter().map(|(record, commitment)| access_log::record_leaf(record, commitment)).collect()
}

fn extraction(
    sender: String,
    batch: &[(RecordId, Commitment)],
    record: &RecordId,
) -> Result<records::MsgExtractRecord> {
    let place = batch.iter().position(|(other, _)| other == record);
    let index = place.ok_or_else(|| Failure::new("the file has no such record").next("name the batch's own file"))?;
    let leaves = leaves(batch);
    let path = access_log::inclusion_path(&leaves, index).expect("the place was found in the batch");
    Ok(records::MsgExtractRecord {
        sender,
        batch: access_log::root(&leaves).to_vec(),
        record: record.to_vec(),
        commitment: batch[index].1.to_vec(),
        index: u32::try_from(index).map_err(Failure::new)?,
        path: path.iter().map(Digest::to_vec).collect(),
    })
}

/// The proposals that can still be voted on, by id.
pub(super) async fn proposals(client: &Client) -> Result<Value> {
    let unreadable = || Failure::new("the node's value cannot be read");
    let parameters = client.get(keys::parameters().as_bytes()).await?.unwrap_or_default();
    let parameters = state::Parameters::decode(&*parameters).map_err(|_| unreadable())?;
    let generation = parameters.governance.unwrap_or_default().registrar_generation;
    let mut open = Map::new();
    for (key, value) in client.list(keys::PROPOSALS, None, LISTED_BYTES_MAX).await? {
        let proposal = state::Proposal::decode(&*value).map_err(|_| unreadable())?;
        let is_open = proposal.status() == state::ProposalStatus::Open && proposal.expires_at > now();
        if is_open && proposal.registrar_generation == generation {
            open.insert(hex::encode(&key[keys::PROPOSALS.len()..]), proposal.describe());
        }
    }
    Ok(Value::Object(open))
}

impl Describe for state::Parameters {
    fn describe(&self) -> Value {
        let governance = self.governance.unwrap_or_default();
        let upgrade = (governance.upgrade_version != 0)
            .then(|| json!({ "version": governance.upgrade_version, "height": governance.upgrade_height }));
        // What nobody voted on yet is as genesis and the limits say.
        let voted = |value: u64| (value != 0).then_some(value);
        json!({
            "registrars": self.registrars.iter().map(|registrar| account(registrar)).collect::<Vec<_>>(),
            "registrar_threshold": self.registrar_threshold,
            "state_version": governance.state_version.max(1),
            "upgrade": upgrade,
            "block_bytes": voted(governance.block_bytes),
            "evidence_age_blocks": voted(governance.evidence_age_blocks),
            "evidence_age_seconds": voted(governance.evidence_age_seconds),
            "unordered_seconds": voted(governance.unordered_seconds),
            "offences_tolerated": governance.offences_tolerated,
            "proposal_seconds": voted(governance.proposal_seconds),
        })
    }
}

impl Describe for state::Proposal {
    fn describe(&self) -> Value {
        use governance::content::Decision as Wire;
        let content = match self.content.as_ref().and_then(|content| content.decision.as_ref()) {
            Some(Wire::Registrars(change)) => json!({
                "registrars": change.registrars.iter().map(|registrar| account(registrar)).collect::<Vec<_>>(),
                "threshold": change.threshold,
            }),
            Some(Wire::Validator(change)) => {
                json!({ "validator": hex::encode(&change.public_key), "power": change.power })
            }
            Some(Wire::Parameter(change)) => {
                json!({ "parameter": choice(change.parameter().as_str_name(), "PARAMETER_"), "value": change.value })
            }
            Some(Wire::Upgrade(upgrade)) => json!({ "upgrade": upgrade.version, "at_height": upgrade.height }),
            None => Value::Null,
        };
        json!({
            "proposer": account(&self.proposer),
            "expires_at": self.expires_at,
            "approvals": self.approvals.iter().map(|approval| account(approval)).collect::<Vec<_>>(),
            "status": choice(self.status().as_str_name(), "PROPOSAL_STATUS_"),
            "closed_at": (self.closed_at != 0).then_some(self.closed_at),
            "content": content,
        })
    }
}

impl Describe for state::Validator {
    fn describe(&self) -> Value {
        let offences = self.newest_offences.iter().map(|offence| {
            json!({ "kind": offence.kind, "height": offence.height, "recorded_height": offence.recorded_height })
        });
        json!({
            "power": self.power,
            "removed_height": (self.removed_height != 0).then_some(self.removed_height),
            "offences": self.offences,
            "newest_offences": offences.collect::<Vec<_>>(),
        })
    }
}

impl Describe for state::Batch {
    fn describe(&self) -> Value {
        json!({ "count": self.count, "recorded_at": self.recorded_at })
    }
}

impl Describe for state::Countersignature {
    fn describe(&self) -> Value {
        json!({
            "version": self.version,
            "commitment": hex::encode(&self.commitment),
            "expires_at": self.expires_at,
            "given_at": (self.given_at != 0).then_some(self.given_at),
        })
    }
}
