//! The auditor's side of an access log: what a node and a custodian say is held against one root
//! that the ledger proves.
//!
//! The state has, for each organization, the root of a Merkle log over its batches. Batches are read
//! on a node's word and must give that root; leaves come from the custodian and must give their
//! batch's root. So a batch or a leaf that is dropped, altered or put elsewhere shows.
//!
//! The root comes first, from a header that the auditor believes: what contradicts it is the node's fault
//! where a node showed it, and nobody is blamed for what no header seals.

use careledger_wire::{
    access_log::{self, Head},
    ids::{Address, Digest},
    proto::state::{AccessLogBatch, AccessLogTree},
};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::{
    client::{Client, ClientError},
    keys,
};

/// Most bytes of a batch's key and value.
const BATCH_BYTES_MAX: usize = 128;

/// Why an access log is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The ledger could not be asked, or what it shows is no list.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Nothing was anchored, or not since the ledger keeps logs.
    #[error("the ledger has no log of this organization; its absence is proven")]
    NoLog,
    /// A value that is none: of the node, where it is a batch.
    #[error("the node's {0} cannot be read")]
    Unreadable(&'static str),
    /// The node left batches out.
    #[error("the log has {log} batches, the node shows {shown}")]
    Missing {
        /// Batches in the log.
        log: u64,
        /// Batches that the node showed.
        shown: u64,
    },
    /// The node's batches are not those that were anchored.
    #[error("the batches that the node shows do not give the root that the ledger proves")]
    Altered,
    /// What was noted earlier is not how the log begins.
    #[error("the log of {0} batches that was noted is not the beginning of this one: it was rewritten")]
    Rewritten(u64),
    /// The log has no such batch.
    #[error("the log has no batch {0}")]
    NoBatch(u64),
}

/// An organization's access log, as the ledger proves it.
#[derive(Debug, Clone)]
pub struct Log {
    /// Number of batches and the root over them.
    pub head: Head,
    /// The batches, the first one first.
    pub batches: Vec<AccessLogBatch>,
}

/// The place of a leaf in an anchored batch, as a custodian's gateway gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inclusion {
    /// Sequence of the batch on the ledger.
    pub sequence: u64,
    /// Place of the leaf, from 0.
    pub index: usize,
    /// Leaves in the batch.
    pub count: usize,
    /// Sibling hashes from the leaf up.
    pub path: Vec<Digest>,
    /// The anchored root.
    pub root: Digest,
}

/// What is wrong with leaves that somebody shows. Places count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The batch has a leaf that is not shown.
    Dropped(usize),
    /// The leaf at this place of the batch is shown with other content.
    Altered(usize),
    /// What is shown at this place is no leaf of the batch.
    Foreign(usize),
}

impl Log {
    /// Reads an organization's batches and checks them against its log: `proven` is the value under
    /// [`keys::access_log_tree`], proven against a header that the caller believes already.
    pub async fn read(client: &Client, organization: &Address, proven: Option<&[u8]>) -> Result<Self, AuditError> {
        let tree = proven.ok_or(AuditError::NoLog)?;
        let tree = AccessLogTree::decode(tree).map_err(|_| AuditError::Unreadable("log"))?;
        // What was anchored after the proof is of no interest here.
        let size = usize::try_from(tree.size).map_err(|_| AuditError::Unreadable("log"))?;
        let prefix = keys::access_log_batches(organization);
        let pairs = client.list(&prefix, Some(size), size.saturating_mul(BATCH_BYTES_MAX)).await?;
        let batches = pairs.iter().map(|(_, value)| AccessLogBatch::decode(&**value));
        let batches = batches.collect::<Result<_, _>>().map_err(|_| AuditError::Unreadable("batch"))?;
        let (head, batches) = checked(&tree, batches)?;
        Ok(Self { head, batches })
    }

    /// Whether the log that an auditor noted before is how this one begins.
    pub fn check_earlier(&self, earlier: &Head) -> Result<(), AuditError> {
        let rewritten = AuditError::Rewritten(earlier.size);
        let Ok(size) = usize::try_from(earlier.size) else { return Err(rewritten) };
        let Some(path) = access_log::consistency_path(&leaves(&self.batches)?, size) else { return Err(rewritten) };
        if access_log::verify_consistency(earlier, &self.head, &path) { Ok(()) } else { Err(rewritten) }
    }

    /// The batch of this number, from 1.
    pub fn batch(&self, sequence: u64) -> Result<&AccessLogBatch, AuditError> {
        let index = usize::try_from(sequence).ok().and_then(|sequence| sequence.checked_sub(1));
        index.and_then(|index| self.batches.get(index)).ok_or(AuditError::NoBatch(sequence))
    }
}

/// The first batches, as many as the log has, when they give its root.
fn checked(tree: &AccessLogTree, mut batches: Vec<AccessLogBatch>) -> Result<(Head, Vec<AccessLogBatch>), AuditError> {
    let root = Digest::try_from(tree.root.as_slice()).map_err(|_| AuditError::Unreadable("log"))?;
    let size = usize::try_from(tree.size).map_err(|_| AuditError::Unreadable("log"))?;
    if batches.len() < size {
        return Err(AuditError::Missing { log: tree.size, shown: batches.len() as u64 });
    }
    batches.truncate(size);
    if access_log::root(&leaves(&batches)?) != root {
        return Err(AuditError::Altered);
    }
    Ok((Head { size: tree.size, root }, batches))
}

fn leaves(batches: &[AccessLogBatch]) -> Result<Vec<Digest>, AuditError> {
    let leaf = |batch: &AccessLogBatch| {
        let root = Digest::try_from(batch.root.as_slice()).map_err(|_| AuditError::Unreadable("batch"))?;
        Ok(access_log::batch_leaf(&root, batch.count, batch.period_start, batch.period_end))
    };
    batches.iter().map(leaf).collect()
}

/// Whether these are the batch's leaves, all and in order.
pub fn are_leaves_of(batch: &AccessLogBatch, hashes: &[Digest]) -> bool {
    hashes.len() == batch.count as usize && batch.root == access_log::root(hashes).as_bytes()
}

/// Whether a leaf is in a batch where its custodian says that it is.
pub fn is_included(batch: &AccessLogBatch, leaf: &Digest, inclusion: &Inclusion) -> bool {
    let Ok(root) = Digest::try_from(batch.root.as_slice()) else { return false };
    access_log::verify_inclusion(leaf, inclusion.index, batch.count as usize, &inclusion.path, &root)
}

/// How what is `shown` differs from the `true` hashes of a batch's leaves.
pub fn differences(hashes: &[Digest], shown: &[Digest]) -> Vec<Difference> {
    let mut found = Vec::new();
    let (mut place, mut at) = (0, 0);
    while place < hashes.len() || at < shown.len() {
        let (Some(leaf), Some(other)) = (hashes.get(place), shown.get(at)) else {
            found.extend((place..hashes.len()).map(|place| Difference::Dropped(place + 1)));
            found.extend((at..shown.len()).map(|at| Difference::Foreign(at + 1)));
            break;
        };
        if leaf == other {
            (place, at) = (place + 1, at + 1);
        } else if hashes[place..].contains(other) {
            found.push(Difference::Dropped(place + 1));
            place += 1;
        } else if shown[at..].contains(leaf) {
            found.push(Difference::Foreign(at + 1));
            at += 1;
        } else {
            found.push(Difference::Altered(place + 1));
            (place, at) = (place + 1, at + 1);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(count: usize) -> Vec<Digest> {
        (0..count).map(|index| access_log::leaf(&index.to_be_bytes())).collect()
    }

    fn batch(number: i64, leaves: &[Digest]) -> AccessLogBatch {
        AccessLogBatch {
            root: access_log::root(leaves).to_vec(),
            count: leaves.len() as u32,
            period_start: number,
            period_end: number,
            recorded_at: number,
        }
    }

    fn log(count: i64) -> (AccessLogTree, Vec<AccessLogBatch>) {
        let batches: Vec<AccessLogBatch> = (0..count).map(|number| batch(number, &hashes(3))).collect();
        let root = access_log::root(&leaves(&batches).unwrap()).to_vec();
        (AccessLogTree { size: count as u64, peaks: Vec::new(), root }, batches)
    }

    #[test]
    fn a_dropped_or_altered_batch_is_seen() {
        let (tree, batches) = log(5);
        assert!(checked(&tree, batches.clone()).is_ok());
        let mut later = batches.clone();
        later.push(batch(9, &hashes(1)));
        assert_eq!(checked(&tree, later).unwrap().1.len(), 5, "what came after the proof is left out");
        assert!(matches!(checked(&tree, batches[1..].to_vec()), Err(AuditError::Missing { log: 5, shown: 4 })));
        for change in [
            |batch: &mut AccessLogBatch| batch.count += 1,
            |batch: &mut AccessLogBatch| batch.period_start -= 1,
            |batch: &mut AccessLogBatch| batch.period_end += 1,
            |batch: &mut AccessLogBatch| batch.root[0] ^= 1,
        ] {
            let mut altered = batches.clone();
            change(&mut altered[2]);
            assert!(matches!(checked(&tree, altered), Err(AuditError::Altered)));
        }
        let mut swapped = batches;
        swapped.swap(0, 1);
        assert!(matches!(checked(&tree, swapped), Err(AuditError::Altered)));
    }

    #[test]
    fn the_largest_batch_is_no_larger_than_one_may_be() {
        let key = keys::access_log_batch(&Address::new([0xff; 20]), u64::MAX);
        let (count, time) = (u32::MAX, i64::MIN);
        let root = vec![0xff; 32];
        let batch = AccessLogBatch { root, count, period_start: time, period_end: time, recorded_at: time };
        let bytes = key.as_bytes().len() + batch.encoded_len();
        assert!(bytes <= BATCH_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn a_log_that_was_noted_is_how_a_later_one_begins() {
        let (tree, batches) = log(6);
        let (head, batches) = checked(&tree, batches).unwrap();
        let log = Log { head, batches };
        for size in 0..=6 {
            let root = access_log::root(&leaves(&log.batches[..size]).unwrap());
            assert!(log.check_earlier(&Head { size: size as u64, root }).is_ok(), "{size}");
            let other = Head { size: size as u64, root: access_log::leaf(b"other") };
            assert!(matches!(log.check_earlier(&other), Err(AuditError::Rewritten(_))), "{size}");
        }
        assert!(log.check_earlier(&Head { size: 7, root: head.root }).is_err());
        assert!(log.batch(6).is_ok() && log.batch(0).is_err() && log.batch(7).is_err());
    }

    #[test]
    fn it_is_said_which_leaf_was_dropped_or_altered() {
        use Difference::{Altered, Dropped, Foreign};
        let all = hashes(6);
        let other = access_log::leaf(b"other");
        let without = |place: usize| [&all[..place], &all[place + 1..]].concat();
        let with = |place: usize| [&all[..place], &[other], &all[place..]].concat();
        let mut altered = all.clone();
        altered[4] = other;
        let cases: [(Vec<Digest>, Vec<Difference>); 8] = [
            (all.clone(), vec![]),
            (without(0), vec![Dropped(1)]),
            (without(3), vec![Dropped(4)]),
            (without(5), vec![Dropped(6)]),
            (altered, vec![Altered(5)]),
            (with(2), vec![Foreign(3)]),
            (with(6), vec![Foreign(7)]),
            (Vec::new(), (1..=6).map(Dropped).collect()),
        ];
        let batch = batch(0, &all);
        for (shown, expected) in cases {
            assert_eq!(are_leaves_of(&batch, &shown), expected.is_empty());
            assert_eq!(differences(&all, &shown), expected);
        }
    }

    #[test]
    fn one_leaf_is_shown_to_be_in_its_batch_and_nowhere_else() {
        let all = hashes(6);
        let batch = batch(0, &all);
        let path = access_log::inclusion_path(&all, 4).unwrap();
        let root = access_log::root(&all);
        let inclusion = Inclusion { sequence: 1, index: 4, count: 6, path, root };
        assert!(is_included(&batch, &all[4], &inclusion));
        assert!(!is_included(&batch, &all[3], &inclusion));
        assert!(!is_included(&batch, &all[4], &Inclusion { index: 3, ..inclusion.clone() }));
        assert!(!is_included(&AccessLogBatch { count: 5, ..batch }, &all[4], &inclusion));
    }
}
