//! The thread that makes an embedded ledger's blocks.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use careledger_app::{
    fault,
    limits::BLOCK_BYTES_MAX,
    machine::{Block, CheckKind, Machine, Outcome},
    store::{Store as _, disk::DiskStore},
};
use careledger_wire::{ids::TransactionHash, proto::query::TransactionResult, transaction};
use parking_lot::MutexGuard;

use super::{Shared, Waiting, clock};

/// A block waits for more transactions until none came for this long,
const GATHER_QUIET: Duration = Duration::from_micros(300);
/// or until it waited for this long: less than making it durable takes.
const GATHER_LONGEST: Duration = Duration::from_millis(3);
/// How long the ledger waits for a transaction before it seals the newest state with an empty block.
const SEAL_AFTER: Duration = Duration::from_millis(20);

/// Makes blocks until the ledger is stopped and nothing waits.
pub(super) fn make_blocks(shared: &Shared) {
    let mut is_sealed = shared.is_sealed();
    loop {
        let mut waiting = shared.waiting.lock();
        while waiting.queue.is_empty() && !waiting.stopped {
            if is_sealed {
                shared.wake.wait(&mut waiting);
            } else if shared.wake.wait_for(&mut waiting, SEAL_AFTER).timed_out() {
                break;
            }
        }
        if waiting.queue.is_empty() && waiting.stopped {
            return;
        }
        if !waiting.queue.is_empty() {
            gather(shared, &mut waiting);
        }
        drop(waiting);
        is_sealed = shared.make_block();
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

impl Shared {
    /// Whether a header seals the newest state: who stopped before an empty block could did not wait for it.
    fn is_sealed(&self) -> bool {
        let (height, app_hash) = self.tip();
        let sealing = self.blocks.get(height).map(|block| block.header.app_hash);
        height == 0 || sealing.is_some_and(|sealing| sealing.as_bytes() == app_hash)
    }

    /// Makes one block of the transactions that wait; of none, an empty one. Whether a header seals the state after
    /// it: also an empty block forgets what expired, and its own header is of the state before.
    fn make_block(&self) -> bool {
        let (candidates, block, outcomes, app_hash) = self.execute();
        // Nobody waits for the disk but those whose transactions these are: until the block is kept, everybody
        // sees the state before it.
        self.blocks.keep(&block, &outcomes, app_hash).unwrap_or_else(|error| {
            // The state must not run ahead of a disk that is full.
            tracing::error!(error, "the embedded ledger cannot keep its blocks; stopping");
            std::process::exit(1)
        });
        let mut machine = self.machine.write();
        machine.commit();
        self.answer(&block, &outcomes);
        let included: HashSet<TransactionHash> =
            block.transactions.iter().map(|bytes| transaction::hash(bytes)).collect();
        let left_out = candidates.into_iter().filter(|bytes| !included.contains(&transaction::hash(bytes)));
        // What was checked against the state before the block is reconsidered, too.
        let waiting = std::mem::take(&mut self.waiting.lock().queue);
        for bytes in left_out.chain(waiting) {
            self.reconsider(&machine, bytes);
        }
        machine.app_hash() == app_hash
    }

    /// Executes a block of the transactions that wait, on the side. Gives those, the block, what became of its
    /// transactions, and the root of the state before it.
    fn execute(&self) -> (Vec<Vec<u8>>, Block, Vec<Outcome>, [u8; 32]) {
        let mut machine = self.machine.write();
        let candidates = self.take();
        let height = machine.height() + 1;
        if let Some(upgrade) = machine.halts_before(height) {
            fault::stop_for_upgrade(&upgrade);
        }
        let time = clock().max(machine.store().time());
        let app_hash = machine.app_hash();
        let transactions = machine.prepare(candidates.clone(), BLOCK_BYTES_MAX, height, time);
        let block = Block { height, time, transactions };
        let outcomes = machine.finalize(&block).outcomes;
        (candidates, block, outcomes, app_hash)
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

    fn answer(&self, block: &Block, outcomes: &[Outcome]) {
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

#[cfg(test)]
mod tests {
    use careledger_app::{keys, state::StateRead as _};
    use careledger_wire::{
        message::Message,
        proto::identity::{MsgRegisterOrganization, OrganizationKind},
        transaction::{Replay, Unsigned},
    };
    use serde_json::json;

    use super::*;
    use crate::{
        keys::OrganizationSigner,
        ledger::embedded::{Memory, Settings},
    };

    const CHAIN: &str = "careledger-dev-1";
    const DEADLINE: Duration = Duration::from_secs(30);

    /// A transaction that is remembered for so many seconds.
    fn remembered(shared: &Shared, registrar: &OrganizationSigner, seconds: i64) -> Vec<u8> {
        let account = shared.machine.read().store().get(&keys::account(&registrar.address()));
        let message: Message = MsgRegisterOrganization {
            sender: registrar.address().to_string(),
            organization: OrganizationSigner::random().address().to_vec(),
            kind: OrganizationKind::Provider as i32,
            encryption_key: vec![9; 32],
            evidence: vec![1; 32],
            expires_at: clock() + 86_400,
            emergency: false,
        }
        .into();
        let number = account.expect("a registrar has an account").number;
        let replay = Replay::UntilTime(clock() + seconds);
        let unsigned = Unsigned::new(&[message], registrar.public_key(), CHAIN, number, replay);
        let signature = registrar.sign(&unsigned.sign_bytes());
        unsigned.signed(signature)
    }

    fn opened(folder: &std::path::Path, registrar: &OrganizationSigner) -> Shared {
        let genesis = json!({"registrars": [registrar.address()], "registrar_threshold": 1});
        let settings = Settings {
            chain_id: CHAIN.to_owned(),
            app_state: genesis.to_string().into_bytes(),
            rpc_listen: "127.0.0.1:0".parse().expect("a loopback address"),
            memory: Memory::default(),
        };
        Shared::open(folder, &settings).expect("a new ledger, or the same")
    }

    /// A restart forgot that the newest state had no header yet.
    #[test]
    fn what_was_not_sealed_when_the_ledger_stopped_is_sealed_when_it_starts() {
        let registrar = OrganizationSigner::random();
        let folder = tempfile::tempdir().expect("a folder");
        let shared = opened(folder.path(), &registrar);
        assert!(shared.is_sealed(), "nothing happened yet");
        shared.accept(remembered(&shared, &registrar, 300), None).expect("it is accepted");
        assert!(!shared.make_block());
        drop(shared);
        let shared = opened(folder.path(), &registrar);
        assert!(!shared.is_sealed());
        assert!(shared.make_block());
        drop(shared);
        assert!(opened(folder.path(), &registrar).is_sealed());
    }

    /// Another gateway waited for a header that never came: the empty block had changed the state, too.
    #[test]
    fn an_empty_block_that_forgets_what_expired_is_sealed_by_another() {
        let registrar = OrganizationSigner::random();
        let folder = tempfile::tempdir().expect("a folder");
        let shared = opened(folder.path(), &registrar);
        shared.accept(remembered(&shared, &registrar, 2), None).expect("it is accepted");
        assert!(!shared.make_block(), "the transaction is remembered");
        let deadline = Instant::now() + DEADLINE;
        while shared.make_block() {
            assert!(Instant::now() < deadline, "it is never forgotten");
            std::thread::yield_now();
        }
        assert!(shared.make_block(), "and an empty block seals that as well");
    }
}
