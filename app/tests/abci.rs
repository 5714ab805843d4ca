//! The ledger as CometBFT sees it: the requirements on an ABCI 2.0 application that it stops for.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    thread,
    time::Instant,
};

use careledger_app::{
    abci::{
        Application as _, Ledger,
        frame::FRAME_BYTES_MAX,
        server::{Address, Server},
    },
    limits::{BLOCK_BYTES_MAX, VALIDATOR_POWER_MAX},
    machine::Machine,
    store::memory::MemoryStore,
};
use careledger_wire::proto::governance::{
    Content, MsgPropose, ParameterChange, ScheduledUpgrade, ValidatorChange, content::Decision,
};
use sha2::{Digest as _, Sha256};
use support::{Abci, CHAIN, anchor, block_time, init_chain, register_hospital};
use tendermint_proto::{
    google::protobuf::{Duration, Timestamp},
    v0_38::{
        abci::{
            Misbehavior, RequestCheckTx, RequestEcho, RequestFlush, RequestInitChain, RequestPrepareProposal,
            RequestProcessProposal, RequestQuery, ResponseFinalizeBlock, Validator, ValidatorUpdate,
            request::Value as Asked, response::Value as Answer, response_process_proposal::ProposalStatus,
        },
        crypto::{PublicKey, public_key::Sum},
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
        let ledger = ledger();
        let answer = ledger.init_chain(request).consensus_params.unwrap();
        let app_version = ledger.info(Default::default()).app_version;
        let (block, evidence) = (answer.block.unwrap(), answer.evidence.unwrap());
        assert_eq!(block.max_gas, -1);
        assert_eq!(answer.version.unwrap().app, app_version, "headers carry it, and nodes that join compare it");
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

/// What CometBFT 0.38 holds of validators and parameters, and what it stops for
/// (`validateValidatorUpdates`, `ValidatorSet.UpdateWithChangeSet`, `ConsensusParams.ValidateBasic`).
struct Comet {
    validators: BTreeMap<Vec<u8>, i64>,
    parameters: ConsensusParams,
}

impl Comet {
    fn update(&mut self, block: &ResponseFinalizeBlock) {
        let mut named = BTreeSet::new();
        for update in &block.validator_updates {
            let Some(Sum::Ed25519(key)) = update.pub_key.as_ref().and_then(|key| key.sum.clone()) else {
                panic!("a key of another type: {update:?}")
            };
            assert!(key.len() == 32 && update.power >= 0 && named.insert(key.clone()), "{update:?}");
            if update.power == 0 {
                assert!(self.validators.remove(&key).is_some(), "failed to find validator to remove: {update:?}");
            } else {
                self.validators.insert(key, update.power);
            }
        }
        assert!(!self.validators.is_empty(), "the validator set is empty");
        assert!(self.validators.values().sum::<i64>() <= i64::MAX / 8, "the total voting power is too large");
        let Some(update) = block.consensus_param_updates.clone() else { return };
        // CometBFT takes each part that is there as a whole, and the version in any case.
        self.parameters.block = update.block.or(self.parameters.block);
        self.parameters.evidence = update.evidence.or(self.parameters.evidence);
        self.parameters.version = Some(update.version.expect("a version that is left out becomes 0"));
        self.check();
    }

    fn check(&self) {
        let (block, evidence) = (self.parameters.block.unwrap(), self.parameters.evidence.unwrap());
        assert!((1..=100 * 1024 * 1024).contains(&block.max_bytes) && block.max_gas == -1, "{block:?}");
        assert!((0..=block.max_bytes).contains(&evidence.max_bytes), "{evidence:?} in {block:?}");
        assert!(evidence.max_age_num_blocks > 0 && evidence.max_age_duration.unwrap().seconds > 0, "{evidence:?}");
        assert!(self.parameters.version.unwrap().app >= 1);
    }
}

fn validator(index: u64) -> Vec<u8> {
    careledger_wire::commitment::hash("test-validator", &[&index.to_be_bytes()]).to_vec()
}

fn ed25519(key: Vec<u8>, power: i64) -> ValidatorUpdate {
    ValidatorUpdate { pub_key: Some(PublicKey { sum: Some(Sum::Ed25519(key)) }), power }
}

/// A decision that a careless or hostile registrar could take.
fn decision(random: &mut impl FnMut(u64) -> u64) -> Decision {
    match random(4) {
        0 | 1 => {
            let powers = [0, 1, 3, 10, 12, VALIDATOR_POWER_MAX, u64::MAX];
            let power = powers[random(powers.len() as u64) as usize];
            Decision::Validator(ValidatorChange { public_key: validator(random(8)), power })
        }
        2 => {
            let values = [0, 1, 4_000, 1 << 20, 1 << 22, (1 << 22) + 1, u64::MAX];
            let value = values[random(values.len() as u64) as usize];
            Decision::Parameter(ParameterChange { parameter: random(8) as i32, value })
        }
        _ => Decision::Upgrade(ScheduledUpgrade { version: random(3) as u32, height: random(400) }),
    }
}

/// However registrars vote and whatever the evidence is, CometBFT is never told to do what it
/// would stop for.
#[test]
fn no_vote_and_no_evidence_makes_comet_bft_stop() {
    for seed in 0..8u64 {
        let mut state = seed + 1;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let ledger = ledger();
        let evidence = EvidenceParams {
            max_bytes: 5 << 20,
            max_age_num_blocks: 9,
            max_age_duration: Some(Duration { seconds: 9, nanos: 0 }),
        };
        let parameters = ConsensusParams {
            block: Some(BlockParams { max_bytes: 1 << 20, max_gas: 7 }),
            evidence: Some(evidence),
            ..ConsensusParams::default()
        };
        let first: Vec<ValidatorUpdate> = (0..3).map(|index| ed25519(validator(index), 10)).collect();
        let request =
            RequestInitChain { consensus_params: Some(parameters), validators: first.clone(), ..init_chain() };
        let answer = ledger.init_chain(request);
        let mut comet = Comet { validators: BTreeMap::new(), parameters: answer.consensus_params.unwrap() };
        comet.check();
        comet.update(&ResponseFinalizeBlock { validator_updates: first, ..Default::default() });
        let (mut sequence, mut accepted) = (0, 0);
        for height in 1..300u64 {
            let content = Content { decision: Some(decision(&mut random)) };
            let message = MsgPropose {
                sender: support::signer("registrar").address().to_string(),
                proposal: careledger_wire::commitment::hash("test-proposal", &[&height.to_be_bytes()]).to_vec(),
                expires_at: block_time(height) + 100,
                content: Some(content),
            };
            let transaction = support::sign(&support::signer("registrar"), 0, sequence, &[message.into()]);
            sequence += 1;
            let Asked::FinalizeBlock(mut block) = support::finalize_request(height, &[transaction]) else {
                unreachable!()
            };
            if random(20) == 0 {
                let address = Sha256::digest(validator(random(9)))[..20].to_vec();
                let validator = Some(Validator { address: address.into(), power: 10 });
                block.misbehavior =
                    vec![Misbehavior { r#type: 1, validator, height: height as i64, ..Default::default() }];
            }
            let finalized = ledger.finalize_block(block);
            accepted += u64::from(finalized.tx_results[0].code == 0);
            comet.update(&finalized);
            ledger.commit();
            let info = ledger.info(Default::default());
            assert_eq!(info.app_version, comet.parameters.version.unwrap().app, "state sync compares them");
        }
        assert!(accepted > 20, "most decisions are refused, not all: {accepted}");
    }
}

#[test]
fn a_chain_says_the_format_of_its_state_from_the_first_header_on() {
    let parameters = ConsensusParams { block: None, evidence: None, ..ConsensusParams::default() };
    let ledger = ledger();
    let answer = ledger.init_chain(RequestInitChain { consensus_params: Some(parameters), ..init_chain() });
    let version = answer.consensus_params.unwrap().version.unwrap().app;
    assert_eq!(version, ledger.info(Default::default()).app_version);
}

#[test]
fn evidence_reaches_the_state_and_the_power_is_taken() {
    let ledger = ledger();
    let validators = (0..3).map(|index| ed25519(validator(index), 10)).collect();
    ledger.init_chain(RequestInitChain { validators, ..init_chain() });
    let Asked::FinalizeBlock(mut block) = support::finalize_request(1, &[]) else { unreachable!() };
    let address = Sha256::digest(validator(2))[..20].to_vec();
    let offender = Some(Validator { address: address.into(), power: 10 });
    block.misbehavior = vec![Misbehavior { r#type: 1, validator: offender, height: 1, ..Default::default() }];
    let finalized = ledger.finalize_block(block);
    assert_eq!(finalized.validator_updates, [ed25519(validator(2), 0)]);
    assert_eq!(finalized.events[0].r#type, "misbehavior");
    assert!(finalized.events[0].attributes.iter().all(|attribute| attribute.index));
}
