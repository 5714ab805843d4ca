//! Writes that wait for a block share one transaction.
//!
//! A task takes every write that waits, joins those without messages of their own into one
//! transaction (one batch of anchors, one of supersessions) and submits it. While those wait for their block, the next
//! ones gather; where that takes long, a few rounds are under way at a time. If a shared transaction is refused,
//! each write is submitted by itself, so that nobody is refused for somebody else's mistake.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use careledger_app::limits::{SUPERSESSIONS_PER_TRANSACTION_MAX, UNORDERED_SECONDS_MAX};
use careledger_wire::{
    ids::Address,
    message::Message,
    proto::records::{Anchor, MsgAnchorRecords, MsgSupersedeRecords, Supersession},
};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    Core, Stored,
    pipeline::{Hold, Prepared},
};
use crate::{
    ledger::{COMMIT_DEADLINE, VALIDITY_SECONDS},
    outcome::Refusal,
};

/// Messages that anchor the versions of one transaction: first ones, and later ones.
pub const ANCHORING_MESSAGES_MAX: usize = 2;
/// Writes that may wait in the queue; more wait before it.
const WAITING_UNITS_MAX: usize = 4096;
/// Writes that share one transaction. Bounds how many are submitted again after a refusal.
const SHARED_UNITS_MAX: usize = 256;
/// Records that share one transaction, anchored or superseded: as many fit whatever they are.
const SHARED_RECORDS_MAX: usize = SUPERSESSIONS_PER_TRANSACTION_MAX;
/// A write that waited longer is submitted no more: others may take it for expired before the ledger would.
const SUBMITTED_WITHIN_SECONDS: i64 = UNORDERED_SECONDS_MAX - VALIDITY_SECONDS - 2 * COMMIT_DEADLINE.as_secs() as i64;
/// Rounds of transactions that wait for their blocks at the same time.
const IN_FLIGHT_MAX: u32 = 4;
/// A round begins when none is under way, or when it waited for that for this long: much less than a block of CometBFT
/// takes, and more than a round takes where blocks are made at once. What is done once for a round, in the ledger, the
/// vault and the index, is done for more writes so. Letting the next one begin while one is indexed gave no more writes,
/// and each cost more.
const GATHERED_FOR_MAX: Duration = Duration::from_millis(100);

/// One request's write, with its hold on the records.
pub(super) struct Unit {
    pub prepared: Vec<Prepared>,
    pub extra: Vec<Message>,
    pub hold: Hold,
    /// When it was prepared, by the ledger's clock, Unix seconds.
    pub since: i64,
}

type Answer = Result<Vec<Arc<Stored>>, Refusal>;
type Waiting = (Unit, oneshot::Sender<Answer>);

/// Where writes wait.
#[derive(Clone)]
pub(super) struct Queue {
    sender: mpsc::Sender<Waiting>,
}

impl Queue {
    /// Starts the task; it ends when the last queue and with it the records are dropped.
    pub fn start(core: &Arc<Core>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_UNITS_MAX);
        tokio::spawn(run(Arc::downgrade(core), receiver));
        Self { sender }
    }

    /// Waits until the unit is committed and the index was told.
    pub async fn commit(&self, unit: Unit) -> Answer {
        let (done, answer) = oneshot::channel();
        self.sender.send((unit, done)).await.map_err(|_| Refusal::Internal("the write queue has stopped"))?;
        answer.await.map_err(|_| Refusal::Internal("a write was interrupted"))?
    }
}

async fn run(core: Weak<Core>, mut receiver: mpsc::Receiver<Waiting>) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX as usize));
    while let Some(first) = receiver.recv().await {
        // The permit comes first: while it is awaited, more writes gather behind the first one.
        let Ok(permit) = turn(&in_flight, GATHERED_FOR_MAX).await else { return };
        let Some(core) = core.upgrade() else { return };
        let round = Arc::new(permit);
        for group in gather(first, &mut receiver) {
            let (core, round) = (Arc::clone(&core), Arc::clone(&round));
            tokio::spawn(async move {
                core.anchor_group(group).await;
                drop(round);
            });
        }
    }
}

/// A permit for a round: once none is under way, or once it waited for so long and not all are taken.
async fn turn(in_flight: &Arc<Semaphore>, longest: Duration) -> Result<OwnedSemaphorePermit, AcquireError> {
    let alone = Arc::clone(in_flight).acquire_many_owned(IN_FLIGHT_MAX);
    match tokio::time::timeout(longest, alone).await {
        // The others are free again at once.
        Ok(all) => all.map(|mut all| all.split(1).expect("it has more than one")),
        Err(_) => Arc::clone(in_flight).acquire_owned().await,
    }
}

/// Everything that waits, in groups that fit one transaction each.
fn gather(first: Waiting, receiver: &mut mpsc::Receiver<Waiting>) -> Vec<Vec<Waiting>> {
    let mut alone = Vec::new();
    let mut shared = Vec::new();
    let mut records = 0;
    let mut next = Some(first);
    while let Some(waiting) = next {
        let size = waiting.0.prepared.len();
        if !waiting.0.extra.is_empty() || records + size > SHARED_RECORDS_MAX {
            alone.push(vec![waiting]);
        } else {
            records += size;
            shared.push(waiting);
        }
        next = if alone.len() + shared.len() < SHARED_UNITS_MAX { receiver.try_recv().ok() } else { None };
    }
    if !shared.is_empty() {
        alone.push(shared);
    }
    alone
}

/// The messages of one transaction: `extra`, then at most [`ANCHORING_MESSAGES_MAX`] more.
pub(super) fn messages(
    sender: &Address,
    extra: Vec<Message>,
    anchors: Vec<Anchor>,
    supersessions: Vec<Supersession>,
) -> Vec<Message> {
    let (mut messages, sender) = (extra, sender.to_string());
    if !anchors.is_empty() {
        messages.push(MsgAnchorRecords { sender: sender.clone(), anchors }.into());
    }
    if !supersessions.is_empty() {
        messages.push(MsgSupersedeRecords { sender, supersessions }.into());
    }
    messages
}

impl Core {
    /// Submits a group of writes, and finishes each by what became of it.
    pub(super) async fn anchor_group(self: &Arc<Self>, group: Vec<Waiting>) {
        let group = self.in_time(group).await;
        if group.is_empty() {
            return;
        }
        let units: Vec<&Unit> = group.iter().map(|(unit, _)| unit).collect();
        let messages = self.messages(&units);
        let outcome = self.submit(messages).await;
        if matches!(outcome, Err(Refusal::Ledger { .. })) && group.len() > 1 {
            for waiting in group {
                for waiting in self.in_time(vec![waiting]).await {
                    let messages = self.messages(&[&waiting.0]);
                    let outcome = self.submit(messages).await;
                    self.finish(vec![waiting], outcome).await;
                }
            }
        } else {
            self.finish(group, outcome).await;
        }
    }

    /// Those that may still be submitted. What became of the others is found out before the next write.
    async fn in_time(self: &Arc<Self>, group: Vec<Waiting>) -> Vec<Waiting> {
        let latest = self.ledger.now() - SUBMITTED_WITHIN_SECONDS;
        let (group, late): (Vec<_>, Vec<_>) = group.into_iter().partition(|(unit, _)| unit.since >= latest);
        if !late.is_empty() {
            self.finish(late, Err(Refusal::LedgerUnavailable)).await;
        }
        group
    }

    /// Time of the block.
    async fn submit(&self, messages: Vec<Message>) -> Result<i64, Refusal> {
        if messages.is_empty() {
            return Ok(self.ledger.now());
        }
        let committed = self.ledger.submit(&self.keys.signer, messages).await?;
        Ok(committed.time)
    }

    fn messages(&self, units: &[&Unit]) -> Vec<Message> {
        let prepared = || units.iter().flat_map(|unit| &unit.prepared);
        let anchors = prepared().filter_map(Prepared::anchor).collect();
        let supersessions = prepared().filter_map(Prepared::supersession).collect();
        let extra = units.iter().flat_map(|unit| unit.extra.clone()).collect();
        messages(&self.keys.signer.address(), extra, anchors, supersessions)
    }

    async fn finish(self: &Arc<Self>, group: Vec<Waiting>, outcome: Result<i64, Refusal>) {
        match outcome {
            Ok(time) => self.acknowledge(group, time).await,
            Err(refusal) => {
                let known = matches!(refusal, Refusal::Ledger { .. });
                for (unit, done) in group {
                    let Unit { prepared, hold, .. } = unit;
                    if known {
                        if let Err(error) = self.drop_versions(&prepared, None).await {
                            tracing::warn!(%error, "refused versions stay in the vault until the next start");
                        }
                    } else {
                        hold.keep_as_unknown();
                    }
                    // Whoever stopped waiting does not need the answer.
                    let _ = done.send(Err(refusal.clone()));
                }
            }
        }
    }

    async fn acknowledge(self: &Arc<Self>, group: Vec<Waiting>, time: i64) {
        let (units, waiting): (Vec<Unit>, Vec<_>) = group.into_iter().unzip();
        let counts: Vec<usize> = units.iter().map(|unit| unit.prepared.len()).collect();
        let (versions, holds): (Vec<_>, Vec<_>) = units.into_iter().map(|unit| (unit.prepared, unit.hold)).unzip();
        let versions = versions.into_iter().flatten().map(|prepared| (prepared, time)).collect();
        match self.publish(versions).await {
            Ok(stored) => {
                drop(holds);
                let mut stored = stored.into_iter();
                for (count, done) in counts.into_iter().zip(waiting) {
                    let _ = done.send(Ok(stored.by_ref().take(count).collect()));
                }
            }
            Err(refusal) => {
                // The ledger has them: they are published when the store or index works again.
                holds.into_iter().for_each(Hold::keep_as_unknown);
                let is_open = matches!(refusal, Refusal::Busy | Refusal::VersionConflict);
                let refusal = if is_open { Refusal::LedgerUnavailable } else { refusal };
                for done in waiting {
                    let _ = done.send(Err(refusal.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::poll;

    use super::*;

    /// Longer than any test.
    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_round_begins_at_once_where_none_is_under_way_and_else_after_it() {
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX as usize));
        let first = turn(&in_flight, LONG).await.unwrap();
        let mut second = pin!(turn(&in_flight, LONG));
        assert!(poll!(second.as_mut()).is_pending(), "more gather for it");
        drop(first);
        assert!(poll!(second.as_mut()).is_ready());
    }

    #[tokio::test]
    async fn a_round_that_waited_long_begins_beside_others_up_to_so_many() {
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX as usize));
        let mut under_way = Vec::new();
        for _ in 0..IN_FLIGHT_MAX {
            under_way.push(turn(&in_flight, Duration::ZERO).await.unwrap());
        }
        let mut next = pin!(turn(&in_flight, Duration::ZERO));
        assert!(poll!(next.as_mut()).is_pending());
        under_way.pop();
        under_way.push(next.await.unwrap());
    }
}
