//! Groups of versions that become visible together.

use std::sync::atomic::AtomicU32;

use careledger_wire::proto::records::MsgAnchorRecords;
use futures::{
    future::{BoxFuture, join_all},
    poll,
};

use super::*;
use crate::{
    records::{pipeline::Prepared, publishing::Group},
    vault::forwarding::forward,
};

/// What an index does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refuses {
    Nothing,
    /// More than one version at once.
    Several,
    /// Whatever has a version of this resource in it.
    Named(&'static str),
    All,
}

/// An index in memory that keeps what each transaction gave it.
struct Watched {
    rows: Rows,
    transactions: Mutex<Vec<Vec<String>>>,
    refuses: Mutex<Refuses>,
}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Self { rows: Rows::default(), transactions: Mutex::default(), refuses: Mutex::new(Refuses::Nothing) })
    }

    fn refuse(&self, what: Refuses) {
        *self.refuses.lock() = what;
    }

    fn transactions(&self) -> Vec<Vec<String>> {
        self.transactions.lock().clone()
    }

    /// Names and versions in the order in which they became visible.
    fn order(&self) -> Vec<String> {
        self.rows.2.lock().values().cloned().collect()
    }
}

impl Feed for Watched {
    fn applied(&self) -> Result<u64, Refusal> {
        self.rows.applied()
    }

    fn apply(&self, through: u64, listed: &[Listed], versions: &[Arc<Stored>]) -> Result<(), Refusal> {
        let names: Vec<String> = versions.iter().map(|stored| stored.id.clone()).collect();
        let is_refused = match *self.refuses.lock() {
            Refuses::Nothing => false,
            Refuses::Several => names.len() > 1,
            Refuses::Named(name) => names.iter().any(|found| found == name),
            Refuses::All => true,
        };
        if is_refused {
            return Err(Refusal::StorageFull);
        }
        self.rows.apply(through, listed, versions)?;
        self.transactions.lock().push(names);
        Ok(())
    }

    fn list(&self, versions: &[Listed]) -> Result<(), Refusal> {
        self.rows.list(versions)
    }

    fn clear(&self) -> Result<(), Refusal> {
        self.rows.clear()
    }

    fn rebuilt(&self) -> Result<Option<Rebuilt>, Refusal> {
        self.rows.rebuilt()
    }

    fn rebuild(&self, rebuilt: &Rebuilt, versions: &[Arc<Stored>]) -> Result<(), Refusal> {
        self.rows.rebuild(rebuilt, versions)
    }
}

/// Who was first where a vault says that something is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// Another process, which publishes the same next.
    Other,
    /// A write of this process that was said to have failed, and is there since the vault was opened again.
    Own,
}

/// A vault that says that something is there already, as often as it says.
struct Contended {
    store: LocalStore,
    taken: AtomicU32,
    first: First,
}

impl Store for Contended {
    forward!([store]: get, scan, last);

    fn commit(&self, batch: Batch, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        let is_journal = batch.fresh().any(|(space, _)| space == Space::Journal);
        let left = |taken: u32| taken.checked_sub(1);
        if is_journal && self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok() {
            let written = (self.first == First::Own).then(|| self.store.commit(batch, durability));
            return Box::pin(async {
                if let Some(written) = written {
                    written.await?;
                }
                Err(StoreError::Taken)
            });
        }
        self.store.commit(batch, durability)
    }

    fn is_shared(&self) -> bool {
        self.first == First::Other
    }
}

async fn opened(world: &World, store: impl Store + 'static, feed: &Arc<Watched>) -> (Records, Repaired) {
    let (keys, feed) = (Arc::clone(&world.keys), Arc::clone(feed) as Arc<dyn Feed>);
    Records::open(keys, Arc::new(store), world.ledger().clone(), feed).await.unwrap()
}

/// Versions that the ledger has and nobody sees, each a group of its own.
async fn anchored(world: &World, records: &Records, ids: &[&str]) -> Vec<Group> {
    let mut groups = Vec::new();
    for id in ids {
        let prepared = records.core.prepare(vec![create(id, id)], None).await.unwrap();
        let anchors = prepared.iter().filter_map(Prepared::anchor).collect();
        let sender = world.keys.signer.address().to_string();
        let message = MsgAnchorRecords { sender, anchors };
        let committed = world.ledger().submit(&world.keys.signer, vec![message.into()]).await.unwrap();
        groups.push(prepared.into_iter().map(|prepared| (prepared, committed.time)).collect());
    }
    groups
}

/// Publishes groups of which all wait before the turn of the first comes.
async fn together(records: &Records, groups: Vec<Group>) -> Vec<Result<Vec<String>, Refusal>> {
    let core = &records.core;
    let turn = core.sequence.lock().await;
    let publications = join_all(groups.into_iter().map(|group| core.publish(group)));
    // Polled in this order.
    let (answers, ()) = futures::join!(publications, async { drop(turn) });
    let ids = |stored: Vec<Arc<Stored>>| stored.into_iter().map(|stored| stored.id.clone()).collect();
    answers.into_iter().map(|answer| answer.map(ids)).collect()
}

fn stored(id: &str) -> Result<Vec<String>, Refusal> {
    Ok(vec![id.to_owned()])
}

#[tokio::test]
async fn groups_that_wait_at_the_same_time_share_one_transaction_of_the_index_in_their_order() {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let (records, _) = opened(&world, LocalStore::open(folder.path()).unwrap(), &feed).await;
    let groups = anchored(&world, &records, &["b", "a", "c"]).await;
    assert_eq!(together(&records, groups).await, [stored("b"), stored("a"), stored("c")]);
    assert_eq!(feed.transactions(), [["b", "a", "c"]]);
    assert_eq!(feed.order(), ["Patient/b/1", "Patient/a/1", "Patient/c/1"]);
    assert_eq!(records.last_change().await, Ok(3));
}

#[tokio::test]
async fn no_more_versions_share_a_transaction_than_fit_unless_one_group_has_more() {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let (records, _) = opened(&world, LocalStore::open(folder.path()).unwrap(), &feed).await;
    let mut groups = Vec::new();
    for (group, count) in [200, 300, 1, 600, 1].into_iter().enumerate() {
        let changes = (0..count).map(|number| create(&format!("{group}-{number}"), "body")).collect();
        let prepared = records.core.prepare(changes, None).await.unwrap();
        groups.push(prepared.into_iter().map(|prepared| (prepared, 1)).collect());
    }
    assert!(together(&records, groups).await.iter().all(Result::is_ok));
    let sizes: Vec<usize> = feed.transactions().iter().map(Vec::len).collect();
    assert_eq!(sizes, [500, 1, 600, 1]);
}

#[tokio::test]
async fn a_group_that_another_process_gave_up_leaves_those_that_it_shares_with() {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let store = LocalStore::open(folder.path()).unwrap();
    let store = Contended { store, taken: AtomicU32::new(0), first: First::Other };
    let (records, _) = opened(&world, store, &feed).await;
    let groups = anchored(&world, &records, &["1", "2", "3"]).await;
    records.core.drop_versions(&[groups[1][0].0.clone()], None).await.unwrap();
    let given_up = Err(Refusal::Internal("a write was given up by another process"));
    assert_eq!(together(&records, groups).await, [stored("1"), given_up, stored("3")]);
    assert_eq!(feed.transactions(), [["1", "3"]]);
    assert_eq!(records.read("Patient", "2").await, Err(Refusal::NotFound));
    assert_eq!(records.read("Patient", "3").await.unwrap().content, json("3"));
}

#[tokio::test]
async fn a_group_whose_body_is_gone_leaves_those_that_it_shares_with() {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let (records, _) = opened(&world, LocalStore::open(folder.path()).unwrap(), &feed).await;
    let mut groups = anchored(&world, &records, &["1", "2", "3"]).await;
    // As it is read back after a crash.
    let Prepared { entry, content, .. } = &mut groups[1][0].0;
    *content = None;
    let mut loss = Batch::default();
    loss.delete(Space::Body, entry.address.to_vec());
    records.core.store.commit(loss, Durability::Synced).await.unwrap();
    let answers = together(&records, groups).await;
    assert!(matches!(answers[1], Err(Refusal::Lost(_))), "{:?}", answers[1]);
    assert_eq!((&answers[0], &answers[2]), (&stored("1"), &stored("3")));
    assert_eq!(feed.rows.versions(), [("Patient/1".to_owned(), 1), ("Patient/3".to_owned(), 1)]);
    assert_eq!(feed.order(), ["Patient/1/1", "Patient/2/1", "Patient/3/1"]);
    assert_eq!(feed.applied(), Ok(3));
}

#[tokio::test]
async fn what_the_index_refuses_together_it_gets_one_by_one() {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let (records, _) = opened(&world, LocalStore::open(folder.path()).unwrap(), &feed).await;
    feed.refuse(Refuses::Several);
    let groups = anchored(&world, &records, &["1", "2", "3"]).await;
    assert_eq!(together(&records, groups).await, [stored("1"), stored("2"), stored("3")]);
    assert_eq!(feed.transactions(), [["1"], ["2"], ["3"]]);
    assert_eq!(feed.order(), ["Patient/1/1", "Patient/2/1", "Patient/3/1"]);
}

/// The index has one order: it cannot have the third before it has the second.
#[tokio::test]
async fn a_group_that_the_index_refuses_leaves_those_before_it_and_comes_with_the_next_that_works() {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let (records, _) = opened(&world, LocalStore::open(folder.path()).unwrap(), &feed).await;
    feed.refuse(Refuses::Named("2"));
    let groups = anchored(&world, &records, &["1", "2", "3"]).await;
    let full = || Err(Refusal::StorageFull);
    assert_eq!(together(&records, groups).await, [stored("1"), full(), full()]);
    assert_eq!((feed.transactions(), feed.applied()), (vec![vec!["1".to_owned()]], Ok(1)));
    feed.refuse(Refuses::Nothing);
    records.commit(vec![create("4", "4")], vec![]).await.unwrap();
    assert_eq!(feed.order(), ["Patient/1/1", "Patient/2/1", "Patient/3/1", "Patient/4/1"]);
    assert_eq!(feed.rows.versions().len(), 4);
}

#[tokio::test]
async fn groups_that_a_crash_left_in_the_journal_are_all_indexed_at_the_next_start() {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let (records, _) = opened(&world, LocalStore::open(folder.path()).unwrap(), &feed).await;
    feed.refuse(Refuses::All);
    let groups = anchored(&world, &records, &["1", "2", "3"]).await;
    assert_eq!(together(&records, groups).await, [const { Err(Refusal::StorageFull) }; 3]);
    drop(records);
    feed.refuse(Refuses::Nothing);
    let (records, repaired) = opened(&world, LocalStore::open(folder.path()).unwrap(), &feed).await;
    assert_eq!(repaired, Repaired { indexed: 3, ..Repaired::default() });
    assert_eq!(feed.order(), ["Patient/1/1", "Patient/2/1", "Patient/3/1"]);
    assert_eq!(records.last_change().await, Ok(3));
}

#[tokio::test]
async fn groups_that_a_crash_kept_out_of_the_journal_are_all_published_at_the_next_start() {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let full = Arc::new(AtomicBool::new(false));
    let (records, _) = opened(&world, Filling::new(folder.path(), &full), &feed).await;
    let groups = anchored(&world, &records, &["1", "2", "3"]).await;
    full.store(true, Ordering::Relaxed);
    assert_eq!(together(&records, groups).await, [const { Err(Refusal::StorageFull) }; 3]);
    for id in ["1", "2", "3"] {
        assert_eq!(records.read("Patient", id).await, Err(Refusal::NotFound), "nothing of it is visible");
    }
    drop(records);
    let (records, repaired) = opened(&world, LocalStore::open(folder.path()).unwrap(), &feed).await;
    assert_eq!(repaired, Repaired { published: 3, ..Repaired::default() });
    for id in ["1", "2", "3"] {
        assert_eq!(records.read("Patient", id).await.unwrap().content, json(id));
    }
    assert_eq!((feed.order().len(), feed.applied()), (3, Ok(3)));
}

#[tokio::test]
async fn where_another_process_was_first_all_groups_are_looked_at_anew() {
    all_are_looked_at_anew(First::Other, 2).await;
}

#[tokio::test]
async fn what_a_failed_write_of_the_vault_left_behind_is_in_the_journal_once() {
    all_are_looked_at_anew(First::Own, 1).await;
}

async fn all_are_looked_at_anew(first: First, taken: u32) {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let store = LocalStore::open(folder.path()).unwrap();
    let (records, _) = opened(&world, Contended { store, taken: AtomicU32::new(taken), first }, &feed).await;
    let groups = anchored(&world, &records, &["1", "2"]).await;
    assert_eq!(together(&records, groups).await, [stored("1"), stored("2")]);
    assert_eq!(feed.order(), ["Patient/1/1", "Patient/2/1"]);
    assert_eq!(records.core.store.scan(Space::Journal, &[], None, 10).unwrap().len(), 2);
}

#[tokio::test]
async fn a_write_that_the_ledger_has_is_never_told_to_have_lost_against_another() {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let store = LocalStore::open(folder.path()).unwrap();
    let contended = Contended { store, taken: AtomicU32::new(u32::MAX), first: First::Other };
    let (records, _) = opened(&world, contended, &feed).await;
    let answer = records.commit(vec![create("1", "1")], vec![]).await;
    assert_eq!(answer.err(), Some(Refusal::LedgerUnavailable), "it is found out later what became of it");
}

#[tokio::test]
async fn racing_writers_are_indexed_in_the_order_of_the_journal() {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let (records, _) = opened(&world, LocalStore::open(folder.path()).unwrap(), &feed).await;
    let ids: Vec<String> = (0..60).map(|number| number.to_string()).collect();
    let writers = ids.iter().map(|id| {
        let (records, feed) = (&records, &feed);
        async move {
            records.commit(vec![create(id, "one")], vec![]).await.unwrap();
            records.commit(vec![update(id, "two", 1)], vec![]).await.unwrap();
            // What is acknowledged is in the index.
            assert!(feed.rows.versions().contains(&(format!("Patient/{id}"), 2)));
        }
    });
    join_all(writers).await;
    let journal = records.core.store.scan(Space::Journal, &[], None, usize::MAX).unwrap();
    let names: BTreeMap<RecordId, &String> = ids.iter().map(|id| (world.keys.record_id("Patient", id), id)).collect();
    let name = |(_, key): &(Vec<u8>, Vec<u8>)| {
        let (record, version) = entry::record_and_version(key).unwrap();
        format!("Patient/{}/{version}", names[&record])
    };
    let expected: Vec<String> = journal.iter().map(name).collect();
    assert_eq!((expected.len(), feed.order()), (120, expected));
    let transactions = feed.transactions().len();
    assert!(transactions < 120, "120 writes took {transactions} transactions of the index");
}

/// Its hold was let go with the request, and nobody looked for the version again before the next start.
#[tokio::test]
async fn what_becomes_of_a_write_is_found_out_also_for_who_hangs_up() {
    let (world, folder, feed) = (World::new().await, tempfile::tempdir().unwrap(), Watched::new());
    let (records, _) = opened(&world, LocalStore::open(folder.path()).unwrap(), &feed).await;
    anchored(&world, &records, &["1"]).await;
    records.core.held.lock().insert(world.keys.record_id("Patient", "1"), Held::Unknown);
    let turn = records.core.sequence.lock().await;
    {
        let mut asked = Box::pin(records.settled("Patient", "1"));
        let began = async {
            while records.core.held.lock().values().any(|held| *held == Held::Unknown) {
                assert!(poll!(asked.as_mut()).is_pending());
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), began).await.expect("it is being found out");
    }
    drop(turn);
    let published = async {
        while records.read("Patient", "1").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), published).await.expect("it is published");
}
