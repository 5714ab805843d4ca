//! Reading transactions in parallel, trying them in order.

use std::{collections::BTreeMap, sync::Arc};

use careledger_wire::{
    ids::{CircuitId, TransactionHash, ValidatorKey},
    proto::{query::TransactionResult, state::Quotas, tx::TxMsgData},
    transaction::{Replay, Transaction},
};
use prost::Message as _;
use prost_types::Any;
use rayon::prelude::*;

use super::{
    authentication::{self, SignatureRule, Signatures},
    block_digest, once, quotas,
    reading::Read,
    work::Work,
};
use crate::{
    actions::AnyAction,
    events, keys,
    limits::{PROOFS_PER_BLOCK_MAX, UNORDERED_PRUNED_PER_BLOCK_MAX},
    proofs::Claimed,
    reject::Reject,
    state::{Changes, Overlay, StateRead},
    store::Store,
    types::{BlockContext, ConsensusUpdates, Event, Outcome},
    upgrade::{self, Upgrade},
};

/// How far a transaction is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// Until it took effect.
    Whole,
    /// Until it took effect, or no further than its signature where the rest is [`Work`].
    Cheap,
}

/// What became of a transaction.
pub(super) enum Delivered {
    /// It may not be in this block; nothing changed.
    NotAuthentic(Reject),
    /// It used its sequence or was remembered; nothing that it asked for happened.
    Refused(Reject),
    /// All that it asked for happened.
    Executed,
}

impl Delivered {
    /// The whole answer, with what clients and indexers learn.
    pub(super) fn outcome(self, read: &Read) -> Outcome {
        let outcome = self.verdict(read);
        match read.transaction() {
            Ok(transaction) if outcome.code == 0 => {
                Outcome { data: responses(transaction), events: events::of(transaction), ..outcome }
            }
            _ => outcome,
        }
    }

    /// The answer without what only a block or a simulation tells.
    pub(super) fn verdict(self, read: &Read) -> Outcome {
        match self {
            Self::NotAuthentic(reject) | Self::Refused(reject) => Outcome::refused(reject, read.gas()),
            Self::Executed => Outcome { gas_used: read.gas(), ..Outcome::default() },
        }
    }
}

/// Transactions tried one after the other on one block's overlay.
pub(super) struct Running<'a, S> {
    state: Overlay<'a, S>,
    outcomes: Vec<Outcome>,
    answered: Vec<(TransactionHash, usize)>,
    work: Work,
    unordered: usize,
}

/// A block's result that nothing was done with yet.
pub(super) struct Candidate {
    height: u64,
    time: i64,
    digest: [u8; 32],
    pub(super) changes: Changes,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) results: Vec<(TransactionHash, TransactionResult)>,
}

impl Candidate {
    /// Whether this is the result of exactly this block.
    pub(super) fn is_of(&self, height: u64, time: i64, transactions: &[Vec<u8>]) -> bool {
        (self.height, self.time) == (height, time) && self.digest == block_digest(transactions)
    }
}

impl<S: StateRead> Running<'_, S> {
    /// Refuses a transaction whose work the block has no room for.
    pub(super) fn room(&self, read: &Read) -> Result<(), Reject> {
        self.work.and(read.work()).check_block()
    }

    /// Answers a transaction with a refusal without trying it.
    pub(super) fn refuse(&mut self, read: &Read, reject: Reject) {
        self.outcomes.push(Outcome::refused(reject, read.gas()));
    }

    /// The result, as that of the block of `transactions`.
    fn into_candidate(self, height: u64, time: i64, transactions: &[Vec<u8>]) -> Candidate {
        let result = |outcome: &Outcome| TransactionResult {
            height: i64::try_from(height).expect("CometBFT's heights are positive 64-bit integers"),
            code: outcome.code,
            log: outcome.log.clone(),
            time,
        };
        let results = self.answered.iter().map(|(hash, index)| (*hash, result(&self.outcomes[*index]))).collect();
        Candidate {
            height,
            time,
            digest: block_digest(transactions),
            changes: self.state.into_changes(),
            outcomes: self.outcomes,
            results,
        }
    }
}

/// Tries transactions on the committed state of a store.
pub(super) struct Execution<'a, S> {
    pub(super) store: &'a S,
    pub(super) context: BlockContext<'a>,
    pub(super) signatures: &'a Signatures,
    pub(super) upgrades: &'static [Upgrade],
    /// As they were before the block.
    pub(super) quotas: Option<Quotas>,
}

impl<'a, S: Store> Execution<'a, S> {
    /// Checks the signatures of a block's transactions on every core, understands what is signed,
    /// computes what insurers commit to, and checks proofs together, as far as one block's work goes. Changes no verdict: what is
    /// left over, also of accounts that an earlier transaction opens, is done where it is tried.
    pub(super) fn work_ahead(&self, reads: &[Arc<Read>]) {
        let mut sum = Work::default();
        let has_room: Vec<bool> = reads
            .iter()
            .map(|read| {
                sum = sum.and(read.work());
                read.work() == Work::default() || sum.check_block().is_ok()
            })
            .collect();
        // What was understood was signed; it came through this node's mempool.
        let fresh: Vec<_> = reads.iter().zip(has_room).filter(|(read, _)| !read.is_understood()).collect();
        fresh.into_par_iter().for_each(|(read, has_room)| {
            let Ok(transaction) = read.transaction() else { return };
            if authentication::is_signed_now(transaction, self.context.chain_id, self.signatures, self.store)
                && has_room
            {
                let understood = read.understand(transaction);
                for action in understood.iter().flatten() {
                    if let AnyAction::PublishPlan(action) = action {
                        action.compute_ahead(&self.context, self.store);
                    }
                }
            }
        });
        let mut claims: BTreeMap<CircuitId, Vec<Claimed>> = BTreeMap::new();
        for action in reads.iter().flat_map(|read| read.understood()) {
            if let AnyAction::ProveEligibility(action) = action {
                claims.entry(*action.circuit()).or_default().push(action.claimed(self.context.chain_id));
            }
        }
        for (circuit, mut claimed) in claims {
            claimed.truncate(PROOFS_PER_BLOCK_MAX);
            if let Some(key) = self.store.get(&keys::verifying_key(&circuit)) {
                self.context.verifier.verify_ahead(&key.key, &circuit, &claimed);
            }
        }
    }

    /// The state at the beginning of the block, after the upgrade that comes with it.
    ///
    /// # Panics
    /// When this program does not know the upgrade: other rules hold from here on.
    pub(super) fn begin(&self) -> Running<'a, S> {
        let mut state = Overlay::new(self.store);
        let due = upgrade::due(self.upgrades, self.context.height, self.store);
        if let Some(upgrade) = due.unwrap_or_else(|unknown| panic!("{unknown}")) {
            upgrade.run(&self.context, &mut state);
        }
        Running { state, outcomes: Vec::new(), answered: Vec::new(), work: Work::default(), unordered: 0 }
    }

    /// The block of `transactions`, which were all tried. Forgets more unordered transactions than
    /// it remembers, so that they cannot pile up.
    pub(super) fn finish(&self, mut block: Running<'a, S>, transactions: &[Vec<u8>]) -> Candidate {
        let most = UNORDERED_PRUNED_PER_BLOCK_MAX.max(2 * block.unordered);
        authentication::prune(&self.context, most, &mut block.state);
        block.into_candidate(self.context.height, self.context.time, transactions)
    }

    /// Tries the block's next transaction and notes its outcome. One that may not be in this block
    /// changes and notes nothing; one that fails with a code may be in it.
    pub(super) fn deliver_in_block(&self, read: &Read, block: &mut Running<'a, S>) -> Result<(), Reject> {
        // What programs of before could not read has no work that they counted.
        if let Ok(transaction) = read.transaction() {
            authentication::check_format(transaction, &block.state)?;
        }
        block.room(read)?;
        let delivered = self.deliver(read, SignatureRule::Required, Trial::Whole, &mut block.state);
        if let Delivered::NotAuthentic(reject) = delivered {
            return Err(reject);
        }
        block.answered.push((read.hash(), block.outcomes.len()));
        block.work = block.work.and(read.work());
        let replay = read.transaction().map(Transaction::replay);
        block.unordered += usize::from(matches!(replay, Ok(Replay::UntilTime(_))));
        block.outcomes.push(delivered.outcome(read));
        Ok(())
    }

    /// Tries a transaction: all of its messages take effect, or none.
    pub(super) fn deliver<B: StateRead>(
        &self,
        read: &Read,
        rule: SignatureRule,
        trial: Trial,
        state: &mut Overlay<'_, B>,
    ) -> Delivered {
        let transaction = match read.transaction() {
            Ok(transaction) => transaction,
            Err(reject) => return Delivered::NotAuthentic(reject),
        };
        let parties = match authentication::check(transaction, &self.context, rule, self.signatures, state) {
            Ok(parties) => parties,
            Err(reject) => return Delivered::NotAuthentic(reject),
        };
        let paid = match quotas::paid(parties.payer(), read.gas(), &self.context, self.quotas.as_ref(), state) {
            Ok(paid) => paid,
            Err(reject) => return Delivered::NotAuthentic(reject),
        };
        if let Err(reject) = once::check(read.once(), state) {
            return Delivered::NotAuthentic(reject);
        }
        authentication::consume(transaction, parties, paid, &self.context, state);
        if trial == Trial::Cheap && read.work() != Work::default() {
            once::reserve(read.once(), state);
            return Delivered::Executed;
        }
        let understood = read.understand(transaction).as_deref().map_err(|reject| *reject);
        match understood.and_then(|actions| self.execute(actions, state)) {
            Ok(changes) => {
                state.apply(changes);
                Delivered::Executed
            }
            Err(reject) => Delivered::Refused(reject),
        }
    }

    fn execute<B: StateRead>(&self, actions: &[AnyAction], state: &Overlay<'_, B>) -> Result<Changes, Reject> {
        let mut tried = Overlay::new(state);
        for action in actions {
            action.check(&self.context, &tried)?;
            action.clone().execute(&self.context, &mut tried);
        }
        Ok(tried.into_changes())
    }
}

/// `TxMsgData`: an empty response for each message, as Cosmos clients expect.
fn responses(transaction: &Transaction) -> Vec<u8> {
    let response = |url: &str| Any { type_url: format!("{url}Response"), value: Vec::new() };
    let msg_responses = transaction.messages().iter().map(|message| response(message.type_url())).collect();
    TxMsgData { msg_responses }.encode_to_vec()
}

/// What a block changes of CometBFT, for indexers.
pub(super) fn block_events(updates: &ConsensusUpdates) -> Vec<Event> {
    let event = |kind: &str, attributes: &[(&str, String)]| Event {
        kind: kind.to_owned(),
        attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    };
    let power = |(key, power): &(ValidatorKey, u64)| {
        event("validator_power", &[("validator", key.to_string()), ("power", power.to_string())])
    };
    let parameters = updates
        .parameters
        .iter()
        .map(|parameters| event("consensus_parameters", &[("state_version", parameters.state_version.to_string())]));
    updates.validators.iter().map(power).chain(parameters).collect()
}

#[cfg(test)]
mod tests {
    use careledger_wire::{ids::Address, proto::insurance::MsgPublishPlan, transaction::Unsigned};
    use secp256k1::{PublicKey, SecretKey, ecdsa};
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::{machine::Machine, store::memory::MemoryStore};

    const CHAIN: &str = "careledger-1";

    /// A signed plan: what costs most to understand.
    fn plan(secret: &SecretKey) -> Vec<u8> {
        let key = PublicKey::from_secret_key(secret).serialize();
        let plan = MsgPublishPlan {
            sender: Address::of_key(&key).to_string(),
            policy_id: vec![1; 32],
            ..MsgPublishPlan::default()
        };
        let unsigned = Unsigned::new(&[plan.into()], &key, CHAIN, 0, Replay::Sequence(0));
        let digest: [u8; 32] = Sha256::digest(unsigned.sign_bytes()).into();
        let signature = ecdsa::sign(secp256k1::Message::from_digest(digest), secret);
        unsigned.signed(signature.serialize_compact())
    }

    #[test]
    fn only_what_a_known_account_signed_is_understood_ahead() {
        let [known, unknown] = [1, 2].map(|byte| SecretKey::from_secret_bytes([byte; 32]).expect("a small scalar"));
        let registrar = Address::of_key(&PublicKey::from_secret_key(&known).serialize());
        let genesis = format!(r#"{{"registrars": ["{registrar}"], "registrar_threshold": 1}}"#);
        let mut machine = Machine::new(MemoryStore::new());
        machine.init_chain(CHAIN, genesis.as_bytes(), 1).expect("genesis is accepted");
        let execution = machine.execution(1, 2, 2).expect("there was a genesis");
        let signed = plan(&known);
        let mut forged = signed.clone();
        *forged.last_mut().expect("a signature") ^= 1;
        let reads = [signed, forged, plan(&unknown)].map(|bytes| Arc::new(Read::signed(&bytes)));
        execution.work_ahead(&reads);
        assert_eq!(reads.map(|read| read.is_understood()), [true, false, false]);
    }
}
