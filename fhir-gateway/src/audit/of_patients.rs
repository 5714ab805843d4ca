//! Which leaves are about a patient: a list beside the log, so that who looked is found without
//! reading the log of everybody.
//!
//! A row is written in one batch with its leaf. Its key is a hash under a key of the organization
//! and says no patient's id; numbers stand in it from the greatest, so that the newest come first.

use std::{collections::BTreeSet, sync::Arc};

use careledger_wire::{commitment, ids::Digest};

use super::{AuditLog, Core, LEAVES_PER_PAGE, Leaf, number_of};
use crate::{
    outcome::Refusal,
    records::asking,
    vault::{Batch, Durability, Space},
};

/// Before the keys of all rows.
const ROWS: &[u8] = b"access-log/of/";
/// For what the key of the rows is derived, and what they are.
pub(super) const PURPOSE: &str = "careledger/audit-patient/1";
/// Where the vault says that every leaf has its row.
const LISTED: &[u8] = b"access-log/listed";

impl AuditLog {
    /// At most `limit` leaves about any of `patients` (about anybody or nobody where none is named)
    /// that are numbered below `before`, newest first.
    pub fn newest(&self, patients: &[&str], before: Option<u64>, limit: usize) -> Result<Vec<Leaf>, Refusal> {
        let before = before.unwrap_or(u64::MAX);
        if !patients.is_empty() {
            let mut numbers = BTreeSet::new();
            for patient in patients {
                numbers.extend(self.core.numbers(patient, before, limit)?);
            }
            let newest = numbers.into_iter().rev().take(limit);
            return newest.filter_map(|number| self.leaf(number).transpose()).collect();
        }
        let mut found = Vec::new();
        let mut number = before.saturating_sub(1).min(self.core.last_leaf()?);
        while number > 0 && found.len() < limit {
            found.extend(self.leaf(number)?);
            number -= 1;
        }
        Ok(found)
    }

    /// Whether the leaf of that number is about a patient.
    pub fn is_about(&self, patient: &str, number: u64) -> Result<bool, Refusal> {
        Ok(self.core.store.get(Space::State, &self.core.row(patient, number))?.is_some())
    }

    /// How many leaves are about any of `patients`, or how many there are where none is named; none
    /// is read. A number that a full disk left free counts.
    pub fn count(&self, patients: &[&str]) -> Result<u64, Refusal> {
        if patients.is_empty() {
            return self.core.last_leaf();
        }
        let mut total = 0;
        // A leaf is about one patient, so that nothing counts twice.
        for patient in patients.iter().collect::<BTreeSet<_>>() {
            let mut before = u64::MAX;
            loop {
                let page = self.core.numbers(patient, before, LEAVES_PER_PAGE)?;
                total += page.len() as u64;
                match page.last() {
                    Some(last) if page.len() == LEAVES_PER_PAGE => before = *last,
                    _ => break,
                }
            }
        }
        Ok(total)
    }
}

impl Core {
    /// Number of the last leaf, also where another process wrote it.
    fn last_leaf(&self) -> Result<u64, Refusal> {
        if self.store.is_shared() { self.newest() } else { Ok(*self.last.lock()) }
    }

    /// Adds the row of a leaf to the batch that writes it.
    pub(super) fn list(&self, leaf: &Leaf, batch: &mut Batch) {
        if let Some(patient) = &leaf.access.patient {
            batch.put(Space::State, self.row(patient, leaf.number), []);
        }
    }

    /// Lists the leaves of a vault that was written before there were rows, once.
    pub(super) async fn list_older(self: &Arc<Self>) -> Result<(), Refusal> {
        if asking(self, &*self.store, |core| Ok(core.store.get(Space::State, LISTED)?)).await?.is_some() {
            return Ok(());
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (batch, last, is_done) = asking(self, &*self.store, move |core| core.page_of_rows(after)).await?;
            after = last;
            // The mark is never there without the rows, and nobody asks before both are.
            self.store.commit(batch, Durability::Ordered).await?;
            if is_done {
                return Ok(());
            }
        }
    }

    /// The rows of the next leaves; the key of the last of these, and whether there are no more.
    fn page_of_rows(&self, after: Option<Vec<u8>>) -> Result<(Batch, Option<Vec<u8>>, bool), Refusal> {
        let page = self.store.scan(Space::Leaf, &[], after.as_deref(), LEAVES_PER_PAGE)?;
        let mut batch = Batch::default();
        for (key, sealed) in &page {
            self.list(&self.open(key, sealed)?, &mut batch);
        }
        let is_done = page.len() < LEAVES_PER_PAGE;
        if is_done {
            batch.put(Space::State, LISTED, []);
        }
        Ok((batch, page.last().map(|(key, _)| key.clone()), is_done))
    }

    /// At most `limit` numbers below `before` of leaves about a patient, newest first.
    fn numbers(&self, patient: &str, before: u64, limit: usize) -> Result<Vec<u64>, Refusal> {
        let prefix = self.rows(patient);
        let rows = self.store.scan(Space::State, &prefix, Some(&self.row(patient, before)), limit)?;
        rows.into_iter().map(|(key, _)| Ok(u64::MAX - number_of(&key[prefix.len()..])?)).collect()
    }

    fn rows(&self, patient: &str) -> Vec<u8> {
        let hash = Digest::new(commitment::hash(PURPOSE, &[self.patient_key.as_bytes(), patient.as_bytes()]));
        [ROWS, hash.as_bytes()].concat()
    }

    fn row(&self, patient: &str, number: u64) -> Vec<u8> {
        [self.rows(patient).as_slice(), &(u64::MAX - number).to_be_bytes()].concat()
    }
}
