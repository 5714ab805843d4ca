//! Batches, countersignatures, legal holds, shredding.

use careledger_wire::{
    access_log,
    ids::{Commitment, Digest, RecordId},
    message::Message,
    proto::records::{
        MsgAnchorBatch, MsgExtractRecord, MsgGiveCountersignature, MsgReleaseLegalHold, MsgRequestCountersignature,
        MsgSetLegalHold, MsgShredRecord,
    },
};

use super::{commitment_of, id, unknown};
use crate::sim::{
    model::batched,
    network::{Network, START},
    script::{BATCHED, BATCHED_FROM, Request},
};

impl Network {
    pub(super) fn custody_message(&self, sender: String, request: Request) -> Message {
        match request {
            Request::Batch { batch } => {
                MsgAnchorBatch { sender, root: batch_root(batch).to_vec(), count: BATCHED.into() }.into()
            }
            Request::Extract { batch, index, is_sound } => {
                let place = usize::from(if is_sound { index } else { index + 1 });
                let path = access_log::inclusion_path(&leaves(batch), place).unwrap_or_default();
                MsgExtractRecord {
                    sender,
                    batch: batch_root(batch).to_vec(),
                    record: id("record", batched(batch, index)),
                    commitment: commitment_of(batched(batch, index), 1),
                    index: index.into(),
                    path: path.iter().map(Digest::to_vec).collect(),
                }
                .into()
            }
            Request::AskSignature { record, version, countersigner, until } => MsgRequestCountersignature {
                sender,
                record: id("record", record),
                version: version.into(),
                countersigner: self.organization(countersigner),
                expires_at: START + until,
            }
            .into(),
            Request::Countersign { organization, record, version } => MsgGiveCountersignature {
                sender,
                organization: self.organization(organization),
                record: id("record", record),
                version: version.into(),
                commitment: commitment_of(record, version),
            }
            .into(),
            Request::Shred { record } => MsgShredRecord { sender, record: id("record", record) }.into(),
            Request::Hold { organization, record } => {
                let organization = self.organization(organization);
                MsgSetLegalHold { sender, organization, record: id("record", record) }.into()
            }
            Request::Release { organization, record } => {
                let organization = self.organization(organization);
                MsgReleaseLegalHold { sender, organization, record: id("record", record) }.into()
            }
            other => unknown(other),
        }
    }
}

/// What a batch is anchored by.
pub(in crate::sim) fn batch_root(batch: u8) -> Digest {
    access_log::root(&leaves(batch))
}

/// The leaves of a batch.
fn leaves(batch: u8) -> Vec<Digest> {
    let leaf = |index| {
        let record = BATCHED_FROM + batch * BATCHED + index;
        let id = RecordId::try_from(id("record", record).as_slice()).expect("an id has 32 bytes");
        let committed = Commitment::try_from(commitment_of(record, 1).as_slice()).expect("a hash has 32 bytes");
        access_log::record_leaf(&id, &committed)
    };
    (0..BATCHED).map(leaf).collect()
}
