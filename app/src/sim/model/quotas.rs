//! What accounts pay for: bytes, in windows of blocks.

use super::{Model, Moment, Sent};
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
        // More than an organization: what its patients have together ends before, while it is in good standing.
        Actor::Patient(_) | Actor::Guardian(_) => 20 * 1024,
    }
}

impl Model {
    /// Whether who pays has room for it: its sponsor, where it has one. All whom an organization opened have together as
    /// much as it has; an eighth of it, while it is out of standing.
    pub(super) fn can_pay(&self, sent: &Sent, block: Moment) -> bool {
        let (payer, after) = self.after(sent, block.height);
        let is_together = self.together(sent, block.height).is_none_or(|(organization, after)| {
            let stands = self.standing_of(organization, block.time).is_ok();
            after <= allowance(Actor::Organization(0)) / if stands { 1 } else { 8 }
        });
        !self.has_quotas || after <= allowance(payer) && is_together
    }

    /// Whatever it comes to.
    pub(super) fn pay(&mut self, sent: &Sent, block: Moment) {
        let (payer, after) = self.after(sent, block.height);
        let together = self.together(sent, block.height);
        let window = block.height / u64::from(WINDOW_BLOCKS);
        if self.has_quotas
            && let Some(account) = self.accounts.get_mut(&payer)
        {
            account.paid = (window, after);
            self.opened.extend(together.map(|(organization, after)| (organization, (window, after))));
        }
    }

    /// Who pays, and what for once it is in a block of this height.
    fn after(&self, sent: &Sent, height: u64) -> (Actor, u64) {
        let payer = sent.sponsor.map_or(sent.actor, |(sponsor, _)| sponsor);
        let before = self.accounts.get(&payer).map_or((0, 0), |account| account.paid);
        (payer, sent.size + in_window(before, height))
    }

    /// The same of all whom one organization opened.
    fn together(&self, sent: &Sent, height: u64) -> Option<(u8, u64)> {
        let organization = self.accounts.get(&self.after(sent, height).0)?.opened_by?;
        let before = self.opened.get(&organization).copied().unwrap_or_default();
        Some((organization, sent.size + in_window(before, height)))
    }
}

fn in_window((window, bytes): (u64, u64), height: u64) -> u64 {
    if window == height / u64::from(WINDOW_BLOCKS) { bytes } else { 0 }
}
