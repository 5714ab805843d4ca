//! Against the real state machine in process and the real store on disk.

use std::sync::{
    OnceLock, Weak,
    atomic::{AtomicBool, Ordering},
};

use careledger_app::keys;
use careledger_wire::{
    access_log,
    ids::{Address, GrantId},
    proto::state,
};

use futures::future::BoxFuture;

use super::{anchoring::Pass, *};
use crate::{
    decide::Rule,
    ledger::embedded,
    vault::{
        distant::Distant,
        filling::{Failing, Filling},
        forwarding::forward,
        local::LocalStore,
    },
};

struct World {
    folder: tempfile::TempDir,
    keys: Arc<OrganizationKeys>,
    running: Option<(AuditLog, Ledger)>,
    /// Seconds after which what fills no batch is anchored.
    interval: u32,
}

impl World {
    async fn new() -> Self {
        let keys = Arc::new(OrganizationKeys::random());
        let mut world = Self { folder: tempfile::tempdir().unwrap(), keys, running: None, interval: 3600 };
        world.restart().await;
        world
    }

    async fn restart(&mut self) {
        self.running = None;
        let organization = serde_json::json!({
            "address": self.keys.signer.address(),
            "kind": "provider",
            "encryption_key": self.keys.encryption.public(),
            "evidence": "00".repeat(32),
            "expires_at": clock() + 30 * 86_400,
        });
        let registrar = Address::new([1; 20]);
        let app_state = serde_json::json!({
            "registrars": [registrar], "registrar_threshold": 1, "organizations": [organization],
        });
        let settings = embedded::Settings {
            chain_id: "careledger-dev-audit".to_owned(),
            app_state: app_state.to_string().into_bytes(),
            rpc_listen: "127.0.0.1:0".parse().unwrap(),
            memory: embedded::Memory::default(),
        };
        let ledger = Ledger::open_embedded(&self.folder.path().join("ledger"), &settings).unwrap();
        let store = Arc::new(LocalStore::open(&self.folder.path().join("vault")).unwrap());
        let settings = config::Audit { batch_leaves: 5, batch_seconds: self.interval };
        let log = AuditLog::open(Arc::clone(&self.keys), store, ledger.clone(), &settings).await.unwrap();
        self.running = Some((log, ledger));
    }

    fn log(&self) -> &AuditLog {
        &self.running.as_ref().unwrap().0
    }

    /// A leaf, and the batch of it as a process leaves it that dies before it knows what became of it.
    async fn intend(&self) -> AnchoredBatch {
        self.log().record(access("p"), Durability::Synced).await.unwrap();
        let core = &self.log().core;
        let batch = core.gather(0).unwrap().unwrap();
        let mut intent = Batch::default();
        intent.put(Space::Batch, 1u64.to_be_bytes(), serde_json::to_vec(&batch).unwrap());
        core.store.commit(intent, Durability::Synced).await.unwrap();
        batch
    }

    async fn on_ledger(&self, sequence: u64) -> Option<state::AccessLogBatch> {
        let key = keys::access_log_batch(&self.keys.signer.address(), sequence);
        self.running.as_ref().unwrap().1.get(&key).await.unwrap()
    }
}

fn access(patient: &str) -> Access {
    Access {
        action: Action::Read,
        outcome: Outcome::Permitted,
        agent: Agent::Client("ehr".to_owned()),
        purpose: Some("TREAT".to_owned()),
        patient: Some(patient.to_owned()),
        entities: vec![Entity {
            resource_type: "Observation".to_owned(),
            id: Some("o".to_owned()),
            version: Some(2),
            query: None,
        }],
        grant: None,
        origin: Origin::default(),
    }
}

/// What stands where a leaf should.
const NO_LEAF: &[u8] = b"no leaf";

/// Makes the next lines fail until the way is clear: their numbers are taken, and which is the newest cannot be read.
pub(crate) async fn stand_in_the_way(log: &AuditLog) {
    let next = *log.core.last.lock() + 1;
    let mut batch = Batch::default();
    for number in next..next + 100 {
        batch.put(Space::Leaf, number.to_be_bytes(), NO_LEAF);
    }
    batch.put(Space::Leaf, [0xff; 9], NO_LEAF);
    log.core.store.commit(batch, Durability::Synced).await.unwrap();
}

/// Undoes [`stand_in_the_way`].
pub(crate) async fn clear_the_way(log: &AuditLog) {
    let mut batch = Batch::default();
    for (key, value) in log.core.store.scan(Space::Leaf, &[], None, usize::MAX).unwrap() {
        if value == NO_LEAF {
            batch.delete(Space::Leaf, key);
        }
    }
    log.core.store.commit(batch, Durability::Synced).await.unwrap();
}

#[tokio::test]
async fn every_leaf_is_anchored_and_proven_also_across_a_restart() {
    let mut world = World::new().await;
    for number in 1..=7 {
        assert_eq!(world.log().record(access("p"), Durability::Synced).await.unwrap(), number);
    }
    world.log().anchor().await.unwrap();
    world.restart().await;
    assert_eq!(world.log().record(access("p"), Durability::Ordered).await.unwrap(), 8);
    world.log().anchor().await.unwrap();
    assert_eq!(world.log().anchor().await.unwrap(), 0, "nothing is anchored twice");
    for number in 1..=8 {
        let leaf = world.log().leaf(number).unwrap().unwrap();
        let place = world.log().inclusion(number).await.unwrap().unwrap();
        let anchored = world.on_ledger(place.sequence).await.unwrap();
        assert_eq!((anchored.root.as_slice(), anchored.count as usize), (&place.root.as_bytes()[..], place.count));
        let holds = |leaf: &Leaf| {
            access_log::verify_inclusion(&leaf.hash(), place.index, place.count, &place.path, &place.root)
        };
        assert!(holds(&leaf), "{number}");
        let mut altered = leaf.clone();
        altered.access.outcome = Outcome::Denied("Purpose".to_owned());
        assert!(!holds(&altered), "{number}");
    }
    assert_eq!(world.log().inclusion(9).await.unwrap(), None);
}

/// A process that dies after the ledger took a batch and before it knew.
#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_not_anchored_twice() {
    let mut world = World::new().await;
    let batch = world.intend().await;
    world.log().core.submit(1, &batch).await.unwrap();
    world.restart().await;
    world.log().record(access("p"), Durability::Synced).await.unwrap();
    assert_eq!(world.log().anchor().await.unwrap(), 1);
    assert_eq!(world.on_ledger(1).await.unwrap().root, batch.root.as_bytes());
    assert_eq!(world.on_ledger(2).await.unwrap().count, 1);
    assert_eq!(world.on_ledger(3).await, None);
}

/// A process that dies before the ledger was asked.
#[tokio::test]
async fn a_batch_that_was_only_intended_is_anchored_at_the_next_turn() {
    let mut world = World::new().await;
    let batch = world.intend().await;
    world.restart().await;
    world.log().anchor().await.unwrap();
    assert_eq!(world.on_ledger(1).await.unwrap().root, batch.root.as_bytes());
}

#[tokio::test]
async fn a_line_that_could_not_be_written_is_refused_and_leaves_no_gap() {
    let world = World::new().await;
    let full = Arc::new(AtomicBool::new(false));
    let store = Arc::new(Filling::new(&world.folder.path().join("other"), &full));
    let ledger = world.running.as_ref().unwrap().1.clone();
    let settings = config::Audit { batch_leaves: 5, batch_seconds: 3600 };
    let log = AuditLog::open(Arc::clone(&world.keys), store, ledger, &settings).await.unwrap();
    assert_eq!(log.record(access("p"), Durability::Synced).await, Ok(1));
    full.store(true, Ordering::Relaxed);
    for durability in [Durability::Synced, Durability::Ordered] {
        assert_eq!(log.record(access("p"), durability).await, Err(Refusal::StorageFull));
    }
    full.store(false, Ordering::Relaxed);
    assert_eq!(log.record(access("p"), Durability::Synced).await, Ok(2));
    assert_eq!(log.anchor().await, Ok(2));
    assert_eq!(
        log.inclusion(2).await.unwrap().map(|place| (place.sequence, place.index, place.count)),
        Some((1, 1, 2))
    );
}

/// Every request of every client writes a line: none would be answered before a restart.
#[tokio::test]
async fn a_line_that_was_there_after_a_failed_sync_kept_all_later_ones_from_being_written() {
    let world = World::new().await;
    let fails = Arc::new(AtomicBool::new(false));
    let store = Arc::new(Failing::new(&world.folder.path().join("other"), &fails));
    let ledger = world.running.as_ref().unwrap().1.clone();
    let settings = config::Audit { batch_leaves: 50, batch_seconds: 3600 };
    let log = AuditLog::open(Arc::clone(&world.keys), store, ledger, &settings).await.unwrap();
    assert_eq!(log.record(access("a"), Durability::Synced).await, Ok(1));
    fails.store(true, Ordering::Relaxed);
    assert!(matches!(log.record(access("b"), Durability::Synced).await, Err(Refusal::Internal(_))));
    fails.store(false, Ordering::Relaxed);
    let written = futures::future::join_all((0..20).map(|_| log.record(access("c"), Durability::Synced))).await;
    let mut numbers = written.into_iter().collect::<Result<Vec<u64>, _>>().unwrap();
    numbers.sort_unstable();
    assert_eq!(numbers, Vec::from_iter(3..=22), "one each, after what is there");
    let patient = |number| log.leaf(number).unwrap().and_then(|leaf| leaf.access.patient);
    assert_eq!((patient(2).as_deref(), patient(3).as_deref()), (Some("b"), Some("c")), "nothing is written over");
    assert_eq!(log.anchor().await, Ok(22), "without a gap");
}

#[tokio::test]
async fn leaves_are_found_newest_first() {
    let world = World::new().await;
    for patient in ["a", "b", "a", "c", "a"] {
        world.log().record(access(patient), Durability::Ordered).await.unwrap();
    }
    let numbers = |before, limit| -> Vec<u64> {
        world.log().newest(&["a"], before, limit).unwrap().iter().map(|leaf| leaf.number).collect()
    };
    assert_eq!(numbers(None, 2), [5, 3]);
    assert_eq!(numbers(Some(3), 2), [1]);
    assert!(numbers(Some(1), 2).is_empty());
}

#[tokio::test]
async fn a_leaf_is_rendered_as_an_audit_event() {
    let world = World::new().await;
    let denied = Disclosure {
        organization: Address::new([2; 20]),
        practitioner: Address::new([3; 20]),
        purpose: "TREAT".to_owned(),
        grant: GrantId::new([4; 32]),
        resource_type: "Binary".to_owned(),
        ids: vec!["b".to_owned()],
        patient: Some("p".to_owned()),
        verdict: Verdict::Denied(Rule::NotRevoked),
        origin: Origin::default(),
    };
    world.log().disclosed(denied).await.unwrap();
    let event = world.log().leaf(1).unwrap().unwrap().event("http://127.0.0.1:8080/riverside/fhir");
    let at = |pointer: &str| event.pointer(pointer).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    assert_eq!(at("/resourceType"), "AuditEvent");
    assert_eq!(at("/id"), "leaf-1");
    assert_eq!((at("/outcome").as_str(), at("/outcomeDesc").as_str()), ("4", "refused: the consent was revoked"));
    assert_eq!(at("/purposeOfEvent/0/coding/0/code"), "TREAT");
    assert_eq!(at("/entity/0/what/reference"), "Patient/p");
    assert_eq!(at("/entity/1/what/identifier/value"), GrantId::new([4; 32]).to_string());
    assert_eq!(at("/entity/1/detail/0/valueString"), "Binary/b");
    assert_eq!(at("/agent/0/who/identifier/value"), Address::new([2; 20]).to_string());
    assert_eq!(event::number("leaf-1"), Some(1));
    for id in ["leaf-01", "leaf-+1", "leaf-", "1", "leaf-1x"] {
        assert_eq!(event::number(id), None, "{id}");
    }
}

#[test]
fn a_leaf_with_control_characters_is_still_shown_as_valid_fhir() {
    let access = Access {
        action: Action::Read,
        outcome: Outcome::Permitted,
        agent: Agent::Client("ehr\0".to_owned()),
        purpose: Some("TRE\u{1}AT".to_owned()),
        patient: Some("p1".to_owned()),
        entities: vec![Entity {
            resource_type: "Binary\n".to_owned(),
            id: Some("\0".to_owned()),
            version: None,
            query: None,
        }],
        grant: None,
        origin: Origin::default(),
    };
    let event = Leaf::new(1, 1_000_000, access).event("http://here/fhir");
    let document = crate::json::Document::parse(event.to_string()).unwrap();
    assert!(!document.to_value().to_string().contains("\\u0000"));
}

#[test]
fn a_leaf_of_an_earlier_version_keeps_its_hash() {
    let text = r#"{"number":3,"time":1000000,"access":{"action":"Execute","outcome":"Permitted","agent":{"Client":"ehr"},"purpose":null,"patient":"p1","entities":[{"resource_type":"Condition","id":null,"version":null}],"grant":null},"salt":"00"}"#;
    let leaf: Leaf = serde_json::from_str(text).unwrap();
    assert_eq!(String::from_utf8(leaf.bytes()).unwrap(), text);
    let event = leaf.event("http://here/fhir");
    assert_eq!(event["entity"][1]["query"], "Q29uZGl0aW9u", "what it was about, as a query");
}

#[tokio::test]
async fn a_log_without_a_list_of_patients_gets_one_when_it_is_opened() {
    let mut world = World::new().await;
    for patient in ["a", "b", "a"] {
        world.log().record(access(patient), Durability::Synced).await.unwrap();
    }
    let core = &world.log().core;
    let mut rows = Batch::default();
    for (key, _) in core.store.scan(Space::State, b"access-log/of/", None, 10).unwrap() {
        rows.delete(Space::State, key);
    }
    rows.delete(Space::State, *b"access-log/listed");
    assert_eq!(rows.changes().len(), 4);
    core.store.commit(rows, Durability::Synced).await.unwrap();
    assert_eq!(world.log().count(&["a"]), Ok(0));
    world.restart().await;
    assert_eq!(world.log().count(&["a"]), Ok(2));
    assert_eq!((world.log().count(&["a", "b", "a"]), world.log().count(&[])), (Ok(3), Ok(3)));
    let numbers = |patients: &[&str]| {
        world.log().newest(patients, None, 10).unwrap().iter().map(|leaf| leaf.number).collect::<Vec<_>>()
    };
    assert_eq!((numbers(&["a"]), numbers(&["b", "a"]), numbers(&["c"])), (vec![3, 1], vec![3, 2, 1], vec![]));
}

/// A thread that answers requests stood still while PostgreSQL was asked about the access log.
#[tokio::test]
async fn a_log_in_a_vault_behind_a_server_holds_up_nobody_else_while_that_answers() {
    let world = World::new().await;
    let store = Distant::new(&world.folder.path().join("distant"));
    let (_, ledger) = world.running.as_ref().unwrap();
    // More than there are: nobody anchors but who is told to.
    let settings = config::Audit { batch_leaves: 100, batch_seconds: 3600 };
    let open = || AuditLog::open(Arc::clone(&world.keys), Arc::clone(&store) as _, ledger.clone(), &settings);
    let log = store.during(open()).await.unwrap();
    let other = store.during(open()).await.unwrap();
    // Each is second to the other in turn, and looks which number is next.
    for number in 1..=8 {
        let log = if number % 2 == 0 { &log } else { &other };
        assert_eq!(store.during(log.record(access("p"), Durability::Synced)).await, Ok(number));
    }
    store.during(log.anchor()).await.unwrap();
    assert_eq!(store.during(log.lacking()).await, Ok(0));
    assert!(store.during(log.inclusion(8)).await.unwrap().is_some());
}

/// Lines after which a busy store comes to rest.
const BUSY_LEAVES_MAX: u64 = 200;

/// A store in which lines are written whenever a batch of them is.
struct Busy {
    store: LocalStore,
    log: OnceLock<Weak<Core>>,
}

impl Store for Busy {
    forward!([store]: get, scan, last);

    fn commit(&self, batch: Batch, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        let is_of_leaves = batch.changes().iter().any(|(space, ..)| *space == Space::Batch);
        let written = self.store.commit(batch, durability);
        let Some(core) = self.log.get().and_then(Weak::upgrade).filter(|_| is_of_leaves) else { return written };
        for _ in 0..3 {
            let mut last = core.last.lock();
            // A pass that does not end by itself ends here.
            if *last >= BUSY_LEAVES_MAX {
                break;
            }
            *last += 1;
            drop(self.store.commit(core.written(*last, access("p"), None), Durability::Ordered));
        }
        written
    }
}

/// Where there was always something to log, a pass never ended, and put batches of a few lines on the ledger, 65 a second.
#[tokio::test]
async fn a_pass_ends_while_lines_go_on_being_written() {
    let world = World::new().await;
    let ledger = world.running.as_ref().unwrap().1.clone();
    let store = LocalStore::open(&world.folder.path().join("busy")).unwrap();
    let store = Arc::new(Busy { store, log: OnceLock::new() });
    let settings = config::Audit { batch_leaves: 50, batch_seconds: 3600 };
    let log = AuditLog::open(Arc::clone(&world.keys), Arc::clone(&store) as _, ledger, &settings).await.unwrap();
    store.log.set(Arc::downgrade(&log.core)).unwrap();
    for _ in 0..60 {
        log.record(access("p"), Durability::Ordered).await.unwrap();
    }
    let batches = || log.core.batches().unwrap().into_iter().map(|(_, batch)| batch.leaves).collect::<Vec<_>>();
    // Whoever has work for it may wake it, and then finds it at work.
    log.core.anchor(Pass::Full).await.unwrap();
    assert_eq!(batches(), [1..=50]);
    assert_eq!(log.anchor().await, Ok(13));
    assert_eq!(batches(), [1..=50, 51..=63]);
    assert_eq!(log.core.anchor(Pass::Full).await, Ok(0), "three are not fifty");
    assert_eq!(log.anchor().await, Ok(3));
    assert_eq!(batches(), [1..=50, 51..=63, 64..=66]);
}

/// Whoever fills a batch wakes it, which put off the time for what fills none.
#[tokio::test]
async fn what_fills_no_batch_is_anchored_in_time_whoever_wakes_it() {
    let mut world = World::new().await;
    world.running = None;
    world.interval = 1;
    world.restart().await;
    world.log().record(access("p"), Durability::Ordered).await.unwrap();
    let anchored = async {
        while world.on_ledger(1).await.is_none() {
            world.log().core.wake.notify_one();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), anchored).await.expect("it is never put off");
}

/// Leaves were opened a page at a time, and a batch had no more than one page.
#[tokio::test]
async fn a_batch_goes_through_pages_and_ends_where_a_number_is_missing() {
    let world = World::new().await;
    let ledger = world.running.as_ref().unwrap().1.clone();
    for (leaves, missing, batch_leaves, expected) in [
        (11, None, 6, vec![1..=6, 7..=11]),
        (12, None, 4, vec![1..=4, 5..=8, 9..=12]),
        (9, None, u32::MAX, vec![1..=9]),
        // Within a page, between two, and as the first of one.
        (11, Some(3), 100, vec![1..=2, 4..=11]),
        (11, Some(5), 100, vec![1..=4, 6..=11]),
        (11, Some(4), 100, vec![1..=3, 5..=11]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::open(folder.path()).unwrap());
        let settings = config::Audit { batch_leaves, batch_seconds: 3600 };
        let log = AuditLog::open(Arc::clone(&world.keys), store, ledger.clone(), &settings).await.unwrap();
        for _ in 0..leaves {
            log.record(access("p"), Durability::Ordered).await.unwrap();
        }
        if let Some(missing) = missing {
            let mut batch = Batch::default();
            batch.delete(Space::Leaf, u64::to_be_bytes(missing));
            log.core.store.commit(batch, Durability::Synced).await.unwrap();
        }
        let mut found: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
        while let Some(batch) = log.core.gather(found.last().map_or(0, |leaves| *leaves.end())).unwrap() {
            let hashes: Vec<_> = batch.leaves.clone().map(|number| log.leaf(number).unwrap().unwrap().hash()).collect();
            assert_eq!(batch.root, access_log::root(&hashes));
            found.push(batch.leaves);
        }
        assert_eq!(found, expected, "{leaves} leaves without {missing:?}, {batch_leaves} a batch");
    }
}
