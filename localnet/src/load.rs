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

/// Whether the key-value store is measured beside CareLedger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// CareLedger alone.
    None,
    /// CometBFT's built-in key-value store on the same node program.
    Kvstore,
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
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long to send.
    pub duration: Duration,
    /// The node program.
    pub node: NodeKind,
    /// What is sent.
    pub sent: Sent,
    /// Connections that send at the same time.
    pub connections: u32,
    /// How fast.
    pub pace: Pace,
}

/// Starts a network (and one for the comparison), loads each, prints what they gave.
pub fn run(places: &Places, app: App, plan: &Plan, comparison: Comparison) -> Result<(), Failure> {
    let baseline = match comparison {
        Comparison::None => None,
        Comparison::Kvstore => Some(measure(places, App::Kvstore, plan)?),
    };
    let measured = measure(places, app, plan)?;
    if let Some(baseline) = baseline {
        let ratio = measured.committed_tx_per_s / baseline.committed_tx_per_s;
        say!("ratio: {ratio:.2} of the key-value store built into CometBFT");
    }
    Ok(())
}

fn measure(places: &Places, app: App, plan: &Plan) -> Result<Measured, Failure> {
    let network = start(places, plan.node, app)?;
    let record = network.record();
    let addresses: Vec<_> = (0..record.manifest.validators).map(|index| record.rpc_address(index)).collect();
    let measured = match app {
        App::Careledger => {
            let home = network.home();
            let registrar = registrar(0);
            let passphrase = passphrase_file(home);
            let program = Program::new(places.built("careledgerd")).args(["load", "--from", &registrar]).arg("--home");
            let program = program.arg(client_home(home)).arg("--passphrase-file").arg(passphrase);
            send(program, &addresses, plan, plan.sent.name())?
        }
        App::Kvstore | App::SocketKvstore => {
            send(Program::new(places.built("careledgerd")).args(["load"]), &addresses, plan, "pairs")?
        }
    };
    // What was measured counts only if all validators made the same of it.
    network.check_agreement()?;
    network.down()?;
    say!(
        "{}: {:.0} committed tx/s ({} in all), a block every {:.0} ms and after {:.0} ms at most, commit p50 {:.0} ms, p99 {:.0} ms, at most {} waiting at a node",
        app.name(),
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
fn send(program: Program, rpc: &[String], plan: &Plan, sent: &str) -> Result<Measured, Failure> {
    let pace: &[&str] = match plan.pace {
        Pace::Bounded => &[],
        Pace::Flood => &["--mempool", NEVER_FULL],
    };
    let answer = program
        .args(["--node", &rpc[0], "--seconds", &plan.duration.as_secs().to_string(), "--send", sent])
        .args(pace)
        .args(["--connections", &plan.connections.to_string()])
        .args(rpc[1..].iter().flat_map(|node| ["--also-node", node]))
        .capture()?;
    let line = answer.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|error| Failure::Check(format!("`careledgerd load`: {error}: {line}")))
}

fn start(places: &Places, node: NodeKind, app: App) -> Result<Network, Failure> {
    Network::up(
        places,
        Options {
            home: places.target.join("load"),
            manifest: Manifest::load(&places.manifest("load"))?,
            app,
            node,
            gateways: 0,
            earlier: Earlier::Removed,
            lifetime: Lifetime::UntilLauncherEnds,
            built: Built::Now,
        },
    )
}
