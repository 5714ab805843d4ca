//! The ledger in this process: the same state machine as a validator's, with blocks made here as
//! soon as there is something to put into them.
//!
//! One thread makes blocks: it takes every transaction that waits, so while one block is being
//! made durable the next one gathers. A block that alters the app hash, be it empty, is followed by
//! an empty one when nothing else comes, so that its state is sealed by a header, as CometBFT does.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Weak, atomic::AtomicU64},
    thread::JoinHandle,
    time::Duration,
};

use careledger_app::{
    machine::{CheckKind, Machine, Prove, QueryAnswer},
    query,
    state::StateRead as _,
    store::{
        Store as _,
        disk::{DatabaseMemory, DiskStore, Retention},
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
use parking_lot::{Condvar, Mutex, RwLock};
use prost::Message as _;
use tokio::sync::oneshot;

use super::{OpenError, Proven, blocks::Blocks, clock, comet::Page, refused, rpc};
use crate::{config, outcome::Refusal};

mod catching_up;
mod making;

/// Transactions that may wait for a block.
pub const WAITING_MAX: usize = 20_000;
/// What an embedded ledger is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The chain's id.
    pub chain_id: String,
    /// The genesis `app_state`, JSON. Used once, when the ledger is new.
    pub app_state: Vec<u8>,
    /// Where the CometBFT-compatible JSON-RPC listens; port 0 for any free one.
    pub rpc_listen: SocketAddr,
    /// How much memory it takes.
    pub memory: Memory,
}

/// Memory of an embedded ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of what it read from its disk, and of what is not written out yet.
    pub storage_bytes: usize,
    /// Changes of its state whose older heights can be proven.
    pub changes_max: usize,
}

impl Default for Memory {
    fn default() -> Self {
        let config::Memory { storage_bytes_max, ledger_changes_max, .. } = config::Memory::default();
        Self { storage_bytes: storage_bytes_max / 2, changes_max: ledger_changes_max }
    }
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
    /// Times that the gateway asked.
    reads: AtomicU64,
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
        let shared = Arc::new(Shared::open(path, settings)?);
        let rpc = rpc::Server::start(settings.rpc_listen, Arc::downgrade(&shared))?;
        let maker = std::thread::Builder::new().name("blocks".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || making::make_blocks(&shared)
        });
        let maker = maker.map_err(|error| storage(path, error.to_string()))?;
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

    /// Times that the gateway asked it something.
    pub fn reads(&self) -> &AtomicU64 {
        &self.shared.reads
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

fn storage(path: &Path, reason: String) -> OpenError {
    OpenError::Storage { path: path.display().to_string(), reason }
}

impl Shared {
    /// The state in `path`, or a new one, brought up to the blocks that were kept. Nothing makes blocks yet.
    fn open(path: &Path, settings: &Settings) -> Result<Self, OpenError> {
        let storage = |reason: String| storage(path, reason);
        std::fs::create_dir_all(path).map_err(|error| storage(error.to_string()))?;
        let memory = DatabaseMemory::of(settings.memory.storage_bytes);
        let retention = Retention { changes: settings.memory.changes_max, ..Retention::default() };
        let store = DiskStore::open_within(&path.join("state"), retention, &memory);
        let store = store.map_err(|error| storage(error.to_string()))?;
        // Each block is durable before its state, and what the state lacks is executed again below.
        let mut machine = Machine::new(store.after_kept_blocks());
        let blocks = Blocks::open(&path.join("blocks"), &settings.chain_id, &memory).map_err(storage)?;
        if machine.chain_id().is_none() {
            catching_up::nothing_to_bring_up(&blocks).map_err(storage)?;
            machine
                .init_chain(&settings.chain_id, &settings.app_state, clock())
                .map_err(|error| OpenError::Genesis(error.to_string()))?;
        }
        if machine.chain_id().as_deref() != Some(&settings.chain_id) {
            return Err(OpenError::Genesis("the state on disk belongs to another chain id".to_owned()));
        }
        catching_up::bring_up(&mut machine, &blocks).map_err(storage)?;
        tracing::info!(height = machine.height(), chain_id = settings.chain_id, "the embedded ledger is open");
        Ok(Self {
            machine: RwLock::new(machine),
            blocks,
            chain_id: settings.chain_id.clone(),
            waiting: Mutex::default(),
            wake: Condvar::new(),
            reads: AtomicU64::default(),
        })
    }

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
        return if answer.code == query::NOT_FOUND { Ok(None) } else { Err(refused(answer.code, &answer.log)) };
    }
    let message = M::decode(answer.value.as_slice());
    message.map(Some).map_err(|_| Refusal::Internal("an answer of the ledger does not decode"))
}
