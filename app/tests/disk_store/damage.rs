//! Files that were damaged, cut off by a crash, or are in use.

use std::path::{Path, PathBuf};

use careledger_app::{
    state::{Changes, StateRead as _},
    store::{
        Store,
        disk::{DiskStore, OpenError, Retention},
    },
};

use super::{chain, genesis, open, raw};

#[test]
fn another_process_is_refused_and_reading_beside_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(folder.path());
    disk.init(chain(), genesis());
    assert!(DiskStore::open(folder.path(), Retention::default()).is_err());
    let beside = DiskStore::open_read_only(folder.path()).unwrap();
    assert_eq!(beside.get_bytes(b"k"), Some(vec![0]));
}

#[test]
fn a_state_that_lost_a_value_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(folder.path());
    disk.init(chain(), genesis());
    drop(disk);
    let db = raw(folder.path());
    db.put_cf(db.cf_handle("state").unwrap(), b"k", [1]).unwrap();
    drop(db);
    let refused = DiskStore::open(folder.path(), Retention::default()).err().unwrap();
    assert!(matches!(refused, OpenError::Root(0)), "{refused}");
}

/// Five blocks, each with a value of its own bytes, all still in the write-ahead log. Gives the log.
fn five_blocks(folder: &Path) -> PathBuf {
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
