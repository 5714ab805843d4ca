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
    let stored = |id: &str, body: &str| {
        Arc::new(Stored {
            resource_type: "Task".to_owned(),
            id: id.to_owned(),
            version: 1,
            last_updated: 1,
            content: Content::Json(body.as_bytes().to_vec().into()),
            patient: None,
            subject: None,
            salt: [0; 32],
            address: careledger_wire::ids::Digest::new([0; 32]),
        })
    };
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
