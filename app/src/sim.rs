//! A whole network in one process, from a seed: replicas are values, consensus is a generator of
//! legal call sequences, faults are drawn from the seed, and an independent model of the rules says
//! what must come out. A script that breaks something is made as short as it gets, and printed.
//!
//! Nothing here runs on a node. The same seed gives the same script on every machine and for ever.

mod beginning;
mod boundaries;
mod byzantine;
mod chance;
mod generate;
mod judging;
mod messages;
mod model;
mod network;
pub mod plans;
mod random;
mod request;
mod script;
mod sending;
mod shrink;
mod stories;
mod telling;
pub mod trapdoor;
mod words;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use parking_lot::Mutex;

use crate::{
    machine::{Block, Machine},
    store::Store,
};
pub use network::Violation;
pub use script::{Event, LIVES_FROM, Script};

/// What one seed came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Blocks that were decided.
    pub blocks: u64,
    /// Transactions that no block could hold, each offered and left out.
    pub kept_out: u64,
    /// How many transactions had each answer: `ok`, or the name of the refusal.
    pub answers: BTreeMap<&'static str, u64>,
    /// How many proposals of a byzantine proposer had each answer.
    pub proposals: BTreeMap<&'static str, u64>,
    /// Upgrades that blocks came with.
    pub upgrades: u64,
    /// Chains that came from the first format to the newest.
    pub lives: u64,
}

impl Report {
    /// Counts another seed's with this one's.
    pub fn add(&mut self, other: &Self) {
        self.blocks += other.blocks;
        self.kept_out += other.kept_out;
        self.upgrades += other.upgrades;
        self.lives += other.lives;
        for (sum, counted) in [(&mut self.answers, &other.answers), (&mut self.proposals, &other.proposals)] {
            for (answer, count) in counted {
                *sum.entry(answer).or_default() += count;
            }
        }
    }
}

/// A seed that broke something.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was broken.
    pub violation: Violation,
    /// The shortest script that was found to break the same.
    pub script: Script,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "seed {}: {}", self.seed, self.violation)?;
        write!(formatter, "the shortest script that was found:\n{}", self.script)
    }
}

/// Runs the script of a seed.
pub fn run(seed: u64) -> Result<Report, Box<Failure>> {
    let script = Script::of_seed(seed);
    network::play(&script).map_err(|_| {
        let (script, violation) = shrink::shrink(script);
        Box::new(Failure { seed, violation, script })
    })
}

/// Runs the scripts of these seeds on all cores: what each came to, in their order.
///
/// On threads of its own: machines check signatures in a pool, and a thread of the pool that waits for some would begin another
/// seed meanwhile, on top of its stack, and there another.
pub fn run_each(seeds: &[u64]) -> Vec<Result<Report, Box<Failure>>> {
    let (next, played) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((place, seed)) = take(&next, seeds) {
            let report = run(seed);
            played.lock().insert(place, report);
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(1, usize::from)).for_each(|_| drop(scope.spawn(work)))
    });
    played.into_inner().into_values().collect()
}

fn take(next: &AtomicUsize, seeds: &[u64]) -> Option<(usize, u64)> {
    let place = next.fetch_add(1, Ordering::Relaxed);
    seeds.get(place).map(|seed| (place, *seed))
}

/// Runs a script.
pub fn play(script: &Script) -> Result<Report, Violation> {
    network::play(script)
}

/// The blocks that the script of a seed decides, each with the root after it: for other stores.
pub fn decided(seed: u64) -> Result<Vec<(Block, [u8; 32])>, Violation> {
    network::decided(&Script::of_seed(seed))
}

/// A machine at the genesis of the seed's network.
pub fn start<S: Store>(store: S, seed: u64) -> Machine<S> {
    beginning::start(store, &Script::of_seed(seed))
}
