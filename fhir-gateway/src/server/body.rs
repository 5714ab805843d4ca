//! The body of a request: unpacked, bounded in size and in time.

use std::{pin::pin, time::Duration};

use actix_web::{
    HttpRequest,
    dev::Decompress,
    http::header,
    web::{self, Bytes},
};
use futures::StreamExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::headers;
use crate::outcome::Refusal;

/// How long a client may be silent within a body.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long a whole body may take: 32 MiB at a megabit a second.
const BODY_TIME_MAX: Duration = Duration::from_secs(300);

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
