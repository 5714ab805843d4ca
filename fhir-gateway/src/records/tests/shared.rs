//! Several processes of one organization, and what one of them leaves behind.

use std::collections::BTreeSet;

use careledger_app::reject::Reject;
use futures::future::BoxFuture;

use super::*;
use crate::{
    postgres::{
        Fault, Postgres, Settings,
        locks::{Locks, Membership},
    },
    vault::{
        Pair,
        postgresql::{self, PostgresStore},
    },
};

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

#[tokio::test]
async fn what_a_process_anchored_before_it_died_another_publishes() {
    let world = World::new().await;
    let Some([one, other]) = processes(&world).await else { return };
    let prepared = one.core.prepare(vec![create("1", "one"), create("2", "never")], None).await.unwrap();
    let anchors = prepared.iter().take(1).filter_map(pipeline::Prepared::anchor).collect();
    let sender = world.keys.signer.address().to_string();
    let message = careledger_wire::proto::records::MsgAnchorRecords { sender, anchors };
    world.ledger().submit(&world.keys.signer, vec![message.into()]).await.unwrap();
    drop(one);

    assert_eq!(other.settled("Patient", "1").await, Ok(Some(1)));
    assert_eq!(other.read("Patient", "1").await.unwrap().content, json("one"));
    other.commit(vec![update("1", "two", 1)], vec![]).await.unwrap();
    // What may still be committed keeps its record closed: nobody else seals another body for it.
    assert_eq!(other.settled("Patient", "2").await, Err(Refusal::LedgerUnavailable));
    let refused = other.commit(vec![create("2", "another")], vec![]).await;
    assert!(matches!(refused, Err(Refusal::VersionConflict | Refusal::LedgerUnavailable)), "{refused:?}");
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

/// A vault that answers when it is told to, and fails where it waits too long.
struct Slow {
    store: LocalStore,
    is_slow: AtomicBool,
    told: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Store for Slow {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if self.is_slow.load(Ordering::Relaxed) {
            let told = self.told.lock().recv_timeout(std::time::Duration::from_secs(30));
            told.map_err(|_| StoreError::Fault("nobody let it answer".to_owned()))?;
        }
        self.store.get(space, key)
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.store.scan(space, prefix, after, limit)
    }

    fn last(&self, space: Space) -> Result<Option<Pair>, StoreError> {
        self.store.last(space)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        self.store.commit(batch, durability)
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// A thread that answers requests stood still while PostgreSQL was asked for one of them.
#[tokio::test]
async fn a_vault_behind_a_server_holds_up_nobody_else_while_it_answers() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let store = LocalStore::open(folder.path()).unwrap();
    let store = Arc::new(Slow { store, is_slow: AtomicBool::new(false), told: Mutex::new(told) });
    let (keys, rows) = (Arc::clone(&world.keys), Arc::<Rows>::default());
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let (records, _) = Records::open(keys, shared, world.ledger().clone(), rows).await.unwrap();
    records.commit(vec![create("1", "one")], vec![]).await.unwrap();
    store.is_slow.store(true, Ordering::Relaxed);
    // The same thread does both: where the first waited on it, nobody would let it go on.
    let others = || async { (0..100).for_each(|_| tell.send(()).unwrap()) };
    let (read, ()) = futures::join!(records.read("Patient", "1"), others());
    assert_eq!(read.unwrap().content, json("one"));
    let (written, ()) = futures::join!(records.commit(vec![update("1", "two", 1)], vec![]), others());
    assert_eq!(written.unwrap()[0].version, 2);
    let (linked, ()) = futures::join!(records.subject_of("1"), others());
    assert_eq!(linked, Ok(None));
}
