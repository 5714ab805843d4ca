//! A node that joins a running network from a snapshot instead of executing every block.
//!
//! It is no validator: it follows, and can be made one by a vote. CometBFT finds the snapshot at its
//! peers and checks the app hash with headers that the validators signed, beginning at one that this
//! program takes from the network's first validator. An operator takes it from somebody they trust.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::prepare::{app_home, copy, node_home, node_program, peers};
use super::record::{App, Record, group};
use super::{Network, settings};
use crate::failure::{Doing, Failure};
use crate::home::wait;
use crate::places::{self, Places};
use crate::program::Program;
use crate::rpc::{Agreement, Rpc};
use crate::supervisor::plan::log_file;

/// How long joining may take: finding snapshots alone takes CometBFT five seconds.
const JOIN_TIME_MAX: Duration = Duration::from_secs(180);
/// How long the application may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// A node that joined; stopped when dropped.
#[derive(Debug)]
pub struct Joined {
    rpc: Rpc,
    _processes: [Running; 2],
}

#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Either it ended by itself or it ends now.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// How a node joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The first block that it has: the one after its snapshot.
    pub first: u64,
    /// The height up to which it agrees with the others.
    pub height: u64,
}

impl Joined {
    /// Waits until the node has what the others have, and compares.
    pub fn wait(&self, network: &Network) -> Result<Joining, Failure> {
        let goal = network.rpc(0).tip()?.height;
        wait(&format!("the node that joins to reach height {goal}"), JOIN_TIME_MAX, || {
            self.rpc.tip().is_ok_and(|tip| tip.height >= goal && !tip.catching_up)
        })?;
        let first = self.rpc.earliest()?;
        let agreed = |rpc: &Rpc| rpc.agreement(goal);
        let (ours, theirs): (Agreement, Agreement) = (agreed(&self.rpc)?, agreed(&network.rpc(0))?);
        if ours != theirs {
            return Err(Failure::Check(format!("at height {goal} it has {ours:?} and validator 0 has {theirs:?}")));
        }
        if first <= 1 {
            return Err(Failure::Check("it executed every block: there was no snapshot to join from".into()));
        }
        Ok(Joining { first, height: goal })
    }
}

/// Starts a node that joins the network from a snapshot.
pub fn start(places: &Places, network: &Network) -> Result<Joined, Failure> {
    let (home, record) = (network.home(), network.record());
    if record.app != App::Careledger {
        return Err(Failure::Needs("only CareLedger takes snapshots".into()));
    }
    let index = record.manifest.validators;
    lay_out(places, home, record, index)?;
    follow(places, home, network, index)?;
    let socket = record.abci_socket(home, index)?;
    if socket.exists() {
        // Of an earlier try.
        fs::remove_file(&socket).doing(|| format!("removing {}", socket.display()))?;
    }
    let address = format!("unix://{}", socket.display());
    let application = places.built("careledgerd");
    let folder = app_home(home, index).display().to_string();
    let application =
        run(home, &format!("{}-app", group(index)), &application, &["start", "--home", &folder, "--abci", &address])?;
    wait("the application to listen", START_TIME_MAX, || socket.exists())?;
    let node = node_home(home, index).display().to_string();
    let program = node_program(places, record.node);
    let node = run(home, &format!("{}-node", group(index)), &program, &["start", "--home", &node])?;
    Ok(Joined { rpc: Rpc::new(record.joining_rpc_address()), _processes: [node, application] })
}

/// Makes the homes of the node and its application, new.
fn lay_out(places: &Places, home: &Path, record: &Record, index: usize) -> Result<(), Failure> {
    for folder in [node_home(home, index), app_home(home, index)] {
        if folder.exists() {
            fs::remove_dir_all(&folder).doing(|| format!("removing {}", folder.display()))?;
        }
    }
    let node = node_home(home, index);
    places::make_folder(&node)?;
    Program::new(node_program(places, record.node)).arg("init").arg("--home").arg(&node).capture()?;
    let genesis = places::read(&node_home(home, 0).join("config/genesis.json"))?;
    places::write(&node.join("config/genesis.json"), &genesis)?;
    copy(&app_home(home, 0).join("config"), &app_home(home, index).join("config"))
}

/// Writes the configuration of a node that joins by state sync.
fn follow(places: &Places, home: &Path, network: &Network, index: usize) -> Result<(), Failure> {
    let record = network.record();
    let trusted = network.rpc(0).tip()?.height;
    let hash = network.rpc(0).agreement(trusted)?.block;
    let servers = [record.rpc_address(0), record.rpc_address(1 % index)].join(",");
    let file = node_home(home, index).join("config/config.toml");
    let mut configuration = places::read(&file)?;
    let own: [(&str, toml::Value); 11] = [
        ("proxy_app", format!("unix://{}", record.abci_socket(home, index)?.display()).into()),
        ("rpc.laddr", record.joining_rpc_listen().into()),
        ("p2p.laddr", record.joining_p2p_listen().into()),
        ("p2p.persistent_peers", peers(places, home, record)?.join(",").into()),
        ("tx_index.indexer", "null".into()),
        ("statesync.enable", true.into()),
        ("statesync.rpc_servers", servers.into()),
        ("statesync.trust_height", i64::try_from(trusted).unwrap_or(i64::MAX).into()),
        ("statesync.trust_hash", hash.into()),
        ("statesync.trust_period", "168h0m0s".into()),
        ("statesync.discovery_time", "5s".into()),
    ];
    for (key, value) in own
        .iter()
        .map(|(key, value)| (*key, value))
        .chain(record.manifest.settings.iter().map(|(key, value)| (key.as_str(), value)))
    {
        configuration = settings::set(&configuration, key, value)?;
    }
    places::write(&file, &configuration)
}

fn run(home: &Path, name: &str, program: &Path, arguments: &[&str]) -> Result<Running, Failure> {
    let log = log_file(home, name);
    let output = fs::File::create(&log).doing(|| format!("opening {}", log.display()))?;
    let errors = output.try_clone().doing(|| format!("opening {}", log.display()))?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .doing(|| format!("starting {}", program.display()))?;
    Ok(Running(child))
}
