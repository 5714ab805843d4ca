//! What a member does on their own device: keep a wallet secret, make
//! pseudonyms, and prove eligibility.

mod eligibility;
mod files;
mod keys;
mod wallet;

use std::{path::PathBuf, process::ExitCode};

use careledger_zk::{field::Element, opening::Account};
use clap::{Parser, Subcommand, ValueEnum};

/// Any failure of a command, told to the user and nothing else.
type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(version, about = "Prove to an insurer that a plan covers you, without telling it why.")]
#[command(after_help = "\
How the pieces meet:
  1. prove secret --out wallet.json                  once; keep it as you keep a house key
  2. prove pid --wallet wallet.json --out pid.json   for each attestation; give the provider the printed pseudonym
  3. prove member --wallet wallet.json --insurer …   give the insurer the printed member number
  4. the provider sends you attestation.json, the insurer enrolment.json and plan.json;
     each anchors what `prove commit` prints, and the ledger tells you both paths
  5. prove eligibility …                             writes proof.careledger.json for the insurer

Every file but the proof is as confidential as a health record.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new wallet secret, in a file that only you can read.
    Secret {
        /// The new file; an existing one is never overwritten.
        #[arg(long)]
        out: PathBuf,
    },
    /// Make a fresh pseudonym for one attestation, and print it for the provider.
    Pid {
        /// Your wallet.
        #[arg(long)]
        wallet: PathBuf,
        /// The new file with the pseudonym and its blinding; keep it for `eligibility`.
        #[arg(long)]
        out: PathBuf,
    },
    /// Print your member number for one insurer.
    Member {
        /// Your wallet.
        #[arg(long)]
        wallet: PathBuf,
        /// The insurer's account: care1…
        #[arg(long)]
        insurer: Account,
    },
    /// Print a random salt, for those who write openings.
    Salt,
    /// Check an opening or a plan, and print the commitment to anchor.
    Commit {
        /// What the file is.
        kind: CommitKind,
        /// The opening or the plan.
        file: PathBuf,
    },
    /// Prove that a plan covers one fact of an attestation.
    Eligibility(Box<eligibility::Eligibility>),
    /// Write the development verifying key, and fill the proving key cache.
    Keys {
        /// Where to write the key, its snarkjs JSON and the circuit's `.r1cs`.
        #[arg(long)]
        out: PathBuf,
        /// Where proving keys are kept. [default: the user's cache folder]
        #[arg(long)]
        cache: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum CommitKind {
    Attestation,
    Enrolment,
    Plan,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("prove: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Secret { out } => wallet::secret(&out),
        Command::Pid { wallet, out } => print(wallet::pseudonym(&wallet, &out)?),
        Command::Member { wallet, insurer } => print(wallet::member_of(&wallet, &insurer)?),
        Command::Salt => print(careledger_zk::prover::random_element()?),
        Command::Commit { kind, file } => print(wallet::commitment(kind, &file)?),
        Command::Eligibility(eligibility) => eligibility.run(),
        Command::Keys { out, cache } => keys::write(&out, cache),
    }
}

fn print(element: Element) -> Result<(), Failure> {
    println!("{element}");
    Ok(())
}
