//! `careledgerd`: the ledger's daemon, and the wallet and tool of whoever uses it.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
