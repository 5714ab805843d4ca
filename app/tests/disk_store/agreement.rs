//! Whatever is committed, disk, memory and a tree that is made at once agree.

use std::collections::BTreeMap;

use careledger_app::{
    state::{Changes, StateRead as _},
    store::{Store, memory::MemoryStore, tree},
};
use jmt::{KeyHash, Sha256Jmt, mock::MockTreeStore};
use proptest::prelude::*;

use super::{RETAINED, blocks, chain, genesis, open};

/// The root of a tree that is given these pairs at once.
fn root_of(pairs: &BTreeMap<Vec<u8>, Vec<u8>>) -> [u8; 32] {
    let nodes = MockTreeStore::default();
    let hash = |key: &Vec<u8>| KeyHash(tree::key_hash(key));
    let set = pairs.iter().map(|(key, value)| (hash(key), Some(value.clone())));
    Sha256Jmt::new(&nodes).put_value_set(set, 0).unwrap().0.0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_committed_disk_and_memory_and_a_fresh_tree_agree(blocks in blocks(), reopen in 1u64..5) {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = open(folder.path());
        let mut memory = MemoryStore::new();
        prop_assert_eq!(disk.init(chain(), genesis()), memory.init(chain(), genesis()));
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = [(b"k".to_vec(), vec![0])].into();
        let mut roots = vec![disk.app_hash()];

        for (index, changes) in blocks.into_iter().enumerate() {
            let height = index as u64 + 1;
            // A store is given no deletion of what is not there.
            let changes: Changes =
                changes.into_iter().filter(|(key, value)| value.is_some() || model.contains_key(key)).collect();
            let staged = disk.stage(height, 9, changes.clone(), Vec::new());
            prop_assert_eq!(disk.height(), height - 1, "staging keeps nothing");
            let root = staged.app_hash;
            disk.commit(staged);
            memory.commit(memory.stage(height, 9, changes.clone(), Vec::new()));
            if changes.is_empty() {
                prop_assert_eq!(root, roots[index], "an empty block keeps the root");
            }
            for (key, value) in changes {
                match value {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
            }
            roots.push(root);
            prop_assert_eq!(root, root_of(&model));
            prop_assert_eq!(root, memory.app_hash());
            if height.is_multiple_of(reopen) {
                drop(disk);
                disk = open(folder.path());
            }
            prop_assert_eq!((disk.height(), disk.app_hash(), disk.chain()), (height, root, Some(chain())));
            prop_assert_eq!(disk.scan(b"k", None, 100), memory.scan(b"k", None, 100));
            prop_assert_eq!(disk.scan(b"k", Some(&[b'k', 7]), 3), memory.scan(b"k", Some(&[b'k', 7]), 3));

            for back in 0..RETAINED + 2 {
                let Some(at) = height.checked_sub(back) else { break };
                for byte in 0u8..24 {
                    let key = [b'k', byte];
                    let proven = disk.prove(&key, at);
                    prop_assert_eq!(proven.is_some(), back < RETAINED, "height {} of {}", at, height);
                    if let Some(proven) = proven {
                        prop_assert_eq!(&proven, &memory.prove(&key, at).unwrap());
                        let root = &roots[at as usize];
                        prop_assert!(tree::verify(root, &key, proven.value.as_deref(), &proven.proof).is_ok());
                        prop_assert!(tree::verify(root, &key, Some(b"other"), &proven.proof).is_err());
                        let reverse = if proven.value.is_some() { None } else { Some(&b"x"[..]) };
                        prop_assert!(tree::verify(root, &key, reverse, &proven.proof).is_err());
                        prop_assert!(tree::verify(&[1; 32], &key, proven.value.as_deref(), &proven.proof).is_err());
                        // `k` is always there: nothing proves its absence, or another key's value for it.
                        prop_assert!(tree::verify(root, b"k", proven.value.as_deref(), &proven.proof).is_err());
                    }
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_the_proof_checker_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(tree::verify(&[0; 32], b"k", Some(b"v"), &bytes).is_err());
        prop_assert!(tree::verify(&[0; 32], b"k", None, &bytes).is_err());
    }
}

#[test]
fn genesis_replaces_what_an_earlier_genesis_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(folder.path());
    let other = BTreeMap::from([(b"other".to_vec(), Some(vec![1]))]);
    let first = disk.init(chain(), other);
    let second = disk.init(chain(), genesis());
    assert_ne!(first, second);
    assert_eq!(disk.get_bytes(b"other"), None);
    drop(disk);
    assert_eq!(open(folder.path()).app_hash(), second);
}
