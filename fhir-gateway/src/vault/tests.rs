use std::process::Command;

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
    assert!(matches!(get_body(&store, &address), Err(StoreError::Fault(_))));
    let absent = Digest::new([1; 32]);
    assert!(matches!(get_body(&store, &absent), Err(StoreError::Fault(_))));
}

/// Variable that names the folder to the process which [`a_full_disk_refuses_and_loses_nothing`]
/// starts.
const FULL_DISK_FOLDER: &str = "CARELEDGER_TEST_FULL_DISK";

/// Writes until a file may grow no more, as on a disk without space, then reads everything that
/// was acknowledged.
#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    if let Ok(folder) = std::env::var(FULL_DISK_FOLDER) {
        return fill(std::path::Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    // 2 MiB for any file (the unit is 512 bytes), and no signal but an error for crossing it.
    let limited = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""])
        .arg(this)
        .args(["--exact", "vault::tests::a_full_disk_refuses_and_loses_nothing", "--nocapture"])
        .env(FULL_DISK_FOLDER, folder.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&limited.stdout);
    assert!(limited.status.success(), "{printed}{}", String::from_utf8_lossy(&limited.stderr));
    let acknowledged: u32 = printed
        .lines()
        .find_map(|line| line.split_once("acknowledged ").and_then(|(_, number)| number.trim().parse().ok()))
        .expect("the limited process says how many writes it acknowledged");

    // With space again, everything that was acknowledged is there and writes go on.
    let store = LocalStore::open(folder.path()).unwrap();
    assert_eq!(present(&store), acknowledged);
    block_on(store.commit(put(Space::Body, b"after", b"space"), Durability::Synced)).unwrap();
}

fn fill(folder: &std::path::Path) {
    let store = LocalStore::open(folder).unwrap();
    let mut acknowledged = 0u32;
    let refused = loop {
        let value = vec![acknowledged as u8; 100_000];
        match block_on(store.commit(put(Space::Body, &acknowledged.to_be_bytes(), &value), Durability::Synced)) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1000, "the limit was never met");
    };
    assert_eq!(refused, StoreError::Full);
    assert!(acknowledged > 5);
    assert_eq!(present(&store), acknowledged, "reads go on while writes are refused");
    println!("\nacknowledged {acknowledged}");
}

fn present(store: &LocalStore) -> u32 {
    let found = (0u32..).take_while(|number| {
        let value = store.get(Space::Body, &number.to_be_bytes()).unwrap();
        value.is_some_and(|value| value == vec![*number as u8; 100_000])
    });
    found.count() as u32
}
