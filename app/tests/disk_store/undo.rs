//! The newest block is undone as far back as the window reaches, and no further.

use std::collections::BTreeMap;

use careledger_app::{
    snapshot::Restored,
    state::{Changes, StateRead as _},
    store::{
        ChainMeta, Proven, Store,
        disk::{DiskStore, Schedule, UndoError},
        tree,
    },
};
use careledger_wire::{
    ids::TransactionHash,
    proto::{query::TransactionResult, state::Chain},
};
use proptest::prelude::*;
use prost::Message as _;

use super::{RETAINED, blocks, chain, genesis, open, raw};

/// Everything that a store answers about its newest height.
#[derive(Debug, Clone, PartialEq)]
struct Newest {
    height: u64,
    time: i64,
    app_hash: [u8; 32],
    chain: Option<ChainMeta>,
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    proof: Option<Proven>,
}

fn newest(disk: &DiskStore) -> Newest {
    Newest {
        height: disk.height(),
        time: disk.time(),
        app_hash: disk.app_hash(),
        chain: disk.chain(),
        pairs: disk.scan(b"", None, 1_000),
        proof: disk.prove(b"k", disk.height()),
    }
}

/// The same, with proofs at every height from `oldest` on.
fn seen(disk: &DiskStore, oldest: u64) -> impl PartialEq + std::fmt::Debug + use<> {
    let proofs: Vec<_> = (oldest..=disk.height()).map(|height| disk.prove(b"k", height)).collect();
    (newest(disk), proofs)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// As far back as the window reaches, whatever the blocks changed, also after a restart.
    #[test]
    fn a_block_that_is_undone_was_never_there_and_executed_again_gives_the_same(blocks in blocks(), reopen in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = open(folder.path());
        disk.init(chain(), genesis());
        let mut present: BTreeMap<Vec<u8>, Vec<u8>> = [(b"k".to_vec(), vec![0])].into();
        let mut committed = Vec::new();
        let mut after = vec![newest(&disk)];
        let oldest = (blocks.len() as u64 + 1).saturating_sub(RETAINED);
        for (index, changes) in blocks.into_iter().enumerate() {
            let height = index as u64 + 1;
            let changes: Changes =
                changes.into_iter().filter(|(key, value)| value.is_some() || present.contains_key(key)).collect();
            for (key, value) in changes.clone() {
                match value {
                    Some(value) => present.insert(key, value),
                    None => present.remove(&key),
                };
            }
            let results = vec![(TransactionHash::new([height as u8; 32]), TransactionResult { height: height as i64, ..Default::default() })];
            disk.commit(disk.stage(height, 100 + height as i64, changes.clone(), results.clone()));
            committed.push((changes, results));
            after.push(newest(&disk));
        }
        for height in (oldest + 1..=committed.len() as u64).rev() {
            let undo = disk.undo().unwrap();
            prop_assert_eq!((undo.height, undo.keys(), undo.outcomes()), (height, committed[height as usize - 1].0.len(), 1));
            disk.roll_back(undo).unwrap();
            prop_assert_eq!(disk.result(&TransactionHash::new([height as u8; 32])), None, "its outcomes are forgotten");
            if reopen {
                drop(disk);
                disk = open(folder.path());
            }
            prop_assert_eq!(newest(&disk), after[height as usize - 1].clone());
            let (changes, results) = committed[height as usize - 1].clone();
            let again = disk.stage(height, 100 + height as i64, changes, results);
            let undone = seen(&disk, oldest);
            disk.commit(again);
            prop_assert_eq!(newest(&disk), after[height as usize].clone());
            prop_assert!(disk.result(&TransactionHash::new([height as u8; 32])).is_some());
            disk.roll_back(disk.undo().unwrap()).unwrap();
            prop_assert_eq!(seen(&disk, oldest), undone);
        }
        if oldest > 0 {
            prop_assert_eq!(disk.undo().unwrap_err(), UndoError::NotKept(oldest - 1));
        } else {
            prop_assert_eq!(disk.undo().unwrap_err(), UndoError::NoBlock);
        }
    }
}

#[test]
fn a_block_whose_undo_rows_were_changed_or_never_written_is_not_undone() {
    for (family, row, expected) in [
        // What block 3 replaced, the tip after block 2, and the same lost.
        ("replaced", Some([&3u64.to_be_bytes()[..], b"k"].concat()), UndoError::Damaged(3)),
        ("meta", Some([&b"tip/"[..], &2u64.to_be_bytes()].concat()), UndoError::Damaged(3)),
        ("meta", None, UndoError::NotNoted(2)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = open(folder.path());
        disk.init(chain(), genesis());
        for height in 1..=3u8 {
            let changes = Changes::from([(b"k".to_vec(), Some(vec![height; 40]))]);
            disk.commit(disk.stage(height.into(), 9, changes, Vec::new()));
        }
        let before = newest(&disk);
        drop(disk);
        let db = raw(folder.path());
        let handle = db.cf_handle(family).unwrap();
        match row {
            Some(row) => {
                let mut value = db.get_cf(handle, &row).unwrap().unwrap();
                // Within the value, and within the root.
                value[20] ^= 1;
                db.put_cf(handle, row, value).unwrap();
            }
            None => db.delete_cf(handle, [&b"tip/"[..], &2u64.to_be_bytes()].concat()).unwrap(),
        }
        drop(db);
        let disk = open(folder.path());
        assert_eq!(disk.undo().unwrap_err(), expected);
        assert_eq!(newest(&disk), before, "nothing was changed");
    }
}

#[test]
fn snapshots_of_what_is_undone_are_removed_and_older_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = folder.path().join("snapshots");
    let schedule = Schedule { interval: 1, keep: 10 };
    open(&folder.path().join("state")).init(chain(), genesis());
    for height in 1..=3 {
        let mut disk = open(&folder.path().join("state")).with_snapshots(&snapshots, schedule).unwrap();
        let changes = Changes::from([(vec![b'k', height], Some(vec![height]))]);
        disk.commit(disk.stage(height.into(), 9, changes, Vec::new()));
        // Waits for the thread that writes the snapshot.
        drop(disk);
    }
    let mut disk = open(&folder.path().join("state")).with_snapshots(&snapshots, schedule).unwrap();
    let taken = |disk: &DiskStore| disk.snapshots().iter().map(|one| one.height).rev().collect::<Vec<_>>();
    assert_eq!(taken(&disk), [1, 2, 3]);
    let undo = disk.undo().unwrap();
    assert_eq!(undo.snapshots, [3]);
    disk.roll_back(undo).unwrap();
    assert_eq!(taken(&disk), [1, 2]);
}

/// A node that joined has the state of one height, and can undo only what came after.
#[test]
fn a_node_that_joined_from_a_snapshot_undoes_no_further_than_it() {
    let pairs = vec![(b"chain".to_vec(), Chain::default().encode_to_vec()), (b"k".to_vec(), vec![1])];
    let tree = tree::Tree::of(pairs.clone());
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(folder.path());
    disk.install(Restored { chain: chain(), height: 1_000_000_000, time: 9, pairs, tree });
    let joined = newest(&disk);
    assert_eq!(disk.undo().unwrap_err(), UndoError::NotKept(999_999_999));
    disk.commit(disk.stage(1_000_000_001, 10, Changes::from([(b"k".to_vec(), None)]), Vec::new()));
    disk.roll_back(disk.undo().unwrap()).unwrap();
    assert_eq!(newest(&disk), joined);
}

/// What a chain that continues another wrote before its first block can be replaced, and its heights go on.
#[test]
fn a_chain_that_begins_later_replaces_its_genesis_until_its_first_block() {
    let folder = tempfile::tempdir().unwrap();
    let later = ChainMeta { initial_height: 1_000_000_001, ..chain() };
    let stored = Chain {
        chain_id: later.chain_id.clone(),
        genesis_time: later.genesis_time,
        initial_height: later.initial_height,
    };
    let mut genesis = genesis();
    genesis.insert(b"chain".to_vec(), Some(stored.encode_to_vec()));
    let mut disk = open(folder.path());
    let root = disk.init(later.clone(), genesis.clone());
    drop(disk);
    let mut disk = open(folder.path());
    assert_eq!((disk.height(), disk.chain(), disk.is_before_first_block()), (1_000_000_000, Some(later.clone()), true));
    assert_eq!(disk.undo().unwrap_err(), UndoError::NoBlock);
    assert_eq!(disk.init(later, genesis), root);
    let first = Changes::from([(b"k".to_vec(), Some(vec![7]))]);
    disk.commit(disk.stage(1_000_000_001, 9, first, Vec::new()));
    assert!(!disk.is_before_first_block());
    assert!(disk.prove(b"k", 1_000_000_000).is_some() && disk.prove(b"k", 999_999_999).is_none());
}
