//! Setting a network up: keys, genesis, configuration, the supervisor's plan.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::record::{App, NodeKind, Record, group, validator_home};
use super::{genesis, settings};
use crate::failure::{Doing, Failure};
use crate::gateways::{self, GATEWAYS, Ledger};
use crate::places::{self, Places};
use crate::program::Program;
use crate::supervisor::plan::{Plan, Process, Stage};

/// Lifetime of the gateways' access tokens, in seconds: their default.
const TOKEN_SECONDS: u32 = 300;

/// Blocks in which a transaction that a peer sent must not have been before our node program passes it on: more than one
/// waits for in a busy network.
const PASS_ON_AFTER_BLOCKS: &str = "10";

/// The folder with the keys that people and organizations of this network use.
pub fn client_home(home: &Path) -> PathBuf {
    home.join("client")
}

/// The file with the passphrase of the keys in [`client_home`].
pub fn passphrase_file(home: &Path) -> PathBuf {
    client_home(home).join("passphrase")
}

/// The name of registrar `index`, from 0, among the keys in [`client_home`].
pub fn registrar(index: usize) -> String {
    format!("registrar-{}", index + 1)
}

/// Makes keys and genesis of a new network.
pub fn create(places: &Places, home: &Path, record: &Record) -> Result<(), Failure> {
    places::make_folder(home)?;
    let generated = home.join("generated");
    Program::new(node_program(places, record.node))
        .args(["testnet", "--v", &record.manifest.validators.to_string(), "--node-dir-prefix", "v", "--o"])
        .arg(&generated)
        .capture()?;
    let app_state = match record.app {
        App::Careledger => Some(create_applications(places, home, record)?),
        App::Kvstore | App::SocketKvstore => None,
    };
    for index in 0..record.manifest.validators {
        let node = node_home(home, index);
        copy(&generated.join(group(index)), &node)?;
        let file = node.join("config/genesis.json");
        let genesis = genesis::complete(&places::read(&file)?, &record.manifest.chain_id, app_state.clone())?;
        places::write(&file, &genesis)?;
    }
    fs::remove_dir_all(&generated).doing(|| format!("removing {}", generated.display()))
}

/// Makes each validator's application home and the network's registrars; returns the genesis state.
fn create_applications(places: &Places, home: &Path, record: &Record) -> Result<Value, Failure> {
    let manifest = &record.manifest;
    let registrars = create_registrars(places, home, manifest.registrars)?;
    for index in 0..manifest.validators {
        let app = app_home(home, index);
        init(places, &app, &manifest.chain_id, &registrars, manifest.registrar_threshold)?;
        let file = app.join("config/app.toml");
        let interval = i64::from(manifest.snapshot_interval).into();
        places::write(&file, &settings::set(&places::read(&file)?, "snapshots.interval", &interval)?)?;
    }
    let file = genesis_file(&app_home(home, 0));
    serde_json::from_str(&places::read(&file)?).map_err(|error| Failure::Check(format!("{}: {error}", file.display())))
}

/// Makes [`client_home`] with the registrars' keys; returns their addresses.
pub fn create_registrars(places: &Places, home: &Path, count: usize) -> Result<Vec<String>, Failure> {
    places::make_folder(&client_home(home))?;
    places::write_secret(&passphrase_file(home), &random_passphrase()?)?;
    (0..count).map(|index| add_key(places, home, &registrar(index))).collect()
}

/// Makes the home of a ledger application, with its part of the genesis in [`genesis_file`].
pub fn init(
    places: &Places,
    app: &Path,
    chain_id: &str,
    registrars: &[String],
    threshold: usize,
) -> Result<(), Failure> {
    Program::new(places.built("careledgerd"))
        .args(["init", "--chain-id", chain_id, "--registrar-threshold", &threshold.to_string()])
        .args(registrars.iter().flat_map(|registrar| ["--registrar", registrar]))
        .arg("--home")
        .arg(app)
        .capture()
        .map(drop)
}

/// The ledger's part of the genesis in the home of an application.
pub fn genesis_file(app: &Path) -> PathBuf {
    app.join("config/app_genesis.json")
}

/// Makes a key among those in [`client_home`]; returns its address.
pub fn add_key(places: &Places, home: &Path, name: &str) -> Result<String, Failure> {
    let answer = Program::new(places.built("careledgerd"))
        .args(["keys", "add", name, "--output", "json", "--home"])
        .arg(client_home(home))
        .arg("--passphrase-file")
        .arg(passphrase_file(home))
        .capture()?;
    let key: Value =
        serde_json::from_str(&answer).map_err(|error| Failure::Check(format!("`careledgerd keys add`: {error}")))?;
    match key["address"].as_str() {
        Some(address) => Ok(address.to_owned()),
        None => Err(Failure::Check("`careledgerd keys add` told no address".into())),
    }
}

fn random_passphrase() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    let source = "/dev/urandom";
    File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).doing(|| format!("reading {source}"))?;
    Ok(hex::encode(bytes))
}

/// Copies a folder: a rename cannot cross from one volume to another.
pub fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    places::make_folder(to)?;
    for entry in fs::read_dir(from).doing(|| format!("reading {}", from.display()))? {
        let entry = entry.doing(|| format!("reading {}", from.display()))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).doing(|| format!("writing {}", target.display()))?;
        }
    }
    Ok(())
}

/// Writes addresses, peers and settings of every node; to be repeated when the ports change.
pub fn configure(places: &Places, home: &Path, record: &Record) -> Result<(), Failure> {
    let peers = peers(places, home, record)?;
    for index in 0..record.manifest.validators {
        let file = node_home(home, index).join("config/config.toml");
        let others = peers.iter().enumerate().filter(|(other, _)| *other != index);
        let others: Vec<_> = others.map(|(_, peer)| peer.as_str()).collect();
        let mut configuration = places::read(&file)?;
        for (key, value) in filled_in(home, record, index, &others.join(","))? {
            configuration = settings::set(&configuration, key, &value.into())?;
        }
        for (key, value) in &record.manifest.settings {
            configuration = settings::set(&configuration, key, value)?;
        }
        places::write(&file, &configuration)?;
    }
    Ok(())
}

/// How the validators are found: `id@host:port` of each.
pub fn peers(places: &Places, home: &Path, record: &Record) -> Result<Vec<String>, Failure> {
    let program = node_program(places, record.node);
    let peer = |index| {
        let id = Program::new(&program).args(["show-node-id", "--home"]).arg(node_home(home, index)).capture()?;
        Ok(format!("{}@{}", id.trim(), record.p2p_address(index)))
    };
    (0..record.manifest.validators).map(peer).collect()
}

fn filled_in(home: &Path, record: &Record, index: usize, peers: &str) -> Result<[(&'static str, String); 5], Failure> {
    let indexed = record.manifest.indexed_validators.contains(&index);
    Ok([
        ("proxy_app", record.abci_address(home, index)?),
        ("rpc.laddr", record.rpc_listen(index)),
        // The generated configuration listens on every interface.
        ("p2p.laddr", record.p2p_listen(index)),
        ("p2p.persistent_peers", peers.to_owned()),
        ("tx_index.indexer", if indexed { "kv" } else { "null" }.into()),
    ])
}

/// Makes keys and configurations of the gateways. Each has a validator of its own, so that one may fail.
pub fn gateways(places: &Places, home: &Path, record: &Record) -> Result<(), Failure> {
    gateways::create(places, home)?;
    gateways::configure(home, &record.endpoints(), &ledgers(record), TOKEN_SECONDS)
}

/// The validator that each gateway asks.
pub fn ledgers(record: &Record) -> [Ledger; GATEWAYS] {
    std::array::from_fn(|index| Ledger::Comet { rpc: record.node_address(index % record.manifest.validators) })
}

/// The processes of the validators.
pub fn plan(places: &Places, home: &Path, record: &Record) -> Result<Plan, Failure> {
    let mut processes = Vec::new();
    for index in 0..record.manifest.validators {
        if let Some((program, arguments)) = application(places, home, record, index)? {
            processes.push(Process {
                name: format!("{}-app", group(index)),
                group: group(index),
                stage: Stage::Application,
                program,
                arguments,
                socket: Some(record.abci_socket(home, index)?),
                waits_for: None,
            });
        }
        processes.push(Process {
            name: format!("{}-node", group(index)),
            group: group(index),
            stage: Stage::Node,
            program: node_program(places, record.node),
            arguments: node_arguments(record.node, home, index),
            socket: None,
            waits_for: None,
        });
    }
    Ok(Plan { first_port: record.first_port, processes })
}

/// The application's command line, where it has a process of its own.
fn application(
    places: &Places,
    home: &Path,
    record: &Record,
    index: usize,
) -> Result<Option<(PathBuf, Vec<String>)>, Failure> {
    let address = record.abci_address(home, index)?;
    let folder = app_home(home, index).display().to_string();
    let (program, arguments) = match record.app {
        App::Kvstore => return Ok(None),
        App::Careledger => (places.built("careledgerd"), ["start", "--home", &folder, "--abci", &address]),
        App::SocketKvstore => {
            (places.target.join("cometbft/abci-cli"), ["kvstore", "--persist", &folder, "--address", &address])
        }
    };
    Ok(Some((program, arguments.map(str::to_owned).into())))
}

/// A node's command line. All validators of a localnet are peers of each other.
fn node_arguments(node: NodeKind, home: &Path, index: usize) -> Vec<String> {
    let folder = node_home(home, index).display().to_string();
    let own: &[&str] = match node {
        NodeKind::Careledger => &["--pass-on-after", PASS_ON_AFTER_BLOCKS],
        NodeKind::Stock => &[],
    };
    ["start", "--home", &folder].iter().chain(own).map(|word| (*word).to_owned()).collect()
}

/// The executable of a node program.
pub fn node_program(places: &Places, node: NodeKind) -> PathBuf {
    places.target.join("cometbft").join(match node {
        NodeKind::Careledger => "careledger-node",
        NodeKind::Stock => "cometbft",
    })
}

/// The folder of the node of validator `index`.
pub fn node_home(home: &Path, index: usize) -> PathBuf {
    validator_home(home, index).join("node")
}

/// The folder of its application.
pub fn app_home(home: &Path, index: usize) -> PathBuf {
    validator_home(home, index).join("app")
}
