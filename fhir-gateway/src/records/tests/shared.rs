//! Several processes of one organization, and what one of them leaves behind.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::FutureExt as _;

use super::*;
use crate::{
    postgres::{
        Fault, Postgres, Settings,
        locks::{Locks, Membership},
    },
    vault::{
        distant::Distant,
        postgresql::{self, PostgresStore},
    },
};
use careledger_app::reject::Reject;

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// Where nothing else is shared, the ledger's order decides: the second anchor of an id is refused.
#[tokio::test]
async fn of_two_that_share_nothing_but_the_ledger_one_creates_a_resource() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::open(folder.path()).unwrap());
    let (keys, rows) = (Arc::clone(&world.keys), Arc::<Rows>::default());
    let (other, _) = Records::open(keys, store, world.ledger().clone(), rows).await.unwrap();
    for round in 0..20 {
        let id = round.to_string();
        let (here, there) = futures::join!(
            world.records().commit(vec![create(&id, "here")], vec![]),
            other.commit(vec![create(&id, "there")], vec![])
        );
        let outcomes = [here, there];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        let refused = outcomes.iter().find_map(|outcome| outcome.as_ref().err()).unwrap();
        assert!(matches!(refused, Refusal::Ledger { code, .. } if *code == Reject::RecordExists.code()), "{refused:?}");
    }
}

#[tokio::test]
async fn a_rebuild_that_was_interrupted_goes_on_where_it_was() {
    let world = World::new().await;
    let ids: Vec<String> = (0..1_200).map(|number| number.to_string()).collect();
    let writes = ids.iter().map(|id| world.records().commit(vec![create(id, id)], vec![]));
    assert!(futures::future::join_all(writes).await.iter().all(Result::is_ok));
    // The index fails after the first page.
    let rows = Arc::clone(&world.rows);
    let interrupted = world.records().reindex(|_| rows.1.store(true, Ordering::Relaxed)).await;
    assert_eq!(interrupted, Err(Refusal::StorageFull));
    rows.1.store(false, Ordering::Relaxed);
    let before: BTreeSet<(String, u32)> = rows.versions().into_iter().collect();
    assert_eq!(before.len(), 500);
    // What is there already is not put there again: these marks stay.
    rows.0.lock().1.values_mut().for_each(|(version, _)| *version = 77);
    let found = world.records().reindex(|_| {}).await.unwrap();
    assert_eq!(found, Reindexed { indexed: 1_200, ..Reindexed::default() });
    let after = rows.versions();
    assert_eq!(after.len(), 1_200);
    assert_eq!(after.iter().filter(|(_, version)| *version == 77).count(), 500);
    assert_eq!((rows.applied(), rows.rebuilt()), (Ok(1_200), Ok(None)));
}

/// Two processes over one schema; none where no server is named.
async fn processes(world: &World) -> Option<[Records; 2]> {
    let settings = Settings::for_test()?;
    let rows = Arc::<Rows>::default();
    let mut opened = Vec::new();
    for _ in 0..2 {
        let postgres = Postgres::open(settings.clone()).unwrap();
        let prepared = || postgresql::is_prepared(&postgres);
        let prepare = || postgres.make_schema().and_then(|()| postgresql::prepare(&postgres));
        let locks = Locks::join::<Fault>(&postgres, Membership::Shared, prepared, prepare).unwrap();
        let store = Arc::new(PostgresStore::on(postgres, locks));
        let (keys, rows) = (Arc::clone(&world.keys), Arc::clone(&rows));
        opened.push(Records::open(keys, store, world.ledger().clone(), rows).await.unwrap().0);
    }
    let second = opened.pop()?;
    Some([opened.pop()?, second])
}

/// Ends a process between two writes and what becomes of them: the ledger has the first of them only.
async fn left_by(world: &World, process: Records) -> Vec<pipeline::Prepared> {
    let prepared = process.core.prepare(vec![create("1", "one"), create("2", "never")], None).await.unwrap();
    let anchors = prepared.iter().take(1).filter_map(pipeline::Prepared::anchor).collect();
    let sender = world.keys.signer.address().to_string();
    let message = careledger_wire::proto::records::MsgAnchorRecords { sender, anchors };
    world.ledger().submit(&world.keys.signer, vec![message.into()]).await.unwrap();
    prepared
}

#[tokio::test]
async fn what_a_process_anchored_before_it_died_another_publishes() {
    let world = World::new().await;
    let Some([one, other]) = processes(&world).await else { return };
    left_by(&world, one).await;

    assert_eq!(other.settled("Patient", "1").await, Ok(Some(1)));
    assert_eq!(other.read("Patient", "1").await.unwrap().content, json("one"));
    other.commit(vec![update("1", "two", 1)], vec![]).await.unwrap();
    // What may still be committed keeps its record closed: nobody else seals another body for it.
    assert_eq!(other.settled("Patient", "2").await, Err(Refusal::LedgerUnavailable));
    let refused = other.commit(vec![create("2", "another")], vec![]).await;
    assert!(matches!(refused, Err(Refusal::VersionConflict | Refusal::LedgerUnavailable)), "{refused:?}");
}

/// An export that was asked for in that moment waited until somebody wrote the same record.
#[tokio::test]
async fn whoever_waits_for_what_a_process_left_finds_out_what_became_of_it() {
    let world = World::new().await;
    let Some([one, other]) = processes(&world).await else { return };
    let prepared = left_by(&world, one).await;

    let marks: Vec<Vec<u8>> = prepared.iter().map(|prepared| entry::key(&prepared.record, prepared.version)).collect();
    assert_eq!(other.waiting(10).await.unwrap().len(), 2);
    let all: BTreeSet<Vec<u8>> = marks.iter().cloned().collect();
    assert_eq!(other.still_waiting(all.clone()).await.unwrap().len(), 2);
    other.find_out(&marks).await.unwrap();
    assert_eq!(other.last_change().await, Ok(1), "what the ledger has is visible");
    assert_eq!(other.still_waiting(all).await.unwrap(), marks[1..], "the ledger may have it still");
    assert_eq!(other.waiting(10).await.unwrap(), marks[1..]);
}

/// Whoever makes the index anew keeps the journal's lock: an export that waited for that held up all others.
#[tokio::test]
async fn an_index_that_another_process_makes_anew_is_not_waited_for() {
    let world = World::new().await;
    let Some([one, other]) = processes(&world).await else { return };
    let rebuilding = one.exclusive(vec![pipeline::JOURNAL.to_owned()]).await.unwrap();
    assert_eq!(other.try_bring_up_to_date().await, Ok(false));
    drop(rebuilding);
    let deadline = Instant::now() + PATIENCE;
    // The lock is let go behind the drop.
    while !other.try_bring_up_to_date().await.unwrap() {
        assert!(Instant::now() < deadline, "nobody else is at it");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn changes_of_two_processes_have_one_order() {
    let world = World::new().await;
    let Some([one, other]) = processes(&world).await else { return };
    let ids: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let writes = ids.iter().enumerate().map(|(at, id)| {
        let records = if at.is_multiple_of(2) { &one } else { &other };
        records.commit(vec![create(id, id)], vec![])
    });
    let outcomes = futures::future::join_all(writes).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    for records in [&one, &other] {
        assert_eq!(records.last_change().await, Ok(100));
        for id in &ids {
            assert_eq!(records.read("Patient", id).await.unwrap().content, json(id));
        }
    }
}

/// A thread that answers requests stood still while PostgreSQL was asked for one of them.
#[tokio::test]
async fn a_vault_behind_a_server_holds_up_nobody_else_while_it_answers() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let store = Distant::new(folder.path());
    let (keys, rows) = (Arc::clone(&world.keys), Arc::<Rows>::default());
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let feed = Arc::clone(&rows) as Arc<dyn Feed>;
    let (records, _) = Records::open(keys, shared, world.ledger().clone(), feed).await.unwrap();
    records.commit(vec![create("1", "one")], vec![]).await.unwrap();
    let read = store.during(records.read("Patient", "1")).await;
    assert_eq!(read.unwrap().content, json("one"));
    let written = store.during(records.commit(vec![update("1", "two", 1)], vec![])).await;
    assert_eq!(written.unwrap()[0].version, 2);
    assert_eq!(store.during(records.subject_of("1")).await, Ok(None));
    // The index lacks all, as where it was told nothing.
    rows.clear().unwrap();
    assert_eq!(store.during(records.try_bring_up_to_date()).await, Ok(true));
    assert_eq!(rows.applied(), Ok(2));
    assert_eq!(store.during(records.still_waiting(BTreeSet::from([vec![0; 36]]))).await, Ok(vec![]));
    assert_eq!(store.during(records.index_stamp()).await, Ok(None));
}

/// Another process's update was on the ledger and waited for the journal: the version that everybody saw was left out of
/// the index, and an export that had begun long before went without it.
#[tokio::test]
async fn what_is_visible_is_indexed_anew_also_while_the_ledger_has_its_next_version_already() {
    let world = World::new().await;
    let (records, core) = (world.records(), &world.records().core);
    records.commit(vec![create("1", "one"), create("2", "two"), create("3", "three")], vec![]).await.unwrap();
    let before = world.rows.versions();
    let prepared = core.prepare(vec![update("1", "next", 1), create("new", "new")], None).await.unwrap();
    let foreign = core.seal(update("2", "not in the vault", 1), &mut Batch::default()).unwrap();
    let sender = world.keys.signer.address().to_string();
    let anchors = prepared.iter().filter_map(pipeline::Prepared::anchor).collect();
    let supersessions = prepared.iter().chain([&foreign]).filter_map(pipeline::Prepared::supersession).collect();
    let messages: Vec<Message> = vec![
        careledger_wire::proto::records::MsgAnchorRecords { sender: sender.clone(), anchors }.into(),
        MsgSupersedeRecords { sender, supersessions }.into(),
    ];
    world.ledger().submit(&world.keys.signer, messages).await.unwrap();

    let verified = records.verify(|_| {}).await.unwrap();
    let flawed: Vec<_> = verified.flawed.iter().map(|flawed| (flawed.name.as_deref(), flawed.flaw)).collect();
    assert_eq!(flawed, [(Some("Patient/2"), Flaw::NotOnLedger)], "what waits for the journal is no flaw");
    assert_eq!(verified.missing, []);

    let found = records.reindex(|_| {}).await.unwrap();
    assert_eq!(found, Reindexed { indexed: 2, unanchored: 1, ..Reindexed::default() });
    let unknown = |(name, _): &(String, u32)| name != "Patient/2";
    assert_eq!(world.rows.versions(), before.into_iter().filter(unknown).collect::<Vec<_>>());
    // The publication follows, and the index has the next version.
    core.decide_all().await.unwrap();
    assert_eq!(world.rows.versions()[0], ("Patient/1".to_owned(), 2));
    // One with the right mark and another body is none that is about to become visible.
    let batch = |version: u32, prepared: &pipeline::Prepared| {
        let mut batch = Batch::default();
        batch.put(Space::Pending, entry::key(&prepared.record, version), entry::pending_value(0, &[7; 16]));
        let key = entry::key(&prepared.record, version);
        batch.put(Space::Entry, key.clone(), prepared.entry.seal(&core.entry_key, &key));
        batch
    };
    let other = core.seal(update("2", "another", 1), &mut Batch::default()).unwrap();
    core.store.commit(batch(2, &other), Durability::Synced).await.unwrap();
    assert_eq!(records.reindex(|_| {}).await.unwrap().unanchored, 1);
    core.store.commit(batch(2, &foreign), Durability::Synced).await.unwrap();
    assert_eq!(records.reindex(|_| {}).await.unwrap().unanchored, 0);
}

/// The time of blocks moved only with what a process wrote itself: an export waited for ever for the write of one that died.
#[tokio::test]
async fn a_process_that_writes_nothing_finds_out_that_a_write_has_expired() {
    let world = World::new().await;
    world.records().commit(vec![create("1", "one")], vec![]).await.unwrap();
    let Ledger::Embedded(embedded) = world.ledger() else { unreachable!("it is embedded") };
    let node = Ledger::connect(&format!("http://{}", embedded.rpc_address())).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::open(folder.path()).unwrap());
    let (records, _) = Records::open(Arc::clone(&world.keys), store, node, Arc::<Rows>::default()).await.unwrap();
    let core = &records.core;
    let left = core.prepare(vec![create("2", "expired"), create("3", "young")], None).await.unwrap();
    let mut batch = Batch::default();
    let key = entry::key(&left[0].record, left[0].version);
    batch.put(Space::Pending, key, entry::pending_value(0, &[7; 16]));
    core.store.commit(batch, Durability::Synced).await.unwrap();
    assert_eq!(core.decide_all().await.unwrap(), Repaired { undecided: 2, ..Repaired::default() });
    assert_eq!(core.decide_all().await.unwrap(), Repaired { undecided: 1, dropped: 1, ..Repaired::default() });
    assert_eq!(records.waiting(10).await.unwrap(), [entry::key(&left[1].record, left[1].version)]);
}

/// While the index was made anew, or another process wrote, the time of an export lay before versions that were visible.
#[tokio::test]
async fn the_newest_time_is_known_without_an_index_and_while_others_make_versions_visible() {
    let world = World::new().await;
    let (records, core) = (world.records(), &world.records().core);
    assert_eq!((records.newest_time().await, records.last_change().await), (Ok(0), Ok(0)));
    records.commit((0..100).map(|number| create(&number.to_string(), "body")).collect(), vec![]).await.unwrap();
    world.rows.clear().unwrap();
    let time = records.read("Patient", "1").await.unwrap().last_updated;
    let _in_order = core.sequence.lock().await;
    assert_eq!(records.newest_time().now_or_never(), Some(Ok(time)));
    assert_eq!(records.last_change().now_or_never(), Some(Ok(100)));
    // One that became visible after a newer one, and one that is damaged.
    let key = |at: u64| core.store.get(Space::Journal, &at.to_be_bytes()).unwrap().unwrap();
    let mut batch = Batch::default();
    batch.put(Space::Committed, key(60), entry::committed_value(1, time + 7));
    batch.put(Space::Committed, key(100), b"damaged".to_vec());
    core.store.commit(batch, Durability::Synced).await.unwrap();
    assert_eq!(records.newest_time().await, Ok(time + 7));
}

/// A step of an export that had begun before went on beside an index that was filled again from the journal.
#[tokio::test]
async fn that_the_index_is_emptied_is_said_before_it_is() {
    let world = World::new().await;
    world.records().commit(vec![create("1", "one")], vec![]).await.unwrap();
    // It ends as soon as it has emptied the index.
    world.rows.1.store(true, Ordering::Relaxed);
    assert_eq!(world.records().reindex(|_| {}).await, Err(Refusal::StorageFull));
    assert_eq!(world.rows.versions(), []);
    assert!(world.records().index_stamp().await.unwrap().is_some());
}
