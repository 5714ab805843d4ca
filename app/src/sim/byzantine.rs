//! Proposers that do as they like.

use super::{
    network::{Network, Violation},
    random::Random,
    script::Rubbish,
};
use crate::limits::{BLOCK_BYTES_MAX, TX_BYTES_MAX};

impl Network {
    /// Everything that waits, in another order, and rubbish: accepted if every transaction may be held.
    pub(super) fn byzantine(&mut self, order: u8, rubbish: Rubbish) -> Result<(), Violation> {
        let mut offered = self.pool.clone();
        Random::new(order.into()).shuffle(&mut offered);
        let mut proposal: Vec<Vec<u8>> = offered.iter().map(|waiting| waiting.bytes.clone()).collect();
        let added = self.rubbish(order, rubbish);
        let is_rubbish = !added.is_empty();
        let middle = proposal.len() / 2;
        proposal.splice(middle..middle, added);
        let (height, time) = (self.height(), self.time + 1);
        let verdict = self.agree("replicas judge a proposal alike", |replica| {
            replica.machine.process(&proposal, height, time).map_err(|reject| reject.name())
        })?;
        let is_sound = !is_rubbish && self.expected(offered.iter(), time).0.len() == offered.len();
        if verdict.is_ok() == is_sound {
            *self.report.proposals.entry(verdict.err().unwrap_or("ok")).or_default() += 1;
            return Ok(());
        }
        self.broken(
            "a proposal is accepted if every transaction may be held",
            format!("{verdict:?}, sound: {is_sound}"),
        )
    }

    /// Transactions that no block may hold; none where there was nothing to make them of.
    fn rubbish(&self, order: u8, rubbish: Rubbish) -> Vec<Vec<u8>> {
        let last = self.history.last().map(|waiting| waiting.bytes.clone());
        match rubbish {
            Rubbish::Nothing => Vec::new(),
            Rubbish::Malformed => vec![vec![order; 200]],
            Rubbish::Short => vec![vec![0x0a; 20]],
            Rubbish::Oversize => vec![vec![order; TX_BYTES_MAX + 1]],
            Rubbish::TooMuch => vec![vec![order; TX_BYTES_MAX]; BLOCK_BYTES_MAX / TX_BYTES_MAX + 1],
            Rubbish::Repeated => last.map(|bytes| vec![bytes.clone(), bytes]).unwrap_or_default(),
            Rubbish::Forged => last
                .map(|mut bytes| {
                    bytes.last_mut().into_iter().for_each(|byte| *byte ^= 1);
                    vec![bytes]
                })
                .unwrap_or_default(),
        }
    }
}
