//! Patches on bodies: what changes, what keeps its bytes, and what is refused.

use super::*;

const TARGET: &str = r#"{ "resourceType" : "Patient", "id":"a" ,"active":true,
  "name":[ {"use":"official","family":"\u0041é","given":["A","B"],"_given":[null,{"id":"x"}]} , {"text":"T"} ],
  "extension":[{"url":"http://x/n","valueDecimal":1.00}], "deceasedBoolean": false }"#;

fn target() -> Document {
    Document::parse(TARGET).expect("JSON")
}

fn patched(content_type: &str, patch: &str) -> Result<String, Refusal> {
    let patch = Patch::read(content_type, patch.as_bytes().to_vec())?;
    patch.apply(&target()).map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
}

fn json_patch(operations: &str) -> Result<String, Refusal> {
    patched("application/json-patch+json", operations)
}

/// A Parameters resource of one operation; each part is a name and the rest of its JSON.
fn fhirpath(parts: &[(&str, &str)]) -> Result<String, Refusal> {
    let parts: Vec<String> = parts.iter().map(|(name, rest)| format!(r#"{{"name":"{name}",{rest}}}"#)).collect();
    let operation = format!(r#"{{"name":"operation","part":[{}]}}"#, parts.join(","));
    patched("application/fhir+json", &format!(r#"{{"resourceType":"Parameters","parameter":[{operation}]}}"#))
}

#[test]
fn what_a_patch_does_not_name_keeps_its_bytes() {
    let kept = [
        r#""name":[ {"use":"official","family":"\u0041é","given":["A","B"],"_given":[null,{"id":"x"}]} , {"text":"T"} ]"#,
        r#""extension":[{"url":"http://x/n","valueDecimal":1.00}]"#,
    ];
    let all = [
        json_patch(r#"[{"op":"replace","path":"/active","value":false}]"#),
        patched("application/merge-patch+json", r#"{"active":false}"#),
        patched("application/json", r#"{"active":false}"#),
        fhirpath(&[
            ("type", r#""valueCode":"replace""#),
            ("path", r#""valueString":"Patient.active""#),
            ("value", r#""valueBoolean":false"#),
        ]),
    ];
    for changed in all {
        let changed = changed.expect("applies");
        assert!(changed.contains(r#""active":false"#), "{changed}");
        for kept in kept {
            assert!(changed.contains(kept), "{changed}");
        }
    }
}

#[test]
fn json_patch_operations_do_what_rfc_6902_says() {
    let cases = [
        (r#"[{"op":"add","path":"/gender","value":"male"}]"#, r#""gender":"male""#),
        (r#"[{"op":"add","path":"/name/1","value":{"text":"M"}}]"#, r#"{"text":"M"},{"text":"T"}"#),
        (r#"[{"op":"add","path":"/name/-","value":{"text":"Z"}}]"#, r#"{"text":"T"},{"text":"Z"}"#),
        (r#"[{"op":"remove","path":"/name/0"}]"#, r#""name":[{"text":"T"}]"#),
        (r#"[{"op":"move","from":"/name/1","path":"/name/0"}]"#, r#""name":[{"text":"T"},{"use""#),
        (r#"[{"op":"copy","from":"/name/1","path":"/name/-"}]"#, r#"{"text":"T"},{"text":"T"}]"#),
        (r#"[{"op":"test","path":"/extension/0/valueDecimal","value":10e-1}]"#, "1.00"),
        (r#"[{"op":"test","path":"/name/1","value":{"text":"\u0054"}}]"#, r#"{"text":"T"}"#),
        (r#"[{"op":"replace","path":"/extension/0/valueDecimal","value":2.50}]"#, r#""valueDecimal":2.50"#),
        (r#"[{"op":"remove","path":"/name/1/text"}]"#, r#"{"id":"x"}]}],"#),
    ];
    for (operations, expected) in cases {
        let changed = json_patch(operations).expect("applies");
        assert!(changed.contains(expected), "{operations}: {changed}");
    }
}

#[test]
fn a_patch_that_cannot_be_done_names_its_operation() {
    let second = |operation: &str| json_patch(&format!(r#"[{{"op":"test","path":"/id","value":"a"}},{operation}]"#));
    for operation in [
        r#"{"op":"remove","path":"/nope"}"#,
        r#"{"op":"remove","path":""}"#,
        r#"{"op":"replace","path":"/name/2","value":1}"#,
        r#"{"op":"replace","path":"/name/01","value":1}"#,
        r#"{"op":"add","path":"/name/3","value":{}}"#,
        r#"{"op":"add","path":"/active/x","value":1}"#,
        r#"{"op":"add","path":"active","value":1}"#,
        r#"{"op":"add","path":"/active"}"#,
        r#"{"op":"move","from":"/name","path":"/name/0"}"#,
        r#"{"op":"test","path":"/extension/0/valueDecimal","value":1.01}"#,
        r#"{"op":"test","path":"/extension/0/valueDecimal","value":1e400}"#,
        r#"{"op":"frobnicate","path":"/id"}"#,
        r#"{"path":"/id"}"#,
    ] {
        match second(operation) {
            Err(Refusal::Invalid { path, .. }) => assert_eq!(path, "patch[1]", "{operation}"),
            other => panic!("{operation}: {other:?}"),
        }
    }
    assert!(matches!(json_patch(r#"{"op":"remove"}"#), Err(Refusal::Invalid { .. })));
}

#[test]
fn a_patch_cannot_make_a_body_without_bounds() {
    let doubled: Vec<String> = (0..60).map(|at| format!(r#"{{"op":"copy","from":"/name","path":"/x{at}"}}"#)).collect();
    assert!(json_patch(&format!("[{}]", doubled.join(","))).is_ok(), "copies in bounds are fine");
    let grown: Vec<String> = (0..60).map(|_| r#"{"op":"copy","from":"/name","path":"/name/-"}"#.to_owned()).collect();
    assert!(json_patch(&format!("[{}]", grown.join(","))).is_err());
    let deep: Vec<String> =
        (0..80).map(|depth| format!(r#"{{"op":"add","path":"{}","value":{{}}}}"#, "/a".repeat(depth + 1))).collect();
    assert!(json_patch(&format!("[{}]", deep.join(","))).is_err());
    let many = vec![r#"{"op":"test","path":"/id","value":"a"}"#; OPERATIONS_MAX + 1];
    assert!(json_patch(&format!("[{}]", many.join(","))).is_err());
}

#[test]
fn a_merge_patch_takes_away_merges_and_replaces() {
    let changed = patched(
        "application/merge-patch+json",
        r#"{"active":null,"name":[{"text":"N"}],"maritalStatus":{"text":"M","id":null}}"#,
    );
    let changed = changed.expect("applies");
    assert!(!changed.contains("active") && changed.contains(r#""name":[{"text":"N"}]"#), "{changed}");
    assert!(changed.ends_with(r#""maritalStatus":{"text":"M"}}"#), "{changed}");
}

#[test]
fn fhirpath_operations_do_what_the_specification_says() {
    let string = |text: &str| format!(r#""valueString":"{text}""#);
    let operation = |kind: &str, path: &str, more: &[(&str, &str)]| {
        let (kind, path) = (format!(r#""valueCode":"{kind}""#), string(path));
        let mut parts = vec![("type", kind.as_str()), ("path", path.as_str())];
        parts.extend(more);
        fhirpath(&parts)
    };
    let family = string("family");
    let (text, name, deceased) = (string("text"), string("name"), string("deceased"));
    let cases = [
        (
            operation("add", "Patient.name[1]", &[("name", &family), ("value", r#""valueString":"F""#)]),
            r#"{"text":"T","family":"F"}"#,
        ),
        (
            operation("add", "Patient", &[("name", &name), ("value", r#""valueHumanName":{"text":"N"}"#)]),
            r#"{"text":"T"},{"text":"N"}]"#,
        ),
        (
            operation(
                "add",
                "Patient.name[1]",
                &[("name", r#""valueString":"given""#), ("value", r#""valueString":"G""#)],
            ),
            r#""given":["G"]"#,
        ),
        (
            operation(
                "insert",
                "Patient.name",
                &[("index", r#""valueInteger":0"#), ("value", r#""valueHumanName":{"text":"N"}"#)],
            ),
            r#""name":[{"text":"N"},{"use""#,
        ),
        (
            operation(
                "insert",
                "Patient.name[0].given",
                &[("index", r#""valueInteger":1"#), ("value", r#""valueString":"X""#)],
            ),
            r#""given":["A","X","B"],"_given":[null,null,{"id":"x"}]"#,
        ),
        (operation("delete", "Patient.name[0].given[1]", &[]), r#""given":["A"]}"#),
        (operation("delete", "Patient.name.where(use = 'official')", &[]), r#""name":[{"text":"T"}]"#),
        (operation("delete", "Patient.deceased", &[]), r#""valueDecimal":1.00}]}"#),
        (operation("delete", "Patient.photo", &[]), r#""active":true"#),
        (
            operation("replace", "Patient.deceased", &[("value", r#""valueDateTime":"2020""#)]),
            r#""deceasedDateTime":"2020""#,
        ),
        (
            operation("replace", "Patient.name[0].given[1]", &[("value", r#""valueString":"C""#)]),
            r#""given":["A","C"]}"#,
        ),
        (
            operation("replace", "Patient.extension('http://x/n').value", &[("value", r#""valueDecimal":3.10"#)]),
            r#""valueDecimal":3.10"#,
        ),
        (
            operation(
                "move",
                "Patient.name",
                &[("source", r#""valueInteger":1"#), ("destination", r#""valueInteger":0"#)],
            ),
            r#""name":[{"text":"T"},{"use""#,
        ),
        (
            operation(
                "move",
                "Patient.name[0].given",
                &[("source", r#""valueInteger":1"#), ("destination", r#""valueInteger":0"#)],
            ),
            r#""given":["B","A"],"_given":[{"id":"x"},null]"#,
        ),
        (
            operation(
                "add",
                "Patient",
                &[
                    ("name", r#""valueString":"contact""#),
                    (
                        "value",
                        r#""part":[{"name":"name","valueHumanName":{"text":"C"}},{"name":"telecom","valueContactPoint":{"value":"1"}}]"#,
                    ),
                ],
            ),
            r#""contact":[{"name":{"text":"C"},"telecom":[{"value":"1"}]}]"#,
        ),
    ];
    for (at, (changed, expected)) in cases.into_iter().enumerate() {
        let changed = changed.unwrap_or_else(|refusal| panic!("case {at}: {refusal}"));
        assert!(changed.contains(expected), "case {at}: {changed}");
    }
    let refused = [
        operation("add", "Patient.name", &[("name", &text), ("value", r#""valueString":"F""#)]),
        operation("add", "Patient", &[("name", &deceased), ("value", r#""valueBoolean":true"#)]),
        operation("add", "Patient", &[("name", &deceased), ("value", r#""valueString":"x""#)]),
        operation("add", "Patient", &[("name", &family), ("value", r#""valueString":"x""#)]),
        operation(
            "insert",
            "Patient.name",
            &[("index", r#""valueInteger":3"#), ("value", r#""valueHumanName":{"text":"N"}"#)],
        ),
        operation("insert", "Patient.active", &[("index", r#""valueInteger":0"#), ("value", r#""valueBoolean":true"#)]),
        operation("delete", "Patient.name", &[]),
        operation("delete", "Patient", &[]),
        operation("delete", "Observation.code", &[]),
        operation("delete", "Patient.nmae", &[]),
        operation("replace", "Patient.gender", &[("value", r#""valueCode":"male""#)]),
        operation("replace", "Patient.name", &[("value", r#""valueHumanName":{"text":"N"}"#)]),
        operation("move", "Patient.name", &[("source", r#""valueInteger":2"#), ("destination", r#""valueInteger":0"#)]),
        operation("frobnicate", "Patient.name", &[]),
    ];
    for (at, refused) in refused.into_iter().enumerate() {
        match refused {
            Err(Refusal::Invalid { path, .. }) => assert_eq!(path, "Parameters.parameter[0]", "case {at}"),
            other => panic!("case {at}: {other:?}"),
        }
    }
}

#[test]
fn only_patches_are_read_as_patches() {
    for (content_type, body) in [
        ("application/fhir+json", r#"{"resourceType":"Patient"}"#),
        ("text/plain", "[]"),
        ("application/xml-patch+xml", "<diff/>"),
    ] {
        assert!(matches!(patched(content_type, body), Err(Refusal::UnsupportedMedia(_))), "{content_type}");
    }
}
