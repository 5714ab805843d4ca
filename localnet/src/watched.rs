//! What processes compute and how much memory they hold, as the system counts it: from outside, so that servers of any
//! make are looked at alike.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// What Linux counts processor time in, for programs.
const TICKS_PER_SECOND: u64 = 100;

/// Processes that together are one server.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    processes: Vec<u32>,
}

impl Watched {
    /// The server whose processes have these ids.
    pub fn new(processes: impl Into<Vec<u32>>) -> Self {
        Self { processes: processes.into() }
    }

    /// How long they and what they started have computed so far, on all cores; none where the system does not say. Unlike
    /// times on the clock, it says what a request costs whatever else the machine does.
    pub fn computed(&self) -> Option<Duration> {
        if self.processes.is_empty() {
            return None;
        }
        let all = all_processes()?;
        self.processes.iter().map(|process| of_family(&all, *process)).sum()
    }

    /// The most memory that each of them held at once, in bytes, together; none where the system does not say. What they
    /// started is not in it: processes of one program share memory, which would be counted several times.
    pub fn peak_memory_bytes(&self) -> Option<u64> {
        if self.processes.is_empty() {
            return None;
        }
        self.processes.iter().map(|process| peak_memory_bytes(*process)).sum()
    }
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Of itself, and of those that it started, waited for and that have ended.
    computed: Duration,
}

fn all_processes() -> Option<HashMap<u32, Stat>> {
    let entries = fs::read_dir("/proc").ok()?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // One that has ended meanwhile is left out.
    Some(numbers.filter_map(|id| Some((id, stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?))).collect())
}

/// A process and, in turn, those that it started.
fn of_family(all: &HashMap<u32, Stat>, process: u32) -> Option<Duration> {
    let own = all.get(&process)?.computed;
    let children = all.iter().filter(|(_, stat)| stat.parent == process);
    Some(own + children.filter_map(|(child, _)| of_family(all, *child)).sum::<Duration>())
}

/// The 4th and the 14th to 17th of the fields of `/proc/PID/stat`, of which the second, in parentheses, may hold blanks
/// (proc(5)).
fn stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let parent = fields.get(1)?.parse().ok()?;
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(Stat { parent, computed: Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND) })
}

fn peak_memory_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_programs_and_of_the_system_for_them_and_for_their_dead() {
        let text = "71 (a (b) c) S 9 71 71 0 -1 4194560 9 8 7 6 250 30 15 5 20 0 9 0 4711 1 2";
        assert_eq!(stat(text), Some(Stat { parent: 9, computed: Duration::from_millis(3_000) }));
        assert_eq!(stat("71 (a) S 1"), None);
    }

    #[test]
    fn what_a_process_started_counts_and_what_others_did_does_not() {
        let one = |parent, seconds| Stat { parent, computed: Duration::from_secs(seconds) };
        let all = HashMap::from([(1, one(0, 100)), (7, one(1, 1)), (8, one(7, 10)), (9, one(8, 20)), (10, one(1, 50))]);
        assert_eq!(of_family(&all, 7), Some(Duration::from_secs(31)));
        assert_eq!(of_family(&all, 11), None);
    }

    #[test]
    fn a_server_of_no_process_is_not_known() {
        assert_eq!(Watched::default().computed(), None);
        assert_eq!(Watched::default().peak_memory_bytes(), None);
    }
}
