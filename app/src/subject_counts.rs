//! How many grants and emergencies a subject has: what shows that a list of them is complete.
//!
//! Keys are hashed in the state's tree, so no proof shows that nothing is between two of them. Grants and
//! emergencies are never removed: who can prove as many as the subject counts has all of them.

use careledger_wire::{
    ids::{EmergencyId, GrantId, SubjectId},
    proto::state::{Emergency, Grant, Subject},
};

use crate::{governance, keys, state::StateWrite};

/// The format of the state from which on subjects count.
pub const COUNTED_SINCE: u32 = 3;

/// Pairs that the migration looks at together.
const PAGE: usize = 1_000;

/// Writes a grant that is not there yet.
pub fn put_grant(subject: &SubjectId, id: &GrantId, grant: &Grant, state: &mut impl StateWrite) {
    state.put(&keys::consent(subject, id), grant);
    count(subject, state, |counts| counts.grants += 1);
}

/// Writes an emergency that is not there yet.
pub fn put_emergency(subject: &SubjectId, id: &EmergencyId, emergency: &Emergency, state: &mut impl StateWrite) {
    state.put(&keys::emergency(subject, id), emergency);
    count(subject, state, |counts| counts.emergencies += 1);
}

/// Counts what was there before anything was counted.
pub fn migrate(state: &mut impl StateWrite) {
    count_below(keys::CONSENTS, state, |counts, found| counts.grants = found);
    count_below(keys::EMERGENCIES, state, |counts, found| counts.emergencies = found);
}

fn count(subject: &SubjectId, state: &mut impl StateWrite, add: impl FnOnce(&mut Subject)) {
    if governance::state_version(state) >= COUNTED_SINCE {
        change(subject, state, add);
    }
}

fn change(subject: &SubjectId, state: &mut impl StateWrite, change: impl FnOnce(&mut Subject)) {
    let key = keys::subject(subject);
    let mut counts = state.get(&key).expect("what is of a subject was made when it was there");
    change(&mut counts);
    state.put(&key, &counts);
}

/// Counts the pairs of each subject, which stand together, in one pass.
fn count_below(area: &[u8], state: &mut impl StateWrite, set: impl Fn(&mut Subject, u64)) {
    let mut counted: Option<(SubjectId, u64)> = None;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = state.scan(area, after.as_deref(), PAGE);
        for (path, _) in &page {
            let subject = keys::subject_in(area, path).expect("the area's paths begin with a subject");
            match &mut counted {
                Some((same, found)) if *same == subject => *found += 1,
                _ => {
                    if let Some((whole, found)) = counted.replace((subject, 1)) {
                        change(&whole, state, |counts| set(counts, found));
                    }
                }
            }
        }
        match page.into_iter().next_back() {
            Some((path, _)) => after = Some(path),
            None => break,
        }
    }
    if let Some((whole, found)) = counted {
        change(&whole, state, |counts| set(counts, found));
    }
}
