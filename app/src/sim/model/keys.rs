//! Keys of accounts, and their recovery.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, By, DAY, Model};
use crate::sim::script::{Actor, Key, Request};

/// Time in which a recovery in person can be vetoed.
const IN_PERSON: i64 = 7 * DAY;

/// An account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sim) struct Account {
    pub(in crate::sim) number: u64,
    pub(in crate::sim) sequence: u64,
    /// Each key, and whether it manages the others. None before the account's own has shown itself.
    pub(in crate::sim) keys: BTreeMap<Key, bool>,
    /// The window in which it last paid, and the bytes that it paid for in it.
    pub(in crate::sim) paid: (u64, u64),
    /// The organization that opened it, where that is noted.
    pub(in crate::sim) opened_by: Option<u8>,
}

/// Who may restore an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sim) struct Guarded {
    pub(in crate::sim) guardians: BTreeSet<Actor>,
    pub(in crate::sim) threshold: u8,
    pub(in crate::sim) delay: i64,
    pub(in crate::sim) round: u64,
    pub(in crate::sim) is_recovering: bool,
}

/// What was approved of a recovery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sim) struct Recovery {
    pub(in crate::sim) round: u64,
    pub(in crate::sim) approvals: BTreeMap<Actor, Word>,
    pub(in crate::sim) approved_from: Option<i64>,
    pub(in crate::sim) attestations: BTreeMap<u8, Word>,
    pub(in crate::sim) attested_from: Option<i64>,
}

/// In which standing of an organization something was said, and when; nothing before format 5.
pub(in crate::sim) type Word = Option<(u64, i64)>;

/// When the time lock ends that begins with the last word needed.
fn locked_until(words: impl Iterator<Item = Word>, needed: usize, delay: i64) -> Option<i64> {
    let mut times: Vec<i64> = words.flatten().map(|(_, time)| time).collect();
    times.sort_unstable();
    times.get(needed.checked_sub(1)?).map(|time| time + delay)
}

/// Two guardians, another than oneself, one or two of whom suffice, after one to ninety days.
pub(super) fn are_wrong(actor: Actor, guardians: [Actor; 2], threshold: u8, delay: i64) -> bool {
    let is_list = guardians[0] != guardians[1] && !guardians.contains(&actor);
    !is_list || !(1..=2).contains(&threshold) || !(DAY..=90 * DAY).contains(&delay)
}

impl Model {
    /// Whether the key manages keys, if it is one of the account's.
    pub(super) fn authority(&self, actor: Actor, key: Key) -> Option<bool> {
        let account = self.accounts.get(&actor)?;
        if account.keys.is_empty() {
            return (key == Key::Of(actor)).then_some(true);
        }
        account.keys.get(&key).copied()
    }

    pub(super) fn shows_its_key(&mut self, actor: Actor) {
        if let Some(account) = self.accounts.get_mut(&actor)
            && account.keys.is_empty()
        {
            account.keys.insert(Key::Of(actor), true);
        }
    }

    /// Whether no account is or was made of it by its own word.
    fn is_nobodys(&self, key: Key) -> bool {
        match key {
            Key::Of(actor) => self.is_unused(actor) || self.format >= 4 && self.is_provisional(actor),
            Key::Spare(_) => !self.bound.contains_key(&key),
        }
    }

    /// Whether others opened it, and it has not shown its key.
    fn is_provisional(&self, actor: Actor) -> bool {
        let is_opened_by_others = matches!(actor, Actor::Patient(_) | Actor::Practitioner(_) | Actor::Guardian(_));
        is_opened_by_others && self.accounts.get(&actor).is_some_and(|account| account.keys.is_empty())
    }

    fn bind(&mut self, actor: Actor, key: Key) {
        if key != Key::Of(actor) {
            self.bound.insert(key, actor);
            if let Key::Of(other) = key {
                self.accounts.remove(&other);
            }
        }
    }

    pub(super) fn manages(&self, by: By) -> Answer {
        if let Actor::Organization(organization) = by.actor {
            self.standing_of(organization, by.time)?;
        }
        match self.authority(by.actor, by.key) {
            Some(true) => Ok(()),
            Some(false) => Err("NotAFullKey"),
            None => Err("UnknownKey"),
        }
    }

    /// Only patients and practitioners who have sent something.
    fn recoverable(&self, actor: Actor) -> Answer {
        let is_kind = matches!(actor, Actor::Patient(_) | Actor::Practitioner(_));
        let has_shown = self.accounts.get(&actor).is_some_and(|account| !account.keys.is_empty());
        if is_kind && has_shown { Ok(()) } else { Err("NotRecoverable") }
    }

    /// Organizations help in good standing only; anybody else as they are.
    fn helps(&self, by: By) -> Answer {
        match by.actor {
            Actor::Organization(organization) => self.standing_of(organization, by.time),
            _ => Ok(()),
        }
    }

    fn candidate(&self, account: Actor, key: Key) -> Answer {
        self.recoverable(account)?;
        if self.is_nobodys(key) { Ok(()) } else { Err("KeyInUse") }
    }

    /// What counts of a recovery: earlier rounds do not, nor what an organization said in another standing.
    fn recovery(&self, account: Actor, key: Key, time: i64) -> Recovery {
        let round = self.guarded.get(&account).map_or(0, |guarded| guarded.round);
        let known = self.recoveries.get(&(account, key)).filter(|known| known.round == round);
        let mut known = known.cloned().unwrap_or(Recovery { round, ..Recovery::default() });
        if self.format >= 5 {
            known.approvals.retain(|actor, word| match actor {
                Actor::Organization(organization) => self.still_says(*organization, *word, time),
                _ => word.is_some(),
            });
            known.attestations.retain(|organization, word| self.still_says(*organization, *word, time));
            self.lock(account, &mut known);
        }
        known
    }

    /// Whether what an organization said counts still.
    fn still_says(&self, organization: u8, word: Word, time: i64) -> bool {
        word.is_some_and(|(generation, _)| self.still_speaks(organization, generation, time))
    }

    pub(super) fn still_speaks(&self, organization: u8, generation: u64, time: i64) -> bool {
        self.standing_of(organization, time).is_ok() && self.generation(organization) == generation
    }

    pub(super) fn generation(&self, organization: u8) -> u64 {
        self.organizations.get(&organization).map_or(0, |found| found.generation)
    }

    fn word(&self, actor: Actor, time: i64) -> Word {
        let Actor::Organization(organization) = actor else { return (self.format >= 5).then_some((0, time)) };
        (self.format >= 5).then_some((self.generation(organization), time))
    }

    fn lock(&self, account: Actor, recovery: &mut Recovery) {
        let (threshold, delay) =
            self.guarded.get(&account).map_or((0, 0), |guarded| (usize::from(guarded.threshold), guarded.delay));
        recovery.approved_from = locked_until(recovery.approvals.values().copied(), threshold, delay);
        recovery.attested_from = locked_until(recovery.attestations.values().copied(), 2, IN_PERSON);
    }

    fn keep(&mut self, account: Actor, key: Key, recovery: Recovery) {
        self.recoveries.insert((account, key), recovery);
        self.guarded.entry(account).or_default().is_recovering = true;
    }

    pub(super) fn keys(&mut self, by: By, request: Request) -> Answer {
        match request {
            Request::AddKey { key, is_full, is_proven } => {
                self.manages(by)?;
                if !self.is_nobodys(key) {
                    return Err("KeyInUse");
                }
                if !is_proven {
                    return Err("KeyNotProven");
                }
                self.bind(by.actor, key);
                self.accounts.entry(by.actor).or_default().keys.insert(key, is_full);
                Ok(())
            }
            Request::RemoveKey { key } => {
                self.manages(by)?;
                let keys = &mut self.accounts.entry(by.actor).or_default().keys;
                if !keys.contains_key(&key) {
                    return Err("UnknownKey");
                }
                if !keys.iter().any(|(other, is_full)| *other != key && *is_full) {
                    return Err("LastFullKey");
                }
                keys.remove(&key);
                Ok(())
            }
            Request::SetGuardians { guardians, threshold, delay } => {
                self.recoverable(by.actor)?;
                self.manages(by)?;
                if guardians.iter().any(|guardian| !self.accounts.contains_key(guardian)) {
                    return Err("UnknownGuardian");
                }
                let guarded = self.guarded.entry(by.actor).or_default();
                let round = guarded.round + 1;
                let guardians = guardians.into();
                *guarded = Guarded { guardians, threshold, delay, round, is_recovering: false };
                Ok(())
            }
            Request::VetoRecovery => {
                self.recoverable(by.actor)?;
                match self.guarded.get_mut(&by.actor) {
                    Some(guarded) if guarded.is_recovering => {
                        (guarded.is_recovering, guarded.round) = (false, guarded.round + 1);
                        Ok(())
                    }
                    _ => Err("NoRecovery"),
                }
            }
            _ => self.recover(by, request),
        }
    }

    fn recover(&mut self, by: By, request: Request) -> Answer {
        match request {
            Request::ApproveRecovery { account, key } => {
                self.helps(by)?;
                let guarded = self.guarded.get(&account).cloned().unwrap_or_default();
                if !guarded.guardians.contains(&by.actor) {
                    return Err("NotAGuardian");
                }
                self.candidate(account, key)?;
                let mut recovery = self.recovery(account, key, by.time);
                if recovery.approvals.insert(by.actor, self.word(by.actor, by.time)).is_some() {
                    return Err("RecoveryApproved");
                }
                if self.format >= 5 {
                    self.lock(account, &mut recovery);
                } else if recovery.approvals.len() >= usize::from(guarded.threshold) {
                    recovery.approved_from = recovery.approved_from.or(Some(by.time + guarded.delay));
                }
                self.keep(account, key, recovery);
                Ok(())
            }
            Request::AttestRecovery { account, key } => {
                let organization = self.organization(by)?;
                self.candidate(account, key)?;
                let mut recovery = self.recovery(account, key, by.time);
                if recovery.attestations.insert(organization, self.word(by.actor, by.time)).is_some() {
                    return Err("RecoveryApproved");
                }
                if self.format >= 5 {
                    self.lock(account, &mut recovery);
                } else if recovery.attestations.len() >= 2 {
                    recovery.attested_from = recovery.attested_from.or(Some(by.time + IN_PERSON));
                }
                self.keep(account, key, recovery);
                Ok(())
            }
            Request::FinishRecovery { account, key, is_proven } => {
                self.helps(by)?;
                self.candidate(account, key)?;
                let recovery = self.recovery(account, key, by.time);
                let is_by_guardians = self.may_finish(account, &recovery, by.time)?;
                if !is_proven {
                    return Err("KeyNotProven");
                }
                let guarded = self.guarded.entry(account).or_default();
                let round = guarded.round + 1;
                if is_by_guardians {
                    (guarded.round, guarded.is_recovering) = (round, false);
                } else {
                    // Who took the keys may have named the guardians.
                    *guarded = Guarded { round, ..Guarded::default() };
                }
                self.recoveries.remove(&(account, key));
                self.bind(account, key);
                self.accounts.entry(account).or_default().keys = [(key, true)].into();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether by the guardians, if it may be finished at all.
    fn may_finish(&self, account: Actor, recovery: &Recovery, time: i64) -> Result<bool, &'static str> {
        if recovery.approvals.is_empty() && recovery.attestations.is_empty() {
            return Err("NoRecovery");
        }
        let standing = recovery.attestations.keys().filter(|other| self.standing_of(**other, time).is_ok()).count();
        let speaks = |actor: &&Actor| match actor {
            Actor::Organization(organization) if self.format >= 4 => self.standing_of(*organization, time).is_ok(),
            _ => true,
        };
        let threshold = self.guarded.get(&account).map_or(0, |guarded| usize::from(guarded.threshold));
        let approved = recovery.approvals.keys().filter(speaks).count() >= threshold;
        let ways = [
            (true, recovery.approved_from.filter(|_| approved)),
            (false, recovery.attested_from.filter(|_| standing >= 2)),
        ];
        let open: Vec<(bool, i64)> = ways.into_iter().filter_map(|(way, from)| Some((way, from?))).collect();
        if open.is_empty() {
            return Err("RecoveryNotApproved");
        }
        open.into_iter().find(|(_, from)| *from <= time).map(|(way, _)| way).ok_or("RecoveryLocked")
    }
}
