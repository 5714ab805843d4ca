//! The tree in memory has the roots and the proofs of the Jellyfish Merkle tree.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

use std::collections::BTreeMap;

use careledger_app::{
    state::Changes,
    store::tree::{EMPTY_ROOT, Tree, key_hash, spec, verify},
};
use cosmrs::proto::traits::Message as _;
use jmt::{KeyHash, Sha256Jmt, mock::MockTreeStore};
use proptest::prelude::*;

/// Versions of the `jmt` crate's tree.
#[derive(Default)]
struct Oracle {
    store: MockTreeStore,
    next: u64,
}

impl Oracle {
    fn put(&mut self, changes: &Changes) -> [u8; 32] {
        for key in changes.keys() {
            self.store.put_key_preimage(KeyHash(key_hash(key)), key);
        }
        let set = changes.iter().map(|(key, value)| (KeyHash(key_hash(key)), value.clone()));
        let (root, batch) = Sha256Jmt::new(&self.store).put_value_set(set, self.next).unwrap();
        self.store.write_tree_update_batch(batch).unwrap();
        self.next += 1;
        root.0
    }

    fn prove(&self, key: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
        let tree = Sha256Jmt::new(&self.store);
        let (value, proof) = tree.get_with_ics23_proof(key.to_vec(), self.next - 1).unwrap();
        (value, proof.encode_to_vec())
    }
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    (0u16..900).prop_map(|number| number.to_be_bytes().to_vec())
}

fn versions() -> impl Strategy<Value = Vec<Changes>> {
    // ICS 23 proves no empty value; the state has none.
    let value = proptest::option::weighted(0.6, proptest::collection::vec(any::<u8>(), 1..4));
    // Some are few enough for one core, some are not.
    let changes = prop_oneof![
        proptest::collection::btree_map(keys(), value.clone(), 1..6),
        proptest::collection::btree_map(keys(), value, 100..400),
    ];
    proptest::collection::vec(changes, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn roots_and_proofs_are_those_of_the_jellyfish_merkle_tree(versions in versions(), asked in proptest::collection::vec(keys(), 8)) {
        let mut oracle = Oracle::default();
        let mut tree = Tree::default();
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut older = Vec::new();
        for mut changes in versions {
            changes.retain(|key, value| value.is_some() || model.contains_key(key));
            if changes.is_empty() {
                continue;
            }
            let root = oracle.put(&changes);
            let undo: Changes = changes.keys().map(|key| (key.clone(), model.get(key).cloned())).collect();
            older.push((tree.clone(), tree.root()));
            tree = tree.with(&changes);
            prop_assert_eq!(tree.root(), root);
            prop_assert_eq!(tree.with(&undo).root(), older.last().unwrap().1, "what is undone never happened");
            for (key, value) in changes {
                match value {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
            }
            prop_assert_eq!(Tree::of(model.clone()).root(), root, "the way to a state leaves no trace in its root");
            if model.is_empty() {
                prop_assert_eq!(root, EMPTY_ROOT);
                prop_assert!(tree.prove(b"k", |_| Vec::new()).is_none());
                continue;
            }
            for key in &asked {
                let proven = tree.prove(key, |key| model[key].clone()).unwrap();
                prop_assert_eq!(&proven.value, &model.get(key).cloned());
                prop_assert_eq!((proven.value.clone(), proven.proof.clone()), oracle.prove(key));
                prop_assert!(verify(&root, key, proven.value.as_deref(), &proven.proof).is_ok());
            }
        }
        for (tree, root) in older {
            prop_assert_eq!(tree.root(), root, "an older version is as it was");
        }
    }
}

/// But for the depth: its crate says 64, and two keys that agree in more bits than that can be made.
#[test]
fn the_proof_specification_is_that_of_the_jellyfish_merkle_tree_at_any_depth() {
    assert_eq!(spec(), ics23::ProofSpec { max_depth: 256, ..jmt::ics23_spec() });
}
