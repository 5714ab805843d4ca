//! Addresses, their numbers and their one role.

use careledger_wire::{
    ids::Address,
    proto::state::{Account, AccountRole, Parameters},
};

use crate::{
    keys,
    state::{StateRead, StateWrite},
};

/// The ledger's parameters.
///
/// # Panics
/// Before genesis: no transaction is tried then.
pub fn parameters(state: &impl StateRead) -> Parameters {
    state.get(&keys::parameters()).expect("genesis writes the parameters before any transaction is tried")
}

/// The role of `address`; `Unspecified` where the ledger does not know it.
pub fn role(address: &Address, state: &impl StateRead) -> AccountRole {
    state.get(&keys::account(address)).map_or(AccountRole::Unspecified, |account| account.role())
}

/// Whether `address` has no role yet, or `role` already.
pub fn is_free_for(address: &Address, role: AccountRole, state: &impl StateRead) -> bool {
    let current = self::role(address, state);
    current == AccountRole::Unspecified || current == role
}

/// Gives `address` the role and the next account number, unless it has them.
pub fn open(address: &Address, role: AccountRole, state: &mut impl StateWrite) {
    if state.has(&keys::account(address)) {
        return;
    }
    let mut parameters = parameters(state);
    let number = parameters.next_account_number;
    parameters.next_account_number += 1;
    state.put(&keys::parameters(), &parameters);
    state.put(&keys::account(address), &Account { number, sequence: 0, public_key: Vec::new(), role: role.into() });
}
