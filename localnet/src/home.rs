//! A home: the folder of one network, or of the demo.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Doing, Failure};

/// How often a condition is looked at while waiting for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a home holds, besides a folder for each validator.
const CONTENTS: [&str; 12] = [
    "client",
    "demo.env",
    "gateways",
    "generated",
    "ledger",
    "localnet.env",
    "logs",
    "network.json",
    "pids",
    "plan.json",
    "run",
    "story",
];

/// The home at a path, however it was written.
pub fn absolute(home: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(home).doing(|| format!("finding {}", home.display()))
}

/// Removes a home, and only a home: anything else in that place is left alone.
pub fn remove(home: &Path) -> Result<(), Failure> {
    let ours = BTreeSet::from(CONTENTS);
    for entry in fs::read_dir(home).doing(|| format!("reading {}", home.display()))? {
        let name = entry.doing(|| format!("reading {}", home.display()))?.file_name();
        let name = name.to_string_lossy();
        let is_validator = name.strip_prefix('v').is_some_and(|rest| rest.parse::<usize>().is_ok());
        if !is_validator && !ours.contains(&*name) {
            return Err(Failure::Needs(format!("{} holds {name}, which is not of a network", home.display())));
        }
    }
    fs::remove_dir_all(home).doing(|| format!("removing {}", home.display()))
}

/// Waits until a condition holds.
pub fn wait(what: &str, time_max: Duration, mut condition: impl FnMut() -> bool) -> Result<(), Failure> {
    let started = Instant::now();
    while !condition() {
        if started.elapsed() > time_max {
            return Err(Failure::Check(format!("waited {} s for {what}", time_max.as_secs())));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
