//! `careledger-gateway`: the program. Everything is in the library; see `cli`.

use std::process::ExitCode;

/// Decoding makes many small values that live as long as one request: see ADR 26.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    careledger_gateway::cli::run()
}
