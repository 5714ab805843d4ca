//! The ledger's daemon of a validator that lies: for a test that the others outvote it.
//!
//! It proposes every transaction twice, so that the second uses a sequence, a nullifier or an unordered transaction again,
//! and accepts whatever is proposed. Everything else is what `careledgerd start` does, with the same arguments.

use std::{env, path::PathBuf, process::ExitCode};

use careledger_app::{
    abci::{Application, Ledger, server::Server},
    machine::Machine,
    store::disk::{DiskStore, Retention},
};
use tendermint_proto::v0_38::abci::{
    RequestCheckTx, RequestFinalizeBlock, RequestInfo, RequestInitChain, RequestPrepareProposal,
    RequestProcessProposal, RequestQuery, ResponseCheckTx, ResponseCommit, ResponseFinalizeBlock, ResponseInfo,
    ResponseInitChain, ResponsePrepareProposal, ResponseProcessProposal, ResponseQuery,
    response_process_proposal::ProposalStatus,
};
use tracing_subscriber::EnvFilter;

#[derive(Clone)]
struct Repeating(Ledger<DiskStore>);

impl Application for Repeating {
    fn prepare_proposal(&self, request: RequestPrepareProposal) -> ResponsePrepareProposal {
        let honest = self.0.prepare_proposal(request).txs;
        ResponsePrepareProposal { txs: [honest.clone(), honest].concat() }
    }

    fn process_proposal(&self, _request: RequestProcessProposal) -> ResponseProcessProposal {
        ResponseProcessProposal { status: ProposalStatus::Accept.into() }
    }

    fn info(&self, request: RequestInfo) -> ResponseInfo {
        self.0.info(request)
    }

    fn init_chain(&self, request: RequestInitChain) -> ResponseInitChain {
        self.0.init_chain(request)
    }

    fn check_tx(&self, request: RequestCheckTx) -> ResponseCheckTx {
        self.0.check_tx(request)
    }

    fn finalize_block(&self, request: RequestFinalizeBlock) -> ResponseFinalizeBlock {
        self.0.finalize_block(request)
    }

    fn commit(&self) -> ResponseCommit {
        self.0.commit()
    }

    fn query(&self, request: RequestQuery) -> ResponseQuery {
        self.0.query(request)
    }
}

/// The value after an option.
fn option(name: &str) -> Result<String, String> {
    let mut words = env::args().skip_while(|word| word != name);
    words.nth(1).ok_or_else(|| format!("{name} is missing: expected start --home FOLDER --abci ADDRESS"))
}

fn serve() -> Result<(), String> {
    let home = PathBuf::from(option("--home")?);
    let address = option("--abci")?.parse()?;
    tracing_subscriber::fmt().with_env_filter(EnvFilter::new("info")).with_ansi(false).init();
    let store = DiskStore::open(&home.join("state"), Retention::default()).map_err(|error| error.to_string())?;
    let server = Server::bind(&address).map_err(|error| error.to_string())?;
    Err(server.serve(Repeating(Ledger::new(Machine::new(store), 0))).to_string())
}

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("error: {what}");
            ExitCode::FAILURE
        }
    }
}
