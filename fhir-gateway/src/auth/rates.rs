//! Rate limits, keyed on the authenticated client; on the network address of the connection where
//! nobody is authenticated yet. Never on a header.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use crate::outcome::Refusal;

/// Checks between two clean-ups of keys that were not seen for a while. Bounds memory.
const CHECKS_PER_CLEANUP: u32 = 100_000;

/// A rate for each key.
pub struct Rates {
    limiter: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
    checks: AtomicU32,
}

impl Rates {
    /// `per_second` over time, `burst` at once. Zero counts as one.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
        Self { limiter: RateLimiter::keyed(quota), clock: DefaultClock::default(), checks: AtomicU32::new(0) }
    }

    /// Counts one request of `key`.
    ///
    /// # Errors
    /// [`Refusal::TooMany`] with the seconds to wait.
    pub fn check(&self, key: &str) -> Result<(), Refusal> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % CHECKS_PER_CLEANUP == CHECKS_PER_CLEANUP - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&key.to_owned()).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            Refusal::TooMany { retry_after: wait.as_secs() + 1 }
        })
    }
}
