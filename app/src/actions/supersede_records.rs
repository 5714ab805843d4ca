//! A custodian replaces records by their next versions; all or none. The old stay provable.

use std::collections::BTreeSet;

use careledger_wire::{
    ids::{Commitment, RecordId},
    proto::{records::MsgSupersedeRecords, state::Record},
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::SUPERSESSIONS_PER_TRANSACTION_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/supersede-records.md.
#[derive(Debug, Clone, PartialEq)]
pub struct SupersedeRecords {
    sender: Sender,
    supersessions: Vec<Supersession>,
}

#[derive(Debug, Clone, PartialEq)]
struct Supersession {
    record: RecordId,
    version: u32,
    commitment: Commitment,
}

impl Action for SupersedeRecords {
    type Message = MsgSupersedeRecords;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        if !(1..=SUPERSESSIONS_PER_TRANSACTION_MAX).contains(&message.supersessions.len()) {
            return Err(Reject::InvalidField("supersessions"));
        }
        let supersessions = message.supersessions.iter().map(|supersession| {
            Ok(Supersession {
                record: fields::id("record", &supersession.record)?,
                version: fields::version("version", supersession.version)?,
                commitment: fields::id("commitment", &supersession.commitment)?,
            })
        });
        let supersessions = supersessions.collect::<Result<Vec<_>, Reject>>()?;
        let mut seen = BTreeSet::new();
        if !supersessions.iter().all(|supersession| seen.insert(supersession.record)) {
            return Err(Reject::DuplicateRecord);
        }
        Ok(Self { sender: *sender, supersessions })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization(&self.sender, block, state)?;
        for supersession in &self.supersessions {
            let key = keys::record(self.sender.address(), &supersession.record);
            let record = state.get(&key).ok_or(Reject::UnknownRecord)?;
            if record.version.checked_add(1) != Some(supersession.version) {
                return Err(Reject::WrongVersion);
            }
        }
        Ok(())
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        for supersession in self.supersessions {
            let key = keys::record(self.sender.address(), &supersession.record);
            let record: Record = state.get(&key).expect("check found it");
            let next = Record {
                version: supersession.version,
                commitment: supersession.commitment.to_vec(),
                recorded_at: block.time,
                ..record
            };
            state.put(&key, &next);
        }
    }
}
