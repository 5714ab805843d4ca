//! Queries, read.

use super::*;
use crate::{
    index::sight::{Limited, Part},
    resources::resource,
};

fn parse(kind: &str, query: &str, handling: Handling) -> Result<Query, Refusal> {
    let pairs: Vec<(String, String)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, text)| (name.to_string(), text.to_string()))
        .collect();
    Query::parse(resource(kind).expect("kept"), &pairs, handling, "http://here/fhir")
}

#[test]
fn unknown_parameters_follow_handling() {
    let lenient = parse("Patient", "name=a&color=red", Handling::Lenient).expect("lenient");
    assert_eq!(lenient.ignored, [Unsupported::Parameter("color".into())]);
    assert_eq!(lenient.applied.len(), 1);
    let strict = parse("Patient", "name=a&color=red", Handling::Strict);
    assert_eq!(strict.err(), Some(Refusal::UnsupportedParameter("color".into())));
}

#[test]
fn what_is_wrong_is_refused_whatever_the_handling() {
    for query in [
        "birthdate=soon",
        "birthdate=ge",
        "birthdate=1970-13",
        "name:fuzzy=a",
        "gender:contains=m",
        "_count=many",
        "_total=all",
        "_summary=maybe",
        "_sort=shoe-size",
        "_sort=family,,name",
        "_elements=",
        "_elements=a|b",
        "_sort=",
        "_cursor=1",
        "_cursor=1-2-3-4",
        "_cursor=-1-2",
        "_format=ttl",
        "identifier:of-type=a|b",
        "active:missing=perhaps",
    ] {
        assert!(parse("Patient", query, Handling::Lenient).is_err(), "{query}");
    }
    for wrong in ["46", "91|0", "0|181", "0|0|-1", "0|0|1|parsec", "a|b", "0|0|1|km|x"] {
        assert!(parse("Location", &format!("near={wrong}"), Handling::Lenient).is_err(), "{wrong}");
    }
    assert!(parse("Observation", "value-quantity=abc", Handling::Lenient).is_err());
    assert!(parse("Observation", &format!("code={}", "a,".repeat(300)), Handling::Lenient).is_err());
}

#[test]
fn a_list_that_a_server_would_make_itself_is_refused_and_not_said_to_be_empty() {
    for query in [
        "_list=$current-allergies",
        "_list=a,$current-problems",
        "_list=List/a,$current-medications",
        "_list=List/$current-allergies",
        "_list=\\$current-allergies",
    ] {
        for (kind, chain) in [("AllergyIntolerance", ""), ("Observation", "based-on."), ("Group", "member:Patient.")] {
            for handling in [Handling::Lenient, Handling::Strict] {
                let refused = parse(kind, &format!("{chain}{query}"), handling).expect_err(query);
                assert!(matches!(refused, Refusal::UnsupportedValue(_)), "{chain}{query}: {refused}");
            }
        }
    }
}

#[test]
fn patients_of_a_search_are_known() {
    let query = parse("DocumentReference", "patient=Patient/1,2&status=current", Handling::Strict).expect("valid");
    assert_eq!(query.patients(), ["1", "2"]);
    let query = parse("DocumentReference", "subject:Group=1", Handling::Strict).expect("valid");
    assert!(query.patients().is_empty());
}

#[test]
fn chains_name_the_types_they_look_into() {
    let types = |query| parse("Observation", query, Handling::Strict).expect("valid").types();
    assert_eq!(types("patient.identifier=s|1&subject:Group._id=3"), ["Observation", "Patient", "Group"]);
    // One of several types, whichever has such a name: the client names none.
    assert_eq!(types("subject.name=a"), ["Observation"]);
    let deep = "subject:Patient.organization.name=a&_has:Provenance:target:agent:Practitioner.name=b";
    assert_eq!(types(deep), ["Observation", "Patient", "Organization", "Provenance", "Practitioner"]);
    for wrong in
        ["subject:Patient.shoe-size=1", "code.name=a", "_has:Provenance:recorded:_id=1", "_has:Spaceship:a:b=1"]
    {
        assert!(parse("Observation", wrong, Handling::Strict).is_err(), "{wrong}");
    }
    for wrong in ["_has:Provenance:target=1", "_has:Encounter:patient:_id=1", "subject:Patient.birthdate=soon"] {
        assert!(parse("Observation", wrong, Handling::Lenient).is_err(), "{wrong}");
    }
    let values = "a,".repeat(ALTERNATIVES_MAX - 1) + "a";
    let wide: Vec<String> = (0..CRITERIA_MAX).map(|_| format!("performer.identifier={values}")).collect();
    assert!(matches!(parse("Observation", &wide.join("&"), Handling::Lenient), Err(Refusal::BadRequest(_))));
    let long = format!("{}_id=1", "part-of:Observation.".repeat(STEPS_MAX + 1)).replace("part-of", "has-member");
    assert!(matches!(parse("Observation", &long, Handling::Lenient), Err(Refusal::BadRequest(_))));
}

#[test]
fn includes_are_read_in_every_form() {
    let includes = |query| parse("Observation", query, Handling::Strict).map(|query| query.includes.len());
    for query in [
        "_include=*",
        "_include=Observation:*",
        "_include=Observation:subject",
        "_include=Observation:subject:Patient",
        "_include:iterate=Patient:organization",
        "_revinclude=Provenance:target",
        "_revinclude:recurse=Provenance:target:Observation",
    ] {
        assert_eq!(includes(query), Ok(1), "{query}");
    }
    for query in ["_include=Observation", "_include:sideways=*", "_include=Observation:shoe", "_include=A:b:c:d"] {
        assert!(includes(query).is_err(), "{query}");
    }
}

#[test]
fn cursors_survive_their_text() {
    for cursor in [Cursor { snapshot: 7, after: 3, total: None }, Cursor { snapshot: 7, after: 0, total: Some(12) }] {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
}

#[test]
fn what_one_parameter_unfolds_into_is_bounded_while_it_is_read() {
    let values = vec!["a"; ALTERNATIVES_MAX].join(",");
    let chain = format!("item.part-of.focus.based-on.subject._id={values}");
    let refused = parse("List", &chain, Handling::Lenient).expect_err("1,820 ends of the chain, 200 values each");
    assert!(refused.to_string().contains("alternatives in all"), "{refused}");
    // What the index can bind in one statement: 40 criteria of 200 places with eleven parts are more.
    let quantity = format!("value-quantity={}", vec!["5|http://unitsofmeasure.org|kg"; ALTERNATIVES_MAX].join(","));
    assert!(parse("Observation", &vec![quantity; 40].join("&"), Handling::Lenient).is_err());
    assert!(parse("Patient", &vec!["gender=male"; CRITERIA_MAX + 1].join("&"), Handling::Lenient).is_err());
}

#[test]
fn what_scopes_demand_at_each_end_of_a_chain_is_bounded_with_it() {
    let ids: Vec<String> = (0..60).map(|n| format!("id-{n}")).collect();
    let criteria = parse("Patient", &format!("_id={}", ids.join(",")), Handling::Strict).expect("ids").criteria;
    let patients =
        Limited { resource: resource("Patient").expect("kept"), parts: vec![Part { is_own: false, criteria }] };
    let seen = |query: &str| {
        let sight = Sight { limited: vec![patients.clone()], ..Sight::default() };
        parse("List", query, Handling::Strict).expect("a chain").see(sight)
    };
    assert_eq!(seen("item:Observation.subject:Patient.name=a"), Ok(()));
    let refused = seen("item.part-of.focus.based-on.subject._id=a").expect_err("hundreds of Patients' ends");
    assert!(refused.to_string().contains("those of the token's scopes"), "{refused}");
}

#[test]
fn what_needs_value_sets_or_code_systems_is_refused_with_the_reason() {
    for (query, reason) in [
        ("code:in=http://hl7.org/fhir/ValueSet/observation-codes", "value set"),
        ("code:not-in=http://example.org/canary", "value set"),
        ("based-on:ServiceRequest.code:in=ValueSet/canary", "value set"),
        ("_has:DiagnosticReport:result:code:in=ValueSet/canary", "value set"),
        // Whichever type has such a parameter: what the chain passes over, it would not be asked about.
        ("based-on.code:in=ValueSet/canary", "value set"),
        ("code:below=http://loinc.org|canary", "code system"),
        ("code:above=canary", "code system"),
    ] {
        for handling in [Handling::Lenient, Handling::Strict] {
            let refused = parse("Observation", query, handling).expect_err("it would be another question without it");
            assert!(refused.to_string().contains(reason) && !refused.to_string().contains("canary"), "{refused}");
        }
    }
}
