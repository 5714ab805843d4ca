//! Records, batches, countersignatures, access logs and disputes.

use careledger_wire::{
    access_log::{self, Frontier},
    ids::Digest,
};

use super::{Judge, at, key_id};
use crate::{
    keys,
    sim::{
        messages::{
            commitment_of,
            custody::batch_root,
            insurance::{access, accesses},
        },
        script::{BATCHED, LOGGED},
    },
};

impl Judge<'_> {
    pub(super) fn records(&mut self) {
        let model = &self.network.model;
        for ((organization, record), expected) in &model.records {
            let path = keys::record(&self.organization(*organization), &key_id("record", *record));
            self.holds(&path, format_args!("record {record} of organization-{organization}"), |found| {
                (found.version, found.commitment) = (expected.version.into(), commitment_of(*record, expected.version));
                found.entered_in_error = expected.marked.into();
                found.recorded_at = at(expected.recorded);
                found.shredded_at = expected.shredded.map_or(0, at);
                found.held_by_custodian = expected.held_by_custodian;
                found.held_by_registrars = expected.held_by_registrars;
            });
        }
        for ((organization, batch), recorded) in &model.batches {
            let path = keys::batch(&self.organization(*organization), &batch_root(*batch));
            self.holds(&path, format_args!("batch {batch} of organization-{organization}"), |found| {
                found.count = BATCHED.into();
                found.recorded_at = at(*recorded);
            });
        }
        for ((organization, record, by), expected) in &model.countersignatures {
            let [own, other] = [organization, by].map(|number| self.organization(*number));
            let path = keys::countersignature(&own, &key_id("record", *record), &other);
            self.holds(&path, format_args!("countersignature of record {record} by organization-{by}"), |found| {
                found.version = expected.version.into();
                found.commitment = commitment_of(*record, expected.version);
                found.expires_at = at(expected.until);
                found.given_at = expected.given.map_or(0, at);
            });
        }
        self.logs();
        for ((subject, (sequence, index)), disputed_at) in &model.disputes {
            let path = keys::access_dispute(&self.subject(*subject), &access(*sequence, *index));
            self.holds(&path, format_args!("dispute of {subject:?} about batch {sequence}"), |found| {
                (found.sequence, found.disputed_at) = (u64::from(*sequence), at(*disputed_at));
            });
        }
    }

    /// From the second format on, each log has the root of its batches.
    fn logs(&mut self) {
        for (organization, batches) in self.network.model.logs.iter().filter(|(_, batches)| !batches.is_empty()) {
            let address = self.organization(*organization);
            let what = format!("access log of organization-{organization}");
            self.holds(&keys::access_log(&address), &what, |found| found.batches = batches.len() as u64);
            let mut frontier = Frontier::default();
            for (sequence, logged) in (1..).zip(batches) {
                let (from, to) = (at(logged.from), at(logged.to));
                let root: Digest = access_log::root(&accesses(sequence));
                frontier.push(access_log::batch_leaf(&root, LOGGED.into(), from, to));
                self.holds(&keys::access_log_batch(&address, sequence.into()), &what, |found| {
                    (found.root, found.count) = (root.to_vec(), LOGGED.into());
                    (found.period_start, found.period_end) = (from, to);
                    found.recorded_at = at(logged.recorded);
                });
            }
            if self.network.model.format > 1 {
                self.holds(&keys::access_log_tree(&address), &what, |found| {
                    (found.size, found.root) = (frontier.size(), frontier.root().to_vec());
                    found.peaks = frontier.peaks().iter().map(Digest::to_vec).collect();
                });
            }
        }
    }
}
