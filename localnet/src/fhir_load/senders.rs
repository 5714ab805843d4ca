//! Connections that send one request after the other.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;

use super::patients::mixed;
use super::requests::{Asked, Kind, Requests};
use super::servers::Server;
use crate::failure::Failure;

/// Longer than a gateway waits for its ledger.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);
/// Largest answer: a page with includes, or what became of a patient's records.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long to send.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Before measuring: a server that compiles while it runs is slow at first.
    pub warm_up: Duration,
    /// While measuring.
    pub measured: Duration,
}

/// What so many connections were given.
#[derive(Clone, Debug)]
pub struct Measured {
    pub kind: Kind,
    pub connections: usize,
    pub per_second: f64,
    pub median: Duration,
    /// Ninety-nine of a hundred answers came within this.
    pub ninety_ninth: Duration,
    /// What the server computed for a request, on average; none where the system does not say.
    pub computed: Option<Duration>,
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
        )?;
        match self.computed {
            Some(time) => write!(out, ", {:.2} ms of processor time each", milliseconds(time)),
            None => Ok(()),
        }
    }
}

/// Sends requests of a kind over so many connections: first to warm up, then for as long as is measured.
///
/// # Errors
/// The first answer that is none of success.
pub fn measure(
    server: &Server,
    requests: &Requests,
    kind: Kind,
    connections: usize,
    times: Times,
) -> Result<Measured, Failure> {
    let lane =
        |purpose: u64| mixed(requests.patients.seed ^ purpose << 48 ^ (kind as u64) << 32 ^ (connections as u64) << 16);
    let (warming_up, measuring) = (lane(1), lane(0));
    if !times.warm_up.is_zero() {
        send_over(requests, kind, connections, warming_up, times.warm_up)?;
    }
    let computed_before = server.watched.computed();
    let began = Instant::now();
    let mut taken = send_over(requests, kind, connections, measuring, times.measured)?;
    let elapsed = began.elapsed();
    let computed = server.watched.computed().zip(computed_before).map(|(after, before)| after.saturating_sub(before));
    taken.sort_unstable();
    let at = |hundredths: usize| taken.get((taken.len() * hundredths / 100).min(taken.len().saturating_sub(1)));
    let (Some(median), Some(ninety_ninth)) = (at(50).copied(), at(99).copied()) else {
        return Err(Failure::Check(format!("{}: no answer in {} s", kind.name(), times.measured.as_secs())));
    };
    let per_second = taken.len() as f64 / elapsed.as_secs_f64();
    let computed = computed.map(|all| all.div_f64(taken.len() as f64));
    Ok(Measured { kind, connections, per_second, median, ninety_ninth, computed })
}

/// How long each answer took.
fn send_over(
    requests: &Requests,
    kind: Kind,
    connections: usize,
    lane: u64,
    duration: Duration,
) -> Result<Vec<Duration>, Failure> {
    let until = Instant::now() + duration;
    let taken: Result<Vec<Vec<Duration>>, Failure> = thread::scope(|scope| {
        let connect = |connection: usize| {
            let lane = mixed(lane ^ connection as u64);
            scope.spawn(move || send(requests, kind, lane, until))
        };
        let senders: Vec<_> = (0..connections).map(connect).collect();
        senders.into_iter().map(|sender| sender.join().expect("a sender does not panic")).collect()
    });
    Ok(taken?.concat())
}

/// Stores the patients over so many connections.
///
/// # Errors
/// The first answer that is none of success.
pub fn store(requests: &Requests, connections: usize) -> Result<(), Failure> {
    let patients = &requests.patients;
    once(requests, patients.practitioners())?;
    let next = AtomicU32::new(0);
    let send = || {
        let agent = agent();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= patients.bundles() {
                return Ok(());
            }
            if let Err(failure) = call(&agent, requests.bundle(patients.bundle(place))) {
                // The others need not go on.
                next.fetch_max(patients.bundles(), Ordering::Relaxed);
                return Err(failure);
            }
        }
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..connections).map(|_| scope.spawn(send)).collect();
        senders.into_iter().try_for_each(|sender| sender.join().expect("a sender does not panic"))
    })
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
    let begin = || body.chars().take(300).collect::<String>();
    if !answer.status().is_success() {
        return Err(failed(format!("{}: {}", answer.status(), begin())));
    }
    if let Some(missing) = asked.expected.iter().find(|expected| !body.contains(*expected)) {
        return Err(failed(format!("an answer without {missing}: {}", begin())));
    }
    Ok(elapsed)
}
