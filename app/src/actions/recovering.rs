//! What the transactions of a recovery share: whose account it is, and the round that counts.

use careledger_wire::{
    ids::Address,
    proto::{
        accounts::KeyKind,
        state::{AccountRole, Guardians, Recovery},
    },
    signing::PublicKey,
};

use super::{fields, standing};
use crate::{
    accounts, keys,
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

    /// What was approved in the current round.
    pub(super) fn recovery(&self, state: &impl StateRead) -> Recovery {
        let round = guardians(&self.account, state).round;
        let known = state.get(&keys::recovery(&self.account, &self.key.address()));
        known.filter(|recovery| recovery.round == round).unwrap_or_else(|| Recovery { round, ..Recovery::default() })
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
