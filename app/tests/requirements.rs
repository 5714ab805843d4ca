//! CometBFT's numbered requirements on an ABCI 2.0 application, one test each.
//!
//! Source: spec/abci/abci++_app_requirements.md of CometBFT 0.38, "Formal Requirements". Where a requirement
//! speaks of any block or any transaction, some hundred are drawn from seeds: sound ones, refused ones and
//! such as only a byzantine proposer makes. A failure names its seed.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod support;

use std::{collections::BTreeMap, path::Path};

use careledger_app::{
    abci::{Application, Ledger},
    limits::{BLOCK_BYTES_MAX, KEYS_PER_BLOCK_MAX, MESSAGES_PER_TRANSACTION_MAX},
    machine::Machine,
    store::{
        disk::{DiskStore, Retention},
        memory::MemoryStore,
    },
};
use careledger_wire::{
    message::Message,
    proto::{
        accounts::{KeyAuthority, KeyKind, MsgAddKey},
        governance::{Content, MsgPropose, ScheduledUpgrade, content::Decision},
        records,
    },
    transaction::{Replay, Unsigned},
};
use prost::Message as _;
use support::{anchor, block_time, finalize_request, init_chain, register_hospital, sign, signer};
use tendermint_proto::{
    google::protobuf::Timestamp,
    v0_38::abci::{
        RequestCheckTx, RequestExtendVote, RequestFinalizeBlock, RequestPrepareProposal, RequestProcessProposal,
        RequestQuery, RequestVerifyVoteExtension, ResponseFinalizeBlock, ResponseInfo, request::Value as Asked,
        response_process_proposal::ProposalStatus, response_verify_vote_extension::VerifyStatus,
    },
};

/// Rounds of each test that draws from seeds.
const SEEDS: u64 = 24;
/// The height at which the chain of these tests migrates its state.
const UPGRADE_HEIGHT: u64 = 4;
/// Heights of these tests: before the upgrade, at it and after it.
const HEIGHTS: std::ops::RangeInclusive<u64> = 2..=5;

type Block = Vec<Vec<u8>>;

/// Numbers from a seed, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn memory() -> Ledger<MemoryStore> {
    Ledger::new(Machine::new(MemoryStore::new()), 0)
}

fn disk(folder: &Path) -> Ledger<DiskStore> {
    Ledger::new(Machine::new(DiskStore::open(folder, Retention::default()).unwrap()), 0)
}

fn time(height: u64) -> Option<Timestamp> {
    Some(Timestamp { seconds: block_time(height), nanos: 7 })
}

/// Block 1: the hospital is registered, and an upgrade is scheduled.
fn begin(ledger: &impl Application) {
    ledger.init_chain(init_chain());
    let decision = Decision::Upgrade(ScheduledUpgrade { version: 2, height: UPGRADE_HEIGHT });
    let propose = MsgPropose {
        sender: signer("registrar").address().to_string(),
        proposal: vec![3; 32],
        expires_at: block_time(100),
        content: Some(Content { decision: Some(decision) }),
    };
    let schedule = sign(&signer("registrar"), 0, 1, &[propose.into()]);
    let done = decide(ledger, 1, &[register_hospital(), schedule]);
    assert!(done.tx_results.iter().all(|result| result.code == 0), "{:?}", done.tx_results);
}

fn finalize(ledger: &impl Application, height: u64, block: &[Vec<u8>]) -> ResponseFinalizeBlock {
    let Asked::FinalizeBlock(request) = finalize_request(height, block) else { unreachable!() };
    ledger.finalize_block(request)
}

fn decide(ledger: &impl Application, height: u64, block: &[Vec<u8>]) -> ResponseFinalizeBlock {
    let finalized = finalize(ledger, height, block);
    ledger.commit();
    finalized
}

fn prepare(ledger: &impl Application, height: u64, waiting: &[Vec<u8>], max_tx_bytes: usize) -> Block {
    let request = RequestPrepareProposal {
        max_tx_bytes: max_tx_bytes as i64,
        txs: waiting.iter().map(|tx| tx.clone().into()).collect(),
        height: height as i64,
        time: time(height),
        ..RequestPrepareProposal::default()
    };
    ledger.prepare_proposal(request).txs.iter().map(|tx| tx.to_vec()).collect()
}

fn accepts(ledger: &impl Application, height: u64, block: &[Vec<u8>]) -> bool {
    let request = RequestProcessProposal {
        txs: block.iter().map(|tx| tx.clone().into()).collect(),
        height: height as i64,
        time: time(height),
        ..RequestProcessProposal::default()
    };
    let status = ledger.process_proposal(request).status;
    assert_ne!(status, i32::from(ProposalStatus::Unknown), "CometBFT panics on it");
    status == i32::from(ProposalStatus::Accept)
}

fn code(ledger: &impl Application, tx: &[u8], kind: i32) -> u32 {
    ledger.check_tx(RequestCheckTx { tx: tx.to_vec().into(), r#type: kind }).code
}

fn extend(ledger: &impl Application, height: u64) -> Vec<u8> {
    let request = RequestExtendVote { hash: vec![1; 32].into(), height: height as i64, ..RequestExtendVote::default() };
    ledger.extend_vote(request).vote_extension.to_vec()
}

fn verifies(ledger: &impl Application, height: u64, extension: &[u8]) -> bool {
    let request = RequestVerifyVoteExtension {
        hash: vec![1; 32].into(),
        validator_address: vec![2; 20].into(),
        height: height as i64,
        vote_extension: extension.to_vec().into(),
    };
    let status = ledger.verify_vote_extension(request).status;
    assert_ne!(status, i32::from(VerifyStatus::Unknown), "CometBFT panics on it");
    status == i32::from(VerifyStatus::Accept)
}

fn info(ledger: &impl Application) -> ResponseInfo {
    ledger.info(Default::default())
}

/// The hospital's transaction that may come in any order until a time.
fn unordered(name: u64, until: i64) -> Vec<u8> {
    let anchors = vec![records::Anchor {
        record: [name.to_be_bytes(), [6; 8], [6; 8], [6; 8]].concat(),
        commitment: vec![7; 32],
    }];
    let sender = signer("hospital");
    let message = records::MsgAnchorRecords { sender: sender.address().to_string(), anchors };
    let unsigned = Unsigned::new(&[message.into()], &sender.public_key(), support::CHAIN, 1, Replay::UntilTime(until));
    sender.sign(unsigned)
}

/// A transaction that somebody could send: many hold at the height, others are refused or are none.
fn transaction(random: &mut Random, height: u64, next: u64) -> Vec<u8> {
    match random.below(10) {
        0..=2 => anchor(next, 1 + random.below(3)),
        3 => anchor(random.below(6), 1),
        4 | 5 => unordered(random.below(40), block_time(height) + 60),
        6 => unordered(random.below(40), block_time(height) - random.below(60) as i64),
        7 => register_hospital(),
        8 => {
            let mut bytes = anchor(next, 1);
            let place = random.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << random.below(8);
            bytes
        }
        _ => vec![random.below(256) as u8; random.below(300) as usize],
    }
}

/// What waits in a mempool, or what a byzantine proposer proposes. The hospital sends `next`, and on.
fn transactions(random: &mut Random, height: u64, next: u64) -> Block {
    let mut next = next;
    let mut made = Vec::new();
    for _ in 0..random.below(9) {
        let tx = transaction(random, height, next);
        next += u64::from(tx == anchor(next, 1) || tx == anchor(next, 2) || tx == anchor(next, 3));
        made.push(tx);
    }
    made
}

/// All that a node may have been asked at a height before a block is decided, other than that block.
fn disturb(ledger: &impl Application, random: &mut Random, height: u64) {
    for _ in 0..random.below(4) {
        let next = random.below(4);
        let others = transactions(random, height, next);
        for tx in &others {
            code(ledger, tx, random.below(2) as i32);
        }
        match random.below(4) {
            0 => drop(prepare(ledger, height, &others, random.below(4_000) as usize)),
            1 => drop(accepts(ledger, height, &others)),
            2 => drop(verifies(ledger, height, &extend(ledger, height))),
            _ => {
                let request = RequestQuery {
                    path: "/store/careledger/key".to_owned(),
                    data: b"parameters".to_vec().into(),
                    prove: true,
                    ..RequestQuery::default()
                };
                assert_eq!(ledger.query(request).code, 0);
            }
        }
    }
}

/// Sequences that the hospital used in the blocks before a height, each of which has one of its own.
fn next_sequence(height: u64) -> u64 {
    height - 2
}

/// Decides the blocks up to the height before this one: the same on every ledger.
fn advance(ledger: &impl Application, height: u64) {
    for before in *HEIGHTS.start()..height {
        let done = decide(ledger, before, &[anchor(next_sequence(before), 2)]);
        assert_eq!(done.tx_results[0].code, 0);
    }
}

/// Runs a check at each height, on two correct processes whose pasts differ in all but the blocks: one in memory,
/// one on disk that was started anew.
fn at_every_height(check: impl Fn(&mut Random, u64, &Ledger<MemoryStore>, &Ledger<DiskStore>)) {
    for seed in 0..SEEDS {
        let mut random = Random(seed + 1);
        let height = HEIGHTS.start() + seed % 4;
        let folder = tempfile::tempdir().unwrap();
        let (p, q) = (memory(), disk(folder.path()));
        begin(&p);
        begin(&q);
        advance(&p, height);
        advance(&q, height);
        drop(q);
        let q = disk(folder.path());
        println!("seed {seed}, height {height}");
        check(&mut random, height, &p, &q);
    }
}

/// PrepareProposal, timeliness: a proposal is executed before it is sent, so what it executes is bounded,
/// however much waits. What each piece of it costs stands in `limits.rs`; CometBFT waits three seconds for a
/// proposal (`timeout_propose`), and longer in each further round.
#[test]
fn requirement_01_a_proposal_takes_no_more_work_than_a_block_may_have() {
    let ledger = memory();
    begin(&ledger);
    let hospital = signer("hospital");
    let add = |number: u64| -> Message {
        MsgAddKey {
            sender: hospital.address().to_string(),
            kind: KeyKind::Secp256k1.into(),
            key: [vec![2], number.to_be_bytes().to_vec(), vec![1; 24]].concat(),
            authority: KeyAuthority::Device.into(),
            possession: vec![1; 64],
        }
        .into()
    };
    let messages = MESSAGES_PER_TRANSACTION_MAX as u64;
    let waiting: Block = (0..2 * KEYS_PER_BLOCK_MAX as u64 / messages)
        .map(|sequence| {
            let keys: Vec<Message> = (0..messages).map(|index| add(sequence * messages + index)).collect();
            sign(&hospital, 1, sequence, &keys)
        })
        .collect();
    let proposed = prepare(&ledger, 2, &waiting, BLOCK_BYTES_MAX);
    assert_eq!(proposed, waiting[..KEYS_PER_BLOCK_MAX / MESSAGES_PER_TRANSACTION_MAX], "as much as fits, and no more");
    assert!(!accepts(&ledger, 2, &waiting), "nor may another proposer take longer");
    assert!(accepts(&ledger, 2, &proposed));
}

/// PrepareProposal, tx-size: counted as CometBFT counts a block's transactions, with their framing.
#[test]
fn requirement_02_a_proposal_never_exceeds_max_tx_bytes() {
    at_every_height(|random, height, p, _| {
        let waiting = transactions(random, height, next_sequence(height));
        let framed = |block: &[Vec<u8>]| -> usize {
            block.iter().map(|tx| 1 + prost::length_delimiter_len(tx.len()) + tx.len()).sum()
        };
        for limit in [0, 1, random.below(3_000) as usize, framed(&waiting).saturating_sub(1), framed(&waiting)] {
            let proposed = prepare(p, height, &waiting, limit);
            assert!(framed(&proposed) <= limit, "{} of {limit}", framed(&proposed));
        }
    });
}

/// PrepareProposal and ProcessProposal, coherence.
#[test]
fn requirement_03_what_a_correct_proposer_prepares_every_correct_process_accepts() {
    at_every_height(|random, height, p, q| {
        for _ in 0..4 {
            disturb(p, random, height);
            let waiting = transactions(random, height, next_sequence(height));
            let proposed = prepare(p, height, &waiting, random.below(6_000) as usize);
            disturb(q, random, height);
            assert!(accepts(q, height, &proposed), "q refuses what p prepared");
            assert!(accepts(p, height, &proposed), "p refuses what it prepared");
        }
    });
}

/// ProcessProposal, determinism-1.
#[test]
fn requirement_04_a_verdict_on_a_proposal_depends_on_nothing_but_the_state_and_the_block() {
    let mut verdicts = BTreeMap::new();
    for seed in 0..SEEDS {
        let ledger = memory();
        begin(&ledger);
        let mut random = Random(seed + 1);
        let block = transactions(&mut random, 2, 0);
        let first = accepts(&ledger, 2, &block);
        *verdicts.entry(first).or_insert(0) += 1;
        for _ in 0..4 {
            disturb(&ledger, &mut random, 2);
            assert_eq!(accepts(&ledger, 2, &block), first, "seed {seed}");
            // Also right after it was a proposal of this node's own.
            prepare(&ledger, 2, &block, BLOCK_BYTES_MAX);
            assert_eq!(accepts(&ledger, 2, &block), first, "seed {seed}");
        }
    }
    assert!(verdicts.len() == 2, "some blocks are refused, and some are not: {verdicts:?}");
}

/// ProcessProposal, determinism-2.
#[test]
fn requirement_05_two_correct_processes_agree_on_every_proposal() {
    at_every_height(|random, height, p, q| {
        for _ in 0..6 {
            let block = transactions(random, height, next_sequence(height));
            disturb(p, random, height);
            let verdict = accepts(p, height, &block);
            disturb(q, random, height);
            assert_eq!(accepts(q, height, &block), verdict);
        }
    });
}

/// ExtendVote and VerifyVoteExtension, coherence. The ledger adds nothing to votes.
#[test]
fn requirement_06_every_correct_process_accepts_the_vote_extensions_of_another() {
    at_every_height(|random, height, p, q| {
        disturb(p, random, height);
        let extension = extend(p, height);
        assert!(extension.is_empty(), "the ledger extends no votes");
        disturb(q, random, height);
        assert!(verifies(q, height, &extension) && verifies(p, height, &extension));
    });
}

/// VerifyVoteExtension, determinism-1.
#[test]
fn requirement_07_a_verdict_on_a_vote_extension_depends_on_nothing_but_it_the_block_and_the_state() {
    at_every_height(|random, height, p, _| {
        let extension = transaction(random, height, 0);
        let first = verifies(p, height, &extension);
        for _ in 0..4 {
            disturb(p, random, height);
            assert_eq!(verifies(p, height, &extension), first);
        }
    });
}

/// VerifyVoteExtension, determinism-2.
#[test]
fn requirement_08_two_correct_processes_agree_on_every_vote_extension() {
    at_every_height(|random, height, p, q| {
        for extension in [Vec::new(), transaction(random, height, 0), vec![0; 70_000]] {
            disturb(p, random, height);
            assert_eq!(verifies(p, height, &extension), verifies(q, height, &extension));
        }
    });
}

/// No side effects: neither proposals nor votes change the committed state, nor what the decided block makes of it.
#[test]
fn requirement_09_proposals_and_votes_leave_the_state_as_it_was() {
    at_every_height(|random, height, p, q| {
        let before = info(p);
        let waiting = transactions(random, height, next_sequence(height));
        for _ in 0..3 {
            prepare(p, height, &waiting, BLOCK_BYTES_MAX);
            accepts(p, height, &transactions(random, height, next_sequence(height)));
            verifies(p, height, &extend(p, height));
            assert_eq!(info(p), before);
        }
        // q was asked nothing.
        let block = [anchor(next_sequence(height), 1)];
        assert_eq!(decide(p, height, &block), decide(q, height, &block));
        assert_eq!(info(p), info(q));
    });
}

/// ExtendVote and FinalizeBlock, non-dependency.
#[test]
fn requirement_10_no_vote_extension_changes_what_a_block_makes_of_the_state() {
    at_every_height(|random, height, p, q| {
        for _ in 0..3 {
            verifies(p, height, &transaction(random, height, 0));
        }
        verifies(q, height, b"another");
        let block = transactions(random, height, next_sequence(height));
        assert_eq!(decide(p, height, &block).app_hash, decide(q, height, &block).app_hash);
        assert_eq!(info(p), info(q));
    });
}

/// FinalizeBlock, determinism-1: also of blocks that no correct process would have proposed.
#[test]
fn requirement_11_the_next_state_depends_on_nothing_but_the_state_and_the_block() {
    at_every_height(|random, height, p, q| {
        let block = transactions(random, height, next_sequence(height));
        disturb(p, random, height);
        accepts(p, height, &block);
        disturb(q, random, height);
        // Decided, lost in a crash before Commit, and decided again.
        let first = finalize(q, height, &block);
        let again = finalize(q, height, &block);
        assert_eq!(first, again);
        q.commit();
        let other = decide(p, height, &block);
        let state = |done: &ResponseFinalizeBlock| {
            (done.app_hash.clone(), done.validator_updates.clone(), done.consensus_param_updates.clone())
        };
        assert_eq!(state(&other), state(&again));
        assert_eq!(info(p), info(q));
    });
}

/// FinalizeBlock, determinism-2: every byte of every result, what CometBFT hashes and what it does not.
#[test]
fn requirement_12_a_blocks_results_depend_on_nothing_but_the_state_and_the_block() {
    at_every_height(|random, height, p, q| {
        let block = transactions(random, height, next_sequence(height));
        disturb(p, random, height);
        if random.below(2) == 0 {
            prepare(p, height, &block, BLOCK_BYTES_MAX);
        }
        disturb(q, random, height);
        let bytes = |done: ResponseFinalizeBlock| -> Vec<Vec<u8>> {
            assert_eq!(done.tx_results.len(), block.len(), "one for each");
            done.tx_results.iter().map(prost::Message::encode_to_vec).collect()
        };
        let results = bytes(decide(p, height, &block));
        assert_eq!(results, bytes(decide(q, height, &block)));
        let request = RequestFinalizeBlock { height: height as i64 + 1, time: time(height + 1), ..Default::default() };
        assert_eq!(p.finalize_block(request.clone()).encode_to_vec(), q.finalize_block(request).encode_to_vec());
    });
}

/// CheckTx, eventual non-oscillation: what stays in a mempool ends as taken by all, or refused by all.
#[test]
fn requirement_13_check_tx_comes_to_rest_at_the_same_verdict_everywhere() {
    const STABLE_FROM: u64 = 30;
    const LAST: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let (p, q) = (memory(), disk(folder.path()));
    begin(&p);
    begin(&q);
    // The hospital's sequences 0 to 4 are used by blocks 2 to 6.
    let watched: Vec<(&str, Vec<u8>, bool)> = vec![
        ("the sequence that is next in the end", anchor(5, 1), true),
        ("a sequence that was used meanwhile", anchor(2, 1), false),
        ("a sequence that never comes", anchor(90, 1), false),
        ("until a time that comes", unordered(1, block_time(20)), false),
        ("until a time that is far", unordered(2, block_time(LAST) + 60), true),
        ("until a time beyond what is allowed", unordered(3, block_time(LAST) + 100_000), false),
        ("refused by a rule for ever", register_hospital(), false),
        ("no transaction", b"nothing".to_vec(), false),
    ];
    let mut verdicts: BTreeMap<&str, Vec<(u64, bool)>> = BTreeMap::new();
    let mut random = Random(1);
    for height in 2..=LAST {
        // After a block a node asks anew of what waits; the order in which it arrived is each node's own.
        for (name, tx, _) in &watched {
            verdicts.entry(name).or_default().push((height, code(&p, tx, 0) == 0));
        }
        for (name, tx, _) in watched.iter().rev() {
            let verdict = verdicts[name].last().unwrap().1;
            assert_eq!(code(&q, tx, 0) == 0, verdict, "{name} at height {height}");
        }
        let block = if height <= 6 { vec![anchor(height - 2, 1)] } else { Vec::new() };
        disturb(&p, &mut random, height);
        assert_eq!(decide(&p, height, &block), decide(&q, height, &block));
    }
    for (name, _, expected) in &watched {
        let settled = verdicts[name].iter().filter(|(height, _)| *height >= STABLE_FROM);
        assert!(settled.clone().count() > 10 && settled.clone().all(|(_, ok)| ok == expected), "{name}: {verdicts:?}");
    }
}
