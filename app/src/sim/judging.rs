//! The ledger's state against the model's, in both directions: what the model holds stands in the state, with
//! every field that the model knows, and nothing else stands there.

mod accounts;
mod consent;
mod governance;
mod insurance;
mod records;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use careledger_wire::ids::{Address, TransactionHash};

use super::{
    messages::{id, named},
    network::{CHAIN, Network, START, Violation},
    script::{Actor, Key, Subject},
    trapdoor,
};
use crate::{
    keys::{self, Value},
    state::StateRead as _,
    store::memory::MemoryStore,
};

/// Looks at one state, and notes the first thing that is not as the model says.
struct Judge<'a> {
    network: &'a Network,
    state: &'a MemoryStore,
    seen: BTreeSet<Vec<u8>>,
    odd: Option<String>,
}

impl Network {
    /// What the ledger holds is what the model holds.
    pub(super) fn compare_states(&self) -> Result<(), Violation> {
        let state = self.replicas[0].machine.store();
        let mut judge = Judge { network: self, state, seen: BTreeSet::new(), odd: None };
        judge.genesis();
        judge.accounts();
        judge.identity();
        judge.consent();
        judge.records();
        judge.insurance();
        judge.governance();
        judge.executed();
        judge.nothing_else();
        match judge.odd {
            Some(found) => self.broken("the ledger holds what the model holds", found),
            None => Ok(()),
        }
    }
}

impl Judge<'_> {
    /// Something stands at the path, and `known` finds nothing to change: it sets every field that the model knows.
    fn holds<V: Value + Clone + PartialEq + fmt::Debug>(
        &mut self,
        key: &keys::Key<V>,
        what: impl fmt::Display,
        known: impl FnOnce(&mut V),
    ) {
        self.seen.insert(key.as_bytes().to_vec());
        let found = self.state.get(key);
        let mut expected = found.clone().unwrap_or_default();
        known(&mut expected);
        if found.as_ref() != Some(&expected) {
            self.note(format!("{what}: found {found:?}, expected {expected:?}"));
        }
    }

    fn note(&mut self, found: String) {
        self.odd.get_or_insert(found);
    }

    /// What nothing changes after genesis.
    fn genesis(&mut self) {
        self.holds(&keys::chain(), "chain", |found| {
            (found.chain_id, found.genesis_time, found.initial_height) = (CHAIN.to_owned(), START, 0);
        });
        self.holds(&keys::verifying_key(&trapdoor::circuit()), "verifying key", |found| {
            found.key = trapdoor::key().encode().to_vec();
        });
    }

    /// Every unordered transaction until it expires, and none that never was.
    fn executed(&mut self) {
        let remembered: BTreeMap<u64, (i64, i64)> = self
            .state
            .scan(keys::UNORDERED, None, usize::MAX)
            .into_iter()
            .map(|(path, value)| {
                let expiry = keys::unordered_expiry(&path).expect("unordered paths carry their expiry");
                let hash = &path[path.len() - TransactionHash::LENGTH..];
                let identity = u64::from_be_bytes(*hash.first_chunk().expect("a hash is longer"));
                let executed: careledger_wire::proto::state::Executed =
                    prost::Message::decode(value.as_slice()).expect("what the ledger wrote");
                self.seen.insert(path);
                (identity, (expiry - START, executed.height))
            })
            .collect();
        let now = self.network.time - START;
        let executed = self.network.model.executed.iter().map(|(identity, (until, height))| {
            (*identity, (*until, i64::try_from(*height).expect("a simulation has few blocks")))
        });
        let executed: BTreeMap<u64, (i64, i64)> = executed.collect();
        let is_known = remembered.iter().all(|(identity, one)| executed.get(identity) == Some(one));
        let is_kept = executed.iter().all(|(identity, one)| one.0 <= now || remembered.get(identity) == Some(one));
        if !is_known || !is_kept {
            self.note(format!("unordered transactions: found {remembered:?}, expected {executed:?}, it is {now}"));
        }
    }

    /// Whatever stands in the state and was not looked at is more than the model holds.
    fn nothing_else(&mut self) {
        if let Some(path) = self.state.pairs().keys().find(|path| !self.seen.contains(*path)) {
            self.note(format!("the model holds nothing at {}", path.escape_ascii()));
        }
    }

    fn address(&self, actor: Actor) -> Address {
        self.network.signer(Key::Of(actor)).address()
    }

    fn organization(&self, number: u8) -> Address {
        self.address(Actor::Organization(number))
    }

    fn addresses<'b>(&self, actors: impl IntoIterator<Item = &'b Actor>) -> Vec<Vec<u8>> {
        actors.into_iter().map(|actor| self.address(*actor).to_vec()).collect()
    }

    fn subject(&self, subject: Subject) -> careledger_wire::ids::SubjectId {
        self.network.subject(subject)
    }
}

/// An id as a key names it.
fn key_id<T: for<'a> TryFrom<&'a [u8]>>(kind: &str, number: u8) -> T {
    named(id(kind, number))
}

/// Unix seconds.
fn at(time: i64) -> i64 {
    START + time
}

/// A list whose order the model does not know.
fn as_set<T: Ord + Clone>(list: &mut Vec<T>, mut expected: Vec<T>) {
    let mut found = list.clone();
    found.sort();
    expected.sort();
    if found != expected {
        *list = expected;
    }
}
