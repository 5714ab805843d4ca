//! When exports are worked on, and by which process: one of those that share a vault, as long as it has the lock.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::Exports;
use crate::{outcome::Refusal, vault::Exclusive};

/// Longest time between two looks at whether an export was begun through another process, or that one has ended.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks for what is left of removed exports.
const SWEEP: Duration = Duration::from_secs(3_600);

/// Who makes exports.
pub trait Maker: Send + Sync + 'static {
    /// Those that it makes.
    fn exports(&self) -> &Arc<Exports>;

    /// Makes a step of each; gives how long to wait before the next round, unless one is begun. `find_out` is when the
    /// ledger may be asked again what became of writes.
    fn round(&self, find_out: &mut Instant) -> impl Future<Output = Result<Duration, Refusal>> + Send;
}

/// Works on exports until whoever makes them is gone.
pub async fn work<M: Maker>(maker: Weak<M>) {
    let Some(owner) = maker.upgrade() else { return };
    let wake = Arc::clone(&owner.exports().wake);
    drop(owner);
    loop {
        let Some(owner) = maker.upgrade() else { return };
        let lease = owner.exports().making().await;
        drop(owner);
        match lease {
            Ok(Some(lease)) => rounds(&maker, &wake, &lease).await,
            // Another process makes them.
            Ok(None) => {}
            Err(refusal) => tracing::warn!(%refusal, "the lock of exports cannot be had; it is tried again"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Makes rounds and sweeps, until their maker or the lock is gone.
async fn rounds<M: Maker>(maker: &Weak<M>, wake: &Notify, lease: &Exclusive) {
    let now = Instant::now();
    let (mut due, mut sweep, mut find_out, mut known) = (now, now, now, None);
    loop {
        let Some(owner) = maker.upgrade() else { return };
        if lease.is_lost() {
            return;
        }
        if sweep <= Instant::now() {
            sweep = Instant::now() + SWEEP;
            if let Err(refusal) = owner.exports().sweep_orphans().await {
                tracing::warn!(%refusal, "what is left of removed exports could not be removed; it is tried again");
            }
        }
        match look(owner.as_ref(), due, &mut find_out, &mut known).await {
            Ok(Some(pause)) => due = Instant::now() + pause,
            Ok(None) => {}
            Err(refusal) => {
                tracing::warn!(%refusal, "exports could not be looked at; it is tried again");
                due = Instant::now() + LOOK;
            }
        }
        drop(owner);
        let pause = due.saturating_duration_since(Instant::now());
        if pause.is_zero() {
            tokio::task::yield_now().await;
        } else {
            // Until somebody asks for an export or it is time: both are reasons to look.
            drop(tokio::time::timeout(pause.min(LOOK), wake.notified()).await);
        }
    }
}

/// Makes a round where one is due, or an export was begun since the last; gives how long to wait before the next.
async fn look<M: Maker>(
    maker: &M,
    due: Instant,
    find_out: &mut Instant,
    known: &mut Option<Vec<u8>>,
) -> Result<Option<Duration>, Refusal> {
    // Before the round, so that what is begun during it is seen the next time.
    let stamp = maker.exports().stamp().await?;
    if Instant::now() < due && stamp == *known {
        return Ok(None);
    }
    *known = stamp;
    maker.round(find_out).await.map(Some)
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use futures::future::BoxFuture;

    use super::*;
    use crate::{
        export::{
            rows::{PARTS, STAMP, STATE, key},
            tests::export,
        },
        keys::OrganizationKeys,
        vault::{Batch, Durability, Hold, Space, Store, StoreError, forwarding::forward, local::LocalStore},
    };

    const PATIENCE: Duration = Duration::from_secs(30);
    const POLL: Duration = Duration::from_millis(5);

    /// A vault whose lock goes to one process after the other.
    struct Leasing {
        store: LocalStore,
        /// How often the lock was asked for.
        asked: AtomicUsize,
        /// Whether another process has it.
        is_taken: Arc<AtomicBool>,
        /// How often it was looked whether an export was begun.
        looked: AtomicUsize,
    }

    /// The lock, which is lost as soon as another process has it.
    struct Lease(Arc<AtomicBool>);

    impl Hold for Lease {
        fn is_lost(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Store for Leasing {
        forward!([store]: scan, last, commit);

        fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.looked.fetch_add(usize::from(key == STAMP), Ordering::SeqCst);
            self.store.get(space, key)
        }

        fn try_exclusive(&self, _name: &str) -> BoxFuture<'static, Result<Option<Exclusive>, StoreError>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let lease = Lease(Arc::clone(&self.is_taken));
            let is_free = !lease.is_lost();
            Box::pin(async move { Ok(is_free.then(|| Exclusive::by(lease))) })
        }
    }

    /// Counts its rounds, of which none is the last.
    struct Rounds {
        exports: Arc<Exports>,
        store: Arc<Leasing>,
        made: AtomicUsize,
        pause: Duration,
    }

    impl Maker for Rounds {
        fn exports(&self) -> &Arc<Exports> {
            &self.exports
        }

        async fn round(&self, _find_out: &mut Instant) -> Result<Duration, Refusal> {
            self.made.fetch_add(1, Ordering::SeqCst);
            Ok(self.pause)
        }
    }

    impl Rounds {
        fn start(folder: &Path, pause: Duration) -> Arc<Self> {
            let store = LocalStore::open(folder).unwrap();
            let [asked, looked] = [(); 2].map(|()| AtomicUsize::default());
            let store = Arc::new(Leasing { store, asked, looked, is_taken: Arc::default() });
            let exports = Exports::open(&Arc::new(OrganizationKeys::random()), Arc::clone(&store) as _);
            Arc::new(Self { exports, store, made: AtomicUsize::default(), pause })
        }
    }

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// The lock is gone with its connection, and nobody says so.
    #[tokio::test]
    async fn whoever_lost_the_lock_makes_no_more_rounds_until_it_has_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let maker = Rounds::start(folder.path(), Duration::ZERO);
        let worker = tokio::spawn(work(Arc::downgrade(&maker)));
        let (asked, made) = (|| maker.store.asked.load(Ordering::SeqCst), || maker.made.load(Ordering::SeqCst));
        until("no round is made", || made() > 10).await;
        maker.store.is_taken.store(true, Ordering::SeqCst);
        until("the lock is not asked for again", || asked() == 2).await;
        let before = made();
        until("it is asked for once", || asked() == 3).await;
        assert_eq!(made(), before, "another process makes them");
        maker.store.is_taken.store(false, Ordering::SeqCst);
        until("it does not go on", || made() > before).await;
        worker.abort();
    }

    #[tokio::test]
    async fn what_is_left_of_removed_exports_is_removed_by_whoever_makes_them() {
        let folder = tempfile::tempdir().unwrap();
        let maker = Rounds::start(folder.path(), Duration::from_secs(60));
        let exports = &maker.exports;
        exports.begin(&export("kept")).await.unwrap();
        let mut batch = Batch::default();
        let earlier = b"job/old".to_vec();
        for key in [key(STATE, "left"), key(PARTS[0], "left/0000000000/0000000000"), earlier] {
            batch.put(Space::Export, key, b"");
        }
        maker.store.commit(batch, Durability::Synced).await.unwrap();
        let worker = tokio::spawn(work(Arc::downgrade(&maker)));
        let rows = || maker.store.scan(Space::Export, b"", None, 100).unwrap().len();
        until("it is left", || rows() == 5).await;
        assert_eq!(exports.of_client("kept", "ehr").await, Ok(export("kept")));
        worker.abort();
    }

    /// A round was made four times a second as long as any export waited.
    #[tokio::test]
    async fn a_pause_lasts_until_an_export_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let maker = Rounds::start(folder.path(), Duration::from_secs(3_600));
        let worker = tokio::spawn(work(Arc::downgrade(&maker)));
        let made = || maker.made.load(Ordering::SeqCst);
        for (rounds, id) in [(1, "one"), (2, "two"), (3, "three")] {
            until("no round is made", || made() == rounds).await;
            maker.exports.begin(&export(id)).await.unwrap();
        }
        until("no round is made", || made() == 4).await;
        let looked = || maker.store.looked.load(Ordering::SeqCst);
        let before = looked();
        until("nobody looks", || looked() > before + 1).await;
        assert_eq!(made(), 4, "nothing was begun");
        worker.abort();
    }
}
