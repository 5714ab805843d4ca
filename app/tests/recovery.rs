//! A validator that is killed at any point comes back where it was: nothing acknowledged is lost,
//! and what is replayed gives the same app hash.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod support;

use careledger_app::{
    machine::{Block, Machine},
    store::memory::MemoryStore,
    upgrade::NEWEST,
};
use careledger_wire::proto::governance::{Content, MsgPropose, ScheduledUpgrade, content::Decision};
use support::{
    Abci, CHAIN, Daemon, GENESIS_TIME, anchor, app_state, block_time, careledgerd, finalize_request, init_chain,
    register_hospital, sign, signer,
};
use tendermint_proto::v0_38::{
    abci::{RequestCommit, RequestInitChain, ValidatorUpdate, request::Value},
    crypto::{PublicKey, public_key::Sum},
};

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

/// The registrar's decision `sequence`: an upgrade at a height.
fn schedule(sequence: u64, version: u32, height: u64) -> Vec<u8> {
    let decision = Decision::Upgrade(ScheduledUpgrade { version, height });
    let message = MsgPropose {
        sender: signer("registrar").address().to_string(),
        proposal: careledger_wire::commitment::hash("test-proposal", &[&sequence.to_be_bytes()]).to_vec(),
        expires_at: block_time(100),
        content: Some(Content { decision: Some(decision) }),
    };
    sign(&signer("registrar"), 0, sequence, &[message.into()])
}

/// The program that knows the upgrade goes through it, also when it is killed around it; the same
/// program stops before the next upgrade, which it does not know, and says which it is.
#[test]
fn a_node_makes_the_upgrade_that_it_knows_and_stops_before_the_one_that_it_does_not() {
    let home = tempfile::tempdir().unwrap();
    Daemon::init(home.path());
    let daemon = Daemon::start(home.path());
    let mut abci = daemon.connect();
    let mut genesis: serde_json::Value = serde_json::from_slice(&init_chain().app_state_bytes).unwrap();
    genesis["state_version"] = (NEWEST - 1).into();
    let app_state_bytes = serde_json::to_vec(&genesis).unwrap().into();
    abci.ask(Value::InitChain(RequestInitChain { app_state_bytes, ..init_chain() })).unwrap();
    let scheduled = abci.finalize(1, &[schedule(0, NEWEST, 3)]).unwrap();
    assert_eq!(scheduled.tx_results[0].code, 0, "{}", scheduled.tx_results[0].log);
    abci.commit().unwrap();
    abci.finalize(2, &[]).unwrap();
    abci.commit().unwrap();
    assert_eq!(abci.info().unwrap().app_version, u64::from(NEWEST - 1));
    let upgraded = abci.finalize(3, &[]).unwrap();
    assert_eq!(upgraded.consensus_param_updates.unwrap().version.unwrap().app, u64::from(NEWEST));
    daemon.kill();

    let daemon = Daemon::start(home.path());
    let mut abci = daemon.connect();
    assert_eq!(abci.info().unwrap().last_block_height, 2, "what was not committed did not happen");
    assert_eq!(abci.finalize(3, &[]).unwrap().app_hash, upgraded.app_hash, "the migration is the same again");
    abci.commit().unwrap();
    assert_eq!(abci.info().unwrap().app_version, u64::from(NEWEST));
    let scheduled = abci.finalize(4, &[schedule(1, NEWEST + 1, 6)]).unwrap();
    assert_eq!(scheduled.tx_results[0].code, 0, "{}", scheduled.tx_results[0].log);
    abci.commit().unwrap();
    abci.finalize(5, &[]).unwrap();
    abci.commit().unwrap();
    assert!(abci.finalize(6, &[]).is_err(), "no answer: the block is another program's");
    let (said, code) = daemon.wait();
    assert_eq!(code, Some(careledger_app::fault::UPGRADE_EXIT_CODE), "{said}");
    assert!(said.contains(&format!("upgrade {} is due at height 6", NEWEST + 1)), "{said}");

    let mut again = careledgerd(home.path());
    let refused = again.args(["start", "--abci", "tcp://127.0.0.1:0"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(careledger_app::fault::UPGRADE_EXIT_CODE), "it says so at the start, too");
}

#[test]
fn a_chain_whose_validators_cannot_be_tracked_does_not_start() {
    let home = tempfile::tempdir().unwrap();
    Daemon::init(home.path());
    let daemon = Daemon::start(home.path());
    let key = PublicKey { sum: Some(Sum::Secp256k1(vec![2; 33])) };
    let validators = vec![ValidatorUpdate { pub_key: Some(key), power: 10 }];
    let request = RequestInitChain { validators, ..init_chain() };
    assert!(daemon.connect().ask(Value::InitChain(request)).is_err());
    let (said, code) = daemon.wait();
    assert_eq!(code, Some(careledger_app::fault::EXIT_CODE));
    assert!(said.contains("ed25519"), "{said}");
}
