//! How many bytes an account may use, and how much of it may wait: quotas in place of fees.

use std::collections::BTreeMap;

use careledger_wire::{
    ids::Address,
    proto::state::{Account, AccountRole, Quotas},
};

use crate::{
    limits::{PENDING_BYTES_PER_ACCOUNT_MAX, PENDING_PER_ACCOUNT_MAX},
    reject::Reject,
};

/// Bytes of a window that an account of this role may use.
fn allowance(quotas: &Quotas, role: AccountRole) -> u64 {
    match role {
        AccountRole::Unspecified => 0,
        AccountRole::Registrar => quotas.registrar_bytes,
        AccountRole::Organization => quotas.organization_bytes,
        AccountRole::Practitioner => quotas.practitioner_bytes,
        AccountRole::Claimant | AccountRole::Guardian => quotas.claimant_bytes,
    }
}

/// What the payer has used once it paid for `bytes` more at `height`, or why it may not.
fn used(payer: &Account, bytes: u64, height: u64, quotas: &Quotas) -> Result<(u64, u64), Reject> {
    let window = height / u64::from(quotas.window_blocks);
    let before = if payer.quota_window == window { payer.quota_used_bytes } else { 0 };
    let used = before.saturating_add(bytes);
    if used <= allowance(quotas, payer.role()) { Ok((window, used)) } else { Err(Reject::QuotaUsed) }
}

/// Refuses what the payer has no quota for.
pub(super) fn check(payer: &Account, bytes: u64, height: u64, quotas: Option<&Quotas>) -> Result<(), Reject> {
    quotas.map_or(Ok(()), |quotas| used(payer, bytes, height, quotas).map(|_| ()))
}

/// Notes what the payer used; [`check`] passed. Whether that changed the account.
pub(super) fn charge(payer: &mut Account, bytes: u64, height: u64, quotas: Option<&Quotas>) -> bool {
    let Some(quotas) = quotas else { return false };
    let (window, used) = used(payer, bytes, height, quotas).expect("check passed on this same account");
    (payer.quota_window, payer.quota_used_bytes) = (window, used);
    true
}

/// What waits in this node's mempool, by payer: no account can fill it.
#[derive(Default)]
pub(super) struct Waiting {
    payers: BTreeMap<Address, (usize, usize)>,
}

impl Waiting {
    /// Refuses one more transaction of `bytes` where the payer has enough waiting.
    pub(super) fn check(&self, payer: &Address, bytes: usize) -> Result<(), Reject> {
        let (count, sum) = self.payers.get(payer).copied().unwrap_or_default();
        let fits = count < PENDING_PER_ACCOUNT_MAX && sum + bytes <= PENDING_BYTES_PER_ACCOUNT_MAX;
        if fits { Ok(()) } else { Err(Reject::TooManyWaiting) }
    }

    /// Counts one that waits.
    pub(super) fn add(&mut self, payer: Address, bytes: usize) {
        let (count, sum) = self.payers.entry(payer).or_default();
        *count += 1;
        *sum += bytes;
    }

    /// Forgets all: after a block, what still waits is checked again.
    pub(super) fn clear(&mut self) {
        self.payers.clear();
    }
}
