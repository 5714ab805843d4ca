//! Bytes that are worked on at the same time: without a bound the memory would be the clients' to choose.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What bytes are counted in.
const UNIT_BYTES: usize = 1024;
/// What is no larger than this waits for nobody: what most requests send, and most value sets are.
pub const SMALL_BYTES: usize = 32 * 1024;

/// What is worked on: JSON that is read, checked, sealed and indexed, or told the members of, takes many times its size.
/// Whoever waits here holds none of it, and nothing that others wait for who do.
pub struct InWork {
    free: Arc<Semaphore>,
    units: u32,
}

impl InWork {
    /// So many bytes at the same time.
    pub fn of(bytes: usize) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1);
        let free = usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(free)), units }
    }

    /// Waits, in the order of coming, until so many bytes more may be worked on; they are until the answer is dropped.
    /// More than all that may be, is worked on when nothing else is.
    pub async fn admit(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes <= SMALL_BYTES {
            return None;
        }
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units);
        // It is never closed.
        Arc::clone(&self.free).acquire_many_owned(units).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn so_many_bytes_are_worked_on_at_once_and_one_larger_body_alone() {
        let in_work = InWork::of(1024 * 1024);
        let half = 512 * 1024;
        let first = in_work.admit(half).now_or_never().expect("nothing else is worked on");
        let second = in_work.admit(half).now_or_never().expect("there is room for two");
        let (mut large, mut third) = (Box::pin(in_work.admit(100 * half)), Box::pin(in_work.admit(half)));
        assert!((&mut large).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        assert!(in_work.admit(SMALL_BYTES).now_or_never().is_some(), "small ones wait for nobody");
        drop(first);
        assert!((&mut large).now_or_never().is_none(), "not alone yet");
        assert!((&mut third).now_or_never().is_none(), "in the order of coming, so that a large one has its turn");
        drop(second);
        let alone = large.now_or_never().expect("alone now");
        assert!((&mut third).now_or_never().is_none());
        drop(alone);
        assert!(third.now_or_never().is_some());
    }
}
