//! What the transactions of a recovery share: whose account it is, and the round that counts.

use careledger_wire::{
    ids::Address,
    proto::{
        accounts::KeyKind,
        state::{AccountRole, Guardians, Recovery, RecoveryWord},
    },
    signing::PublicKey,
};

use super::{fields, standing};
use crate::{
    accounts, keys,
    limits::{RECOVERY_ATTESTATIONS, RECOVERY_IN_PERSON_SECONDS},
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// An account and the key that shall replace all of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) account: Address,
    pub(super) key: PublicKey,
}

/// Who lets a recovery happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The guardians whom the holder named.
    Guardians,
    /// Organizations that saw the holder.
    InPerson,
}

impl Way {
    fn from(self, recovery: &mut Recovery) -> &mut i64 {
        match self {
            Self::Guardians => &mut recovery.approved_from,
            Self::InPerson => &mut recovery.attested_from,
        }
    }
}

/// Leaves out organizations that do not speak any more as when they did, and what was said before words were kept.
fn keep_speaking(
    those: &mut Vec<Vec<u8>>,
    words: &mut Vec<RecoveryWord>,
    block: &BlockContext,
    state: &impl StateRead,
) {
    let speaks = |(address, word): &(Vec<u8>, RecoveryWord)| {
        let address = Address::try_from(address.as_slice()).expect("the ledger keeps addresses here");
        let is_organization = accounts::role(&address, state) == AccountRole::Organization;
        !is_organization || standing::still_speaks(&address, word.generation, block, state)
    };
    let given = std::mem::take(those).into_iter().zip(std::mem::take(words));
    (*those, *words) = given.filter(speaks).unzip();
}

impl Candidate {
    pub(super) fn parse(account: &[u8], kind: i32, key: &[u8]) -> Result<Self, Reject> {
        let kind: KeyKind = fields::choice("kind", kind)?;
        let key = PublicKey::new(kind, key).ok_or(Reject::InvalidField("key"))?;
        Ok(Self { account: fields::id("account", account)?, key })
    }

    /// The account must be one that can be restored, and the key no other account's.
    pub(super) fn check(&self, state: &impl StateRead) -> Result<(), Reject> {
        check_recoverable(&self.account, state)?;
        if accounts::may_join(&self.key, state) { Ok(()) } else { Err(Reject::KeyInUse) }
    }

    /// What was approved in the current round, as far as it counts still.
    pub(super) fn recovery(&self, block: &BlockContext, state: &impl StateRead) -> Recovery {
        let round = guardians(&self.account, state).round;
        let known = state.get(&keys::recovery(&self.account, &self.key.address()));
        let known = known.filter(|recovery| recovery.round == round);
        let mut recovery = known.unwrap_or_else(|| Recovery { round, ..Recovery::default() });
        if standing::words_hold_in_one(state) {
            keep_speaking(&mut recovery.approvals, &mut recovery.approval_words, block, state);
            keep_speaking(&mut recovery.attestations, &mut recovery.attestation_words, block, state);
            self.lock(&mut recovery, state);
        }
        recovery
    }

    /// Adds who approves it, or attests it in person. With enough the time lock starts.
    pub(super) fn add(
        &self,
        way: Way,
        sender: &Sender,
        recovery: &mut Recovery,
        block: &BlockContext,
        state: &impl StateRead,
    ) {
        let Recovery { approvals, approval_words, attestations, attestation_words, .. } = recovery;
        let (those, words) = match way {
            Way::Guardians => (approvals, approval_words),
            Way::InPerson => (attestations, attestation_words),
        };
        those.push(sender.address().to_vec());
        let count = those.len();
        if standing::words_hold_in_one(state) {
            words.push(RecoveryWord { generation: standing::generation(sender.address(), state), time: block.time });
            return self.lock(recovery, state);
        }
        let (needed, delay) = self.needed(way, state);
        let from = way.from(recovery);
        if *from == 0 && count >= needed {
            *from = block.time + delay;
        }
    }

    /// How many it takes, and the seconds of the time lock.
    fn needed(&self, way: Way, state: &impl StateRead) -> (usize, i64) {
        match way {
            Way::Guardians => {
                let guardians = guardians(&self.account, state);
                (guardians.threshold as usize, guardians.delay_seconds)
            }
            Way::InPerson => (RECOVERY_ATTESTATIONS, RECOVERY_IN_PERSON_SECONDS),
        }
    }

    /// The time locks begin with the last word that is needed of those that count.
    fn lock(&self, recovery: &mut Recovery, state: &impl StateRead) {
        for way in [Way::Guardians, Way::InPerson] {
            let (needed, delay) = self.needed(way, state);
            let words = match way {
                Way::Guardians => &recovery.approval_words,
                Way::InPerson => &recovery.attestation_words,
            };
            let last = needed.checked_sub(1).and_then(|place| words.get(place));
            let from = last.map_or(0, |word| word.time + delay);
            *way.from(recovery) = from;
        }
    }

    /// Keeps what was approved; from here it can be vetoed.
    pub(super) fn put(&self, recovery: &Recovery, state: &mut impl StateWrite) {
        state.put(&keys::recovery(&self.account, &self.key.address()), recovery);
        let current = guardians(&self.account, state);
        state.put(&keys::guardians(&self.account), &Guardians { is_recovering: true, ..current });
    }
}

/// The guardians of an account; none where nobody was ever named.
pub(super) fn guardians(account: &Address, state: &impl StateRead) -> Guardians {
    state.get(&keys::guardians(account)).unwrap_or_default()
}

/// Patients and practitioners lose devices; organizations and registrars have procedures, and a
/// recovery would be a way around the registrars. A provisional account holds nothing: giving it to
/// another key would only take the address from its owner.
pub(super) fn check_recoverable(account: &Address, state: &impl StateRead) -> Result<(), Reject> {
    let account = accounts::account(account, state).ok_or(Reject::NotRecoverable)?;
    match account.role() {
        AccountRole::Claimant | AccountRole::Practitioner if !accounts::is_provisional(&account, state) => Ok(()),
        _ => Err(Reject::NotRecoverable),
    }
}

/// An organization helps with recoveries in good standing only.
pub(super) fn check_standing(sender: &Sender, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
    match accounts::role(sender.address(), state) {
        AccountRole::Organization => standing::in_good_standing(sender.address(), block, state).map(|_| ()),
        _ => Ok(()),
    }
}
