//! Transactions as they are read: once on each node, however often they are looked at.
//!
//! A transaction comes to CheckTx, again to each recheck while it waits, and with the block. What its
//! bytes say does not depend on state, so it is read the first time and remembered by its hash, once an
//! account signed it and it took effect: what is refused comes from anybody, and is large when it is read.

use std::sync::{Arc, OnceLock};

use careledger_wire::{
    ids::{Address, TransactionHash},
    transaction::{Transaction, TransactionError, hash},
};
use parking_lot::Mutex;
use rayon::prelude::*;

use super::work::Work;
use crate::{
    actions::{AnyAction, Once},
    limits::{MESSAGES_PER_TRANSACTION_MAX, READ_TRANSACTION_BYTES_MAX, READ_TRANSACTIONS_MAX, TX_BYTES_MAX},
    reject::Reject,
    remembered::Remembered,
    types::{Outcome, Sender},
};

/// A transaction's bytes, understood as far as they can be without state.
pub(super) struct Read {
    hash: TransactionHash,
    bytes: usize,
    transaction: Result<Transaction, Reject>,
    work: Work,
    once: Vec<Once>,
    /// What it asks for; none before its signature held. Understanding it can cost much more than
    /// a signature, which is not done for what nobody signed.
    actions: OnceLock<Result<Vec<AnyAction>, Reject>>,
}

impl Read {
    fn new(
        hash: TransactionHash,
        bytes: &[u8],
        decode: impl Fn(&[u8]) -> Result<Transaction, TransactionError>,
    ) -> Self {
        let transaction = if bytes.len() > TX_BYTES_MAX {
            Err(Reject::TooLarge)
        } else {
            decode(bytes).map_err(|_| Reject::Malformed).and_then(|transaction| {
                let messages = transaction.messages().len();
                if messages > MESSAGES_PER_TRANSACTION_MAX { Err(Reject::TooManyMessages) } else { Ok(transaction) }
            })
        };
        let messages = transaction.as_ref().map(Transaction::messages).unwrap_or_default();
        let (work, once) = (Work::of(messages), messages.iter().flat_map(AnyAction::once).collect());
        Self { hash, bytes: bytes.len(), transaction, work, once, actions: OnceLock::new() }
    }

    /// Reads a transaction.
    pub(super) fn signed(bytes: &[u8]) -> Self {
        Self::new(hash(bytes), bytes, Transaction::decode)
    }

    /// Reads a transaction whose signature may be missing.
    pub(super) fn unsigned(bytes: &[u8]) -> Self {
        Self::new(hash(bytes), bytes, Transaction::decode_unsigned)
    }

    /// SHA-256 of its bytes.
    pub(super) fn hash(&self) -> TransactionHash {
        self.hash
    }

    /// The transaction, or why these bytes can be in no block, whatever the state is.
    pub(super) fn transaction(&self) -> Result<&Transaction, Reject> {
        self.transaction.as_ref().map_err(|reject| *reject)
    }

    /// Gas: the transaction's bytes.
    pub(super) fn gas(&self) -> u64 {
        self.bytes as u64
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Who sends it and whose quota it uses.
    pub(super) fn parties(&self) -> Option<(Address, Address)> {
        self.transaction.as_ref().ok().map(|transaction| (transaction.signer(), transaction.payer()))
    }

    /// What it costs besides its bytes and its signature.
    pub(super) fn work(&self) -> Work {
        self.work
    }

    /// What it uses that can be used once.
    pub(super) fn once(&self) -> &[Once] {
        &self.once
    }

    /// What it asks for. To be called once its signature held.
    pub(super) fn understand(&self, transaction: &Transaction) -> &Result<Vec<AnyAction>, Reject> {
        self.actions.get_or_init(|| {
            let sender = Sender::new(transaction.signer(), transaction.sender().key);
            transaction.messages().iter().map(|message| AnyAction::parse(&sender, message.clone())).collect()
        })
    }

    /// What it asks for, as far as that is understood already.
    pub(super) fn understood(&self) -> &[AnyAction] {
        self.actions.get().and_then(|actions| actions.as_deref().ok()).unwrap_or_default()
    }

    /// Whether what it asks for was looked at: then its signature held.
    pub(super) fn is_understood(&self) -> bool {
        self.actions.get().is_some()
    }
}

/// Transactions that were read lately and took effect. Bounded: large ones are read each time.
pub(super) struct Reading {
    lately: Mutex<Remembered<TransactionHash, Arc<Read>>>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { lately: Mutex::new(Remembered::new(READ_TRANSACTIONS_MAX)) }
    }
}

impl Reading {
    /// The transaction of these bytes.
    pub(super) fn read(&self, bytes: &[u8]) -> Arc<Read> {
        let hash = hash(bytes);
        self.known(&hash).unwrap_or_else(|| read_anew(hash, bytes))
    }

    /// The transactions of a block: those that were not read before on every core.
    pub(super) fn read_all(&self, transactions: &[Vec<u8>]) -> Vec<Arc<Read>> {
        let known: Vec<_> = transactions.iter().map(|bytes| (hash(bytes), bytes)).collect();
        let mut reads: Vec<_> = known.iter().map(|(hash, _)| self.known(hash)).collect();
        let unknown: Vec<_> = reads.iter_mut().zip(&known).filter(|(read, _)| read.is_none()).collect();
        unknown.into_par_iter().for_each(|(read, (hash, bytes))| *read = Some(read_anew(*hash, bytes)));
        reads.into_iter().map(|read| read.expect("what was not known was read")).collect()
    }

    /// Remembers a transaction. To be called once it took effect, in the mempool or in a block: then
    /// an account signed it, and what it holds is what its messages may hold.
    pub(super) fn remember(&self, read: &Arc<Read>) {
        if read.bytes <= READ_TRANSACTION_BYTES_MAX {
            let mut lately = self.lately.lock();
            if lately.get(&read.hash).is_none() {
                lately.insert(read.hash, Arc::clone(read));
            }
        }
    }

    /// Remembers those of a block's transactions that took effect.
    pub(super) fn remember_executed(&self, reads: &[Arc<Read>], outcomes: &[Outcome]) {
        let executed = reads.iter().zip(outcomes).filter(|(_, outcome)| outcome.code == 0);
        executed.for_each(|(read, _)| self.remember(read));
    }

    fn known(&self, hash: &TransactionHash) -> Option<Arc<Read>> {
        self.lately.lock().get(hash)
    }
}

fn read_anew(hash: TransactionHash, bytes: &[u8]) -> Arc<Read> {
    Arc::new(Read::new(hash, bytes, Transaction::decode))
}

#[cfg(test)]
mod tests {
    use careledger_wire::{
        message::Message,
        proto::{
            identity::{MsgRegisterOrganization, OrganizationKind},
            records::{MsgSupersedeRecords, Supersession},
        },
        transaction::{Replay, Unsigned},
    };
    use secp256k1::{PublicKey, SecretKey, ecdsa};
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::{
        machine::{Block, CheckKind, Machine},
        store::memory::MemoryStore,
    };

    const CHAIN: &str = "careledger-1";
    const REGISTRAR: u8 = 1;
    const STRANGER: u8 = 2;

    fn address(byte: u8) -> Address {
        Address::of_key(&PublicKey::from_secret_key(&secret(byte)).serialize())
    }

    fn secret(byte: u8) -> SecretKey {
        SecretKey::from_secret_bytes([byte; 32]).expect("a small scalar")
    }

    fn signed(byte: u8, sequence: u64, message: Message) -> Vec<u8> {
        let key = PublicKey::from_secret_key(&secret(byte)).serialize();
        let unsigned = Unsigned::new(&[message], &key, CHAIN, 0, Replay::Sequence(sequence));
        let digest: [u8; 32] = Sha256::digest(unsigned.sign_bytes()).into();
        let signature = ecdsa::sign(secp256k1::Message::from_digest(digest), &secret(byte));
        unsigned.signed(signature.serialize_compact())
    }

    fn registration(sequence: u64) -> Vec<u8> {
        let message = MsgRegisterOrganization {
            sender: address(REGISTRAR).to_string(),
            organization: [[9; 12].as_slice(), &sequence.to_be_bytes()].concat(),
            kind: OrganizationKind::Provider.into(),
            encryption_key: vec![9; 32],
            evidence: vec![1; 32],
            expires_at: 1_000,
            emergency: false,
        };
        signed(REGISTRAR, sequence, message.into())
    }

    /// What is thirty times its bytes when it is read.
    fn empty_entries(byte: u8, sequence: u64) -> Vec<u8> {
        let sender = address(byte).to_string();
        let message = MsgSupersedeRecords { sender, supersessions: vec![Supersession::default(); 1_800] };
        signed(byte, sequence, message.into())
    }

    fn machine() -> Machine<MemoryStore> {
        let genesis = format!(r#"{{"registrars": ["{}"], "registrar_threshold": 1}}"#, address(REGISTRAR));
        let mut machine = Machine::new(MemoryStore::new());
        machine.init_chain(CHAIN, genesis.as_bytes(), 1).expect("genesis is accepted");
        machine
    }

    fn remembers(machine: &Machine<MemoryStore>, transaction: &[u8]) -> bool {
        machine.reading.known(&hash(transaction)).is_some()
    }

    /// Anybody could have nodes keep a gigabyte of what was refused, without an account.
    #[test]
    fn what_was_refused_was_remembered_from_anybody() {
        let machine = machine();
        let mut forged = registration(0);
        *forged.last_mut().expect("a signature") ^= 1;
        let refused = [empty_entries(STRANGER, 0), empty_entries(REGISTRAR, 0), registration(7), forged, vec![1; 200]];
        for transaction in &refused {
            assert!(transaction.len() <= READ_TRANSACTION_BYTES_MAX, "small enough to be remembered");
            assert_ne!(machine.check(transaction, CheckKind::New).code, 0);
            let _ = machine.process(std::slice::from_ref(transaction), 1, 2);
            machine.prepare(vec![transaction.clone()], 1 << 20, 1, 2);
            assert!(!remembers(&machine, transaction));
        }
        // Refused with a code, and so in a block, between others.
        let block = [empty_entries(REGISTRAR, 0), registration(1)];
        assert_eq!(machine.process(&block, 1, 2), Ok(()));
        assert_eq!(block.map(|transaction| remembers(&machine, &transaction)), [false, true]);
    }

    #[test]
    fn what_waits_and_what_a_block_executes_is_read_once() {
        let mut machine = machine();
        let (waits, comes) = (registration(0), registration(1));
        let first = machine.reading.read(&waits);
        assert_eq!(machine.check(&waits, CheckKind::New).code, 0);
        let kept = machine.reading.read(&waits);
        assert!(!Arc::ptr_eq(&first, &kept) && kept.is_understood());
        let block = |transactions| Block { height: 0, time: 2, transactions };
        machine.finalize(&Block { height: 1, ..block(Vec::new()) });
        machine.commit();
        assert_eq!(machine.check(&waits, CheckKind::Recheck).code, 0);
        let both = vec![waits.clone(), comes.clone()];
        assert_eq!(machine.process(&both, 2, 2), Ok(()));
        assert!(Arc::ptr_eq(&kept, &machine.reading.read(&waits)), "it is read no second time");
        assert!(machine.reading.known(&hash(&comes)).is_some_and(|read| read.is_understood()));
        assert!(machine.finalize(&Block { height: 2, ..block(both) }).outcomes[0].code == 0);
    }
}
