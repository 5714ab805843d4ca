//! The log that goes ahead of a file of SQLite (WAL), and how its pages get into the file.
//!
//! SQLite moves them within the commit that made the log long, and whoever waits for that commit waits for the disk. Here
//! a thread with a connection of its own moves them while others write. A log begins anew only where all of it is in
//! the file and nobody reads it any more, which the thread alone does not reach beside who writes: so the commit itself
//! moves the last few, and syncs the file.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use rusqlite::{DEFAULT_NAME, ErrorCode, hooks::Wal, wal::CheckpointMode};

use super::{Answer, Fault, sqlite};

/// Pages that were changed before they are moved, 16 MB: most are changed again soon.
const LONG_PAGES: u32 = if cfg!(test) { 64 } else { 8_000 };
/// Pages from which on a log should begin anew.
const OLD_PAGES: u32 = 2 * LONG_PAGES;
/// So many a commit moves, for the log to begin anew.
const FEW_PAGES: u32 = LONG_PAGES / 4;
/// Pages from which on a commit moves all that there are.
const TOO_LONG_PAGES: u32 = 6 * LONG_PAGES;
/// Pages between two attempts of commits: what a reader needs stays.
const RETRY_PAGES: u32 = FEW_PAGES / 4;

/// What moves the log of one file, until [`Self::end`].
pub struct Log {
    #[cfg(test)]
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
    /// Whether they could not be moved the last time.
    is_refused: AtomicBool,
}

impl Log {
    /// The log of the file at `path`, to which `writer` alone adds.
    pub fn of(path: &Path, key: &str, writer: &mut rusqlite::Connection) -> Answer<Self> {
        let state = Arc::new(State::default());
        let (wake, woken) = mpsc::sync_channel(1);
        let connection = sqlite::connect(path, key, sqlite::Access::Write)?;
        let moving = Arc::clone(&state);
        let thread = thread::Builder::new().name("index-log".to_owned());
        let started = thread.spawn(move || {
            while woken.recv().is_ok() {
                moving.move_pages(|| connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE));
                // Who committed meanwhile asked again for what was done.
                let _ = woken.try_recv();
            }
        });
        let mover = started.map_err(|error| tracing::error!(%error, "the log of the index has no thread")).ok();
        let counting = Arc::clone(&state);
        let mut tried = 0;
        let committed = move |log: &mut Wal, pages: i32| {
            counting.committed(u32::try_from(pages).unwrap_or_default(), &mut tried, log, &wake);
            Ok(())
        };
        if mover.is_some() {
            writer.wal_hook(Some(committed)).map_err(sqlite::fault)?;
        } else {
            writer.pragma_update(None, "wal_autocheckpoint", LONG_PAGES).map_err(sqlite::fault)?;
        }
        Ok(Self {
            #[cfg(test)]
            state,
            mover,
        })
    }

    /// Closes the connection that moves, before the one that writes is closed: of two that are closed at once, neither
    /// takes itself for the last, which puts all into the file.
    pub fn end(&mut self, writer: &mut rusqlite::Connection) {
        if let Err(refused) = writer.wal_hook(None::<fn(&mut Wal, i32) -> rusqlite::Result<()>>) {
            tracing::error!(fault = ?sqlite::fault(refused), "the thread of the log of the index is not waited for");
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
        let left = || pages.saturating_sub(self.moved.load(Ordering::Relaxed));
        let is_nearly_moved = pages >= OLD_PAGES && left() <= FEW_PAGES;
        let is_due = pages >= *tried + RETRY_PAGES;
        if (is_nearly_moved || pages >= TOO_LONG_PAGES)
            && is_due
            && self.move_pages(|| log.checkpoint_v2(CheckpointMode::PASSIVE))
        {
            *tried = pages;
        }
        if left() >= LONG_PAGES {
            // Full where somebody asked already.
            let _ = wake.try_send(());
        }
    }

    /// Moves what no reader needs; false where another connection is about it, or it cannot be done. What stays is moved
    /// after a later commit.
    fn move_pages(&self, checkpoint: impl FnOnce() -> rusqlite::Result<(i32, i32)>) -> bool {
        let moved = match checkpoint().map_err(sqlite::fault) {
            Ok((_, moved)) => u32::try_from(moved).unwrap_or_default(),
            Err(Fault::Sqlite(Some(ErrorCode::DatabaseBusy))) => return false,
            Err(fault) => {
                if !self.is_refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(?fault, "the log of the search index cannot be put into its file");
                }
                return false;
            }
        };
        self.is_refused.store(false, Ordering::Relaxed);
        // More than there are were moved before the log began anew.
        if moved <= self.pages.load(Ordering::Relaxed) {
            self.moved.store(moved, Ordering::Relaxed);
        }
        true
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
        fn path(&self) -> std::path::PathBuf {
            self.directory.path().join("index.db")
        }

        /// Commits a row of ten pages; how long the log is then.
        fn add(&self) -> u32 {
            self.writer.execute_batch("INSERT INTO t (b) VALUES (randomblob(20000))").expect("is written");
            self.log.state.pages.load(Ordering::Relaxed)
        }

        fn moved(&self) -> u32 {
            self.log.state.moved.load(Ordering::Relaxed)
        }

        /// Commits rows until one finds what is looked for.
        fn add_until(&self, found: impl Fn(u32) -> bool) {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !found(self.add()) {
                assert!(Instant::now() < deadline, "not within a minute");
            }
        }
    }

    #[test]
    fn a_long_log_is_moved_while_nobody_writes_and_begins_anew() {
        let file = file();
        while file.add() < LONG_PAGES {}
        let deadline = Instant::now() + Duration::from_secs(60);
        while file.moved() < LONG_PAGES {
            assert!(Instant::now() < deadline, "{} pages", file.moved());
            thread::yield_now();
        }
        assert!(file.add() < LONG_PAGES / 2);
    }

    #[test]
    fn a_log_begins_anew_while_somebody_writes() {
        let file = file();
        for _ in 0..3 {
            let long = file.add();
            file.add_until(|pages| pages < long);
            file.add_until(|pages| pages > LONG_PAGES);
        }
    }

    #[test]
    fn a_log_that_a_reader_needs_begins_anew_when_it_does_not() {
        let file = file();
        let reader = sqlite::connect(&file.path(), KEY, sqlite::Access::Read { cache_kib: 100 }).expect("opens");
        file.add();
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").expect("reads");
        let longest = (0..200).map(|_| file.add()).max().expect("some");
        assert!(longest > 200 * 9, "{longest} pages");
        reader.execute_batch("COMMIT").expect("ends");
        file.add_until(|pages| pages < longest);
    }

    /// Writers that outrun the disk are not held up for each other's sake, and what they wrote is all there.
    #[test]
    fn what_was_written_fast_is_in_the_file_once_it_is_closed() {
        let mut file = file();
        (0..1000).for_each(|_| {
            file.add();
        });
        file.log.end(&mut file.writer);
        let File { directory, writer, .. } = file;
        drop(writer);
        let path = directory.path().join("index.db");
        assert!(!directory.path().join("index.db-wal").exists(), "nobody has it open");
        let again = sqlite::connect(&path, KEY, sqlite::Access::Write).expect("opens");
        let rows: i64 = again.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("counts");
        assert_eq!(rows, 1000);
    }
}
