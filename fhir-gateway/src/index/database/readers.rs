//! The connections that read a file of SQLite.
//!
//! To open one costs as much as some searches, and each has pages of its own in memory: so there are few, who reads
//! waits for one, and the one that was used last is used first.

use std::{path::PathBuf, thread};

use parking_lot::{Condvar, Mutex};

use super::{Answer, Connection, sqlite};

/// Connections for each core: one reads while another waits for the disk, or takes long.
const PER_CORE: usize = 4;
/// Least connections, and most.
const BOUNDS: (usize, usize) = (8, 32);
/// Memory for pages of all of them together, in KiB.
const CACHE_KIB: usize = 16_000;

/// Connections to one file.
pub struct Readers {
    path: PathBuf,
    /// Its key, in hexadecimal.
    key: String,
    most: usize,
    lent: Mutex<Lent>,
    returned: Condvar,
}

#[derive(Default)]
struct Lent {
    idle: Vec<Connection>,
    /// How many are in use.
    count: usize,
}

/// A connection that is in use. It is closed when this is dropped, unless it is given back.
struct Reading<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut lent = self.readers.lent.lock();
        lent.count -= 1;
        lent.idle.extend(self.connection.take());
        drop(lent);
        self.readers.returned.notify_one();
    }
}

impl Readers {
    /// None yet, to the file at `path`.
    pub fn of(path: PathBuf, key: String) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let most = (cores * PER_CORE).clamp(BOUNDS.0, BOUNDS.1);
        Self { path, key, most, lent: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs `work` on one of them, once one is free. It must not ask for another.
    pub fn with<T>(&self, work: impl FnOnce(&Connection) -> Answer<T>) -> Answer<T> {
        let mut lent = self.lent.lock();
        while lent.count >= self.most {
            self.returned.wait(&mut lent);
        }
        lent.count += 1;
        let idle = lent.idle.pop();
        drop(lent);
        // From here on it is counted, whatever happens.
        let mut reading = Reading { readers: self, connection: None };
        let connection = match idle {
            Some(connection) => connection,
            None => Connection::Sqlite(sqlite::connect(&self.path, &self.key, self.access())?),
        };
        let answer = work(&connection)?;
        reading.connection = Some(connection);
        Ok(answer)
    }

    fn access(&self) -> sqlite::Access {
        sqlite::Access::Read { cache_kib: u32::try_from(CACHE_KIB / self.most).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::{Duration, Instant},
    };

    use super::*;
    use crate::index::database::Fault;

    fn readers() -> (tempfile::TempDir, Readers) {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, key) = (directory.path().join("index.db"), "03".repeat(32));
        let writer = sqlite::connect(&path, &key, sqlite::Access::Write).expect("opens");
        writer.execute_batch("CREATE TABLE t (n INTEGER)").expect("a table");
        (directory, Readers::of(path, key))
    }

    /// Of a hundred that ask at once, so many read at the same time, and all get their turn.
    #[test]
    fn no_more_read_at_the_same_time_than_there_are_connections() {
        let (_directory, readers) = readers();
        let (now, most, all) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let deadline = Instant::now() + Duration::from_secs(60);
        thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    let read = readers.with(|connection| {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        // Until there are as many as may be, once.
                        while most.load(Ordering::SeqCst) < readers.most && Instant::now() < deadline {
                            thread::yield_now();
                        }
                        let rows = connection.query("SELECT count(*) FROM t", Vec::new());
                        now.fetch_sub(1, Ordering::SeqCst);
                        rows
                    });
                    assert_eq!(read.expect("reads")[0].integer(0), Ok(0));
                    all.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!((most.into_inner(), all.into_inner()), (readers.most, 100));
        assert_eq!(readers.lent.lock().count, 0);
        assert!(readers.lent.lock().idle.len() <= readers.most);
    }

    #[test]
    fn a_connection_whose_work_failed_or_panicked_is_closed_and_keeps_nobody_out() {
        let (_directory, readers) = readers();
        for _ in 0..=readers.most {
            assert_eq!(readers.with(|_| Err::<(), _>(Fault::Shape)), Err(Fault::Shape));
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                readers.with(|_| -> Answer<()> { panic!("within the work") })
            }));
            assert!(panicked.is_err());
        }
        assert!(readers.lent.lock().idle.is_empty());
        assert!(readers.with(|connection| connection.query("SELECT 1", Vec::new())).is_ok());
        assert_eq!(readers.lent.lock().idle.len(), 1);
    }

    #[test]
    fn a_file_that_does_not_open_keeps_nobody_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let readers = Readers::of(directory.path().join("none.db"), "03".repeat(32));
        for _ in 0..=readers.most {
            assert!(readers.with(|_| Ok(())).is_err());
        }
        assert_eq!(readers.lent.lock().count, 0);
    }
}
