//! Building what a network or the demo runs.

use std::thread;

use crate::failure::Failure;
use crate::places::{self, Places};
use crate::toolbox::{self, Need};

/// What the first build takes on one core, nearly all of it RocksDB, OpenSSL and arkworks.
const FIRST_BUILD_CORE_MINUTES: usize = 50;

/// Whether programs are built before they are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Built {
    /// What is missing or older than its sources is built.
    Now,
    /// They are taken as they are: the caller has built them.
    Before,
}

/// Builds the stock CometBFT and our node program from the pinned Go module.
pub fn build_nodes(places: &Places) -> Result<(), Failure> {
    let folder = places.target.join("cometbft");
    places::make_folder(&folder)?;
    let is_first = !folder.join("abci-cli").exists();
    let build = toolbox::go(places)?
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o"])
        .arg(folder.join(""))
        .args([
            "./careledger-node",
            "github.com/cometbft/cometbft/cmd/cometbft",
            "github.com/cometbft/cometbft/abci/cmd/abci-cli",
        ])
        .in_folder(&places.cometbft_module());
    if is_first {
        say!("building CometBFT from its Go module: one to three minutes, once");
    }
    build.run()
}

/// What is built and tested: everything, with the prover. One selection for all, so that dependencies are built once.
pub const WHOLE: [&str; 3] = ["--workspace", "--features", "careledger_zk/prover"];

/// Builds the workspace's programs: ledger, gateway, prover.
pub fn build(places: &Places) -> Result<(), Failure> {
    toolbox::provide(&[Need::CompilerAndMake, Need::Libclang])?;
    if !places.built("careledgerd").exists() {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let minutes = FIRST_BUILD_CORE_MINUTES.div_ceil(cores);
        say!("building CareLedger: about {minutes} minutes on {cores} cores, once");
    }
    let profile = ["--profile", places.profile.name()];
    toolbox::cargo_here(places).args(["build", "--locked", "--bins"]).args(profile).args(WHOLE).run()
}
