//! The body of a request: unpacked, bounded in size and in time.

use std::{pin::pin, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest,
    dev::Decompress,
    http::header,
    web::{self, Bytes},
};
use futures::StreamExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::headers;
use crate::outcome::Refusal;

/// How long a client may be silent within a body.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long a whole body may take: 32 MiB at a megabit a second.
const BODY_TIME_MAX: Duration = Duration::from_secs(300);

/// What bodies are counted in.
const UNIT_BYTES: usize = 1024;
/// Bodies up to this size wait for nobody: what most requests send.
const SMALL_BYTES: usize = 32 * 1024;

/// The bodies that are worked on. A body that is read, checked, sealed and indexed takes many times its size, so
/// that without a bound the memory would be the clients' to choose.
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

    /// Waits, in the order of coming, until a body of that size may be worked on; it is until the answer is dropped.
    /// One that is larger than all that may be, is worked on when nothing else is.
    pub async fn admit(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes <= SMALL_BYTES {
            return None;
        }
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units);
        // It is never closed.
        Arc::clone(&self.free).acquire_many_owned(units).await.ok()
    }
}

/// The body, unpacked; not one byte more than `limit` is kept.
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::TooSlow`], and where it cannot be unpacked.
pub async fn read(request: &HttpRequest, payload: web::Payload, limit: usize) -> Result<Bytes, Refusal> {
    headers::is_readable(request)?;
    let declared = headers::text(request, header::CONTENT_LENGTH.as_str()).and_then(|text| text.parse::<usize>().ok());
    if declared.is_some_and(|declared| declared > limit) {
        return Err(Refusal::TooLarge { limit });
    }
    let mut chunks = pin!(Decompress::from_headers(payload.into_inner(), request.headers()));
    let mut body = web::BytesMut::new();
    let end = Instant::now() + BODY_TIME_MAX;
    loop {
        let next = timeout_at(end, timeout(SILENCE_MAX, chunks.next())).await;
        let Ok(Ok(next)) = next else { return Err(Refusal::TooSlow) };
        let Some(chunk) = next else { return Ok(body.freeze()) };
        let chunk = chunk.map_err(|_| Refusal::BadRequest("the body could not be read".to_string()))?;
        if body.len() + chunk.len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
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
