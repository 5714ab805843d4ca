//! What is kept of earlier heights, what leaves the disk, and what can be proven.

use std::time::{Duration, Instant};

use careledger_app::{
    keys,
    state::{Changes, StateRead as _},
    store::{
        Store,
        disk::{DatabaseMemory, DiskStore, Retention},
    },
};
use careledger_wire::{ids::TransactionHash, proto::query::TransactionResult};

use super::{RETAINED, chain, genesis, open};

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

/// A migration of more values than the window has changes took all provable heights along.
#[test]
fn an_upgrade_that_changes_more_than_the_window_holds_forgets_no_height() {
    const CHANGES_MAX: usize = 20;
    let many = || (0..500u64).map(|key| (key.to_be_bytes().to_vec(), Some(vec![1])));
    let migration = (keys::upgrade(3).into_bytes(), Some(vec![1]));
    let change = |height: u64| Changes::from([(b"k".to_vec(), Some(height.to_be_bytes().to_vec()))]);
    let written = |height: u64| Some(if height == 0 { vec![0] } else { height.to_be_bytes().to_vec() });
    for (large, oldest) in [(many().chain([migration]).collect(), 0), (many().collect::<Changes>(), 9)] {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let retention = Retention { changes: CHANGES_MAX, ..Retention::default() };
            DiskStore::open(folder.path(), retention).unwrap()
        };
        let mut disk = open();
        disk.init(chain(), genesis());
        for height in 1..=10 {
            let changes = if height == 8 { large.clone() } else { change(height) };
            disk.commit(disk.stage(height, 9, changes, Vec::new()));
        }
        for _ in 0..2 {
            assert_eq!(disk.oldest_height(), oldest, "as it is, and opened again");
            for height in (oldest..=10).filter(|height| *height != 8) {
                assert_eq!(disk.prove(b"k", height).unwrap().value, written(height), "height {height}");
            }
            drop(disk);
            disk = open();
        }
        // What blocks change by themselves is counted as before.
        for height in 11..=40 {
            disk.commit(disk.stage(height, 9, change(height), Vec::new()));
        }
        assert_eq!(disk.oldest_height(), 40 + 1 - CHANGES_MAX as u64);
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

/// A store that was opened anew held every height in memory, however few were to be kept.
#[test]
fn a_store_that_is_opened_to_keep_fewer_changes_proves_those_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let opened =
        |changes| DiskStore::open(folder.path(), Retention { heights: 100, changes, ..Retention::default() }).unwrap();
    let mut disk = opened(1_000);
    disk.init(chain(), genesis());
    let busy = |height: u64| (0..10u8).map(|key| (vec![b'k', key], Some(height.to_be_bytes().to_vec()))).collect();
    for height in 1..=20 {
        disk.commit(disk.stage(height, 9, busy(height), Vec::new()));
    }
    assert_eq!(disk.oldest_height(), 0);
    for (changes, oldest) in [(45, 17), (0, 19), (1_000, 0)] {
        drop(disk);
        disk = opened(changes);
        assert_eq!(disk.oldest_height(), oldest, "{changes} changes");
        for height in oldest.max(1)..=20 {
            let proven = disk.prove(b"k\x07", height).unwrap();
            assert_eq!(proven.value, Some(height.to_be_bytes().to_vec()), "{changes} changes, height {height}");
        }
    }
}

#[test]
fn databases_that_share_their_memory_keep_within_it() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = 8 * 1024 * 1024;
    let memory = DatabaseMemory::of(bytes);
    let open = |name: &str| DiskStore::open_within(&folder.path().join(name), Retention::default(), &memory).unwrap();
    let mut stores = [open("one"), open("other")];
    for store in &mut stores {
        store.init(chain(), genesis());
    }
    let value = vec![7; 16 * 1024];
    let key = |height: u64, key: u64| [height.to_be_bytes(), key.to_be_bytes()].concat();
    let mut write = |height: u64| {
        for store in &mut stores {
            let changes = (0..32).map(|number| (key(height, number), Some(value.clone()))).collect();
            store.commit(store.stage(height, 9, changes, Vec::new()));
        }
    };
    (1..=40).for_each(&mut write);
    // What is being written out is counted until it is, and what is over is seen by the next write.
    let deadline = Instant::now() + Duration::from_secs(60);
    for height in 41.. {
        if memory.unwritten_bytes() <= bytes {
            break;
        }
        assert!(Instant::now() < deadline, "{} bytes are not written out", memory.unwritten_bytes());
        write(height);
    }
    for store in &stores {
        for height in 1..=40 {
            assert_eq!(store.get_bytes(&key(height, 31)), Some(value.clone()));
        }
    }
    assert!(memory.bytes() <= 2 * bytes, "{} bytes", memory.bytes());
}
