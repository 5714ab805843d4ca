//! The rules once more, as short as they can be said, over names instead of keys. It shares no code
//! with the ledger: where the two differ, one of them is wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::script::{Actor, REGISTRARS, Request, Subject};

/// Registrars that must agree.
pub(super) const THRESHOLD: usize = 2;
/// Longest that an unordered transaction may still be valid, in seconds.
const UNORDERED_SECONDS: i64 = 600;

/// What a transaction comes to: nothing (it took effect), or the name of the refusal.
pub(super) type Answer = Result<(), &'static str>;

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) number: u64,
    pub(super) sequence: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Organization {
    content: u8,
    until: i64,
    suspended: bool,
    generation: u64,
}

/// What the ledger should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) accounts: BTreeMap<Actor, Account>,
    organizations: BTreeMap<u8, Organization>,
    approvals: BTreeMap<(u8, u8, i64, u64), BTreeSet<u8>>,
    /// Whether it is claimed.
    pub(super) subjects: BTreeMap<Subject, bool>,
    /// Who asked, about whom, until when, and whether it was answered.
    requests: BTreeMap<u8, (u8, Subject, i64, bool)>,
    /// Whether it was revoked.
    pub(super) grants: BTreeMap<(Subject, u8), bool>,
    /// Version, and the version that is marked as entered in error.
    pub(super) records: BTreeMap<(u8, u8), (u8, u8)>,
    executed: BTreeSet<u64>,
}

/// A transaction as the model sees it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// Equal for equal bytes.
    pub(super) identity: u64,
    pub(super) actor: Actor,
    pub(super) requests: Vec<Request>,
    /// What it was signed for: the account's number, and its sequence or its expiry.
    pub(super) number: u64,
    pub(super) replay: Replay,
    /// Whether bytes, chain and signer are right.
    pub(super) is_sound: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replay {
    Sequence(u64),
    Until(i64),
}

impl Model {
    /// `ranks` gives the registrars in the order of their addresses, in which they are numbered.
    pub(super) fn genesis(ranks: &[u8; REGISTRARS as usize]) -> Self {
        let mut model = Self::default();
        for registrar in ranks {
            model.open(Actor::Registrar(*registrar));
        }
        model
    }

    fn open(&mut self, actor: Actor) {
        let number = self.accounts.len() as u64;
        self.accounts.entry(actor).or_insert(Account { number, sequence: 0 });
    }

    /// Whether a block of this time may hold it.
    pub(super) fn may_hold(&self, sent: &Sent, time: i64) -> bool {
        let Some(account) = self.accounts.get(&sent.actor) else { return false };
        let is_fresh = match sent.replay {
            Replay::Sequence(sequence) => sequence == account.sequence,
            Replay::Until(until) => {
                time < until && until <= time + UNORDERED_SECONDS && !self.executed.contains(&sent.identity)
            }
        };
        sent.is_sound && is_fresh && sent.number == account.number
    }

    /// What it comes to in a block that may hold it: all of its requests, or none.
    pub(super) fn execute(&mut self, sent: &Sent, time: i64) -> Answer {
        match sent.replay {
            Replay::Sequence(_) => {
                if let Some(account) = self.accounts.get_mut(&sent.actor) {
                    account.sequence += 1;
                }
            }
            Replay::Until(_) => {
                self.executed.insert(sent.identity);
            }
        }
        // What is wrong with a request by itself is found before anything is tried.
        sent.requests.iter().try_for_each(shape)?;
        let mut tried = self.clone();
        for request in &sent.requests {
            tried.request(sent.actor, *request, time)?;
        }
        *self = tried;
        Ok(())
    }

    fn standing(&self, organization: u8, time: i64) -> Answer {
        match self.organizations.get(&organization) {
            None => Err("UnknownOrganization"),
            Some(found) if found.suspended => Err("OrganizationSuspended"),
            Some(found) if found.until <= time => Err("OrganizationExpired"),
            Some(_) => Ok(()),
        }
    }

    fn organization(&self, actor: Actor, time: i64) -> Result<u8, &'static str> {
        let Actor::Organization(organization) = actor else { return Err("NotAnOrganization") };
        self.standing(organization, time).map(|()| organization)
    }

    fn patient_of(&self, actor: Actor, subject: Subject) -> Result<bool, &'static str> {
        let Actor::Patient(patient) = actor else { return Err("NotAClaimant") };
        let is_claimed = *self.subjects.get(&subject).ok_or("UnknownSubject")?;
        if patient == subject.patient { Ok(is_claimed) } else { Err("NotTheSubject") }
    }

    fn claimed(&self, actor: Actor, subject: Subject) -> Answer {
        if self.patient_of(actor, subject)? { Ok(()) } else { Err("SubjectNotClaimed") }
    }

    fn request(&mut self, actor: Actor, request: Request, time: i64) -> Answer {
        match request {
            Request::Register { organization, content, until } => {
                self.register(actor, organization, content, until, time)
            }
            Request::Suspend { organization } => {
                let Actor::Registrar(_) = actor else { return Err("NotARegistrar") };
                let found = self.organizations.get_mut(&organization).ok_or("UnknownOrganization")?;
                if found.suspended {
                    return Err("OrganizationSuspended");
                }
                (found.suspended, found.generation) = (true, found.generation + 1);
                Ok(())
            }
            Request::Open { patient } => {
                let organization = self.organization(actor, time)?;
                let subject = Subject { organization, patient };
                if self.subjects.contains_key(&subject) {
                    return Err("SubjectExists");
                }
                if self.accounts.contains_key(&Actor::Patient(patient)) {
                    return Err("AddressInUse");
                }
                self.open(Actor::Patient(patient));
                self.subjects.insert(subject, false);
                Ok(())
            }
            Request::Claim { subject } => {
                if self.patient_of(actor, subject)? {
                    return Err("SubjectClaimed");
                }
                self.subjects.insert(subject, true);
                Ok(())
            }
            Request::Ask { subject, request, until } => {
                let organization = self.organization(actor, time)?;
                ends(until, time)?;
                if !self.subjects.contains_key(&subject) {
                    return Err("UnknownSubject");
                }
                if self.requests.contains_key(&request) {
                    return Err("RequestExists");
                }
                self.requests.insert(request, (organization, subject, until, false));
                Ok(())
            }
            Request::Grant { subject, grant, grantee, until, request, .. } => {
                self.claimed(actor, subject)?;
                ends(until, time)?;
                self.standing(grantee, time).map_err(|_| "GranteeNotInGoodStanding")?;
                if self.grants.contains_key(&(subject, grant)) {
                    return Err("GrantExists");
                }
                if let Some(id) = request {
                    self.answer(id, subject, grantee, time)?;
                }
                self.grants.insert((subject, grant), false);
                Ok(())
            }
            Request::Revoke { subject, grant } => {
                self.claimed(actor, subject)?;
                let revoked = self.grants.get_mut(&(subject, grant)).ok_or("UnknownGrant")?;
                if std::mem::replace(revoked, true) { Err("GrantRevoked") } else { Ok(()) }
            }
            Request::Anchor { record, another } => {
                let organization = self.organization(actor, time)?;
                let keys = [(organization, record), (organization, another)];
                if keys.iter().any(|key| self.records.contains_key(key)) {
                    return Err("RecordExists");
                }
                self.records.extend(keys.map(|key| (key, (1, 0))));
                Ok(())
            }
            Request::Supersede { record, version } => {
                let found = self.version(actor, record, time)?;
                if found.0 + 1 != version {
                    return Err("WrongVersion");
                }
                found.0 = version;
                Ok(())
            }
            Request::Mark { record, version } => {
                let found = self.version(actor, record, time)?;
                if found.0 != version {
                    return Err("WrongVersion");
                }
                if found.1 == version {
                    return Err("AlreadyEnteredInError");
                }
                found.1 = version;
                Ok(())
            }
        }
    }

    fn register(&mut self, actor: Actor, organization: u8, content: u8, until: i64, time: i64) -> Answer {
        let Actor::Registrar(registrar) = actor else { return Err("NotARegistrar") };
        ends(until, time)?;
        let known = self.organizations.get(&organization).copied();
        if known.is_some_and(|known| (known.content, known.until, known.suspended) == (content, until, false)) {
            return Err("AlreadyRegistered");
        }
        let generation = known.map_or(0, |known| known.generation);
        let pending = (organization, content, until, generation);
        let approvals = self.approvals.entry(pending).or_default();
        if !approvals.insert(registrar) {
            return Err("AlreadyApproved");
        }
        if approvals.len() == THRESHOLD {
            self.approvals.remove(&pending);
            let registered = Organization { content, until, suspended: false, generation: generation + 1 };
            self.organizations.insert(organization, registered);
            self.open(Actor::Organization(organization));
        }
        Ok(())
    }

    fn answer(&mut self, id: u8, subject: Subject, grantee: u8, time: i64) -> Answer {
        let request = self.requests.get_mut(&id).ok_or("UnknownRequest")?;
        if (request.0, request.1) != (grantee, subject) {
            return Err("RequestMismatch");
        }
        if request.3 {
            return Err("RequestAnswered");
        }
        if request.2 <= time {
            return Err("RequestExpired");
        }
        request.3 = true;
        Ok(())
    }

    fn version(&mut self, actor: Actor, record: u8, time: i64) -> Result<&mut (u8, u8), &'static str> {
        let organization = self.organization(actor, time)?;
        self.records.get_mut(&(organization, record)).ok_or("UnknownRecord")
    }
}

fn ends(until: i64, time: i64) -> Answer {
    if until <= time { Err("AlreadyEnded") } else { Ok(()) }
}

fn shape(request: &Request) -> Answer {
    match *request {
        Request::Grant { from, until, .. } if until <= from => Err("InvalidField"),
        Request::Anchor { record, another } if record == another => Err("DuplicateRecord"),
        Request::Supersede { version: 0, .. } | Request::Mark { version: 0, .. } => Err("InvalidField"),
        _ => Ok(()),
    }
}
