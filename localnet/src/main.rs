//! Runs CareLedger on this machine: the demo, the checks, a network of four validators.
//!
//! `cargo demo` and `cargo verify` are the two commands of the README; `cargo localnet --help` lists the rest.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::binaries::Built;
use crate::clients::Client;
use crate::demo::Afterwards;
use crate::failure::Failure;
use crate::load::{Beside, Pace, Plan, Sent, Subject};
use crate::manifest::Manifest;
use crate::network::agreement::Agreed;
use crate::network::join::Joining;
use crate::network::record::{App, NodeKind};
use crate::network::{Earlier, Network, Options};
use crate::places::{Places, Profile};
use crate::rpc::Rpc;
use crate::supervisor::Lifetime;

#[macro_use]
mod output;

mod answers;
mod binaries;
mod clients;
mod contract;
mod demo;
mod docker;
mod failure;
mod fhir_load;
mod gateways;
mod home;
mod load;
mod lone;
mod manifest;
mod network;
mod places;
mod ports;
mod postgres;
mod program;
mod rpc;
mod story;
mod supervisor;
mod toolbox;
mod verify;
mod watched;

#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tells the story of README.md on two gateways and their ledger, checks every step, then serves.
    Demo(Demo),
    /// Checks everything: format, lints, tests (on four real validators too), licences.
    Verify,
    /// Tries a gateway against its own OpenAPI document: one of the stages of `verify`.
    Contract,
    /// Drives FHIR clients that we did not write against a gateway: one of the stages of `verify`.
    Clients {
        /// Which of them [default: all].
        #[arg(value_enum)]
        clients: Vec<Client>,
    },
    /// Validates what the gateway answers in its tests with HAPI's validator: one of the stages of `verify`.
    Answers {
        /// Takes what the tests were answered before.
        #[arg(long)]
        recorded: bool,
    },
    /// Starts a network of validators in the background.
    Up(Up),
    /// Shows the processes of a network and where each validator is.
    Status(AtHome),
    /// Checks that all validators agree on every app hash, and that their heights move.
    Check(AtHome),
    /// Stops a network. Its chain stays and goes on with the next `up`.
    Down(AtHome),
    /// Kills a validator at once (SIGKILL), node and application.
    Kill(OneValidator),
    /// Starts a killed validator again.
    Revive(OneValidator),
    /// Adds a node to a running network from a snapshot (state sync), and keeps it until Ctrl-C.
    Join(Join),
    /// Tells the demo's story on a network that runs with gateways. Once: it makes its own patient and claim.
    Story(AtHome),
    /// Measures committed transactions per second on four validators of its own.
    Load(Load),
    /// Measures a gateway, or any FHIR server: reads, searches, creates, transactions, with few patients and with many.
    #[command(after_long_help = fhir_load::EXAMPLES)]
    FhirLoad(fhir_load::Arguments),
    /// Builds the image, runs four validators in containers, takes them down; where a docker engine answers.
    DockerCheck {
        /// The image's base. `scratch` needs no registry: this machine's C library is then put into the image.
        #[arg(long, default_value = "docker.io/library/debian:bookworm-slim")]
        base: String,
    },
    /// Builds every program that a network or the demo runs.
    Build,
    /// Checks that a node's height moves: the health check of a validator.
    Moves {
        /// The node's RPC, like http://127.0.0.1:26657.
        #[arg(long)]
        rpc: String,
        /// How long it may take: more than the network's heartbeat.
        #[arg(long, default_value_t = 25)]
        within_seconds: u64,
    },
    /// Makes keys, genesis and configuration of validators in containers (run by compose.yaml).
    #[command(hide = true)]
    LayOut {
        #[arg(long)]
        home: PathBuf,
        #[arg(long, default_value = "four")]
        network: String,
    },
    /// Keeps the processes of a home running (started by `up`).
    #[command(hide = true)]
    Supervise {
        #[arg(long)]
        home: PathBuf,
        #[arg(long)]
        until_launcher_ends: bool,
    },
}

#[derive(clap::Args)]
struct Demo {
    /// Ends after the story.
    #[arg(long)]
    once: bool,
    /// The demo's folder; what an earlier demo left there is removed [default: demo in cargo's target folder].
    #[arg(long)]
    home: Option<PathBuf>,
    /// Takes the programs as they are and builds nothing.
    #[arg(long)]
    no_build: bool,
}

#[derive(clap::Args)]
struct AtHome {
    /// The network's folder [default: localnet in cargo's target folder].
    #[arg(long)]
    home: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Join {
    #[command(flatten)]
    at: AtHome,
    /// Ends once the node joined and agrees with the others.
    #[arg(long)]
    once: bool,
}

#[derive(clap::Args)]
struct OneValidator {
    #[command(flatten)]
    at: AtHome,
    /// Which validator, from 0.
    #[arg(long)]
    validator: usize,
}

#[derive(clap::Args)]
struct Up {
    #[command(flatten)]
    at: AtHome,
    /// A manifest of localnet/networks, by name.
    #[arg(long, default_value = "four")]
    network: String,
    /// What the validators run.
    #[arg(long, value_enum, default_value = "careledger")]
    app: App,
    /// The node program: ours, or the stock `cometbft`.
    #[arg(long, value_enum, default_value = "careledger")]
    node: NodeKind,
    /// How many gateways [default: as in the manifest].
    #[arg(long)]
    gateways: Option<usize>,
    /// Removes the network that was set up there before.
    #[arg(long)]
    fresh: bool,
    /// Takes the programs as they are and builds nothing.
    #[arg(long)]
    no_build: bool,
}

#[derive(clap::Args)]
struct Load {
    /// How long to send.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// What the validators run.
    #[arg(long, value_enum, default_value = "careledger")]
    app: App,
    /// The node program: ours, or the stock `cometbft`.
    #[arg(long, value_enum, default_value = "careledger")]
    node: NodeKind,
    /// What is sent to CareLedger.
    #[arg(long, value_enum, default_value = "consents")]
    send: Sent,
    /// Connections that send at the same time, spread over the validators. Each waits for its answer, so that
    /// few of them measure how long an answer takes rather than what the network can take. Several numbers are
    /// measured in turn, and the best of each store is compared.
    #[arg(long, value_delimiter = ',', default_values_t = [64], value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: Vec<u32>,
    /// How long validators wait between two blocks: 1s is CometBFT's default, 100ms the localnet's. Longer gives fewer and
    /// larger blocks. Several are measured in turn, and the best of each store is compared.
    #[arg(long, value_delimiter = ',', default_value = "100ms", value_name = "DURATION")]
    commit_timeouts: Vec<String>,
    /// How often everything is measured: on a machine with other work the best of several rounds says more.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Sends without pausing where mempools are full.
    #[arg(long)]
    flood: bool,
    /// How CareLedger is built: as an operator would, unless said otherwise.
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
    /// Also measures CometBFT's own store under the stock program, and prints the ratio.
    #[arg(long, value_enum, value_delimiter = ',')]
    beside: Vec<Beside>,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    if let Command::Supervise { home, until_launcher_ends } = &command {
        let lifetime = if *until_launcher_ends { Lifetime::UntilLauncherEnds } else { Lifetime::UntilStopped };
        return supervisor::supervise(home, lifetime);
    }
    let places = Places::find()?;
    let open = |at: &AtHome| Network::open(at.home.as_deref().unwrap_or(&places.default_home()));
    match command {
        Command::Demo(demo) => {
            let afterwards = if demo.once { Afterwards::End } else { Afterwards::Serve };
            demo::run(&places, demo.home, afterwards, built(demo.no_build))
        }
        Command::Story(at) => open(&at)?.tell_story(&places),
        Command::Verify => verify::run(&places),
        Command::Contract => contract::check(&places),
        Command::Clients { clients } => check_clients(&places, &clients),
        Command::Answers { recorded } => {
            if !recorded {
                answers::record(&places)?;
            }
            answers::validate(&places)
        }
        Command::Build => binaries::build_nodes(&places).and_then(|()| binaries::build(&places)),
        Command::Up(up) => start(&places, up),
        Command::Status(at) => status(&open(&at)?),
        Command::Check(at) => {
            let Agreed { height } = open(&at)?.check_progress()?;
            say!("all validators agree up to height {height} and move on");
            Ok(())
        }
        Command::Down(at) => {
            let network = open(&at)?;
            let stopped = network.down()?;
            say!("{} {}", network.home().display(), if stopped { "is stopped" } else { "did not run" });
            Ok(())
        }
        Command::Kill(one) => open(&one.at)?.kill(one.validator),
        Command::Revive(one) => open(&one.at)?.revive(one.validator),
        Command::Join(join) => join_network(&places, &open(&join.at)?, join.once),
        Command::Load(load) => {
            let places = Places { profile: load.profile, ..places };
            let plan = Plan {
                duration: Duration::from_secs(load.seconds),
                sent: load.send,
                connections: load.connections,
                commit_timeouts: load.commit_timeouts,
                rounds: load.rounds,
                pace: if load.flood { Pace::Flood } else { Pace::Bounded },
            };
            load::run(&places, Subject { app: load.app, node: load.node }, &plan, &load.beside)
        }
        Command::FhirLoad(load) => fhir_load::run(&load.places(places), &load.plan()),
        Command::DockerCheck { base } => docker::check(&places, &base),
        Command::Moves { rpc, within_seconds } => network::moves(&Rpc::new(rpc), Duration::from_secs(within_seconds)),
        Command::LayOut { home, network } => docker::lay_out(&places, &home, &network),
        Command::Supervise { .. } => unreachable!("handled above, before a checkout is looked for"),
    }
}

fn check_clients(places: &Places, named: &[Client]) -> Result<(), Failure> {
    let clients = if named.is_empty() { &Client::ALL[..] } else { named };
    let skipped = clients::check(places, clients)?;
    if skipped.is_empty() { Ok(()) } else { Err(Failure::Needs(skipped.join("; "))) }
}

fn built(no_build: bool) -> Built {
    if no_build { Built::Before } else { Built::Now }
}

fn start(places: &Places, up: Up) -> Result<(), Failure> {
    let manifest = Manifest::load(&places.manifest(&up.network))?;
    let network = Network::up(
        places,
        Options {
            home: up.at.home.unwrap_or_else(|| places.default_home()),
            gateways: up.gateways.unwrap_or(if up.app == App::Careledger { manifest.gateways } else { 0 }),
            manifest,
            app: up.app,
            node: up.node,
            earlier: if up.fresh { Earlier::Removed } else { Earlier::Kept },
            lifetime: Lifetime::UntilStopped,
            built: built(up.no_build),
        },
    )?;
    status(&network)?;
    if let Some(before) = network.moved_from() {
        say!(
            "ports changed: they begin at {}, not at {before}; source localnet.env again",
            network.record().first_port
        );
    }
    say!("addresses for your shell: source '{}'", network.home().join("localnet.env").display());
    Ok(())
}

fn join_network(places: &Places, network: &Network, once: bool) -> Result<(), Failure> {
    say!("joining from a snapshot: CometBFT looks for one for five seconds first");
    let joined = network::join::start(places, network)?;
    let Joining { first, height } = joined.wait(network)?;
    say!("joined: its first block is {first}, and it agrees with the others up to height {height}");
    if once {
        return Ok(());
    }
    loop {
        // Ctrl-C ends this program and, with it, the node.
        std::thread::park();
    }
}

fn status(network: &Network) -> Result<(), Failure> {
    let Some(processes) = network.processes()? else {
        say!("{} does not run", network.home().display());
        return Ok(());
    };
    for process in processes {
        let state = match process.pid {
            Some(pid) => format!("runs as {pid}"),
            None if process.held => "was killed on request".into(),
            None if process.waits => "waits until its ledger answers".into(),
            None => "ended and is about to start again".into(),
        };
        say!("{:<10} {state}, {} restarts", process.name, process.restarts);
    }
    for index in 0..network.record().manifest.validators {
        let address = network.record().rpc_address(index);
        match network.rpc(index).tip() {
            Ok(tip) => say!("v{index} {address} height {}", tip.height),
            Err(_) => say!("v{index} {address} does not answer"),
        }
    }
    if network.record().gateways > 0 {
        for seat in &gateways::SEATS {
            let url = seat.base_url(&network.record().endpoints());
            say!("{} {url} {}", seat.name, if gateways::answers(&url) { "answers" } else { "does not answer" });
        }
    }
    Ok(())
}
