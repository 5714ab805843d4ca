//! The ledger in this process: the same state machine as a validator's, with blocks made here as
//! soon as there is something to put into them.
//!
//! One thread makes blocks: it takes every transaction that waits, so while one block is being
//! made durable the next one gathers. A block whose changes alter the app hash is followed by an
//! empty one when nothing else comes, so that its state is sealed by a header, as CometBFT does.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use careledger_app::{
    limits::BLOCK_BYTES_MAX,
    machine::{Block, CheckKind, Machine, Prove, QueryAnswer},
    query,
    state::StateRead as _,
    store::{
        Store as _,
        disk::{DiskStore, Retention},
        tree,
    },
};
use careledger_wire::{
    ids::TransactionHash,
    proto::{
        query::{Pairs, PathRequest, PathResponse, TransactionResult},
        tx::SimulateRequest,
    },
    transaction,
};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use prost::Message as _;
use tokio::sync::oneshot;

use super::{OpenError, Proven, blocks::Blocks, clock, comet::Page, refused, rpc};
use crate::outcome::Refusal;

/// Transactions that may wait for a block.
pub const WAITING_MAX: usize = 20_000;
/// A block waits for more transactions until none came for this long,
const GATHER_QUIET: Duration = Duration::from_micros(300);
/// or until it waited for this long: less than making it durable takes.
const GATHER_LONGEST: Duration = Duration::from_millis(3);
/// How long the ledger waits for a transaction before it seals the newest state with an empty block.
const SEAL_AFTER: Duration = Duration::from_millis(20);

/// What an embedded ledger is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The chain's id.
    pub chain_id: String,
    /// The genesis `app_state`, JSON. Used once, when the ledger is new.
    pub app_state: Vec<u8>,
    /// Where the CometBFT-compatible JSON-RPC listens; port 0 for any free one.
    pub rpc_listen: SocketAddr,
}

/// An embedded ledger. Cheap to clone; the last clone that goes stops it.
#[derive(Debug, Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

/// What the block maker, the RPC and the gateway share.
pub struct Shared {
    machine: RwLock<Machine<DiskStore>>,
    blocks: Blocks,
    chain_id: String,
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Vec<u8>>,
    hashes: HashSet<TransactionHash>,
    answers: HashMap<TransactionHash, Vec<oneshot::Sender<TransactionResult>>>,
    stopped: bool,
}

/// The block maker's thread and the RPC's server; stopped together.
struct Running {
    shared: Weak<Shared>,
    maker: Mutex<Option<JoinHandle<()>>>,
    rpc: rpc::Server,
}

impl Embedded {
    /// Opens the state in `path`, or makes it from the genesis, and starts making blocks.
    pub fn open(path: &Path, settings: &Settings) -> Result<Self, OpenError> {
        let storage = |reason: String| OpenError::Storage { path: path.display().to_string(), reason };
        std::fs::create_dir_all(path).map_err(|error| storage(error.to_string()))?;
        let store =
            DiskStore::open(&path.join("state"), Retention::default()).map_err(|error| storage(error.to_string()))?;
        let mut machine = Machine::new(store);
        if machine.chain_id().is_none() {
            machine
                .init_chain(&settings.chain_id, &settings.app_state, clock())
                .map_err(|error| OpenError::Genesis(error.to_string()))?;
        }
        if machine.chain_id().as_deref() != Some(&settings.chain_id) {
            return Err(OpenError::Genesis("the state on disk belongs to another chain id".to_owned()));
        }
        let blocks = Blocks::open(&path.join("blocks"), &settings.chain_id).map_err(storage)?;
        let shared = Arc::new(Shared {
            machine: RwLock::new(machine),
            blocks,
            chain_id: settings.chain_id.clone(),
            waiting: Mutex::default(),
            wake: Condvar::new(),
        });
        let rpc = rpc::Server::start(settings.rpc_listen, Arc::downgrade(&shared))?;
        let maker = std::thread::Builder::new().name("blocks".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || make_blocks(&shared)
        });
        let maker = maker.map_err(|error| storage(error.to_string()))?;
        let running = Running { shared: Arc::downgrade(&shared), maker: Mutex::new(Some(maker)), rpc };
        Ok(Self { shared, running: Arc::new(running) })
    }

    /// The chain's id.
    pub fn chain_id(&self) -> &str {
        &self.shared.chain_id
    }

    /// Where the RPC listens.
    pub fn rpc_address(&self) -> SocketAddr {
        self.running.rpc.address()
    }

    /// Time of the newest block, of genesis before the first; Unix seconds.
    pub fn time(&self) -> i64 {
        self.shared.machine.read().store().time()
    }

    /// Puts a transaction into a block and waits for it.
    pub async fn deliver(&self, bytes: Vec<u8>, deadline: Duration) -> Result<TransactionResult, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        // Checking waits for the block that is being made, which must not hold up other requests.
        let accepted = tokio::task::spawn_blocking(move || shared.accept(bytes, Some(sender))).await;
        accepted.map_err(|_| Refusal::Internal("the check of a transaction was interrupted"))?.map_err(|denied| {
            match denied {
                Denied::Refused { code, log } => refused(code, &log),
                Denied::Full => Refusal::LedgerUnavailable,
            }
        })?;
        match tokio::time::timeout(deadline, receiver).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) | Err(_) => Err(Refusal::LedgerUnavailable),
        }
    }

    /// The value under a key of the newest state.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.shared.machine.read().store().get_bytes(key)
    }

    /// The value under a key with its proof checked against the newest app hash, which the next
    /// header carries.
    pub fn get_proven(&self, key: &[u8]) -> Result<Proven<Option<Vec<u8>>>, Refusal> {
        let machine = self.shared.machine.read();
        let store = machine.store();
        let height = store.height();
        let proven = store.prove(key, height).ok_or(Refusal::Internal("the newest state has no proofs"))?;
        tree::verify(&store.app_hash(), key, proven.value.as_deref(), &proven.proof)
            .map_err(|_| Refusal::Internal("the state does not match its app hash"))?;
        Ok(Proven { value: proven.value, height })
    }

    /// One page of the pairs below `prefix`, after the key `after`.
    pub fn pairs(&self, prefix: &[u8], after: Option<&[u8]>) -> Result<Page, Refusal> {
        let data = match after {
            None => prefix.to_vec(),
            Some(after) => {
                let length = u16::try_from(prefix.len()).map_err(|_| Refusal::Internal("a prefix is too long"))?;
                [&length.to_be_bytes()[..], prefix, after].concat()
            }
        };
        let answer = self.shared.query(query::SUBSPACE, &data, 0, Prove::No);
        let pairs = answer_of::<Pairs>(&answer)?.unwrap_or_default();
        let next = (!pairs.next.is_empty()).then_some(pairs.next);
        Ok((pairs.pairs.into_iter().map(|pair| (pair.key, pair.value)).collect(), next))
    }

    /// What the ledger would say to a transaction.
    pub fn simulate(&self, tx_bytes: Vec<u8>) -> Result<(), Refusal> {
        let request = SimulateRequest { tx_bytes }.encode_to_vec();
        let answer = self.shared.query(query::SIMULATE, &request, 0, Prove::No);
        if answer.code == 0 { Ok(()) } else { Err(refused(answer.code, &answer.log)) }
    }

    /// The authentication path of an anchored commitment.
    pub fn path(&self, request: &PathRequest) -> Result<Option<PathResponse>, Refusal> {
        answer_of(&self.shared.query(query::PATH, &request.encode_to_vec(), 0, Prove::No))
    }

    /// What became of a transaction.
    pub fn result(&self, hash: &TransactionHash) -> Result<Option<TransactionResult>, Refusal> {
        Ok(self.shared.machine.read().store().result(hash))
    }
}

/// Why a transaction was not taken.
#[derive(Debug)]
pub enum Denied {
    /// The ledger refuses it.
    Refused {
        /// Reject code.
        code: u32,
        /// The refusal in words.
        log: String,
    },
    /// Too many wait.
    Full,
}

impl Shared {
    /// Checks a transaction and queues it; `answer` hears what became of it. One that took effect
    /// or waits already is not queued again.
    pub fn accept(&self, bytes: Vec<u8>, answer: Option<oneshot::Sender<TransactionResult>>) -> Result<(), Denied> {
        let hash = transaction::hash(&bytes);
        let machine = self.machine.read();
        if let Some(result) = machine.store().result(&hash) {
            if let Some(answer) = answer {
                // Who no longer listens needs no answer.
                let _ = answer.send(result);
            }
            return Ok(());
        }
        let is_waiting = self.waiting.lock().hashes.contains(&hash);
        if !is_waiting {
            machine.observe_clock(clock());
            let outcome = machine.check(&bytes, CheckKind::New);
            if outcome.code != 0 {
                return Err(Denied::Refused { code: outcome.code, log: outcome.log });
            }
        }
        let mut waiting = self.waiting.lock();
        if waiting.queue.len() >= WAITING_MAX || waiting.stopped {
            return Err(Denied::Full);
        }
        if waiting.hashes.insert(hash) {
            waiting.queue.push_back(bytes);
        }
        if let Some(answer) = answer {
            waiting.answers.entry(hash).or_default().push(answer);
        }
        // The machine stays locked until here, so that no block can take effect in between.
        drop(machine);
        self.wake.notify_one();
        Ok(())
    }

    /// Asks the state machine.
    pub fn query(&self, path: &str, data: &[u8], height: u64, prove: Prove) -> QueryAnswer {
        self.machine.read().query(path, data, height, prove)
    }

    /// Height and app hash of the newest state.
    pub fn tip(&self) -> (u64, [u8; 32]) {
        let machine = self.machine.read();
        (machine.height(), machine.app_hash())
    }

    /// The blocks.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The chain's id.
    pub fn chain_id(&self) -> &str {
        &self.chain_id
    }

    /// How many transactions wait, and their bytes.
    pub fn waiting(&self) -> (usize, usize) {
        let waiting = self.waiting.lock();
        (waiting.queue.len(), waiting.queue.iter().map(Vec::len).sum())
    }

    /// Makes one block of the transactions that wait; of none, an empty one.
    fn make_block(&self) {
        // Locked first, so that what is checked against the old state is in this block or is
        // reconsidered below.
        let mut machine = self.machine.write();
        let candidates = self.take();
        let height = machine.height() + 1;
        let time = clock().max(machine.store().time());
        let app_hash = machine.app_hash();
        let transactions = machine.prepare(candidates.clone(), BLOCK_BYTES_MAX, height, time);
        let block = Block { height, time, transactions };
        let finalized = machine.finalize(&block);
        self.blocks.keep(&block, &finalized.outcomes, app_hash).unwrap_or_else(|error| {
            // The state must not run ahead of a disk that is full.
            tracing::error!(error, "the embedded ledger cannot keep its blocks; stopping");
            std::process::exit(1)
        });
        machine.commit();
        self.answer(&block, &finalized.outcomes);
        let included: HashSet<TransactionHash> =
            block.transactions.iter().map(|bytes| transaction::hash(bytes)).collect();
        let left_out = candidates.into_iter().filter(|bytes| !included.contains(&transaction::hash(bytes)));
        let waiting = std::mem::take(&mut self.waiting.lock().queue);
        for bytes in left_out.chain(waiting) {
            self.reconsider(&machine, bytes);
        }
    }

    /// The oldest waiting transactions that fit into a block.
    fn take(&self) -> Vec<Vec<u8>> {
        let mut waiting = self.waiting.lock();
        let mut bytes = 0;
        let mut taken = Vec::new();
        while let Some(next) = waiting.queue.front() {
            bytes += next.len();
            if bytes > BLOCK_BYTES_MAX && !taken.is_empty() {
                break;
            }
            taken.extend(waiting.queue.pop_front());
        }
        taken
    }

    fn answer(&self, block: &Block, outcomes: &[careledger_app::machine::Outcome]) {
        let height = i64::try_from(block.height).unwrap_or(i64::MAX);
        for (bytes, outcome) in block.transactions.iter().zip(outcomes) {
            let log = outcome.log.clone();
            let result = TransactionResult { height, code: outcome.code, log, time: block.time };
            self.conclude(&transaction::hash(bytes), &result);
        }
    }

    fn conclude(&self, hash: &TransactionHash, result: &TransactionResult) {
        let mut waiting = self.waiting.lock();
        waiting.hashes.remove(hash);
        for answer in waiting.answers.remove(hash).unwrap_or_default() {
            // Who no longer listens needs no answer.
            let _ = answer.send(result.clone());
        }
    }

    /// A transaction that a block left out waits again where it is still acceptable.
    fn reconsider(&self, machine: &Machine<DiskStore>, bytes: Vec<u8>) {
        let outcome = machine.check(&bytes, CheckKind::Recheck);
        if outcome.code == 0 {
            self.waiting.lock().queue.push_back(bytes);
        } else {
            let result = TransactionResult { height: 0, code: outcome.code, log: outcome.log, time: 0 };
            self.conclude(&transaction::hash(&bytes), &result);
        }
    }
}

/// Makes blocks until the ledger is stopped and nothing waits.
fn make_blocks(shared: &Shared) {
    let mut is_sealed = true;
    loop {
        let mut waiting = shared.waiting.lock();
        while waiting.queue.is_empty() && !waiting.stopped {
            if is_sealed {
                shared.wake.wait(&mut waiting);
            } else if shared.wake.wait_for(&mut waiting, SEAL_AFTER).timed_out() {
                break;
            }
        }
        let is_idle = waiting.queue.is_empty();
        if is_idle && waiting.stopped {
            return;
        }
        if !is_idle {
            gather(shared, &mut waiting);
        }
        drop(waiting);
        shared.make_block();
        is_sealed = is_idle;
    }
}

/// Lets transactions that come at the same time share the block.
fn gather(shared: &Shared, waiting: &mut MutexGuard<'_, Waiting>) {
    let until = Instant::now() + GATHER_LONGEST;
    let mut seen = waiting.queue.len();
    while Instant::now() < until && !waiting.stopped {
        shared.wake.wait_for(waiting, GATHER_QUIET);
        if waiting.queue.len() == seen {
            return;
        }
        seen = waiting.queue.len();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.rpc.stop();
        if let Some(shared) = self.shared.upgrade() {
            shared.waiting.lock().stopped = true;
            shared.wake.notify_all();
        }
        if let Some(maker) = self.maker.lock().take() {
            // A panic there was already reported by its thread.
            let _ = maker.join();
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("chain_id", &self.chain_id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Running").field("rpc", &self.rpc.address()).finish_non_exhaustive()
    }
}

/// The message in an answer; `None` where there is no such thing.
fn answer_of<M: prost::Message + Default>(answer: &QueryAnswer) -> Result<Option<M>, Refusal> {
    if answer.code != 0 {
        return if answer.log.contains("NotFound") { Ok(None) } else { Err(refused(answer.code, &answer.log)) };
    }
    let message = M::decode(answer.value.as_slice());
    message.map(Some).map_err(|_| Refusal::Internal("an answer of the ledger does not decode"))
}
