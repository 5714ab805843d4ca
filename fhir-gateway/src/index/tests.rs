//! Searches over an index that is written meanwhile.

use careledger_wire::commitment;
use proptest::prelude::*;

use super::*;
use crate::{
    resources::resource,
    search::{Handling, Query},
};

const BASE: &str = "http://here/fhir";
const ORGANIZATION: Address = Address::new([7; 20]);

struct Fixture {
    _directory: tempfile::TempDir,
    index: Index,
}

/// In a file; or, where a server is named, in a schema of its own there.
fn fixture() -> Fixture {
    let Some(settings) = crate::postgres::Settings::for_test() else { return in_a_file() };
    let postgres = Postgres::open(settings).expect("opens");
    postgres.make_schema().expect("a schema");
    let index = Index::on(postgres, BASE, ORGANIZATION);
    assert_eq!(index.is_prepared(), Ok(false));
    index.prepare().expect("tables");
    assert_eq!(index.is_prepared(), Ok(true));
    Fixture { _directory: tempfile::tempdir().expect("a directory"), index }
}

fn in_a_file() -> Fixture {
    let directory = tempfile::tempdir().expect("a directory");
    let index = Index::open(&directory.path().join("index.db"), &[3; 32], BASE, ORGANIZATION).expect("opens");
    Fixture { _directory: directory, index }
}

impl Fixture {
    fn put(&self, id: &str, version: u32, last_updated: i64, json: &str) {
        let document = Document::parse(json.as_bytes().to_vec()).expect("JSON");
        let resource_type = document.resource_type().expect("typed").to_string();
        let content = Indexed::Resource(&document);
        let entry = Entry { resource_type: &resource_type, id, version, last_updated, patient: None, content };
        self.index.put(0, &[entry]).expect("applies");
    }

    fn delete(&self, resource_type: &str, id: &str, version: u32) {
        let content = Indexed::Deleted;
        let entry = Entry { resource_type, id, version, last_updated: 0, patient: None, content };
        self.index.put(0, &[entry]).expect("applies");
    }

    /// The newest version that the index knows of a resource; deletions count.
    fn version(&self, resource_type: &str, id: &str) -> Option<u32> {
        let sql = "SELECT version FROM resource WHERE type = $1 AND id = $2";
        let found = self.index.with_reader(|reader| {
            let rows = reader.query(sql, vec![resource_type.into(), id.into()])?;
            rows.first().map(|row| row.count(0)).transpose()
        });
        found.expect("reads")
    }

    fn page(&self, kind: &str, query: &str) -> (Vec<String>, Option<u64>, Option<String>) {
        let page = self.index.search(&parse(kind, query)).expect("searches");
        let ids = page.hits.into_iter().map(|hit| hit.id).collect();
        (ids, page.total, page.next.map(|next| format!("{query}&_cursor={next}")))
    }

    fn ids(&self, kind: &str, query: &str) -> Vec<String> {
        self.page(kind, query).0
    }
}

fn parse(kind: &str, query: &str) -> Query {
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Query::parse(resource(kind).expect("kept"), &pairs, Handling::Strict, BASE).expect("a valid query")
}

#[test]
fn each_search_type_finds_what_it_should() {
    let fixture = fixture();
    fixture.put(
        "p1",
        1,
        1_000,
        r#"{"resourceType":"Patient","id":"p1","identifier":[{"system":"mrn","value":"1"}],"gender":"female",
           "birthDate":"1970-05","name":[{"family":"Müller","given":["Ann"]}],"active":true,
           "managingOrganization":{"reference":"Organization/o1"}}"#,
    );
    fixture.put(
        "p2",
        1,
        2_000,
        r#"{"resourceType":"Patient","id":"p2","identifier":[{"value":"1"}],"gender":"male","birthDate":"1980-01-02",
           "name":[{"family":"Mulligan"}],"managingOrganization":{"identifier":{"system":"npi","value":"5"}}}"#,
    );
    fixture.put(
        "o1",
        1,
        3_000,
        r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"loinc","code":"8302-2"}]},
           "subject":{"reference":"Patient/p1"},"effectivePeriod":{"start":"2020-01-01","end":"2020-01-31"},
           "valueQuantity":{"value":181.2,"unit":"cm","system":"ucum","code":"cm"}}"#,
    );
    let cases: &[(&str, &str, &[&str])] = &[
        ("Patient", "", &["p1", "p2"]),
        ("Patient", "_id=p2,p9", &["p2"]),
        ("Patient", "identifier=1", &["p1", "p2"]),
        ("Patient", "identifier=mrn|1", &["p1"]),
        ("Patient", "identifier=mrn|", &["p1"]),
        ("Patient", "identifier=|1", &["p2"]),
        ("Patient", "gender=http://hl7.org/fhir/administrative-gender|male", &["p2"]),
        ("Patient", "gender:not=male", &["p1"]),
        ("Patient", "active:missing=true", &["p2"]),
        ("Patient", "active:missing=false", &["p1"]),
        ("Patient", "active=true", &["p1"]),
        ("Patient", "name=mul", &["p1", "p2"]),
        ("Patient", "name=mulle", &["p1"]),
        ("Patient", "family:exact=Müller", &["p1"]),
        ("Patient", "family:exact=Muller", &[]),
        ("Patient", "family:contains=LLIG", &["p2"]),
        ("Patient", "birthdate=1970", &["p1"]),
        ("Patient", "birthdate=1970-05-01", &[]),
        ("Patient", "birthdate=ge1970-05-15", &["p1", "p2"]),
        ("Patient", "birthdate=sa1970-05-15", &["p2"]),
        ("Patient", "birthdate=lt1980-01-02", &["p1"]),
        ("Patient", "birthdate=le1980-01-02", &["p1", "p2"]),
        ("Patient", "birthdate=ne1970", &["p2"]),
        ("Patient", "birthdate=ge1970&birthdate=lt1971", &["p1"]),
        ("Patient", "organization=o1", &["p1"]),
        ("Patient", "organization=Organization/o1", &["p1"]),
        ("Patient", "organization=http://here/fhir/Organization/o1", &["p1"]),
        ("Patient", "organization:identifier=npi|5", &["p2"]),
        ("Patient", "_lastUpdated=gt1970-01-01T00:16:40Z", &["p2"]),
        ("Patient", "_lastUpdated=1970-01-01T00:16:40Z", &["p1"]),
        ("Patient", "_sort=-_lastUpdated", &["p2", "p1"]),
        ("Patient", "_sort=-_id", &["p2", "p1"]),
        ("Patient", "_sort=-birthdate", &["p2", "p1"]),
        ("Observation", "patient=p1", &["o1"]),
        ("Observation", "subject=Patient/p1", &["o1"]),
        ("Observation", "subject:Patient=p1", &["o1"]),
        ("Observation", "subject:Group=p1", &[]),
        ("Observation", "patient.identifier=mrn|1", &["o1"]),
        ("Observation", "patient.identifier=mrn|2", &[]),
        ("Observation", "patient.name=mull", &["o1"]),
        ("Observation", "code=loinc|8302-2,loinc|other", &["o1"]),
        ("Observation", "date=2020-01", &["o1"]),
        ("Observation", "date=2020-01-10", &[]),
        ("Observation", "date=gt2020-01-10", &["o1"]),
        ("Observation", "date=eb2020-02", &["o1"]),
        ("Observation", "value-quantity=181.2|ucum|cm", &["o1"]),
        ("Observation", "value-quantity=181.2||cm", &["o1"]),
        ("Observation", "value-quantity=181", &["o1"]),
        ("Observation", "value-quantity=181.0", &[]),
        ("Observation", "value-quantity=gt181.2", &[]),
        ("Observation", "value-quantity=ap190", &["o1"]),
        ("Observation", "value-quantity=181.2||kg", &[]),
    ];
    for (kind, query, expected) in cases {
        assert_eq!(fixture.ids(kind, query), *expected, "{kind}?{query}");
    }
}

#[test]
fn composites_find_pairs_that_stand_together() {
    let fixture = fixture();
    let component = |code: &str, value: &str| {
        format!(
            r#"{{"code":{{"coding":[{{"system":"loinc","code":"{code}"}}]}},"valueQuantity":{{"value":{value},"unit":"mmHg","code":"mm[Hg]","system":"ucum"}}}}"#
        )
    };
    let pressure = format!(
        r#"{{"resourceType":"Observation","status":"final","code":{{"coding":[{{"code":"bp"}}]}},"component":[{},{}]}}"#,
        component("systolic", "120"),
        component("diastolic", "80"),
    );
    fixture.put("o1", 1, 1_000, &pressure);
    fixture.put(
        "o2",
        1,
        1_000,
        r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"code":"smoker"}]},
           "valueCodeableConcept":{"coding":[{"system":"sct","code":"yes","display":"Smokes daily"}],"text":"smokes"}}"#,
    );
    fixture.put(
        "d1",
        1,
        1_000,
        r#"{"resourceType":"DocumentReference","status":"current","relatesTo":[{"code":"replaces",
           "target":{"reference":"DocumentReference/d0"}},{"code":"signs","target":{"reference":"DocumentReference/d9"}}],
           "content":[{"attachment":{"title":"x"}}]}"#,
    );
    let cases: &[(&str, &str, &[&str])] = &[
        ("Observation", "component-code-value-quantity=systolic$120", &["o1"]),
        ("Observation", "component-code-value-quantity=loinc|systolic$gt100|ucum|mm[Hg]", &["o1"]),
        ("Observation", "component-code-value-quantity=systolic$80", &[]),
        ("Observation", "component-code-value-quantity=systolic$lt100,diastolic$lt100", &["o1"]),
        ("Observation", "combo-code-value-quantity=diastolic$80", &["o1"]),
        ("Observation", "code-value-quantity=bp$80", &[]),
        ("Observation", "code-value-concept=smoker$sct|yes", &["o2"]),
        ("Observation", "code-value-concept=smoker$no", &[]),
        ("Observation", "code-value-concept:missing=true", &["o1"]),
        ("Observation", "value-concept:text=DAILY", &["o2"]),
        ("Observation", "value-concept:text=smokes", &["o2"]),
        ("Observation", "value-concept:text=never", &[]),
        ("DocumentReference", "relationship=DocumentReference/d0$replaces", &["d1"]),
        ("DocumentReference", "relationship=d0$signs", &[]),
    ];
    for (kind, query, expected) in cases {
        assert_eq!(fixture.ids(kind, query), *expected, "{kind}?{query}");
    }
}

#[test]
fn locations_are_found_by_where_they_are() {
    let fixture = fixture();
    for (id, latitude, longitude) in
        [("bern", "46.948", "7.4474"), ("fiji", "-17.8", "179.9"), ("zurich", "47.3769", "8.5417")]
    {
        let position = format!(r#"{{"longitude":{longitude},"latitude":{latitude}}}"#);
        fixture.put(id, 1, 1_000, &format!(r#"{{"resourceType":"Location","id":"{id}","position":{position}}}"#));
    }
    // Zurich is 95 km from Bern.
    let cases: &[(&str, &[&str])] = &[
        ("near=46.95|7.45", &["bern"]),
        ("near=46.95|7.45|90|km", &["bern"]),
        ("near=46.95|7.45|100|km", &["bern", "zurich"]),
        ("near=46.95|7.45|100000|m", &["bern", "zurich"]),
        ("near=46.95|7.45|60|[mi_us]", &["bern", "zurich"]),
        ("near=-17.8|-179.9|30", &["fiji"]),
        ("near:missing=true", &[]),
        ("near=0|0,46.95|7.45|1", &["bern"]),
    ];
    for (query, expected) in cases {
        assert_eq!(fixture.ids("Location", query), *expected, "{query}");
    }
}

#[test]
fn identifiers_are_found_by_their_type_names_by_sound_and_uris_from_above_and_below() {
    let fixture = fixture();
    fixture.put(
        "p1",
        1,
        1_000,
        r#"{"resourceType":"Patient","name":[{"family":"Schmidt"}],"meta":{"profile":["http://a/b/c"]},"identifier":[{"system":"mrn","value":"1",
           "type":{"coding":[{"system":"v2","code":"MR"}],"text":"Record"}},{"system":"ssn","value":"2"}]}"#,
    );
    for (query, is_found) in [
        ("identifier:of-type=v2|MR|1", true),
        ("identifier:of-type=v2|MR|2", false),
        ("identifier:of-type=v2|SS|1", false),
        ("identifier=mrn|1", true),
        ("identifier=|1", false),
        ("identifier:text=rec", true),
        ("phonetic=Schmied", true),
        ("phonetic=Meier", false),
        ("_profile:above=http://a/b/c/d", true),
        ("_profile:above=http://a/b", false),
        ("_profile:below=http://a/b", true),
        ("_profile=http://a/b", false),
    ] {
        assert_eq!(!fixture.ids("Patient", query).is_empty(), is_found, "{query}");
    }
}

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
fn a_patient_is_found_by_subject() {
    let fixture = fixture();
    let account = Address::new([9; 20]);
    let subject = commitment::subject_id(&ORGANIZATION, &account);
    let identifier = format!(r#"{{"system":"urn:careledger:account","value":"{account}"}}"#);
    fixture.put("p", 1, 1, &format!(r#"{{"resourceType":"Patient","identifier":[{identifier}]}}"#));
    assert_eq!(fixture.ids("Patient", &format!("identifier=urn:careledger:subject|{subject}")), ["p"]);
}

#[test]
fn counting_shows_no_resources() {
    let fixture = fixture();
    fixture.put("p", 1, 1, r#"{"resourceType":"Patient"}"#);
    assert_eq!(fixture.page("Patient", "_summary=count"), (vec![], Some(1), None));
    assert_eq!(fixture.page("Patient", "_count=0"), (vec![], Some(1), None));
    assert_eq!(fixture.page("Patient", "_total=none").1, None);
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
        sort in prop::sample::select(vec!["", "&_sort=_lastUpdated", "&_sort=-_lastUpdated", "&_sort=-_id", "&_sort=birthdate"]),
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
                fixture.put(&id, *version, clock, &format!(r#"{{"resourceType":"Patient","birthDate":"{year}"}}"#));
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
    fixture.index.apply(2, &[poisoned, sound]).expect("applies");
    assert_eq!(fixture.index.applied(), Ok(2));
    assert_eq!(fixture.ids("Task", "status=requested"), ["good"]);
    assert_eq!(fixture.ids("Task", "_id=bad"), ["bad"]);
}

/// Two lists of resources made SQLite look up every pair of their members: milliseconds for ten hits.
#[test]
fn only_one_criterion_lists_resources_and_the_others_are_asked_about_each() {
    let fixture = in_a_file();
    for query in [
        "patient=p7&code=http://loinc.org|8302-2",
        "code=8302-2&status=final&date=ge2020",
        "patient=p7&code:not=1&status:missing=false",
        "patient.identifier=1&code=8302-2",
    ] {
        let select = select::matching(&parse("Observation", query), i64::MAX);
        let sql = format!("EXPLAIN QUERY PLAN {}", select.to_string(sea_query::SqliteQueryBuilder));
        let steps: Vec<String> = fixture
            .index
            .with_reader(|reader| reader.query(&sql, Vec::new())?.iter().map(|row| row.text(3)).collect())
            .expect("a plan");
        assert!(!steps.iter().any(|step| step.contains("number=? AND rowid=?")), "{query}: {steps:#?}");
        let scans = steps.iter().filter(|step| step.contains("SCAN")).count();
        assert_eq!(scans, 0, "{query}: {steps:#?}");
    }
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

/// PostgreSQL takes keys of a third of a page at most: one long text kept all that came after it out.
#[test]
fn long_values_are_indexed_and_found_by_their_whole_by_their_beginning_and_by_what_they_contain() {
    let fixture = fixture();
    let long = |end: &str| format!("Straße {} {end}", "x".repeat(9_000));
    let (name, other) = (long("needle"), long("thread"));
    let uri = format!("http://example.org/{}/end", "y".repeat(5_000));
    for (id, name) in [("p1", &name), ("p2", &other)] {
        let body = serde_json::json!({"resourceType": "Patient", "name": [{"text": name}],
            "identifier": [{"system": uri, "value": name}]});
        fixture.put(id, 1, 1_000, &body.to_string());
    }
    let ask = |parameter: &str, value: &str| {
        url::form_urlencoded::Serializer::new(String::new()).append_pair(parameter, value).finish()
    };
    assert_eq!(fixture.ids("Patient", &ask("name:exact", &name)), ["p1"]);
    assert_eq!(fixture.ids("Patient", &ask("name:contains", "NEEDLE")), ["p1"]);
    assert_eq!(fixture.ids("Patient", &ask("name:contains", "xxx")), ["p1", "p2"]);
    assert_eq!(fixture.ids("Patient", &ask("name", "STRASSE xxx")), [""; 0]);
    assert_eq!(fixture.ids("Patient", &ask("name", "STRAßE xxx")), ["p1", "p2"]);
    assert_eq!(fixture.ids("Patient", &ask("name", &name)), ["p1"]);
    assert_eq!(fixture.ids("Patient", &ask("name", &name[..8_000])), ["p1", "p2"]);
    assert_eq!(fixture.ids("Patient", &ask("identifier", &format!("{uri}|{other}"))), ["p2"]);
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
