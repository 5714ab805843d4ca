//! `careledgerd`: the ledger's daemon, and the wallet and tool of whoever uses it.

mod cli;

use std::process::ExitCode;

/// Decoding makes many small values that live as long as one request: see ADR 26.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
