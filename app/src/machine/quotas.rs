//! How many bytes an account may use, and how much of it may wait: quotas in place of fees.

use std::collections::BTreeMap;

use careledger_wire::{
    ids::Address,
    proto::state::{Account, AccountRole, OpenedQuota, Quotas},
};

use crate::{
    accounts,
    actions::standing,
    keys,
    limits::{
        PENDING_BYTES_PER_ACCOUNT_MAX, PENDING_BYTES_PER_OPENER_MAX, PENDING_PER_ACCOUNT_MAX, PENDING_PER_OPENER_MAX,
    },
    openers,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::BlockContext,
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

/// What a window's user has used once it paid for `bytes` more in `window`, or why it may not.
fn used(before: (u64, u64), bytes: u64, window: u64, allowance: u64) -> Result<u64, Reject> {
    let before = if before.0 == window { before.1 } else { 0 };
    let used = before.saturating_add(bytes);
    if used <= allowance { Ok(used) } else { Err(Reject::QuotaUsed) }
}

/// What paying for a transaction makes of the windows.
pub(super) struct Paid {
    window: u64,
    by_payer: u64,
    /// By all that the same organization opened.
    together: Option<(Address, u64)>,
}

/// Of what accounts have together that an organization opened, the part that is left while it is out of standing.
const OUT_OF_STANDING: u64 = 8;

/// What the payer, and all whom the same organization opened, have used once it paid for `bytes` more, or why it may not.
/// Together they have as much as an organization; while theirs is out of standing an eighth of it: patients go on closing what
/// they opened, and nobody floods.
/// Nothing where there are no quotas.
pub(super) fn paid(
    payer: &Account,
    bytes: u64,
    block: &BlockContext,
    quotas: Option<&Quotas>,
    state: &impl StateRead,
) -> Result<Option<Paid>, Reject> {
    let Some(quotas) = quotas else { return Ok(None) };
    let window = block.height / u64::from(quotas.window_blocks);
    let before = (payer.quota_window, payer.quota_used_bytes);
    let by_payer = used(before, bytes, window, allowance(quotas, payer.role()))?;
    let together = openers::of(payer).map(|organization| {
        let stands = standing::in_good_standing(&organization, block, state).is_ok();
        let allowance = quotas.organization_bytes / if stands { 1 } else { OUT_OF_STANDING };
        let before = state.get(&keys::opened_quota(&organization)).unwrap_or_default();
        let used = used((before.window, before.used_bytes), bytes, window, allowance)?;
        Ok((organization, used))
    });
    Ok(Some(Paid { window, by_payer, together: together.transpose()? }))
}

/// Notes what was paid for. Whether that changed the payer's account.
pub(super) fn charge(payer: &mut Account, paid: Option<Paid>, state: &mut impl StateWrite) -> bool {
    let Some(Paid { window, by_payer, together }) = paid else { return false };
    (payer.quota_window, payer.quota_used_bytes) = (window, by_payer);
    if let Some((organization, used_bytes)) = together {
        state.put(&keys::opened_quota(&organization), &OpenedQuota { window, used_bytes });
    }
    true
}

/// Who pays for what waits, and the organization that opened the account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payer {
    address: Address,
    opener: Option<Address>,
}

impl Payer {
    /// As the state is with what waits: what opens the account may be in it, too.
    pub(super) fn of(address: Address, state: &impl StateRead) -> Self {
        Self { address, opener: accounts::account(&address, state).as_ref().and_then(openers::of) }
    }
}

/// What waits in this node's mempool, by payer and by who opened the payers: nobody can fill it.
#[derive(Default)]
pub(super) struct Waiting {
    payers: BTreeMap<Address, (usize, usize)>,
    openers: BTreeMap<Address, (usize, usize)>,
}

impl Waiting {
    /// Whether one more transaction of `bytes` may wait beside those of the payer, and of all whom the same organization opened.
    pub(super) fn has_room(&self, payer: Payer, bytes: usize) -> bool {
        let fits = |waiting: Option<&(usize, usize)>, most: usize, most_bytes: usize| {
            let (count, sum) = waiting.copied().unwrap_or_default();
            count < most && sum + bytes <= most_bytes
        };
        let together = payer
            .opener
            .is_none_or(|opener| fits(self.openers.get(&opener), PENDING_PER_OPENER_MAX, PENDING_BYTES_PER_OPENER_MAX));
        together && fits(self.payers.get(&payer.address), PENDING_PER_ACCOUNT_MAX, PENDING_BYTES_PER_ACCOUNT_MAX)
    }

    /// Counts one that waits.
    pub(super) fn add(&mut self, payer: Payer, bytes: usize) {
        let waiting = payer.opener.map(|opener| self.openers.entry(opener).or_default());
        for (count, sum) in waiting.into_iter().chain([self.payers.entry(payer.address).or_default()]) {
            *count += 1;
            *sum += bytes;
        }
    }

    /// Forgets all: after a block, what still waits is checked again.
    pub(super) fn clear(&mut self) {
        self.payers.clear();
        self.openers.clear();
    }
}
