//! What ValueSets mean, and from which place they do not say it.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{json::Document, value_sets::budget::IMPORTS_MAX};

/// ValueSets, by their names.
type Shelved<'a> = Vec<(&'a str, Value)>;

const BASE: &str = "http://here/fhir";

/// A shelf of ValueSets under `http://vs/NAME` and `ValueSet/NAME`.
fn shelf(sets: &[(&str, Value)]) -> Shelf {
    let mut shelf = Shelf::default();
    for (name, set) in sets {
        let mut resource = set.clone();
        resource["resourceType"] = json!("ValueSet");
        let pin = Pin { id: (*name).to_owned(), version: 1 };
        let document = Document::parse(resource.to_string()).expect("JSON");
        shelf.put(Named::Id((*name).to_owned()), pin.clone());
        shelf.put(named(&format!("http://vs/{name}")), pin.clone());
        shelf.open(pin, Volume::of(document, BASE));
    }
    shelf
}

fn named(text: &str) -> Named {
    Named::read(text, BASE).expect("a name")
}

/// `s|a`, `s|*` for all codes of a system, `s|*-a` for all but one; or `place: problem`.
fn told(sets: &[(&str, Value)]) -> String {
    told_for(sets, &mut Budget::default())
}

/// As [`told`], and what it cost.
fn told_for(sets: &[(&str, Value)], budget: &mut Budget) -> String {
    let (mut shelf, names) = (shelf(sets), [named("http://vs/one")]);
    shelf.answer(&names, BASE, budget);
    match shelf.sets(&names).members(&names[0]) {
        Ok(members) => written(&members),
        Err(refusal) => refusal.to_string(),
    }
}

fn written(members: &Members) -> String {
    let mut text = String::new();
    for (system, codes) in members.systems() {
        match codes {
            Codes::Only(codes) => codes.iter().for_each(|code| write!(text, "{system}|{code} ").expect("text")),
            Codes::AllBut(codes) => {
                write!(text, "{system}|*").expect("text");
                codes.iter().for_each(|code| write!(text, "-{code}").expect("text"));
                text.push(' ');
            }
        }
    }
    text.trim_end().to_owned()
}

fn concepts(system: &str, codes: &[&str]) -> Value {
    let concepts: Vec<Value> = codes.iter().map(|code| json!({"code": code, "display": "canary"})).collect();
    json!({"system": system, "concept": concepts})
}

fn include(parts: Value) -> Value {
    json!({"compose": {"include": parts}})
}

#[test]
fn what_is_listed_is_told() {
    let ab = || concepts("s", &["a", "b"]);
    let two = ("two", include(json!([concepts("s", &["b", "c"]), concepts("t", &["d"])])));
    let three = ("three", include(json!([{"valueSet": ["http://vs/two"]}, concepts("s", &["a"])])));
    let cases: Vec<(&str, Value, &str)> = vec![
        ("concepts", include(json!([ab()])), "s|a s|b"),
        ("concepts of several systems", include(json!([ab(), concepts("t", &["a"])])), "s|a s|b t|a"),
        ("concepts of a version", include(json!([{"system": "s", "version": "1", "concept": [{"code": "a"}]}])), "s|a"),
        ("a whole system", include(json!([{"system": "s"}])), "s|*"),
        ("a whole system beside some of it", include(json!([{"system": "s"}, ab()])), "s|*"),
        ("another set", include(json!([{"valueSet": ["http://vs/two"]}])), "s|b s|c t|d"),
        ("another set by its id", include(json!([{"valueSet": ["http://here/fhir/ValueSet/two"]}])), "s|b s|c t|d"),
        ("what is in each of two", include(json!([{"valueSet": ["http://vs/two", "http://vs/three"]}])), "s|b s|c t|d"),
        ("what a set has of a system", include(json!([{"system": "t", "valueSet": ["http://vs/two"]}])), "t|d"),
        (
            "what a set has of some concepts",
            include(json!([{"system": "s", "concept": [{"code": "a"}, {"code": "b"}], "valueSet": ["http://vs/two"]}])),
            "s|b",
        ),
        ("nothing in common", include(json!([{"system": "u", "valueSet": ["http://vs/two"]}])), ""),
        (
            "one set in two ways",
            include(json!([{"valueSet": ["http://vs/two"]}, {"valueSet": ["http://vs/three"]}])),
            "s|a s|b s|c t|d",
        ),
        (
            "without some",
            json!({"compose": {"include": [ab()], "exclude": [concepts("s", &["b"]), concepts("t", &["a"])]}}),
            "s|a",
        ),
        (
            "all without some",
            json!({"compose": {"include": [{"system": "s"}], "exclude": [concepts("s", &["b"])]}}),
            "s|*-b",
        ),
        (
            "some without all",
            json!({"compose": {"include": [ab(), concepts("t", &["a"])], "exclude": [{"system": "s"}]}}),
            "t|a",
        ),
        (
            "without another set",
            json!({"compose": {"include": [ab()], "exclude": [{"valueSet": ["http://vs/two"]}]}}),
            "s|a",
        ),
        ("what is inactive may stay", json!({"compose": {"inactive": true, "include": [ab()]}}), "s|a s|b"),
        (
            "an expansion",
            json!({"expansion": {"contains": [{"system": "s", "code": "a"}, {"system": "s", "code": "b", "inactive": true}]}}),
            "s|a s|b",
        ),
        (
            "an expansion with what stands there to be read",
            json!({"expansion": {"total": 3, "contains": [
                {"abstract": true, "display": "x", "contains": [{"system": "s", "code": "a"}]},
                {"system": "s", "code": "b", "abstract": true, "contains": [{"system": "s", "code": "c", "abstract": false}]}]}}),
            "s|a s|c",
        ),
        ("an empty expansion", json!({"expansion": {"total": 0}}), ""),
        (
            "an expansion in place of what only a system tells",
            json!({"compose": {"include": [{"system": "s", "filter": []}]}, "expansion": {"contains": [{"system": "s", "code": "a"}]}}),
            "s|a",
        ),
        (
            "an expansion in place of sets that are not here",
            json!({"compose": {"include": [{"valueSet": ["http://vs/nowhere"]}]}, "expansion": {"contains": [{"system": "s", "code": "a"}]}}),
            "s|a",
        ),
        (
            "a definition in place of a part of the expansion",
            json!({"compose": {"include": [ab()]}, "expansion": {"total": 2, "contains": [{"system": "s", "code": "a"}]}}),
            "s|a s|b",
        ),
        (
            "parameters that leave nothing out",
            json!({"expansion": {"total": 1, "offset": 0, "parameter": [{"name": "count", "valueInteger": 1000}, {"name": "offset", "valueInteger": 0}, {"name": "limitedExpansion", "valueBoolean": false}], "contains": [{"system": "s", "code": "a"}]}}),
            "s|a",
        ),
        (
            "parameters of how it is shown and of which versions it is",
            json!({"expansion": {"parameter": [
                {"name": "activeOnly", "valueBoolean": false}, {"name": "excludeNotForUI", "valueBoolean": false},
                {"name": "excludePostCoordinated", "valueBoolean": false}, {"name": "filter", "valueString": ""},
                {"name": "excludeNested", "valueBoolean": true}, {"name": "displayLanguage", "valueCode": "de"},
                {"name": "includeDesignations", "valueBoolean": true}, {"name": "designation", "valueString": "x"},
                {"name": "includeDefinition", "valueBoolean": true}, {"name": "url", "valueUri": "http://vs/one"},
                {"name": "valueSetVersion", "valueString": "1"}, {"name": "context", "valueUri": "http://c"},
                {"name": "system-version", "valueUri": "s|1"}, {"name": "check-system-version", "valueUri": "s|1"},
                {"name": "force-system-version", "valueUri": "s|1"}, {"name": "version", "valueUri": "s|1"},
                {"name": "used-codesystem", "valueUri": "s|1"}, {"name": "warning-draft", "valueUri": "s|1"}],
                "contains": [{"system": "s", "code": "a"}]}}),
            "s|a",
        ),
    ];
    for (what, set, expected) in cases {
        assert_eq!(told(&[("one", set), two.clone(), three.clone()]), expected, "{what}");
    }
}

#[test]
fn what_is_not_listed_is_refused_with_the_place_and_what_to_do() {
    let one = |set: Value| vec![("one", set)];
    let contains = |entry: Value| json!({"expansion": {"contains": [{"system": "s", "code": "a"}, entry]}});
    let cases: Vec<(Shelved<'_>, &str, &str)> = vec![
        (one(json!({})), "ValueSet.compose", "no code systems"),
        (
            one(include(
                json!([concepts("s", &["a"]), {"system": "s", "filter": [{"property": "p", "op": "=", "value": "canary"}]}]),
            )),
            "ValueSet.compose.include[1].filter",
            "expansion",
        ),
        (
            one(json!({"compose": {"include": [{"system": "s"}], "exclude": [{"system": "s", "filter": [{}]}]}})),
            "ValueSet.compose.exclude[0].filter",
            "list its concepts",
        ),
        (one(include(json!([{"system": "s", "version": "1"}]))), "ValueSet.compose.include[0].version", "one version"),
        (
            one(json!({"compose": {"lockedDate": "2020-01-01", "include": [{"system": "s"}]}})),
            "ValueSet.compose.include[0].system",
            "one version",
        ),
        (
            one(json!({"compose": {"lockedDate": "2020-01-01", "include": [{"valueSet": ["http://vs/one"]}]}})),
            "ValueSet.compose.include[0].valueSet[0]",
            "lockedDate",
        ),
        (
            one(json!({"compose": {"inactive": false, "include": [concepts("s", &["a"])]}})),
            "ValueSet.compose.inactive",
            "inactive",
        ),
        (one(include(json!([{"concept": [{"code": "a"}]}]))), "ValueSet.compose.include[0].system", "is required"),
        (one(include(json!([{"version": "1"}]))), "ValueSet.compose.include[0]", "neither"),
        (
            one(include(json!([{"system": "s", "concept": [{"code": "a"}, {"display": "b"}]}]))),
            "ValueSet.compose.include[0].concept[1].code",
            "is required",
        ),
        (
            one(include(json!([{"valueSet": ["http://vs/nowhere"]}]))),
            "ValueSet.compose.include[0].valueSet[0]",
            "not kept here",
        ),
        (
            one(include(json!([{"valueSet": ["#contained"]}]))),
            "ValueSet.compose.include[0].valueSet[0]",
            "not kept here",
        ),
        (
            one(include(json!([{"valueSet": ["http://vs/one"]}]))),
            "ValueSet.compose.include[0].valueSet[0]",
            "includes what includes it",
        ),
        (
            vec![
                ("one", include(json!([{"valueSet": ["http://vs/two"]}]))),
                ("two", include(json!([concepts("s", &["a"]), {"valueSet": ["http://vs/one"]}]))),
            ],
            "ValueSet.compose.include[0].valueSet[0] > ValueSet.compose.include[1].valueSet[0]",
            "includes what includes it",
        ),
        (
            vec![
                ("one", include(json!([{"valueSet": ["http://vs/two"]}]))),
                ("two", include(json!([{"filter": [{}]}]))),
            ],
            "ValueSet.compose.include[0].valueSet[0] > ValueSet.compose.include[0].filter",
            "no code systems",
        ),
        (
            one(json!({"modifierExtension": [{}], "compose": {"include": [concepts("s", &["a"])]}})),
            "ValueSet.modifierExtension",
            "not understood",
        ),
        (
            one(include(json!([{"system": "s", "modifierExtension": [{}]}]))),
            "ValueSet.compose.include[0].modifierExtension",
            "not understood",
        ),
        (
            one(contains(json!({"modifierExtension": [{}]}))),
            "ValueSet.expansion.contains[1].modifierExtension",
            "not understood",
        ),
        (one(contains(json!({"code": "b"}))), "ValueSet.expansion.contains[1].system", "is required"),
        (one(contains(json!({"display": "b", "system": "s"}))), "ValueSet.expansion.contains[1].code", "is required"),
        (
            one(contains(json!({"abstract": true, "contains": [{"system": "s", "code": "b"}, {"code": "c"}]}))),
            "ValueSet.expansion.contains[1].contains[1].system",
            "is required",
        ),
        (one(json!({"expansion": {}})), "ValueSet.expansion.contains", "total of 0"),
        (
            one(json!({"expansion": {"total": 2, "contains": [{"system": "s", "code": "a"}]}})),
            "ValueSet.expansion.total",
            "more than",
        ),
        (
            one(json!({"expansion": {"offset": 1, "contains": [{"system": "s", "code": "a"}]}})),
            "ValueSet.expansion.offset",
            "part",
        ),
        (
            one(
                json!({"expansion": {"parameter": [{"name": "displayLanguage"}, {"name": "filter", "valueString": "canary"}], "contains": [{"system": "s", "code": "a"}]}}),
            ),
            "ValueSet.expansion.parameter[1]",
            "leaves codes out",
        ),
        (
            one(
                json!({"expansion": {"parameter": [{"name": "count", "valueInteger": 1}], "contains": [{"system": "s", "code": "a"}]}}),
            ),
            "ValueSet.expansion.parameter[0]",
            "total",
        ),
        (
            one(
                json!({"expansion": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/valueset-unclosed", "valueBoolean": true}], "contains": [{"system": "s", "code": "a"}]}}),
            ),
            "ValueSet.expansion.extension[0]",
            "not whole",
        ),
    ];
    for (sets, place, problem) in cases.into_iter().chain(partial_expansions()) {
        let told = told(&sets);
        assert!(told.starts_with(&format!("{place}: ")) && told.contains(problem), "{place} {problem}: {told}");
        assert!(!told.contains("canary"), "{told}");
    }
}

/// Expansions of which nobody can say that they are whole.
fn partial_expansions() -> Vec<(Shelved<'static>, &'static str, &'static str)> {
    let one = |expansion: Value| vec![("one", json!({"expansion": expansion}))];
    let of_parameter =
        |parameter: Value| one(json!({"parameter": [parameter], "contains": [{"system": "s", "code": "a"}]}));
    let narrowing = [
        json!({"name": "activeOnly", "valueBoolean": true}),
        json!({"name": "activeOnly"}),
        json!({"name": "date", "valueDateTime": "2010-01-01"}),
        json!({"name": "exclude-system", "valueUri": "t"}),
        json!({"name": "excludeNotForUI", "valueBoolean": true}),
        json!({"name": "excludePostCoordinated", "valueBoolean": true}),
        json!({"name": "filter", "valueString": "canary"}),
        // Texts that are filtered by, not what says that nothing is.
        json!({"name": "filter", "valueString": "0"}),
        json!({"name": "filter", "valueString": "false"}),
        json!({"name": "activeOnly", "valueString": "false"}),
        json!({"name": "activeOnly", "valueInteger": 0}),
        json!({"name": "limitedExpansion", "valueBoolean": true}),
        json!({"name": "offset", "valueInteger": 1}),
        // What a server has made up, or a later FHIR has.
        json!({"name": "onlyCommon", "valueBoolean": false}),
        json!({"name": "property", "valueString": "status"}),
        json!({"valueBoolean": false}),
    ];
    let narrowing = narrowing.map(|parameter| (of_parameter(parameter), "ValueSet.expansion.parameter[0]", "or may"));
    let heading = json!({"abstract": true, "display": "x", "contains": [{"system": "s", "code": "a"}]});
    let unselectable = json!({"abstract": true, "system": "s", "code": "b"});
    let paged = |total: u64, entries: Value| {
        one(json!({"total": total, "parameter": [{"name": "count", "valueInteger": 2}], "contains": entries}))
    };
    let mut all: Vec<_> = narrowing.into();
    all.extend([
        // Two nodes, one of which has no code: the other code stands on another page.
        (one(json!({"total": 2, "contains": [heading]})), "ValueSet.expansion.total", "more than"),
        // Where a page was asked for, the total may be that of the members alone.
        (
            paged(2, json!([{"system": "s", "code": "a"}, unselectable])),
            "ValueSet.expansion.parameter[0]",
            "asks for a page",
        ),
        (one(json!({"contains": [{"abstract": true, "display": "x"}]})), "ValueSet.expansion.contains", "total of 0"),
    ]);
    all
}

#[test]
fn what_a_value_set_may_be_is_bounded_where_it_is_told() {
    let numbered = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let codes = numbered(CODES_MAX + 1);
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let told_of = |codes: &[&str]| told(&[("one", include(json!([concepts("s", codes)])))]);
    assert!(told_of(&codes[1..]).starts_with("s|1 "));
    assert!(told_of(&codes).starts_with("ValueSet.compose.include[0]: makes a value set of more than 20000 codes"));
    let (first, rest) = codes.split_at(CODES_MAX / 2);
    let halves = include(json!([concepts("s", first), concepts("t", rest)]));
    assert!(told(&[("one", halves)]).starts_with("ValueSet.compose.include[1]: "), "of all systems together");
    let systems: Vec<Value> = numbered(SYSTEMS_MAX + 1).iter().map(|system| json!({"system": system})).collect();
    assert!(told(&[("one", include(json!(systems)))]).contains("more than 200 code systems"));
    let all_but = |codes: &[&str], more: &[&str]| {
        let first = json!({"compose": {"include": [{"system": "s"}], "exclude": [concepts("s", codes)]}});
        let second =
            json!({"compose": {"include": [{"valueSet": ["http://vs/two"]}], "exclude": [concepts("s", more)]}});
        told(&[("one", second), ("two", first)])
    };
    assert!(all_but(first, &rest[1..]).starts_with("s|*-"));
    assert!(all_but(first, rest).starts_with("ValueSet.compose: makes a value set of more than 20000 codes"));
    let chain = |length: usize| -> Vec<(String, Value)> {
        let set = |n: usize| {
            let part = if n + 1 < length {
                json!({"valueSet": [format!("http://vs/{}", name(n + 1))]})
            } else {
                concepts("s", &["a"])
            };
            (name(n), include(json!([part])))
        };
        (0..length).map(set).collect()
    };
    fn name(n: usize) -> String {
        if n == 0 { "one".to_owned() } else { format!("n{n}") }
    }
    for (length, is_told) in [(DEPTH_MAX, true), (DEPTH_MAX + 1, false)] {
        let sets = chain(length);
        let sets: Vec<(&str, Value)> = sets.iter().map(|(name, set)| (name.as_str(), set.clone())).collect();
        let told = told(&sets);
        assert_eq!(told == "s|a", is_told, "{length}: {told}");
        assert!(is_told || told.contains("more than 8 value sets"), "{told}");
    }
}

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

/// Sets of which each includes the next one `times` times.
fn tower(height: usize, times: usize, codes: &[&str]) -> Vec<(String, Value)> {
    let name = |n: usize| if n == 0 { "one".to_owned() } else { format!("n{n}") };
    let set = |n: usize| match n + 1 < height {
        true => include(json!([{"valueSet": vec![format!("http://vs/{}", name(n + 1)); times]}])),
        false => include(json!([concepts("s", codes)])),
    };
    (0..height).map(|n| (name(n), set(n))).collect()
}

fn named_so(sets: &[(String, Value)]) -> Vec<(&str, Value)> {
    sets.iter().map(|(name, set)| (name.as_str(), set.clone())).collect()
}

#[test]
fn value_sets_that_include_one_another_many_times_are_told_once_each() {
    // Told anew for each include, the last one would be told 100^7 times.
    let (tower, mut budget) = (tower(DEPTH_MAX, 100, &["a", "b"]), Budget::default());
    assert_eq!(told_for(&named_so(&tower), &mut budget), "s|a s|b");
    assert_eq!(budget.spent(Kind::Imports), 700);
    // Of each import two codes and a system; the two that are listed, and each set's one part.
    assert_eq!(budget.spent(Kind::Looks), 700 * 3 + 2 + DEPTH_MAX);
    // A diamond at each step, whose sides are sets of their own.
    let side = |n: usize, side: &str| {
        (format!("{side}{n}"), include(json!([{"valueSet": [format!("http://vs/n{}", n + 1)]}])))
    };
    let knot = |n: usize| {
        let name = if n == 0 { "one".to_owned() } else { format!("n{n}") };
        let sides = json!([{"valueSet": [format!("http://vs/l{n}")]}, {"valueSet": [format!("http://vs/r{n}")]}]);
        [(name, include(sides)), side(n, "l"), side(n, "r")]
    };
    let mut diamonds: Vec<(String, Value)> = (0..3).flat_map(knot).collect();
    diamonds.push(("n3".to_owned(), include(json!([concepts("s", &["a"])]))));
    let mut budget = Budget::default();
    assert_eq!(told_for(&named_so(&diamonds), &mut budget), "s|a");
    assert_eq!(budget.spent(Kind::Imports), 12);
}

#[test]
fn more_work_than_one_request_may_be_is_too_costly_and_says_so() {
    // With what others of the request have left of it.
    let refused = |sets: &[(&str, Value)], looks_left: usize| {
        let (mut shelf, names, mut budget) = (shelf(sets), [named("http://vs/one")], Budget::default());
        budget.take(Kind::Looks, budget::LOOKS_MAX - looks_left).expect("there is as much");
        shelf.answer(&names, BASE, &mut budget);
        let refusal = shelf.sets(&names).members(&names[0]).expect_err("too costly");
        assert!(matches!(refusal, Refusal::TooCostly { .. }), "{refusal}");
        (refusal.to_string(), budget)
    };
    // One name more often than includes are followed.
    let often = vec!["http://vs/two"; IMPORTS_MAX + 1];
    let two = || ("two", include(json!([concepts("s", &["a"])])));
    let (text, budget) = refused(&[("one", include(json!([{"valueSet": often}]))), two()], budget::LOOKS_MAX);
    assert!(
        text.starts_with("ValueSet.compose.include[0].valueSet[1000]: ") && text.contains("1000 includes"),
        "{text}"
    );
    assert_eq!(budget.spent(Kind::Imports), IMPORTS_MAX);
    // A long list so often that more codes are looked at than may be.
    let numbered: Vec<String> = (0..CODES_MAX).map(|n| n.to_string()).collect();
    let codes: Vec<&str> = numbered.iter().map(String::as_str).collect();
    let parts = vec![json!({"valueSet": ["http://vs/two"]}); 60];
    let long = [("one", include(json!(parts))), ("two", include(json!([concepts("s", &codes)])))];
    let (text, budget) = refused(&long, 5 * CODES_MAX);
    assert!(text.starts_with("ValueSet.compose.include[3]") && text.contains("1000000 codes"), "{text}");
    assert_eq!(budget.spent(Kind::Looks), budget::LOOKS_MAX);
    // One code so often that more are looked at, although the set is small.
    let same = concepts("s", &vec!["a"; 1_000]);
    let (text, _) = refused(&[("one", include(json!([same])))], 1_000);
    assert!(text.starts_with("ValueSet.compose.include[0].concept[999]: "), "{text}");
    // Ever so many sets of many codes, of which nothing is in all of them.
    let many = |n: usize| {
        (format!("n{n}"), include(json!([{"valueSet": ["http://vs/two"]}, concepts("s", &[&format!("x{n}")])])))
    };
    let mut sets: Vec<(String, Value)> = (0..12).map(many).collect();
    let names: Vec<String> = sets.iter().map(|(name, _)| format!("http://vs/{name}")).collect();
    sets.push(("one".to_owned(), include(json!([{"valueSet": names}]))));
    sets.push(("two".to_owned(), include(json!([concepts("s", &codes[1..])]))));
    let (text, budget) = refused(&named_so(&sets), budget::LOOKS_MAX);
    assert!(text.contains("200000 to remember"), "{text}");
    assert_eq!(budget.spent(Kind::Kept), budget::KEPT_MAX);
}

#[test]
fn long_systems_and_codes_count_by_their_bytes_wherever_they_are_looked_at() {
    let spent = |sets: &[(&str, Value)]| {
        let mut budget = Budget::default();
        let told = told_for(sets, &mut budget);
        (told, budget.spent(Kind::Looks), budget.spent(Kind::Kept))
    };
    // The same code a hundred times, of a system as long as one may be: a set of one code, and no cheap one.
    let system = "s".repeat(TEXT_BYTES_MAX);
    let listed = include(json!([concepts(&system, &["a"; 100])]));
    let entries = vec![json!({"system": system, "code": "a"}); 100];
    let expanded = json!({"expansion": {"contains": entries}});
    let each = 1 + (TEXT_BYTES_MAX + 1) / 64;
    for (set, parts) in [(listed, 1), (expanded, 0)] {
        let (told, looks, kept) = spent(&[("one", set)]);
        assert_eq!(told, format!("{system}|a"));
        assert_eq!((looks, kept), (parts + 100 * each, 1 + each));
    }
    // Long codes that begin alike, imported again and again.
    let codes: Vec<String> = (0..10).map(|n| format!("{n:0>640}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let often = include(json!([{"valueSet": vec!["http://vs/two"; 5]}]));
    let (_, looks, kept) = spent(&[("one", often), ("two", include(json!([concepts("s", &codes)])))]);
    assert_eq!((looks, kept), (2 + 10 * 11 + 5 * (1 + 10 * 11), 2 * (1 + 10 * 11)));
}

#[test]
fn systems_and_codes_longer_than_any_are_too_costly_before_they_are_compared() {
    let (long, longest) = ("l".repeat(TEXT_BYTES_MAX + 1), "l".repeat(TEXT_BYTES_MAX));
    let entry = |system: &str, code: &str| json!({"expansion": {"contains": [{"system": system, "code": code}]}});
    for (set, place) in [
        (include(json!([concepts(&long, &["a"])])), "ValueSet.compose.include[0].system"),
        (include(json!([{"system": long}])), "ValueSet.compose.include[0].system"),
        (include(json!([concepts("s", &["a", &long])])), "ValueSet.compose.include[0].concept[1].code"),
        (entry(&long, "a"), "ValueSet.expansion.contains[0].system"),
        (entry("s", &long), "ValueSet.expansion.contains[0].code"),
    ] {
        let told = told(&[("one", set)]);
        assert!(told.starts_with(&format!("{place}: is longer than 1000 bytes")), "{place}: {told}");
    }
    assert_eq!(told(&[("one", entry(&longest, &longest))]), format!("{longest}|{longest}"));
}

#[test]
fn all_names_of_a_request_are_told_from_one_budget_and_what_is_spent_stays_spent() {
    let sets =
        [("one", include(json!([{"valueSet": ["http://vs/two"]}]))), ("two", include(json!([concepts("s", &["a"])])))];
    let (mut shelf, mut budget) = (shelf(&sets), Budget::default());
    let names = [named("http://vs/one"), named("http://vs/two"), named("ValueSet/one")];
    shelf.answer(&names, BASE, &mut budget);
    shelf.close();
    let once = budget.clone();
    assert_eq!((once.spent(Kind::Imports), once.spent(Kind::Kept)), (1, 4), "each set is told once");
    shelf.answer(&names, BASE, &mut budget);
    assert_eq!(budget, once, "what was answered is answered again for nothing");
    assert!(budget.take(Kind::Looks, usize::MAX).is_err());
    assert!(budget.take(Kind::Looks, 1).is_err(), "what could not be paid for is paid with the rest");
}

#[test]
fn how_deep_a_set_is_does_not_depend_on_which_name_is_told_first() {
    let tower = tower(DEPTH_MAX + 1, 1, &["a"]);
    let names = [named("http://vs/one"), named("http://vs/n1")];
    for order in [[0, 1], [1, 0]] {
        let (mut shelf, mut budget) = (shelf(&named_so(&tower)), Budget::default());
        for at in order {
            shelf.answer(&names[at..=at], BASE, &mut budget);
        }
        let sets = shelf.sets(&names);
        assert!(matches!(sets.members(&names[0]), Err(Refusal::TooCostly { .. })), "{order:?}");
        assert!(sets.members(&names[1]).is_ok(), "{order:?}");
    }
}

/// What a set is by its definition alone, without anything being remembered; none where it is in no case told.
fn by_definition(
    sets: &[Vec<Vec<usize>>],
    at: usize,
    open: &mut Vec<usize>,
) -> Option<std::collections::BTreeSet<usize>> {
    if open.contains(&at) || open.len() == DEPTH_MAX {
        return None;
    }
    open.push(at);
    // Each has a code of its own besides.
    let mut all = std::collections::BTreeSet::from([at]);
    for part in &sets[at] {
        let mut each = part.iter().map(|&name| by_definition(sets, name, open));
        let first = each.next().expect("not empty")?;
        let both = each.try_fold(first, |both, one| Some(both.intersection(&one?).copied().collect()))?;
        all.extend(both);
    }
    open.pop();
    Some(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Diamonds, cycles, chains and repetitions, as they come.
    #[test]
    fn whatever_value_sets_include_one_another_each_is_told_once_and_as_its_definition_says(
        sets in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(0_usize..7, 1..4), 0..3), 7),
    ) {
        let name = |at: usize| if at == 0 { "one".to_owned() } else { format!("n{at}") };
        let value = |at: usize, parts: &Vec<Vec<usize>>| {
            let own = concepts("s", &[&at.to_string()]);
            let parts = parts.iter().map(|part| {
                json!({"valueSet": part.iter().map(|&at| format!("http://vs/{}", name(at))).collect::<Vec<_>>()})
            });
            (name(at), include(json!(std::iter::once(own).chain(parts).collect::<Vec<_>>())))
        };
        let values: Vec<(String, Value)> = sets.iter().enumerate().map(|(at, parts)| value(at, parts)).collect();
        let mut budget = Budget::default();
        let told = told_for(&named_so(&values), &mut budget);
        match by_definition(&sets, 0, &mut Vec::new()) {
            Some(codes) => {
                let expected: Vec<String> = codes.iter().map(|code| format!("s|{code}")).collect();
                prop_assert_eq!(told, expected.join(" "));
            }
            None => prop_assert!(told.contains("includes what includes it"), "{}", told),
        }
        // At most one telling of each: every include is followed once, and pays for seven codes and a system at most.
        let includes: usize = sets.iter().flatten().map(Vec::len).sum();
        let parts: usize = sets.iter().map(|parts| 2 + parts.len()).sum();
        prop_assert!(budget.spent(Kind::Imports) <= includes);
        prop_assert!(budget.spent(Kind::Looks) <= includes * 8 + parts);
        prop_assert!(budget.spent(Kind::Kept) <= 7 * 8);
    }
}
