//! `careledger-gateway`: the program. Everything is in the library; see `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    careledger_gateway::cli::run()
}
