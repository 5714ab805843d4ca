//! Versions gather before they are put into the tables, and nobody sees the tables without them.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{
        behind::{GATHERED_MAX, Gathering as Bounds, REFUSED_FOR, Tables, WAITING_BYTES_MAX, WAITING_MAX},
        database::Fault,
    },
    *,
};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

struct Gathering {
    directory: tempfile::TempDir,
    tables: Arc<Tables>,
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.tables.close();
    }
}

fn gathering(time: Duration) -> Gathering {
    within(Bounds { time, versions: GATHERED_MAX })
}

/// Nothing is put into the tables unless somebody reads, or there is no room.
fn never() -> Gathering {
    within(Bounds { time: LONG, versions: usize::MAX })
}

fn within(bounds: Bounds) -> Gathering {
    let directory = tempfile::tempdir().expect("a directory");
    let (place, _) = Place::file(directory.path().join("index.db"), &[3; 32]).expect("opens");
    place.with_writer(|writer| schema::prepare(writer, 0)).expect("tables");
    Gathering { tables: Tables::at(place, BASE, ORGANIZATION, bounds), directory }
}

impl Gathering {
    /// A group of `count` tasks behind the change `before`.
    fn put(&self, before: u64, count: usize) -> Answer<bool> {
        self.put_like(TASK, before, count)
    }

    fn put_like(&self, body: &str, before: u64, count: usize) -> Answer<bool> {
        let through = before + count as u64;
        let versions: Vec<_> = (before + 1..=through).map(|number| stored(&format!("t{number}"), body)).collect();
        let listed: Vec<_> = (before + 1..).zip(&versions).map(|(number, stored)| Listed::of(number, stored)).collect();
        self.tables.put_after(before, through, &listed, &versions)
    }

    /// What a connection of its own finds in the file: tasks, versions, last change.
    fn in_the_file(&self) -> (i64, i64, i64) {
        let (place, _) = Place::file(self.directory.path().join("index.db"), &[3; 32]).expect("opens");
        place.with_reader(found).expect("reads")
    }

    fn wait_for(&self, expected: (i64, i64, i64)) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.in_the_file() != expected {
            assert!(Instant::now() < deadline, "{:?} is not {expected:?}", self.in_the_file());
            thread::yield_now();
        }
    }

    /// Lets the file grow by so many pages; or as it likes.
    fn bound(&self, pages: Option<i64>) {
        let bound = |writer: &Connection| {
            let size = writer.query("PRAGMA page_count", Vec::new())?[0].integer(0)?;
            let most = pages.map_or(i64::from(i32::MAX), |pages| size + pages);
            writer.query(&format!("PRAGMA max_page_count = {most}"), Vec::new())
        };
        self.tables.place().with_writer(bound).expect("bounded");
    }

    /// What readers find, once the tables take again what they refused.
    fn found_later(&self) -> (i64, i64, i64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.tables.with_reader(found) {
                Ok(found) => return found,
                Err(fault) => assert!(Instant::now() < deadline, "{fault:?}"),
            }
            thread::yield_now();
        }
    }
}

const TASK: &str = r#"{"resourceType":"Task","status":"requested","intent":"order","code":{"text":"some words"}}"#;

fn found(connection: &Connection) -> Answer<(i64, i64, i64)> {
    let count = |sql: &str| connection.query(sql, Vec::new())?[0].integer(0);
    Ok((count("SELECT count(*) FROM resource")?, count("SELECT count(*) FROM history")?, schema::applied(connection)?))
}

#[test]
fn whoever_reads_finds_all_that_was_put_before() {
    let gathering = gathering(LONG);
    let mut before = 0;
    for count in [1, 3, 1, 7] {
        assert_eq!(gathering.put(before, count), Ok(true));
        assert_eq!(gathering.in_the_file().2, i64::try_from(before).expect("few"), "it waits for others");
        assert_eq!(gathering.put(before + count as u64, 1), Ok(true));
        before += count as u64 + 1;
        let all = i64::try_from(before).expect("few");
        assert_eq!(gathering.tables.with_reader(found), Ok((all, all, all)));
        assert_eq!(gathering.in_the_file(), (all, all, all), "in one transaction");
    }
}

#[test]
fn a_write_finds_all_that_was_put_before() {
    let gathering = gathering(LONG);
    assert_eq!(gathering.put(0, 2), Ok(true));
    let write = |connection: &Connection, _: &write::Context<'_>| {
        let found = found(connection);
        schema::set_applied(connection, 7)?;
        found
    };
    assert_eq!(gathering.tables.write(write), Ok((2, 2, 2)));
    assert_eq!(gathering.put(2, 1), Ok(false), "another change was the last");
    assert_eq!(gathering.put(7, 1), Ok(true));
    assert_eq!(gathering.tables.with_reader(found), Ok((3, 3, 8)));
}

#[test]
fn versions_that_gathered_long_enough_are_put_there_without_anybody_who_reads() {
    let gathering = gathering(Duration::from_millis(1));
    for before in [0, 1, 2] {
        assert_eq!(gathering.put(before, 1), Ok(true));
        let all = i64::try_from(before + 1).expect("few");
        gathering.wait_for((all, all, all));
    }
}

#[test]
fn enough_versions_gather_no_longer() {
    let gathering = gathering(LONG);
    let all = i64::try_from(GATHERED_MAX).expect("few");
    assert_eq!(gathering.put(0, 1), Ok(true));
    assert_eq!(gathering.in_the_file(), (0, 0, 0));
    assert_eq!(gathering.put(1, GATHERED_MAX - 1), Ok(true));
    gathering.wait_for((all, all, all));
}

#[test]
fn what_waits_is_put_there_at_the_end() {
    let gathering = gathering(LONG);
    assert_eq!(gathering.put(0, 2), Ok(true));
    gathering.tables.close();
    assert_eq!(gathering.in_the_file(), (2, 2, 2));
}

/// The writers of what waits were answered: their changes may be late, and may not be missing.
#[test]
fn while_the_file_takes_no_more_readers_and_writers_are_told_so_and_nothing_is_missing_afterwards() {
    let gathering = never();
    gathering.bound(Some(0));
    assert_eq!(gathering.put(0, 100), Ok(true), "nobody knows yet");
    assert_eq!(gathering.tables.with_reader(found), Err(Fault::Full));
    assert_eq!(gathering.put(100, 1), Err(Fault::Full), "no more wait");
    assert_eq!(gathering.tables.with_reader(found), Err(Fault::Full), "and still");
    gathering.bound(None);
    assert_eq!(gathering.found_later(), (100, 100, 100));
    assert_eq!(gathering.put(100, 1), Ok(true));
    assert_eq!(gathering.tables.with_reader(found), Ok((101, 101, 101)));
}

/// Each reader tried anew what had just been refused, with all that it takes to read it.
#[test]
fn what_was_refused_is_tried_again_a_moment_later_and_not_by_each_who_reads() {
    let gathering = never();
    gathering.bound(Some(0));
    assert_eq!(gathering.put(0, 100), Ok(true));
    let began = Instant::now();
    assert_eq!(gathering.tables.with_reader(found), Err(Fault::Full));
    gathering.bound(None);
    let told = gathering.tables.with_reader(found);
    assert!(told == Err(Fault::Full) || began.elapsed() >= REFUSED_FOR, "it was tried at once");
    assert_eq!(gathering.found_later(), (100, 100, 100));
}

#[test]
fn a_group_that_is_refused_keeps_out_none_before_it() {
    let gathering = never();
    assert_eq!(gathering.put(0, 1), Ok(true));
    assert_eq!(gathering.tables.with_reader(found), Ok((1, 1, 1)));
    gathering.bound(Some(4));
    assert_eq!(gathering.put(1, 1), Ok(true));
    assert_eq!(gathering.put(2, 400), Ok(true));
    assert_eq!(gathering.put(402, 1), Ok(true));
    assert_eq!(gathering.tables.with_reader(found), Err(Fault::Full));
    assert_eq!(gathering.in_the_file(), (2, 2, 2), "what fits is there");
    gathering.bound(None);
    assert_eq!(gathering.found_later(), (403, 403, 403));
}

#[test]
fn no_more_wait_than_may() {
    for (body, most) in [(TASK.to_owned(), WAITING_MAX), (large(WAITING_BYTES_MAX / 20), 20)] {
        let gathering = never();
        gathering.bound(Some(0));
        let refused = (0..).map(|before| gathering.put_like(&body, before, 1)).position(|put| put == Err(Fault::Full));
        let waited = refused.expect("there is no end of it");
        assert!((most - 2..=most).contains(&waited), "{waited} of {most} wait");
    }
}

/// Their bodies would be in memory beside those that are worked on.
#[test]
fn large_bodies_do_not_wait() {
    let gathering = never();
    assert_eq!(gathering.put_like(&large(WAITING_BYTES_MAX / 2), 0, 1), Ok(true));
    assert_eq!(gathering.in_the_file(), (1, 1, 1));
}

#[test]
fn tables_that_refuse_what_waits_can_be_emptied_and_forget_it() {
    let gathering = never();
    gathering.bound(Some(0));
    assert_eq!(gathering.put(0, 100), Ok(true));
    assert_eq!(gathering.tables.with_reader(found), Err(Fault::Full));
    gathering.bound(None);
    gathering.tables.clear().expect("emptied");
    assert_eq!(gathering.tables.with_reader(found), Ok((0, 0, 0)));
    assert_eq!(gathering.put(0, 1), Ok(true));
    assert_eq!(gathering.tables.with_reader(found), Ok((1, 1, 1)));
}

/// A task of about so many bytes.
fn large(bytes: usize) -> String {
    TASK.replace("some words", &"x".repeat(bytes))
}

/// Each change is found by whoever reads after its writer was answered.
#[test]
fn nobody_who_reads_beside_writers_misses_what_was_answered() {
    let gathering = gathering(Duration::from_millis(1));
    let answered = std::sync::atomic::AtomicI64::new(0);
    let order = std::sync::atomic::Ordering::SeqCst;
    thread::scope(|scope| {
        scope.spawn(|| {
            for before in 0..400 {
                assert_eq!(gathering.put(before, 1), Ok(true));
                answered.store(i64::try_from(before + 1).expect("few"), order);
            }
        });
        for _ in 0..3 {
            scope.spawn(|| {
                while answered.load(order) < 400 {
                    let least = answered.load(order);
                    let (tasks, versions, last) = gathering
                        .tables
                        .with_reader(|reader| reader.within(database::Purpose::Read, found))
                        .expect("reads");
                    assert!(least <= last && tasks == last && versions == last, "{least}, {tasks}, {versions}, {last}");
                }
            });
        }
    });
}
