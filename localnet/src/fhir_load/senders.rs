//! Connections that send one request after the other.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;

use super::patients::mixed;
use super::requests::{Asked, Kind, Requests};
use crate::failure::Failure;

/// Longer than a gateway waits for its ledger.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);
/// Largest answer: a page with includes, or what became of a patient's records.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What so many connections were given.
#[derive(Clone, Debug)]
pub struct Measured {
    pub kind: Kind,
    pub connections: usize,
    pub per_second: f64,
    pub median: Duration,
    /// Ninety-nine of a hundred answers came within this.
    pub ninety_ninth: Duration,
}

impl fmt::Display for Measured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            out,
            "{}, {} connections: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
            self.kind.name(),
            self.connections,
            self.per_second,
            milliseconds(self.median),
            milliseconds(self.ninety_ninth)
        )
    }
}

/// Sends requests of a kind over so many connections for so long.
///
/// # Errors
/// The first answer that is none of success.
pub fn measure(requests: &Requests, kind: Kind, connections: usize, duration: Duration) -> Result<Measured, Failure> {
    let began = Instant::now();
    let times: Result<Vec<Vec<Duration>>, Failure> = thread::scope(|scope| {
        let connect = |connection: usize| {
            let lane =
                mixed(requests.patients.seed ^ (kind as u64) << 32 ^ (connections as u64) << 16 ^ connection as u64);
            scope.spawn(move || send(requests, kind, lane, began + duration))
        };
        let senders: Vec<_> = (0..connections).map(connect).collect();
        let joined = senders.into_iter().map(|sender| sender.join().expect("a sender does not panic"));
        joined.collect()
    });
    let elapsed = began.elapsed();
    let mut times = times?.concat();
    times.sort_unstable();
    let at = |hundredths: usize| times.get((times.len() * hundredths / 100).min(times.len().saturating_sub(1)));
    let (Some(median), Some(ninety_ninth)) = (at(50).copied(), at(99).copied()) else {
        return Err(Failure::Check(format!("{}: no answer in {} s", kind.name(), duration.as_secs())));
    };
    let per_second = times.len() as f64 / elapsed.as_secs_f64();
    Ok(Measured { kind, connections, per_second, median, ninety_ninth })
}

/// Sends one Bundle.
pub fn once(requests: &Requests, bundle: String) -> Result<(), Failure> {
    call(&agent(), requests.bundle(bundle)).map(|_| ())
}

fn send(requests: &Requests, kind: Kind, lane: u64, until: Instant) -> Result<Vec<Duration>, Failure> {
    let agent = agent();
    let mut times = Vec::new();
    let mut drawn = lane;
    while Instant::now() < until {
        drawn = mixed(drawn);
        times.push(call(&agent, requests.request(kind, drawn))?);
    }
    Ok(times)
}

fn agent() -> Agent {
    let limits = Agent::config_builder().timeout_global(Some(CALL_TIME_MAX)).http_status_as_error(false);
    limits.build().into()
}

/// How long an answer took, until its last byte.
fn call(agent: &Agent, asked: Asked) -> Result<Duration, Failure> {
    let shown = format!("{} {}", asked.request.method(), asked.request.uri());
    let failed = |why: String| Failure::Check(format!("{shown}: {why}"));
    let began = Instant::now();
    let mut answer = agent.run(asked.request).map_err(|error| failed(error.to_string()))?;
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    let body = body.map_err(|error| failed(error.to_string()))?;
    let elapsed = began.elapsed();
    if !answer.status().is_success() || !body.contains(&asked.expected) {
        let begin: String = body.chars().take(300).collect();
        return Err(failed(format!("{}, without {}: {begin}", answer.status(), asked.expected)));
    }
    Ok(elapsed)
}
