//! What the members of value sets find, and which ValueSet a canonical URL means.

use std::collections::BTreeMap;

use super::*;
use crate::{
    index::{sight::Sight, value_sets::Candidate},
    search::ALTERNATIVES_IN_ALL_MAX,
    value_sets::{CODES_MAX, Members, Named, Pins, Sets},
};

/// `s|a`, or `s|*` for all codes of a system.
fn members(codes: &[&str]) -> Members {
    codes.iter().fold(Members::default(), |members, text| {
        let (system, code) = text.split_once('|').expect("a system");
        let mut one = Members::default();
        match code {
            "*" => one = Members::whole(system),
            code => one.add(system, code),
        }
        members.union(&one)
    })
}

fn sets(named: Vec<(&str, Members)>) -> Sets {
    let named = named.into_iter().map(|(name, members)| {
        let name = Named::read(&format!("ValueSet/{name}"), BASE).expect("a name");
        (name, Ok(Arc::new(members)))
    });
    Sets::new(named.collect::<BTreeMap<_, _>>(), Pins::default())
}

fn among(kind: &str, query: &str, sets: &Sets) -> Result<Query, Refusal> {
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Query::parse_among(resource(kind).expect("kept"), &pairs, Handling::Strict, BASE, sets)
}

fn found(fixture: &Fixture, kind: &str, query: &str, sets: &Sets) -> String {
    let query = among(kind, query, sets).expect("valid");
    let page = fixture.index.search(&query).expect("searches");
    assert_eq!(page.total, Some(page.hits.len() as u64));
    page.hits.into_iter().map(|hit| hit.id).collect::<Vec<_>>().join(" ")
}

fn filled() -> Fixture {
    let fixture = fixture();
    let long = "l".repeat(500);
    let observation = |code: String| format!(r#"{{"resourceType":"Observation","status":"final","code":{code}}}"#);
    let coded = |codings: &[(&str, &str)]| {
        let codings = codings.iter().map(|(system, code)| match *system {
            "" => format!(r#"{{"code":"{code}"}}"#),
            _ => format!(r#"{{"system":"{system}","code":"{code}"}}"#),
        });
        observation(format!(r#"{{"coding":[{}]}}"#, codings.collect::<Vec<_>>().join(",")))
    };
    for (id, json) in [
        ("sa", coded(&[("s", "a")])),
        ("sb", coded(&[("s", "b")])),
        ("ta", coded(&[("t", "a")])),
        ("two", coded(&[("s", "b"), ("t", "z")])),
        ("no-system", coded(&[("", "a")])),
        ("text", observation(r#"{"text":"a"}"#.to_owned())),
        ("quoted", coded(&[("s", r#"q\"'q"#)])),
        ("long", coded(&[("s", &long)])),
    ] {
        fixture.put(id, 1, 1, &json);
    }
    let report =
        r#"{"resourceType":"DiagnosticReport","status":"final","code":{"coding":[{"system":"s","code":"x"}]},"#;
    fixture.put("r1", 1, 1, &format!(r#"{report}"result":[{{"reference":"Observation/sa"}}]}}"#));
    fixture.put("r2", 1, 1, &format!(r#"{report}"result":[{{"reference":"Observation/ta"}}]}}"#));
    let contained = coded(&[("s", "a")]).replacen('{', r#"{"id":"in","#, 1);
    fixture.put("r3", 1, 1, &format!(r##"{report}"contained":[{contained}],"result":[{{"reference":"#in"}}]}}"##));
    for (id, gender) in [("f", "female"), ("m", "male")] {
        fixture.put(id, 1, 1, &format!(r#"{{"resourceType":"Patient","gender":"{gender}"}}"#));
    }
    fixture
}

#[test]
fn what_is_in_a_value_set_is_found_and_what_is_in_none_is_what_is_left() {
    let fixture = filled();
    let long = format!("s|{}", "l".repeat(500));
    let but_b = members(&["s|*"]).difference(&members(&["s|b"]));
    let sets = sets(vec![
        ("a", members(&["s|a"])),
        ("both", members(&["s|a", "t|a"])),
        ("b", members(&["s|b"])),
        ("whole", members(&["s|*"])),
        ("but-b", but_b),
        ("mixed", members(&["s|*", "t|a"])),
        ("empty", members(&[])),
        ("long", members(&[&long, "s|q\"'q"])),
        ("elsewhere", members(&["u|a", "u|*"])),
        ("female", members(&["http://hl7.org/fhir/administrative-gender|female"])),
    ]);
    for (kind, query, expected) in [
        ("Observation", "code:in=ValueSet/a", "sa"),
        ("Observation", "code:in=ValueSet/both", "sa ta"),
        ("Observation", "code:in=ValueSet/b", "sb two"),
        ("Observation", "code:in=ValueSet/a,ValueSet/b", "sa sb two"),
        ("Observation", "code:in=ValueSet/b&code:not-in=ValueSet/a", "sb two"),
        ("Observation", "code:in=ValueSet/whole", "sa sb two quoted long"),
        ("Observation", "code:in=ValueSet/but-b", "sa quoted long"),
        ("Observation", "code:in=ValueSet/mixed", "sa sb ta two quoted long"),
        ("Observation", "code:in=ValueSet/long", "quoted long"),
        ("Observation", "code:in=ValueSet/empty", ""),
        ("Observation", "code:in=ValueSet/elsewhere", ""),
        ("Observation", "code:in=ValueSet/a&code=s|b", ""),
        ("Observation", "code:not-in=ValueSet/both", "sb two no-system text quoted long"),
        ("Observation", "code:not-in=ValueSet/whole", "ta no-system text"),
        ("Observation", "code:not-in=ValueSet/whole,ValueSet/both", "no-system text"),
        ("Observation", "code:not-in=ValueSet/empty", "sa sb ta two no-system text quoted long"),
        ("Observation", "code:in=ValueSet/both&_sort=-code,_id", "sa ta"),
        ("Observation", "combo-code:in=ValueSet/a", "sa"),
        ("DiagnosticReport", "result.code:in=ValueSet/a", "r1 r3"),
        ("DiagnosticReport", "result:Observation.code:in=ValueSet/both", "r1 r2 r3"),
        ("DiagnosticReport", "result.code:not-in=ValueSet/a", "r2"),
        ("Observation", "_has:DiagnosticReport:result:code:in=ValueSet/whole", "sa ta"),
        ("Patient", "gender:in=ValueSet/female", "f"),
        ("Patient", "gender:not-in=ValueSet/female", "m"),
    ] {
        assert_eq!(found(&fixture, kind, query, &sets), expected, "{kind}?{query}");
    }
    // What is compared in memory is compared alike.
    let document = |code: &str| {
        let json =
            format!(r#"{{"resourceType":"Observation","code":{{"coding":[{{"system":"s","code":"{code}"}}]}}}}"#);
        Unlisted { resource_type: "Observation", name: code.to_owned(), document: Document::parse(json).expect("JSON") }
    };
    let queries: Vec<Query> = ["code:in=ValueSet/b", "code:not-in=ValueSet/b"]
        .map(|query| among("Observation", query, &sets).expect("valid"))
        .into();
    let met = fixture.index.matching(&[document("a"), document("b")], &queries).expect("compares");
    assert_eq!(met, ["b", "a"].map(|name| BTreeSet::from([name.to_owned()])));
}

#[test]
fn a_value_set_of_as_many_codes_as_may_be_is_one_value_of_the_statement() {
    let fixture = filled();
    let mut many = members(&["s|a"]);
    (1..CODES_MAX).for_each(|n| many.add("s", &format!("none-{n}")));
    let sets = sets(vec![("many", many)]);
    assert_eq!(found(&fixture, "Observation", "code:in=ValueSet/many", &sets), "sa");
    assert_eq!(found(&fixture, "DiagnosticReport", "result.code:in=ValueSet/many", &sets), "r1 r3");
    let often = ["code:in=ValueSet/many"; 6].join("&");
    let refused = among("Observation", &often, &sets).expect_err("six times 20,000 codes");
    assert!(refused.to_string().contains(&format!("more than {ALTERNATIVES_IN_ALL_MAX} alternatives")), "{refused}");
}

#[test]
fn what_holds_no_codes_or_no_systems_is_refused_by_name() {
    let sets = sets(vec![("a", members(&["s|a"])), ("whole", members(&["s|*"]))]);
    for (kind, query, reason) in [
        ("Patient", "identifier:in=ValueSet/a", "identifier holds no codes"),
        ("Patient", "telecom:in=ValueSet/a", "telecom holds no codes"),
        ("Patient", "active:in=ValueSet/a", "active holds no codes"),
        ("Patient", "gender:in=ValueSet/whole", "gender has codes without their system"),
        ("Patient", "organization:in=ValueSet/a", "modifier"),
        ("Patient", "name:in=ValueSet/a", "modifier"),
        ("Observation", "code-value-concept:in=ValueSet/a", "modifier"),
        ("Observation", "code:in=ValueSet/b", "not kept here"),
        ("Observation", "code:in=loinc", "not kept here"),
        ("Observation", "code:in=ValueSet/a,", "not kept here"),
        ("Observation", "code:in=", "not kept here"),
        ("Observation", "subject.gender:in=ValueSet/whole", "gender has codes without their system"),
    ] {
        let refused = among(kind, query, &sets).expect_err(query);
        assert!(refused.to_string().contains(reason), "{query}: {refused}");
    }
}

#[test]
fn a_canonical_url_finds_its_value_sets_and_what_decides_between_them() {
    let fixture = fixture();
    for (id, rest) in [
        ("first", r#""url":"http://vs/a","version":"1.9","status":"active","date":"2020-01-01""#),
        ("second", r#""url":"http://vs/a","version":"1.10","status":"active""#),
        ("draft", r#""url":"http://vs/a","version":"2","status":"draft""#),
        ("other", r#""url":"http://vs/a/b","version":"3","status":"active""#),
    ] {
        fixture.put(id, 1, 1, &format!(r#"{{"resourceType":"ValueSet",{rest}}}"#));
    }
    let sight = || Sight { whole: vec!["ValueSet"], ..Sight::default() };
    let of = |url: &str, version: Option<&str>, sight: Sight| -> Vec<Candidate> {
        fixture.index.value_sets(url, version, sight, 9).expect("finds")
    };
    let ids = |found: Vec<Candidate>| found.into_iter().map(|found| found.id).collect::<Vec<_>>();
    let mut all = of("http://vs/a", None, sight());
    assert_eq!(all[0].edition.version.as_deref(), Some("1.9"));
    assert_eq!(all[0].edition.dated, 1_577_836_800_000);
    all.sort_by(|one, other| one.edition.order(&other.edition));
    assert_eq!(ids(all), ["draft", "first", "second"]);
    assert_eq!(ids(of("http://vs/a", Some("1.9"), sight())), ["first"]);
    assert!(of("http://vs/a", Some("4"), sight()).is_empty());
    assert!(of("http://vs", None, sight()).is_empty());
    assert!(of("http://vs/a", None, Sight::default()).is_empty(), "out of sight");
    fixture.delete("ValueSet", "second", 2);
    assert_eq!(of("http://vs/a", None, sight()).len(), 2);
}
