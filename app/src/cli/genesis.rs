//! `genesis`: CometBFT's genesis file, checked, or made from an exported state.

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use careledger_app::{abci::genesis_file, genesis::continued::Exported};
use careledger_wire::ids::ValidatorKey;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, Format, Result, node::write_new, parse::UnixTime};

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
/// see the same app hash.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  careledgerd genesis check /var/lib/cometbft/config/genesis.json")]
struct Check {
    /// CometBFT's genesis.json.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Make the genesis file of a new chain that continues with an exported state.
///
/// The new chain has another id, so that nothing signed for the earlier one counts on it, and begins at the
/// height after the exported one, so that heights in the state keep their meaning. Everything else of the state
/// stays as it was, but for the power of validators where --validator is given. The pairs must have the root
/// that the export names: compare it with the app hash in the earlier chain's next header.
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
                let file = read(&check.file)?;
                self.format.print(&told(&check.file, &file)?);
            }
            Command::FromExport(from) => {
                let file = from.file()?;
                write_new(&from.out, &file)?;
                self.format.print(&told(&from.out, &file)?);
            }
        }
        Ok(())
    }
}

impl FromExport {
    fn file(&self) -> Result<String> {
        let refused = |reason: String| {
            Failure::new(format!("{}: {reason}", self.export.display()))
                .next("export the state again, from a validator that works; an export is never edited")
        };
        let text = read(&self.export)?;
        let exported = Exported::from_json(text.as_bytes()).map_err(|error| refused(error.to_string()))?;
        exported.state().map_err(|error| refused(error.to_string()))?;
        let time = self.genesis_time.map_or(exported.time, |time| time.0);
        let validators: Vec<(ValidatorKey, u64)> =
            self.validators.iter().map(|ValidatorArgument(key, power)| (*key, *power)).collect();
        genesis_file::continuing(exported, &self.chain_id, time, &validators).map_err(Failure::new)
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error: io::Error| Failure::new(format!("{}: {error}", path.display())))
}

fn told(path: &Path, file: &str) -> Result<serde_json::Value> {
    let checked = genesis_file::check(file).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    let (from_chain, from_height, from_hash) = match checked.continues {
        Some((chain_id, height, app_hash)) => (Some(chain_id), Some(height), Some(app_hash)),
        None => (None, None, None),
    };
    Ok(json!({
        "genesis": path,
        "chain_id": checked.chain_id,
        "initial_height": checked.initial_height,
        "app_hash": hex::encode(checked.app_hash),
        "validators": checked.validators,
        "continues_chain_id": from_chain,
        "continues_height": from_height,
        "continues_app_hash": from_hash,
    }))
}
