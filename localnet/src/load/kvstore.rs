//! The load on CometBFT's built-in key-value store: what consensus gives when the application costs nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::Measured;
use crate::failure::Failure;
use crate::rpc::Rpc;

/// Size of a transaction: that of a signed consent.
const TRANSACTION_BYTES: usize = 350;
/// Sending pauses while a node holds more than this, well below its mempool's limit.
const WAITING_TRANSACTIONS_MAX: u64 = 3_000;
/// How many transactions a connection sends between two looks at the mempool.
const SENDS_PER_LOOK: u64 = 100;
/// Pause while the mempool is full, and between looks for a new block.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the last transactions may take to commit.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(30);

type SentTimes = Arc<Mutex<HashMap<Vec<u8>, Instant>>>;

/// Sends transactions over `connections` connections for a time and waits until all are committed.
pub fn load(addresses: &[String], connections: usize, duration: Duration) -> Result<Measured, Failure> {
    let sent = SentTimes::default();
    let next = Arc::new(AtomicU64::new(0));
    let ended = Arc::new(AtomicBool::new(false));
    let first_height = Rpc::new(&addresses[0]).tip()?.height + 1;
    let observer = {
        let (rpc, sent, ended) = (Rpc::new(&addresses[0]), sent.clone(), ended.clone());
        thread::spawn(move || observe(&rpc, first_height, &sent, &ended))
    };
    let until = Instant::now() + duration;
    let senders: Vec<_> = (0..connections)
        .map(|connection| {
            let rpc = Rpc::new(&addresses[connection % addresses.len()]);
            let (sent, next) = (sent.clone(), next.clone());
            thread::spawn(move || send(&rpc, until, &sent, &next))
        })
        .collect();
    let outcomes: Vec<_> = senders.into_iter().map(|sender| sender.join().expect("a sender does not panic")).collect();
    ended.store(true, Ordering::Release);
    let observed = observer.join().expect("the observer does not panic");
    outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    observed
}

fn send(rpc: &Rpc, until: Instant, sent: &SentTimes, next: &AtomicU64) -> Result<(), Failure> {
    let mut count = 0_u64;
    while Instant::now() < until {
        if count.is_multiple_of(SENDS_PER_LOOK) {
            while rpc.waiting_transactions()? > WAITING_TRANSACTIONS_MAX && Instant::now() < until {
                thread::sleep(PAUSE);
            }
        }
        let number = next.fetch_add(1, Ordering::Relaxed);
        let mut transaction = format!("load{number:016}=").into_bytes();
        transaction.resize(TRANSACTION_BYTES, b'x');
        sent.lock().expect("no sender panics").insert(transaction.clone(), Instant::now());
        rpc.broadcast(&transaction)?;
        count += 1;
    }
    Ok(())
}

/// Follows the chain until everything that was sent is committed.
fn observe(rpc: &Rpc, first_height: u64, sent: &SentTimes, ended: &AtomicBool) -> Result<Measured, Failure> {
    let mut latencies = Vec::new();
    let mut blocks = Vec::new();
    let mut height = first_height;
    let mut drain_until = None;
    loop {
        if rpc.tip()?.height >= height {
            let seen = Instant::now();
            let transactions = rpc.transactions(height)?;
            let mut sent = sent.lock().expect("no sender panics");
            let before = latencies.len();
            let sent_at = transactions.iter().filter_map(|transaction| sent.remove(transaction));
            latencies.extend(sent_at.map(|at| seen.duration_since(at)));
            if latencies.len() > before {
                blocks.push((seen, latencies.len() - before));
            }
            height += 1;
            continue;
        }
        if ended.load(Ordering::Acquire) {
            let due = *drain_until.get_or_insert_with(|| Instant::now() + DRAIN_TIME_MAX);
            let missing = sent.lock().expect("no sender panics").len();
            if missing == 0 {
                return summarize(&blocks, latencies);
            }
            if Instant::now() > due {
                return Err(Failure::Check(format!("{missing} sent transactions were never committed")));
            }
        }
        thread::sleep(PAUSE);
    }
}

fn summarize(blocks: &[(Instant, usize)], mut latencies: Vec<Duration>) -> Result<Measured, Failure> {
    let [(first, in_first), .., (last, _)] = blocks else {
        return Err(Failure::Check("fewer than two blocks held transactions; let the load run longer".into()));
    };
    latencies.sort_unstable();
    let span = last.duration_since(*first).as_secs_f64();
    let quantile = |hundredths: usize| {
        let index = (latencies.len() * hundredths / 100).min(latencies.len() - 1);
        latencies[index].as_secs_f64() * 1_000.0
    };
    Ok(Measured {
        transactions: latencies.len() as u64,
        // What the first block holds was sent before the span began.
        records_per_s: 0.0,
        committed_tx_per_s: (latencies.len() - in_first) as f64 / span,
        block_interval_max_ms: blocks
            .windows(2)
            .map(|pair| pair[1].0.duration_since(pair[0].0).as_secs_f64() * 1_000.0)
            .fold(0.0, f64::max),
        block_interval_ms: span * 1_000.0 / (blocks.len() - 1) as f64,
        commit_p50_ms: quantile(50),
        commit_p99_ms: quantile(99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_blocks_that_held_transactions() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let blocks = [(start, 10), (after(500), 100), (after(1_000), 100)];
        let latencies = (1..=210).map(Duration::from_millis).rev().collect();
        let measured = summarize(&blocks, latencies).unwrap();
        assert_eq!(measured.transactions, 210);
        assert!((measured.committed_tx_per_s - 200.0).abs() < 1e-6, "{measured:?}");
        assert!((measured.block_interval_ms - 500.0).abs() < 1e-6, "{measured:?}");
        assert!((measured.commit_p50_ms - 106.0).abs() < 1e-6, "{measured:?}");
        assert!((measured.commit_p99_ms - 208.0).abs() < 1e-6, "{measured:?}");
    }

    #[test]
    fn one_block_is_no_measurement() {
        assert!(summarize(&[(Instant::now(), 5)], vec![Duration::ZERO; 5]).is_err());
        assert!(summarize(&[], Vec::new()).is_err());
    }
}
