//! The disk store is the memory store, durable: same roots, same reads, proofs that verify.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

use std::{collections::BTreeMap, path::Path};

use careledger_app::{
    state::{Changes, StateRead as _},
    store::{
        ChainMeta, Proven, Store,
        disk::{DiskStore, OpenError, Retention, Schedule, UndoError},
        memory::MemoryStore,
        tree,
    },
};
use careledger_wire::{ids::TransactionHash, proto::query::TransactionResult};
use jmt::{KeyHash, Sha256Jmt, mock::MockTreeStore};
use proptest::prelude::*;

const RETAINED: u64 = 4;

fn open(path: &Path) -> DiskStore {
    DiskStore::open(path, Retention { heights: RETAINED, results_blocks: 3, ..Retention::default() }).unwrap()
}

fn chain() -> ChainMeta {
    ChainMeta { chain_id: "careledger-dev-1".to_owned(), genesis_time: 5, initial_height: 1 }
}

fn genesis() -> Changes {
    BTreeMap::from([(b"k".to_vec(), Some(vec![0]))])
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    (0u8..24).prop_map(|byte| vec![b'k', byte])
}

fn blocks() -> impl Strategy<Value = Vec<BTreeMap<Vec<u8>, Option<Vec<u8>>>>> {
    let value = proptest::option::weighted(0.7, proptest::collection::vec(any::<u8>(), 1..5));
    proptest::collection::vec(proptest::collection::btree_map(keys(), value, 0..6), 1..14)
}

/// The root of a tree that is given these pairs at once.
fn root_of(pairs: &BTreeMap<Vec<u8>, Vec<u8>>) -> [u8; 32] {
    let nodes = MockTreeStore::default();
    let hash = |key: &Vec<u8>| KeyHash(tree::key_hash(key));
    let set = pairs.iter().map(|(key, value)| (hash(key), Some(value.clone())));
    Sha256Jmt::new(&nodes).put_value_set(set, 0).unwrap().0.0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_committed_disk_and_memory_and_a_fresh_tree_agree(blocks in blocks(), reopen in 1u64..5) {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = open(folder.path());
        let mut memory = MemoryStore::new();
        prop_assert_eq!(disk.init(chain(), genesis()), memory.init(chain(), genesis()));
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = [(b"k".to_vec(), vec![0])].into();
        let mut roots = vec![disk.app_hash()];

        for (index, changes) in blocks.into_iter().enumerate() {
            let height = index as u64 + 1;
            // A store is given no deletion of what is not there.
            let changes: Changes =
                changes.into_iter().filter(|(key, value)| value.is_some() || model.contains_key(key)).collect();
            let staged = disk.stage(height, 9, changes.clone(), Vec::new());
            prop_assert_eq!(disk.height(), height - 1, "staging keeps nothing");
            let root = staged.app_hash;
            disk.commit(staged);
            memory.commit(memory.stage(height, 9, changes.clone(), Vec::new()));
            if changes.is_empty() {
                prop_assert_eq!(root, roots[index], "an empty block keeps the root");
            }
            for (key, value) in changes {
                match value {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
            }
            roots.push(root);
            prop_assert_eq!(root, root_of(&model));
            prop_assert_eq!(root, memory.app_hash());
            if height.is_multiple_of(reopen) {
                drop(disk);
                disk = open(folder.path());
            }
            prop_assert_eq!((disk.height(), disk.app_hash(), disk.chain()), (height, root, Some(chain())));
            prop_assert_eq!(disk.scan(b"k", None, 100), memory.scan(b"k", None, 100));
            prop_assert_eq!(disk.scan(b"k", Some(&[b'k', 7]), 3), memory.scan(b"k", Some(&[b'k', 7]), 3));

            for back in 0..RETAINED + 2 {
                let Some(at) = height.checked_sub(back) else { break };
                for byte in 0u8..24 {
                    let key = [b'k', byte];
                    let proven = disk.prove(&key, at);
                    prop_assert_eq!(proven.is_some(), back < RETAINED, "height {} of {}", at, height);
                    if let Some(proven) = proven {
                        prop_assert_eq!(&proven, &memory.prove(&key, at).unwrap());
                        let root = &roots[at as usize];
                        prop_assert!(tree::verify(root, &key, proven.value.as_deref(), &proven.proof).is_ok());
                        prop_assert!(tree::verify(root, &key, Some(b"other"), &proven.proof).is_err());
                        let reverse = if proven.value.is_some() { None } else { Some(&b"x"[..]) };
                        prop_assert!(tree::verify(root, &key, reverse, &proven.proof).is_err());
                        prop_assert!(tree::verify(&[1; 32], &key, proven.value.as_deref(), &proven.proof).is_err());
                        // `k` is always there: nothing proves its absence, or another key's value for it.
                        prop_assert!(tree::verify(root, b"k", proven.value.as_deref(), &proven.proof).is_err());
                    }
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_the_proof_checker_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(tree::verify(&[0; 32], b"k", Some(b"v"), &bytes).is_err());
        prop_assert!(tree::verify(&[0; 32], b"k", None, &bytes).is_err());
    }
}

#[test]
fn genesis_replaces_what_an_earlier_genesis_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(folder.path());
    let other = BTreeMap::from([(b"other".to_vec(), Some(vec![1]))]);
    let first = disk.init(chain(), other);
    let second = disk.init(chain(), genesis());
    assert_ne!(first, second);
    assert_eq!(disk.get_bytes(b"other"), None);
    drop(disk);
    assert_eq!(open(folder.path()).app_hash(), second);
}

#[test]
fn results_leave_with_their_block_and_success_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(folder.path());
    disk.init(chain(), genesis());
    let hash = |byte| TransactionHash::new([byte; 32]);
    let result = |height, code| TransactionResult { height, code, log: String::new(), time: 9 };
    let blocks = [
        vec![(hash(1), result(1, 0)), (hash(2), result(1, 7))],
        vec![(hash(1), result(2, 7)), (hash(2), result(2, 0))],
        vec![],
        vec![],
        vec![],
    ];
    let expected = [(Some(1), Some(1)), (Some(1), Some(2)), (Some(1), Some(2)), (None, Some(2)), (None, None)];
    for (index, (results, expected)) in blocks.into_iter().zip(expected).enumerate() {
        disk.commit(disk.stage(index as u64 + 1, 9, Changes::new(), results));
        let height = |byte| disk.result(&hash(byte)).map(|result| result.height);
        assert_eq!((height(1), height(2)), expected, "after block {}", index + 1);
    }
}

#[test]
fn what_is_pruned_leaves_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(folder.path());
    disk.init(chain(), genesis());
    let mut commit = |height: u64, changes: Changes| disk.commit(disk.stage(height, 9, changes, Vec::new()));
    // A key comes and goes with every block, as a remembered transaction does.
    for height in 1..200u64 {
        let mut changes = Changes::from([(height.to_be_bytes().to_vec(), Some(vec![1; 40]))]);
        if height > 1 {
            changes.insert((height - 1).to_be_bytes().to_vec(), None);
        }
        commit(height, changes);
    }
    let rows = disk.rows();
    assert!(rows.iter().all(|(_, count)| *count < 60), "{rows:?}");
}

#[test]
fn empty_blocks_leave_only_the_retained_heights() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(folder.path());
    disk.init(chain(), genesis());
    let mut last = 0;
    for blocks in [3_000, 50] {
        for height in last + 1..=last + blocks {
            disk.commit(disk.stage(height, 9, Changes::new(), Vec::new()));
        }
        last += blocks;
        // The tip, and what it was after each retained height.
        let meta = 1 + RETAINED as usize;
        assert_eq!(
            disk.rows(),
            [("meta", meta), ("state", 1), ("replaced", 0), ("results", 0), ("results-by-height", 0)]
        );
        assert!(disk.prove(b"k", last + 1 - RETAINED).is_some());
        assert!(disk.prove(b"k", last - RETAINED).is_none());
        drop(disk);
        disk = open(folder.path());
    }
}

/// A node that is restarted with another window neither stops nor proves what it no longer has.
#[test]
fn a_window_that_was_shortened_and_lengthened_proves_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let window = |heights| {
        DiskStore::open(folder.path(), Retention { heights, results_blocks: 3, ..Retention::default() }).unwrap()
    };
    let mut disk = window(2_000);
    disk.init(chain(), genesis());
    let change = |height: u64| Changes::from([(b"k".to_vec(), Some(height.to_be_bytes().to_vec()))]);
    let mut height = 0;
    for (retained, blocks) in [(2_000, 1_500), (2, 1), (2_000, 3)] {
        drop(disk);
        disk = window(retained);
        for _ in 0..blocks {
            height += 1;
            disk.commit(disk.stage(height, 9, change(height), Vec::new()));
        }
        for at in (height + 1).saturating_sub(retained)..=height {
            if let Some(proven) = disk.prove(b"k", at) {
                assert_eq!(proven.value, Some(if at == 0 { vec![0] } else { at.to_be_bytes().to_vec() }));
            }
        }
        assert!(disk.prove(b"k", height).is_some());
        assert_eq!(disk.prove(b"k", (height + 1).saturating_sub(retained)).is_some(), height <= 1_501);
    }
}

/// The value of an old height is found by who replaced it, however many heights lie between.
#[test]
fn a_value_is_proven_as_it_was_however_long_ago_it_was_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let retention = Retention { heights: 1_000, ..Retention::default() };
    let mut disk = DiskStore::open(folder.path(), retention).unwrap();
    disk.init(chain(), genesis());
    let value = |height: u64| match height {
        0..7 => None,
        7 => Some(vec![7]),
        8..300 => Some(vec![8]),
        // The same value again is another leaf.
        300..400 => Some(vec![8]),
        400..450 => None,
        _ => Some(vec![9]),
    };
    let last = 600;
    for height in 1..=last {
        let mut changes = Changes::new();
        if [7, 8, 300, 400, 450].contains(&height) {
            changes.insert(b"rare".to_vec(), value(height));
        }
        if height.is_multiple_of(3) {
            changes.insert(b"often".to_vec(), Some(height.to_be_bytes().to_vec()));
        }
        disk.commit(disk.stage(height, 9, changes, Vec::new()));
    }
    for round in ["as committed", "opened again"] {
        assert_eq!(disk.oldest_height(), 0, "{round}");
        for height in 0..=last {
            assert_eq!(disk.prove(b"rare", height).unwrap().value, value(height), "{round}, {height}");
            let often = (height >= 3).then(|| (height - height % 3).to_be_bytes().to_vec());
            assert_eq!(disk.prove(b"often", height).unwrap().value, often, "{round}, {height}");
        }
        drop(disk);
        disk = DiskStore::open(folder.path(), retention).unwrap();
    }
}

#[test]
fn another_process_is_refused_and_reading_beside_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(folder.path());
    disk.init(chain(), genesis());
    assert!(DiskStore::open(folder.path(), Retention::default()).is_err());
    let beside = DiskStore::open_read_only(folder.path()).unwrap();
    assert_eq!(beside.get_bytes(b"k"), Some(vec![0]));
}

/// Each change costs memory in every version of the tree that is kept.
#[test]
fn a_busy_network_retains_fewer_heights() {
    let folder = tempfile::tempdir().unwrap();
    let retention = Retention { heights: 100, changes: 25, results_blocks: 3 };
    let mut disk = DiskStore::open(folder.path(), retention).unwrap();
    disk.init(chain(), genesis());
    let busy = |height: u64| (0..10u8).map(|key| (vec![b'k', key], Some(height.to_be_bytes().to_vec()))).collect();
    for height in 1..=20 {
        disk.commit(disk.stage(height, 9, busy(height), Vec::new()));
    }
    for round in ["as committed", "opened again"] {
        let provable: Vec<u64> = (0..=20).filter(|height| disk.prove(b"k", *height).is_some()).collect();
        assert_eq!(provable, [19, 20], "{round}");
        drop(disk);
        disk = DiskStore::open(folder.path(), retention).unwrap();
    }
}

#[test]
fn a_state_that_lost_a_value_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(folder.path());
    disk.init(chain(), genesis());
    drop(disk);
    let families = rocksdb::DB::list_cf(&rocksdb::Options::default(), folder.path()).unwrap();
    let db = rocksdb::DB::open_cf(&rocksdb::Options::default(), folder.path(), &families).unwrap();
    db.put_cf(db.cf_handle("state").unwrap(), b"k", [1]).unwrap();
    drop(db);
    let refused = DiskStore::open(folder.path(), Retention::default()).err().unwrap();
    assert!(matches!(refused, OpenError::Root(0)), "{refused}");
}

/// Five blocks, each with a value of its own bytes, all still in the write-ahead log. Gives the log.
fn five_blocks(folder: &Path) -> std::path::PathBuf {
    let mut disk = open(folder);
    disk.init(chain(), genesis());
    for height in 1..=5u8 {
        let changes = Changes::from([(vec![b'k', height], Some(vec![height; 2_000]))]);
        disk.commit(disk.stage(height.into(), 9, changes, Vec::new()));
    }
    drop(disk);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let logs = files.filter(|file| file.extension().is_some_and(|extension| extension == "log"));
    logs.max().unwrap()
}

/// RocksDB's default opens the state as it was before the damage, and says nothing.
#[test]
fn a_flipped_byte_in_the_middle_of_the_log_is_refused_and_not_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = five_blocks(folder.path());
    let mut bytes = std::fs::read(&log).unwrap();
    let third = bytes.windows(2_000).position(|window| window == [3; 2_000]).unwrap();
    bytes[third + 1_000] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    for refused in [DiskStore::open(folder.path(), Retention::default()), DiskStore::open_read_only(folder.path())] {
        let refused = refused.err().unwrap();
        assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused}");
        assert!(refused.to_string().contains(&*folder.path().to_string_lossy()), "{refused}");
    }
}

#[test]
fn a_log_that_a_crash_cut_off_opens_with_the_block_before() {
    let folder = tempfile::tempdir().unwrap();
    let log = five_blocks(folder.path());
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() - 100]).unwrap();
    let disk = open(folder.path());
    assert_eq!((disk.height(), disk.get_bytes(&[b'k', 4])), (4, Some(vec![4; 2_000])));
}

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

/// The families of a store that is closed, with nothing of ours in between.
fn raw(folder: &Path) -> rocksdb::DB {
    let families = rocksdb::DB::list_cf(&rocksdb::Options::default(), folder).unwrap();
    rocksdb::DB::open_cf(&rocksdb::Options::default(), folder, &families).unwrap()
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
    let pairs = vec![
        (b"chain".to_vec(), prost::Message::encode_to_vec(&careledger_wire::proto::state::Chain::default())),
        (b"k".to_vec(), vec![1]),
    ];
    let tree = tree::Tree::of(pairs.clone());
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(folder.path());
    disk.install(careledger_app::snapshot::Restored { chain: chain(), height: 1_000_000_000, time: 9, pairs, tree });
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
    let stored = careledger_wire::proto::state::Chain {
        chain_id: later.chain_id.clone(),
        genesis_time: later.genesis_time,
        initial_height: later.initial_height,
    };
    let mut genesis = genesis();
    genesis.insert(b"chain".to_vec(), Some(prost::Message::encode_to_vec(&stored)));
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
