//! Replicas, the calls that consensus makes to them, and the judge.

use std::{collections::BTreeMap, fmt};

use careledger_wire::{
    commitment,
    ids::SubjectId,
    message::Message,
    proto::{
        consent::{ConsentMode, MsgGrantConsent, MsgRequestAccess, MsgRevokeConsent},
        identity::{
            MsgClaimSubject, MsgOpenSubject, MsgRegisterOrganization, MsgSuspendOrganization, OrganizationKind,
            SuspensionReason,
        },
        records::{Anchor, MsgAnchorRecords, MsgMarkEnteredInError, MsgSupersedeRecords, Supersession},
    },
    transaction::{self, Unsigned, hash},
};

use super::{
    Report,
    model::{Answer, Model, Replay, Sent, THRESHOLD},
    random::Random,
    script::{Actor, Crash, Delivery, Event, ORGANIZATIONS, PATIENTS, REGISTRARS, REPLICAS, Request, Script, Subject},
};
use crate::{
    genesis::Genesis,
    keys,
    limits::BLOCK_BYTES_MAX,
    machine::{Block, CheckKind, Machine, Outcome},
    reject::Reject,
    snapshot::{self, Applied, Restore},
    state::StateRead as _,
    store::{Store as _, memory::MemoryStore},
    wallet::Signer,
};

const CHAIN: &str = "careledger-dev-sim";
/// Genesis time, Unix seconds.
const START: i64 = 1_800_000_000;

/// Something that must not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise was broken.
    pub kind: &'static str,
    /// At which event of the script, from 0.
    pub event: usize,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, at event {}: {}", self.kind, self.event, self.found)
    }
}

struct Replica {
    machine: Machine<MemoryStore>,
    /// What is on its disk.
    durable: MemoryStore,
}

impl Replica {
    fn restart(&mut self) {
        self.machine = Machine::new(self.durable.clone());
    }
}

#[derive(Clone)]
struct Waiting {
    bytes: Vec<u8>,
    sent: Sent,
}

struct Network {
    signers: BTreeMap<Actor, Signer>,
    replicas: Vec<Replica>,
    model: Model,
    pool: Vec<Waiting>,
    history: Vec<Waiting>,
    time: i64,
    event: usize,
    report: Report,
}

/// Plays a script to its end, or to the first thing that must not happen.
pub(super) fn play(script: &Script) -> Result<Report, Violation> {
    let mut network = Network::new();
    for (index, event) in script.events.iter().enumerate() {
        network.event = index;
        network.play(event)?;
    }
    Ok(network.report)
}

impl Network {
    fn new() -> Self {
        let numbered = |count, actor: fn(u8) -> Actor| (0..count).map(move |number| actor(number));
        let actors = numbered(REGISTRARS, Actor::Registrar)
            .chain(numbered(ORGANIZATIONS, Actor::Organization))
            .chain(numbered(PATIENTS, Actor::Patient));
        let signer = |actor: Actor| {
            let secret = commitment::hash("careledger/simulation/1", &[actor.to_string().as_bytes()]);
            (actor, Signer::from_bytes(&secret).expect("a hash is a key, but for 2^-128"))
        };
        let signers: BTreeMap<Actor, Signer> = actors.map(signer).collect();
        let address = |registrar: u8| signers[&Actor::Registrar(registrar)].address();
        let genesis = Genesis {
            registrars: (0..REGISTRARS).map(address).collect(),
            registrar_threshold: u32::try_from(THRESHOLD).expect("a small number"),
            verifying_keys: Vec::new(),
            organizations: Vec::new(),
        };
        let genesis = serde_json::to_vec(&genesis).expect("addresses are JSON");
        let mut ranks = [0, 1, 2];
        ranks.sort_by_key(|registrar| address(*registrar));
        let replica = || {
            let mut machine = Machine::new(MemoryStore::new());
            machine.init_chain(CHAIN, &genesis, START).expect("genesis is sound");
            Replica { durable: machine.store().clone(), machine }
        };
        Self {
            replicas: (0..REPLICAS).map(|_| replica()).collect(),
            model: Model::genesis(&ranks),
            signers,
            pool: Vec::new(),
            history: Vec::new(),
            time: START,
            event: 0,
            report: Report::default(),
        }
    }

    fn broken<T>(&self, kind: &'static str, found: impl Into<String>) -> Result<T, Violation> {
        Err(Violation { kind, event: self.event, found: found.into() })
    }

    fn play(&mut self, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Send { actor, requests, delivery } => {
                let (waiting, copies) = self.sign(*actor, requests, *delivery);
                (0..copies).try_for_each(|_| self.offer(waiting.clone()))
            }
            Event::Replay { back } => match self.history.iter().rev().nth(usize::from(*back)).cloned() {
                Some(earlier) => self.offer(earlier),
                None => Ok(()),
            },
            Event::Abandon { proposer, lookers } => self.abandon(*proposer, *lookers),
            Event::Byzantine { order } => self.byzantine(*order),
            Event::Decide { proposer, lookers, seconds, crash } => self.decide(*proposer, *lookers, *seconds, *crash),
            Event::Join { giver, place, altered } => self.join(*giver, *place, *altered),
        }
    }

    fn address(&self, actor: Actor) -> Vec<u8> {
        self.signers[&actor].address().to_vec()
    }

    fn subject(&self, subject: Subject) -> SubjectId {
        let organization = self.signers[&Actor::Organization(subject.organization)].address();
        commitment::subject_id(&organization, &self.signers[&Actor::Patient(subject.patient)].address())
    }

    fn message(&self, actor: Actor, request: Request) -> Message {
        let sender = self.signers[&actor].address().to_string();
        let organization = |number| self.address(Actor::Organization(number));
        match request {
            Request::Register { organization: number, content, until } => MsgRegisterOrganization {
                sender,
                organization: organization(number),
                kind: OrganizationKind::Provider.into(),
                encryption_key: vec![7; 32],
                evidence: vec![content + 1; 32],
                expires_at: START + until,
                emergency: false,
            }
            .into(),
            Request::Suspend { organization: number } => MsgSuspendOrganization {
                sender,
                organization: organization(number),
                reason: SuspensionReason::UnderInvestigation.into(),
            }
            .into(),
            Request::Open { patient } => {
                MsgOpenSubject { sender, claimant: self.address(Actor::Patient(patient)) }.into()
            }
            Request::Claim { subject } => {
                MsgClaimSubject { sender, subject: self.subject(subject).to_vec(), encryption_key: vec![8; 32] }.into()
            }
            Request::Ask { subject, request, until } => MsgRequestAccess {
                sender,
                subject: self.subject(subject).to_vec(),
                request: id("request", request),
                terms: vec![1; 32],
                body: vec![2; 32],
                expires_at: START + until,
                standing: Vec::new(),
            }
            .into(),
            Request::Grant { subject, grant, grantee, from, until, request } => MsgGrantConsent {
                sender,
                subject: self.subject(subject).to_vec(),
                grant: id("grant", grant),
                grantee: organization(grantee),
                mode: ConsentMode::View.into(),
                not_before: START + from,
                expires_at: START + until,
                terms: vec![3; 32],
                body: vec![4; 32],
                request: request.map(|request| id("request", request)).unwrap_or_default(),
                delegable: false,
            }
            .into(),
            Request::Revoke { subject, grant } => {
                MsgRevokeConsent { sender, subject: self.subject(subject).to_vec(), grant: id("grant", grant) }.into()
            }
            Request::Anchor { record, another } => {
                let anchor = |record| Anchor { record: id("record", record), commitment: vec![5; 32] };
                MsgAnchorRecords { sender, anchors: vec![anchor(record), anchor(another)] }.into()
            }
            Request::Supersede { record, version } => {
                let next =
                    Supersession { record: id("record", record), version: version.into(), commitment: vec![6; 32] };
                MsgSupersedeRecords { sender, supersessions: vec![next] }.into()
            }
            Request::Mark { record, version } => {
                MsgMarkEnteredInError { sender, record: id("record", record), version: version.into() }.into()
            }
        }
    }

    /// The transaction as its sender makes it now, and how often it comes.
    fn sign(&self, actor: Actor, requests: &[Request], delivery: Delivery) -> (Waiting, u8) {
        let account = self.model.accounts.get(&actor).copied();
        let waiting = self.pool.iter().filter(|other| other.sent.actor == actor && other.sent.is_sound);
        let ahead = waiting.filter(|other| matches!(other.sent.replay, Replay::Sequence(_))).count() as u64;
        let (number, next) = account.map_or((0, 0), |account| (account.number, account.sequence + ahead));
        let replay = match delivery {
            Delivery::StaleSequence => Replay::Sequence(next.saturating_sub(1)),
            Delivery::NextButOneSequence => Replay::Sequence(next + 1),
            Delivery::Unordered { until } => Replay::Until(until),
            _ => Replay::Sequence(next),
        };
        let signed_for = match replay {
            Replay::Sequence(sequence) => transaction::Replay::Sequence(sequence),
            Replay::Until(until) => transaction::Replay::UntilTime(START + until),
        };
        let chain = if delivery == Delivery::AnotherChain { "careledger-dev-other" } else { CHAIN };
        let messages: Vec<Message> = requests.iter().map(|request| self.message(actor, *request)).collect();
        let signer = &self.signers[&actor];
        let unsigned = Unsigned::new(&messages, &signer.public_key(), chain, number, signed_for);
        let other = self.signers.values().find(|other| other.address() != signer.address());
        let with = if delivery == Delivery::AnothersSignature { other.unwrap_or(signer) } else { signer };
        let mut bytes = with.sign(unsigned);
        if delivery == Delivery::Torn {
            bytes.truncate(bytes.len() * 2 / 3);
        }
        let is_sound = !matches!(delivery, Delivery::AnotherChain | Delivery::AnothersSignature | Delivery::Torn);
        let identity = u64::from_be_bytes(*hash(&bytes).as_bytes().first_chunk().expect("a hash is longer"));
        let sent = Sent { identity, actor, requests: requests.to_vec(), number, replay, is_sound };
        (Waiting { bytes, sent }, if delivery == Delivery::Twice { 2 } else { 1 })
    }

    /// CheckTx everywhere. Whatever it says, the transaction waits: proposals must cope.
    fn offer(&mut self, waiting: Waiting) -> Result<(), Violation> {
        self.agree("replicas check a transaction alike", |replica| {
            replica.machine.check(&waiting.bytes, CheckKind::New).code
        })?;
        self.history.push(waiting.clone());
        self.pool.push(waiting);
        Ok(())
    }

    /// What every replica answers, where they answer alike.
    fn agree<T: PartialEq + fmt::Debug>(
        &self,
        kind: &'static str,
        ask: impl Fn(&Replica) -> T,
    ) -> Result<T, Violation> {
        let mut answers: Vec<T> = self.replicas.iter().map(ask).collect();
        let first = answers.remove(0);
        match answers.iter().find(|answer| **answer != first) {
            Some(other) => self.broken(kind, format!("{first:?} and {other:?}")),
            None => Ok(first),
        }
    }

    /// What a block of these, in this order, should hold and give; the model as it is afterwards.
    fn expected<'a>(
        &self,
        offered: impl Iterator<Item = &'a Waiting>,
        time: i64,
    ) -> (Vec<&'a Waiting>, Vec<Answer>, Model) {
        // The model counts from genesis.
        let time = time - START;
        let mut model = self.model.clone();
        let (mut held, mut answers) = (Vec::new(), Vec::new());
        for waiting in offered {
            if model.may_hold(&waiting.sent, time) {
                answers.push(model.execute(&waiting.sent, time));
                held.push(waiting);
            }
        }
        (held, answers, model)
    }

    fn height(&self) -> u64 {
        self.replicas[0].machine.height() + 1
    }

    /// What a replica proposes of these, which must be what the model says, and acceptable to all who look.
    fn propose(&self, proposer: u8, lookers: u8, offered: &[Waiting], time: i64) -> Result<Vec<Vec<u8>>, Violation> {
        let all = offered.iter().map(|waiting| waiting.bytes.clone()).collect();
        let replica = &self.replicas[usize::from(proposer % REPLICAS)];
        let proposed = replica.machine.prepare(all, BLOCK_BYTES_MAX, self.height(), time);
        let (held, _, _) = self.expected(offered.iter(), time);
        if !proposed.iter().eq(held.iter().map(|waiting| &waiting.bytes)) {
            let found = format!("{} of {} offered, {} expected", proposed.len(), offered.len(), held.len());
            return self.broken("a proposal holds what may be held, and nothing else", found);
        }
        for (index, replica) in self.replicas.iter().enumerate() {
            if lookers >> index & 1 == 1
                && let Err(reject) = replica.machine.process(&proposed, self.height(), time)
            {
                return self.broken("an honest proposal is accepted", format!("replica {index}: {reject}"));
            }
        }
        Ok(proposed)
    }

    fn abandon(&mut self, proposer: u8, lookers: u8) -> Result<(), Violation> {
        let mut other = self.pool.clone();
        other.reverse();
        self.propose(proposer, lookers, &other, self.time + 7).map(drop)
    }

    fn byzantine(&mut self, order: u8) -> Result<(), Violation> {
        let mut offered = self.pool.clone();
        Random::new(order.into()).shuffle(&mut offered);
        let mut proposal: Vec<Vec<u8>> = offered.iter().map(|waiting| waiting.bytes.clone()).collect();
        let is_rubbish = order.is_multiple_of(2);
        if is_rubbish {
            proposal.insert(proposal.len() / 2, vec![order; 200]);
        }
        let (height, time) = (self.height(), self.time + 1);
        let verdict = self.agree("replicas judge a proposal alike", |replica| {
            replica.machine.process(&proposal, height, time).map_err(|reject| reject.name())
        })?;
        let is_sound = !is_rubbish && self.expected(offered.iter(), time).0.len() == offered.len();
        if verdict.is_ok() == is_sound {
            return Ok(());
        }
        self.broken(
            "a proposal is accepted if every transaction may be held",
            format!("{verdict:?}, sound: {is_sound}"),
        )
    }

    fn decide(&mut self, proposer: u8, lookers: u8, seconds: i64, crash: Option<(u8, Crash)>) -> Result<(), Violation> {
        let time = self.time + seconds;
        let offered = std::mem::take(&mut self.pool);
        let transactions = self.propose(proposer, lookers, &offered, time)?;
        let block = Block { height: self.height(), time, transactions };
        let (_, answers, model) = self.expected(offered.iter(), time);
        let mut results: Vec<(Vec<Outcome>, [u8; 32])> = Vec::new();
        for (index, replica) in self.replicas.iter_mut().enumerate() {
            let crash = crash.filter(|(place, _)| usize::from(*place) == index).map(|(_, crash)| crash);
            results.push(execute(replica, &block, crash));
        }
        self.model = model;
        self.time = time;
        if let Some(index) = (1..results.len()).find(|index| results[*index] != results[0]) {
            return self.broken("replicas agree on every block", format!("replica {index} differs from replica 0"));
        }
        let names: Vec<&str> = results[0].0.iter().map(|outcome| name(outcome.code)).collect();
        let expected: Vec<&str> = answers.iter().map(|answer| answer.err().unwrap_or("ok")).collect();
        if names != expected {
            let odd = names.iter().zip(&expected).find(|(found, expected)| found != expected);
            return self.broken("the ledger answers as the model does", format!("found and expected: {odd:?}"));
        }
        self.report.blocks += 1;
        for answer in expected {
            *self.report.answers.entry(answer).or_default() += 1;
        }
        self.report.kept_out += (offered.len() - answers.len()) as u64;
        self.compare_states()
    }

    /// What the ledger holds is what the model holds.
    fn compare_states(&self) -> Result<(), Violation> {
        let state = self.replicas[0].machine.store();
        let mut wrong = Vec::new();
        for (actor, account) in &self.model.accounts {
            let found = state.get(&keys::account(&self.signers[actor].address()));
            if found.as_ref().map(|found| (found.number, found.sequence)) != Some((account.number, account.sequence)) {
                wrong.push(format!("account of {actor}: {found:?}, expected {account:?}"));
            }
        }
        for (subject, is_claimed) in &self.model.subjects {
            let found = state.get(&keys::subject(&self.subject(*subject)));
            if found.map(|found| !found.encryption_key.is_empty()) != Some(*is_claimed) {
                wrong.push(format!("{subject:?}: claimed should be {is_claimed}"));
            }
        }
        for ((subject, grant), is_revoked) in &self.model.grants {
            let key = id("grant", *grant).as_slice().try_into().expect("an id has 32 bytes");
            let found = state.get(&keys::consent(&self.subject(*subject), &key));
            if found.map(|found| found.revoked_at != 0) != Some(*is_revoked) {
                wrong.push(format!("grant {grant} of {subject:?}: revoked should be {is_revoked}"));
            }
        }
        for ((organization, record), (version, marked)) in &self.model.records {
            let key = id("record", *record).as_slice().try_into().expect("an id has 32 bytes");
            let found = state.get(&keys::record(&self.signers[&Actor::Organization(*organization)].address(), &key));
            let expected = (u32::from(*version), u32::from(*marked));
            if found.map(|found| (found.version, found.entered_in_error)) != Some(expected) {
                wrong.push(format!("record {record} of organization-{organization}: should be {expected:?}"));
            }
        }
        match wrong.into_iter().next() {
            Some(wrong) => self.broken("the ledger holds what the model holds", wrong),
            None => Ok(()),
        }
    }

    fn join(&mut self, giver: u8, place: u8, altered: bool) -> Result<(), Violation> {
        let store = self.replicas[usize::from(giver % REPLICAS)].machine.store();
        let Some(manifest) = store.snapshots().into_iter().next() else { return Ok(()) };
        let chunks = u32::try_from(manifest.chunks.len()).expect("a manifest has a bounded number of chunks");
        let size = (manifest.height, snapshot::FORMAT, chunks);
        let restore = Restore::begin(size, &manifest.hash(), &manifest.encode(), store.app_hash());
        let Ok(mut restore) = restore else { return self.broken("a snapshot can be joined", "it was refused") };
        for index in 0..chunks {
            let chunk = store.snapshot_chunk(manifest.height, index).unwrap_or_default();
            let mut wrong = chunk.clone();
            wrong.push(0);
            if altered && !matches!(restore.apply(index, &wrong), Applied::Wrong) {
                return self.broken("an altered chunk is found", format!("chunk {index} was taken"));
            }
            match restore.apply(index, &chunk) {
                Applied::More => {}
                Applied::Whole(restored) => {
                    let mut machine = Machine::new(MemoryStore::new());
                    machine.install(restored);
                    let durable = machine.store().clone();
                    self.replicas[usize::from(place % REPLICAS)] = Replica { machine, durable };
                    // CheckTx has no memory of what waits there: what the others checked is forgotten too.
                    self.replicas.iter_mut().for_each(Replica::restart);
                    self.pool.clear();
                    return Ok(());
                }
                Applied::Wrong | Applied::Forged => {
                    return self.broken("a snapshot can be joined", format!("chunk {index} was refused"));
                }
            }
        }
        self.broken("a snapshot can be joined", "it has no end")
    }
}

/// Executes a decided block; a replica that crashes starts again and executes what it is told again.
fn execute(replica: &mut Replica, block: &Block, crash: Option<Crash>) -> (Vec<Outcome>, [u8; 32]) {
    match crash {
        Some(Crash::BeforeFinalize) => replica.restart(),
        Some(Crash::BeforeCommit) => {
            replica.machine.finalize(block);
            replica.restart();
        }
        Some(Crash::CommitLost) => {
            replica.machine.finalize(block);
            replica.machine.commit();
            replica.restart();
        }
        Some(Crash::AfterCommit) | None => {}
    }
    let finalized = replica.machine.finalize(block);
    replica.machine.commit();
    replica.durable = replica.machine.store().clone();
    if crash == Some(Crash::AfterCommit) {
        replica.restart();
    }
    (finalized.outcomes, finalized.app_hash)
}

/// The 32 bytes of an id.
fn id(kind: &str, number: u8) -> Vec<u8> {
    commitment::hash("careledger/simulation-id/1", &[kind.as_bytes(), &[number]]).to_vec()
}

fn name(code: u32) -> &'static str {
    Reject::TABLE.iter().find(|row| row.0 == code).map_or("ok", |row| row.1)
}
