//! Finding ports on loopback that nobody uses, and keeping them while a node that uses them is down.

use std::env;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use crate::failure::{Doing, Failure};

/// Above this the system hands out ports for outgoing connections, which come and go.
const EPHEMERAL_PORTS_FROM: u16 = 32_768;

/// Ranges begin at multiples of this, so that two of them are the same or apart.
pub const RANGE_PORTS_MAX: u16 = 50;

/// A range of ports, ours for as long as this value or its process lives.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

/// Held while ports are chosen and handed over to the supervisor that keeps them.
#[derive(Debug)]
pub struct Choosing {
    _lock: File,
}

/// Waits until nobody else on this machine chooses ports.
pub fn choose() -> Result<Choosing, Failure> {
    let lock = open("choosing")?;
    lock.lock().doing(|| "waiting for another network that chooses its ports".into())?;
    Ok(Choosing { _lock: lock })
}

impl Choosing {
    /// The first of `count` ports in a row, at `from` or above, that nobody uses or claims.
    pub fn find(&self, from: u16, count: u16) -> Result<u16, Failure> {
        assert!(count <= RANGE_PORTS_MAX, "a manifest allows fewer ports than a range has");
        let start = range_of(from);
        (start..EPHEMERAL_PORTS_FROM - RANGE_PORTS_MAX)
            .step_by(usize::from(RANGE_PORTS_MAX))
            .find(|first| claim(*first).is_ok() && (*first..first + count).all(is_free))
            .ok_or_else(|| Failure::Needs(format!("no {count} free ports between {start} and {EPHEMERAL_PORTS_FROM}")))
    }
}

/// The first port of the range that `port` lies in.
pub fn range_of(port: u16) -> u16 {
    port - port % RANGE_PORTS_MAX
}

/// Claims the range that begins at `first`.
///
/// # Errors
/// When another process claims it.
pub fn claim(first: u16) -> Result<Claim, Failure> {
    let lock = open(&first.to_string())?;
    match lock.try_lock() {
        Ok(()) => Ok(Claim { _lock: lock }),
        Err(_) => Err(Failure::Needs(format!("another network uses the ports from {first}"))),
    }
}

fn open(name: &str) -> Result<File, Failure> {
    let file: PathBuf = env::temp_dir().join(format!("careledger-ports-{name}.lock"));
    File::options().create(true).truncate(false).write(true).open(&file).doing(|| format!("opening {}", file.display()))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_is_used_or_claimed_is_passed_over() {
        let choosing = choose().unwrap();
        let first = choosing.find(20_000, 8).unwrap();
        let _used = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 3)).unwrap();
        let second = choosing.find(first, 8).unwrap();
        assert!(second >= first + RANGE_PORTS_MAX, "{second} overlaps {first}");
        let claimed = claim(second).unwrap();
        assert!(claim(second).is_err(), "a range was claimed twice");
        let third = choosing.find(second, 8).unwrap();
        assert!(third >= second + RANGE_PORTS_MAX, "{third} overlaps {second}");
        drop(claimed);
        assert_eq!(choosing.find(second, 8).unwrap(), second, "a claim ends with its holder");
    }

    #[test]
    fn ports_of_outgoing_connections_are_never_taken() {
        for from in [32_760, u16::MAX] {
            assert!(choose().unwrap().find(from, 10).is_err(), "{from}");
        }
    }
}
