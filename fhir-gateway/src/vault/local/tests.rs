use futures::{FutureExt as _, executor::block_on};

use super::*;

fn put(key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(Space::State, key, value);
    batch
}

#[test]
fn while_nobody_waits_a_small_batch_is_there_before_anything_is_awaited() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    for number in 0..50u8 {
        let written = store.commit(put(&[number], b"1"), Durability::Ordered);
        assert_eq!(store.get(Space::State, &[number]), Ok(Some(b"1".to_vec())));
        assert_eq!(written.now_or_never(), Some(Ok(())));
        // After one that waited for the disk, too: its answer comes when nothing of it is left to do.
        block_on(store.commit(put(b"synced", &[number]), Durability::Synced)).unwrap();
    }
    let mut again = Batch::default();
    again.put_new(Space::State, [7], b"2");
    again.put(Space::State, b"beside", b"2");
    assert_eq!(store.commit(again, Durability::Ordered).now_or_never(), Some(Err(StoreError::Taken)));
    assert_eq!(store.get(Space::State, &[7]), Ok(Some(b"1".to_vec())));
    assert_eq!(store.get(Space::State, b"beside"), Ok(None));
}

#[test]
fn a_batch_that_is_large_or_comes_after_others_is_for_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    assert!(store.shared.write_at_once(put(b"large", &[0; 100_000])).is_err());
    let mut many = Batch::default();
    (0..100u8).for_each(|number| many.put_new(Space::State, [number], b""));
    assert!(store.shared.write_at_once(many).is_err());
    let mut seen = Batch::default();
    seen.delete_seen(Space::State, b"gone", b"1");
    assert!(store.shared.write_at_once(seen).is_err());
    store.shared.unanswered.fetch_add(1, Ordering::AcqRel);
    assert!(store.shared.write_at_once(put(b"later", b"1")).is_err());
    store.shared.unanswered.fetch_sub(1, Ordering::AcqRel);
    {
        let _turn = store.shared.turn.lock();
        assert!(store.shared.write_at_once(put(b"beside", b"1")).is_err());
    }
    assert!(store.scan(Space::State, &[], None, 10).unwrap().is_empty());
    // After a write that failed, too: only the writer opens the store again.
    store.shared.failed.store(true, Ordering::Release);
    let written = store.commit(put(b"later", b"1"), Durability::Ordered);
    block_on(written).unwrap();
    assert_eq!(store.get(Space::State, b"later"), Ok(Some(b"1".to_vec())));
    assert!(!store.shared.failed.load(Ordering::Acquire));
    assert_eq!(store.shared.unanswered.load(Ordering::Acquire), 0);
}

/// RocksDB makes writers wait while it has much to tidy up.
#[test]
fn who_has_a_batch_does_not_wait_where_the_writer_has_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let stop_at = |files: &str| {
        let options = [("level0_file_num_compaction_trigger", "1000"), ("level0_stop_writes_trigger", files)];
        let set = |database: &DB| database.set_options_cf(family(database, Space::State), &options).map_err(failure);
        store.with(set).unwrap();
    };
    block_on(store.commit(put(b"first", b"1"), Durability::Ordered)).unwrap();
    store.with(|database| database.flush_cf(family(database, Space::State)).map_err(failure)).unwrap();
    stop_at("1");
    let is_refused = store.shared.write_at_once(put(b"second", b"1")).is_err();
    let mut second = store.commit(put(b"second", b"1"), Durability::Ordered);
    let answered = (&mut second).now_or_never();
    let is_refused = is_refused && store.shared.write_at_once(put(b"third", b"1")).is_err();
    // Before anything is asserted: the writer would wait for ever, and whoever closes the store for the writer.
    stop_at("1000");
    assert!(is_refused);
    assert_eq!(answered, None);
    block_on(second).unwrap();
    assert!(!store.shared.failed.load(Ordering::Acquire));
    assert_eq!(store.commit(put(b"third", b"1"), Durability::Ordered).now_or_never(), Some(Ok(())));
}
