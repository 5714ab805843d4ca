//! What accounts pay for: bytes, in windows of blocks.

use super::{Model, Sent};
use crate::sim::script::Actor;

/// Blocks of a window: few, so that a script sees several.
pub(in crate::sim) const WINDOW_BLOCKS: u32 = 20;

/// Bytes of a window, another number for each role. The least that genesis may say is reached now and then.
pub(in crate::sim) fn allowance(actor: Actor) -> u64 {
    match actor {
        // Registrars have to agree on formats.
        Actor::Registrar(_) => 1 << 20,
        Actor::Organization(_) => 16 * 1024,
        Actor::Practitioner(_) => 16 * 1024 + 1,
        Actor::Patient(_) | Actor::Guardian(_) => 16 * 1024 + 2,
    }
}

impl Model {
    /// Whether who pays has room for it: its sponsor, where it has one.
    pub(super) fn can_pay(&self, sent: &Sent, height: u64) -> bool {
        let (payer, after) = self.after(sent, height);
        !self.has_quotas || after <= allowance(payer)
    }

    /// Whatever it comes to.
    pub(super) fn pay(&mut self, sent: &Sent, height: u64) {
        let (payer, after) = self.after(sent, height);
        if self.has_quotas
            && let Some(account) = self.accounts.get_mut(&payer)
        {
            account.paid = (height / u64::from(WINDOW_BLOCKS), after);
        }
    }

    /// Who pays, and what for once it is in a block of this height.
    fn after(&self, sent: &Sent, height: u64) -> (Actor, u64) {
        let payer = sent.sponsor.map_or(sent.actor, |(sponsor, _)| sponsor);
        let (window, before) = self.accounts.get(&payer).map_or((0, 0), |account| account.paid);
        let is_same = window == height / u64::from(WINDOW_BLOCKS);
        (payer, sent.size + if is_same { before } else { 0 })
    }
}
