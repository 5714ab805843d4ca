use std::{
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use careledger_app::store::disk::DatabaseMemory;
use futures::{executor::block_on, future::join_all};

use super::{local::LocalStore, *};

fn put(space: Space, key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(space, key, value);
    batch
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3u8 {
        let store = LocalStore::open(folder.path()).unwrap();
        for earlier in 0..round {
            assert_eq!(store.get(Space::Body, &[earlier]).unwrap(), Some(vec![earlier; 5000]));
        }
        let durability = if round == 1 { Durability::Ordered } else { Durability::Synced };
        block_on(store.commit(put(Space::Body, &[round], &[round; 5000]), durability)).unwrap();
    }
}

#[test]
fn many_writers_at_once_are_all_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let writes =
        (0..500u32).map(|number| store.commit(put(Space::Entry, &number.to_be_bytes(), &[7; 100]), Durability::Synced));
    let outcomes = block_on(join_all(writes));
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(store.scan(Space::Entry, &[], None, 1000).unwrap().len(), 500);
    assert_eq!(store.last(Space::Entry).unwrap().unwrap().0, 499u32.to_be_bytes());
}

/// Those that wait for the disk and those that do not are mixed: the order is that of the calls all the same.
#[test]
fn batches_take_effect_in_the_order_of_the_calls_whatever_they_wait_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let writes = (0..600u32).map(|number| {
        let durability = if number.is_multiple_of(3) { Durability::Synced } else { Durability::Ordered };
        store.commit(put(Space::State, b"newest", &number.to_be_bytes()), durability)
    });
    let outcomes = block_on(join_all(writes));
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(store.get(Space::State, b"newest").unwrap(), Some(599u32.to_be_bytes().to_vec()));
    // Of those that must be new, one is written, and the others hear so.
    let same = |_| {
        let mut batch = Batch::default();
        batch.put_new(Space::State, b"once", b"");
        store.commit(batch, Durability::Synced)
    };
    let outcomes = block_on(join_all((0..50).map(same)));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().filter(|outcome| outcome.is_err()).all(|outcome| *outcome == Err(StoreError::Taken)));
}

#[test]
fn a_scan_stays_below_its_prefix_and_goes_on_after_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let mut batch = Batch::default();
    for key in ["a1", "b1", "b2", "b3", "c1"] {
        batch.put(Space::State, key, key);
    }
    block_on(store.commit(batch, Durability::Synced)).unwrap();
    let keys = |after: Option<&[u8]>, limit| -> Vec<String> {
        let pairs = store.scan(Space::State, b"b", after, limit).unwrap();
        pairs.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
    };
    assert_eq!(keys(None, 2), ["b1", "b2"]);
    assert_eq!(keys(Some(b"b2"), 2), ["b3"]);
    assert_eq!(keys(Some(b"a1"), 1), ["b1"]);
    assert!(keys(Some(b"b3"), 2).is_empty());
}

#[test]
fn a_body_that_was_changed_on_the_disk_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let mut batch = Batch::default();
    let address = put_body(&mut batch, b"sealed".to_vec());
    block_on(store.commit(batch, Durability::Synced)).unwrap();
    assert_eq!(get_body(&store, &address).unwrap(), b"sealed");
    block_on(store.commit(put(Space::Body, address.as_bytes(), b"other"), Durability::Synced)).unwrap();
    assert!(matches!(get_body(&store, &address), Err(StoreError::Lost(_))));
    let absent = Digest::new([1; 32]);
    assert!(matches!(get_body(&store, &absent), Err(StoreError::Lost(_))));
}

/// Variable that names the folder to the process which [`a_full_disk_refuses_and_loses_nothing`]
/// starts.
const FULL_DISK_FOLDER: &str = "CARELEDGER_TEST_FULL_DISK";
/// What is written at once: little enough for who has it to write it.
const FULL_DISK_VALUE_BYTES: usize = 60_000;

/// Variable that says which of two writes waits for the disk, 0 or 1.
const FULL_DISK_SYNCED: &str = "CARELEDGER_TEST_FULL_DISK_SYNCED";

/// Writes until a file may grow no more, as on a disk without space, then reads everything that
/// was acknowledged. What meets the limit is written by the writer's thread once, and by who has it once.
#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    if let (Ok(folder), Ok(synced)) = (std::env::var(FULL_DISK_FOLDER), std::env::var(FULL_DISK_SYNCED)) {
        return fill(std::path::Path::new(&folder), synced.parse().unwrap());
    }
    let mut refused = Vec::new();
    for synced in ["0", "1"] {
        let folder = tempfile::tempdir().unwrap();
        let this = std::env::current_exe().unwrap();
        // 2 MiB for any file (the unit is 512 bytes), and no signal but an error for crossing it.
        let limited = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""])
            .arg(this)
            .args(["--exact", "vault::tests::a_full_disk_refuses_and_loses_nothing", "--nocapture"])
            .env(FULL_DISK_FOLDER, folder.path())
            .env(FULL_DISK_SYNCED, synced)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&limited.stdout);
        assert!(limited.status.success(), "{printed}{}", String::from_utf8_lossy(&limited.stderr));
        let said = |what: &str| {
            let said = printed.lines().find_map(|line| line.split_once(what));
            said.expect("the limited process says what it did").1.trim().to_owned()
        };
        refused.push(said("refused "));

        // With space again, everything that was acknowledged is there and writes go on.
        let store = LocalStore::open(folder.path()).unwrap();
        assert_eq!(present(&store), said("acknowledged ").parse::<u32>().unwrap());
        block_on(store.commit(put(Space::Body, b"after", b"space"), Durability::Synced)).unwrap();
    }
    refused.sort_unstable();
    assert_eq!(refused, ["Ordered", "Synced"]);
}

fn fill(folder: &std::path::Path, synced: u32) {
    let store = LocalStore::open(folder).unwrap();
    let write = |number: u32, durability| {
        let value = vec![number as u8; FULL_DISK_VALUE_BYTES];
        block_on(store.commit(put(Space::Body, &number.to_be_bytes(), &value), durability))
    };
    let mut acknowledged = 0u32;
    let (durability, refused) = loop {
        let durability = if acknowledged % 2 == synced { Durability::Synced } else { Durability::Ordered };
        match write(acknowledged, durability) {
            Ok(()) => acknowledged += 1,
            Err(error) => break (durability, error),
        }
        assert!(acknowledged < 1000, "the limit was never met");
    };
    assert_eq!(refused, StoreError::Full);
    assert!(acknowledged > 5);
    assert_eq!(present(&store), acknowledged, "reads go on while writes are refused");
    // The writer opens it again, into a file of its own that has room.
    match write(acknowledged, Durability::Ordered) {
        Ok(()) => acknowledged += 1,
        Err(error) => assert_eq!(error, StoreError::Full),
    }
    println!("\nrefused {durability:?}\nacknowledged {acknowledged}");
}

fn present(store: &LocalStore) -> u32 {
    let found = (0u32..).take_while(|number| {
        let value = store.get(Space::Body, &number.to_be_bytes()).unwrap();
        value.is_some_and(|value| value == vec![*number as u8; FULL_DISK_VALUE_BYTES])
    });
    found.count() as u32
}

/// Two stores over one schema, as of two processes; none where no server is named.
fn two_on_postgresql() -> Option<[postgresql::PostgresStore; 2]> {
    two_that_wait(Duration::from_secs(60))
}

fn two_that_wait(deadline: Duration) -> Option<[postgresql::PostgresStore; 2]> {
    use crate::postgres::{
        Fault, Postgres, Settings,
        locks::{Locks, Membership},
    };
    let settings = Settings::for_test()?;
    Some([settings.clone(), settings].map(|settings| {
        let postgres = Postgres::open(settings).unwrap();
        let prepare = || {
            postgres.make_schema()?;
            postgresql::prepare(&postgres)
        };
        let prepared = || postgresql::is_prepared(&postgres);
        let locks = Locks::join::<Fault>(&postgres, Membership::Shared, prepared, prepare).unwrap();
        postgresql::PostgresStore::on(postgres.clone(), locks.with_deadline(deadline))
    }))
}

#[test]
fn processes_that_share_a_store_see_each_others_pairs_in_order() {
    let Some([one, other]) = two_on_postgresql() else { return };
    let mut batch = Batch::default();
    for key in ["a1", "b1", "b2", "b3", "c1"] {
        batch.put(Space::State, key, key);
    }
    batch.put(Space::Leaf, [255, 255], "last");
    batch.delete(Space::State, "never");
    block_on(one.commit(batch, Durability::Synced)).unwrap();
    let keys = |prefix: &[u8], after: Option<&[u8]>, limit| -> Vec<String> {
        let pairs = other.scan(Space::State, prefix, after, limit).unwrap();
        pairs.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
    };
    assert_eq!(keys(b"b", None, 2), ["b1", "b2"]);
    assert_eq!(keys(b"b", Some(b"b2"), 2), ["b3"]);
    assert_eq!(keys(b"b", Some(b"a1"), 1), ["b1"]);
    assert!(keys(b"b", Some(b"b3"), 2).is_empty());
    assert_eq!(keys(b"", None, usize::MAX).len(), 5);
    assert_eq!(other.scan(Space::Leaf, &[255], None, 9).unwrap().len(), 1);
    assert_eq!(other.last(Space::State).unwrap().unwrap().0, b"c1");
    assert_eq!(other.last(Space::Journal).unwrap(), None);
    let mut gone = put(Space::State, b"a1", b"other");
    gone.delete(Space::State, "a1");
    block_on(other.commit(gone, Durability::Ordered)).unwrap();
    assert_eq!(one.get(Space::State, b"a1").unwrap(), None);
}

#[test]
fn of_processes_that_put_the_same_new_pair_one_is_first_and_the_others_change_nothing() {
    let Some(stores) = two_on_postgresql() else { return };
    for round in 0..50_u32 {
        let write = |writer: usize| {
            let mut batch = Batch::default();
            batch.put_new(Space::Pending, round.to_be_bytes(), [writer as u8]);
            batch.put(Space::Entry, round.to_be_bytes(), [writer as u8]);
            stores[writer % 2].commit(batch, Durability::Synced)
        };
        let outcomes = block_on(join_all((0..8).map(write)));
        let first = outcomes.iter().position(Result::is_ok).unwrap() as u8;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(StoreError::Taken)).count(), 7);
        for space in [Space::Pending, Space::Entry] {
            assert_eq!(stores[0].get(space, &round.to_be_bytes()).unwrap(), Some(vec![first]));
        }
    }
}

#[test]
fn what_one_process_holds_another_waits_for() {
    let Some([one, other]) = two_on_postgresql() else { return };
    let held = block_on(one.exclusive(vec!["b".to_owned(), "a".to_owned()])).unwrap();
    let waiting = std::sync::atomic::AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _held = block_on(other.exclusive(vec!["a".to_owned()])).unwrap();
            assert!(!waiting.load(std::sync::atomic::Ordering::SeqCst), "it was held");
        });
        block_on(other.exclusive(vec!["c".to_owned()])).unwrap();
        waiting.store(false, std::sync::atomic::Ordering::SeqCst);
        drop(held);
    });
}

/// Who waited for a lock that another process had waited for ever.
#[test]
fn who_does_not_get_a_lock_in_time_is_told_so_and_keeps_nothing() {
    let Some([one, other]) = two_that_wait(Duration::from_millis(200)) else { return };
    let held = block_on(one.exclusive(vec!["b".to_owned()])).unwrap();
    let names = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(block_on(other.exclusive(names.clone())).err(), Some(StoreError::Held));
    assert_eq!(Refusal::from(StoreError::Held), Refusal::Busy);
    // What it had got of them is let go, in the background.
    drop(block_on(one.exclusive(vec!["a".to_owned()])).unwrap());
    drop(held);
    drop(block_on(other.exclusive(names)).unwrap());
}

#[test]
fn what_one_process_holds_another_does_not_get_until_it_is_let_go() {
    let Some([one, other]) = two_on_postgresql() else { return };
    let held = block_on(one.try_exclusive("a")).unwrap().expect("nobody has it");
    assert!(!held.is_lost());
    assert!(block_on(other.try_exclusive("a")).unwrap().is_none());
    let beside = block_on(other.try_exclusive("b")).unwrap();
    assert!(beside.is_some(), "another name is another lock");
    drop(held);
    // It is let go in the background; whoever waits for it gets it then.
    drop(block_on(other.exclusive(vec!["a".to_owned()])).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let alone = LocalStore::open(folder.path()).unwrap();
    assert!(block_on(alone.try_exclusive("a")).unwrap().is_some_and(|held| !held.is_lost()));
}

#[test]
fn a_pair_that_must_be_new_is_refused_where_it_is_there_and_nothing_of_its_batch_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let new = |value: &[u8]| {
        let mut batch = put(Space::Entry, b"beside", value);
        batch.put_new(Space::Pending, "key", value);
        batch
    };
    let outcomes = block_on(join_all([b"1", b"2", b"3"].map(|value| store.commit(new(value), Durability::Synced))));
    assert_eq!(outcomes, [Ok(()), Err(StoreError::Taken), Err(StoreError::Taken)]);
    assert_eq!(store.get(Space::Entry, b"beside").unwrap(), Some(b"1".to_vec()));
    let mut gone = Batch::default();
    gone.delete(Space::Pending, "key");
    block_on(store.commit(gone, Durability::Synced)).unwrap();
    assert_eq!(block_on(store.commit(new(b"4"), Durability::Synced)), Ok(()));
}

#[test]
fn a_vault_keeps_within_its_memory_whatever_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = 8 * 1024 * 1024;
    let memory = DatabaseMemory::of(bytes);
    let store = LocalStore::open_within(folder.path(), &memory).unwrap();
    let keys = || (0..80u32).map(u32::to_be_bytes);
    for key in keys() {
        for (space, size) in Space::ALL.into_iter().zip([50_000, 500].into_iter().cycle()) {
            block_on(store.commit(put(space, &key, &vec![7; size]), Durability::Ordered)).unwrap();
        }
    }
    // What is being written out is counted until it is; a write has more of it written out, if there is too much.
    let deadline = Instant::now() + Duration::from_secs(60);
    while memory.unwritten_bytes() > bytes {
        assert!(Instant::now() < deadline, "{} bytes are not written out", memory.unwritten_bytes());
        block_on(store.commit(put(Space::State, b"one more", b"write"), Durability::Ordered)).unwrap();
    }
    for space in Space::ALL {
        assert!(keys().all(|key| store.get(space, &key).unwrap().is_some()), "{space:?}");
    }
    assert!(memory.bytes() <= 2 * bytes, "{} bytes", memory.bytes());
}

#[test]
fn what_is_removed_only_as_it_was_seen_stays_where_it_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let local: Arc<dyn Store> = Arc::new(LocalStore::open(folder.path()).unwrap());
    let shared = two_on_postgresql().map(|[one, _]| Arc::new(one) as Arc<dyn Store>);
    for store in std::iter::once(local).chain(shared) {
        let value = |key: &str| store.get(Space::Entry, key.as_bytes()).unwrap();
        let removal = |seen: &[u8]| {
            let mut batch = Batch::default();
            batch.delete_seen(Space::Entry, "key", seen);
            batch.put(Space::Entry, "beside", seen);
            batch
        };
        block_on(store.commit(put(Space::Entry, b"key", b"new"), Durability::Synced)).unwrap();
        block_on(store.commit(removal(b"old"), Durability::Synced)).unwrap();
        assert_eq!((value("key"), value("beside")), (Some(b"new".to_vec()), Some(b"old".to_vec())));
        block_on(store.commit(removal(b"new"), Durability::Synced)).unwrap();
        assert_eq!((value("key"), value("beside")), (None, Some(b"new".to_vec())));
        block_on(store.commit(removal(b"new"), Durability::Synced)).unwrap();
        // In one batch, and in batches that are written together, what came before counts.
        let mut batch = put(Space::Entry, b"key", b"1");
        batch.delete_seen(Space::Entry, "key", *b"0");
        block_on(store.commit(batch, Durability::Synced)).unwrap();
        assert_eq!(value("key"), Some(b"1".to_vec()));
        let writes = [put(Space::Entry, b"key", b"2"), removal(b"1"), removal(b"2"), put(Space::Entry, b"key", b"3")];
        let outcomes = block_on(join_all(writes.map(|batch| store.commit(batch, Durability::Synced))));
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(value("key"), Some(b"3".to_vec()));
        let writes = [put(Space::Entry, b"key", b"4"), removal(b"4")];
        assert!(
            block_on(join_all(writes.map(|batch| store.commit(batch, Durability::Synced)))).iter().all(Result::is_ok)
        );
        assert_eq!(value("key"), None);
    }
}
