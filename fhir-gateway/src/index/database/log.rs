//! The log that goes ahead of a file of SQLite (WAL), and how its pages get into the file.
//!
//! SQLite moves them within the commit that made the log long, and whoever waits for that commit waits for the disk. Here
//! a thread with a connection of its own moves them while others write. A log begins anew only where all of it is in
//! the file, which is never so while somebody writes: so the commit itself moves the last few.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use rusqlite::{DEFAULT_NAME, hooks::Wal, wal::CheckpointMode};

use super::{Answer, sqlite};

/// Pages that were changed before they are moved, 16 MB: most are changed again soon.
const LONG_PAGES: u32 = if cfg!(test) { 64 } else { 8_000 };
/// Pages from which on a log should begin anew.
const OLD_PAGES: u32 = 2 * LONG_PAGES;
/// Pages that a commit may move, so that it does.
const FEW_PAGES: u32 = LONG_PAGES / 4;
/// Pages from which on a commit moves all that there are.
const TOO_LONG_PAGES: u32 = 6 * LONG_PAGES;

/// What moves the log of one file, until [`Self::end`].
pub struct Log {
    #[cfg_attr(not(test), expect(dead_code, reason = "the commits and the thread have it too"))]
    state: Arc<State>,
    mover: Option<thread::JoinHandle<()>>,
}

/// How far it is, in pages.
#[derive(Default)]
struct State {
    /// In the log, as the last commit left it.
    pages: AtomicU32,
    /// Of these, in the file too.
    moved: AtomicU32,
}

impl Log {
    /// The log of the file at `path`, to which `writer` alone adds.
    pub fn of(path: &Path, key: &str, writer: &mut rusqlite::Connection) -> Answer<Self> {
        let state = Arc::new(State::default());
        let (wake, woken) = mpsc::sync_channel(1);
        let mover = sqlite::connect(path, key, sqlite::Access::Write)?;
        let moving = Arc::clone(&state);
        let thread = thread::Builder::new().name("index-log".to_owned());
        let started = thread.spawn(move || {
            while woken.recv().is_ok() {
                moving.move_pages(|| mover.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE));
            }
        });
        // Without it, commits do what it would.
        let started = started.map_err(|error| tracing::error!(%error, "the log of the index has no thread"));
        let counting = Arc::clone(&state);
        let mut tried = 0;
        let committed = move |log: &mut Wal, pages: i32| {
            counting.committed(u32::try_from(pages).unwrap_or_default(), &mut tried, log, &wake);
            Ok(())
        };
        writer.wal_hook(Some(committed)).map_err(sqlite::fault)?;
        Ok(Self { state, mover: started.ok() })
    }

    /// Closes the connection that moves, before the one that writes is closed: of two that are closed at once, neither
    /// takes itself for the last, which puts all into the file.
    pub fn end(&mut self, writer: &mut rusqlite::Connection) {
        if let Err(refused) = writer.wal_hook(None::<fn(&mut Wal, i32) -> rusqlite::Result<()>>) {
            tracing::error!(fault = ?sqlite::fault(refused), "the log of the index is moved on");
            return;
        }
        if self.mover.take().is_some_and(|mover| mover.join().is_err()) {
            tracing::error!("the thread that moves the log of the index broke off");
        }
    }
}

impl State {
    /// After a commit, which stands whatever comes of this. `tried` is how long the log was when a commit last moved
    /// pages.
    fn committed(&self, pages: u32, tried: &mut u32, log: &mut Wal, wake: &mpsc::SyncSender<()>) {
        if pages < self.pages.swap(pages, Ordering::Relaxed) {
            self.moved.store(0, Ordering::Relaxed);
            *tried = 0;
        }
        let left = pages.saturating_sub(self.moved.load(Ordering::Relaxed));
        let is_nearly_moved = pages >= OLD_PAGES && left <= FEW_PAGES;
        if is_nearly_moved || pages >= TOO_LONG_PAGES {
            // Not at each commit: what a reader needs stays. The thread is left to end what it is at.
            if pages >= *tried + FEW_PAGES {
                *tried = pages;
                self.move_pages(|| log.checkpoint_v2(CheckpointMode::PASSIVE));
            }
        } else if left >= LONG_PAGES {
            // Full where it is awake already.
            let _ = wake.try_send(());
        }
    }

    /// Moves what no reader needs. What cannot be moved now, as on a full disk or while another connection is about it,
    /// is moved after a later commit; and who writes is told by its own commit.
    fn move_pages(&self, checkpoint: impl FnOnce() -> rusqlite::Result<(i32, i32)>) {
        match checkpoint() {
            Ok((_, moved)) => self.moved.store(u32::try_from(moved).unwrap_or_default(), Ordering::Relaxed),
            Err(refused) => tracing::debug!(fault = ?sqlite::fault(refused), "the log of the index stays as it is"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const KEY: &str = "0505050505050505050505050505050505050505050505050505050505050505";

    struct File {
        directory: tempfile::TempDir,
        writer: rusqlite::Connection,
        log: Log,
    }

    fn file() -> File {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("index.db");
        let mut writer = sqlite::connect(&path, KEY, sqlite::Access::Write).expect("opens");
        writer.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB)").expect("a table");
        let log = Log::of(&path, KEY, &mut writer).expect("a log");
        File { directory, writer, log }
    }

    impl File {
        /// Commits a row of ten pages; how long the log is then.
        fn add(&self) -> u32 {
            self.writer.execute_batch("INSERT INTO t (b) VALUES (randomblob(20000))").expect("is written");
            self.log.state.pages.load(Ordering::Relaxed)
        }

        fn moved(&self) -> u32 {
            self.log.state.moved.load(Ordering::Relaxed)
        }

        /// Waits until the thread has moved what it was woken for.
        fn wait_for_moved(&self, pages: u32) {
            let deadline = Instant::now() + Duration::from_secs(60);
            while self.moved() < pages {
                assert!(Instant::now() < deadline, "{} of {pages} pages", self.moved());
                thread::yield_now();
            }
        }
    }

    #[test]
    fn a_long_log_is_moved_while_nobody_writes_and_begins_anew() {
        let file = file();
        let mut long = 0;
        while long < LONG_PAGES {
            long = file.add();
        }
        file.wait_for_moved(long);
        assert!(file.add() < LONG_PAGES / 2);
    }

    #[test]
    fn a_log_is_bounded_however_fast_is_written() {
        let file = file();
        let pages: Vec<u32> = (0..1000).map(|_| file.add()).collect();
        let begun_anew = pages.windows(2).filter(|two| two[1] < two[0]).count();
        // Each row adds ten. While the thread is at it, a commit leaves it to it.
        assert!(begun_anew >= 3, "{begun_anew} times within {:?} pages", pages.iter().max());
        let File { directory, mut writer, mut log } = file;
        log.end(&mut writer);
        drop(writer);
        assert!(!directory.path().join("index.db-wal").exists(), "nobody has it open");
        let again = sqlite::connect(&directory.path().join("index.db"), KEY, sqlite::Access::Write).expect("opens");
        let rows: i64 = again.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("counts");
        assert_eq!(rows, 1000);
    }

    #[test]
    fn a_log_that_a_reader_needs_begins_anew_when_it_does_not() {
        let file = file();
        let path = file.directory.path().join("index.db");
        let reader = sqlite::connect(&path, KEY, sqlite::Access::Read { cache_kib: 100 }).expect("opens");
        file.add();
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").expect("reads");
        let longest = (0..200).map(|_| file.add()).max().expect("some");
        assert!(longest > 200 * 9, "{longest} pages");
        reader.execute_batch("COMMIT").expect("ends");
        assert!((0..20).any(|_| file.add() < longest));
    }
}
