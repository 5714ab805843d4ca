//! What the definitions of FHIR R4 refuse, by path and position, and what they take.

use super::*;

fn problem(text: &str) -> Option<(String, String)> {
    match resource(&Document::parse(text.as_bytes().to_vec()).expect("JSON")) {
        Ok(_) => None,
        Err(Refusal::Invalid { path, problem, .. }) => Some((path, problem)),
        Err(other) => panic!("{text}: {other}"),
    }
}

#[test]
fn positions_are_looked_for_in_a_bounded_number_of_findings() {
    let entries = vec![r#"{"request":{"method":"GET","uri":"Patient"}}"#; 3 * FINDINGS_MAX].join(",");
    let bundle = format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{entries}]}}"#);
    let found = envelope(&Document::parse(bundle).expect("JSON"));
    assert!(found.len() >= 3 * FINDINGS_MAX, "{}", found.len());
    let has_position = |(_, refusal): &&(_, Refusal)| matches!(refusal, Refusal::Invalid { position: Some(_), .. });
    assert_eq!(found.iter().filter(has_position).count(), FINDINGS_MAX);
    assert!(found.iter().take(FINDINGS_MAX).all(|finding| has_position(&finding)), "those that come first");
    assert!(found.iter().all(|(entry, _)| entry.is_some()), "each is the answer of its entry");
}

#[test]
fn what_is_not_fhir_is_refused_by_element_path() {
    for (text, path) in [
        ("[]", "Resource"),
        ("{}", "Resource"),
        (r#"{"resourceType":"Patiant"}"#, "Resource"),
        (r#"{"resourceType":"HumanName"}"#, "Resource"),
        (r#"{"resourceType":1}"#, "Resource"),
        (r#"{"resourceType":"Patient","nmae":[]}"#, "Patient.nmae"),
        (r#"{"resourceType":"Patient","name":{}}"#, "Patient.name"),
        (r#"{"resourceType":"Patient","name":[]}"#, "Patient.name"),
        (r#"{"resourceType":"Patient","name":[{}]}"#, "Patient.name[0]"),
        (r#"{"resourceType":"Patient","name":[{"family":["a"]}]}"#, "Patient.name[0].family"),
        (r#"{"resourceType":"Patient","name":[{"family":""}]}"#, "Patient.name[0].family"),
        (r#"{"resourceType":"Patient","name":[{"given":"a"}]}"#, "Patient.name[0].given"),
        (r#"{"resourceType":"Patient","name":[{"given":[null]}]}"#, "Patient.name[0].given[0]"),
        (r#"{"resourceType":"Patient","active":"true"}"#, "Patient.active"),
        (r#"{"resourceType":"Patient","gender":"man"}"#, "Patient.gender"),
        (r#"{"resourceType":"Patient","birthDate":"1970-13-01"}"#, "Patient.birthDate"),
        (r#"{"resourceType":"Patient","birthDate":"1970-02-30"}"#, "Patient.birthDate"),
        (r#"{"resourceType":"Patient","_name":[]}"#, "Patient._name"),
        (r#"{"resourceType":"Patient","id":"a b"}"#, "Patient.id"),
        (r#"{"resourceType":"Patient","deceasedBoolean":true,"deceasedDateTime":"2020"}"#, "Patient.deceased[x]"),
        (
            r#"{"resourceType":"Patient","generalPractitioner":[{"reference":"a b"}]}"#,
            "Patient.generalPractitioner[0].reference",
        ),
        (r#"{"resourceType":"Patient","contained":[{"resourceType":"Nope"}]}"#, "Patient.contained[0]"),
        (r#"{"resourceType":"Patient","extension":[{"valueString":"a"}]}"#, "Patient.extension[0].url"),
        (r#"{"resourceType":"Patient","multipleBirthInteger":1.5}"#, "Patient.multipleBirthInteger"),
        (r#"{"resourceType":"Observation","status":"final"}"#, "Observation.code"),
        (r#"{"resourceType":"Observation","status":"done","code":{"text":"x"}}"#, "Observation.status"),
        (
            r#"{"resourceType":"MedicationRequest","status":"active","intent":"order","subject":{"reference":"Patient/1"}}"#,
            "MedicationRequest.medication[x]",
        ),
        (r#"{"resourceType":"DocumentReference","status":"current","content":[]}"#, "DocumentReference.content"),
        (r#"{"resourceType":"Patient","a\nb":1}"#, "Patient.(a key that is no name)"),
        (r#"{"resourceType":"Patient","name":[{"id":"1"}]}"#, "Patient.name[0]"),
        (r#"{"resourceType":"Patient","name":[{"given":["a"],"_given":[null,{"id":"1"}]}]}"#, "Patient.name[0]._given"),
        (r#"{"resourceType":"Patient","name":[{"_given":[null]}]}"#, "Patient.name[0]._given[0]"),
        (
            r#"{"resourceType":"Patient","name":[{"given":["a",null],"_given":[null,{"id":"1"}]}]}"#,
            "Patient.name[0]._given[1]",
        ),
        (r#"{"resourceType":"Patient","_birthDate":{"id":"1"}}"#, "Patient._birthDate"),
        (r#"{"resourceType":"Patient","extension":[{"url":"urn:x"}]}"#, "Patient.extension[0]"),
        (
            r#"{"resourceType":"Patient","extension":[{"url":"urn:x","valueCode":"a","extension":[{"url":"urn:y","valueCode":"b"}]}]}"#,
            "Patient.extension[0]",
        ),
        (r#"{"resourceType":"Patient","language":"en\u0007"}"#, "Patient.language"),
        (r#"{"resourceType":"Patient","text":{"status":"generated","div":"x"}}"#, "Patient.text.div"),
        (r#"{"resourceType":"Patient","text":{"status":"generated","_div":{"id":"x"}}}"#, "Patient.text._div"),
        (r#"{"resourceType":"Condition","subject":{"reference":"Practitioner/1"}}"#, "Condition.subject.reference"),
        (r#"{"resourceType":"Condition","subject":{"reference":"Patiant/1"}}"#, "Condition.subject.reference"),
        (r#"{"resourceType":"Condition","subject":{"reference":"http://a/Device/1"}}"#, "Condition.subject.reference"),
        (r#"{"resourceType":"Condition","subject":{"type":"Device"}}"#, "Condition.subject.type"),
        (
            r#"{"resourceType":"Condition","subject":{"type":"Group","reference":"Patient/1"}}"#,
            "Condition.subject.reference",
        ),
        (r##"{"resourceType":"Condition","subject":{"reference":"#p"}}"##, "Condition.subject.reference"),
        (
            r##"{"resourceType":"Condition","subject":{"reference":"#p"},"contained":[{"resourceType":"Device","id":"p"}]}"##,
            "Condition.subject.reference",
        ),
        (r#"{"resourceType":"Patient","contained":[{"resourceType":"Patient","id":"a"}]}"#, "Patient.contained[0]"),
        (
            r##"{"resourceType":"Patient","managingOrganization":{"reference":"#a"},"contained":[
                {"resourceType":"Organization","id":"a","contained":[{"resourceType":"Patient","id":"b"}]}]}"##,
            "Patient.contained[0].contained[0]",
        ),
        (
            r##"{"resourceType":"Patient","managingOrganization":{"reference":"#a"},"contained":[
                {"resourceType":"Organization","id":"a","name":"x"},{"resourceType":"Organization","id":"a","name":"y"}]}"##,
            "Patient.contained[1]",
        ),
        (
            r##"{"resourceType":"Patient","managingOrganization":{"reference":"#a"},"contained":[
                {"resourceType":"Organization","id":"a","meta":{"versionId":"1"}}]}"##,
            "Patient.contained[0]",
        ),
        (
            r#"{"resourceType":"Condition","subject":{"reference":"Patient/1"},"clinicalStatus":{"text":"active"}}"#,
            "Condition.clinicalStatus",
        ),
        (
            r#"{"resourceType":"Bundle","type":"batch","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Device"}},
                {"resource":{"resourceType":"Condition","subject":{"reference":"urn:uuid:1"}}}]}"#,
            "Bundle.entry[1].resource.subject.reference",
        ),
    ] {
        assert_eq!(problem(text).map(|(path, _)| path).as_deref(), Some(path), "{text}");
    }
}

#[test]
fn what_is_fhir_is_accepted() {
    for text in [
        r#"{"resourceType":"Patient","active":true,"multipleBirthInteger":2,"birthDate":"1970"}"#,
        r#"{"resourceType":"Patient","name":[{"given":["a",null],"_given":[null,{"extension":[{"url":"urn:x","valueDecimal":1.00}]}]}]}"#,
        r#"{"resourceType":"Patient","_birthDate":{"extension":[{"url":"http://x","valueCode":"unknown"}]}}"#,
        r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1e3}}"#,
        r##"{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"#p"},
            "contained":[{"resourceType":"Patient","id":"p"}]}"##,
        r##"{"resourceType":"Observation","status":"final","code":{"text":"x"},
            "contained":[{"resourceType":"Provenance","id":"p","target":[{"reference":"#"}],"recorded":"2020-01-01T00:00:00Z",
            "agent":[{"who":{"reference":"Practitioner/1"}}]}]}"##,
        r#"{"resourceType":"Condition","subject":{"reference":"http://elsewhere/fhir/Patient/1/_history/2","type":"Patient"},
            "clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"active"}]}}"#,
        r#"{"resourceType":"Bundle","type":"transaction","entry":[
            {"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}},
            {"resource":{"resourceType":"Condition","subject":{"reference":"urn:uuid:1"}},"request":{"method":"POST","url":"Condition"}}]}"#,
        r#"{"resourceType":"Patient","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"}}"#,
    ] {
        assert_eq!(problem(text), None, "{text}");
    }
}

#[test]
fn an_id_beside_a_value_needs_no_extension() {
    for text in [
        r#"{"resourceType":"Patient","birthDate":"1970","_birthDate":{"id":"1"}}"#,
        r#"{"resourceType":"Patient","name":[{"given":["a","b"],"_given":[null,{"id":"1"}]}]}"#,
    ] {
        assert_eq!(problem(text), None, "{text}");
    }
}

#[test]
fn errors_do_not_carry_content() {
    let text = r#"{"resourceType":"Patient","gender":"canary","name":[{"family":"x"}]}"#;
    let (path, problem) = problem(text).expect("refused");
    assert!(!format!("{path}{problem}").contains("canary"));
}

#[test]
fn links_are_found_wherever_they_stand() {
    let text = r##"{"resourceType":"DocumentReference","status":"current","subject":{"reference":"urn:uuid:1"},
        "content":[{"attachment":{"url":"urn:uuid:2"}}],"contained":[{"resourceType":"Patient",
        "id":"c","link":[{"type":"refer","other":{"reference":"Patient?identifier=a|b"}}]}],
        "author":[{"reference":"#c"}],"text":{"status":"generated","div":"<div xmlns=\"http:\/\/www.w3.org/1999/xhtml\">
        \u00e9\ud83d\ude00<a href='urn:uuid:\u0033'>x</a></div>"},"implicitRules":"urn:oid:1.2",
        "meta":{"profile":["urn:uuid:4"],"tag":[{"system":"urn:uuid:5"}]},
        "extension":[{"url":"urn:uuid:6","valueCanonical":"urn:uuid:7"},{"url":"urn:x","valueUuid":"urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}]}"##;
    let text = text.replace('\n', "");
    let links = resource(&Document::parse(text.clone()).expect("JSON")).expect("valid");
    let found: Vec<_> = links.iter().map(|link| (link.node.as_str().expect("text"), link.kind)).collect();
    let expected = [
        ("urn:uuid:1", LinkKind::Reference),
        ("urn:uuid:2", LinkKind::Address),
        ("Patient?identifier=a|b", LinkKind::Reference),
        ("#c", LinkKind::Reference),
        ("urn:uuid:3", LinkKind::Narrative),
        ("urn:oid:1.2", LinkKind::Address),
        ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", LinkKind::Address),
    ];
    assert_eq!(found, expected);
    assert_eq!(&text[links[4].node.range()], r"urn:uuid:\u0033", "where it stands, with its escapes");
}

#[test]
fn everything_that_is_wrong_is_found_with_its_place() {
    let text = "{\"resourceType\":\"Patient\",\n  \"gender\":\"x\",\n  \"näme\":1, \"active\":\"no\"}";
    let found = findings(&Document::parse(text.as_bytes().to_vec()).expect("JSON"));
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "Patient.gender: is not one of the codes that FHIR R4 requires here (line 2, column 12)",
            "Patient.(a key that is no name): is not an element of FHIR R4 (line 3, column 10)",
            "Patient.active: must be true or false (line 3, column 22)",
        ]
    );
    let many = format!("{{\"resourceType\":\"Patient\",\"name\":[{}{{}}]}}", "{},".repeat(1_000));
    assert_eq!(findings(&Document::parse(many).expect("JSON")).len(), FINDINGS_MAX);
}
