//! Addresses, their numbers, their one role and their keys.

use careledger_wire::{
    ids::Address,
    proto::{
        accounts::{KeyAuthority, KeyKind},
        state::{Account, AccountKey, AccountRole, KeyOwner, Parameters},
    },
    signing::PublicKey,
};

use crate::{
    governance, keys, openers,
    state::{StateRead, StateWrite},
};

/// The ledger's parameters.
///
/// # Panics
/// Before genesis: no transaction is tried then.
pub fn parameters(state: &impl StateRead) -> Parameters {
    state.get(&keys::parameters()).expect("genesis writes the parameters before any transaction is tried")
}

/// The account at `address`.
pub fn account(address: &Address, state: &impl StateRead) -> Option<Account> {
    state.get(&keys::account(address))
}

/// The role of `address`; `Unspecified` where the ledger does not know it.
pub fn role(address: &Address, state: &impl StateRead) -> AccountRole {
    state.get(&keys::account(address)).map_or(AccountRole::Unspecified, |account| account.role())
}

/// Whether `address` is no account, and no key of one: a key that stood for two would link them.
pub fn is_unused(address: &Address, state: &impl StateRead) -> bool {
    !state.has(&keys::account(address)) && !state.has(&keys::key_owner(address))
}

/// The format of the state from which on every account that others opened gives way to its key's own word:
/// a guardian's too, and where the key becomes one of another account.
pub const YIELDS_SINCE: u32 = 4;

/// Whether nobody can say yet whose account it is: others opened it for an address whose key has not
/// shown itself. It gives way to the key's own word, and to the registrars'.
pub fn is_provisional(account: &Account, state: &impl StateRead) -> bool {
    let is_opened_by_others = match account.role() {
        AccountRole::Claimant | AccountRole::Practitioner => true,
        AccountRole::Guardian => governance::state_version(state) >= YIELDS_SINCE,
        AccountRole::Unspecified | AccountRole::Registrar | AccountRole::Organization => false,
    };
    is_opened_by_others && account.public_key.is_empty() && account.keys.is_empty()
}

/// Whether `address` is nobody's, or provisionally somebody's.
pub fn is_free(address: &Address, state: &impl StateRead) -> bool {
    account(address, state).map_or_else(|| is_unused(address, state), |account| is_provisional(&account, state))
}

/// Whether a key may become one of an account's, by its own word: it is no other account's.
pub fn may_join(key: &PublicKey, state: &impl StateRead) -> bool {
    let yields = governance::state_version(state) >= YIELDS_SINCE;
    if yields { is_free(&key.address(), state) } else { is_unused(&key.address(), state) }
}

/// The format of the state from which on a key has one encoding: a second one was another address.
const ONE_ENCODING_SINCE: u32 = 5;

/// Whether no other bytes stand for the same key.
pub fn is_one_key(key: &PublicKey, state: &impl StateRead) -> bool {
    key.is_compressed() || governance::state_version(state) < ONE_ENCODING_SINCE
}

/// Gives `address` the role by the registrars' word, and the next account number unless it has one.
pub fn open(address: &Address, role: AccountRole, state: &mut impl StateWrite) {
    open_by(&[], address, role, state);
}

/// As [`open`], by an organization's word: what the account pays for counts for the organization, too. Where a `key` said
/// so by its own word the account is nobody else's from here.
pub fn open_for(
    organization: &Address,
    address: &Address,
    role: AccountRole,
    key: Option<&PublicKey>,
    state: &mut impl StateWrite,
) {
    let opener = if openers::are_noted(state) { organization.as_bytes().as_slice() } else { &[] };
    open_by(opener, address, role, state);
    let Some(key) = key else { return };
    let mut account = account(address, state).expect("it was opened");
    let is_first = learn(&mut account, key);
    // Practitioners change their employers. Whom a patient or a guardian chose is chosen for good: words do not end, and
    // an earlier one may come later.
    if is_first || role == AccountRole::Practitioner && authority(address, &account, key).is_some() {
        account.opened_by = opener.to_vec();
    }
    let chooses = match role {
        AccountRole::Claimant => true,
        AccountRole::Guardian => is_first,
        _ => false,
    };
    if chooses {
        account.bound_to = organization.to_vec();
    }
    state.put(&keys::account(address), &account);
}

fn open_by(opener: &[u8], address: &Address, role: AccountRole, state: &mut impl StateWrite) {
    let path = keys::account(address);
    let opened_by = opener.to_vec();
    if let Some(account) = state.get(&path) {
        if account.role() != role {
            state.put(&path, &Account { role: role.into(), opened_by, ..account });
        }
        return;
    }
    let mut parameters = parameters(state);
    let number = parameters.next_account_number;
    parameters.next_account_number += 1;
    state.put(&keys::parameters(), &parameters);
    state.put(&path, &Account { number, role: role.into(), opened_by, ..Account::default() });
}

/// What `key` may do for the account at `address`; none where it is not one of its keys. An account
/// that has shown no key yet has the one that its address is made of.
pub fn authority(address: &Address, account: &Account, key: &PublicKey) -> Option<KeyAuthority> {
    if account.keys.is_empty() {
        return (key.address() == *address).then_some(KeyAuthority::Full);
    }
    account.keys.iter().find(|known| is(known, key)).map(AccountKey::authority)
}

/// Remembers the key of an account's first transaction. Whether it changed anything.
pub fn learn(account: &mut Account, key: &PublicKey) -> bool {
    if !account.keys.is_empty() || !account.public_key.is_empty() {
        return false;
    }
    match key {
        PublicKey::Secp256k1(bytes) => account.public_key = bytes.to_vec(),
        PublicKey::WebAuthnP256(_) => account.keys = vec![key_with(key, KeyAuthority::Full)],
    }
    true
}

/// The keys of an account that has sent a transaction.
pub fn keys_of(account: &Account) -> Vec<AccountKey> {
    if !account.keys.is_empty() || account.public_key.is_empty() {
        return account.keys.clone();
    }
    vec![AccountKey {
        kind: KeyKind::Secp256k1.into(),
        key: account.public_key.clone(),
        authority: KeyAuthority::Full.into(),
    }]
}

/// Whether one of an account's full keys has this address.
pub fn has_full_key(account: &Account, address: &[u8]) -> bool {
    let is_it = |known: &AccountKey| {
        known.authority() == KeyAuthority::Full && public_key(known).address().as_bytes().as_slice() == address
    };
    keys_of(account).iter().any(is_it)
}

/// Gives the account these keys. The first secp256k1 key stays where Cosmos wallets find it. Every
/// key, also one that is no more, stays bound to this account; one that others opened for a key's address
/// is no more, or the key would sign for two.
pub fn set_keys(address: &Address, keys: Vec<AccountKey>, state: &mut impl StateWrite) {
    let path = keys::account(address);
    let mut account = state.get(&path).expect("an account whose keys are managed exists");
    for known in keys_of(&account).iter().chain(&keys) {
        let owned = public_key(known).address();
        if owned != *address {
            state.put(&keys::key_owner(&owned), &KeyOwner { account: address.to_vec() });
            state.delete(&keys::account(&owned));
        }
    }
    let of_cosmos = keys.iter().map(public_key).find(|key| matches!(key, PublicKey::Secp256k1(_)));
    account.public_key = of_cosmos.map(|key| key.as_bytes().to_vec()).unwrap_or_default();
    account.keys = keys;
    state.put(&path, &account);
}

/// A key with its authority, as state holds it.
pub fn key_with(key: &PublicKey, authority: KeyAuthority) -> AccountKey {
    AccountKey { kind: key.kind().into(), key: key.as_bytes().to_vec(), authority: authority.into() }
}

/// Whether `known` is `key`.
pub fn is(known: &AccountKey, key: &PublicKey) -> bool {
    known.kind() == key.kind() && known.key == key.as_bytes()
}

/// A key of the state.
///
/// # Panics
/// When it is none: state holds only what a transaction's key became.
pub fn public_key(known: &AccountKey) -> PublicKey {
    PublicKey::new(known.kind(), &known.key).expect("state holds keys that were parsed")
}
