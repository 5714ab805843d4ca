//! A bounded load on a network, and what it gave.

use std::time::Duration;

use serde::Deserialize;

use crate::binaries::Built;
use crate::failure::Failure;
use crate::manifest::Manifest;
use crate::network::prepare::{client_home, passphrase_file, registrar};
use crate::network::record::{App, NodeKind};
use crate::network::{Earlier, Network, Options};
use crate::places::Places;
use crate::program::Program;
use crate::supervisor::Lifetime;

/// More transactions than a mempool holds.
const NEVER_FULL: &str = "1000000";
/// Transactions that wait at a node before its senders pause, of the 5,000 that it holds.
const NEARLY_FULL: &str = "4000";
/// The setting of how long validators wait for votes and transactions between two blocks.
const COMMIT_TIMEOUT: &str = "consensus.timeout_commit";

/// What a load gave.
#[derive(Clone, Debug, Deserialize)]
pub struct Measured {
    /// Transactions that were committed.
    pub transactions: u64,
    /// Per second, from the first block with one to the last.
    pub committed_tx_per_s: f64,
    /// Records of the batches in them, per second.
    #[serde(default)]
    pub records_per_s: f64,
    /// Average time between blocks, in milliseconds.
    pub block_interval_ms: f64,
    /// Longest time between two blocks, in milliseconds.
    pub block_interval_max_ms: f64,
    /// From sending to the block's commit, median, in milliseconds.
    pub commit_p50_ms: f64,
    /// The same for the slowest of a hundred.
    pub commit_p99_ms: f64,
    /// Most transactions that were seen waiting in a mempool.
    pub waiting_max: u64,
}

/// What is measured in turn with it: CometBFT's own store, as its users run it, under the stock program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Beside {
    /// Built into the node: nothing lies between them.
    Kvstore,
    /// In a process of its own.
    SocketKvstore,
}

impl Beside {
    fn subject(self) -> Subject {
        let app = match self {
            Self::Kvstore => App::Kvstore,
            Self::SocketKvstore => App::SocketKvstore,
        };
        Subject { app, node: NodeKind::Stock }
    }
}

/// What a network runs while it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What its validators agree on.
    pub app: App,
    /// The node program.
    pub node: NodeKind,
}

/// What is sent to CareLedger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sent {
    /// A patient's consent in each transaction, about 350 bytes.
    Consents,
    /// The root over 10,000 records in each transaction.
    Batches,
}

impl Sent {
    fn name(self) -> &'static str {
        match self {
            Self::Consents => "consents",
            Self::Batches => "batches",
        }
    }
}

/// Whether senders wait for the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// They pause where a mempool is getting full: what is measured is what the network takes.
    Bounded,
    /// They never pause: mempools are full all the time.
    Flood,
}

/// How to load a network.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long to send.
    pub duration: Duration,
    /// What is sent.
    pub sent: Sent,
    /// Connections that send at the same time: each number in turn.
    pub connections: Vec<u32>,
    /// How long validators wait between two blocks, as CometBFT writes durations: each in turn.
    pub commit_timeouts: Vec<String>,
    /// How often all of it is done.
    pub rounds: u32,
    /// How fast.
    pub pace: Pace,
}

/// What a subject is measured over.
#[derive(Clone, Debug)]
struct Conditions {
    connections: u32,
    commit_timeout: String,
}

impl std::fmt::Display for Conditions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} connections, {} between blocks", self.connections, self.commit_timeout)
    }
}

/// What a subject gave.
struct Run {
    subject: Subject,
    conditions: Conditions,
    committed_tx_per_s: f64,
}

/// Loads networks of the subject, and of what it is compared with, in turn; prints what each gave and how the best
/// of it compares with the best of each other.
pub fn run(places: &Places, subject: Subject, plan: &Plan, beside: &[Beside]) -> Result<(), Failure> {
    let subjects: Vec<_> = beside.iter().map(|beside| beside.subject()).chain([subject]).collect();
    let mut runs = Vec::new();
    for _ in 0..plan.rounds {
        for subject in &subjects {
            for conditions in plan.conditions() {
                let committed_tx_per_s = measure(places, *subject, plan, &conditions)?.committed_tx_per_s;
                runs.push(Run { subject: *subject, conditions, committed_tx_per_s });
            }
        }
    }
    let Some(own) = best(&runs, subject) else { return Ok(()) };
    for other in beside.iter().filter_map(|beside| best(&runs, beside.subject())) {
        say!(
            "ratio: {:.2} of the {} under the stock program ({:.0}/s with {} ÷ {:.0}/s with {})",
            own.committed_tx_per_s / other.committed_tx_per_s,
            other.subject.app.name(),
            own.committed_tx_per_s,
            own.conditions,
            other.committed_tx_per_s,
            other.conditions,
        );
    }
    Ok(())
}

/// Of the runs of a subject the one that committed most.
fn best(runs: &[Run], subject: Subject) -> Option<&Run> {
    runs.iter()
        .filter(|run| run.subject == subject)
        .max_by(|one, other| one.committed_tx_per_s.total_cmp(&other.committed_tx_per_s))
}

impl Plan {
    fn conditions(&self) -> impl Iterator<Item = Conditions> + '_ {
        self.commit_timeouts.iter().flat_map(|commit_timeout| {
            let conditions =
                |connections: &u32| Conditions { connections: *connections, commit_timeout: commit_timeout.clone() };
            self.connections.iter().map(conditions)
        })
    }
}

fn measure(places: &Places, subject: Subject, plan: &Plan, conditions: &Conditions) -> Result<Measured, Failure> {
    let network = start(places, subject, &conditions.commit_timeout)?;
    let record = network.record();
    let addresses: Vec<_> = (0..record.manifest.validators).map(|index| record.rpc_address(index)).collect();
    let (program, sent) = match subject.app {
        App::Careledger => {
            let home = network.home();
            let registrar = registrar(0);
            let passphrase = passphrase_file(home);
            let program = Program::new(places.built("careledgerd")).args(["load", "--from", &registrar]).arg("--home");
            (program.arg(client_home(home)).arg("--passphrase-file").arg(passphrase), plan.sent.name())
        }
        App::Kvstore | App::SocketKvstore => (Program::new(places.built("careledgerd")).args(["load"]), "pairs"),
    };
    let measured = send(program, &addresses, plan, conditions.connections, sent)?;
    // What was measured counts only if all validators made the same of it.
    network.check_agreement()?;
    network.down()?;
    say!(
        "{}, {conditions}: {:.0} committed tx/s ({} in all), a block every {:.0} ms and after {:.0} ms at most, commit p50 {:.0} ms, p99 {:.0} ms, at most {} waiting at a node",
        subject.app.name(),
        measured.committed_tx_per_s,
        measured.transactions,
        measured.block_interval_ms,
        measured.block_interval_max_ms,
        measured.commit_p50_ms,
        measured.commit_p99_ms,
        measured.waiting_max,
    );
    if measured.records_per_s > 0.0 {
        say!("{:.0} records/s in them", measured.records_per_s);
    }
    Ok(measured)
}

/// Loads nodes through `careledgerd load`: everything with the same tool.
fn send(program: Program, rpc: &[String], plan: &Plan, connections: u32, sent: &str) -> Result<Measured, Failure> {
    let pace: &[&str] = match plan.pace {
        Pace::Bounded => &["--mempool", NEARLY_FULL],
        Pace::Flood => &["--mempool", NEVER_FULL],
    };
    let answer = program
        .args(["--node", &rpc[0], "--seconds", &plan.duration.as_secs().to_string(), "--send", sent])
        .args(pace)
        .args(["--connections", &connections.to_string()])
        .args(rpc[1..].iter().flat_map(|node| ["--also-node", node]))
        .capture()?;
    let line = answer.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|error| Failure::Check(format!("`careledgerd load`: {error}: {line}")))
}

fn start(places: &Places, Subject { app, node }: Subject, commit_timeout: &str) -> Result<Network, Failure> {
    let mut manifest = Manifest::load(&places.manifest("load"))?;
    manifest.settings.insert(COMMIT_TIMEOUT.to_owned(), commit_timeout.into());
    Network::up(
        places,
        Options {
            home: places.target.join("load"),
            manifest,
            app,
            node,
            gateways: 0,
            earlier: Earlier::Removed,
            lifetime: Lifetime::UntilLauncherEnds,
            built: Built::Now,
        },
    )
}
