//! `careledgerd`: the ledger's daemon, and the wallet and tool of whoever uses it.

mod cli;

use std::process::ExitCode;

/// A block makes and drops some hundred small values for each of its transactions, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
