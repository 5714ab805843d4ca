//! Pages and totals.

use proptest::prelude::*;

use super::*;

#[test]
fn counting_shows_no_resources() {
    let fixture = fixture();
    fixture.put("p", 1, 1, r#"{"resourceType":"Patient"}"#);
    assert_eq!(fixture.page("Patient", "_summary=count"), (vec![], Some(1), None));
    assert_eq!(fixture.page("Patient", "_count=0"), (vec![], Some(1), None));
    assert_eq!(fixture.page("Patient", "_total=none").1, None);
}

#[test]
fn a_first_page_that_is_all_there_is_has_its_total() {
    let fixture = fixture();
    for id in ["a", "b", "c"] {
        fixture.put(id, 1, 1_000, r#"{"resourceType":"Patient","active":true}"#);
    }
    for (query, expected) in [
        ("active=true", Some(3)),
        ("active=true&_count=3", Some(3)),
        ("active=true&_count=2", Some(3)),
        ("active=true&_count=0", Some(3)),
        ("active=true&_total=none", None),
        ("active=false", Some(0)),
    ] {
        assert_eq!(fixture.page("Patient", query).1, expected, "{query}");
    }
}

/// All ids, `count` at a time.
fn paged(fixture: &Fixture, query: &str, count: usize) -> Vec<String> {
    let (mut seen, mut next) = (Vec::new(), Some(format!("{query}&_count={count}")));
    while let Some(query) = next {
        let (ids, _, more) = fixture.page("Patient", &query);
        seen.extend(ids);
        next = more;
    }
    seen
}

#[test]
fn what_has_no_date_stood_first_in_ascending_order() {
    let fixture = fixture();
    for (id, born) in [("a", None), ("b", Some("1960")), ("c", None), ("d", Some("1950")), ("e", None)] {
        let born = born.map_or(String::new(), |born| format!(r#","birthDate":"{born}""#));
        fixture.put(id, 1, 1, &format!(r#"{{"resourceType":"Patient","gender":"other"{born}}}"#));
    }
    for (sort, expected) in [
        ("birthdate", ["d", "b", "a", "c", "e"]),
        ("-birthdate", ["b", "d", "e", "c", "a"]),
        ("gender,birthdate", ["d", "b", "a", "c", "e"]),
        ("gender,-birthdate", ["b", "d", "a", "c", "e"]),
        ("birthdate,-_id", ["d", "b", "e", "c", "a"]),
        ("-birthdate,_id", ["b", "d", "a", "c", "e"]),
    ] {
        for count in [1, 2, 3, 5] {
            assert_eq!(paged(&fixture, &format!("_sort={sort}"), count), expected, "{sort}, {count} at a time");
        }
    }
}

/// The order is kept in memory; who has several processes learns from the refusal what to look for.
#[test]
fn another_process_that_does_not_keep_an_order_did_not_say_why_it_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("index.db");
    let open = || Index::open(&path, &[3; 32], BASE, ORGANIZATION).expect("opens");
    let fixture = Fixture { _directory: directory, index: open() };
    for id in ["a", "b"] {
        fixture.put(id, 1, 1, r#"{"resourceType":"Patient"}"#);
    }
    let next = fixture.page("Patient", "_sort=gender&_count=1").2.expect("a second page");
    let Err(Refusal::BadRequest(problem)) = open().search(&parse("Patient", &next)) else { panic!("it has no order") };
    assert!(problem.contains("another process"), "{problem}");
    assert_eq!(fixture.ids("Patient", &next), ["b"]);
}

/// What may happen between two pages.
#[derive(Debug, Clone)]
enum Between {
    Create(u8),
    Update(u8),
    Delete(u8),
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        (20u8..40).prop_map(Between::Create),
        (0u8..40).prop_map(Between::Update),
        (0u8..40).prop_map(Between::Delete)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn pages_neither_skip_nor_repeat_while_others_write(
        writes in prop::collection::vec(prop::collection::vec(between(), 0..6), 0..8),
        sort in prop::sample::select(vec!["", "&_sort=_lastUpdated", "&_sort=-_lastUpdated", "&_sort=-_id", "&_sort=birthdate",
            "&_sort=-birthdate"]),
        count in 1u32..7,
    ) {
        let fixture = fixture();
        let mut clock = 0;
        let mut versions = std::collections::BTreeMap::<u8, u32>::new();
        let mut deleted = BTreeSet::<String>::new();
        let mut write = |what: &Between, versions: &mut std::collections::BTreeMap<u8, u32>,
                         deleted: &mut BTreeSet<String>| {
            clock += 1;
            let (Between::Create(n) | Between::Update(n) | Between::Delete(n)) = what;
            let id = format!("p{n:02}");
            match what {
                Between::Create(_) if versions.contains_key(n) => return,
                Between::Update(_) | Between::Delete(_) if !versions.contains_key(n) => return,
                _ => {}
            }
            let version = versions.entry(*n).and_modify(|version| *version += 1).or_insert(1);
            if let Between::Delete(_) = what {
                fixture.delete("Patient", &id, *version);
                deleted.insert(id);
            } else {
                let year = 1900 + (u32::from(*n) * 37 + *version * 11) % 100;
                let patient = match (u32::from(*n) + *version) % 4 {
                    0 => r#"{"resourceType":"Patient"}"#.to_owned(),
                    _ => format!(r#"{{"resourceType":"Patient","birthDate":"{year}"}}"#),
                };
                fixture.put(&id, *version, clock, &patient);
            }
        };
        (0..20).for_each(|n| write(&Between::Create(n), &mut versions, &mut deleted));
        let mut next = Some(format!("_count={count}{sort}"));
        let mut seen = Vec::new();
        let mut writes = writes.into_iter();
        while let Some(query) = next {
            let (ids, total, more) = fixture.page("Patient", &query);
            prop_assert_eq!(total, Some(20));
            seen.extend(ids);
            next = more;
            writes.next().unwrap_or_default().iter().for_each(|what| write(what, &mut versions, &mut deleted));
        }
        let mut distinct = seen.clone();
        distinct.sort();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), seen.len(), "nothing twice");
        for id in (0..20).map(|n| format!("p{n:02}")) {
            prop_assert!(seen.contains(&id) || deleted.contains(&id), "{} skipped", id);
        }
        prop_assert!(seen.iter().all(|id| id.as_str() < "p20"), "nothing from after the search began");
    }
}
