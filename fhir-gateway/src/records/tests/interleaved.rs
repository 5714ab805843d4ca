//! Processes that share a vault, in orders that follow from a seed. Each stops before and after all that it writes,
//! and before each lock; then the seed says who goes on, who dies where it stands, whose lock is lost with its
//! connection, and who was too late for the ledger. What was acknowledged is there after every step, and what
//! was not is there as a whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicI64, AtomicU64},
};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::*;
use crate::vault::{Hold as HoldOfStore, forwarding::forward};

/// Seeds that are tried, unless the variable says another number.
const SEEDS: u64 = 25;
const SEEDS_VARIABLE: &str = "CARELEDGER_INTERLEAVINGS";
const PROCESSES: usize = 3;
const RECORDS: u64 = 2;
/// Pieces of work that are begun in one case.
const WORKS: u32 = 30;

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// What the processes share: the pairs, and the names that are held, by the number of the hold.
struct Shared {
    store: LocalStore,
    locks: Mutex<BTreeMap<String, u64>>,
    holds: AtomicU64,
    ages: AtomicI64,
}

impl Shared {
    fn is_free(&self, names: &[String]) -> bool {
        let locks = self.locks.lock();
        names.iter().all(|name| !locks.contains_key(name))
    }

    /// A mark that is too old for the ledger, and like no other: a process writes a version again ten minutes later at
    /// the earliest.
    fn aged(&self, mark: &[u8]) -> Vec<u8> {
        entry::pending_value(self.ages.fetch_add(1, Ordering::Relaxed), &entry::since_and_run(mark).unwrap().1)
    }

    fn take(self: Arc<Self>, names: Vec<String>) -> Held {
        let number = self.holds.fetch_add(1, Ordering::Relaxed);
        self.locks.lock().extend(names.into_iter().map(|name| (name, number)));
        Held { shared: self, number }
    }
}

struct Held {
    shared: Arc<Shared>,
    number: u64,
}

impl HoldOfStore for Held {
    fn is_lost(&self) -> bool {
        !self.shared.locks.lock().values().any(|number| *number == self.number)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.locks.lock().retain(|_, number| *number != self.number);
    }
}

/// What a process waits for where it stands.
enum Stop {
    /// Its turn.
    Turn,
    /// These names, and its turn.
    Names(Vec<String>),
}

enum Event {
    Stopped { process: usize, at: Stop, go: oneshot::Sender<()> },
    Ended { process: usize, outcome: Result<Vec<Arc<Stored>>, Refusal> },
}

/// One process's way to the store.
#[derive(Clone)]
struct Gate {
    shared: Arc<Shared>,
    process: usize,
    /// Whether all that it begins is too old for the ledger before it is sent.
    is_late: bool,
    events: mpsc::UnboundedSender<Event>,
}

impl Gate {
    async fn stop(&self, at: Stop) {
        let (go, turn) = oneshot::channel();
        // After the case nobody listens, and nobody goes on.
        let _ = self.events.send(Event::Stopped { process: self.process, at, go });
        if turn.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The batch as a process hands it over whose time has run out.
    fn dated(&self, batch: Batch) -> Batch {
        if !self.is_late {
            return batch;
        }
        let fresh: BTreeSet<(Space, Vec<u8>)> = batch.fresh().map(|(space, key)| (space, key.to_vec())).collect();
        let mut dated = Batch::default();
        for (place, (space, key, value)) in batch.changes().iter().enumerate() {
            let value = value
                .as_ref()
                .map(|value| if *space == Space::Pending { self.shared.aged(value) } else { value.clone() });
            match (value, batch.seen(place)) {
                (Some(value), _) if fresh.contains(&(*space, key.clone())) => {
                    dated.put_new(*space, key.clone(), value);
                }
                (Some(value), _) => dated.put(*space, key.clone(), value),
                (None, Some(seen)) => dated.delete_seen(*space, key.clone(), seen),
                (None, None) => dated.delete(*space, key.clone()),
            }
        }
        dated
    }
}

impl Store for Gate {
    forward!([shared.store]: get, scan, last);

    fn commit(&self, batch: Batch, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        let (gate, batch) = (self.clone(), self.dated(batch));
        async move {
            gate.stop(Stop::Turn).await;
            let outcome = gate.shared.store.commit(batch, durability).await;
            // Who dies here has written and does not know it.
            gate.stop(Stop::Turn).await;
            outcome
        }
        .boxed()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn exclusive(&self, names: Vec<String>) -> BoxFuture<'static, Result<Exclusive, StoreError>> {
        let gate = self.clone();
        async move {
            gate.stop(Stop::Names(names.clone())).await;
            Ok(Exclusive::by(gate.shared.take(names)))
        }
        .boxed()
    }
}

/// A process: what it remembers, and what it is at.
struct Process {
    core: Arc<Core>,
    is_late: bool,
    at: Option<(JoinHandle<()>, Stop, oneshot::Sender<()>)>,
    /// It has just started, and puts right what was left behind before anything else.
    is_new: bool,
}

/// One case.
struct Case<'a> {
    seed: u64,
    chance: Chance,
    world: &'a World,
    shared: Arc<Shared>,
    rows: Arc<Rows>,
    events: mpsc::UnboundedReceiver<Event>,
    sender: mpsc::UnboundedSender<Event>,
    processes: Vec<Process>,
    /// Sees everything and stops nowhere.
    observer: Arc<Core>,
    /// What the ledger was seen to have.
    anchored: BTreeMap<(RecordId, u32), Vec<u8>>,
    /// What somebody was told is stored.
    acknowledged: BTreeMap<(RecordId, u32), Content>,
    written: u64,
    late: u64,
    killed: u64,
    lost: u64,
}

fn core(world: &World, store: Arc<dyn Store>, rows: &Arc<Rows>) -> Arc<Core> {
    let keys = Arc::clone(&world.keys);
    Arc::new(Core {
        entry_key: ValueKey::of(&keys.storage.derive("careledger/vault-entry/1")),
        storage_key: StorageKey::of(&keys.storage),
        keys,
        store,
        run: random(),
        ledger: world.ledger().clone(),
        feed: Arc::clone(rows) as Arc<dyn Feed>,
        held: Mutex::default(),
        waiting: crate::records::publishing::Waiting::default(),
        sequence: tokio::sync::Mutex::default(),
    })
}

async fn write(core: Arc<Core>, change: Change, is_late: bool) -> Result<Vec<Arc<Stored>>, Refusal> {
    let mut unit = core.unit(vec![change], Vec::new(), Some(b"who")).await?;
    if is_late {
        unit.since = 0;
    }
    let (done, answer) = oneshot::channel();
    core.anchor_group(vec![(unit, done)]).await;
    answer.await.map_err(|_| Refusal::Internal("a write was interrupted"))?
}

impl<'a> Case<'a> {
    fn new(world: &'a World, folder: &Path, seed: u64) -> Self {
        let store = LocalStore::open(folder).unwrap();
        let shared = Arc::new(Shared {
            store,
            locks: Mutex::default(),
            holds: AtomicU64::default(),
            ages: AtomicI64::default(),
        });
        let (sender, events) = mpsc::unbounded_channel();
        let rows = Arc::<Rows>::default();
        let observer = core(world, Arc::new(Watching(Arc::clone(&shared))), &rows);
        let mut case = Self {
            seed,
            chance: Chance(seed),
            world,
            shared,
            rows,
            events,
            sender,
            processes: Vec::new(),
            observer,
            anchored: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            written: 0,
            late: 0,
            killed: 0,
            lost: 0,
        };
        for process in 0..PROCESSES {
            let started = case.start(process);
            case.processes.push(started);
        }
        case
    }

    /// A process that starts, perhaps in place of one that died.
    fn start(&mut self, process: usize) -> Process {
        let is_late = self.chance.one_in(3);
        let (shared, events) = (Arc::clone(&self.shared), self.sender.clone());
        let gate = Gate { shared, process, is_late, events };
        Process { core: core(self.world, Arc::new(gate), &self.rows), is_late, at: None, is_new: true }
    }

    async fn run(mut self) -> (u64, u64, u64) {
        let mut begun = 0;
        loop {
            let is_ready = |process: &Process| match &process.at {
                None => begun < WORKS,
                Some((_, Stop::Turn, _)) => true,
                Some((_, Stop::Names(names), _)) => self.shared.is_free(names),
            };
            let ready: Vec<usize> = (0..PROCESSES).filter(|process| is_ready(&self.processes[*process])).collect();
            let Some(bound) = u64::try_from(ready.len()).ok().filter(|count| *count > 0) else { break };
            let process = ready[self.chance.below(bound) as usize];
            match self.processes[process].at.take() {
                None => {
                    begun += 1;
                    let task = self.begin(process);
                    self.follow(process, task).await;
                }
                Some((task, _, _)) if self.chance.one_in(12) => self.kill(process, task).await,
                Some((task, _, go)) => {
                    if self.chance.one_in(20) {
                        self.lose_a_lock();
                    }
                    go.send(()).unwrap();
                    self.follow(process, task).await;
                }
            }
            if self.chance.one_in(4) {
                self.let_time_pass().await;
            }
            self.check().await;
        }
        assert!(
            self.processes.iter().all(|process| process.at.is_none()),
            "seed {}: somebody waits for ever",
            self.seed
        );
        self.end().await;
        (self.acknowledged.len() as u64, self.killed, self.lost + self.late)
    }

    /// Has a process begin something.
    fn begin(&mut self, process: usize) -> JoinHandle<()> {
        let Process { core, is_late, is_new, .. } = &mut self.processes[process];
        let (core, is_late, events) = (Arc::clone(core), *is_late, self.sender.clone());
        let cleans = std::mem::take(is_new) || self.chance.one_in(3);
        let id = format!("{}-{}", self.seed, self.chance.below(RECORDS));
        if cleans {
            return tokio::spawn(async move {
                let outcome = core.decide_all().await.map(|_| Vec::new());
                let _ = events.send(Event::Ended { process, outcome });
            });
        }
        self.written += 1;
        let text = format!("text {} of {id}", self.written);
        let change = match self.observer.current(&self.world.keys.record_id("Patient", &id)).unwrap() {
            None => create(&id, &text),
            Some((version, _)) => update(&id, &text, version),
        };
        self.late += u64::from(is_late);
        tokio::spawn(async move {
            let outcome = write(core, change, is_late).await;
            let _ = events.send(Event::Ended { process, outcome });
        })
    }

    /// Waits until the one process that runs stops or ends.
    async fn follow(&mut self, running: usize, task: JoinHandle<()>) {
        let seed = self.seed;
        match self.events.recv().await.unwrap() {
            Event::Stopped { process, at, go } => {
                assert_eq!(process, running, "seed {seed}: only one runs");
                self.processes[process].at = Some((task, at, go));
            }
            Event::Ended { process, outcome } => {
                assert_eq!(process, running, "seed {seed}: only one runs");
                match outcome {
                    Ok(stored) => {
                        for stored in stored {
                            let record = self.world.keys.record_id(&stored.resource_type, &stored.id);
                            let before = self.acknowledged.insert((record, stored.version), stored.content.clone());
                            assert_eq!(before, None, "seed {seed}: one version was acknowledged twice");
                        }
                    }
                    Err(Refusal::VersionConflict | Refusal::LedgerUnavailable | Refusal::Ledger { .. }) => {}
                    Err(other) => panic!("seed {seed}: {other:?}"),
                }
            }
        }
    }

    async fn kill(&mut self, process: usize, task: JoinHandle<()>) {
        self.killed += 1;
        task.abort();
        // It ends by being stopped.
        let _ = task.await;
        self.processes[process] = self.start(process);
    }

    /// The connection breaks that holds a lock; who held it goes on.
    fn lose_a_lock(&mut self) {
        let mut locks = self.shared.locks.lock();
        self.lost += u64::from(!locks.is_empty());
        locks.clear();
    }

    /// What those who are gone began is too old for the ledger from now on.
    async fn let_time_pass(&mut self) {
        let alive: BTreeSet<[u8; 16]> = self.processes.iter().map(|process| process.core.run).collect();
        self.age(|run| !alive.contains(run)).await;
    }

    async fn age(&self, is_old: impl Fn(&[u8; 16]) -> bool) {
        let mut batch = Batch::default();
        for (key, mark) in self.shared.store.scan(Space::Pending, &[], None, usize::MAX).unwrap() {
            if is_old(&entry::since_and_run(&mark).unwrap().1) {
                batch.put(Space::Pending, key, self.shared.aged(&mark));
            }
        }
        if !batch.is_empty() {
            self.shared.store.commit(batch, Durability::Ordered).await.unwrap();
        }
    }

    /// What is true after every step.
    async fn check(&mut self) {
        let (seed, store) = (self.seed, &self.shared.store);
        for number in 0..RECORDS {
            let id = format!("{seed}-{number}");
            let record = self.world.keys.record_id("Patient", &id);
            if let Some(anchored) = self.world.on_ledger("Patient", &id).await {
                self.anchored.insert((record, anchored.version), anchored.commitment);
            }
            let committed = store.scan(Space::Committed, record.as_bytes(), None, usize::MAX).unwrap();
            let versions: Vec<u32> =
                committed.iter().map(|(key, _)| entry::record_and_version(key).unwrap().1).collect();
            let current = self.observer.current(&record).unwrap().map_or(0, |(version, _)| version);
            assert_eq!(versions, (1..=current).collect::<Vec<_>>(), "seed {seed}: versions follow one another");
            for version in versions {
                let stored = self.observer.stored(&record, version);
                let stored =
                    stored.unwrap_or_else(|error| panic!("seed {seed}: {id} {version} is in parts: {error:?}"));
                let stored = stored.unwrap_or_else(|| panic!("seed {seed}: {id} {version} has no description"));
                let entry = self.observer.entry(&record, version).unwrap().unwrap();
                let anchored = self.anchored.get(&(record, version));
                assert_eq!(anchored, Some(&entry.commitment(version).to_vec()), "seed {seed}: not what the ledger has");
                if let Some(content) = self.acknowledged.get(&(record, version)) {
                    assert_eq!(*content, stored.content, "seed {seed}: another content than was acknowledged");
                }
            }
        }
        for (record, version) in self.acknowledged.keys() {
            let is_there = store.get(Space::Committed, &entry::key(record, *version)).unwrap().is_some();
            assert!(is_there, "seed {seed}: an acknowledged version is gone");
        }
        let journal = store.scan(Space::Journal, &[], None, usize::MAX).unwrap();
        let (sequences, keys): (Vec<_>, Vec<_>) =
            journal.into_iter().map(|(sequence, key)| (sequence_of(&sequence).unwrap(), key)).unzip();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "seed {seed}: the journal has a gap");
        let distinct: BTreeSet<Vec<u8>> = keys.iter().cloned().collect();
        let committed = store.scan(Space::Committed, &[], None, usize::MAX).unwrap();
        let committed: BTreeSet<Vec<u8>> = committed.into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            (keys.len(), &distinct),
            (committed.len(), &committed),
            "seed {seed}: each version stands there once"
        );
    }

    /// What is true once everybody is gone and somebody started anew.
    async fn end(&mut self) {
        self.age(|_| true).await;
        self.observer.decide_all().await.unwrap();
        self.observer.bring_up_to_date().await.unwrap();
        self.check().await;
        let (seed, store) = (self.seed, &self.shared.store);
        let keys = |space| -> BTreeSet<Vec<u8>> {
            store.scan(space, &[], None, usize::MAX).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert!(keys(Space::Pending).is_empty(), "seed {seed}: a mark is left");
        let committed = keys(Space::Committed);
        let notes: BTreeSet<Vec<u8>> = committed.iter().map(|key| notes::key(key)).collect();
        assert_eq!(keys(Space::State), notes, "seed {seed}: each version has its note, and nothing else has");
        for (record, version) in self.anchored.keys() {
            assert!(committed.contains(&entry::key(record, *version)), "seed {seed}: the ledger has more");
        }
        assert_eq!(keys(Space::Entry), committed, "seed {seed}: descriptions without a version");
        let addresses: BTreeSet<Vec<u8>> = committed
            .iter()
            .map(|key| entry::record_and_version(key).unwrap())
            .map(|(record, version)| self.observer.entry(&record, version).unwrap().unwrap().address.to_vec())
            .collect();
        assert_eq!(keys(Space::Body), addresses, "seed {seed}: bodies without a version");
        assert_eq!(keys(Space::Wrap).len(), committed.len(), "seed {seed}: wraps without a version");
        assert_eq!(self.rows.applied(), Ok(committed.len() as u64), "seed {seed}: the index lacks something");
        for (name, version) in self.rows.versions() {
            let record = self.world.keys.record_id("Patient", name.split_once('/').unwrap().1);
            assert_eq!(
                self.observer.current(&record).unwrap().unwrap().0,
                version,
                "seed {seed}: the index has {name}"
            );
        }
    }
}

/// The store without stops.
struct Watching(Arc<Shared>);

impl Store for Watching {
    forward!([0.store]: get, scan, last, commit);

    fn is_shared(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn writers_of_a_shared_vault_lose_nothing_that_was_acknowledged_and_show_nothing_in_part() {
    let world = World::new().await;
    let seeds = std::env::var(SEEDS_VARIABLE).map_or(SEEDS, |text| text.parse().expect("a number of seeds"));
    let (mut acknowledged, mut killed, mut disturbed) = (0, 0, 0);
    for seed in 0..seeds {
        let folder = tempfile::tempdir().unwrap();
        let (stored, deaths, others) = Case::new(&world, folder.path(), seed).run().await;
        (acknowledged, killed, disturbed) = (acknowledged + stored, killed + deaths, disturbed + others);
    }
    // A generator that came to nothing would find nothing.
    assert!(acknowledged > seeds && killed > seeds / 2 && disturbed > seeds / 2, "{acknowledged} {killed} {disturbed}");
}
