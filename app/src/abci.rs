//! The ledger as an ABCI 2.0 application of CometBFT 0.38: the only module that names its types.
//!
//! It translates and guards; what a transaction does is [`crate::machine`]'s. Every guard here
//! stands for a way in which CometBFT stops: see docs/careledgerd.md.

mod consensus;
pub mod frame;
pub mod genesis_file;
pub mod server;
mod state_sync;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{SystemTime, UNIX_EPOCH},
};

pub use tendermint_abci::Application;
use tendermint_proto::{
    google::protobuf::Timestamp,
    v0_38::{
        abci::{
            CheckTxType, Event, EventAttribute, ExecTxResult, RequestApplySnapshotChunk, RequestCheckTx,
            RequestFinalizeBlock, RequestInfo, RequestInitChain, RequestLoadSnapshotChunk, RequestOfferSnapshot,
            RequestPrepareProposal, RequestProcessProposal, RequestQuery, ResponseApplySnapshotChunk, ResponseCheckTx,
            ResponseCommit, ResponseFinalizeBlock, ResponseInfo, ResponseInitChain, ResponseListSnapshots,
            ResponseLoadSnapshotChunk, ResponseOfferSnapshot, ResponsePrepareProposal, ResponseProcessProposal,
            ResponseQuery, response_process_proposal::ProposalStatus,
        },
        crypto::{ProofOp, ProofOps},
    },
};

use crate::{
    fault,
    genesis::{self, GenesisError},
    limits::BLOCK_BYTES_MAX,
    machine::{self, Block, CheckKind, Machine, Outcome, Prove},
    reject::CODESPACE,
    snapshot::{JOIN_BYTES_MAX, Restore},
    store::Store,
};

const _: () = assert!(
    BLOCK_BYTES_MAX + 2 * consensus::BLOCK_OVERHEAD_BYTES <= frame::FRAME_BYTES_MAX,
    "a whole block must fit a frame"
);

/// Name of the file with an export that a genesis file names and does not hold.
pub const EXPORT_FILE: &str = "export.json";

/// The application that CometBFT's four connections share.
///
/// CheckTx, queries and proposals read side by side; FinalizeBlock and Commit write alone.
pub struct Ledger<S> {
    machine: Arc<RwLock<Machine<S>>>,
    /// Blocks that CometBFT keeps; 0 for all.
    retain_blocks: u64,
    /// The snapshot from which this node joins, while it comes.
    joining: Arc<Mutex<Option<Restore>>>,
    /// Most bytes of state that this node joins.
    join_bytes_max: u64,
    /// Where an export is that the genesis file names and does not hold.
    export: Arc<Path>,
}

impl<S> Clone for Ledger<S> {
    fn clone(&self) -> Self {
        Self {
            machine: Arc::clone(&self.machine),
            retain_blocks: self.retain_blocks,
            joining: Arc::clone(&self.joining),
            join_bytes_max: self.join_bytes_max,
            export: Arc::clone(&self.export),
        }
    }
}

impl<S: Store> Ledger<S> {
    /// Serves `machine`. CometBFT may forget blocks older than `retain_blocks` (0: none).
    pub fn new(machine: Machine<S>, retain_blocks: u64) -> Self {
        let export = Path::new(EXPORT_FILE).into();
        let (machine, joining) = (Arc::new(RwLock::new(machine)), Arc::default());
        Self { machine, retain_blocks, joining, join_bytes_max: JOIN_BYTES_MAX, export }
    }

    /// Joins no state of more bytes, counted as [`JOIN_BYTES_MAX`] is.
    #[must_use]
    pub fn with_join_bytes_max(self, join_bytes_max: u64) -> Self {
        Self { join_bytes_max, ..self }
    }

    /// Where an export is that the genesis file names and does not hold.
    #[must_use]
    pub fn with_export(self, file: &Path) -> Self {
        Self { export: file.into(), ..self }
    }

    fn read(&self) -> RwLockReadGuard<'_, Machine<S>> {
        self.machine.read().unwrap_or_else(poisoned)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Machine<S>> {
        self.machine.write().unwrap_or_else(poisoned)
    }
}

impl<S: Store + 'static> Application for Ledger<S> {
    fn info(&self, _request: RequestInfo) -> ResponseInfo {
        let machine = self.read();
        // Before the chain's first block there is none, also where an earlier chain had some: CometBFT sends
        // InitChain then.
        let height = if machine.has_blocks() { machine.height() } else { 0 };
        // From here CometBFT replays what the state does not have, without a word of ours.
        tracing::info!(height, "CometBFT was told the height of the state");
        ResponseInfo {
            data: CODESPACE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // The format of the state, which is also in every header: state sync compares them.
            app_version: machine.state_version().into(),
            last_block_height: signed(height),
            last_block_app_hash: if height == 0 { Vec::new().into() } else { machine.app_hash().to_vec().into() },
        }
    }

    fn init_chain(&self, request: RequestInitChain) -> ResponseInitChain {
        let time = seconds(request.time.as_ref());
        let given = request.consensus_params.as_ref();
        let consensus = consensus::consensus(given, &request.validators, request.initial_height);
        let consensus = consensus.unwrap_or_else(|error| fault::stop("reading the genesis file", error));
        let mut machine = self.write();
        if machine.has_blocks() {
            fault::stop("reading the genesis file", GenesisError::Started);
        }
        let beside = genesis_file::reading(&self.export);
        let first = genesis::first_state(&request.app_state_bytes, &request.chain_id, time, &consensus, beside);
        let first = first.unwrap_or_else(|error| fault::stop("reading the genesis file", error));
        let app_hash = machine.begin(&request.chain_id, time, &consensus, first);
        let version = machine.state_version();
        ResponseInitChain {
            consensus_params: given.map(|given| consensus::genesis_parameters(given, version)),
            // None: those of the genesis file.
            validators: Vec::new(),
            app_hash: app_hash.to_vec().into(),
        }
    }

    fn check_tx(&self, request: RequestCheckTx) -> ResponseCheckTx {
        let kind = match request.r#type() {
            CheckTxType::New => CheckKind::New,
            CheckTxType::Recheck => CheckKind::Recheck,
        };
        let machine = self.read();
        if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
            machine.observe_clock(now.as_secs().cast_signed());
        }
        let outcome = machine.check(&request.tx, kind);
        ResponseCheckTx {
            code: outcome.code,
            log: outcome.log,
            gas_wanted: signed(outcome.gas_used),
            gas_used: signed(outcome.gas_used),
            codespace: codespace(outcome.code),
            ..ResponseCheckTx::default()
        }
    }

    fn prepare_proposal(&self, request: RequestPrepareProposal) -> ResponsePrepareProposal {
        let bytes_max = usize::try_from(request.max_tx_bytes).unwrap_or(0);
        let (height, time) = (unsigned(request.height), seconds(request.time.as_ref()));
        let waiting = request.txs.iter().map(|bytes| bytes.to_vec()).collect();
        let machine = self.read();
        stop_before_unknown_upgrade(&machine, height);
        let chosen = machine.prepare(waiting, bytes_max, height, time);
        ResponsePrepareProposal { txs: within(chosen, bytes_max).into_iter().map(Into::into).collect() }
    }

    fn process_proposal(&self, request: RequestProcessProposal) -> ResponseProcessProposal {
        let (height, time) = (unsigned(request.height), seconds(request.time.as_ref()));
        let transactions: Vec<Vec<u8>> = request.txs.iter().map(|bytes| bytes.to_vec()).collect();
        let machine = self.read();
        stop_before_unknown_upgrade(&machine, height);
        let status = match machine.process(&transactions, height, time) {
            Ok(()) => ProposalStatus::Accept,
            Err(reject) => {
                tracing::warn!(height, %reject, "a proposed block is refused");
                ProposalStatus::Reject
            }
        };
        ResponseProcessProposal { status: status.into() }
    }

    fn finalize_block(&self, request: RequestFinalizeBlock) -> ResponseFinalizeBlock {
        let block = Block {
            height: unsigned(request.height),
            time: seconds(request.time.as_ref()),
            transactions: request.txs.iter().map(|bytes| bytes.to_vec()).collect(),
        };
        let mut machine = self.write();
        let expected = machine.height() + 1;
        if block.height != expected {
            let found = block.height;
            fault::stop("executing a block", format!("expected height {expected}, was given {found}"));
        }
        stop_before_unknown_upgrade(&machine, block.height);
        let count = block.transactions.len();
        let evidence: Vec<_> = request.misbehavior.iter().filter_map(consensus::misbehavior).collect();
        let finalized = machine.finalize_under(&block, &evidence);
        // CometBFT goes on with fewer results than transactions, and halts without a word.
        assert_eq!(finalized.outcomes.len(), count, "every transaction has an outcome");
        let (validator_updates, consensus_param_updates) = consensus::answer(finalized.updates);
        ResponseFinalizeBlock {
            tx_results: finalized.outcomes.into_iter().map(result).collect(),
            validator_updates,
            consensus_param_updates,
            app_hash: finalized.app_hash.to_vec().into(),
            events: finalized.events.into_iter().map(event).collect(),
        }
    }

    fn commit(&self) -> ResponseCommit {
        let mut machine = self.write();
        machine.commit();
        let retain_height = match self.retain_blocks {
            0 => 0,
            blocks => machine.height().saturating_sub(blocks),
        };
        ResponseCommit { retain_height: signed(retain_height) }
    }

    fn list_snapshots(&self) -> ResponseListSnapshots {
        state_sync::list(&self.read())
    }

    fn load_snapshot_chunk(&self, request: RequestLoadSnapshotChunk) -> ResponseLoadSnapshotChunk {
        state_sync::load(&self.read(), &request)
    }

    fn offer_snapshot(&self, request: RequestOfferSnapshot) -> ResponseOfferSnapshot {
        let mut joining = self.joining.lock().unwrap_or_else(poisoned);
        state_sync::offer(&self.read(), &mut joining, self.join_bytes_max, request)
    }

    fn apply_snapshot_chunk(&self, request: RequestApplySnapshotChunk) -> ResponseApplySnapshotChunk {
        let mut joining = self.joining.lock().unwrap_or_else(poisoned);
        state_sync::apply(&mut self.write(), &mut joining, request)
    }

    fn query(&self, request: RequestQuery) -> ResponseQuery {
        let prove = if request.prove { Prove::Yes } else { Prove::No };
        let answer = self.read().query(&request.path, &request.data, unsigned(request.height), prove);
        let proof = answer.proof.map(|operation| ProofOps {
            ops: vec![ProofOp { r#type: operation.kind, key: operation.key, data: operation.data }],
        });
        ResponseQuery {
            code: answer.code,
            log: answer.log,
            key: answer.key.into(),
            value: answer.value.into(),
            proof_ops: proof,
            height: signed(answer.height),
            codespace: codespace(answer.code),
            ..ResponseQuery::default()
        }
    }
}

/// The first transactions that fit, each counted with its framing in a block.
fn within(mut transactions: Vec<Vec<u8>>, bytes_max: usize) -> Vec<Vec<u8>> {
    let mut total = 0usize;
    let fit = transactions.iter().take_while(|transaction| {
        total += 1 + prost::length_delimiter_len(transaction.len()) + transaction.len();
        total <= bytes_max
    });
    let fit = fit.count();
    transactions.truncate(fit);
    transactions
}

/// The new program goes on here; this one must not guess its rules.
fn stop_before_unknown_upgrade<S: Store>(machine: &Machine<S>, height: u64) {
    if let Some(upgrade) = machine.halts_before(height) {
        fault::stop_for_upgrade(&upgrade);
    }
}

fn event(event: machine::Event) -> Event {
    let attributes = event.attributes.into_iter().map(|(key, value)| EventAttribute { key, value, index: true });
    Event { r#type: event.kind, attributes: attributes.collect() }
}

fn result(outcome: Outcome) -> ExecTxResult {
    ExecTxResult {
        events: outcome.events.into_iter().map(event).collect(),
        code: outcome.code,
        data: outcome.data.into(),
        log: outcome.log,
        gas_wanted: signed(outcome.gas_used),
        gas_used: signed(outcome.gas_used),
        codespace: codespace(outcome.code),
        ..ExecTxResult::default()
    }
}

fn codespace(code: u32) -> String {
    if code == 0 { String::new() } else { CODESPACE.to_owned() }
}

fn seconds(time: Option<&Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds)
}

/// Heights and gas are positive on both sides.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn poisoned<T>(_: PoisonError<T>) -> T {
    panic!("the ledger stopped after a fault")
}
