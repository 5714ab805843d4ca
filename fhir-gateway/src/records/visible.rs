//! What is on its way to be visible, and whether the index has what is: an export waits for both.

use std::{collections::BTreeSet, sync::Arc};

use super::{Core, Records, entry, pipeline::JOURNAL};
use crate::{
    keys::random,
    outcome::Refusal,
    vault::{Batch, Durability, Space},
};

/// Marks that are read at once.
const MARKS_PER_PAGE: usize = 1_000;
/// Changes at the end of the journal that are looked at for the newest time.
const NEWEST: u64 = 64;
/// Row that is another after each time that the index was emptied, in [`Space::State`].
const REBUILT: &[u8] = b"index/rebuilt";

impl Records {
    /// Time of the newest visible change, Unix seconds; 0 where there is none. By the vault: an index that is made anew
    /// has not all of them. Changes become visible in nearly the order of their blocks: of those that share one, and of
    /// those that overtook another's, the last few are looked at.
    pub async fn newest_time(&self) -> Result<i64, Refusal> {
        self.core.asking(Core::newest_time).await
    }

    /// Those of `marks` ([`Self::waiting`]) whose versions are not visible yet and may become it.
    pub async fn still_waiting(&self, marks: BTreeSet<Vec<u8>>) -> Result<Vec<Vec<u8>>, Refusal> {
        self.core.asking(move |core| core.still_waiting(&marks)).await
    }

    /// Asks the ledger what became of the versions of these marks, where the process that left them may be gone.
    ///
    /// # Errors
    /// [`Refusal::LedgerUnavailable`] and [`Refusal::Busy`] where that cannot be found out now.
    pub async fn find_out(&self, marks: &[Vec<u8>]) -> Result<(), Refusal> {
        if !self.are_shared() {
            // Nobody else leaves any, and one's own are looked after.
            return Ok(());
        }
        let records = marks.iter().map(|mark| Ok(entry::record_and_version(mark)?.0));
        self.core.settle(&records.collect::<Result<Vec<_>, Refusal>>()?).await
    }

    /// Gives the index what is visible and was not indexed, as where a process ended between the two; false where
    /// somebody else is at that, or makes it anew.
    pub async fn try_bring_up_to_date(&self) -> Result<bool, Refusal> {
        self.core.try_bring_up_to_date().await
    }

    /// What is another once the index was emptied to be made anew, by whichever process.
    pub async fn index_stamp(&self) -> Result<Option<Vec<u8>>, Refusal> {
        self.core.asking(|core| Ok(core.store.get(Space::State, REBUILT)?)).await
    }
}

impl Core {
    fn newest_time(&self) -> Result<i64, Refusal> {
        let after = self.last_sequence()?.saturating_sub(NEWEST).to_be_bytes();
        let mut newest = 0;
        for (_, key) in self.store.scan(Space::Journal, &[], Some(&after), usize::MAX)? {
            // What is damaged is passed over, as whoever lists it does.
            let time = self.store.get(Space::Committed, &key)?.and_then(|value| entry::version_and_time(&value).ok());
            newest = newest.max(time.map_or(0, |(_, time)| time));
        }
        Ok(newest)
    }

    fn still_waiting(&self, marks: &BTreeSet<Vec<u8>>) -> Result<Vec<Vec<u8>>, Refusal> {
        let (mut still, mut after) = (Vec::new(), None::<Vec<u8>>);
        while still.len() < marks.len() {
            let page = self.store.scan(Space::Pending, &[], after.as_deref(), MARKS_PER_PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            still.extend(page.into_iter().map(|(mark, _)| mark).filter(|mark| marks.contains(mark)));
        }
        Ok(still)
    }

    async fn try_bring_up_to_date(self: &Arc<Self>) -> Result<bool, Refusal> {
        let Ok(_in_order) = self.sequence.try_lock() else { return Ok(false) };
        let Some(_others) = self.store.try_exclusive(JOURNAL).await? else { return Ok(false) };
        self.catch_up().await?;
        Ok(true)
    }

    /// Says that the index was emptied.
    pub(super) async fn stamp_index(&self) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        batch.put(Space::State, REBUILT, random::<16>());
        Ok(self.store.commit(batch, Durability::Ordered).await?)
    }
}
