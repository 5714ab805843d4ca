//! `init` and `start`: what a validator's operator runs.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use careledger_app::{
    abci::{
        EXPORT_FILE, Ledger,
        server::{Address as AbciAddress, Server},
    },
    fault,
    genesis::{Genesis, GenesisQuotas, is_development_chain},
    machine::Machine,
    store::disk::{DiskStore, OpenError, Retention, Schedule},
    upgrade,
};
use careledger_wire::ids::Address;
use careledger_zk::key::VerifyingKey;
use clap::Args;
use serde_json::json;
use tracing_subscriber::EnvFilter;

use super::{Failure, Format, Home, Result, config};

/// Folder of the state within the home folder.
pub const STATE_FOLDER: &str = "state";
/// Folder of the snapshots within the home folder.
pub const SNAPSHOTS_FOLDER: &str = "snapshots";

/// Where a home has the exported state that a genesis file names and does not hold: for `start` and `genesis check`.
pub fn export_in(home: &Path) -> PathBuf {
    home.join("config").join(EXPORT_FILE)
}

/// Make a home folder: configuration and the ledger's part of CometBFT's genesis file.
///
/// Writes config/app.toml and config/app_genesis.json. The latter is the value of `app_state` in
/// CometBFT's genesis.json: every validator must start from the same one. Files that are there
/// already are left alone and reported.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd init --chain-id careledger-dev-1 --registrar care1…
  careledgerd init --chain-id careledger-1 --registrar-threshold 2 --verifying-key 01ab… \\
      --registrar care1… --registrar care1… --registrar care1…")]
pub struct Init {
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    format: Format,
    /// Id of the chain; part of everything that is signed.
    #[arg(long)]
    chain_id: String,
    /// Account that may register organizations; repeat for several.
    #[arg(long = "registrar", value_name = "ADDRESS", required = true)]
    registrars: Vec<Address>,
    /// How many registrars must agree on a registration.
    #[arg(long, default_value_t = 1)]
    registrar_threshold: u32,
    /// Verifying key of the eligibility circuit, hexadecimal; repeat for several. On chains whose
    /// id is `careledger-dev`, or starts with `careledger-dev-`, the insecure development key is used where none is given.
    #[arg(long = "verifying-key", value_name = "HEX")]
    verifying_keys: Vec<String>,
    /// Origin at which passkeys may sign, such as https://portal.example; repeat for several.
    #[arg(long = "webauthn-origin", value_name = "ORIGIN")]
    webauthn_origins: Vec<String>,
    /// Relying party id that passkeys may be of, such as portal.example; repeat for several.
    #[arg(long = "webauthn-rp-id", value_name = "HOST")]
    webauthn_rp_ids: Vec<String>,
}

impl Init {
    pub fn run(self) -> Result<()> {
        let mut verifying_keys = self.verifying_keys;
        if verifying_keys.is_empty() {
            if !is_development_chain(&self.chain_id) {
                return Err(Failure::new("a chain needs a verifying key of the eligibility circuit")
                    .next("pass --verifying-key, or use a chain id that starts with careledger-dev- for a trial"));
            }
            verifying_keys.push(hex::encode(VerifyingKey::development().encode()));
        }
        let genesis = Genesis {
            registrars: self.registrars,
            registrar_threshold: self.registrar_threshold,
            verifying_keys,
            organizations: Vec::new(),
            state_version: upgrade::NEWEST,
            quotas: Some(GenesisQuotas::default()),
            webauthn_origins: self.webauthn_origins,
            webauthn_rp_ids: self.webauthn_rp_ids,
        };
        genesis.changes(&self.chain_id, 0).map_err(Failure::new)?;
        let home = self.home.path();
        let folder = home.join("config");
        fs::create_dir_all(&folder).map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
        let text = serde_json::to_string_pretty(&genesis).expect("addresses and hex strings are JSON");
        write_new(&folder.join("app_genesis.json"), &text)?;
        write_new(&folder.join("app.toml"), config::EXAMPLE)?;
        self.format.print(&json!({
            "chain_id": self.chain_id,
            "home": home,
            "app_state": folder.join("app_genesis.json"),
            "config": folder.join("app.toml"),
        }));
        Ok(())
    }
}

/// Writes a file that is not there; the same content may be.
pub fn write_new(path: &Path, text: &str) -> Result<()> {
    match fs::read_to_string(path) {
        Ok(there) if there == text => Ok(()),
        Ok(_) => Err(Failure::new(format!("{} is there already, and differs", path.display()))
            .next("move it away first, or name another folder with --home")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(path, text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
        }
        Err(error) => Err(Failure::new(format!("{}: {error}", path.display()))),
    }
}

/// Serve the ledger to CometBFT, until it is stopped.
///
/// CometBFT's `proxy_app` names the same address. It may be stopped at any moment, also with
/// SIGKILL: a block is on disk before it is acknowledged. Exit code 74 means that the disk or the
/// state failed; nothing acknowledged is lost. 75: an upgrade is due that this program does not
/// know; install one that does. Run both under a supervisor that always restarts
/// them: CometBFT leaves with code 0 when the ledger stops.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd start --abci unix:///run/careledger/abci.sock
  cometbft node --proxy_app unix:///run/careledger/abci.sock")]
pub struct Start {
    #[command(flatten)]
    home: Home,
    /// Address to serve: unix://PATH or tcp://IP:PORT [default: `abci` of config/app.toml].
    #[arg(long, value_name = "ADDRESS")]
    abci: Option<AbciAddress>,
}

impl Start {
    pub fn run(self) -> Result<()> {
        let home = self.home.path();
        let mut config = config::Config::read(&home)?;
        if let Some(abci) = self.abci {
            config.abci = abci;
        }
        let filter =
            EnvFilter::try_new(&config.log).map_err(|error| Failure::new(format!("app.toml, log: {error}")))?;
        let is_terminal = io::stderr().is_terminal();
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal).with_writer(io::stderr).init();
        tracing::info!(?config, "careledgerd starts");
        let config::RetentionConfig { heights, changes, results_blocks, .. } = config.retention;
        let retention = Retention { heights, changes, results_blocks };
        let state = home.join(STATE_FOLDER);
        let store = DiskStore::open(&state, retention).map_err(|error| {
            let next = advice(&error, &state);
            Failure::new(error).next(next)
        })?;
        let config::SnapshotConfig { interval, keep, join_bytes_max } = config.snapshots;
        let folder = home.join(SNAPSHOTS_FOLDER);
        let store = store
            .with_snapshots(&folder, Schedule { interval, keep })
            .map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
        let machine = Machine::new(store);
        tracing::info!(height = machine.height(), app_hash = hex::encode(machine.app_hash()), "the state is open");
        if let Some(upgrade) = machine.halts_before(machine.height() + 1) {
            // RocksDB's threads that still start would meet the end of the process: a crash with no exit code.
            drop(machine);
            fault::stop_for_upgrade(&upgrade);
        }
        let server = Server::bind(&config.abci).map_err(|error| {
            Failure::new(format!("{}: {error}", config.abci)).next("choose another address with --abci")
        })?;
        if let Some(address) = server.tcp_address() {
            tracing::info!(%address, "serving ABCI");
        } else {
            tracing::info!(address = %config.abci, "serving ABCI");
        }
        let ledger = Ledger::new(machine, config.retention.blocks).with_export(&export_in(&home));
        Err(Failure::new(server.serve(ledger.with_join_bytes_max(join_bytes_max))))
    }
}

/// What an operator does about a state that was not opened.
fn advice(error: &OpenError, state: &Path) -> String {
    match error {
        OpenError::InUse { .. } => {
            "another careledgerd uses this home: stop it first, or name another folder with --home".to_owned()
        }
        OpenError::Corrupt { .. } | OpenError::Damaged | OpenError::Root(_) => format!(
            "docs/RUNBOOK.md, \"The state is damaged\": where CometBFT still has every block, move {} aside and start \
             again, it replays them; else join from a snapshot",
            state.display()
        ),
        OpenError::Format(_) => "start the version that wrote it, or follow its release notes".to_owned(),
        OpenError::Database { .. } => {
            "see that its disk has room, and that this user may write to the folder".to_owned()
        }
    }
}
