//! A patient disputes one access that the custodian logged.

use careledger_wire::{
    access_log,
    ids::{Address, Digest, SubjectId},
    proto::{
        audit::MsgDisputeAccess,
        state::{AccessDispute, AccessLogBatch},
    },
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::ACCESS_LOG_PATH_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/dispute-access.md.
#[derive(Debug, Clone, PartialEq)]
pub struct DisputeAccess {
    sender: Sender,
    subject: SubjectId,
    sequence: u64,
    leaf: Digest,
    index: u32,
    path: Vec<Digest>,
}

impl DisputeAccess {
    fn is_in(&self, batch: &AccessLogBatch) -> bool {
        let root = Digest::try_from(batch.root.as_slice()).expect("the state holds only whole digests");
        access_log::verify_inclusion(&self.leaf, self.index as usize, batch.count as usize, &self.path, &root)
    }
}

impl Action for DisputeAccess {
    type Message = MsgDisputeAccess;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        if message.path.len() > ACCESS_LOG_PATH_MAX {
            return Err(Reject::InvalidField("path"));
        }
        let path = message.path.iter().map(|sibling| fields::id("path", sibling));
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            sequence: message.sequence,
            leaf: fields::id("leaf", &message.leaf)?,
            index: message.index,
            path: path.collect::<Result<_, _>>()?,
        })
    }

    fn check(&self, _block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let subject = standing::subject_of(&self.sender, &self.subject, state)?;
        let custodian =
            Address::try_from(subject.organization.as_slice()).expect("the state holds only whole addresses");
        if state.has(&keys::access_dispute(&self.subject, &self.leaf)) {
            return Err(Reject::AccessDisputed);
        }
        let batch = state.get(&keys::access_log_batch(&custodian, self.sequence)).ok_or(Reject::UnknownBatch)?;
        if self.is_in(&batch) { Ok(()) } else { Err(Reject::NotInBatch) }
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let dispute = AccessDispute { sequence: self.sequence, disputed_at: block.time };
        state.put(&keys::access_dispute(&self.subject, &self.leaf), &dispute);
    }
}
