//! A custodian anchors new records, one or many; all or none.

use std::collections::BTreeSet;

use careledger_wire::{
    ids::{Commitment, RecordId},
    proto::{records::MsgAnchorRecords, state::Record},
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::ANCHORS_PER_TRANSACTION_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/anchor-records.md.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorRecords {
    sender: Sender,
    anchors: Vec<(RecordId, Commitment)>,
}

impl Action for AnchorRecords {
    type Message = MsgAnchorRecords;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        if !(1..=ANCHORS_PER_TRANSACTION_MAX).contains(&message.anchors.len()) {
            return Err(Reject::InvalidField("anchors"));
        }
        let anchors = message
            .anchors
            .iter()
            .map(|anchor| Ok((fields::id("record", &anchor.record)?, fields::id("commitment", &anchor.commitment)?)));
        let anchors: Vec<(RecordId, Commitment)> = anchors.collect::<Result<_, Reject>>()?;
        let mut seen = BTreeSet::new();
        if !anchors.iter().all(|(record, _)| seen.insert(record)) {
            return Err(Reject::DuplicateRecord);
        }
        Ok(Self { sender: *sender, anchors })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        let exists = |record| state.has(&keys::record(self.sender.address(), record));
        if self.anchors.iter().any(|(record, _)| exists(record)) { Err(Reject::RecordExists) } else { Ok(()) }
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        for (record, commitment) in self.anchors {
            let anchored =
                Record { version: 1, commitment: commitment.to_vec(), recorded_at: block.time, ..Record::default() };
            state.put(&keys::record(self.sender.address(), &record), &anchored);
        }
    }
}
