//! The ledger as CometBFT sees it: the requirements on an ABCI 2.0 application that it stops for.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    thread,
    time::Instant,
};

use careledger_app::{
    abci::{
        APP_VERSION, Application as _, Ledger,
        frame::FRAME_BYTES_MAX,
        server::{Address, Server},
    },
    limits::BLOCK_BYTES_MAX,
    machine::Machine,
    store::memory::MemoryStore,
};
use support::{Abci, CHAIN, anchor, block_time, init_chain, register_hospital};
use tendermint_proto::{
    google::protobuf::Timestamp,
    v0_38::{
        abci::{
            RequestCheckTx, RequestEcho, RequestFlush, RequestInitChain, RequestPrepareProposal,
            RequestProcessProposal, RequestQuery, request::Value as Asked, response::Value as Answer,
            response_process_proposal::ProposalStatus,
        },
        types::{BlockParams, ConsensusParams, EvidenceParams},
    },
};

fn ledger() -> Ledger<MemoryStore> {
    Ledger::new(Machine::new(MemoryStore::new()), 0)
}

/// A ledger after block 1, in which the hospital was registered.
fn started() -> Ledger<MemoryStore> {
    let ledger = ledger();
    ledger.init_chain(init_chain());
    let Asked::FinalizeBlock(block) = support::finalize_request(1, &[register_hospital()]) else { unreachable!() };
    assert_eq!(ledger.finalize_block(block).tx_results[0].code, 0);
    ledger.commit();
    ledger
}

fn serve_unix(ledger: Ledger<MemoryStore>) -> (tempfile::TempDir, impl Fn() -> Abci<UnixStream>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("abci.sock");
    let server = Server::bind(&Address::Unix(path.clone())).unwrap();
    thread::spawn(move || server.serve(ledger));
    (folder, move || Abci::new(UnixStream::connect(&path).unwrap()))
}

fn serve_tcp(ledger: Ledger<MemoryStore>) -> impl Fn() -> Abci<TcpStream> {
    let server = Server::bind(&"tcp://127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.tcp_address().unwrap();
    thread::spawn(move || server.serve(ledger));
    move || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Abci::new(stream)
    }
}

fn check_tx(tx: &[u8]) -> Asked {
    Asked::CheckTx(RequestCheckTx { tx: tx.to_vec().into(), r#type: 0 })
}

fn is_still_served(mut abci: Abci<impl std::io::Read + std::io::Write>) {
    let echo = Asked::Echo(RequestEcho { message: "still there".to_owned() });
    assert!(matches!(abci.ask(echo).unwrap(), Answer::Echo(answer) if answer.message == "still there"));
}

#[test]
fn answers_come_in_order_over_both_kinds_of_socket() {
    let (_folder, unix) = serve_unix(started());
    let tcp = serve_tcp(started());
    let transactions: Vec<Vec<u8>> = (0..50).map(|sequence| anchor(sequence, 1)).collect();
    fn burst(mut abci: Abci<impl std::io::Read + std::io::Write>, transactions: &[Vec<u8>]) {
        for transaction in transactions {
            abci.send(check_tx(transaction)).unwrap();
        }
        abci.send(check_tx(b"not a transaction")).unwrap();
        abci.send(Asked::Flush(RequestFlush {})).unwrap();
        for index in 0..=transactions.len() {
            let Answer::CheckTx(answer) = abci.receive().unwrap() else { panic!("expected CheckTx") };
            assert_eq!(answer.code == 0, index < transactions.len(), "{index}: {}", answer.log);
        }
        assert!(matches!(abci.receive().unwrap(), Answer::Flush(_)));
    }
    burst(unix(), &transactions);
    burst(tcp(), &transactions);
}

#[test]
fn hostile_frames_close_their_connection_and_no_other() {
    let (_folder, connect) = serve_unix(started());
    let mut oversize = Vec::new();
    prost::encode_length_delimiter(FRAME_BYTES_MAX + 1, &mut oversize).unwrap();
    let cases: [(&str, &[u8]); 5] = [
        ("oversize", &oversize),
        ("endless varint", &[0xff; 16]),
        ("not a request", &[3, 0xff, 0xff, 0xff]),
        ("an empty request", &[0]),
        ("a request of another ABCI", &[4, 0xfa, 0x3f, 1, 0]),
    ];
    for (name, bytes) in cases {
        let mut abci = connect();
        abci.stream().write_all(bytes).unwrap();
        assert!(matches!(abci.receive().unwrap(), Answer::Exception(_)), "{name}");
        assert_eq!(abci.stream().read(&mut [0]).unwrap(), 0, "{name}: the connection is closed");
        is_still_served(connect());
    }
    let mut truncated = connect();
    truncated.stream().write_all(&[200, 1, 5]).unwrap();
    drop(truncated);
    is_still_served(connect());
}

#[test]
fn info_tells_where_replay_goes_on() {
    let fresh = ledger();
    let info = fresh.info(Default::default());
    assert_eq!((info.last_block_height, info.last_block_app_hash.len()), (0, 0));
    let info = started().info(Default::default());
    assert_eq!((info.last_block_height, info.last_block_app_hash.len()), (1, 32));
}

#[test]
fn init_chain_may_come_again_while_the_height_is_0() {
    let ledger = ledger();
    let first = ledger.init_chain(init_chain());
    assert_eq!(ledger.info(Default::default()).last_block_height, 0);
    assert_eq!(ledger.init_chain(init_chain()), first);
}

#[test]
fn consensus_parameters_are_ones_that_comet_bft_accepts() {
    let given = |max_bytes, max_gas, evidence| ConsensusParams {
        block: Some(BlockParams { max_bytes, max_gas }),
        evidence: Some(EvidenceParams { max_bytes: evidence, max_age_num_blocks: 9, max_age_duration: None }),
        ..ConsensusParams::default()
    };
    for (max_bytes, max_gas, evidence) in [(0, 0, 1), (-1, -1, 1 << 20), (1 << 20, 5, 1 << 22), (i64::MAX, -1, 0)] {
        let request = RequestInitChain { consensus_params: Some(given(max_bytes, max_gas, evidence)), ..init_chain() };
        let answer = ledger().init_chain(request).consensus_params.unwrap();
        let (block, evidence) = (answer.block.unwrap(), answer.evidence.unwrap());
        assert_eq!(block.max_gas, -1);
        assert_eq!(answer.version.unwrap().app, APP_VERSION, "headers carry it, and nodes that join compare it");
        assert!(block.max_bytes > 0 && block.max_bytes <= 2 * BLOCK_BYTES_MAX as i64);
        assert!(evidence.max_bytes <= block.max_bytes && evidence.max_age_num_blocks == 9);
    }
}

#[test]
fn a_proposal_is_never_larger_than_asked_for_and_is_accepted_by_others() {
    let proposer = started();
    let txs: Vec<Vec<u8>> = (0..20).map(|sequence| anchor(sequence, 10)).collect();
    let total: usize = txs.iter().map(Vec::len).sum();
    for max_tx_bytes in [0, 1, txs[0].len(), total / 2, total, 2 * total] {
        let time = Some(Timestamp { seconds: block_time(2), nanos: 0 });
        let request = RequestPrepareProposal {
            max_tx_bytes: max_tx_bytes as i64,
            txs: txs.iter().map(|tx| tx.clone().into()).collect(),
            height: 2,
            time,
            ..Default::default()
        };
        let proposed = proposer.prepare_proposal(request).txs;
        assert!(proposed.iter().map(|tx| tx.len()).sum::<usize>() <= max_tx_bytes);
        assert_eq!(proposed.len() == txs.len(), max_tx_bytes > total, "{max_tx_bytes} of {total}");
        let request = RequestProcessProposal { txs: proposed, height: 2, time, ..Default::default() };
        for judge in [&proposer, &started()] {
            let status = judge.process_proposal(request.clone()).status;
            assert_eq!(status, i32::from(ProposalStatus::Accept));
        }
    }
}

#[test]
fn a_bad_proposal_is_refused_and_leaves_nothing() {
    let ledger = started();
    let before = ledger.info(Default::default());
    let txs = vec![b"not a transaction".to_vec().into()];
    let request = RequestProcessProposal { txs, height: 2, ..Default::default() };
    assert_eq!(ledger.process_proposal(request).status, i32::from(ProposalStatus::Reject));
    assert_eq!(ledger.info(Default::default()), before);
}

#[test]
fn every_transaction_of_a_block_has_a_result() {
    let (_folder, connect) = serve_unix(started());
    let mut abci = connect();
    let good = anchor(0, 3);
    let mut truncated = good.clone();
    truncated.truncate(good.len() / 2);
    let transactions = [vec![], b"garbage".to_vec(), good.clone(), good, truncated, register_hospital(), anchor(1, 1)];
    let finalized = abci.finalize(2, &transactions).unwrap();
    let codes: Vec<bool> = finalized.tx_results.iter().map(|result| result.code == 0).collect();
    assert_eq!(codes, [false, false, true, false, false, false, true]);
    let refused = finalized.tx_results.iter().filter(|result| result.code != 0);
    assert!(refused.clone().all(|result| result.codespace == "careledger" && !result.log.is_empty()));
    abci.commit().unwrap();
    assert_eq!(abci.info().unwrap().last_block_app_hash, finalized.app_hash);
}

#[test]
fn check_tx_and_queries_go_on_side_by_side_with_blocks() {
    let (_folder, connect) = serve_unix(started());
    let query = || {
        let request = RequestQuery {
            path: "/store/careledger/key".to_owned(),
            data: b"parameters".to_vec().into(),
            prove: true,
            ..Default::default()
        };
        Asked::Query(request)
    };
    thread::scope(|scope| {
        for worker in 0..3 {
            let mut abci = connect();
            scope.spawn(move || {
                for index in 0..100 {
                    if worker == 0 {
                        assert!(matches!(abci.ask(check_tx(&anchor(index, 1))).unwrap(), Answer::CheckTx(_)));
                    } else {
                        let Answer::Query(answer) = abci.ask(query()).unwrap() else { panic!("expected Query") };
                        assert!(answer.code == 0 && answer.height >= 1 && answer.proof_ops.is_some(), "{}", answer.log);
                    }
                }
            });
        }
        let mut abci = connect();
        for height in 2..30 {
            abci.finalize(height, &[anchor(height - 2, 5)]).unwrap();
            abci.commit().unwrap();
        }
    });
}

#[test]
fn a_socket_that_a_dead_process_left_is_replaced_and_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("abci.sock");
    let address = Address::Unix(path.clone());
    drop(Server::bind(&address).unwrap());
    let living = Server::bind(&address).unwrap();
    assert!(Server::bind(&address).is_err());
    drop(living);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "a file of somebody's").unwrap();
    assert!(Server::bind(&address).is_err());
}

/// Prints what a round trip costs; `cargo test … -- --nocapture` shows it.
#[test]
fn round_trips_are_measured() {
    let (_folder, unix) = serve_unix(started());
    let tcp = serve_tcp(started());
    fn measure(name: &str, mut abci: Abci<impl std::io::Read + std::io::Write>) {
        let rounds = 500u32;
        let mut time = |kind: &str, value: &dyn Fn(u64) -> Asked| {
            let started = Instant::now();
            for round in 0..u64::from(rounds) {
                abci.ask(value(round)).unwrap();
            }
            println!("{name} {kind}: {} µs", (started.elapsed() / rounds).as_micros());
        };
        time("echo", &|_| Asked::Echo(RequestEcho { message: CHAIN.to_owned() }));
        let transactions: Vec<Vec<u8>> = (0..u64::from(rounds)).map(|sequence| anchor(sequence, 1)).collect();
        time("CheckTx", &|round| check_tx(&transactions[round as usize]));
    }
    measure("unix", unix());
    measure("tcp", tcp());
}
