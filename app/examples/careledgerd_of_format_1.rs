//! The ledger's daemon as one that knows only the first format of the state: for tests of an upgrade that swaps programs.
//!
//! It follows the rules of every format below the first upgrade, as a release from before it did, and stops with
//! exit code 75 where the upgrade is due. It serves what `careledgerd start` serves and takes the same arguments.
//! The migration and the rules after it are not in its table, so nothing in `careledgerd` exists for this test alone.

use std::{env, path::PathBuf, process::ExitCode};

use careledger_app::{
    abci::{Ledger, server::Server},
    fault,
    machine::Machine,
    store::disk::{DiskStore, Retention},
};
use tracing_subscriber::EnvFilter;

/// The value after an option.
fn option(name: &str) -> Result<String, String> {
    let mut words = env::args().skip_while(|word| word != name);
    words.nth(1).ok_or_else(|| format!("{name} is missing: expected start --home FOLDER --abci ADDRESS"))
}

fn serve() -> Result<(), String> {
    let home = PathBuf::from(option("--home")?);
    let address = option("--abci")?.parse()?;
    tracing_subscriber::fmt().with_env_filter(EnvFilter::new("info")).with_ansi(false).init();
    let store = DiskStore::open(&home.join("state"), Retention::default()).map_err(|error| error.to_string())?;
    let machine = Machine::with_upgrades(store, &[]);
    if let Some(upgrade) = machine.halts_before(machine.height() + 1) {
        // RocksDB's threads that still start would meet the end of the process.
        drop(machine);
        fault::stop_for_upgrade(&upgrade);
    }
    let server = Server::bind(&address).map_err(|error| error.to_string())?;
    Err(server.serve(Ledger::new(machine, 0)).to_string())
}

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("error: {what}");
            ExitCode::FAILURE
        }
    }
}
