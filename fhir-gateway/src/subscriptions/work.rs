//! The worker of an organization: a task for each Subscription that has something to be told, so that one
//! that waits for its endpoint keeps nobody else waiting. One process of an organization does this at a time.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio::{
    sync::Notify,
    task::{Id, JoinSet},
};

use super::{
    deliver::{self, Done, Next},
    watch::Watch,
};
use crate::{auth::clock, organization::Organization, outcome::Refusal, vault::Exclusive};

/// Subscriptions whose resources are read and compared at the same time.
pub const READS_AT_ONCE: usize = 4;
/// Longest time between two looks: another process may have written, or an earlier write may turn out to stand.
const IDLE: Duration = Duration::from_secs(1);
/// Shortest time between two looks.
const BREATH: Duration = Duration::from_millis(10);

/// What is under way.
#[derive(Default)]
struct Running {
    watch: Watch,
    steps: JoinSet<Done>,
    /// Whose they are, and of which of its owner's revisions.
    of: HashMap<Id, (String, u32)>,
    busy: BTreeSet<String>,
    /// Those of which nothing of a revision is tried before a time.
    resting: HashMap<String, (Instant, u32)>,
}

/// Works on the Subscriptions of an organization until it is gone.
pub async fn work(organization: Weak<Organization>) {
    let Some(owner) = organization.upgrade() else { return };
    let wake = Arc::clone(&owner.subscriptions.wake);
    drop(owner);
    loop {
        let Some(owner) = organization.upgrade() else { return };
        let lease = owner.subscriptions.delivering().await;
        drop(owner);
        match lease {
            Ok(Some(lease)) => rounds(&organization, &wake, &lease).await,
            // Another process delivers.
            Ok(None) => {}
            Err(refusal) => tracing::warn!(%refusal, "the lock of Subscriptions cannot be had; it is tried again"),
        }
        tokio::time::sleep(IDLE).await;
    }
}

/// Looks and lets go, until the organization or the lock is gone.
async fn rounds(organization: &Weak<Organization>, wake: &Notify, lease: &Exclusive) {
    let mut running = Running::default();
    loop {
        let Some(owner) = organization.upgrade() else { return };
        if lease.is_lost() {
            return;
        }
        if let Err(refusal) = round(organization, &owner, &mut running).await {
            tracing::warn!(%refusal, "Subscriptions could not be looked at; it is tried again");
        }
        drop(owner);
        let until_rested =
            running.resting.values().min().map(|(time, _)| time.saturating_duration_since(Instant::now()));
        let pause = until_rested.map_or(IDLE, |pause| pause.min(IDLE));
        tokio::time::sleep(BREATH).await;
        tokio::select! {
            Some(ended) = running.steps.join_next_with_id() => running.ended(ended),
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        while let Some(ended) = running.steps.try_join_next_with_id() {
            running.ended(ended);
        }
    }
}

/// Starts a step of each that has something to be told.
async fn round(organization: &Weak<Organization>, owner: &Organization, running: &mut Running) -> Result<(), Refusal> {
    running.watch.refresh(&owner.subscriptions).await?;
    // A step that ended after its Subscription was removed leaves how far it was.
    for id in running.watch.over(clock()).into_iter().filter(|id| !running.busy.contains(id)) {
        owner.subscriptions.remove_if_over(&id).await?;
        running.watch.removed(&id);
    }
    if running.watch.is_empty() {
        return Ok(());
    }
    let after = running.watch.through();
    running.watch.changed(owner.index.run(move |index| index.newest_changes(after)).await?);
    let now = Instant::now();
    running.resting.retain(|_, (until, _)| *until > now);
    for (id, revision) in running.watch.waiting(clock()) {
        // One that its owner wrote anew is tried at once.
        let rests = running.resting.get(id).is_some_and(|(_, of)| *of == revision);
        if !rests && running.busy.insert(id.to_owned()) {
            running.resting.remove(id);
            let (organization, subscription) = (Weak::clone(organization), id.to_owned());
            let step = running.steps.spawn(async move { deliver::step(&organization, &subscription).await });
            running.of.insert(step.id(), (id.to_owned(), revision));
        }
    }
    Ok(())
}

impl Running {
    fn ended(&mut self, ended: Result<(Id, Done), tokio::task::JoinError>) {
        let (task, Done { next, state }) = match ended {
            Ok((task, done)) => (task, done),
            Err(error) => {
                tracing::error!(%error, "a step of a Subscription broke off; it is tried again");
                (error.id(), Done { next: Next::Rests(IDLE), state: None })
            }
        };
        let Some((id, revision)) = self.of.remove(&task) else { return };
        self.busy.remove(&id);
        self.watch.ended(&id, state);
        if let Next::Rests(pause) = next {
            self.resting.insert(id, (Instant::now() + pause, revision));
        }
    }
}
