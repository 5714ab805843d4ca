//! The ledger as an ABCI 2.0 application of CometBFT 0.38: the only module that names its types.
//!
//! It translates and guards; what a transaction does is [`crate::machine`]'s. Every guard here
//! stands for a way in which CometBFT stops: see docs/careledgerd.md.

pub mod frame;
pub mod server;
mod state_sync;

use std::{
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
        types::{BlockParams, ConsensusParams, EvidenceParams, VersionParams},
    },
};

use crate::{
    fault,
    limits::BLOCK_BYTES_MAX,
    machine::{Block, CheckKind, Machine, Outcome, Prove},
    reject::CODESPACE,
    snapshot::Restore,
    store::Store,
};

/// Version of the rules. Raised by every change that another validator would notice.
pub const APP_VERSION: u64 = 1;

/// What a proposed block is beside its transactions: header, evidence and the last commit of a
/// hundred validators.
const BLOCK_OVERHEAD_BYTES: usize = 64 * 1024;
/// Largest block that the network agrees on, all of it.
const CONSENSUS_BLOCK_BYTES_MAX: i64 = (BLOCK_BYTES_MAX + BLOCK_OVERHEAD_BYTES) as i64;

const _: () =
    assert!(BLOCK_BYTES_MAX + 2 * BLOCK_OVERHEAD_BYTES <= frame::FRAME_BYTES_MAX, "a whole block must fit a frame");

/// The application that CometBFT's four connections share.
///
/// CheckTx, queries and proposals read side by side; FinalizeBlock and Commit write alone.
pub struct Ledger<S> {
    machine: Arc<RwLock<Machine<S>>>,
    /// Blocks that CometBFT keeps; 0 for all.
    retain_blocks: u64,
    /// The snapshot from which this node joins, while it comes.
    joining: Arc<Mutex<Option<Restore>>>,
}

impl<S> Clone for Ledger<S> {
    fn clone(&self) -> Self {
        Self {
            machine: Arc::clone(&self.machine),
            retain_blocks: self.retain_blocks,
            joining: Arc::clone(&self.joining),
        }
    }
}

impl<S: Store> Ledger<S> {
    /// Serves `machine`. CometBFT may forget blocks older than `retain_blocks` (0: none).
    pub fn new(machine: Machine<S>, retain_blocks: u64) -> Self {
        Self { machine: Arc::new(RwLock::new(machine)), retain_blocks, joining: Arc::default() }
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
        let height = machine.height();
        // From here CometBFT replays what the state does not have, without a word of ours.
        tracing::info!(height, "CometBFT was told the height of the state");
        ResponseInfo {
            data: CODESPACE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            app_version: APP_VERSION,
            last_block_height: signed(height),
            // Before the first block there is none; CometBFT sends InitChain then.
            last_block_app_hash: if height == 0 { Vec::new().into() } else { machine.app_hash().to_vec().into() },
        }
    }

    fn init_chain(&self, request: RequestInitChain) -> ResponseInitChain {
        if request.initial_height > 1 {
            fault::stop("reading the genesis file", "initial_height must be 1");
        }
        let time = seconds(request.time.as_ref());
        let genesis = self.write().init_chain(&request.chain_id, &request.app_state_bytes, time);
        let app_hash = genesis.unwrap_or_else(|error| fault::stop("reading the genesis file", error));
        ResponseInitChain {
            consensus_params: Some(consensus_params(&request.consensus_params.unwrap_or_default())),
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
        let chosen = self.read().prepare(waiting, bytes_max, height, time);
        ResponsePrepareProposal { txs: within(chosen, bytes_max).into_iter().map(Into::into).collect() }
    }

    fn process_proposal(&self, request: RequestProcessProposal) -> ResponseProcessProposal {
        let (height, time) = (unsigned(request.height), seconds(request.time.as_ref()));
        let transactions: Vec<Vec<u8>> = request.txs.iter().map(|bytes| bytes.to_vec()).collect();
        let status = match self.read().process(&transactions, height, time) {
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
        let count = block.transactions.len();
        let finalized = machine.finalize(&block);
        // CometBFT goes on with fewer results than transactions, and halts without a word.
        assert_eq!(finalized.outcomes.len(), count, "every transaction has an outcome");
        ResponseFinalizeBlock {
            tx_results: finalized.outcomes.into_iter().map(result).collect(),
            app_hash: finalized.app_hash.to_vec().into(),
            ..ResponseFinalizeBlock::default()
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
        state_sync::offer(&self.read(), &mut joining, request)
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

/// The consensus parameters of the genesis file within what this ledger can bear.
fn consensus_params(genesis: &ConsensusParams) -> ConsensusParams {
    let asked = genesis.block.map_or(0, |block| block.max_bytes);
    let max_bytes = if (1..=CONSENSUS_BLOCK_BYTES_MAX).contains(&asked) { asked } else { CONSENSUS_BLOCK_BYTES_MAX };
    // Work is bounded by limits and quotas; there is no gas.
    let block = Some(BlockParams { max_bytes, max_gas: -1 });
    // CometBFT refuses evidence that may be larger than a block.
    let evidence =
        genesis.evidence.map(|evidence| EvidenceParams { max_bytes: evidence.max_bytes.min(max_bytes), ..evidence });
    // Where it is missing, headers carry version 0, and nodes refuse to join from a snapshot.
    let version = Some(VersionParams { app: APP_VERSION });
    ConsensusParams { block, evidence, version, ..ConsensusParams::default() }
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

fn result(outcome: Outcome) -> ExecTxResult {
    let events = outcome.events.into_iter().map(|event| Event {
        r#type: event.kind,
        attributes: event
            .attributes
            .into_iter()
            .map(|(key, value)| EventAttribute { key, value, index: true })
            .collect(),
    });
    ExecTxResult {
        events: events.collect(),
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
