//! A disk that lost the end of a block's write: what is opened afterwards is the state before the
//! block, never a part of it; what cannot be told from damage is refused, never silently left out.
//!
//! The blocks are those that simulated networks decide.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use careledger_app::{
    machine::Machine,
    sim,
    store::disk::{DiskStore, OpenError, Retention},
};

/// Networks whose blocks are written.
const SEEDS: u64 = 4;
/// Blocks of each after which the write is torn: each opens the state anew.
const BLOCKS: usize = 14;

fn open(folder: &Path) -> Result<DiskStore, OpenError> {
    DiskStore::open(folder, Retention { heights: 4, ..Retention::default() })
}

/// The log that RocksDB writes to now: the one with the highest number.
fn log(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let logs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max_by_key(|path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap()).unwrap()
}

fn length(path: &Path) -> usize {
    fs::read(path).unwrap().len()
}

/// What became of bytes that were not yet acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Cut off.
    Cut,
    /// The file has its length, and what was not written is zeros.
    Zeros,
    /// Something else stands there.
    Garbage,
}

/// Tears what follows `start`: at its beginning, somewhere within, or one byte before its end.
fn tear(bytes: &mut Vec<u8>, start: usize, way: u64) -> Tail {
    let written = bytes.len() - start;
    let cut = start + [0, 1, written / 3, written / 2, written - 1][(way % 5) as usize];
    // Where zeros stand anyway, the end is missing instead.
    let is_zero = bytes[cut..].iter().all(|byte| *byte == 0);
    let tail = if is_zero { Tail::Cut } else { [Tail::Cut, Tail::Zeros, Tail::Garbage][(way % 3) as usize] };
    match tail {
        Tail::Cut => bytes.truncate(cut),
        Tail::Zeros => bytes[cut..].fill(0),
        Tail::Garbage => bytes[cut..].iter_mut().for_each(|byte| *byte ^= 0x5a),
    }
    tail
}

#[test]
fn a_torn_write_leaves_the_block_before_and_the_node_goes_on() {
    let (mut torn, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let blocks = sim::decided(seed).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut machine = sim::start(open(folder.path()).unwrap(), seed);
        for (number, (block, app_hash)) in blocks.iter().enumerate() {
            let before = machine.app_hash();
            let start = length(&log(folder.path()));
            assert_eq!(machine.finalize(block).app_hash, *app_hash);
            machine.commit();
            if number >= BLOCKS {
                continue;
            }
            // The process ends, and the machine with it: the disk kept what it had.
            drop(machine);
            let path = log(folder.path());
            let mut bytes = fs::read(&path).unwrap();
            assert!(bytes.len() > start, "a block is in the log before it is committed");
            let whole = bytes.clone();
            let tail = tear(&mut bytes, start, seed * 7 + number as u64);
            fs::write(&path, &bytes).unwrap();
            let opened = match open(folder.path()) {
                Ok(store) => store,
                // What is no torn write for sure is refused, and said: a node joins anew then.
                Err(OpenError::Corrupt { .. }) if tail != Tail::Cut => {
                    refused += 1;
                    fs::write(&path, &whole[..start]).unwrap();
                    open(folder.path()).unwrap()
                }
                Err(error) => panic!("{tail:?}: {error}"),
            };
            machine = Machine::new(opened);
            assert_eq!((machine.height(), machine.app_hash()), (block.height - 1, before), "block {}", block.height);
            assert_eq!(machine.finalize(block).app_hash, *app_hash, "the block is executed again");
            machine.commit();
            torn += 1;
        }
        drop(machine);
        let machine = Machine::new(open(folder.path()).unwrap());
        assert_eq!(machine.app_hash(), blocks.last().unwrap().1, "what was committed is there");
    }
    assert_eq!(torn, SEEDS as usize * BLOCKS);
    assert!((1..torn).contains(&refused), "{refused} of {torn} were refused");
}

/// As the ledger of a single gateway uses it, which keeps its blocks elsewhere.
#[test]
fn a_state_that_lost_its_newest_blocks_to_a_power_cut_gets_them_again() {
    for (seed, lost) in (0..SEEDS).zip([1, 3, 8, 13]) {
        let blocks = sim::decided(seed).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut machine = sim::start(open(folder.path()).unwrap().after_kept_blocks(), seed);
        let mut lengths = Vec::new();
        for (block, _) in &blocks[..BLOCKS] {
            lengths.push(length(&log(folder.path())));
            machine.finalize(block);
            machine.commit();
        }
        drop(machine);
        let path = log(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(lengths[BLOCKS - lost]);
        fs::write(&path, &bytes).unwrap();
        let mut machine = Machine::new(open(folder.path()).unwrap().after_kept_blocks());
        let kept = &blocks[BLOCKS - lost - 1];
        assert_eq!((machine.height(), machine.app_hash()), (kept.0.height, kept.1), "{lost} blocks were lost");
        for (block, app_hash) in &blocks[BLOCKS - lost..BLOCKS] {
            assert_eq!(machine.finalize(block).app_hash, *app_hash);
            machine.commit();
        }
    }
}

#[test]
fn a_committed_block_that_the_disk_damaged_is_never_silently_left_out() {
    let blocks = sim::decided(0).unwrap();
    for (way, damaged) in [(0, 1), (1, 2), (2, 3)] {
        let folder = tempfile::tempdir().unwrap();
        let mut machine = sim::start(open(folder.path()).unwrap(), 0);
        let mut starts = Vec::new();
        for (block, _) in &blocks[..5] {
            starts.push(length(&log(folder.path())));
            machine.finalize(block);
            machine.commit();
        }
        drop(machine);
        let path = log(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        let middle = (starts[damaged] + starts[damaged + 1]) / 2;
        match way {
            0 => bytes[middle] ^= 1,
            1 => bytes[middle..middle + 8].fill(0),
            _ => bytes[starts[damaged] + 4] ^= 0x10,
        }
        fs::write(&path, &bytes).unwrap();
        let opened = open(folder.path()).map(Machine::new).map(|machine| machine.height());
        assert!(
            matches!(opened, Err(OpenError::Corrupt { .. })),
            "block {} was damaged and the state opened at {opened:?}",
            damaged + 1
        );
    }
}
