//! What a ValueSet may be, and how much work a request may have with it.

use super::*;
use crate::value_sets::budget::IMPORTS_MAX;

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

/// Sets of which each includes the next one `times` times.
fn tower(height: usize, times: usize, codes: &[&str]) -> Vec<(String, Value)> {
    let name = |n: usize| if n == 0 { "one".to_owned() } else { format!("n{n}") };
    let set = |n: usize| match n + 1 < height {
        true => include(json!([{"valueSet": vec![format!("http://vs/{}", name(n + 1)); times]}])),
        false => include(json!([concepts("s", codes)])),
    };
    (0..height).map(|n| (name(n), set(n))).collect()
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
