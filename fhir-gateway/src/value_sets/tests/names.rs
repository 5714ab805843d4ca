//! What a ValueSet is called, and which one a name meant.

use super::*;

#[test]
fn a_value_set_is_named_by_its_id_or_its_canonical_url() {
    let canonical = |url: &str, version: Option<&str>| {
        Some(Named::Canonical { url: url.to_owned(), version: version.map(str::to_owned) })
    };
    for (text, expected) in [
        ("ValueSet/a", Some(Named::Id("a".to_owned()))),
        ("http://here/fhir/ValueSet/a", Some(Named::Id("a".to_owned()))),
        ("http://there/fhir/ValueSet/a", canonical("http://there/fhir/ValueSet/a", None)),
        // A version of a canonical URL is none of an id, wherever that URL leads.
        ("http://here/fhir/ValueSet/a|2.1", canonical("http://here/fhir/ValueSet/a", Some("2.1"))),
        ("ValueSet/a|2.1", None),
        ("http://vs/a|1.0", canonical("http://vs/a", Some("1.0"))),
        ("urn:oid:1.2.3", canonical("urn:oid:1.2.3", None)),
        ("urn:oid:1.2.3|4|5", canonical("urn:oid:1.2.3", Some("4|5"))),
        ("ValueSet/a/_history/1", None),
        ("http://here/fhir/ValueSet/a/_history/1", None),
        ("Patient/a", None),
        ("a", None),
        ("", None),
        ("http://vs/a|", None),
        ("http://vs/a#part", None),
    ] {
        assert_eq!(Named::read(text, BASE), expected, "{text}");
    }
}

#[test]
fn pins_say_what_each_name_meant_and_survive_their_text() {
    let names = ["ValueSet/a", "http://vs/a", "http://vs/a|1", "http://vs/a|2"].map(named);
    let mut pins = Pins::default();
    for (at, name) in names.iter().enumerate() {
        assert_eq!(pins.get(name), None);
        pins.insert(name, Pin { id: format!("id-{}", at / 2), version: 1 });
    }
    let read: Pins = serde_json::from_str(&serde_json::to_string(&pins).expect("JSON")).expect("read");
    assert_eq!(read, pins);
    for (at, name) in names.iter().enumerate() {
        assert_eq!(read.get(name).map(|pin| pin.id.clone()), Some(format!("id-{}", at / 2)));
    }
}

#[test]
fn pins_of_as_many_names_and_sets_as_a_search_may_have_are_short() {
    let mut pins = Pins::default();
    for name in 0..NAMES_MAX {
        let id = format!("{:0>64}", name % SETS_MAX);
        pins.insert(&named(&format!("http://vs/{name}")), Pin { id, version: u32::MAX });
    }
    let text = serde_json::to_string(&pins).expect("JSON");
    assert!(text.len() <= PINS_BYTES_MAX && text.len() > PINS_BYTES_MAX * 3 / 4, "{}", text.len());
}
