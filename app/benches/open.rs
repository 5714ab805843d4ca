//! Opening the state of a million records: reading it, making its Merkle tree, comparing the root.
//! And, on the way there, what a block of ten thousand new records costs the store.

use std::time::{Duration, Instant};

use careledger_app::{
    state::Changes,
    store::{
        ChainMeta, Store as _,
        disk::{DiskStore, Retention},
    },
};
use sha2::{Digest as _, Sha256};

const RECORDS: u64 = 1_000_000;
const RECORDS_PER_BLOCK: u64 = 10_000;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = || DiskStore::open(folder.path(), Retention::default()).expect("the store opens");
    let mut store = open();
    let chain = ChainMeta { chain_id: "careledger-dev-bench".to_owned(), genesis_time: 1, initial_height: 1 };
    store.init(chain, Changes::from([(b"parameters".to_vec(), Some(vec![1]))]));
    let (mut staged, mut committed) = (Duration::ZERO, Duration::ZERO);
    for block in 0..RECORDS / RECORDS_PER_BLOCK {
        let record = |number: u64| {
            let id = Sha256::digest(number.to_be_bytes());
            // `record/<organization>/<record>` and a value of its size.
            ([b"record/", &[7; 20][..], b"/", id.as_slice()].concat(), Some(vec![5; 42]))
        };
        let numbers = block * RECORDS_PER_BLOCK..(block + 1) * RECORDS_PER_BLOCK;
        let changes: Changes = numbers.map(record).collect();
        let started = Instant::now();
        let next = store.stage(block + 1, 1, changes, Vec::new());
        staged = started.elapsed();
        let started = Instant::now();
        store.commit(next);
        committed = started.elapsed();
    }
    println!("the last block of {RECORDS_PER_BLOCK} records: root {staged:.1?}, durable {committed:.1?}");
    let root = store.app_hash();
    drop(store);
    let started = Instant::now();
    let store = open();
    println!("opening a state of {RECORDS} records: {:.1?}", started.elapsed());
    assert_eq!(store.app_hash(), root);
}
