//! Scripts from seeds: mostly what could take effect, some of it too late, by others, or twice.

use super::{
    boundaries,
    random::Random,
    script::{
        Actor, Crash, Decision, Delivery, Event, GUARDIANS, Key, LIVES_FROM, ORGANIZATIONS, PATIENTS, PRACTITIONERS,
        REGISTRARS, REGISTRARS_FIRST, REPLICAS, Request, Rubbish, SPARE_KEYS, Script, Signing, Subject,
    },
    stories, words,
};
use crate::upgrade;

/// Events of one script, about.
const EVENTS: usize = 190;
/// Events of a long life, about: what is spent twice comes besides.
const LIFE_EVENTS: usize = EVENTS + 2 * SPENT;
const DAY: i64 = 86_400;
/// Transactions that are more than a quota, of some 450 bytes each.
const SPENT: usize = 45;
/// Those of one patient, of some 300 bytes each.
const SPENT_TOGETHER: usize = 80;
/// Stories of words that lost their standing, in scripts of the newest formats.
const WORDS: usize = 3;

/// A script that is being made, and how late it is in it.
pub(super) struct Generator {
    pub(super) random: Random,
    events: Vec<Event>,
    /// Seconds after genesis, and blocks.
    pub(super) now: i64,
    pub(super) height: u64,
    /// Proposals so far: their ids are taken for ever.
    pub(super) proposals: u8,
}

/// The script of a seed.
pub(super) fn script(seed: u64) -> Script {
    let mut generator = Generator { random: Random::new(seed), events: Vec::new(), now: 0, height: 0, proposals: 0 };
    if seed >= LIVES_FROM {
        generator.life();
        return Script { first_format: 1, has_quotas: true, events: generator.events };
    }
    let first_format = 1 + u32::from(generator.random.happens(50));
    generator.beginning();
    while generator.events.len() < EVENTS {
        generator.event();
    }
    // What a seed asked for when there were two formats every second one asks for still; the others of later ones.
    let later = match seed % 4 {
        0 => 3,
        2 => 1,
        _ => 0,
    };
    if later == 3 {
        (0..WORDS).for_each(|_| words::tell(&mut generator));
    }
    Script { first_format, has_quotas: false, events: generator.events }.in_formats_later(later)
}

impl Generator {
    /// Anything, and between thirds of it the next format.
    fn life(&mut self) {
        self.beginning();
        let formats = upgrade::NEWEST as usize;
        for part in 1..=formats {
            while self.events.len() < part * LIFE_EVENTS / formats {
                if self.random.happens(5) { boundaries::tell(self) } else { self.event() }
            }
            if part < formats {
                self.agree_on(upgrade::TABLE[part - 1].version);
                self.spend();
            }
        }
        self.spend_together();
    }

    /// What all whom an organization opened can send together, sometimes while it is suspended.
    fn spend_together(&mut self) {
        let organization = self.random.below(ORGANIZATIONS);
        if self.random.happens(50) {
            self.send(Actor::Registrar(0), Request::Suspend { organization });
        }
        for patient in (1..PATIENTS).filter(|patient| usual(*patient).organization == organization) {
            let actor = Actor::Patient(patient);
            let signing = Signing { actor, key: Key::Of(actor), sponsor: None, is_sponsored: false };
            for _ in 0..SPENT_TOGETHER {
                let requests = vec![Request::Revoke { subject: usual(patient), grant: 0 }];
                self.events.push(Event::Send { signing, requests, delivery: Delivery::Ordered });
            }
        }
        self.offer();
        self.decide(1);
    }

    /// Whoever the registrars are by now: one proposes the format, as many vote as must, the others are refused.
    fn agree_on(&mut self, version: u32) {
        let (proposal, until) = (self.next_proposal(), self.now + 3_000);
        let decision = Decision::Upgrade { version, height: self.height + 3 };
        for registrar in 0..REGISTRARS {
            self.send(Actor::Registrar(registrar), Request::Propose { proposal, until, decision });
        }
        for registrar in 0..REGISTRARS {
            self.send(Actor::Registrar(registrar), Request::Vote { proposal });
        }
        // The votes, what comes between, and the block of the upgrade.
        for _ in 0..3 {
            self.decide(1);
        }
    }

    /// More than a sponsor has a quota for, and what the two can send by themselves then.
    fn spend(&mut self) {
        let patient = 1 + self.random.below(PATIENTS - 1);
        let (actor, sponsor) = (Actor::Patient(patient), Actor::Organization(self.random.below(ORGANIZATIONS)));
        let request = Request::Revoke { subject: usual(patient), grant: 0 };
        let signing = Signing { actor, key: Key::Of(actor), sponsor: Some(sponsor), is_sponsored: true };
        for _ in 0..SPENT {
            self.events.push(Event::Send { signing, requests: vec![request], delivery: Delivery::Ordered });
        }
        self.offer();
        self.decide(1);
        self.send(sponsor, Request::Open { patient });
        self.send(actor, request);
        self.offer();
        self.decide(1);
    }

    /// Something has to be there before much can happen.
    fn beginning(&mut self) {
        for organization in 0..ORGANIZATIONS {
            if self.random.happens(10) {
                continue;
            }
            let until = if self.random.happens(15) { 200 + self.random.seconds(600) } else { 90 * DAY };
            let emergency = self.random.happens(60);
            for registrar in 0..2 {
                self.send(
                    Actor::Registrar(registrar),
                    Request::Register { organization, content: 0, until, emergency },
                );
            }
        }
        self.decide(1);
        for patient in 1..PATIENTS {
            self.send(Actor::Organization(usual(patient).organization), Request::Open { patient });
        }
        let until = self.end();
        self.send(Actor::Organization(0), Request::Enrol { practitioner: 0, until });
        self.decide(1);
        for patient in 1..PATIENTS {
            if self.random.happens(15) {
                continue;
            }
            self.send(Actor::Patient(patient), Request::Claim { subject: usual(patient) });
        }
        self.decide(1);
    }

    /// Sent by the account with its own key, in order.
    pub(super) fn send(&mut self, actor: Actor, request: Request) {
        let signing = Signing { actor, key: Key::Of(actor), sponsor: None, is_sponsored: true };
        self.events.push(Event::Send { signing, requests: vec![request], delivery: Delivery::Ordered });
    }

    /// The same until a time, in any order.
    pub(super) fn send_unordered(&mut self, actor: Actor, request: Request, until: i64) {
        let signing = Signing { actor, key: Key::Of(actor), sponsor: None, is_sponsored: true };
        self.events.push(Event::Send { signing, requests: vec![request], delivery: Delivery::Unordered { until } });
    }

    /// A proposer offers everything that waits, in another order.
    pub(super) fn offer(&mut self) {
        let order = self.random.below(200);
        self.events.push(Event::Byzantine { order, rubbish: Rubbish::Nothing });
    }

    /// The same with another key.
    pub(super) fn send_with(&mut self, actor: Actor, key: Key, request: Request) {
        let signing = Signing { actor, key, sponsor: None, is_sponsored: true };
        self.events.push(Event::Send { signing, requests: vec![request], delivery: Delivery::Ordered });
    }

    /// A block so many seconds later, without faults.
    pub(super) fn decide(&mut self, seconds: i64) {
        (self.now, self.height) = (self.now + seconds, self.height + 1);
        self.events.push(Event::Decide { proposer: 0, lookers: 15, seconds, crash: None });
    }

    /// Blocks at the same second, without transactions.
    pub(super) fn wait(&mut self, blocks: u8) {
        self.height += u64::from(blocks);
        self.events.push(Event::Wait { blocks });
    }

    /// Seconds after genesis that the next block has at least.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// An end that stays the same for a while.
    pub(super) fn months_later(&self) -> i64 {
        self.now / (10 * DAY) * 10 * DAY + 90 * DAY
    }

    /// The id of a proposal that is about to be made.
    pub(super) fn next_proposal(&mut self) -> u8 {
        self.proposals = self.proposals.wrapping_add(1);
        self.proposals
    }

    /// Blocks so far.
    pub(super) fn height(&self) -> u64 {
        self.height
    }

    fn event(&mut self) {
        let event = match self.random.below(100) {
            0..62 => self.any(),
            62..66 => Event::Replay { back: self.random.below(12) },
            66..69 => Event::Abandon { proposer: self.random.below(REPLICAS), lookers: self.random.below(16) },
            69..73 => Event::Byzantine { order: self.random.below(200), rubbish: self.rubbish() },
            73..88 => return self.block(),
            88..98 => return stories::tell(self),
            _ => {
                let (giver, place) = (self.random.below(REPLICAS), self.random.below(REPLICAS));
                Event::Join { giver, place, altered: self.random.happens(50) }
            }
        };
        self.events.push(event);
    }

    fn block(&mut self) {
        // Some things take days.
        let days = if self.random.happens(3) { i64::from(self.random.below(9)) * DAY } else { 0 };
        let seconds = self.random.seconds(45) + days;
        (self.now, self.height) = (self.now + seconds, self.height + 1);
        let crash = self.random.happens(35).then(|| (self.random.below(REPLICAS), self.crash()));
        let (proposer, lookers) = (self.random.below(REPLICAS), self.random.below(16));
        self.events.push(Event::Decide { proposer, lookers, seconds, crash });
    }

    fn crash(&mut self) -> Crash {
        match self.random.below(4) {
            0 => Crash::BeforeFinalize,
            1 => Crash::BeforeCommit,
            2 => Crash::AfterCommit,
            _ => Crash::CommitLost,
        }
    }

    fn rubbish(&mut self) -> Rubbish {
        let all = [Rubbish::Malformed, Rubbish::Forged, Rubbish::Repeated, Rubbish::Short, Rubbish::Nothing];
        // These two have many bytes.
        if self.random.happens(10) {
            return if self.random.happens(50) { Rubbish::Oversize } else { Rubbish::TooMuch };
        }
        all[usize::from(self.random.below(5))]
    }

    /// A transaction of anybody.
    fn any(&mut self) -> Event {
        let (actor, first) = self.request();
        let mut requests = vec![first];
        if self.random.happens(15) {
            // The other is from the same account, or it would be no transaction.
            let (other, second) = self.request();
            if other == actor {
                requests.push(second);
            }
        }
        let delivery = match self.random.below(100) {
            0..62 => Delivery::Ordered,
            62..65 => Delivery::StaleSequence,
            65..68 => Delivery::NextButOneSequence,
            68..90 => Delivery::Unordered { until: self.now + self.random.seconds(700) - 40 },
            90..92 => Delivery::AnotherChain,
            92..94 => Delivery::AnothersSignature,
            94..97 => Delivery::Torn,
            _ => Delivery::Twice,
        };
        let key = if self.random.happens(88) { Key::Of(actor) } else { self.spare() };
        let sponsor = self.random.happens(12).then(|| self.anybody()).filter(|sponsor| *sponsor != actor);
        let signing = Signing { actor, key, sponsor, is_sponsored: self.random.happens(85) };
        Event::Send { signing, requests, delivery }
    }

    fn spare(&mut self) -> Key {
        Key::Spare(self.random.below(SPARE_KEYS))
    }

    /// A key that an account might get: mostly one that is nobody's yet.
    pub(super) fn new_key(&mut self) -> Key {
        if self.random.happens(90) { self.spare() } else { Key::Of(Actor::Patient(self.random.below(PATIENTS))) }
    }

    /// An end: soon, in days, or past.
    pub(super) fn end(&mut self) -> i64 {
        match self.random.below(20) {
            0..12 => self.now + self.random.seconds(500),
            12..18 => self.now + (1 + i64::from(self.random.below(20))) * DAY,
            _ => 1 + self.random.seconds(u64::try_from(self.now).unwrap_or(0) + 1),
        }
    }

    pub(super) fn anybody(&mut self) -> Actor {
        match self.random.below(5) {
            0 => self.registrar(),
            1 => Actor::Organization(self.random.below(ORGANIZATIONS)),
            2 => Actor::Practitioner(self.random.below(PRACTITIONERS)),
            3 => Actor::Guardian(self.random.below(GUARDIANS)),
            _ => Actor::Patient(self.random.below(PATIENTS)),
        }
    }

    pub(super) fn registrar(&mut self) -> Actor {
        let count = if self.random.happens(80) { REGISTRARS_FIRST } else { REGISTRARS };
        Actor::Registrar(self.random.below(count))
    }

    /// Mostly this one, now and then anybody.
    pub(super) fn mostly(&mut self, actor: Actor) -> Actor {
        if self.random.happens(92) { actor } else { self.anybody() }
    }

    fn request(&mut self) -> (Actor, Request) {
        match self.random.below(100) {
            0..13 => self.identity(),
            13..24 => self.keys(),
            24..60 => self.consent(),
            60..79 => self.record(),
            79..88 => self.insurance(),
            _ => self.governance(),
        }
    }
}

/// The subject of the patient with this number at their usual organization.
pub(super) fn usual(patient: u8) -> Subject {
    Subject { organization: patient % ORGANIZATIONS, patient }
}
