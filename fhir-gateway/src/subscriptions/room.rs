//! Room for what is on its way to endpoints: bounded for all together, and shared so that an endpoint that takes
//! its time takes nobody else's.
//!
//! - An endpoint, of one client, never has more than a share of the room. Its other notifications wait for its own.
//! - Three quarters of the room are for endpoints that answered promptly the last time, or were never called;
//!   those that did not share the last quarter. So however many are slow, they keep what others need for as long as one
//!   notification may take, once.
//!
//! Absent on purpose: bodies. Whoever waits here holds nothing but its place.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;

/// What part of the room one endpoint may have, and what part slow ones share.
const PARTS: u32 = 4;
/// What part of the longest delivery is still prompt.
const PROMPT_PART: u32 = 10;
/// Endpoints that are remembered. Beyond, those are forgotten to which nothing is on its way.
const ENDPOINTS_MAX: usize = 4_096;

/// An endpoint, of one client: nobody is slowed by what another client does there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Whose {
    /// The client.
    pub client: String,
    /// Scheme, host and port.
    pub origin: String,
}

/// All room that there is.
pub struct Rooms {
    /// Bytes for endpoints that are prompt.
    prompt: Lane,
    /// Bytes for those that are not.
    slow: Lane,
    /// Bytes that one endpoint may have.
    share: u32,
    /// How long a prompt answer takes at most.
    prompt_within: Duration,
    endpoints: Mutex<HashMap<Whose, Arc<Endpoint>>>,
}

/// Bytes that are free. Semaphores give in the order in which they are asked.
struct Lane {
    bytes: u32,
    free: Arc<Semaphore>,
}

struct Endpoint {
    own: Lane,
    is_slow: AtomicBool,
}

/// Room for one notification, until this is dropped.
pub struct Room {
    bytes: usize,
    endpoint: Arc<Endpoint>,
    prompt_within: Duration,
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

impl Rooms {
    /// Room as configured.
    pub fn new(settings: &config::Subscriptions) -> Self {
        let part = (settings.bytes_in_flight_max / PARTS).max(1);
        Self {
            prompt: Lane::of(settings.bytes_in_flight_max.saturating_sub(part).max(1)),
            slow: Lane::of(part),
            share: part,
            prompt_within: Duration::from_secs(settings.delivery_seconds.into()) / PROMPT_PART,
            endpoints: Mutex::default(),
        }
    }

    /// Room for so many bytes, where there is some now.
    pub fn try_take(&self, whose: &Whose, bytes: usize) -> Option<Room> {
        let endpoint = self.endpoint(whose);
        let own = endpoint.own.try_take(bytes)?;
        let shared = self.shared(&endpoint).try_take(bytes)?;
        Some(Room { bytes, endpoint, prompt_within: self.prompt_within, _own: own, _shared: shared })
    }

    /// The same, as soon as there is. The endpoint's own share is waited for first, so that nobody waits for what
    /// one of them keeps.
    pub async fn take(&self, whose: &Whose, bytes: usize) -> Room {
        let endpoint = self.endpoint(whose);
        let own = endpoint.own.take(bytes).await;
        let shared = self.shared(&endpoint).take(bytes).await;
        Room { bytes, endpoint, prompt_within: self.prompt_within, _own: own, _shared: shared }
    }

    fn shared(&self, endpoint: &Endpoint) -> &Lane {
        if endpoint.is_slow.load(Ordering::Relaxed) { &self.slow } else { &self.prompt }
    }

    fn endpoint(&self, whose: &Whose) -> Arc<Endpoint> {
        let mut endpoints = self.endpoints.lock();
        if endpoints.len() >= ENDPOINTS_MAX && !endpoints.contains_key(whose) {
            endpoints.retain(|_, endpoint| Arc::strong_count(endpoint) > 1);
        }
        let new = || Arc::new(Endpoint { own: Lane::of(self.share), is_slow: AtomicBool::default() });
        Arc::clone(endpoints.entry(whose.clone()).or_insert_with(new))
    }
}

impl Room {
    /// Whether it is enough for so many bytes.
    pub fn holds(&self, bytes: usize) -> bool {
        self.bytes >= bytes
    }

    /// Remembers how long the endpoint took, for the next time.
    pub fn answered(&self, took: Duration) {
        self.endpoint.is_slow.store(took > self.prompt_within, Ordering::Relaxed);
    }
}

impl Lane {
    fn of(bytes: u32) -> Self {
        Self { bytes, free: Arc::new(Semaphore::new(bytes as usize)) }
    }

    /// One larger than all of a lane takes all of it.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.bytes)
    }

    fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_many_owned(self.permits(bytes)).ok()
    }

    async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        Arc::clone(&self.free).acquire_many_owned(self.permits(bytes)).await.expect("a lane is never closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_secs(2);
    const PROMPT: Duration = Duration::from_millis(500);

    fn rooms() -> Rooms {
        Rooms::new(&config::Subscriptions { bytes_in_flight_max: 400, ..config::Subscriptions::default() })
    }

    fn of(client: &str, origin: &str) -> Whose {
        Whose { client: client.to_owned(), origin: origin.to_owned() }
    }

    #[test]
    fn an_endpoint_has_its_share_and_another_clients_there_is_another() {
        let rooms = rooms();
        let one = of("ehr", "https://one");
        let held = rooms.try_take(&one, 60).unwrap();
        assert!(held.holds(60) && !held.holds(61));
        assert!(rooms.try_take(&one, 60).is_none(), "a quarter of the room is its share");
        let others = [of("ehr", "https://two"), of("portal", "https://one")].map(|whose| rooms.try_take(&whose, 60));
        assert!(others.iter().all(Option::is_some));
        drop(held);
        assert!(rooms.try_take(&one, 60).is_some());
    }

    #[test]
    fn what_is_larger_than_a_share_takes_all_of_it_and_what_is_refused_keeps_nothing() {
        let rooms = rooms();
        let (one, two) = (of("ehr", "https://one"), of("ehr", "https://two"));
        let large = rooms.try_take(&one, 1_000).unwrap();
        assert!(rooms.try_take(&one, 1).is_none());
        assert!(rooms.try_take(&two, 1).is_none(), "it has all that prompt ones have");
        drop(large);
        assert!(rooms.try_take(&two, 100).is_some(), "what was tried in vain left nothing behind");
    }

    #[test]
    fn however_many_endpoints_are_slow_prompt_ones_have_their_room() {
        let rooms = rooms();
        let slow: Vec<Whose> = (0..20).map(|number| of("ehr", &format!("https://slow-{number}"))).collect();
        for whose in &slow {
            rooms.try_take(whose, 100).unwrap().answered(SLOW);
        }
        let held: Vec<Room> = slow.iter().filter_map(|whose| rooms.try_take(whose, 50)).collect();
        assert_eq!(held.len(), 2, "a quarter is for all slow ones together");
        let prompt: Vec<Option<Room>> =
            (0..3).map(|number| rooms.try_take(&of("ehr", &format!("https://prompt-{number}")), 100)).collect();
        assert!(prompt.iter().all(Option::is_some));
        drop((held, prompt));
        // Whoever is prompt again is treated so.
        rooms.try_take(&slow[0], 1).unwrap().answered(PROMPT);
        let held = rooms.try_take(&slow[1], 100).unwrap();
        assert!(rooms.try_take(&slow[2], 1).is_none() && rooms.try_take(&slow[0], 100).is_some());
        drop(held);
    }

    #[tokio::test]
    async fn whoever_waits_gets_room_when_it_is_given_back() {
        let rooms = Arc::new(rooms());
        let one = of("ehr", "https://one");
        let held = rooms.try_take(&one, 100).unwrap();
        let (waiting, whose) = (Arc::clone(&rooms), one.clone());
        let waiter = tokio::spawn(async move { waiting.take(&whose, 100).await.holds(100) });
        drop(held);
        assert!(waiter.await.unwrap());
    }

    #[test]
    fn endpoints_are_forgotten_beyond_a_number_but_for_those_that_are_called() {
        let rooms = rooms();
        let held = rooms.try_take(&of("ehr", "https://held"), 100).unwrap();
        for number in 0..=ENDPOINTS_MAX {
            rooms.try_take(&of("ehr", &format!("https://{number}")), 1).unwrap();
        }
        assert!(rooms.endpoints.lock().len() <= ENDPOINTS_MAX);
        assert!(rooms.try_take(&of("ehr", "https://held"), 1).is_none());
        drop(held);
    }
}
