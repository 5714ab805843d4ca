//! What a real CometBFT 0.38 asked, asked again: every answer of the ledger has the same bytes.
//!
//! The files of `golden/recordings` hold requests and responses as they were on the wire, each with its length
//! before it, in the order in which they happened. One file is one life of the application. To record them anew:
//! `UPDATE_GOLDEN=1 cargo test --workspace --features careledger_zk/prover --test e2e record`

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod support;

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use careledger_app::upgrade;
use prost::Message as _;
use support::{Abci, Daemon};
use tendermint_proto::v0_38::abci::{Request, Response, request::Value as Asked, response::Value as Answer};

/// Heights between two snapshots, as where it was recorded.
const SNAPSHOT_INTERVAL: u64 = 10;
/// Only turns a hang into a failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// The frames of a recording, each with its length.
fn frames(name: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/recordings").join(name).with_extension("abci");
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut rest = bytes.as_slice();
    let mut all = Vec::new();
    while !rest.is_empty() {
        let mut after = rest;
        let length = prost::decode_length_delimiter(&mut after).unwrap();
        let whole = rest.len() - after.len() + length;
        all.push(rest[..whole].to_vec());
        rest = &rest[whole..];
    }
    assert_eq!(all.len() % 2, 0, "{name}: every request has its response");
    all.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// Asks with these bytes; gives the bytes of the answer.
fn ask<S: Read + Write>(abci: &mut Abci<S>, request: &[u8]) -> Vec<u8> {
    abci.stream().write_all(request).unwrap();
    let mut answer = Vec::new();
    while answer.len() < 10 && answer.last().is_none_or(|byte| byte & 0x80 != 0) {
        let mut byte = [0];
        abci.stream().read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let start = answer.len();
    let length = prost::decode_length_delimiter(answer.as_slice()).unwrap();
    answer.resize(start + length, 0);
    abci.stream().read_exact(&mut answer[start..]).unwrap();
    answer
}

/// The recorded answer as this version of the program gives it: Info names the version, and before any genesis the newest
/// format that it knows.
fn of_this_version(recorded: &[u8]) -> Vec<u8> {
    let mut response = Response::decode_length_delimited(recorded).unwrap();
    if let Some(Answer::Info(info)) = &mut response.value {
        info.version = env!("CARGO_PKG_VERSION").to_owned();
        if info.last_block_height == 0 {
            info.app_version = upgrade::NEWEST.into();
        }
        return response.encode_length_delimited_to_vec();
    }
    recorded.to_vec()
}

/// Replays one life on what the earlier ones left in `home`, and kills the application at its end. Gives the requests.
fn replay(home: &Path, name: &str) -> Vec<Asked> {
    let daemon = Daemon::start(home);
    let mut abci = daemon.connect();
    let mut asked = Vec::new();
    for (place, (request, recorded)) in frames(name).into_iter().enumerate() {
        let value = Request::decode_length_delimited(request.as_slice()).unwrap().value.unwrap();
        let expected = of_this_version(&recorded);
        let mut answer = ask(&mut abci, &request);
        let until = Instant::now() + DEADLINE;
        // A thread of its own writes a snapshot; where it was recorded, minutes lay in between.
        while matches!(value, Asked::ListSnapshots(_)) && answer != expected && Instant::now() < until {
            answer = ask(&mut abci, &request);
        }
        assert!(
            answer == expected,
            "{name}, call {place}: {value:?}\nrecorded {:?}\nanswered {:?}",
            Response::decode_length_delimited(expected.as_slice()),
            Response::decode_length_delimited(answer.as_slice()),
        );
        asked.push(value);
    }
    daemon.kill();
    asked
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    Daemon::init(home.path());
    let settings = home.path().join("config/app.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let interval = |interval: u64| format!("interval = {interval}\n");
    assert!(text.contains(&interval(1_000)), "the example's default");
    fs::write(&settings, text.replace(&interval(1_000), &interval(SNAPSHOT_INTERVAL))).unwrap();
    home
}

#[test]
fn what_a_real_node_asked_from_its_genesis_through_a_crash_is_answered_byte_for_byte() {
    let home = home();
    let first = replay(home.path(), "1-first");
    let killed = replay(home.path(), "2-killed-before-commit");
    let replayed = replay(home.path(), "3-replayed");
    let has = |calls: &[Asked], is: fn(&Asked) -> bool| calls.iter().any(is);
    assert!(has(&first, |call| matches!(call, Asked::InitChain(_))));
    for is in [
        |call: &Asked| matches!(call, Asked::CheckTx(_)),
        |call: &Asked| matches!(call, Asked::PrepareProposal(_)),
        |call: &Asked| matches!(call, Asked::ProcessProposal(_)),
        |call: &Asked| matches!(call, Asked::FinalizeBlock(_)),
        |call: &Asked| matches!(call, Asked::Commit(_)),
    ] {
        assert!(has(&first, is) && has(&replayed, is));
    }
    assert!(has(&first, |call| matches!(call, Asked::Query(query) if query.prove)));
    // The block that was decided and not committed is decided again.
    let decided = |call: &Asked| match call {
        Asked::FinalizeBlock(block) => Some(block.clone()),
        _ => None,
    };
    let lost = killed.iter().rev().find_map(decided).unwrap();
    let again = replayed.iter().find_map(decided).unwrap();
    assert_eq!((lost.height, &lost.hash, &lost.txs), (again.height, &again.hash, &again.txs));
    assert!(has(&replayed, |call| matches!(call, Asked::LoadSnapshotChunk(_))));
}

#[test]
fn what_a_real_node_asked_while_it_joined_from_a_snapshot_is_answered_byte_for_byte() {
    let home = home();
    let calls = replay(home.path(), "joined");
    assert!(calls.iter().any(|call| matches!(call, Asked::OfferSnapshot(_))));
    assert!(calls.iter().any(|call| matches!(call, Asked::ApplySnapshotChunk(_))));
    assert!(calls.iter().any(|call| matches!(call, Asked::FinalizeBlock(_))), "it follows after the snapshot");
}
