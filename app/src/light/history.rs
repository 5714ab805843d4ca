//! Which state stood at a time.
//!
//! The state that block h left behind stands from that block's time until the next block's.

use std::cmp::Ordering;

use tendermint::block::Header;

use super::{LightError, Source, Verified, node::Newest, verify};
use crate::client::{Client, ClientError};

/// Why no height stands for a time.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The node could not be asked, or its headers do not hold.
    #[error(transparent)]
    Light(#[from] LightError),
    /// Before the first block that the node has.
    #[error("the node's blocks begin at height {height}, Unix time {time}, which is later")]
    TooEarly {
        /// Oldest height of which the node has a block.
        height: u64,
        /// Its time, Unix seconds.
        time: i64,
    },
    /// No block is later yet, so the state of that time may still change.
    #[error("the newest block, {height}, is of Unix time {time}: what stands later is not known yet")]
    TooLate {
        /// Newest height.
        height: u64,
        /// Its time, Unix seconds.
        time: i64,
    },
    /// The headers that the validators signed are of other times.
    #[error("the state of height {0} is not the one that stood at that time")]
    NotThen(u64),
}

impl From<ClientError> for HistoryError {
    fn from(error: ClientError) -> Self {
        Self::Light(error.into())
    }
}

/// The height whose state stood at `time` (Unix seconds), on the node's word: [`check`] judges it.
pub async fn height_at(client: &Client, time: i64) -> Result<u64, HistoryError> {
    let newest = Newest::of(client).await?;
    if newest.time.unix_timestamp() <= time {
        return Err(HistoryError::TooLate { height: newest.height, time: newest.time.unix_timestamp() });
    }
    // The block at `low` is not later than `time`, the one at `high` is.
    let (mut low, mut high) = (newest.oldest_height.max(1), newest.height);
    let first = time_of(client, low).await?;
    if first > time {
        return Err(HistoryError::TooEarly { height: low, time: first });
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        match time_of(client, middle).await?.cmp(&time) {
            Ordering::Greater => high = middle,
            _ => low = middle,
        }
    }
    Ok(low)
}

async fn time_of(client: &Client, height: u64) -> Result<i64, HistoryError> {
    let header = client.header(height).await?.ok_or(ClientError::NoHeader(height))?;
    Ok(header.time)
}

/// Whether the state that `sealing` seals stood at `time` (Unix seconds).
pub async fn check(source: &impl Source, sealing: &Verified, time: i64) -> Result<(), HistoryError> {
    let height = sealing.header.height.value().saturating_sub(1);
    let headers = source.headers(height, height).await?;
    match headers.as_slice() {
        [made] if stood(made, &sealing.header, time) => Ok(()),
        [made] if !verify::follows(&sealing.header, made) => Err(LightError::Link(height).into()),
        _ => Err(HistoryError::NotThen(height)),
    }
}

/// Whether the state of `made`'s block stood at `time`; `next` is believed and must follow it.
fn stood(made: &Header, next: &Header, time: i64) -> bool {
    verify::follows(next, made) && made.time.unix_timestamp() <= time && time < next.time.unix_timestamp()
}

#[cfg(test)]
mod tests {
    use tendermint::Time;
    use tendermint_testgen::{Generator as _, Header as Made, Validator};

    use super::*;

    #[test]
    fn a_state_stands_from_its_block_until_the_next() {
        let at = |seconds| Time::from_unix_timestamp(seconds, 500).expect("a time");
        let validators = [Validator::new("a").voting_power(1)];
        let made = Made::new(&validators).height(7).time(at(100));
        let next = Made { time: Some(at(110)), ..made.next() }.generate().expect("a header");
        let other = made.clone().time(at(99)).generate().expect("a header");
        let made = made.generate().expect("a header");
        for (time, is_then) in [(99, false), (100, true), (109, true), (110, false)] {
            assert_eq!(stood(&made, &next, time), is_then, "{time}");
        }
        assert!(!stood(&other, &next, 105), "a header that the next one does not follow says nothing");
    }
}
