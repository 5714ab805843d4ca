//! One record of a batch becomes a record of its own.

use careledger_wire::{
    access_log,
    ids::{Commitment, Digest, RecordId},
    proto::{
        records::MsgExtractRecord,
        state::{Batch, Record},
    },
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::BATCH_PATH_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/extract-record.md.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtractRecord {
    sender: Sender,
    batch: Digest,
    record: RecordId,
    commitment: Commitment,
    index: u32,
    path: Vec<Digest>,
}

impl ExtractRecord {
    fn is_in(&self, batch: &Batch) -> bool {
        let leaf = access_log::record_leaf(&self.record, &self.commitment);
        access_log::verify_inclusion(&leaf, self.index as usize, batch.count as usize, &self.path, &self.batch)
    }
}

impl Action for ExtractRecord {
    type Message = MsgExtractRecord;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        if message.path.len() > BATCH_PATH_MAX {
            return Err(Reject::InvalidField("path"));
        }
        let path = message.path.iter().map(|sibling| fields::id("path", sibling));
        Ok(Self {
            sender: *sender,
            batch: fields::id("batch", &message.batch)?,
            record: fields::id("record", &message.record)?,
            commitment: fields::id("commitment", &message.commitment)?,
            index: message.index,
            path: path.collect::<Result<_, _>>()?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        if state.has(&keys::record(self.sender.address(), &self.record)) {
            return Err(Reject::RecordExists);
        }
        let batch = state.get(&keys::batch(self.sender.address(), &self.batch)).ok_or(Reject::UnknownBatch)?;
        if self.is_in(&batch) { Ok(()) } else { Err(Reject::NotInBatch) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let batch = state.get(&keys::batch(self.sender.address(), &self.batch)).expect("check found it");
        let record = Record {
            version: 1,
            commitment: self.commitment.to_vec(),
            // It has been on the ledger since its batch was.
            recorded_at: batch.recorded_at,
            ..Record::default()
        };
        state.put(&keys::record(self.sender.address(), &self.record), &record);
    }
}
