//! An account loses a key, for ever: a device was lost, or a rotation ends.

use careledger_wire::{
    proto::{
        accounts::{KeyAuthority, KeyKind, MsgRemoveKey},
        state::AccountKey,
    },
    signing::PublicKey,
};

use super::{Action, fields, standing};
use crate::{
    accounts,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/remove-key.md.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoveKey {
    sender: Sender,
    key: PublicKey,
}

impl Action for RemoveKey {
    type Message = MsgRemoveKey;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let kind: KeyKind = fields::choice("kind", message.kind)?;
        let key = PublicKey::new(kind, &message.key).ok_or(Reject::InvalidField("key"))?;
        Ok(Self { sender: *sender, key })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let account = standing::manages_keys(&self.sender, block, state)?;
        let keys = accounts::keys_of(&account);
        if !keys.iter().any(|known| accounts::is(known, &self.key)) {
            return Err(Reject::UnknownKey);
        }
        let stays = |known: &AccountKey| known.authority() == KeyAuthority::Full && !accounts::is(known, &self.key);
        if keys.iter().any(stays) { Ok(()) } else { Err(Reject::LastFullKey) }
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let account = accounts::account(self.sender.address(), state).expect("check found it");
        let mut keys = accounts::keys_of(&account);
        keys.retain(|known| !accounts::is(known, &self.key));
        accounts::set_keys(self.sender.address(), keys, state);
    }
}
