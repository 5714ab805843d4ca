//! Records, batches of them, countersignatures, legal holds, access logs.

use super::{Answer, By, Model, ends};
use crate::sim::script::{BATCHED, BATCHED_FROM, Request};

/// How far a gateway's clock may be ahead.
const CLOCK_AHEAD: i64 = 60;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sim) struct Record {
    pub(in crate::sim) version: u8,
    /// The version that is marked as entered in error.
    pub(in crate::sim) marked: u8,
    /// When this version came.
    pub(in crate::sim) recorded: i64,
    pub(in crate::sim) shredded: Option<i64>,
    pub(in crate::sim) held_by_custodian: bool,
    pub(in crate::sim) held_by_registrars: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Countersignature {
    pub(in crate::sim) version: u8,
    pub(in crate::sim) until: i64,
    pub(in crate::sim) given: Option<i64>,
}

/// A batch of an access log: what it is about, and when it was anchored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Logged {
    pub(in crate::sim) from: i64,
    pub(in crate::sim) to: i64,
    pub(in crate::sim) recorded: i64,
}

impl Model {
    fn record_of(&self, organization: u8, record: u8) -> Result<Record, &'static str> {
        let found = *self.records.get(&(organization, record)).ok_or("UnknownRecord")?;
        if found.shredded.is_some() { Err("RecordShredded") } else { Ok(found) }
    }

    pub(super) fn record(&mut self, by: By, request: Request) -> Answer {
        match request {
            Request::Hold { organization, record } => self.hold(by, organization, record, Change::Set),
            Request::Release { organization, record } => self.hold(by, organization, record, Change::Lift),
            Request::AskSignature { .. } | Request::Countersign { .. } => self.countersign(by, request),
            Request::Anchor { record, another } => {
                let organization = self.organization(by)?;
                let keys = [(organization, record), (organization, another)];
                if keys.iter().any(|key| self.records.contains_key(key)) {
                    return Err("RecordExists");
                }
                self.records.extend(keys.map(|key| (key, first(by))));
                Ok(())
            }
            Request::Supersede { record, version } => {
                let organization = self.organization(by)?;
                let found = self.record_of(organization, record)?;
                if found.version + 1 != version {
                    return Err("WrongVersion");
                }
                self.records.insert((organization, record), Record { version, recorded: by.time, ..found });
                Ok(())
            }
            Request::Mark { record, version } => {
                let organization = self.organization(by)?;
                let found = self.record_of(organization, record)?;
                if found.version != version {
                    return Err("WrongVersion");
                }
                if found.marked == version {
                    return Err("AlreadyEnteredInError");
                }
                self.records.insert((organization, record), Record { marked: version, ..found });
                Ok(())
            }
            Request::Shred { record } => {
                let organization = self.organization(by)?;
                let found = self.record_of(organization, record)?;
                if found.held_by_custodian || found.held_by_registrars {
                    return Err("RecordOnLegalHold");
                }
                self.records.insert((organization, record), Record { shredded: Some(by.time), ..found });
                Ok(())
            }
            Request::Batch { .. } | Request::Extract { .. } | Request::Log { .. } => self.archive(by, request),
            _ => Ok(()),
        }
    }

    /// Batches, and logs of who looked.
    fn archive(&mut self, by: By, request: Request) -> Answer {
        let organization = self.organization(by)?;
        match request {
            Request::Batch { batch } => {
                if self.batches.contains_key(&(organization, batch)) {
                    return Err("BatchExists");
                }
                self.batches.insert((organization, batch), by.time);
                Ok(())
            }
            Request::Extract { batch, index, is_sound } => {
                let record = (organization, batched(batch, index));
                if self.records.contains_key(&record) {
                    return Err("RecordExists");
                }
                let recorded = *self.batches.get(&(organization, batch)).ok_or("UnknownBatch")?;
                if !is_sound {
                    return Err("NotInBatch");
                }
                // The record was there when the batch was anchored.
                self.records.insert(record, Record { recorded, ..first(by) });
                Ok(())
            }
            Request::Log { sequence, from, to } => {
                let log = self.logs.entry(organization).or_default();
                if usize::from(sequence) != log.len() + 1 {
                    return Err("AccessLogGap");
                }
                if log.last().is_some_and(|last| from < last.to) {
                    return Err("AccessLogOverlap");
                }
                if to > by.time + CLOCK_AHEAD {
                    return Err("AccessLogFuture");
                }
                log.push(Logged { from, to, recorded: by.time });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn hold(&mut self, by: By, organization: u8, record: u8, change: Change) -> Answer {
        let is_registrar = self.is_registrar(by);
        if !is_registrar && self.organization(by)? != organization {
            return Err("RecordOfAnother");
        }
        let mut found = self.record_of(organization, record)?;
        let held = if is_registrar { &mut found.held_by_registrars } else { &mut found.held_by_custodian };
        match (change, *held) {
            (Change::Set, true) => return Err("RecordOnLegalHold"),
            (Change::Lift, false) => return Err("NotOnLegalHold"),
            (change, _) => *held = change == Change::Set,
        }
        self.records.insert((organization, record), found);
        Ok(())
    }

    fn countersign(&mut self, by: By, request: Request) -> Answer {
        let own = self.organization(by)?;
        match request {
            Request::AskSignature { record, version, countersigner, until } => {
                ends(until, by.time)?;
                self.standing_of(countersigner, by.time)?;
                if self.record_of(own, record)?.version != version {
                    return Err("WrongVersion");
                }
                let asked = self.countersignatures.get(&(own, record, countersigner));
                match asked.filter(|asked| asked.version == version) {
                    Some(asked) if asked.given.is_some() => return Err("AlreadyCountersigned"),
                    Some(asked) if asked.until > by.time => return Err("CountersignatureRequested"),
                    _ => {}
                }
                let asked = Countersignature { version, until, given: None };
                self.countersignatures.insert((own, record, countersigner), asked);
                Ok(())
            }
            Request::Countersign { organization, record, version } => {
                let asked = self.countersignatures.get(&(organization, record, own)).copied();
                let asked = asked.ok_or("UnknownCountersignature")?;
                if asked.given.is_some() {
                    return Err("AlreadyCountersigned");
                }
                if asked.until <= by.time {
                    return Err("CountersignatureExpired");
                }
                let current = self.record_of(organization, record)?.version;
                if asked.version != version || current != version {
                    return Err("CountersignatureMismatch");
                }
                let given = Countersignature { given: Some(by.time), ..asked };
                self.countersignatures.insert((organization, record, own), given);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A record that was just anchored.
fn first(by: By) -> Record {
    Record { version: 1, recorded: by.time, ..Record::default() }
}

/// What becomes of a legal hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Set,
    Lift,
}

/// The number of a record of a batch.
pub(in crate::sim) fn batched(batch: u8, index: u8) -> u8 {
    BATCHED_FROM + batch * BATCHED + index
}
