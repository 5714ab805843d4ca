//! The disk store is the memory store, durable: same roots, same reads, proofs that verify.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod agreement;
mod damage;
mod undo;
mod window;

use std::{collections::BTreeMap, path::Path};

use careledger_app::{
    state::Changes,
    store::{
        ChainMeta,
        disk::{DiskStore, Retention},
    },
};
use proptest::prelude::*;

/// Heights whose state the stores of these tests can prove.
const RETAINED: u64 = 4;

fn open(path: &Path) -> DiskStore {
    DiskStore::open(path, Retention { heights: RETAINED, results_blocks: 3, ..Retention::default() }).unwrap()
}

fn chain() -> ChainMeta {
    ChainMeta { chain_id: "careledger-dev-1".to_owned(), genesis_time: 5, initial_height: 1 }
}

fn genesis() -> Changes {
    BTreeMap::from([(b"k".to_vec(), Some(vec![0]))])
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    (0u8..24).prop_map(|byte| vec![b'k', byte])
}

fn blocks() -> impl Strategy<Value = Vec<BTreeMap<Vec<u8>, Option<Vec<u8>>>>> {
    let value = proptest::option::weighted(0.7, proptest::collection::vec(any::<u8>(), 1..5));
    proptest::collection::vec(proptest::collection::btree_map(keys(), value, 0..6), 1..14)
}

/// The families of a store that is closed, with nothing of ours in between.
fn raw(folder: &Path) -> rocksdb::DB {
    let families = rocksdb::DB::list_cf(&rocksdb::Options::default(), folder).unwrap();
    rocksdb::DB::open_cf(&rocksdb::Options::default(), folder, &families).unwrap()
}
