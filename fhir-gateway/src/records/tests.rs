//! Against the real state machine in process and the real store on disk.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use careledger_app::keys;
use careledger_wire::{ids::SubjectId, proto::records::MsgSupersedeRecords};

use super::*;
use crate::{
    ledger::embedded,
    vault::{Batch, Durability, StoreError, filling::Filling, local::LocalStore},
};

mod interleaved;
mod publishing;
mod shared;

/// An index in memory: which version of what, and how far it is.
#[derive(Default)]
struct Rows(Mutex<(u64, Indexed)>, AtomicBool, Mutex<BTreeMap<u64, String>>, Mutex<Option<Rebuilt>>);

/// By type and id: the version, and whether it is a deletion.
type Indexed = BTreeMap<String, (u32, bool)>;

impl Feed for Rows {
    fn applied(&self) -> Result<u64, Refusal> {
        Ok(self.0.lock().0)
    }

    fn apply(&self, through: u64, listed: &[Listed], versions: &[Arc<Stored>]) -> Result<(), Refusal> {
        if self.1.load(Ordering::Relaxed) {
            return Err(Refusal::StorageFull);
        }
        self.list(listed)?;
        let mut rows = self.0.lock();
        for stored in versions {
            let name = format!("{}/{}", stored.resource_type, stored.id);
            rows.1.insert(name, (stored.version, stored.content == Content::Deleted));
        }
        rows.0 = through;
        *self.3.lock() = None;
        Ok(())
    }

    fn list(&self, versions: &[Listed]) -> Result<(), Refusal> {
        let name = |listed: &Listed| format!("{}/{}/{}", listed.resource_type, listed.id, listed.version);
        self.2.lock().extend(versions.iter().map(|listed| (listed.sequence, name(listed))));
        Ok(())
    }

    fn clear(&self) -> Result<(), Refusal> {
        self.2.lock().clear();
        *self.0.lock() = Default::default();
        *self.3.lock() = None;
        if self.1.load(Ordering::Relaxed) { Err(Refusal::StorageFull) } else { Ok(()) }
    }

    fn rebuilt(&self) -> Result<Option<Rebuilt>, Refusal> {
        Ok(self.3.lock().clone())
    }

    fn rebuild(&self, rebuilt: &Rebuilt, versions: &[Arc<Stored>]) -> Result<(), Refusal> {
        self.apply(0, &[], versions)?;
        *self.3.lock() = Some(rebuilt.clone());
        Ok(())
    }
}

impl Rows {
    fn versions(&self) -> Vec<(String, u32)> {
        self.0.lock().1.iter().map(|(name, (version, _))| (name.clone(), *version)).collect()
    }
}

/// One organization on its own chain. `restart` is a killed process that starts again.
struct World {
    folder: tempfile::TempDir,
    keys: Arc<OrganizationKeys>,
    rows: Arc<Rows>,
    running: Option<(Records, Ledger)>,
}

fn genesis(keys: &OrganizationKeys) -> Vec<u8> {
    let address = keys.signer.address();
    let organization = serde_json::json!({
        "address": address,
        "kind": "provider",
        "encryption_key": keys.encryption.public(),
        "evidence": "00".repeat(32),
        "expires_at": crate::auth::clock() + 30 * 86_400,
    });
    let registrar = careledger_wire::ids::Address::new([1; 20]);
    serde_json::json!({"registrars": [registrar], "registrar_threshold": 1, "organizations": [organization]})
        .to_string()
        .into_bytes()
}

impl World {
    async fn new() -> Self {
        let (keys, rows) = (Arc::new(OrganizationKeys::random()), Arc::default());
        let mut world = Self { folder: tempfile::tempdir().unwrap(), keys, rows, running: None };
        world.restart().await;
        world
    }

    async fn restart(&mut self) -> Repaired {
        self.running = None;
        let settings = embedded::Settings {
            chain_id: "careledger-dev-records".to_owned(),
            app_state: genesis(&self.keys),
            rpc_listen: "127.0.0.1:0".parse().unwrap(),
            memory: embedded::Memory::default(),
        };
        let ledger = Ledger::open_embedded(&self.folder.path().join("ledger"), &settings).unwrap();
        let store = LocalStore::open(&self.vault()).unwrap();
        let (keys, feed) = (Arc::clone(&self.keys), Arc::clone(&self.rows));
        let (records, repaired) = Records::open(keys, Arc::new(store), ledger.clone(), feed).await.unwrap();
        self.running = Some((records, ledger));
        repaired
    }

    fn vault(&self) -> std::path::PathBuf {
        self.folder.path().join("vault")
    }

    fn records(&self) -> &Records {
        &self.running.as_ref().unwrap().0
    }

    fn ledger(&self) -> &Ledger {
        &self.running.as_ref().unwrap().1
    }

    async fn on_ledger(&self, resource_type: &str, id: &str) -> Option<careledger_wire::proto::state::Record> {
        let record = self.keys.record_id(resource_type, id);
        self.ledger().get(&keys::record(&self.keys.signer.address(), &record)).await.unwrap()
    }
}

fn json(text: &str) -> Content {
    Content::Json(text.as_bytes().to_vec().into())
}

fn create(id: &str, text: &str) -> Change {
    Change::Create { resource_type: "Patient".to_owned(), id: id.to_owned(), content: json(text), patient: None }
}

fn update(id: &str, text: &str, expected: u32) -> Change {
    Change::Update {
        resource_type: "Patient".to_owned(),
        id: id.to_owned(),
        content: json(text),
        patient: None,
        expected,
    }
}

fn delete(id: &str, expected: u32) -> Change {
    Change::Delete { resource_type: "Patient".to_owned(), id: id.to_owned(), expected }
}

#[tokio::test]
async fn a_resource_lives_through_its_versions_also_after_a_restart() {
    let mut world = World::new().await;
    let records = world.records();
    let first = records.commit(vec![create("1", "{\"a\":1.00}")], vec![]).await.unwrap();
    assert_eq!((first[0].version, &first[0].content), (1, &json("{\"a\":1.00}")));
    assert!(first[0].last_updated > 0);
    assert_eq!(records.commit(vec![create("1", "again")], vec![]).await, Err(Refusal::VersionConflict));
    assert_eq!(records.commit(vec![update("1", "stale", 2)], vec![]).await, Err(Refusal::VersionConflict));
    records.commit(vec![update("1", "second", 1)], vec![]).await.unwrap();
    records.commit(vec![delete("1", 2)], vec![]).await.unwrap();
    assert_eq!(records.read("Patient", "1").await, Err(Refusal::Gone));
    records.commit(vec![update("1", "back", 3)], vec![]).await.unwrap();

    assert_eq!(world.restart().await, Repaired::default());
    let records = world.records();
    assert_eq!(records.read("Patient", "1").await.unwrap().content, json("back"));
    assert_eq!(records.any_version("Patient", "1", 2).await.unwrap().content, json("second"));
    assert_eq!(records.any_version("Patient", "1", 3).await.unwrap().content, Content::Deleted);
    assert_eq!(records.any_version("Patient", "1", 5).await, Err(Refusal::NotFound));
    assert_eq!(records.read("Patient", "2").await, Err(Refusal::NotFound));
    assert_eq!(records.latest("Patient", "1").await.unwrap().version, 4);
    assert_eq!(world.on_ledger("Patient", "1").await.unwrap().version, 4);
    assert_eq!(world.rows.versions(), [("Patient/1".to_owned(), 4)]);
}

#[tokio::test]
async fn a_writer_that_looked_before_another_published_takes_nothing_of_its_version() {
    let world = World::new().await;
    let records = world.records();
    records.commit(vec![create("1", "first")], vec![]).await.unwrap();
    let (mut late, core) = (Batch::default(), &records.core);
    core.seal(update("1", "late", 1), &mut late).unwrap();
    records.commit(vec![update("1", "second", 1)], vec![]).await.unwrap();
    assert_eq!(core.store.commit(late, Durability::Synced).await, Err(StoreError::Taken));
    assert_eq!(records.read("Patient", "1").await.unwrap().content, json("second"));
}

#[tokio::test]
async fn a_version_that_another_wrote_meanwhile_is_not_dropped_with_ones_own() {
    let world = World::new().await;
    let records = world.records();
    records.commit(vec![create("1", "first")], vec![]).await.unwrap();
    let core = &records.core;
    let late = core.seal(update("1", "late", 1), &mut Batch::default()).unwrap();
    let own = core.prepare(vec![update("1", "second", 1)], None).await.unwrap();
    let mark = entry::pending_value(0, &[7; 16]);
    let key = entry::key(&own[0].record, own[0].version);
    core.drop_versions(std::slice::from_ref(&late), None).await.unwrap();
    core.drop_versions(&own, Some(&mark)).await.unwrap();
    core.drop_mark(&key, &mark).await.unwrap();
    assert!(core.holds(&own[0]).unwrap(), "neither for another's entry nor for a mark that is no more");
    assert!(core.store.get(Space::Pending, &key).unwrap().is_some());
    core.drop_versions(&own, None).await.unwrap();
    assert_eq!(core.store.get(Space::Pending, &key).unwrap(), None);
    records.commit(vec![update("1", "second", 1)], vec![]).await.unwrap();
    core.drop_versions(std::slice::from_ref(&late), None).await.unwrap();
    assert_eq!(records.read("Patient", "1").await.unwrap().content, json("second"));
}

#[tokio::test]
async fn all_changes_of_a_request_are_made_or_none() {
    let world = World::new().await;
    let records = world.records();
    records.commit(vec![create("1", "one"), create("2", "two")], vec![]).await.unwrap();
    let mixed = vec![update("1", "new", 1), create("3", "three"), create("2", "exists")];
    assert_eq!(records.commit(mixed, vec![]).await, Err(Refusal::VersionConflict));
    assert_eq!(records.read("Patient", "1").await.unwrap().version, 1);
    assert_eq!(records.read("Patient", "3").await, Err(Refusal::NotFound));
    assert_eq!(world.on_ledger("Patient", "3").await, None);
    let twice = vec![create("4", "a"), create("4", "b")];
    assert!(matches!(records.commit(twice, vec![]).await, Err(Refusal::Rule(_))));
    records.commit(vec![create("4", "a")], vec![]).await.unwrap();
}

#[tokio::test]
async fn what_the_ledger_refuses_leaves_nothing_behind() {
    let world = World::new().await;
    let records = world.records();
    // A message that cannot take effect: it supersedes a record that does not exist.
    let impossible = MsgSupersedeRecords {
        sender: world.keys.signer.address().to_string(),
        supersessions: vec![careledger_wire::proto::records::Supersession {
            record: vec![1; 32],
            version: 2,
            commitment: vec![2; 32],
        }],
    };
    let refused = records.commit(vec![create("1", "one")], vec![impossible.into()]).await;
    assert!(matches!(refused, Err(Refusal::Ledger { .. })), "{refused:?}");
    assert_eq!(records.read("Patient", "1").await, Err(Refusal::NotFound));
    for space in [Space::Body, Space::Wrap, Space::Entry, Space::Pending] {
        assert!(records.core.store.scan(space, &[], None, 1).unwrap().is_empty(), "{space:?}");
    }
    records.commit(vec![create("1", "one")], vec![]).await.unwrap();
}

#[tokio::test]
async fn sixteen_racing_creates_of_one_id_give_one() {
    let world = World::new().await;
    let races = (0..16).map(|_| world.records().commit(vec![create("1", "one")], vec![]));
    let outcomes = futures::future::join_all(races).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Refusal::VersionConflict))));
}

#[tokio::test]
async fn concurrent_creates_share_transactions_and_are_all_there() {
    let mut world = World::new().await;
    let ids: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let writes = ids.iter().map(|id| world.records().commit(vec![create(id, id)], vec![]));
    let outcomes = futures::future::join_all(writes).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let executed = world.ledger().scan(keys::UNORDERED).await.unwrap().len();
    assert!(executed < 50, "200 creates took {executed} transactions");
    world.restart().await;
    for id in &ids {
        assert_eq!(world.records().read("Patient", id).await.unwrap().content, json(id));
    }
    assert_eq!(world.rows.versions().len(), 200);
}

/// A process that dies between the vault and the ledger.
#[tokio::test]
async fn a_version_that_never_reached_the_ledger_is_dropped_at_the_next_start() {
    let mut world = World::new().await;
    world.records().commit(vec![create("1", "one")], vec![]).await.unwrap();
    world.records().core.prepare(vec![update("1", "lost", 1), create("2", "lost")], None).await.unwrap();

    let repaired = world.restart().await;
    assert_eq!(repaired, Repaired { dropped: 2, ..Repaired::default() });
    assert_eq!(world.records().read("Patient", "1").await.unwrap().content, json("one"));
    assert_eq!(world.records().read("Patient", "2").await, Err(Refusal::NotFound));
    world.records().commit(vec![update("1", "two", 1), create("2", "new")], vec![]).await.unwrap();
    assert_eq!(world.restart().await, Repaired::default());
}

/// A process that dies between the ledger and the vault's own mark.
#[tokio::test]
async fn a_version_that_the_ledger_has_is_published_at_the_next_start() {
    let mut world = World::new().await;
    let prepared = world.records().core.prepare(vec![create("1", "one")], None).await.unwrap();
    let anchors = prepared.iter().filter_map(pipeline::Prepared::anchor).collect();
    let sender = world.keys.signer.address().to_string();
    let message = careledger_wire::proto::records::MsgAnchorRecords { sender, anchors };
    world.ledger().submit(&world.keys.signer, vec![message.into()]).await.unwrap();
    assert_eq!(world.records().read("Patient", "1").await, Err(Refusal::NotFound), "not yet acknowledged");

    let repaired = world.restart().await;
    assert_eq!(repaired.published, 1);
    let stored = world.records().read("Patient", "1").await.unwrap();
    assert_eq!(stored.content, json("one"));
    assert_eq!(stored.last_updated, world.on_ledger("Patient", "1").await.unwrap().recorded_at);
    assert_eq!(world.rows.versions(), [("Patient/1".to_owned(), 1)]);
}

/// A process that dies between the vault and the index, and an index that cannot write.
#[tokio::test]
async fn the_index_gets_what_it_lacks() {
    let mut world = World::new().await;
    world.records().commit(vec![create("1", "one")], vec![]).await.unwrap();
    world.rows.1.store(true, Ordering::Relaxed);
    let refused = world.records().commit(vec![create("2", "two")], vec![]).await;
    assert_eq!(refused, Err(Refusal::StorageFull));
    world.rows.1.store(false, Ordering::Relaxed);
    world.records().commit(vec![create("3", "three")], vec![]).await.unwrap();
    let all = [1, 2, 3].map(|number| (format!("Patient/{number}"), 1));
    assert_eq!(world.rows.versions(), all);
    // The record whose answer was "storage full" is not closed for ever.
    world.records().commit(vec![update("2", "new", 1)], vec![]).await.unwrap();

    world.rows.clear().unwrap();
    assert_eq!(world.restart().await.indexed, 4);
    assert_eq!(world.rows.versions()[1], ("Patient/2".to_owned(), 2));
}

#[tokio::test]
async fn reindex_rebuilds_from_vault_and_ledger_and_reports_what_does_not_fit() {
    let world = World::new().await;
    let records = world.records();
    let changes = (0..20).map(|number| create(&number.to_string(), "body")).collect();
    records.commit(changes, vec![]).await.unwrap();
    records.commit(vec![delete("7", 1)], vec![]).await.unwrap();
    let before = world.rows.versions();
    let listed = world.rows.2.lock().clone();
    assert_eq!(listed.values().last().map(String::as_str), Some("Patient/7/2"));

    let mut last = Progress::default();
    let found = records.reindex(|progress| last = progress).await.unwrap();
    assert_eq!(found, Reindexed { indexed: 20, ..Reindexed::default() });
    assert_eq!(*world.rows.2.lock(), listed, "a history keeps its order");
    assert_eq!(last, Progress { done: 20, total: 20 });
    assert_eq!(world.rows.versions(), before);

    // One body altered behind the gateway's back, one version that the ledger does not know.
    let address = records.read("Patient", "3").await.unwrap().address;
    let mut batch = Batch::default();
    batch.put(Space::Body, address.as_bytes(), b"altered".to_vec());
    let record = world.keys.record_id("Patient", "4");
    batch.put(Space::Current, record.to_vec(), entry::committed_value(2, 0));
    let forgotten = world.keys.record_id("Patient", "5");
    batch.delete(Space::Current, forgotten.to_vec());
    records.core.store.commit(batch, Durability::Synced).await.unwrap();
    let found = records.reindex(|_| {}).await.unwrap();
    assert_eq!(found, Reindexed { indexed: 17, unanchored: 1, damaged: 1, missing: 1 });
    assert!(matches!(records.read("Patient", "3").await, Err(Refusal::Lost(_))));
}

#[tokio::test]
async fn a_sealed_record_opens_for_its_recipient_and_matches_the_ledger() {
    let world = World::new().await;
    let records = world.records();
    let subject = SubjectId::new([5; 32]);
    records.link_subject("p", &subject).await.unwrap();
    let raw = Content::Raw { content_type: "application/pdf".to_owned(), bytes: b"%PDF-1.7".to_vec().into() };
    let (resource_type, id) = ("Binary".to_owned(), "b".to_owned());
    let change = Change::Create { resource_type, id, content: raw, patient: Some("p".to_owned()) };
    records.commit(vec![change], vec![]).await.unwrap();

    let sealed = records.sealed_version("Binary", "b", 1).await.unwrap();
    let recipient = crate::keys::EncryptionPair::random();
    let wrap = records.wrap_for(&sealed, &recipient.public()).unwrap();
    let key = envelope::unwrap_for(&sealed.document, &wrap, &recipient).unwrap();
    assert_eq!(envelope::open(&sealed.document, &key, &sealed.body).unwrap(), b"%PDF-1.7");
    assert_eq!(sealed.content_type.as_deref(), Some("application/pdf"));

    // What the recipient checks: the ciphertext is what the custodian committed to on the ledger,
    // for this subject.
    let digest = careledger_wire::commitment::digest(&sealed.body);
    let commitment = careledger_wire::commitment::record(
        &sealed.salt,
        subject.as_bytes(),
        "Binary",
        sealed.document.version,
        &digest,
    );
    assert_eq!(world.on_ledger("Binary", "b").await.unwrap().commitment, commitment.as_bytes());
    assert_eq!(records.subject_of("p").await.unwrap(), Some(subject));
    assert_eq!(records.patient_of(&subject).await.unwrap(), Some("p".to_owned()));
    assert_eq!(records.patient_of(&SubjectId::new([6; 32])).await.unwrap(), None);
}

#[tokio::test]
async fn a_full_disk_refuses_anchors_nothing_and_recovers() {
    let world = World::new().await;
    let full = Arc::new(AtomicBool::new(false));
    let store = Filling::new(&world.folder.path().join("other"), &full);
    let (keys, feed) = (Arc::clone(&world.keys), Arc::new(Rows::default()));
    let (records, _) = Records::open(keys, Arc::new(store), world.ledger().clone(), feed).await.unwrap();
    records.commit(vec![create("1", "one")], vec![]).await.unwrap();
    full.store(true, Ordering::Relaxed);
    assert_eq!(records.commit(vec![create("2", "two")], vec![]).await, Err(Refusal::StorageFull));
    assert_eq!(world.on_ledger("Patient", "2").await, None);
    assert_eq!(records.read("Patient", "1").await.unwrap().content, json("one"));
    full.store(false, Ordering::Relaxed);
    records.commit(vec![create("2", "two")], vec![]).await.unwrap();
}

#[tokio::test]
async fn a_canary_is_in_no_file() {
    const CANARY: &str = "canary-Zaphod-7f3a";
    let mut world = World::new().await;
    let text = format!("{{\"name\":\"{CANARY}\"}}");
    let raw = Content::Raw { content_type: format!("text/{CANARY}"), bytes: CANARY.repeat(5000).into_bytes().into() };
    world.records().link_subject(CANARY, &SubjectId::new([1; 32])).await.unwrap();
    let patient = Some(CANARY.to_owned());
    let document = Change::Create { resource_type: "Binary".to_owned(), id: CANARY.to_owned(), content: raw, patient };
    world.records().commit(vec![create(CANARY, &text), document], vec![]).await.unwrap();
    world.restart().await;
    world.records().commit(vec![update(CANARY, &text, 1)], vec![]).await.unwrap();
    assert_eq!(world.records().read("Patient", CANARY).await.unwrap().content, json(&text));
    world.running = None;
    let mut searched = 0;
    search(world.folder.path(), CANARY.as_bytes(), &mut searched);
    assert!(searched > 100_000, "only {searched} bytes were searched");
}

fn search(folder: &Path, needle: &[u8], searched: &mut usize) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            search(&path, needle, searched);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            *searched += bytes.len();
            let found = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "the canary is in {}", path.display());
            assert!(!path.to_string_lossy().contains("canary"));
        }
    }
}
