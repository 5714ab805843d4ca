//! A validator that is killed at any point comes back where it was: nothing acknowledged is lost,
//! and what is replayed gives the same app hash.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod support;

use careledger_app::{
    machine::{Block, Machine},
    store::memory::MemoryStore,
};
use support::{Abci, CHAIN, Daemon, GENESIS_TIME, anchor, app_state, block_time, finalize_request, register_hospital};
use tendermint_proto::v0_38::abci::{RequestCommit, request::Value};

const BLOCKS: u64 = 6;

fn transactions(height: u64) -> Vec<Vec<u8>> {
    match height {
        1 => vec![register_hospital()],
        // An empty block among them, and a refused transaction in each other.
        4 => Vec::new(),
        _ => vec![anchor(if height > 4 { height - 3 } else { height - 2 }, 20), register_hospital()],
    }
}

/// The app hash after each height, from a machine that was never killed. Index 0 is genesis.
fn expected() -> Vec<Vec<u8>> {
    let mut machine = Machine::new(MemoryStore::new());
    let mut hashes = vec![machine.init_chain(CHAIN, &app_state(), GENESIS_TIME).unwrap().to_vec()];
    for height in 1..=BLOCKS {
        let block = Block { height, time: block_time(height), transactions: transactions(height) };
        let finalized = machine.finalize(&block);
        assert!(block.transactions.is_empty() || finalized.outcomes[0].code == 0, "{finalized:?}");
        machine.commit();
        hashes.push(finalized.app_hash.to_vec());
    }
    hashes
}

/// How far CometBFT gets with a block before the application is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kill {
    FinalizeSent,
    FinalizeAnswered,
    CommitSent,
    CommitAnswered,
}

/// What CometBFT does after a restart: asks where the application is and replays from there.
fn replay(daemon: &Daemon, expected: &[Vec<u8>], acknowledged: u64, attempted: u64) -> u64 {
    let mut abci = daemon.connect();
    let info = abci.info().unwrap();
    let height = u64::try_from(info.last_block_height).unwrap();
    assert!((acknowledged..=attempted).contains(&height), "acknowledged {acknowledged}, found {height}");
    if height == 0 {
        assert_eq!(abci.init_chain().unwrap().app_hash, expected[0]);
    } else {
        assert_eq!(info.last_block_app_hash, expected[height as usize]);
    }
    height
}

fn run_block<S: std::io::Read + std::io::Write>(abci: &mut Abci<S>, height: u64, kill: Kill, expected: &[Vec<u8>]) {
    let transactions = transactions(height);
    if kill == Kill::FinalizeSent {
        return abci.send(finalize_request(height, &transactions)).unwrap();
    }
    let finalized = abci.finalize(height, &transactions).unwrap();
    assert_eq!(finalized.app_hash, expected[height as usize]);
    match kill {
        Kill::CommitSent => abci.send(Value::Commit(RequestCommit {})).unwrap(),
        Kill::CommitAnswered => abci.commit().unwrap(),
        Kill::FinalizeSent | Kill::FinalizeAnswered => {}
    }
}

#[test]
fn killed_at_any_point_it_comes_back_with_everything_it_acknowledged() {
    let expected = expected();
    let home = tempfile::tempdir().unwrap();
    Daemon::init(home.path());
    let points = [Kill::FinalizeSent, Kill::FinalizeAnswered, Kill::CommitSent, Kill::CommitAnswered];

    let daemon = Daemon::start(home.path());
    daemon.connect().init_chain().unwrap();
    daemon.kill();
    let (mut acknowledged, mut attempted) = (0, 0);
    for height in 1..=BLOCKS {
        for kill in points {
            let daemon = Daemon::start(home.path());
            let at = replay(&daemon, &expected, acknowledged, attempted);
            if at >= height {
                daemon.kill();
                continue;
            }
            run_block(&mut daemon.connect(), height, kill, &expected);
            daemon.kill();
            if kill == Kill::CommitAnswered {
                acknowledged = height;
            }
            if matches!(kill, Kill::CommitSent | Kill::CommitAnswered) {
                attempted = height;
            }
        }
        acknowledged = height;
    }
    let daemon = Daemon::start(home.path());
    assert_eq!(replay(&daemon, &expected, BLOCKS, BLOCKS), BLOCKS);
}

#[test]
fn a_full_disk_stops_the_node_and_loses_nothing_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    Daemon::init(home.path());
    let socket = home.path().join("abci.sock");
    // The operating system refuses to let any file grow past this; careledgerd must survive the
    // signal that comes with it to see the error.
    let mut command = std::process::Command::new("bash");
    let binary = env!("CARGO_BIN_EXE_careledgerd");
    let script = format!("trap '' XFSZ; ulimit -f 600; exec {binary} start --abci unix://{}", socket.display());
    command.args(["-c", &script]).env("CARELEDGER_HOME", home.path());
    let daemon = Daemon::spawn(command, socket);

    let mut abci = daemon.connect();
    abci.init_chain().unwrap();
    let mut acknowledged = (0, Vec::new());
    for height in 1..1_000 {
        let transactions = if height == 1 { vec![register_hospital()] } else { vec![anchor(height - 2, 500)] };
        let Ok(finalized) = abci.finalize(height, &transactions) else { break };
        assert_eq!(finalized.tx_results[0].code, 0, "a full disk is never a refusal");
        if abci.commit().is_err() {
            break;
        }
        acknowledged = (height, finalized.app_hash.to_vec());
    }
    let (said, code) = daemon.wait();
    assert_eq!(code, Some(careledger_app::fault::EXIT_CODE), "{said}");
    assert!(said.contains("writing a block") && said.contains("nothing that was acknowledged is lost"), "{said}");

    let info = Daemon::start(home.path()).connect().info().unwrap();
    assert!(acknowledged.0 > 1, "the limit must let some blocks pass");
    assert_eq!((info.last_block_height as u64, info.last_block_app_hash.to_vec()), acknowledged);
}
