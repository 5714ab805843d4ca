//! An account gets another key: a device, a passkey, the next one of a rotation.

use super::{Action, fields, possession, standing};
use crate::{
    accounts,
    limits::KEYS_PER_ACCOUNT_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};
use careledger_wire::{
    proto::accounts::{KeyAuthority, KeyKind, MsgAddKey},
    signing::{PublicKey, Signature},
};

/// See docs/transactions/add-key.md.
#[derive(Debug, Clone, PartialEq)]
pub struct AddKey {
    sender: Sender,
    key: PublicKey,
    authority: KeyAuthority,
    possession: Signature,
}

impl Action for AddKey {
    type Message = MsgAddKey;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let kind: KeyKind = fields::choice("kind", message.kind)?;
        Ok(Self {
            sender: *sender,
            key: PublicKey::new(kind, &message.key).ok_or(Reject::InvalidField("key"))?,
            authority: fields::choice("authority", message.authority)?,
            possession: Signature::decode(kind, &message.possession).ok_or(Reject::InvalidField("possession"))?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let account = standing::manages_keys(&self.sender, block, state)?;
        if !accounts::may_join(&self.key, state) {
            return Err(Reject::KeyInUse);
        }
        if accounts::keys_of(&account).len() >= KEYS_PER_ACCOUNT_MAX {
            return Err(Reject::TooManyKeys);
        }
        possession::check(self.sender.address(), &self.key, &self.possession, block, state)
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let account = accounts::account(self.sender.address(), state).expect("check found it");
        let mut keys = accounts::keys_of(&account);
        keys.push(accounts::key_with(&self.key, self.authority));
        accounts::set_keys(self.sender.address(), keys, state);
    }
}
