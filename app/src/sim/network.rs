//! Replicas, the calls that consensus makes to them, and the judge.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use super::{
    Report,
    beginning::{signers, start},
    messages::insurance::{Forest, Nodes},
    model::{Answer, Leaves, Model, Moment, Sent},
    script::{Actor, Crash, Event, Key, REPLICAS, Script},
};
use crate::{
    limits::BLOCK_BYTES_MAX,
    machine::{Block, CheckKind, Machine, Outcome},
    reject::Reject,
    snapshot::{self, Applied, JOIN_BYTES_MAX, Restore},
    store::{Store, memory::MemoryStore},
    upgrade,
    wallet::Signer,
};

pub(super) const CHAIN: &str = "careledger-dev-sim";
/// Genesis time, Unix seconds.
pub(super) const START: i64 = 1_800_000_000;

/// Something that must not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise was broken.
    pub kind: &'static str,
    /// At which event of the script, from 0.
    pub event: usize,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, at event {}: {}", self.kind, self.event, self.found)
    }
}

pub(super) struct Replica {
    pub(super) machine: Machine<MemoryStore>,
    /// What is on its disk.
    durable: MemoryStore,
}

impl Replica {
    fn restart(&mut self) {
        self.machine = Machine::new(self.durable.clone());
    }
}

#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) bytes: Vec<u8>,
    pub(super) sent: Sent,
}

pub(super) struct Network {
    pub(super) signers: BTreeMap<Key, Signer>,
    pub(super) replicas: Vec<Replica>,
    pub(super) model: Model,
    pub(super) pool: Vec<Waiting>,
    pub(super) history: Vec<Waiting>,
    decided: Vec<(Block, [u8; 32])>,
    pub(super) time: i64,
    event: usize,
    pub(super) report: Report,
    /// Trees that were computed, which takes long.
    pub(super) trees: RefCell<BTreeMap<(Forest, Leaves), Rc<Nodes>>>,
}

/// Plays a script to its end, or to the first thing that must not happen.
pub(super) fn play(script: &Script) -> Result<Report, Violation> {
    played(script).map(|network| network.report)
}

/// The blocks that a script decides, each with the root after it.
pub(super) fn decided(script: &Script) -> Result<Vec<(Block, [u8; 32])>, Violation> {
    played(script).map(|network| network.decided)
}

fn played(script: &Script) -> Result<Network, Violation> {
    let mut network = Network::new(script);
    for (index, event) in script.events.iter().enumerate() {
        network.event = index;
        network.play_whole(event)?;
    }
    network.report.lives = u64::from(script.first_format == 1 && network.model.format == upgrade::NEWEST);
    Ok(network)
}

impl Network {
    fn new(script: &Script) -> Self {
        let signers = signers();
        let mut ranks = [0, 1, 2, 3, 4];
        ranks.sort_by_key(|registrar| signers[&Key::Of(Actor::Registrar(*registrar))].address());
        let replica = || {
            let machine = start(MemoryStore::new(), script);
            Replica { durable: machine.store().clone(), machine }
        };
        Self {
            replicas: (0..REPLICAS).map(|_| replica()).collect(),
            model: Model::genesis(&ranks, script.first_format, script.has_quotas),
            signers,
            pool: Vec::new(),
            history: Vec::new(),
            decided: Vec::new(),
            time: START,
            event: 0,
            report: Report::default(),
            trees: RefCell::default(),
        }
    }

    pub(super) fn broken<T>(&self, kind: &'static str, found: impl Into<String>) -> Result<T, Violation> {
        Err(Violation { kind, event: self.event, found: found.into() })
    }

    /// A ledger that panics stops its node: a violation like others, with a seed and a script.
    fn play_whole(&mut self, event: &Event) -> Result<(), Violation> {
        // Nothing is done with a network after its first violation.
        let played = catch_unwind(AssertUnwindSafe(|| self.play(event)));
        played.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it says nothing");
            self.broken("no call stops the ledger", said)
        })
    }

    fn play(&mut self, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Send { signing, requests, delivery } => {
                let (waiting, copies) = self.sign(*signing, requests, *delivery);
                (0..copies).try_for_each(|_| self.offer(waiting.clone()))
            }
            Event::Replay { back } => match self.history.iter().rev().nth(usize::from(*back)).cloned() {
                Some(earlier) => self.offer(earlier),
                None => Ok(()),
            },
            Event::Abandon { proposer, lookers } => self.abandon(*proposer, *lookers),
            Event::Byzantine { order, rubbish } => self.byzantine(*order, *rubbish),
            Event::Decide { proposer, lookers, seconds, crash } => self.decide(*proposer, *lookers, *seconds, *crash),
            Event::Wait { blocks } => {
                let waiting = std::mem::take(&mut self.pool);
                (0..*blocks).try_for_each(|_| self.decide(0, 0, 0, None))?;
                self.pool = waiting;
                Ok(())
            }
            Event::Join { giver, place, altered } => self.join(*giver, *place, *altered),
        }
    }

    /// CheckTx everywhere. Whatever it says, the transaction waits: proposals must cope.
    fn offer(&mut self, waiting: Waiting) -> Result<(), Violation> {
        self.agree("replicas check a transaction alike", |replica| {
            replica.machine.check(&waiting.bytes, CheckKind::New).code
        })?;
        self.history.push(waiting.clone());
        self.pool.push(waiting);
        Ok(())
    }

    /// What every replica answers, where they answer alike.
    pub(super) fn agree<T: PartialEq + fmt::Debug>(
        &self,
        kind: &'static str,
        ask: impl Fn(&Replica) -> T,
    ) -> Result<T, Violation> {
        let mut answers: Vec<T> = self.replicas.iter().map(ask).collect();
        let first = answers.remove(0);
        match answers.iter().find(|answer| **answer != first) {
            Some(other) => self.broken(kind, format!("{first:?} and {other:?}")),
            None => Ok(first),
        }
    }

    /// What a block of these, in this order, should hold and give; the model as it is afterwards.
    pub(super) fn expected<'a>(
        &self,
        offered: impl Iterator<Item = &'a Waiting>,
        time: i64,
    ) -> (Vec<&'a Waiting>, Vec<Answer>, Model) {
        // The model counts from genesis.
        let time = time - START;
        let block = Moment { time, height: self.height() };
        let mut model = self.model.clone();
        model.begin(block);
        let (mut held, mut answers) = (Vec::new(), Vec::new());
        for waiting in offered {
            if model.may_hold(&waiting.sent, block) {
                answers.push(model.execute(&waiting.sent, block));
                held.push(waiting);
            }
        }
        (held, answers, model)
    }

    pub(super) fn height(&self) -> u64 {
        self.replicas[0].machine.height() + 1
    }

    /// What a replica proposes of these, which must be what the model says, and acceptable to all who look.
    fn propose(&self, proposer: u8, lookers: u8, offered: &[Waiting], time: i64) -> Result<Vec<Vec<u8>>, Violation> {
        let all = offered.iter().map(|waiting| waiting.bytes.clone()).collect();
        let replica = &self.replicas[usize::from(proposer % REPLICAS)];
        let proposed = replica.machine.prepare(all, BLOCK_BYTES_MAX, self.height(), time);
        let (held, _, _) = self.expected(offered.iter(), time);
        if !proposed.iter().eq(held.iter().map(|waiting| &waiting.bytes)) {
            let is_in = |place: usize| proposed.iter().any(|bytes| *bytes == offered[place].bytes);
            let should = |place: usize| held.iter().any(|waiting| waiting.bytes == offered[place].bytes);
            let odd = (0..offered.len()).find(|place| is_in(*place) != should(*place));
            let counts = format!("{} of {} offered, {} expected", proposed.len(), offered.len(), held.len());
            let found = format!("{counts}; the first that differs is {odd:?}");
            return self.broken("a proposal holds what may be held, and nothing else", found);
        }
        for (index, replica) in self.replicas.iter().enumerate() {
            if lookers >> index & 1 == 1
                && let Err(reject) = replica.machine.process(&proposed, self.height(), time)
            {
                return self.broken("an honest proposal is accepted", format!("replica {index}: {reject}"));
            }
        }
        Ok(proposed)
    }

    fn abandon(&mut self, proposer: u8, lookers: u8) -> Result<(), Violation> {
        let mut other = self.pool.clone();
        other.reverse();
        self.propose(proposer, lookers, &other, self.time + 7).map(drop)
    }

    fn decide(&mut self, proposer: u8, lookers: u8, seconds: i64, crash: Option<(u8, Crash)>) -> Result<(), Violation> {
        let time = self.time + seconds;
        let offered = std::mem::take(&mut self.pool);
        let transactions = self.propose(proposer, lookers, &offered, time)?;
        let block = Block { height: self.height(), time, transactions };
        self.check_programs()?;
        let (_, answers, model) = self.expected(offered.iter(), time);
        let mut results: Vec<(Vec<Outcome>, [u8; 32])> = Vec::new();
        for (index, replica) in self.replicas.iter_mut().enumerate() {
            let crash = crash.filter(|(place, _)| usize::from(*place) == index).map(|(_, crash)| crash);
            results.push(execute(replica, &block, crash));
        }
        self.model = model;
        self.time = time;
        if let Some(index) = (1..results.len()).find(|index| results[*index] != results[0]) {
            return self.broken("replicas agree on every block", format!("replica {index} differs from replica 0"));
        }
        let names: Vec<&str> = results[0].0.iter().map(|outcome| name(outcome.code)).collect();
        let expected: Vec<&str> = answers.iter().map(|answer| answer.err().unwrap_or("ok")).collect();
        if names != expected {
            let odd = names.iter().zip(&expected).find(|(found, expected)| found != expected);
            return self.broken("the ledger answers as the model does", format!("found and expected: {odd:?}"));
        }
        self.report.blocks += 1;
        self.decided.push((block, results[0].1));
        for answer in expected {
            *self.report.answers.entry(answer).or_default() += 1;
        }
        self.report.kept_out += (offered.len() - answers.len()) as u64;
        self.compare_states()
    }

    /// A program that knows the upgrades goes on through their heights; one that does not stops before them, and
    /// wherever the state has a format that it does not know.
    fn check_programs(&mut self) -> Result<(), Violation> {
        let height = self.height();
        let is_due = self.model.scheduled.is_some_and(|(_, due)| due == height);
        let machine = &self.replicas[0].machine;
        let needed = self.model.scheduled.filter(|_| is_due).map_or(1, |(version, _)| version).max(self.model.format);
        for known in 0..upgrade::TABLE.len() {
            let program = Machine::with_upgrades(machine.store().clone(), &upgrade::TABLE[..known]);
            let (knows, stops) = (1 + known as u32, program.halts_before(height).is_some());
            if stops != (knows < needed) {
                let found = format!("it knows {knows}, {needed} is needed, it stops: {stops}");
                return self.broken("an old program stops where the state needs a newer one, and only there", found);
            }
        }
        self.report.upgrades += u64::from(is_due);
        let halts = self.replicas.iter().any(|replica| replica.machine.halts_before(height).is_some());
        if halts { self.broken("a program goes on through what it knows", "it stops") } else { Ok(()) }
    }

    fn join(&mut self, giver: u8, place: u8, altered: bool) -> Result<(), Violation> {
        let store = self.replicas[usize::from(giver % REPLICAS)].machine.store();
        let Some(manifest) = store.snapshots().into_iter().next() else { return Ok(()) };
        let chunks = u32::try_from(manifest.chunks.len()).expect("a manifest has a bounded number of chunks");
        let size = (manifest.height, snapshot::FORMAT, chunks);
        let restore = Restore::begin(size, &manifest.hash(), &manifest.encode(), store.app_hash(), JOIN_BYTES_MAX);
        let Ok(mut restore) = restore else { return self.broken("a snapshot can be joined", "it was refused") };
        for index in 0..chunks {
            let chunk = store.snapshot_chunk(manifest.height, index).unwrap_or_default();
            let mut wrong = chunk.clone();
            wrong.push(0);
            if altered && !matches!(restore.apply(index, &wrong), Applied::Wrong) {
                return self.broken("an altered chunk is found", format!("chunk {index} was taken"));
            }
            match restore.apply(index, &chunk) {
                Applied::More => {}
                Applied::Whole(restored) => {
                    let mut machine = Machine::new(MemoryStore::new());
                    machine.install(restored);
                    let durable = machine.store().clone();
                    self.replicas[usize::from(place % REPLICAS)] = Replica { machine, durable };
                    // CheckTx has no memory of what waits there: what the others checked is forgotten too.
                    self.replicas.iter_mut().for_each(Replica::restart);
                    self.pool.clear();
                    return Ok(());
                }
                Applied::Wrong | Applied::Forged | Applied::TooLarge => {
                    return self.broken("a snapshot can be joined", format!("chunk {index} was refused"));
                }
            }
        }
        self.broken("a snapshot can be joined", "it has no end")
    }
}

/// Executes a decided block; a replica that crashes starts again and executes what it is told again.
fn execute(replica: &mut Replica, block: &Block, crash: Option<Crash>) -> (Vec<Outcome>, [u8; 32]) {
    match crash {
        Some(Crash::BeforeFinalize) => replica.restart(),
        Some(Crash::BeforeCommit) => {
            replica.machine.finalize(block);
            replica.restart();
        }
        Some(Crash::CommitLost) => {
            replica.machine.finalize(block);
            replica.machine.commit();
            replica.restart();
        }
        Some(Crash::AfterCommit) | None => {}
    }
    let finalized = replica.machine.finalize(block);
    replica.machine.commit();
    replica.durable = replica.machine.store().clone();
    if crash == Some(Crash::AfterCommit) {
        replica.restart();
    }
    (finalized.outcomes, finalized.app_hash)
}

fn name(code: u32) -> &'static str {
    Reject::TABLE.iter().find(|row| row.0 == code).map_or("ok", |row| row.1)
}
