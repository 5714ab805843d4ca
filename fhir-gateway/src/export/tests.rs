//! What the vault holds of exports.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Exports, KEPT_MAX,
    job::{End, Export, Job, KEPT_SECONDS, Kind, Line, Order, RUNNING_SECONDS_MAX, Scope},
    rows::{BEGUN, EARLIER, ORDER, OWN, STATE, begun_value, key},
};
use crate::{
    auth::clock,
    keys::OrganizationKeys,
    outcome::Refusal,
    value_sets::Pins,
    vault::{
        Space, Store as _,
        counted::Counted,
        distant::Distant,
        filling::{Failing, Mute},
        local::LocalStore,
    },
    work::Counters,
};

/// When these tests were started.
static STARTED: LazyLock<i64> = LazyLock::new(clock);

/// An export of which nothing is done.
pub(super) fn export(id: &str) -> Export {
    let order = Order {
        scope: Scope::System,
        request: "http://here/$export".to_owned(),
        types: vec!["Patient".to_owned()],
        filters: Vec::new(),
        since: None,
        elements: Vec::new(),
        patients: None,
        sets: Pins::default(),
        waiting: Vec::new(),
    };
    let job = Job::new(id.to_owned(), "ehr".to_owned(), "system/*.rs".to_owned(), 1_800_000_000);
    // All at the same time: one is compared with what was begun as it.
    Export { order, job: Job { began: *STARTED, ..job } }
}

fn job(id: &str) -> Job {
    export(id).job
}

fn of(job: Job) -> Export {
    Export { job, ..export("") }
}

fn open(folder: &Path, keys: &Arc<OrganizationKeys>) -> (Arc<Exports>, Arc<LocalStore>) {
    let store = Arc::new(LocalStore::open(folder).unwrap());
    (Exports::open(keys, Arc::clone(&store) as _), store)
}

/// Two processes that share a vault, and do not know of one another.
fn two(folder: &Path) -> ([Arc<Exports>; 2], Arc<LocalStore>) {
    let keys = Arc::new(OrganizationKeys::random());
    let (one, store) = open(folder, &keys);
    let other = Exports::open(&keys, Arc::clone(&store) as _);
    ([one, other], store)
}

/// Keys in which an id stands, and the client's rows of all.
fn keys_of(store: &LocalStore, id: &str) -> (usize, usize) {
    let all = store.scan(Space::Export, b"", None, 100).unwrap();
    let count = |text: &str| all.iter().filter(|(key, _)| String::from_utf8_lossy(key).contains(text)).count();
    (count(id), count("own/"))
}

/// One step that finds `line` about the Patient `canary`.
async fn step(exports: &Arc<Exports>, job: &mut Job, line: Line) {
    let pieces = job.append(Kind::Output, "Patient", vec![line]);
    job.after = job.files[0].lines.to_string();
    exports.advance(job.clone(), pieces, &BTreeSet::from(["canary".to_owned()])).await.unwrap();
    job.revision += 1;
}

#[tokio::test]
async fn an_export_goes_on_after_a_restart_where_its_last_step_ended() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(OrganizationKeys::random());
    let mut expected = job("one");
    let lines: Vec<Line> = (0..5).map(|n| Line::Version(format!("canary-{n}"), 1)).collect();
    for (at, line) in lines.iter().enumerate() {
        let (exports, _store) = open(folder.path(), &keys);
        if at == 0 {
            exports.begin(&of(expected.clone())).await.unwrap();
        }
        assert_eq!(exports.running().await.unwrap(), [expected.clone()], "after {at} steps");
        step(&exports, &mut expected, line.clone()).await;
    }
    let (exports, store) = open(folder.path(), &keys);
    let mut found = Vec::new();
    for part in 0..5 {
        found.extend(exports.part("one", 0, part).await.unwrap());
    }
    assert_eq!(found, lines);
    assert!(exports.unseen("one", BTreeSet::from(["canary".to_owned()])).await.unwrap().is_empty());
    assert_eq!(exports.unseen("one", BTreeSet::from(["other".to_owned()])).await.unwrap().len(), 1);
    for (key, value) in store.scan(Space::Export, b"", None, 100).unwrap() {
        let shown = String::from_utf8_lossy(&[key, value].concat()).into_owned();
        assert!(!shown.contains("canary") && !shown.contains("ehr"), "{shown}");
    }
    // What is sealed for one place opens at no other.
    let moved = store.get(Space::Export, b"lines/one/0000000000/0000000001").unwrap().unwrap();
    let mut batch = super::Batch::default();
    batch.put(Space::Export, b"lines/one/0000000000/0000000000".to_vec(), moved);
    store.commit(batch, super::Durability::Ordered).await.unwrap();
    assert!(exports.part("one", 0, 0).await.is_err());
}

#[tokio::test]
async fn what_is_removed_leaves_nothing_and_is_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(OrganizationKeys::random());
    let (exports, store) = open(folder.path(), &keys);
    let (mut one, mut two) = (job("one"), job("two"));
    for job in [&mut one, &mut two] {
        exports.begin(&of(job.clone())).await.unwrap();
        step(&exports, job, Line::Version("a".to_owned(), 1)).await;
    }
    assert_eq!(exports.remove("one", "other").await, Err(Refusal::NotFound));
    exports.remove("one", "ehr").await.unwrap();
    // A step that was under way when it was removed.
    step(&exports, &mut one, Line::Version("b".to_owned(), 1)).await;
    assert_eq!((keys_of(&store, "one"), keys_of(&store, "two")), ((0, 1), (6, 1)));
    assert_eq!(exports.of_client("one", "ehr").await.map(|_| ()), Err(Refusal::NotFound));
}

#[tokio::test]
async fn what_a_kill_left_of_a_removal_is_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(OrganizationKeys::random());
    {
        let (exports, store) = open(folder.path(), &keys);
        for id in ["gone", "kept", "lost"] {
            let mut job = job(id);
            exports.begin(&of(job.clone())).await.unwrap();
            step(&exports, &mut job, Line::Version("a".to_owned(), 1)).await;
        }
        let mut batch = super::Batch::default();
        for id in ["gone", "lost"] {
            batch.delete(Space::Export, exports.own_key(id, "ehr"));
        }
        batch.delete(Space::Export, key(STATE, "lost"));
        batch.delete(Space::Export, key(ORDER, "lost"));
        store.commit(batch, super::Durability::Synced).await.unwrap();
    }
    let (exports, store) = open(folder.path(), &keys);
    assert_eq!(exports.running().await.unwrap().len(), 1);
    exports.sweep_orphans().await.unwrap();
    assert_eq!(["gone", "lost", "kept"].map(|id| keys_of(&store, id)), [(0, 1), (0, 1), (6, 1)]);
    // These, the client's row and the stamp.
    assert_eq!(store.scan(Space::Export, b"", None, 100).unwrap().len(), 8);
}

#[tokio::test]
async fn exports_expire_and_are_bounded_by_client() {
    let folder = tempfile::tempdir().unwrap();
    let (exports, store) = open(folder.path(), &Arc::new(OrganizationKeys::random()));
    let ended = |id: String, ago: i64| of(Job { end: Some((clock() - ago, End::Complete)), ..job(&id) });
    exports.begin(&of(Job { began: clock() - RUNNING_SECONDS_MAX, ..job("endless") })).await.unwrap();
    exports.begin(&ended("old".to_owned(), KEPT_SECONDS)).await.unwrap();
    assert_eq!(exports.of_client("old", "ehr").await.map(|_| ()), Err(Refusal::NotFound), "also before it is removed");
    for n in 0..KEPT_MAX {
        exports.begin(&ended(format!("new-{n}"), 10)).await.unwrap();
    }
    assert!(matches!(exports.begin(&export("more")).await, Err(Refusal::TooMany { .. })));
    exports.begin(&of(Job { client: "other".to_owned(), ..job("other") })).await.unwrap();
    exports.running().await.unwrap();
    assert_eq!(store.scan(Space::Export, STATE.as_bytes(), None, 100).unwrap().len(), KEPT_MAX + 1);
    for n in 0..super::RUNNING_MAX - 1 {
        exports.begin(&of(Job { client: "other".to_owned(), ..job(&format!("other-{n}")) })).await.unwrap();
    }
    let one_more = Job { client: "other".to_owned(), ..job("other-more") };
    assert!(matches!(exports.begin(&of(one_more)).await, Err(Refusal::TooMany { .. })));
}

/// A lock is lost with its connection, and its holder goes on: here both believe that they have it.
#[tokio::test]
async fn a_step_that_two_processes_make_is_put_down_once_and_the_slower_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ([one, other], _store) = two(folder.path());
    one.begin(&export("one")).await.unwrap();
    let line = |name: &str, n: u32| Line::Version(format!("{name}-{n}"), 1);
    let (mut here, mut there) = (job("one"), job("one"));
    for n in 0..3 {
        step(&one, &mut here, line("one", n)).await;
        // It looked at the same time, and is slower; the last one was begun two steps ago.
        let mut late = if n == 2 { job("one") } else { there.clone() };
        step(&other, &mut late, line("other", n)).await;
        there = other.of_client("one", "ehr").await.unwrap().job;
        assert_eq!((there.revision, there.files[0].lines, &there.after), (n + 1, n + 1, &here.after));
        assert_eq!(other.part("one", 0, n).await.unwrap(), [line("one", n)]);
    }
    // Who is behind looks anew, and goes on with the next step.
    step(&other, &mut there, line("other", 3)).await;
    assert_eq!(one.part("one", 0, 3).await.unwrap(), [line("other", 3)]);
}

#[tokio::test]
async fn what_is_begun_and_removed_through_one_process_is_so_for_every_other() {
    let folder = tempfile::tempdir().unwrap();
    let ([one, other], store) = two(folder.path());
    let before = other.stamp().await.unwrap();
    one.begin(&export("one")).await.unwrap();
    assert_ne!(other.stamp().await.unwrap(), before, "whoever makes them looks");
    assert_eq!(other.running().await.unwrap().len(), 1);
    for id in ["two", "three", "four"] {
        other.begin(&export(id)).await.unwrap();
    }
    assert!(matches!(one.begin(&export("five")).await, Err(Refusal::TooMany { .. })), "they count together");
    let mut kept = other.of_client("one", "ehr").await.unwrap().job;
    assert_eq!(one.remove("one", "another").await, Err(Refusal::NotFound));
    one.remove("one", "ehr").await.unwrap();
    assert_eq!(other.of_client("one", "ehr").await, Err(Refusal::NotFound));
    // Its step ends only now.
    step(&other, &mut kept, Line::Version("a".to_owned(), 1)).await;
    assert_eq!(keys_of(&store, "one").0, 0);
}

/// What was looked up before a removal, and is put down after it by a process that has lost its locks.
#[tokio::test]
async fn what_a_worker_puts_down_too_late_brings_no_export_back_and_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let ([one, other], store) = two(folder.path());
    one.begin(&export("one")).await.unwrap();
    let mut late = job("one");
    step(&other, &mut late, Line::Version("a".to_owned(), 1)).await;
    let put_down = store.scan(Space::Export, b"", None, 100).unwrap();
    one.remove("one", "ehr").await.unwrap();
    let mut batch = super::Batch::default();
    for (key, value) in put_down.into_iter().filter(|(key, _)| !key.starts_with(b"own/")) {
        batch.put(Space::Export, key, value);
    }
    store.commit(batch, super::Durability::Synced).await.unwrap();
    assert_eq!(keys_of(&store, "one"), (6, 0));
    for exports in [&one, &other] {
        assert_eq!(exports.of_client("one", "ehr").await, Err(Refusal::NotFound));
        assert!(exports.running().await.unwrap().is_empty());
    }
    other.sweep_orphans().await.unwrap();
    assert_eq!(keys_of(&store, "one").0, 0);
}

/// A thread that answers requests stood still while PostgreSQL was asked about an export.
#[tokio::test]
async fn exports_in_a_vault_behind_a_server_hold_up_nobody_else_while_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    let store = Distant::new(folder.path());
    let exports = Exports::open(&Arc::new(OrganizationKeys::random()), Arc::clone(&store) as _);
    let patients = BTreeSet::from(["canary".to_owned()]);
    let mut made = job("one");
    store.during(exports.begin(&of(made.clone()))).await.unwrap();
    store.during(step(&exports, &mut made, Line::Version("a".to_owned(), 1))).await;
    assert_eq!(store.during(exports.running()).await.unwrap(), [made.clone()]);
    assert_eq!(store.during(exports.of_client("one", "ehr")).await.unwrap(), of(made));
    assert_eq!(store.during(exports.order("one")).await.unwrap(), Some(export("one").order));
    assert_eq!(store.during(exports.part("one", 0, 0)).await.unwrap().len(), 1);
    assert!(store.during(exports.unseen("one", patients)).await.unwrap().is_empty());
    assert!(store.during(exports.stamp()).await.unwrap().is_some());
    store.during(exports.sweep_orphans()).await.unwrap();
    store.during(exports.remove("one", "ehr")).await.unwrap();
    assert!(store.scan(Space::Export, b"lines/", None, 1).unwrap().is_empty());
}

/// Of a careledger-gateway that kept all of an export in one row, as it wrote them.
#[tokio::test]
async fn the_exports_of_an_earlier_build_are_removed_and_keep_nobody_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let (exports, store) = open(folder.path(), &Arc::new(OrganizationKeys::random()));
    let mut batch = super::Batch::default();
    for (key, text) in [
        ("job/running", r#"{"id":"running","client":"ehr","waiting":[],"step":0,"end":null}"#),
        ("job/ended", r#"{"id":"ended","client":"ehr","waiting":[],"step":2,"end":[1800000000,"Complete"]}"#),
        ("part/ended/0000000000/0000000000", r#"[{"Version":["a",1]}]"#),
        ("seen/ended/aa", "[]"),
    ] {
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        batch.put(Space::Export, key, exports.sealed(key.as_bytes(), &json));
    }
    store.commit(batch, super::Durability::Synced).await.unwrap();
    exports.begin(&export("one")).await.unwrap();
    assert_eq!(exports.running().await.unwrap(), [job("one")]);
    for id in ["running", "ended"] {
        assert_eq!(exports.of_client(id, "ehr").await, Err(Refusal::NotFound));
    }
    exports.sweep_orphans().await.unwrap();
    for prefix in EARLIER {
        assert!(store.scan(Space::Export, prefix.as_bytes(), None, 10).unwrap().is_empty(), "{prefix}");
    }
    assert_eq!(exports.running().await.unwrap(), [job("one")]);
}

/// It reads each row below `job/` when it starts, and ends where one has fields that it does not know.
#[tokio::test]
async fn an_earlier_build_sees_nothing_of_an_export() {
    let folder = tempfile::tempdir().unwrap();
    let (exports, store) = open(folder.path(), &Arc::new(OrganizationKeys::random()));
    let mut made = job("one");
    exports.begin(&export("one")).await.unwrap();
    step(&exports, &mut made, Line::Version("a".to_owned(), 1)).await;
    for (key, _) in store.scan(Space::Export, b"", None, 100).unwrap() {
        let key = String::from_utf8(key).unwrap();
        assert!(!["job/", "part/", "seen/"].iter().any(|prefix| key.starts_with(prefix)), "{key}");
    }
}

/// A disk that fails while a kick-off is made durable has it, and its client heard that it was refused.
#[tokio::test]
async fn of_a_kick_off_that_failed_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let fails = Arc::new(AtomicBool::new(true));
    let store = Arc::new(Failing::new(folder.path(), &fails));
    let exports = Exports::open(&Arc::new(OrganizationKeys::random()), Arc::clone(&store) as _);
    for _ in 0..=KEPT_MAX {
        assert!(matches!(exports.begin(&export("one")).await, Err(Refusal::Internal(_))));
        assert_eq!(exports.of_client("one", "ehr").await, Err(Refusal::NotFound));
    }
    fails.store(false, Ordering::Relaxed);
    assert!(exports.running().await.unwrap().is_empty());
    exports.sweep_orphans().await.unwrap();
    assert_eq!(store.scan(Space::Export, b"", None, 100).unwrap().len(), 1, "the stamp");
}

/// What names ten thousand patients was read in each round, of every export there was.
#[tokio::test]
async fn whoever_looks_for_work_reads_little_however_much_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let counters = Arc::<Counters>::default();
    let store = Arc::new(Counted::over(Arc::new(LocalStore::open(folder.path()).unwrap()), Arc::clone(&counters)));
    let exports = Exports::open(&Arc::new(OrganizationKeys::random()), store);
    let patients: Vec<String> = (0..10_000).map(|number| format!("patient-{number}")).collect();
    let order = Order { patients: Some(patients.clone()), waiting: patients, ..export("").order };
    for id in ["one", "two"] {
        exports.begin(&Export { order: order.clone(), job: job(id) }).await.unwrap();
    }
    let read = |before: u64| counters.with_ledger(0).vault_bytes - before;
    let before = read(0);
    assert_eq!(exports.running().await.unwrap(), [job("one"), job("two")]);
    assert!(read(before) < 4_000, "{}", read(before));
    let before = read(0);
    exports.begin(&export("three")).await.unwrap();
    assert!(read(before) < 4_000, "{}", read(before));
    assert_eq!(exports.order("one").await, Ok(Some(order)));
}

/// One that a build to come wrote kept every other from being made.
#[tokio::test]
async fn an_export_that_does_not_open_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (exports, store) = open(folder.path(), &Arc::new(OrganizationKeys::random()));
    for id in ["one", "two"] {
        exports.begin(&export(id)).await.unwrap();
    }
    let mut batch = super::Batch::default();
    batch.put(Space::Export, key(STATE, "one"), exports.sealed(&key(STATE, "one"), &serde_json::json!({"new": 1})));
    store.commit(batch, super::Durability::Synced).await.unwrap();
    assert_eq!(exports.running().await.unwrap(), [job("two")]);
    assert!(matches!(exports.of_client("one", "ehr").await, Err(Refusal::Internal(_))));
    exports.begin(&export("three")).await.unwrap();
    assert_eq!(exports.remove("one", "other").await, Err(Refusal::NotFound));
    exports.remove("one", "ehr").await.unwrap();
    assert_eq!(keys_of(&store, "one").0, 0);
}

/// Whoever knew its address removed another client's export while the vault did not answer.
#[tokio::test]
async fn a_vault_that_does_not_answer_removes_no_export_of_another_client() {
    let (folder, is_mute) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
    let store = Arc::new(Mute::new(folder.path(), &is_mute));
    let exports = Exports::open(&Arc::new(OrganizationKeys::random()), Arc::clone(&store) as _);
    exports.begin(&export("one")).await.unwrap();
    let before = store.scan(Space::Export, b"", None, 100).unwrap();
    is_mute.store(true, Ordering::Relaxed);
    for client in ["other", "ehr"] {
        assert!(matches!(exports.remove("one", client).await, Err(Refusal::Internal(_))), "{client}");
    }
    is_mute.store(false, Ordering::Relaxed);
    assert_eq!(store.scan(Space::Export, b"", None, 100).unwrap(), before);
    assert_eq!(exports.remove("one", "other").await, Err(Refusal::NotFound));
    assert_eq!(exports.of_client("one", "ehr").await, Ok(export("one")));
    exports.remove("one", "ehr").await.unwrap();
    assert_eq!(store.scan(Space::Export, b"", None, 100).unwrap().len(), 1, "the stamp");
}

#[tokio::test]
async fn a_clients_row_without_its_export_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (exports, store) = open(folder.path(), &Arc::new(OrganizationKeys::random()));
    for id in ["one", "two", "three"] {
        exports.begin(&export(id)).await.unwrap();
    }
    let mut batch = super::Batch::default();
    for id in ["one", "two"] {
        batch.delete(Space::Export, key(STATE, id));
    }
    store.commit(batch, super::Durability::Synced).await.unwrap();
    exports.remove("one", "ehr").await.unwrap();
    exports.sweep_orphans().await.unwrap();
    assert_eq!(["one", "two", "three"].map(|id| keys_of(&store, id)), [(0, 1), (0, 1), (3, 1)]);
}

/// It kept every export of every client from being made, and any from being begun.
#[tokio::test]
async fn a_clients_row_that_does_not_open_keeps_no_other_export_from_being_made_and_none_is_taken_for_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (exports, store) = open(folder.path(), &Arc::new(OrganizationKeys::random()));
    let mut made = job("one");
    exports.begin(&export("one")).await.unwrap();
    step(&exports, &mut made, Line::Version("a".to_owned(), 1)).await;
    exports.begin(&export("two")).await.unwrap();
    let mut batch = super::Batch::default();
    batch.put(Space::Export, exports.own_key("one", "ehr"), b"of a build to come".to_vec());
    store.commit(batch, super::Durability::Synced).await.unwrap();
    assert_eq!(exports.running().await.unwrap(), [job("two")]);
    exports.begin(&export("three")).await.unwrap();
    exports.sweep_orphans().await.unwrap();
    assert_eq!(keys_of(&store, "one").0, 6, "it may be there");
    exports.remove("one", "ehr").await.unwrap();
    assert_eq!(keys_of(&store, "one").0, 0);
}

/// When it expires was said only inside of what is sealed.
#[tokio::test]
async fn what_does_not_open_is_removed_after_the_longest_time_of_any_export() {
    let folder = tempfile::tempdir().unwrap();
    let (exports, store) = open(folder.path(), &Arc::new(OrganizationKeys::random()));
    for id in ["state", "own", "kept", "young"] {
        exports.begin(&export(id)).await.unwrap();
    }
    let mut batch = super::Batch::default();
    for row in [key(STATE, "state"), exports.own_key("own", "ehr"), key(STATE, "young")] {
        batch.put(Space::Export, row, b"of a build to come".to_vec());
    }
    for (id, ago) in [("state", 0), ("own", 0), ("young", 60)] {
        let began = clock() - RUNNING_SECONDS_MAX - KEPT_SECONDS + ago;
        batch.put(Space::Export, key(BEGUN, id), begun_value(began, &exports.own_key(id, "ehr")));
    }
    store.commit(batch, super::Durability::Synced).await.unwrap();
    exports.sweep_orphans().await.unwrap();
    let left = ["state", "own", "young", "kept"].map(|id| String::from_utf8(exports.own_key(id, "ehr")).unwrap());
    let left = left.map(|row| store.get(Space::Export, row.as_bytes()).unwrap().is_some());
    assert_eq!(left, [false, false, true, true]);
    assert!(["state", "own"].iter().all(|id| store.get(Space::Export, &key(BEGUN, id)).unwrap().is_none()));
    assert_eq!(exports.running().await.unwrap(), [job("kept")]);
    assert_eq!(store.scan(Space::Export, OWN.as_bytes(), None, 10).unwrap().len(), 2);
}
