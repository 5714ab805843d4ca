//! What a ValueSet lists, and the place from which it does not say what it holds.

use super::*;

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
