//! `careledger-gateway`: the program. Everything is in the library; see `cli`.

use std::process::ExitCode;

/// Who answers works in bursts, beside databases that keep much.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    careledger_gateway::cli::run()
}
