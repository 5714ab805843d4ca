//! What the ledger committed becomes visible: in the vault's journal first, then in the index, in one order.
//!
//! Groups of versions that wait for that at the same time share one batch of the vault and one transaction of the
//! index: each of these encrypts anew the last page of every table that grows at its end, which costs more than what
//! one group adds to it. Whoever's turn it is takes along all that wait. What is wrong with one group is told to that
//! group only; where the index refuses what they share, it gets each by itself, in their order. An index in a file takes
//! them before it tries to put them into its tables (`index/behind.rs`).

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    Core, Listed, Stored, entry,
    pipeline::{JOURNAL, Prepared, blocking},
};
use crate::{
    outcome::Refusal,
    vault::{Batch, Durability, Space},
};

/// Versions that share one transaction of the index, unless one group has more: they are in memory until it is over,
/// and whoever comes next waits for it.
const SHARED_VERSIONS_MAX: usize = 500;
/// Times that a publication is tried where other processes were in its way.
const PUBLISHING_TRIES: u32 = 4;

/// Versions that one transaction of the ledger committed, each with the time of its block.
pub(super) type Group = Vec<(Prepared, i64)>;
type Answer = Result<Vec<Arc<Stored>>, Refusal>;
type Asking = (Group, oneshot::Sender<Answer>);

/// Groups that wait to become visible, in their order.
#[derive(Default)]
pub(super) struct Waiting(Mutex<VecDeque<Asking>>);

impl Waiting {
    fn add(&self, group: Group) -> oneshot::Receiver<Answer> {
        let (done, answer) = oneshot::channel();
        self.0.lock().push_back((group, done));
        answer
    }

    /// The first of them, and those behind it that fit.
    fn take(&self) -> Vec<Asking> {
        let mut waiting = self.0.lock();
        let mut versions = 0;
        let fits = |(group, _): &&Asking| {
            let is_first = versions == 0;
            versions += group.len();
            is_first || versions <= SHARED_VERSIONS_MAX
        };
        let count = waiting.iter().take_while(fits).count();
        waiting.drain(..count).collect()
    }
}

/// A group with its places in the journal.
struct Placed {
    versions: Group,
    /// Which of them were not in the journal before.
    fresh: Vec<usize>,
    /// Last sequence before it, and with it.
    before: u64,
    through: u64,
}

/// A group that is in the journal, as the index gets it.
struct Shown {
    stored: Vec<Arc<Stored>>,
    fresh: Vec<Arc<Stored>>,
    before: u64,
    through: u64,
}

impl Core {
    /// Makes the versions of a group visible and indexes them. The second step of a write that cannot be refused: the
    /// ledger has them. Where the caller is dropped meanwhile, those that it took along find out later what became of
    /// theirs, so callers run in tasks of their own.
    pub(super) async fn publish(self: &Arc<Self>, group: Group) -> Answer {
        let mut answer = self.waiting.add(group);
        let _in_order = self.sequence.lock().await;
        loop {
            match answer.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => return Err(Refusal::Internal("a write was interrupted")),
                // Neither those before it nor those with it were taken along by anybody yet.
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let (groups, waiting): (Vec<Group>, Vec<_>) = self.waiting.take().into_iter().unzip();
            for (done, answer) in waiting.into_iter().zip(self.publish_together(groups).await) {
                // Whoever stopped waiting does not need the answer.
                let _ = done.send(answer);
            }
        }
    }

    /// An answer for each of `groups`.
    async fn publish_together(self: &Arc<Self>, groups: Vec<Group>) -> Vec<Answer> {
        let count = groups.len();
        let mut tries = 1;
        let published = loop {
            if tries == PUBLISHING_TRIES {
                break self.publish_once(groups, tries).await;
            }
            // The lock can be lost with the connection that held it, and another process was first; or what a failed
            // write left behind is there since the vault was opened again. All is looked at anew.
            match self.publish_once(groups.clone(), tries).await {
                Err(Refusal::VersionConflict) => tries += 1,
                published => break published,
            }
        };
        published.unwrap_or_else(|refusal| vec![Err(refusal); count])
    }

    /// An answer for each of `groups`; an error where the vault took none of them at this try, from 1.
    async fn publish_once(self: &Arc<Self>, groups: Vec<Group>, tries: u32) -> Result<Vec<Answer>, Refusal> {
        let _others = self.store.exclusive(vec![JOURNAL.to_owned()]).await?;
        let look = move |core: &Self| {
            let known = |group: Group| {
                // Before the first try nobody else writes to a vault that is not shared.
                let may_be_known = core.store.is_shared() || tries > 1;
                let known = group.iter().map(|(prepared, _)| Ok(may_be_known && core.was_published(prepared)?));
                known.collect::<Result<Vec<_>, _>>().map(|known| (group, known))
            };
            Ok((core.last_sequence()?, groups.into_iter().map(known).collect::<Vec<_>>()))
        };
        let (before, groups) = self.asking(look).await?;
        let mut batch = Batch::default();
        let mut next = before;
        let placed = groups.into_iter().map(|group: Result<(Group, Vec<bool>), Refusal>| {
            let (versions, known) = group?;
            Ok(place(versions, &known, &mut next, &mut batch))
        });
        let placed: Vec<Result<Placed, Refusal>> = placed.collect();
        if !batch.is_empty() {
            // Ordered, not synced: after a power cut the ledger tells it again.
            self.store.commit(batch, Durability::Ordered).await?;
        }
        let show = move |core: &Self| {
            let shown = placed.into_iter().map(|placed| placed.and_then(|placed| core.shown(placed)));
            Ok(shown.collect::<Vec<_>>())
        };
        let shown = self.asking(show).await?;
        Ok(self.index_together(before, next, shown).await)
    }

    /// Whether another process found out first that the ledger has this version, and published it, or an earlier try did.
    fn was_published(&self, prepared: &Prepared) -> Result<bool, Refusal> {
        let key = entry::key(&prepared.record, prepared.version);
        let is_there = |space| Ok::<_, Refusal>(self.store.get(space, &key)?.is_some());
        let is_own = self.holds(prepared)?;
        if is_own && is_there(Space::Committed)? {
            return Ok(true);
        }
        // Given up for expired by another process, while this one stood still: the body is gone.
        let is_pending = is_own && is_there(Space::Pending)?;
        if is_pending { Ok(false) } else { Err(Refusal::Internal("a write was given up by another process")) }
    }

    fn shown(&self, placed: Placed) -> Result<Shown, Refusal> {
        let Placed { versions, fresh, before, through } = placed;
        let shown = |(Prepared { record, version, entry, content }, time): (Prepared, i64)| match content {
            Some(content) => Ok(Arc::new(entry.stored(version, time, content))),
            None => {
                let stored = self.stored(&record, version)?;
                Ok(Arc::new(stored.ok_or(Refusal::Internal("a published version is missing"))?))
            }
        };
        let stored = versions.into_iter().map(shown).collect::<Result<Vec<Arc<Stored>>, Refusal>>()?;
        let fresh = fresh.into_iter().map(|at| Arc::clone(&stored[at])).collect();
        Ok(Shown { stored, fresh, before, through })
    }

    /// Tells the index of all groups at once; of each by itself where that fails, so that none is refused for
    /// another behind it.
    async fn index_together(
        self: &Arc<Self>,
        before: u64,
        through: u64,
        groups: Vec<Result<Shown, Refusal>>,
    ) -> Vec<Answer> {
        let fresh: Vec<Arc<Stored>> =
            groups.iter().flatten().flat_map(|shown| shown.fresh.iter().map(Arc::clone)).collect();
        // One that cannot be read back has its place all the same: the index gets past it by the journal.
        let is_whole = before + fresh.len() as u64 == through;
        if is_whole && groups.len() > 1 && self.index(before, through, fresh).await.is_ok() {
            return groups.into_iter().map(|shown| shown.map(|shown| shown.stored)).collect();
        }
        let mut answers = Vec::with_capacity(groups.len());
        // The index has one order: what it refuses keeps out all behind it.
        let mut refused: Option<Refusal> = None;
        for group in groups {
            answers.push(match (group, &refused) {
                (Err(refusal), _) => Err(refusal),
                (Ok(_), Some(refusal)) => Err(refusal.clone()),
                (Ok(Shown { stored, fresh, before, through }), None) => {
                    let answer = self.index(before, through, fresh).await.map(|()| stored);
                    refused = answer.as_ref().err().cloned();
                    answer
                }
            });
        }
        answers
    }

    /// Tells the index, which may be behind: then it gets everything it lacks.
    async fn index(self: &Arc<Self>, before: u64, through: u64, stored: Vec<Arc<Stored>>) -> Result<(), Refusal> {
        let feed = Arc::clone(&self.feed);
        let was_current = blocking(move || {
            let listed = (before + 1..).zip(&stored).map(|(sequence, stored)| Listed::of(sequence, stored));
            feed.apply_after(before, through, &listed.collect::<Vec<_>>(), &stored)
        });
        if was_current.await? { Ok(()) } else { self.catch_up().await.map(|_| ()) }
    }
}

/// Puts into `batch` what makes those of a group visible that are not `known` yet, and counts them with `next`.
fn place(versions: Group, known: &[bool], next: &mut u64, batch: &mut Batch) -> Placed {
    let before = *next;
    let mut fresh = Vec::with_capacity(versions.len());
    for (at, (prepared, time)) in versions.iter().enumerate().filter(|(at, _)| !known[*at]) {
        *next += 1;
        let key = entry::key(&prepared.record, prepared.version);
        let committed = entry::committed_value(prepared.version, *time);
        batch.put(Space::Committed, key.clone(), committed.clone());
        batch.put(Space::Current, prepared.record.to_vec(), committed);
        batch.delete(Space::Pending, key.clone());
        batch.put_new(Space::Journal, next.to_be_bytes(), key);
        fresh.push(at);
    }
    Placed { versions, fresh, before, through: *next }
}
