//! The rules once more, as short as they can be said, over names instead of keys. It shares no code
//! with the ledger: where the two differ, one of them is wrong.

mod consent;
mod governance;
mod identity;
mod insurance;
mod keys;
mod quotas;
mod records;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    request::Area,
    script::{Actor, Key, REGISTRARS, REGISTRARS_FIRST, Request, Subject, VALIDATORS_FIRST},
};

pub(super) use consent::{AUTOMATIC_SECONDS, REVIEW};
pub(super) use insurance::{Kind, Leaves, Spent, Tree, kind};
pub(super) use keys::Word;
pub(super) use quotas::{WINDOW_BLOCKS, allowance};
pub(super) use records::batched;

/// Registrars that must agree, at genesis.
pub(super) const THRESHOLD: u8 = 2;
/// Power of each validator at genesis.
pub(super) const POWER: u64 = 10;
const DAY: i64 = 86_400;

/// What a transaction comes to: nothing (it took effect), or the name of the refusal.
pub(super) type Answer = Result<(), &'static str>;

/// What the ledger should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) accounts: BTreeMap<Actor, keys::Account>,
    /// Of the next account: one that is no more keeps its own.
    pub(super) next_number: u64,
    /// Keys that are or were of an account whose address is another.
    pub(super) bound: BTreeMap<Key, Actor>,
    /// The window in which any whom the organization opened paid last, and the bytes that all paid for in it.
    pub(super) opened: BTreeMap<u8, (u64, u64)>,
    pub(super) guarded: BTreeMap<Actor, keys::Guarded>,
    pub(super) recoveries: BTreeMap<(Actor, Key), keys::Recovery>,
    pub(super) organizations: BTreeMap<u8, identity::Organization>,
    pub(super) approvals: BTreeMap<identity::Registration, BTreeSet<u8>>,
    pub(super) practitioners: BTreeMap<(u8, u8), identity::Enrolment>,
    /// Whether it is claimed.
    pub(super) subjects: BTreeMap<Subject, bool>,
    pub(super) requests: BTreeMap<u8, consent::Asked>,
    pub(super) grants: BTreeMap<(Subject, u8), consent::Grant>,
    pub(super) guardians: BTreeMap<(Subject, u8), consent::Guardianship>,
    pub(super) emergencies: BTreeMap<(Subject, u8), consent::Emergency>,
    pub(super) standing: BTreeMap<(Subject, u8), consent::Standing>,
    pub(super) records: BTreeMap<(u8, u8), records::Record>,
    /// When each was anchored.
    pub(super) batches: BTreeMap<(u8, u8), i64>,
    pub(super) countersignatures: BTreeMap<(u8, u8, u8), records::Countersignature>,
    /// The batches of each access log.
    pub(super) logs: BTreeMap<u8, Vec<records::Logged>>,
    /// When each was disputed: subject, batch and place in it.
    pub(super) disputes: BTreeMap<(Subject, (u8, u8)), i64>,
    pub(super) plans: BTreeSet<(u8, u8)>,
    pub(super) attestations: Tree,
    pub(super) enrolments: BTreeMap<u8, Tree>,
    /// By which claim, at which height.
    pub(super) spent: BTreeMap<Spent, (u8, u64)>,
    pub(super) confirmed: BTreeMap<(u8, u8), insurance::Confirmed>,
    /// Who may be a registrar, in the order of their addresses.
    ranks: Vec<u8>,
    pub(super) registrars: BTreeSet<u8>,
    pub(super) threshold: u8,
    pub(super) registrar_generation: u64,
    pub(super) validators: BTreeMap<u8, u64>,
    /// Since which height those without power have none, from format 4 on.
    pub(super) removed: BTreeMap<u8, u64>,
    pub(super) validators_changed_at: u64,
    pub(super) parameters: governance::Parameters,
    pub(super) proposals: BTreeMap<u8, governance::Proposal>,
    pub(super) format: u32,
    /// Version and height.
    pub(super) scheduled: Option<(u32, u64)>,
    /// Time and height of the upgrade to each format.
    pub(super) upgraded: BTreeMap<u32, Moment>,
    /// Whether accounts pay.
    has_quotas: bool,
    /// When each unordered transaction expires, and the height at which it was executed.
    pub(super) executed: BTreeMap<u64, (i64, u64)>,
}

/// A transaction as the model sees it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// Equal for equal bytes.
    pub(super) identity: u64,
    pub(super) actor: Actor,
    pub(super) key: Key,
    pub(super) requests: Vec<Request>,
    /// What it was signed for: the account's number, and its sequence or its expiry.
    pub(super) number: u64,
    pub(super) replay: Replay,
    /// Who pays, and the number of that account for which it signed.
    pub(super) sponsor: Option<(Actor, u64)>,
    /// Whether bytes, chain and signatures are right.
    pub(super) is_sound: bool,
    /// Bytes.
    pub(super) size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replay {
    Sequence(u64),
    Until(i64),
}

/// A block as far as rules know of it. Seconds after genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) time: i64,
    pub(super) height: u64,
}

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
struct By {
    actor: Actor,
    key: Key,
    time: i64,
    height: u64,
}

impl Model {
    /// `ranks` gives the registrars in the order of their addresses, in which they are numbered.
    pub(super) fn genesis(ranks: &[u8; REGISTRARS as usize], format: u32, has_quotas: bool) -> Self {
        let mut model = Self {
            ranks: ranks.to_vec(),
            registrars: (0..REGISTRARS_FIRST).collect(),
            threshold: THRESHOLD,
            validators: (0..VALIDATORS_FIRST).map(|key| (key, POWER)).collect(),
            format,
            has_quotas,
            ..Self::default()
        };
        for registrar in ranks.iter().filter(|registrar| **registrar < REGISTRARS_FIRST) {
            model.open(Actor::Registrar(*registrar));
        }
        model
    }

    fn open(&mut self, actor: Actor) {
        if !self.accounts.contains_key(&actor) {
            self.accounts.insert(actor, keys::Account { number: self.next_number, ..keys::Account::default() });
            self.next_number += 1;
        }
    }

    fn open_for(&mut self, organization: u8, actor: Actor) {
        if !self.accounts.contains_key(&actor) {
            self.open(actor);
            self.note_opener(organization, actor);
        }
    }

    fn note_opener(&mut self, organization: u8, actor: Actor) {
        if self.format >= 5
            && let Some(account) = self.accounts.get_mut(&actor)
        {
            account.opened_by.get_or_insert(organization);
        }
    }

    /// What format 5 knows of the accounts that were there before: which of several enrolled a practitioner first is not known.
    fn note_openers(&mut self) {
        let patients = self.subjects.keys().map(|subject| (subject.organization, Actor::Patient(subject.patient)));
        let in_force = self.guardians.iter().filter(|(_, guardianship)| guardianship.in_force.is_some());
        let guardians = in_force.map(|((subject, guardian), _)| (subject.organization, Actor::Guardian(*guardian)));
        let is_alone =
            |practitioner: u8| self.practitioners.keys().filter(|(_, other)| *other == practitioner).count() == 1;
        let enrolled = self.practitioners.keys().filter(|(_, practitioner)| is_alone(*practitioner));
        let practitioners = enrolled.map(|(organization, number)| (*organization, Actor::Practitioner(*number)));
        for (organization, actor) in patients.chain(guardians).chain(practitioners).collect::<Vec<_>>() {
            self.note_opener(organization, actor);
        }
    }

    /// What comes before the transactions of a block.
    pub(super) fn begin(&mut self, block: Moment) {
        if let Some((version, height)) = self.scheduled
            && height == block.height
        {
            (self.format, self.scheduled) = (version, None);
            self.upgraded.insert(version, block);
            self.note_removed(block.height);
            if version == 5 {
                self.note_openers();
            }
        }
    }

    /// Whether this block may hold it.
    pub(super) fn may_hold(&self, sent: &Sent, block: Moment) -> bool {
        let time = block.time;
        let Some(account) = self.accounts.get(&sent.actor) else { return false };
        let is_fresh = match sent.replay {
            Replay::Sequence(sequence) => sequence == account.sequence,
            Replay::Until(until) => {
                let latest = time + self.parameters.unordered_seconds;
                time < until && until <= latest && !self.executed.contains_key(&sent.identity)
            }
        };
        let is_paid = sent.sponsor.is_none_or(|(sponsor, number)| {
            let is_known = self.accounts.get(&sponsor).is_some_and(|account| account.number == number);
            let stands = match sponsor {
                Actor::Organization(organization) => self.standing_of(organization, time).is_ok(),
                _ => true,
            };
            // A sponsor's word is for one transaction: its sequence says which.
            let is_ordered = matches!(sent.replay, Replay::Sequence(_));
            is_known && is_ordered && stands && self.authority(sponsor, Key::Of(sponsor)).is_some()
        });
        let is_the_accounts = self.authority(sent.actor, sent.key).is_some();
        let is_right = sent.is_sound && sent.number == account.number;
        is_right && is_fresh && is_paid && is_the_accounts && self.can_pay(sent, block) && !self.uses_again(sent)
    }

    /// What it comes to in a block that may hold it: all of its requests, or none.
    pub(super) fn execute(&mut self, sent: &Sent, block: Moment) -> Answer {
        match sent.replay {
            Replay::Sequence(_) => {
                if let Some(account) = self.accounts.get_mut(&sent.actor) {
                    account.sequence += 1;
                }
            }
            Replay::Until(until) => {
                self.executed.insert(sent.identity, (until, block.height));
            }
        }
        self.pay(sent, block);
        self.shows_its_key(sent.actor);
        sent.sponsor.iter().for_each(|(sponsor, _)| self.shows_its_key(*sponsor));
        let by = By { actor: sent.actor, key: sent.key, time: block.time, height: block.height };
        // What is wrong with a request by itself is found before anything is tried.
        sent.requests.iter().try_for_each(|request| shape(sent.actor, request))?;
        let mut tried = self.clone();
        for request in &sent.requests {
            tried.request(by, *request)?;
        }
        *self = tried;
        Ok(())
    }

    fn request(&mut self, by: By, request: Request) -> Answer {
        match request.area() {
            Area::Identity => self.identity(by, request),
            Area::Keys => self.keys(by, request),
            Area::Consent | Area::Beyond => self.consent(by, request),
            Area::Records | Area::Custody => self.record(by, request),
            Area::Insurance => self.insurance(by, request),
            Area::Governance => self.govern(by, request),
        }
    }
}

fn ends(until: i64, time: i64) -> Answer {
    if until <= time { Err("AlreadyEnded") } else { Ok(()) }
}

/// What is wrong with a request whatever the ledger holds.
fn shape(actor: Actor, request: &Request) -> Answer {
    let is_wrong = match *request {
        Request::Grant { from, until, .. } | Request::Amend { version: 1.., from, until, .. } => until <= from,
        Request::Delegate { grantee, from, until, .. } => until <= from || actor == Actor::Organization(grantee),
        Request::Anchor { record, another } if record == another => return Err("DuplicateRecord"),
        Request::Amend { version: 0, .. }
        | Request::Supersede { version: 0, .. }
        | Request::Mark { version: 0, .. }
        | Request::Countersign { version: 0, .. }
        | Request::AskSignature { version: 0, .. }
        | Request::Log { sequence: 0, .. } => true,
        Request::AskSignature { countersigner, .. } => actor == Actor::Organization(countersigner),
        Request::Log { from, to, .. } => to < from,
        Request::SetGuardians { guardians, threshold, delay } => keys::are_wrong(actor, guardians, threshold, delay),
        Request::Propose { decision, .. } => return governance::shape(decision),
        Request::Publish { is_sound: false, .. } => return Err("InvalidPlan"),
        Request::Unattest { first, second } => second == Some(first),
        _ => false,
    };
    if is_wrong { Err("InvalidField") } else { Ok(()) }
}
