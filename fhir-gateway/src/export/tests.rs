//! What the vault holds of exports.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use super::{
    Exports, KEPT_MAX,
    job::{End, Job, KEPT_SECONDS, Kind, Line, Order, RUNNING_SECONDS_MAX, Scope},
};
use crate::{
    auth::clock,
    keys::OrganizationKeys,
    outcome::Refusal,
    vault::{Space, Store as _, local::LocalStore},
};

/// An export of which nothing is done.
pub(super) fn job(id: &str) -> Job {
    let order = Order {
        scope: Scope::System,
        request: "http://here/$export".to_owned(),
        types: vec!["Patient".to_owned()],
        filters: Vec::new(),
        since: None,
        elements: Vec::new(),
        patients: None,
    };
    Job::new(id.to_owned(), "ehr".to_owned(), "system/*.rs".to_owned(), order, 1_800_000_000)
}

fn open(folder: &Path, keys: &Arc<OrganizationKeys>) -> (Exports, Arc<LocalStore>) {
    let store = Arc::new(LocalStore::open(folder).unwrap());
    (Exports::open(keys, Arc::clone(&store) as _).unwrap(), store)
}

/// One step that finds `line` about the Patient `canary`.
async fn step(exports: &Exports, job: &mut Job, line: Line) {
    let pieces = job.append(Kind::Output, "Patient", vec![line]);
    job.after = job.files[0].lines.to_string();
    exports.advance(job.clone(), pieces, &BTreeSet::from(["canary".to_owned()])).await.unwrap();
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
            exports.begin(expected.clone()).await.unwrap();
        }
        assert_eq!(exports.running(), [expected.clone()], "after {at} steps");
        step(&exports, &mut expected, line.clone()).await;
    }
    let (exports, store) = open(folder.path(), &keys);
    let found: Vec<Line> = (0..5).flat_map(|part| exports.part("one", 0, part).unwrap()).collect();
    assert_eq!(found, lines);
    assert!(exports.unseen("one", BTreeSet::from(["canary".to_owned()])).unwrap().is_empty());
    assert_eq!(exports.unseen("one", BTreeSet::from(["other".to_owned()])).unwrap().len(), 1);
    for (key, value) in store.scan(Space::Export, b"", None, 100).unwrap() {
        let shown = String::from_utf8_lossy(&[key, value].concat()).into_owned();
        assert!(!shown.contains("canary") && !shown.contains("ehr"), "{shown}");
    }
    // What is sealed for one place opens at no other.
    let moved = store.get(Space::Export, b"part/one/0000000000/0000000001").unwrap().unwrap();
    let mut batch = super::Batch::default();
    batch.put(Space::Export, b"part/one/0000000000/0000000000".to_vec(), moved);
    store.commit(batch, super::Durability::Ordered).await.unwrap();
    assert!(exports.part("one", 0, 0).is_err());
}

#[tokio::test]
async fn what_is_removed_leaves_nothing_and_is_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(OrganizationKeys::random());
    let (exports, store) = open(folder.path(), &keys);
    let (mut one, mut two) = (job("one"), job("two"));
    for job in [&mut one, &mut two] {
        exports.begin(job.clone()).await.unwrap();
        step(&exports, job, Line::Version("a".to_owned(), 1)).await;
    }
    assert_eq!(exports.remove("one", "other").await, Err(Refusal::NotFound));
    exports.remove("one", "ehr").await.unwrap();
    // A step that was under way when it was removed.
    step(&exports, &mut one, Line::Version("b".to_owned(), 1)).await;
    let keys_of = |id: &str| {
        let all = store.scan(Space::Export, b"", None, 100).unwrap();
        all.iter().filter(|(key, _)| String::from_utf8_lossy(key).contains(id)).count()
    };
    assert_eq!((keys_of("one"), keys_of("two")), (0, 3));
    assert_eq!(exports.of_client("one", "ehr").map(|_| ()), Err(Refusal::NotFound));
}

#[tokio::test]
async fn what_a_kill_left_of_a_removal_is_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(OrganizationKeys::random());
    {
        let (exports, store) = open(folder.path(), &keys);
        for id in ["gone", "kept", "lost"] {
            let mut job = job(id);
            exports.begin(job.clone()).await.unwrap();
            step(&exports, &mut job, Line::Version("a".to_owned(), 1)).await;
        }
        let mut batch = super::Batch::default();
        batch.delete(Space::Export, b"job/gone".to_vec());
        batch.delete(Space::Export, b"job/lost".to_vec());
        store.commit(batch, super::Durability::Synced).await.unwrap();
    }
    let (exports, store) = open(folder.path(), &keys);
    exports.sweep_orphans().await.unwrap();
    let left = store.scan(Space::Export, b"", None, 100).unwrap();
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|(key, _)| String::from_utf8_lossy(key).contains("kept")));
}

#[tokio::test]
async fn exports_expire_and_are_bounded_by_client() {
    let folder = tempfile::tempdir().unwrap();
    let (exports, store) = open(folder.path(), &Arc::new(OrganizationKeys::random()));
    let ended = |id: String, ago: i64| Job { end: Some((clock() - ago, End::Complete)), ..job(&id) };
    exports.begin(Job { began: clock() - RUNNING_SECONDS_MAX, ..job("endless") }).await.unwrap();
    exports.begin(ended("old".to_owned(), KEPT_SECONDS)).await.unwrap();
    assert_eq!(exports.of_client("old", "ehr").map(|_| ()), Err(Refusal::NotFound), "also before it is removed");
    for n in 0..KEPT_MAX {
        exports.begin(ended(format!("new-{n}"), 10)).await.unwrap();
    }
    assert!(matches!(exports.begin(job("more")).await, Err(Refusal::TooMany { .. })));
    exports.begin(Job { client: "other".to_owned(), ..job("other") }).await.unwrap();
    exports.expire().await.unwrap();
    assert_eq!(store.scan(Space::Export, b"job/", None, 100).unwrap().len(), KEPT_MAX + 1);
    for n in 0..super::RUNNING_MAX - 1 {
        exports.begin(Job { client: "other".to_owned(), ..job(&format!("other-{n}")) }).await.unwrap();
    }
    let one_more = Job { client: "other".to_owned(), ..job("other-more") };
    assert!(matches!(exports.begin(one_more).await, Err(Refusal::TooMany { .. })));
}
