//! The state machine: one object that CometBFT, through `abci`, and the gateway's embedded ledger
//! drive alike.
//!
//! FinalizeBlock computes and [`Machine::commit`] keeps. What [`Machine::prepare`] or
//! [`Machine::process`] computed for a proposal is reused when exactly that block is decided.

mod authentication;
mod execution;
mod fairness;
mod once;
mod quotas;
mod reading;
mod work;

use careledger_wire::{proto::state::Quotas, transaction::hash};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

pub use crate::types::{Block, CheckKind, Event, Finalized, Misbehavior, Outcome, ProofOperation, Prove, QueryAnswer};
use crate::{
    accounts, evidence,
    genesis::{self, Consensus, GenesisError, continued::Exported},
    governance,
    limits::{CLOCK_AHEAD_SECONDS_MAX, TX_BYTES_MIN},
    machine::{
        authentication::{SignatureRule, Signatures},
        execution::{Candidate, Delivered, Execution, Trial},
        quotas::{Payer, Waiting},
        reading::{Read, Reading},
        work::Work,
    },
    proofs::ProofVerifier,
    query,
    reject::Reject,
    snapshot::Restored,
    state::{Changes, Overlay},
    store::{ChainMeta, Staged, Store},
    types::BlockContext,
    upgrade::{self, UnknownUpgrade, Upgrade},
};

/// What waits in the mempool.
#[derive(Default)]
struct Pending {
    changes: Changes,
    waiting: Waiting,
}

/// The ledger over its committed state.
pub struct Machine<S> {
    store: S,
    chain: Option<ChainMeta>,
    verifier: ProofVerifier,
    signatures: Signatures,
    reading: Reading,
    /// Those of the committed state.
    quotas: Option<Quotas>,
    /// What the transactions in the mempool would change, for CheckTx. Reset at commit.
    pending: Mutex<Pending>,
    /// What the node's clock said last, Unix seconds. Only CheckTx looks at it.
    clock: Mutex<Option<i64>>,
    /// The proposal that was computed last.
    candidate: Mutex<Option<Candidate>>,
    /// The decided block, until it is committed.
    staged: Option<Staged>,
    /// What this program knows to do at the height of an upgrade.
    upgrades: &'static [Upgrade],
}

impl<S: Store> Machine<S> {
    /// A machine that continues where `store` is.
    pub fn new(store: S) -> Self {
        Self::with_upgrades(store, upgrade::TABLE)
    }

    /// As [`Self::new`], of a program that knows these upgrades.
    pub fn with_upgrades(store: S, upgrades: &'static [Upgrade]) -> Self {
        let chain = store.chain();
        Self {
            quotas: chain.as_ref().and_then(|_| accounts::parameters(&store).quotas),
            chain,
            store,
            verifier: ProofVerifier::default(),
            signatures: Signatures::default(),
            reading: Reading::default(),
            pending: Mutex::default(),
            clock: Mutex::default(),
            candidate: Mutex::default(),
            staged: None,
            upgrades,
        }
    }

    /// Why the block of this height needs another program, if it does.
    pub fn halts_before(&self, height: u64) -> Option<UnknownUpgrade> {
        upgrade::due(self.upgrades, height, &self.store).err()
    }

    /// Format of the committed state, from 1.
    pub fn state_version(&self) -> u32 {
        self.chain.as_ref().map_or(upgrade::NEWEST, |_| governance::state_version(&self.store))
    }

    /// Height of the last committed block; before the first that before the chain's first, which is 0
    /// unless the chain continues another.
    pub fn height(&self) -> u64 {
        self.store.height()
    }

    /// Whether a block of this chain was committed.
    pub fn has_blocks(&self) -> bool {
        !self.store.is_before_first_block()
    }

    /// Root of the state after the last committed block.
    pub fn app_hash(&self) -> [u8; 32] {
        self.store.app_hash()
    }

    /// Time of the last committed block, Unix seconds.
    pub fn time(&self) -> i64 {
        self.store.time()
    }

    /// The chain's id, once there was a genesis.
    pub fn chain_id(&self) -> Option<String> {
        self.chain.as_ref().map(|chain| chain.chain_id.clone())
    }

    /// The committed state.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The committed state, alone.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Writes the first state and gives its root. May come again until a block was committed.
    pub fn init_chain(&mut self, chain_id: &str, app_state: &[u8], time: i64) -> Result<[u8; 32], GenesisError> {
        self.init_chain_under(chain_id, app_state, time, &Consensus::default())
    }

    /// As [`Self::init_chain`], under CometBFT.
    pub fn init_chain_under(
        &mut self,
        chain_id: &str,
        app_state: &[u8],
        time: i64,
        consensus: &Consensus,
    ) -> Result<[u8; 32], GenesisError> {
        if self.has_blocks() {
            return Err(GenesisError::Started);
        }
        let changes = genesis::first_state(app_state, chain_id, time, consensus, Exported::not_beside)?;
        Ok(self.begin(chain_id, time, consensus, changes))
    }

    /// Begins with what [`genesis::first_state`] gave, before any block; gives its root.
    pub fn begin(&mut self, chain_id: &str, time: i64, consensus: &Consensus, changes: Changes) -> [u8; 32] {
        let initial_height = consensus.initial_height.max(1);
        let chain = ChainMeta { chain_id: chain_id.to_owned(), genesis_time: time, initial_height };
        let app_hash = self.store.init(chain.clone(), changes);
        // What held under an earlier chain's id says nothing about this one's.
        self.signatures = Signatures::default();
        self.chain = Some(chain);
        self.forget_uncommitted();
        app_hash
    }

    /// Continues from a state that others gave and whose root validators signed.
    ///
    /// # Panics
    /// When a block was committed already.
    pub fn install(&mut self, restored: Restored) {
        self.store.install(restored);
        self.chain = self.store.chain();
        self.forget_uncommitted();
    }

    /// Tells CheckTx what the node's clock says, Unix seconds. Without it CheckTx lets pass what
    /// may be too far in the future; blocks never look at it.
    pub fn observe_clock(&self, now: i64) {
        *self.clock.lock() = Some(now);
    }

    /// CheckTx: whether a transaction would take effect after those that wait before it. A
    /// recheck only asks whether it may still be in a block: there it gets its code, and what is
    /// costly is tried there alone.
    pub fn check(&self, transaction: &[u8], kind: CheckKind) -> Outcome {
        let Some(execution) = self.execution(self.store.height() + 1, self.store.time(), self.time_max()) else {
            return Outcome::refused(Reject::UnknownAccount, 0);
        };
        let read = self.reading.read(transaction);
        let trial = if kind == CheckKind::New { Trial::Whole } else { Trial::Cheap };
        let mut pending = self.pending.lock();
        let mut state = Overlay::with_changes(&self.store, std::mem::take(&mut pending.changes));
        let payer = read.parties().map(|(_, payer)| Payer::of(payer, &state));
        let has_room = payer.is_none_or(|payer| pending.waiting.has_room(payer, transaction.len()));
        if kind == CheckKind::New && !has_room {
            pending.changes = state.into_all_changes();
            return Outcome::refused(Reject::TooManyWaiting, read.gas());
        }
        let mut tried = Overlay::new(&state);
        let delivered = execution.deliver(&read, SignatureRule::Required, trial, &mut tried);
        let keeps = match (&delivered, kind) {
            (Delivered::NotAuthentic(_), _) | (Delivered::Refused(_), CheckKind::New) => false,
            (Delivered::Refused(_), CheckKind::Recheck) | (Delivered::Executed, _) => true,
        };
        let changes = keeps.then(|| tried.into_changes());
        state.apply(changes.unwrap_or_default());
        pending.changes = state.into_all_changes();
        if let Some(payer) = payer.filter(|_| keeps) {
            pending.waiting.add(payer, transaction.len());
        }
        if matches!(delivered, Delivered::Executed) {
            self.reading.remember(&read);
        }
        match delivered {
            Delivered::Refused(_) if keeps => Outcome { gas_used: read.gas(), ..Outcome::default() },
            delivered => delivered.verdict(&read),
        }
    }

    /// PrepareProposal: of `transactions`, in order, those that may be in a block of at most
    /// `max_bytes`; where they are too many, everyone's turn comes. Transactions that will fail with a
    /// code are kept: their sender gets an answer.
    pub fn prepare(&self, mut transactions: Vec<Vec<u8>>, max_bytes: usize, height: u64, time: i64) -> Vec<Vec<u8>> {
        let Some(execution) = self.execution(height, time, time) else { return Vec::new() };
        let mut block = execution.begin();
        let mut room = max_bytes.min(governance::block_bytes(&self.store));
        let mut kept = Vec::with_capacity(transactions.len());
        let reads = self.reading.read_all(&transactions);
        execution.work_ahead(&reads);
        for place in fairness::order(&reads, room) {
            let (read, bytes) = (&reads[place], transactions[place].len());
            let size = proto_size(bytes);
            if size > room || bytes < TX_BYTES_MIN {
                continue;
            }
            if execution.deliver_in_block(read, &mut block).is_ok() {
                room -= size;
                kept.push(std::mem::take(&mut transactions[place]));
            }
        }
        *self.candidate.lock() = Some(execution.finish(block, &kept));
        kept
    }

    /// ProcessProposal: whether every transaction may be in this block. A transaction that fails
    /// with a code may; one that is malformed, replayed or not signed, or uses again what can be used
    /// once, may not.
    pub fn process(&self, transactions: &[Vec<u8>], height: u64, time: i64) -> Result<(), Reject> {
        if self.candidate.lock().as_ref().is_some_and(|candidate| candidate.is_of(height, time, transactions)) {
            return Ok(());
        }
        if transactions.iter().map(|bytes| proto_size(bytes.len())).sum::<usize>()
            > governance::block_bytes(&self.store)
        {
            return Err(Reject::TooLarge);
        }
        if transactions.iter().any(|bytes| bytes.len() < TX_BYTES_MIN) {
            return Err(Reject::Malformed);
        }
        let execution = self.execution(height, time, time).ok_or(Reject::UnknownAccount)?;
        let reads = self.reading.read_all(transactions);
        if let Some(reject) = reads.iter().find_map(|read| read.transaction().err()) {
            return Err(reject);
        }
        // Every transaction counts here, so a block with too much work is refused before any of it.
        reads.iter().map(|read| read.work()).fold(Work::default(), Work::and).check_block()?;
        execution.work_ahead(&reads);
        let mut block = execution.begin();
        for read in &reads {
            execution.deliver_in_block(read, &mut block)?;
        }
        let candidate = execution.finish(block, transactions);
        self.reading.remember_executed(&reads, &candidate.outcomes);
        *self.candidate.lock() = Some(candidate);
        Ok(())
    }

    /// FinalizeBlock: what a decided block gives. Nothing is kept before [`Self::commit`].
    ///
    /// # Panics
    /// Before genesis, and for another height than the next: this node has lost its place and
    /// must stop.
    pub fn finalize(&mut self, block: &Block) -> Finalized {
        self.finalize_under(block, &[])
    }

    /// As [`Self::finalize`], of a block that carries evidence.
    ///
    /// # Panics
    /// As [`Self::finalize`], and where [`Self::halts_before`] says so.
    pub fn finalize_under(&mut self, block: &Block, evidence: &[Misbehavior]) -> Finalized {
        assert_eq!(block.height, self.store.height() + 1, "a decided block follows the committed one");
        let known = self.candidate.lock().take();
        let known = known.filter(|known| known.is_of(block.height, block.time, &block.transactions));
        let candidate = known.unwrap_or_else(|| self.execute(block));
        let Candidate { changes, outcomes, results, .. } = candidate;
        // A proposal is computed without its evidence, which changes nothing that transactions see.
        let mut state = Overlay::with_changes(&self.store, changes);
        let mut events = evidence::record(evidence, block.height, &mut state);
        let changes = state.into_changes();
        let updates = governance::updates(&self.store, &changes);
        events.extend(execution::block_events(&updates));
        let staged = self.store.stage(block.height, block.time, changes, results);
        let app_hash = staged.app_hash;
        self.staged = Some(staged);
        Finalized { outcomes, app_hash, updates, events }
    }

    /// Commit: keeps what [`Self::finalize`] computed, durably.
    ///
    /// # Panics
    /// When no block was finalized.
    pub fn commit(&mut self) {
        let staged = self.staged.take().expect("a block is finalized before it is committed");
        self.store.commit(staged);
        self.forget_uncommitted();
    }

    /// Query: reads committed state. See [`crate::query`] for the paths.
    pub fn query(&self, path: &str, data: &[u8], height: u64, prove: Prove) -> QueryAnswer {
        if path == query::SIMULATE {
            return query::simulated(data, self.store.height(), |bytes| self.simulate(bytes));
        }
        query::answer(&self.store, path, data, height, prove)
    }

    /// What a transaction would give now. Its signature may be missing: then nothing costly is done
    /// for it, and it is answered with its gas once its account is found. One that is signed and
    /// could be in the next block is tried wholly, as CheckTx would.
    fn simulate(&self, transaction: &[u8]) -> Outcome {
        let Some(execution) = self.execution(self.store.height() + 1, self.store.time(), self.time_max()) else {
            return Outcome::refused(Reject::UnknownAccount, 0);
        };
        let signed = Read::signed(transaction);
        let mut state = Overlay::new(&self.store);
        match execution.deliver(&signed, SignatureRule::Required, Trial::Whole, &mut state) {
            Delivered::NotAuthentic(_) => {}
            delivered => return delivered.outcome(&signed),
        }
        let read = Read::unsigned(transaction);
        execution.deliver(&read, SignatureRule::Waived, Trial::Cheap, &mut state).outcome(&read)
    }

    fn execute(&self, block: &Block) -> Candidate {
        let execution = self.execution(block.height, block.time, block.time).expect("genesis comes before blocks");
        let mut running = execution.begin();
        let reads = self.reading.read_all(&block.transactions);
        execution.work_ahead(&reads);
        for read in reads {
            // The block is decided: what should not be in it still gets its code, as everywhere.
            if let Err(reject) = execution.deliver_in_block(&read, &mut running) {
                running.refuse(&read, reject);
            }
        }
        execution.finish(running, &block.transactions)
    }

    fn execution(&self, height: u64, time: i64, time_max: i64) -> Option<Execution<'_, S>> {
        let chain_id = &self.chain.as_ref()?.chain_id;
        let context = BlockContext { chain_id, height, time, time_max, verifier: &self.verifier };
        let (signatures, upgrades) = (&self.signatures, self.upgrades);
        let quotas = self.quotas;
        Some(Execution { store: &self.store, context, signatures, upgrades, quotas })
    }

    /// Latest time that a block could have which takes a transaction now.
    fn time_max(&self) -> i64 {
        let clock = *self.clock.lock();
        clock.map_or(i64::MAX, |now| now.saturating_add(CLOCK_AHEAD_SECONDS_MAX).max(self.store.time()))
    }

    fn forget_uncommitted(&mut self) {
        let pending = self.pending.get_mut();
        pending.changes.clear();
        pending.waiting.clear();
        *self.candidate.get_mut() = None;
        self.staged = None;
        self.quotas = accounts::parameters(&self.store).quotas;
    }
}

/// Bytes of a transaction within a block's data, as CometBFT counts them: field tag and length too.
fn proto_size(bytes: usize) -> usize {
    1 + prost::length_delimiter_len(bytes) + bytes
}

/// SHA-256 over the hashes of a block's transactions, in order.
fn block_digest(transactions: &[Vec<u8>]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for transaction in transactions {
        hasher.update(hash(transaction).as_bytes());
    }
    hasher.finalize().into()
}
