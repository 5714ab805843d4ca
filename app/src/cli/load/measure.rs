//! Sending from threads, and watching the blocks.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::rpc::{Accepted, Question, Rpc};

/// One transaction of this many is watched until it is in a block.
const SAMPLED: usize = 20;
/// Pause of a sender while the mempool is full, and of the watcher between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the watcher waits, after sending, for what is still under way.
const DRAIN: Duration = Duration::from_secs(30);

/// How to send.
pub struct Plan {
    /// JSON-RPC addresses: the first is watched, the connections are spread over all.
    pub urls: Vec<String>,
    /// Threads, each with one connection.
    pub connections: u32,
    /// Longest time to send.
    pub duration: Duration,
    /// Transactions that may wait at a node before its senders pause.
    pub mempool_max: u64,
    /// What to ask the application to know whether a transaction was committed.
    pub question: fn(&[u8]) -> Question,
}

/// What the network made of it.
#[derive(Debug, Default)]
pub struct Measured {
    /// Transactions in blocks.
    pub committed: u64,
    /// Transactions that a node accepted.
    pub sent: u64,
    /// Transactions that a node refused.
    pub refused: u64,
    /// Blocks with a transaction.
    pub blocks: u64,
    /// From the first sent to the last seen in a block.
    elapsed: Duration,
    /// Most transactions that were seen waiting at a node.
    pub waiting_max: u64,
    /// The header's time of each block with a transaction, oldest first.
    times: Vec<Duration>,
    /// From being sent to being seen in a block, sorted; of the watched ones.
    latencies: Vec<Duration>,
}

impl Measured {
    pub fn committed_per_second(&self) -> f64 {
        rounded(self.committed as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON))
    }

    /// Times between two blocks, by their own headers: when the watcher saw them says how busy the watcher was. A
    /// header's time is when the block before was agreed on, so that of the first one is from before the load.
    fn intervals(&self) -> impl ExactSizeIterator<Item = Duration> + '_ {
        self.times.windows(2).skip(1).map(|pair| pair[1].saturating_sub(pair[0]))
    }

    pub fn block_interval_ms(&self) -> Option<f64> {
        let intervals = self.intervals();
        let count = intervals.len();
        (count > 0).then(|| rounded(intervals.sum::<Duration>().as_secs_f64() * 1000.0 / count as f64))
    }

    pub fn longest_interval_ms(&self) -> f64 {
        rounded(self.intervals().max().unwrap_or_default().as_secs_f64() * 1000.0)
    }

    /// The latency that so many of 100 watched transactions did not exceed.
    pub fn latency_ms(&self, percent: usize) -> Option<f64> {
        let last = self.latencies.len().checked_sub(1)?;
        Some(rounded(self.latencies[(self.latencies.len() * percent / 100).min(last)].as_secs_f64() * 1000.0))
    }
}

/// What the threads share.
#[derive(Default)]
struct Shared {
    next: AtomicUsize,
    sent: AtomicU64,
    refused: AtomicU64,
    /// Of each node.
    is_full: Vec<AtomicBool>,
    is_done: AtomicBool,
    watched: Mutex<Vec<(Question, Instant)>>,
    failure: Mutex<Option<String>>,
}

/// Sends for as long as the plan says, then waits until everything is in blocks.
pub fn run(plan: &Plan, transactions: &[Vec<u8>]) -> Result<Measured, String> {
    let is_full = plan.urls.iter().map(|_| AtomicBool::default()).collect();
    let shared = Shared { is_full, ..Shared::default() };
    let first = Rpc::new(&plan.urls[0]).height()?;
    let started = Instant::now();
    let mut measured = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(plan, &shared, first, started));
        let shared = &shared;
        let nodes = (0..plan.urls.len()).cycle().take(plan.connections as usize);
        let senders: Vec<_> =
            nodes.map(|node| scope.spawn(move || send(plan, shared, transactions, started, node))).collect();
        for sender in senders {
            if sender.join().is_err() {
                note(shared, "a sending thread failed".to_owned());
            }
        }
        shared.is_done.store(true, Ordering::SeqCst);
        watcher.join().unwrap_or_else(|_| Err("the watching thread failed".to_owned()))
    })?;
    if let Some(failure) = shared.failure.lock().map_err(|_| "a thread failed")?.take() {
        return Err(failure);
    }
    measured.sent = shared.sent.load(Ordering::SeqCst);
    measured.refused = shared.refused.load(Ordering::SeqCst);
    measured.latencies.sort_unstable();
    Ok(measured)
}

fn send(plan: &Plan, shared: &Shared, transactions: &[Vec<u8>], started: Instant, node: usize) {
    let rpc = Rpc::new(&plan.urls[node]);
    while started.elapsed() < plan.duration {
        if shared.is_full[node].load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
            continue;
        }
        let index = shared.next.fetch_add(1, Ordering::SeqCst);
        let Some(transaction) = transactions.get(index) else { return };
        let sent_at = Instant::now();
        match rpc.broadcast(transaction) {
            Ok(Accepted::Yes) => {
                shared.sent.fetch_add(1, Ordering::SeqCst);
                if index.is_multiple_of(SAMPLED)
                    && let Ok(mut watched) = shared.watched.lock()
                {
                    watched.push(((plan.question)(transaction), sent_at));
                }
            }
            Ok(Accepted::Full) => shared.is_full[node].store(true, Ordering::Relaxed),
            Ok(Accepted::Refused) => {
                shared.refused.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => return note(shared, error),
        }
    }
}

fn watch(plan: &Plan, shared: &Shared, first: u64, started: Instant) -> Result<Measured, String> {
    let nodes: Vec<Rpc> = plan.urls.iter().map(|url| Rpc::new(url)).collect();
    let rpc = &nodes[0];
    let mut measured = Measured::default();
    let mut seen = first;
    let mut drain_until = None;
    loop {
        let newest = rpc.height()?;
        while seen < newest {
            for block in rpc.blocks(seen + 1, newest.min(seen + 20))? {
                seen = seen.max(block.height);
                if block.transactions > 0 {
                    measured.committed += block.transactions;
                    measured.blocks += 1;
                    measured.elapsed = started.elapsed();
                    measured.times.push(block.time);
                }
            }
            look(rpc, shared, &mut measured)?;
        }
        for (node, is_full) in nodes.iter().zip(&shared.is_full) {
            let waiting = node.waiting()?;
            measured.waiting_max = measured.waiting_max.max(waiting);
            is_full.store(waiting > plan.mempool_max, Ordering::Relaxed);
        }
        if shared.is_done.load(Ordering::SeqCst) {
            let until = *drain_until.get_or_insert_with(|| Instant::now() + DRAIN);
            if measured.committed >= shared.sent.load(Ordering::SeqCst) || Instant::now() >= until {
                look(rpc, shared, &mut measured)?;
                return Ok(measured);
            }
        }
        thread::sleep(PAUSE);
    }
}

/// Asks for the watched transactions, oldest first, until one is in no block yet.
fn look(rpc: &Rpc, shared: &Shared, measured: &mut Measured) -> Result<(), String> {
    let mut watched = std::mem::take(&mut *shared.watched.lock().map_err(|_| "a sending thread failed")?);
    let mut done = 0;
    for (question, sent_at) in &watched {
        if !rpc.has_answer(question)? {
            break;
        }
        measured.latencies.push(sent_at.elapsed());
        done += 1;
    }
    watched.drain(..done);
    let mut later = shared.watched.lock().map_err(|_| "a sending thread failed")?;
    watched.append(&mut later);
    *later = watched;
    Ok(())
}

fn note(shared: &Shared, failure: String) {
    if let Ok(mut slot) = shared.failure.lock() {
        slot.get_or_insert(failure);
    }
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_between_blocks_of_the_load_and_not_the_one_before_it() {
        let cases: &[(&[u64], Option<f64>, f64)] = &[
            (&[], None, 0.0),
            (&[1_000], None, 0.0),
            (&[1_000, 9_000], None, 0.0),
            (&[1_000, 9_000, 9_200], Some(200.0), 200.0),
            (&[1_000, 9_000, 9_200, 9_800, 10_000], Some(333.3), 600.0),
        ];
        for (times, mean, longest) in cases {
            let times = times.iter().map(|time| Duration::from_millis(*time)).collect();
            let measured = Measured { times, ..Measured::default() };
            assert_eq!(
                (measured.block_interval_ms(), measured.longest_interval_ms()),
                (*mean, *longest),
                "{measured:?}"
            );
        }
    }
}
