//! What becomes of the index when it is written, rebuilt, or read by others.

use super::*;

#[test]
fn a_new_version_replaces_what_the_old_one_said() {
    let fixture = fixture();
    let patient = |gender: &str| format!(r#"{{"resourceType":"Patient","id":"p","gender":"{gender}"}}"#);
    fixture.put("p", 1, 1, &patient("male"));
    fixture.put("p", 2, 2, &patient("other"));
    fixture.put("p", 1, 1, &patient("male"));
    assert_eq!(fixture.ids("Patient", "gender=male"), Vec::<String>::new());
    assert_eq!(fixture.ids("Patient", "gender=other"), ["p"]);
    assert_eq!(fixture.version("Patient", "p"), (Some(2)));
    fixture.delete("Patient", "p", 3);
    assert_eq!(fixture.page("Patient", "").1, Some(0));
    fixture.put("p", 4, 4, &patient("male"));
    assert_eq!(fixture.ids("Patient", "gender=male"), ["p"]);
    fixture.index.clear().expect("clears");
    assert_eq!(fixture.page("Patient", "").1, Some(0));
    assert_eq!(fixture.version("Patient", "p"), (None));
}

#[test]
fn the_file_shows_nothing_without_the_key() {
    let fixture = in_a_file();
    fixture.put("p", 1, 1, r#"{"resourceType":"Patient","name":[{"family":"canary"}]}"#);
    for file in std::fs::read_dir(fixture._directory.path()).expect("listed") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("read");
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
        assert!(!bytes.starts_with(b"SQLite format 3"));
    }
    let other = Index::open(&fixture._directory.path().join("index.db"), &[4; 32], BASE, ORGANIZATION);
    assert_eq!(other.err(), Some(Refusal::Internal("search index")));
}

#[test]
fn a_body_that_does_not_parse_keeps_nothing_else_out_of_the_index() {
    let fixture = fixture();
    let poisoned = stored("bad", r#"{"resourceType":"Task","requester":{"display":"\u0000"}}"#);
    let sound = stored("good", r#"{"resourceType":"Task","status":"requested","intent":"order"}"#);
    fixture.index.apply(2, &[], &[poisoned, sound]).expect("applies");
    assert_eq!(fixture.index.applied(), Ok(2));
    assert_eq!(fixture.ids("Task", "status=requested"), ["good"]);
    assert_eq!(fixture.ids("Task", "_id=bad"), ["bad"]);
}

#[test]
fn a_rebuild_that_was_interrupted_is_remembered_until_changes_are_applied() {
    let fixture = fixture();
    assert_eq!(fixture.index.rebuilt(), Ok(None));
    let half = Rebuilt { after: vec![7; 32], damaged: 2 };
    fixture.index.rebuild(&half, &[]).expect("remembered");
    assert_eq!(fixture.index.rebuilt(), Ok(Some(half)));
    fixture.index.put(3, &[]).expect("applied");
    assert_eq!((fixture.index.rebuilt(), fixture.index.applied()), (Ok(None), Ok(3)));
}

#[test]
fn writers_at_the_same_time_number_changes_one_after_the_other() {
    let fixture = fixture();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let fixture = &fixture;
            scope.spawn(move || {
                for number in 0..10 {
                    fixture.put(&format!("w{writer}-{number}"), 1, 1, r#"{"resourceType":"Patient","active":true}"#);
                }
            });
        }
    });
    let mut known: Vec<i64> = fixture.index.known(0, 100).expect("listed").iter().map(|known| known.number).collect();
    known.dedup();
    assert_eq!(known, (1..=40).collect::<Vec<i64>>());
    assert_eq!(fixture.ids("Patient", "active=true&_count=100").len(), 40);
}

#[test]
fn the_newest_change_of_each_type_is_told_as_far_as_it_is_applied() {
    let fixture = fixture();
    let listed = |sequence, resource_type: &str| Listed {
        sequence,
        resource_type: resource_type.to_owned(),
        id: format!("id-{sequence}"),
        version: 1,
        last_updated: 1,
        patient: None,
    };
    let versions = [(1, "Patient"), (2, "Observation"), (3, "Patient"), (4, "Condition")];
    fixture.index.list(&versions.map(|(sequence, name)| listed(sequence, name))).expect("listed");
    fixture.index.put(3, &[]).expect("applied");
    let newest = |after| {
        let mut found = fixture.index.newest_changes(after).expect("reads");
        found.of_types.sort();
        (found.of_types, found.through)
    };
    let of = |name: &str, sequence| (name.to_owned(), sequence);
    assert_eq!(newest(0), (vec![of("Observation", 2), of("Patient", 3)], 3));
    assert_eq!(newest(2), (vec![of("Patient", 3)], 3));
    assert_eq!(newest(3), (vec![], 3));
    assert_eq!(newest(7), (vec![], 7), "it is made anew, and is behind");
}

#[test]
fn changes_that_do_not_follow_what_is_applied_change_nothing() {
    let fixture = fixture();
    let listed = |sequence| Listed {
        sequence,
        resource_type: "Task".to_owned(),
        id: format!("id-{sequence}"),
        version: 1,
        last_updated: 1,
        patient: None,
    };
    assert_eq!(fixture.index.apply_after(1, 2, &[listed(2)], &[]), Ok(false), "it lacks the first");
    assert_eq!((fixture.index.applied(), fixture.index.newest_changes(0).expect("reads").of_types), (Ok(0), vec![]));
    assert_eq!(fixture.index.apply_after(0, 1, &[listed(1)], &[]), Ok(true));
    assert_eq!(fixture.index.apply_after(0, 1, &[listed(1)], &[]), Ok(false), "it has that");
    assert_eq!(fixture.index.apply_after(1, 3, &[listed(2), listed(3)], &[]), Ok(true));
    assert_eq!(fixture.index.applied(), Ok(3));
}

/// As SQLCipher encrypts when it is not told how.
fn of_an_earlier_program(path: &Path, key: &[u8; 32]) -> rusqlite::Connection {
    let earlier = rusqlite::Connection::open(path).expect("opens");
    earlier.pragma_update(None, "key", format!("x'{}'", hex::encode(key))).expect("a key");
    earlier.pragma_update(None, "journal_mode", "WAL").expect("a log");
    let tables = "CREATE TABLE progress (applied INTEGER, rebuilt TEXT, damaged INTEGER); INSERT INTO progress VALUES (7, '', 0);
         CREATE TABLE resource (id TEXT); INSERT INTO resource VALUES ('old')";
    earlier.execute_batch(tables).expect("written");
    earlier
}

#[test]
fn an_index_that_an_earlier_program_encrypted_otherwise_is_made_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("index.db");
    drop(of_an_earlier_program(&path, &[3; 32]));
    let index = Index::open(&path, &[3; 32], BASE, ORGANIZATION).expect("opens");
    assert_eq!(index.applied(), Ok(0), "all changes are applied again");
    let fixture = Fixture { _directory: directory, index };
    assert_eq!(fixture.page("Patient", "").1, Some(0));
    fixture.put("p", 1, 1, r#"{"resourceType":"Patient","gender":"male"}"#);
    drop(fixture.index);
    let index = Index::open(&path, &[3; 32], BASE, ORGANIZATION).expect("opens again");
    assert_eq!(index.known(0, 10).expect("listed").len(), 1, "it is made anew once");
}

#[test]
fn an_index_of_an_earlier_program_under_another_key_is_refused_and_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("index.db");
    drop(of_an_earlier_program(&path, &[3; 32]));
    let before = std::fs::read(&path).expect("a file");
    let refused = Index::open(&path, &[4; 32], BASE, ORGANIZATION);
    assert_eq!(refused.err(), Some(Refusal::Internal("search index")));
    assert_eq!(std::fs::read(&path).expect("a file"), before);
}

#[test]
fn what_an_index_had_applied_that_is_made_anew_is_remembered_until_somebody_asks_for_a_new_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("index.db");
    let opened = || Index::open(&path, &[3; 32], BASE, ORGANIZATION).expect("opens");
    drop(of_an_earlier_program(&path, &[3; 32]));
    assert_eq!((opened().applied(), opened().last_known()), (Ok(0), Ok(7)), "a restored vault may have less");
    opened().put(5, &[]).expect("applied");
    assert_eq!(opened().last_known(), Ok(7));
    let tables_of_another_program = |index: Index| {
        index.tables.place().with_writer(|writer| writer.batch("PRAGMA user_version = 1")).expect("written");
    };
    tables_of_another_program(opened());
    assert_eq!((opened().applied(), opened().last_known()), (Ok(0), Ok(7)));
    opened().put(9, &[]).expect("applied");
    tables_of_another_program(opened());
    assert_eq!((opened().applied(), opened().last_known()), (Ok(0), Ok(9)));
    opened().clear().expect("cleared");
    assert_eq!(opened().last_known(), Ok(0));
}

#[test]
fn an_index_of_an_earlier_program_that_was_killed_is_made_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("index.db");
    // Its log is still beside it, with pages of another size.
    let killed = of_an_earlier_program(&path, &[3; 32]);
    let copy = directory.path().join("copy.db");
    for end in ["", "-wal"] {
        let name = |path: &Path| format!("{}{end}", path.display());
        std::fs::copy(name(&path), name(&copy)).expect("copied");
    }
    drop(killed);
    let index = Index::open(&copy, &[3; 32], BASE, ORGANIZATION).expect("opens");
    assert_eq!((index.applied(), index.last_known()), (Ok(0), Ok(7)));
}
