//! `genesis`: CometBFT's genesis file, checked, or made from an exported state.

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use careledger_app::abci::{
    EXPORT_FILE,
    genesis_file::{self, APP_STATE_BYTES_MAX, Checked, read_export, reading},
};
use careledger_wire::ids::ValidatorKey;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure, Format, Home, Result,
    node::{export_in, write_new},
    parse::UnixTime,
};

/// Check a genesis file of CometBFT, or make one of a chain that continues another.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd genesis check genesis.json
  careledgerd genesis from-export state.json --chain-id careledger-2 --out genesis.json")]
pub struct Genesis {
    #[command(flatten)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what the chain of a genesis file begins with, or why it cannot begin.
    Check(Check),
    /// Make the genesis file of a new chain that continues with an exported state.
    FromExport(FromExport),
}

/// Say what the chain of a genesis file begins with, or why it cannot begin.
///
/// Does what every validator does with the file before the first block. All operators of a new chain must
/// see the same app hash. Where the genesis file names an exported state and does not hold it, that is read from where
/// `careledgerd start` reads it, config/export.json of the home folder, or from --export, and held against what the genesis
/// file says of it; `export` says which file it was.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd genesis check /var/lib/cometbft/config/genesis.json --home /var/lib/careledger
  careledgerd genesis check genesis.json --export state.json")]
struct Check {
    #[command(flatten)]
    home: Home,
    /// CometBFT's genesis.json.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The export that the genesis file names, where it is not in it [default: config/export.json of the home folder].
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

/// Make the genesis file of a new chain that continues with an exported state.
///
/// The new chain has another id, so that nothing signed for the earlier one counts on it, and begins at the
/// height after the exported one, so that heights in the state keep their meaning. Everything else of the state
/// stays as it was, but for the power of validators where --validator is given. The pairs must have the root
/// that the export names: compare it with the app hash in the earlier chain's next header.
///
/// CometBFT gives the application a genesis of 63 MiB at most, some 300,000 records. Of a larger state the genesis
/// file holds chain, height, time and app hash alone. Then every validator puts the export, unchanged, into its home
/// folder as config/export.json before it starts, and keeps it as long as anybody may replay the chain from its start.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd export --home /var/lib/careledger > state.json
  careledgerd genesis from-export state.json --chain-id careledger-2 --out genesis.json
  careledgerd genesis from-export state.json --chain-id careledger-2 --out genesis.json \\
      --genesis-time 2027-01-31T12:00:00Z --validator 10:9f3a… --validator 10:41bc…")]
struct FromExport {
    /// What `careledgerd export` printed.
    #[arg(value_name = "FILE")]
    export: PathBuf,
    /// Id of the new chain.
    #[arg(long)]
    chain_id: String,
    /// The file to make; one that is there and differs is left alone.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// When the new chain begins, not before the exported state's time [default: that time].
    #[arg(long, value_name = "TIME")]
    genesis_time: Option<UnixTime>,
    /// Leave the state out of the genesis file, also where it fits.
    #[arg(long)]
    beside: bool,
    /// A validator of the new chain, its power and its Ed25519 public key in hexadecimal; repeat for
    /// several [default: those that have power in the state].
    #[arg(long = "validator", value_name = "POWER:KEY")]
    validators: Vec<ValidatorArgument>,
}

/// `POWER:KEY`, the power decimal, the key hexadecimal.
#[derive(Debug, Clone, Copy)]
struct ValidatorArgument(ValidatorKey, u64);

impl FromStr for ValidatorArgument {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (power, key) = text.split_once(':').ok_or("expected POWER:KEY")?;
        let key = key.parse().map_err(|error| format!("`{key}`: {error}"))?;
        let power = power.parse().map_err(|_| format!("`{power}` is no power: expected a number"))?;
        Ok(Self(key, power))
    }
}

impl Genesis {
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Check(check) => {
                let refused = |error: String| Failure::new(format!("{}: {error}", check.file.display()));
                let file = fs::read_to_string(&check.file).map_err(|error: io::Error| refused(error.to_string()))?;
                let export = check.export.unwrap_or_else(|| export_in(&check.home.path()));
                let checked = genesis_file::check(&file, reading(&export)).map_err(|error| {
                    refused(error).next(
                        "--export names the file with the exported state, where the genesis file does not hold it; \
                         --home, the home whose config/export.json it is",
                    )
                })?;
                self.format.print(&told(&check.file, &export, checked));
            }
            Command::FromExport(from) => {
                let (file, checked) = from.file()?;
                write_new(&from.out, &file)?;
                if checked.is_beside {
                    eprintln!(
                        "note: the genesis file only names the state. Every validator puts {} into its home folder as \
                         config/{EXPORT_FILE}",
                        from.export.display()
                    );
                }
                self.format.print(&told(&from.out, &from.export, checked));
            }
        }
        Ok(())
    }
}

impl FromExport {
    /// The genesis file, and what it begins.
    fn file(&self) -> Result<(String, Checked)> {
        let exported = read_export(&self.export).map_err(refused)?;
        exported.check().map_err(|error| refused(format!("{}: {error}", self.export.display())))?;
        let time = self.genesis_time.map_or(exported.origin.time, |time| time.0);
        let validators: Vec<(ValidatorKey, u64)> =
            self.validators.iter().map(|ValidatorArgument(key, power)| (*key, *power)).collect();
        let bytes_max = if self.beside { 0 } else { APP_STATE_BYTES_MAX };
        genesis_file::continuing(exported, &self.chain_id, time, &validators, bytes_max).map_err(Failure::new)
    }
}

fn refused(reason: String) -> Failure {
    Failure::new(reason).next("export the state again, from a validator that works; an export is never edited")
}

/// What was begun; `export` is the file that was read where the state is in one of its own.
fn told(path: &Path, export: &Path, checked: Checked) -> serde_json::Value {
    let (from_chain, from_height, from_hash) = match checked.continues {
        Some(from) => (Some(from.chain_id), Some(from.height), Some(from.app_hash)),
        None => (None, None, None),
    };
    json!({
        "genesis": path,
        "chain_id": checked.chain_id,
        "initial_height": checked.initial_height,
        "app_hash": hex::encode(checked.app_hash),
        "validators": checked.validators,
        "continues_chain_id": from_chain,
        "continues_height": from_height,
        "continues_app_hash": from_hash,
        "state": if checked.is_beside { "beside the genesis file" } else { "in the genesis file" },
        "export": checked.is_beside.then_some(export),
    })
}
