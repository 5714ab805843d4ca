//! What the chain of these tests is about: the real ledger on disk, and headers that keys of the test sign.

use std::{
    path::Path,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use careledger_app::{
    abci::{Application, Ledger},
    machine::Machine,
    store::disk::{DiskStore, Retention},
    subject_counts::COUNTED_SINCE,
    wallet::Signer,
};
use careledger_wire::{
    commitment,
    ids::SubjectId,
    proto::{
        audit::MsgAnchorAccessLog,
        consent::{ConsentMode, EmergencyReason, MsgAppointGuardian, MsgBreakGlass, MsgGrantConsent},
        governance::{Content, MsgPropose, ScheduledUpgrade, content::Decision},
        identity::{
            MsgClaimSubject, MsgEnrolPractitioner, MsgOpenSubject, MsgRegisterOrganization, OrganizationKind,
            PractitionerRole,
        },
    },
};
use serde_json::{Value, json};
use tendermint::{AppHash, Time, block::signed_header::SignedHeader, validator::Set};
use tendermint_proto::v0_38::abci::{RequestInitChain, request::Value as Asked};
use tendermint_testgen::{
    Commit, Header, Validator, light_block::generate_signed_header, validator::generate_validators,
};

use crate::support::{CHAIN, GENESIS_TIME, anchor, finalize_request, init_chain, register_hospital, sign, signer};

/// Blocks of the chain. The last is empty, so that its own header has the root of the newest state.
pub const BLOCKS: u64 = 12;
/// Heights whose state the node can prove.
pub const RETAINED: u64 = 8;
const BLOCK_SECONDS: u64 = 10;

/// What the chain is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// A hospital anchors so many records in each block.
    Records(u64),
    /// A patient grants, a physician breaks the glass, a guardian is appointed at [`GUARDED_FROM`], and the state comes to
    /// the format that counts grants and emergencies at [`COUNTED_FROM`].
    Consents,
    /// A hospital anchors a batch of its access log in each block.
    Log,
}

/// Height of the upgrade in [`Story::Consents`].
pub const COUNTED_FROM: u64 = 8;

/// Height from which on the subject of [`Story::Consents`] has a guardian.
pub const GUARDED_FROM: u64 = 7;

pub struct Block {
    pub signed_header: SignedHeader,
    pub validators: Set,
}

pub fn validators(names: [&str; 3]) -> Vec<Validator> {
    names.map(|name| Validator::new(name).voting_power(10)).to_vec()
}

/// The time of the block of this height: all of them are past, and the trusting period holds.
pub fn block_time(height: u64) -> u64 {
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 10_000;
    // The same for every call of a test run.
    static START: Mutex<Option<u64>> = Mutex::new(None);
    *START.lock().unwrap().get_or_insert(start) + height * BLOCK_SECONDS
}

pub fn signed(app_hashes: &[Vec<u8>], by: [&str; 3], data: u8) -> Vec<Block> {
    let by = validators(by);
    let mut blocks: Vec<Block> = Vec::new();
    for (height, app_hash) in (1..).zip(app_hashes) {
        let mut header = Header::new(&by)
            .height(height)
            .chain_id(CHAIN)
            .time(Time::from_unix_timestamp(block_time(height).cast_signed(), 0).unwrap())
            .app_hash(AppHash::try_from(app_hash.clone()).unwrap());
        header.last_block_id_hash = blocks.last().map(|last| last.signed_header.header.hash());
        // A second history differs in something that no query shows.
        header.proposer = Some(usize::from(data));
        let signed_header = generate_signed_header(&header, &Commit::new(header.clone(), 1)).unwrap();
        blocks.push(Block { signed_header, validators: Set::without_proposer(generate_validators(&by).unwrap()) });
    }
    blocks
}

/// A ledger of some blocks, the hospital's registration and its records in them, and what each header
/// carries: the root of the state of the height before.
pub fn ledger(folder: &Path, story: Story) -> (Ledger<DiskStore>, Vec<Vec<u8>>) {
    let retention = Retention { heights: RETAINED, ..Retention::default() };
    let ledger = Ledger::new(Machine::new(DiskStore::open(folder, retention).unwrap()), 0);
    let mut genesis: Value = serde_json::from_slice(&init_chain().app_state_bytes).unwrap();
    match story {
        Story::Records(_) => {}
        Story::Consents => genesis["state_version"] = json!(COUNTED_SINCE - 1),
        Story::Log => genesis["state_version"] = json!(2),
    }
    let genesis = RequestInitChain { app_state_bytes: serde_json::to_vec(&genesis).unwrap().into(), ..init_chain() };
    let mut app_hashes = vec![ledger.init_chain(genesis).app_hash.to_vec()];
    for height in 1..=BLOCKS {
        let transactions = match (story, height) {
            (Story::Consents, _) => consents(height),
            (_, 1) => vec![register_hospital()],
            (_, BLOCKS) => Vec::new(),
            (Story::Records(records), _) => vec![anchor(height - 2, records)],
            (Story::Log, _) => vec![batch(height - 1)],
        };
        let Asked::FinalizeBlock(block) = finalize_request(height, &transactions) else { unreachable!() };
        let answer = ledger.finalize_block(block);
        assert!(answer.tx_results.iter().all(|result| result.code == 0), "{:?}", answer.tx_results);
        app_hashes.push(answer.app_hash.to_vec());
        ledger.commit();
    }
    app_hashes.pop();
    (ledger, app_hashes)
}

pub fn subject() -> SubjectId {
    commitment::subject_id(&signer("hospital").address(), &signer("patient").address())
}

/// The guardian of [`subject`].
pub fn guardian() -> Signer {
    signer("guardian")
}

/// The hospital's batch of this number, from 1.
fn batch(sequence: u64) -> Vec<u8> {
    let message = MsgAnchorAccessLog {
        sender: signer("hospital").address().to_string(),
        sequence,
        root: id(&format!("batch {sequence}")),
        count: 3,
        period_start: GENESIS_TIME,
        period_end: GENESIS_TIME,
    };
    sign(&signer("hospital"), 1, sequence - 1, &[message.into()])
}

/// A name as an id.
fn id(name: &str) -> Vec<u8> {
    commitment::hash("test-id", &[name.as_bytes()]).to_vec()
}

/// The transactions of a height of [`Story::Consents`]. Accounts get their numbers in the order in which they come.
fn consents(height: u64) -> Vec<Vec<u8>> {
    let [registrar, hospital, patient, doctor] = ["registrar", "hospital", "patient", "doctor"].map(signer);
    let sender = |signer: &Signer| signer.address().to_string();
    let later = GENESIS_TIME + 86_400;
    let grant = |sequence: u64, name: &str| {
        let message = MsgGrantConsent {
            sender: sender(&patient),
            subject: subject().to_vec(),
            grant: id(name),
            grantee: hospital.address().to_vec(),
            mode: ConsentMode::View.into(),
            not_before: GENESIS_TIME,
            expires_at: later,
            terms: id("terms"),
            body: id("body"),
            ..MsgGrantConsent::default()
        };
        vec![sign(&patient, 2, sequence, &[message.into()])]
    };
    let breaks_glass = |sequence: u64, name: &str| {
        let message = MsgBreakGlass {
            sender: sender(&hospital),
            subject: subject().to_vec(),
            emergency: id(name),
            practitioner: doctor.address().to_vec(),
            reason: EmergencyReason::Unconscious.into(),
            seconds: 600,
        };
        vec![sign(&hospital, 1, sequence, &[message.into()])]
    };
    match height {
        1 => {
            let message = MsgRegisterOrganization {
                sender: sender(&registrar),
                organization: hospital.address().to_vec(),
                kind: OrganizationKind::Provider.into(),
                encryption_key: vec![9; 32],
                evidence: vec![1; 32],
                expires_at: GENESIS_TIME + 86_400 * 30,
                emergency: true,
            };
            vec![sign(&registrar, 0, 0, &[message.into()])]
        }
        2 => {
            let claimant = patient.address().to_vec();
            let opens = MsgOpenSubject { sender: sender(&hospital), claimant, binding: None };
            let enrols = MsgEnrolPractitioner {
                sender: sender(&hospital),
                practitioner: doctor.address().to_vec(),
                role: PractitionerRole::Physician.into(),
                qualification: vec![9; 32],
                expires_at: later,
                binding: None,
            };
            vec![sign(&hospital, 1, 0, &[opens.into(), enrols.into()])]
        }
        3 => {
            let subject = subject().to_vec();
            let claims = MsgClaimSubject { sender: sender(&patient), subject, encryption_key: vec![8; 32] };
            let decision = Decision::Upgrade(ScheduledUpgrade { version: COUNTED_SINCE, height: COUNTED_FROM });
            let proposes = MsgPropose {
                sender: sender(&registrar),
                proposal: id("upgrade"),
                expires_at: later,
                content: Some(Content { decision: Some(decision) }),
            };
            vec![sign(&patient, 2, 0, &[claims.into()]), sign(&registrar, 0, 1, &[proposes.into()])]
        }
        4 => grant(1, "before"),
        5 => breaks_glass(1, "one emergency"),
        6 => grant(2, "also before"),
        GUARDED_FROM => {
            let appoints = |by: &Signer, number: u64, sequence: u64| {
                let message = MsgAppointGuardian {
                    sender: sender(by),
                    subject: subject().to_vec(),
                    guardian: guardian().address().to_vec(),
                    until: later,
                    evidence: id("evidence"),
                    binding: None,
                };
                sign(by, number, sequence, &[message.into()])
            };
            vec![appoints(&hospital, 1, 2), appoints(&patient, 2, 3)]
        }
        9 => grant(4, "after"),
        10 => breaks_glass(3, "another emergency"),
        _ => Vec::new(),
    }
}
