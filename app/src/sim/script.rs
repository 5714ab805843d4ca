//! What happens in a simulation: who sends what, and what goes wrong.

use std::fmt;

use super::random::Random;

/// Registrars at genesis; two of them must agree.
pub(super) const REGISTRARS: u8 = 3;
/// Organizations that may come to be.
pub(super) const ORGANIZATIONS: u8 = 3;
/// Keys of patients.
pub(super) const PATIENTS: u8 = 4;
/// Ids of requests, grants and records that are drawn from: few, so that they meet.
const IDS: u8 = 4;
/// Replicas at the beginning.
pub(super) const REPLICAS: u8 = 4;
/// Events of one script.
const EVENTS: usize = 110;
/// Ends lie within so many seconds of genesis, so that many of them pass.
const END_SECONDS: u64 = 600;

/// A subject: the view that an organization has of a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub(super) organization: u8,
    pub(super) patient: u8,
}

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    Registrar(u8),
    Organization(u8),
    Patient(u8),
}

/// What is asked for. Ends are seconds after genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Register { organization: u8, content: u8, until: i64 },
    Suspend { organization: u8 },
    Open { patient: u8 },
    Claim { subject: Subject },
    Ask { subject: Subject, request: u8, until: i64 },
    Grant { subject: Subject, grant: u8, grantee: u8, from: i64, until: i64, request: Option<u8> },
    Revoke { subject: Subject, grant: u8 },
    Anchor { record: u8, another: u8 },
    Supersede { record: u8, version: u8 },
    Mark { record: u8, version: u8 },
}

/// How a transaction comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Ordered,
    StaleSequence,
    NextButOneSequence,
    Unordered { until: i64 },
    AnotherChain,
    AnothersSignature,
    Torn,
    Twice,
}

/// When a replica stops, within a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    BeforeFinalize,
    BeforeCommit,
    AfterCommit,
    /// The disk lost the whole write: the store is as before.
    CommitLost,
}

/// One thing that happens.
#[expect(missing_docs, reason = "what each number means, its display says")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A transaction of one or two requests is sent to every replica.
    Send { actor: Actor, requests: Vec<Request>, delivery: Delivery },
    /// The bytes of an earlier transaction come again.
    Replay { back: u8 },
    /// Another proposal is made and looked at by some, and not decided.
    Abandon { proposer: u8, lookers: u8 },
    /// A proposer that does as it likes: everything that waits, in another order, and rubbish.
    Byzantine { order: u8 },
    /// A block is proposed, decided and executed by all.
    Decide { proposer: u8, lookers: u8, seconds: i64, crash: Option<(u8, Crash)> },
    /// A new replica takes the place of one, from a snapshot of another.
    Join { giver: u8, place: u8, altered: bool },
}

/// Events, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub(super) events: Vec<Event>,
}

impl Script {
    /// The script of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Something has to be there before much can happen.
        let mut events = Vec::new();
        for organization in 0..ORGANIZATIONS {
            if random.happens(10) {
                continue;
            }
            let until = 200 + random.seconds(END_SECONDS);
            for registrar in 0..2 {
                let requests = vec![Request::Register { organization, content: 0, until }];
                events.push(Event::Send { actor: Actor::Registrar(registrar), requests, delivery: Delivery::Ordered });
            }
        }
        let decide = Event::Decide { proposer: 0, lookers: 15, seconds: 1, crash: None };
        events.push(decide.clone());
        let mut ordered = |actor, request| {
            events.push(Event::Send { actor, requests: vec![request], delivery: Delivery::Ordered });
        };
        let subjects = (0..PATIENTS).map(usual);
        for subject in subjects.clone().skip(1) {
            ordered(Actor::Organization(subject.organization), Request::Open { patient: subject.patient });
        }
        events.push(decide.clone());
        for subject in subjects.skip(2) {
            let requests = vec![Request::Claim { subject }];
            events.push(Event::Send { actor: Actor::Patient(subject.patient), requests, delivery: Delivery::Ordered });
        }
        events.push(decide);
        while events.len() < EVENTS {
            events.push(event(&mut random));
        }
        Self { events }
    }
}

fn event(random: &mut Random) -> Event {
    match random.below(100) {
        0..70 => send(random),
        70..74 => Event::Replay { back: random.below(12) },
        74..78 => Event::Abandon { proposer: random.below(REPLICAS), lookers: random.below(16) },
        78..81 => Event::Byzantine { order: random.below(200) },
        81..98 => Event::Decide {
            proposer: random.below(REPLICAS),
            lookers: random.below(16),
            seconds: random.seconds(45),
            crash: random.happens(35).then(|| (random.below(REPLICAS), crash(random))),
        },
        _ => Event::Join { giver: random.below(REPLICAS), place: random.below(REPLICAS), altered: random.happens(50) },
    }
}

fn crash(random: &mut Random) -> Crash {
    match random.below(4) {
        0 => Crash::BeforeFinalize,
        1 => Crash::BeforeCommit,
        2 => Crash::AfterCommit,
        _ => Crash::CommitLost,
    }
}

fn send(random: &mut Random) -> Event {
    let (actor, first) = request(random);
    let mut requests = vec![first];
    if random.happens(15) {
        // The other is from the same account, or it would be no transaction.
        let (other, second) = request(random);
        if other == actor {
            requests.push(second);
        }
    }
    let delivery = match random.below(100) {
        0..60 => Delivery::Ordered,
        60..63 => Delivery::StaleSequence,
        63..67 => Delivery::NextButOneSequence,
        67..89 => Delivery::Unordered { until: random.seconds(END_SECONDS + 300) },
        89..91 => Delivery::AnotherChain,
        91..94 => Delivery::AnothersSignature,
        94..97 => Delivery::Torn,
        _ => Delivery::Twice,
    };
    Event::Send { actor, requests, delivery }
}

fn request(random: &mut Random) -> (Actor, Request) {
    let organization = random.below(ORGANIZATIONS);
    let by_organization = Actor::Organization(organization);
    // Mostly the subject that a patient has at the organization of the same number.
    let patient = random.below(PATIENTS);
    let custodian = if random.happens(85) { patient % ORGANIZATIONS } else { random.below(ORGANIZATIONS) };
    let subject = Subject { organization: custodian, patient };
    let by_patient = if random.happens(90) { Actor::Patient(patient) } else { any_actor(random) };
    let until = random.seconds(END_SECONDS);
    let id = random.below(IDS);
    match random.below(40) {
        0..4 => {
            // Few contents, so that registrars agree sometimes.
            let until = i64::from(random.below(3)) * 250 + 200;
            let actor = if random.happens(90) { Actor::Registrar(random.below(REGISTRARS)) } else { any_actor(random) };
            (actor, Request::Register { organization, content: random.below(2), until })
        }
        4 => (Actor::Registrar(random.below(REGISTRARS)), Request::Suspend { organization }),
        5..7 => (Actor::Organization(custodian), Request::Open { patient }),
        7..10 => (by_patient, Request::Claim { subject }),
        10..16 => {
            // Mostly the organization and the subject that the grant below expects.
            let asks = if random.happens(80) { Actor::Organization(asker(id)) } else { by_organization };
            let about = if random.happens(80) { usual(id) } else { subject };
            (asks, Request::Ask { subject: about, request: id, until })
        }
        16..24 => {
            let from = random.seconds(END_SECONDS) / 2;
            if random.happens(50) {
                let (subject, grantee) = (usual(id), asker(id));
                let request =
                    Request::Grant { subject, grant: random.below(IDS), grantee, from, until, request: Some(id) };
                return (Actor::Patient(subject.patient), request);
            }
            let grantee = random.below(ORGANIZATIONS);
            let request = random.happens(20).then(|| random.below(IDS));
            (by_patient, Request::Grant { subject, grant: id / 2, grantee, from, until, request })
        }
        24..30 => (by_patient, Request::Revoke { subject, grant: id / 2 }),
        30..33 => (by_organization, Request::Anchor { record: id, another: random.below(IDS) }),
        33..37 => (by_organization, Request::Supersede { record: id, version: random.below(4) }),
        _ => {
            let actor = if random.happens(90) { by_organization } else { any_actor(random) };
            (actor, Request::Mark { record: id, version: random.below(2) + random.below(2) })
        }
    }
}

/// The subject of the patient with this number at their usual organization.
fn usual(patient: u8) -> Subject {
    Subject { organization: patient % ORGANIZATIONS, patient }
}

/// The organization that usually asks with the request of this number.
fn asker(request: u8) -> u8 {
    (request + 1) % ORGANIZATIONS
}

fn any_actor(random: &mut Random) -> Actor {
    match random.below(3) {
        0 => Actor::Registrar(random.below(REGISTRARS)),
        1 => Actor::Organization(random.below(ORGANIZATIONS)),
        _ => Actor::Patient(random.below(PATIENTS)),
    }
}

impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            writeln!(formatter, "  {event}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registrar(number) => write!(formatter, "registrar-{number}"),
            Self::Organization(number) => write!(formatter, "organization-{number}"),
            Self::Patient(number) => write!(formatter, "patient-{number}"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { actor, requests, delivery } => write!(formatter, "{actor} sends {requests:?}, {delivery:?}"),
            Self::Replay { back } => write!(formatter, "the transaction {back} before the last comes again"),
            Self::Abandon { proposer, lookers } => {
                write!(formatter, "replica {proposer} proposes, replicas {lookers:04b} look, nothing is decided")
            }
            Self::Byzantine { order } => {
                write!(formatter, "a proposer offers everything in order {order}, and rubbish")
            }
            Self::Decide { proposer, lookers, seconds, crash } => {
                write!(
                    formatter,
                    "{seconds} s later the block of replica {proposer} is decided, {lookers:04b} looked"
                )?;
                match crash {
                    Some((replica, crash)) => write!(formatter, ", replica {replica} crashes: {crash:?}"),
                    None => Ok(()),
                }
            }
            Self::Join { giver, place, altered } => {
                let how = if *altered { " after an altered chunk" } else { "" };
                write!(formatter, "replica {place} is new and joins from a snapshot of {giver}{how}")
            }
        }
    }
}
