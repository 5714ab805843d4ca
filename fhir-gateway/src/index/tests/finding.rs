//! What each kind of parameter finds.

use careledger_wire::commitment;

use super::*;

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
fn a_range_is_found_by_what_it_may_be_and_equals_what_holds_all_of_it() {
    let fixture = fixture();
    let age = |value: u32| format!(r#"{{"value":{value},"system":"ucum","code":"a"}}"#);
    for (id, onset) in [
        ("38", format!(r#""onsetAge":{}"#, age(38))),
        ("40-45", format!(r#""onsetRange":{{"low":{},"high":{}}}"#, age(40), age(45))),
        ("50-", format!(r#""onsetRange":{{"low":{}}}"#, age(50))),
        ("-30", format!(r#""onsetRange":{{"high":{}}}"#, age(30))),
    ] {
        fixture.put(id, 1, 1, &format!(r#"{{"resourceType":"Condition","subject":{{"display":"x"}},{onset}}}"#));
    }
    let cases: &[(&str, &[&str])] = &[
        ("lt50", &["38", "40-45", "-30"]),
        ("le50|ucum|a", &["38", "40-45", "50-", "-30"]),
        ("le50|ucum|mo", &[]),
        ("gt43", &["40-45", "50-"]),
        ("ge45", &["40-45", "50-"]),
        ("gt45", &["50-"]),
        ("sa38", &["40-45", "50-"]),
        ("sa42", &["50-"]),
        ("eb43", &["38", "-30"]),
        // 42.5 to 43.5 does not hold all of it; 0 to 100 does.
        ("43", &[]),
        ("4e1", &["38"]),
        ("5e1", &[]),
        ("0e2", &["38", "40-45"]),
        ("ne43", &["38", "40-45", "50-", "-30"]),
        ("ap43", &["40-45"]),
        ("ap1000", &["50-"]),
    ];
    for (number, expected) in cases {
        assert_eq!(fixture.ids("Condition", &format!("onset-age={number}")), *expected, "{number}");
    }
    assert_eq!(fixture.ids("Condition", "onset-age:missing=true").len(), 0);
    let context = |value: &str| format!(r#"{{"code":{{"code":"age"}},"value{value}}}"#);
    let range = context(&format!(r#"Range":{{"low":{},"high":{}}}"#, age(1), age(9)));
    fixture.put("v", 1, 1, &format!(r#"{{"resourceType":"ValueSet","status":"draft","useContext":[{range}]}}"#));
    for query in ["context-quantity=lt5", "context-type-quantity=age$gt8", "context-type-quantity=age$lt2|ucum|a"] {
        assert_eq!(fixture.ids("ValueSet", query), ["v"], "{query}");
    }
    assert_eq!(fixture.ids("ValueSet", "context-type-quantity=age$gt9"), [""; 0]);
}

/// R4 asks of every Patient whether it has died, and the answer is always yes or no.
#[test]
fn a_patient_of_whom_no_death_is_known_was_not_found_among_those_who_have_not_died() {
    let fixture = fixture();
    for (id, rest) in [
        ("silent", ""),
        ("alive", r#","deceasedBoolean":false"#),
        ("dead", r#","deceasedBoolean":true"#),
        ("dated", r#","deceasedDateTime":"2020""#),
    ] {
        fixture.put(id, 1, 1, &format!(r#"{{"resourceType":"Patient"{rest}}}"#));
        let observation = r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject""#;
        fixture.put(&format!("o-{id}"), 1, 1, &format!(r#"{observation}:{{"reference":"Patient/{id}"}}}}"#));
    }
    let cases: &[(&str, &str, &[&str])] = &[
        ("Patient", "deceased=false", &["silent", "alive"]),
        ("Patient", "deceased=true", &["dead", "dated"]),
        ("Patient", "deceased:not=true", &["silent", "alive"]),
        ("Patient", "deceased:missing=true", &[]),
        ("Patient", "deceased:missing=false", &["silent", "alive", "dead", "dated"]),
        ("Observation", "patient.deceased=false", &["o-silent", "o-alive"]),
    ];
    for (kind, query, expected) in cases {
        assert_eq!(fixture.ids(kind, query), *expected, "{kind}?{query}");
    }
}

#[test]
fn a_list_is_named_by_its_id_or_by_a_reference_to_it() {
    let fixture = fixture();
    for id in ["p1", "p2", "p3"] {
        fixture.put(id, 1, 1, r#"{"resourceType":"Patient"}"#);
    }
    for (id, patient) in [("l1", "p1"), ("l2", "p2")] {
        let item = format!(r#"{{"item":{{"reference":"Patient/{patient}"}}}}"#);
        fixture.put(id, 1, 1, &format!(r#"{{"resourceType":"List","status":"current","entry":[{item}]}}"#));
    }
    let cases: &[(&str, &[&str])] = &[
        ("_list=l1", &["p1"]),
        ("_list=List/l1", &["p1"]),
        ("_list=http://here/fhir/List/l1", &["p1"]),
        ("_list=List/l1,l2", &["p1", "p2"]),
        ("_list=Patient/l1", &[]),
        ("_list=http://there/fhir/List/l1", &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(fixture.ids("Patient", query), *expected, "{query}");
    }
}

/// What rounds to a number was found at both ends of it or at neither, by how its halves happened to round.
#[test]
fn a_quantity_finds_what_rounds_to_it_from_half_a_unit_below_to_just_below_half_a_unit_above() {
    let fixture = fixture();
    let values = ["99.5", "100", "100.5", "5.35", "5.4", "5.45", "0.15", "0.25", "2.675", "1.005", "-0.15", "-0.05"];
    for value in values {
        let quantity = format!(r#""status":"final","code":{{"text":"x"}},"valueQuantity":{{"value":{value}}}"#);
        fixture.put(value, 1, 1, &format!(r#"{{"resourceType":"Observation",{quantity}}}"#));
    }
    let cases: &[(&str, &[&str])] = &[
        ("100", &["99.5", "100"]),
        ("1e2", &["99.5", "100", "100.5"]),
        ("5.4", &["5.35", "5.4"]),
        ("5.3", &[]),
        ("5.5", &["5.45"]),
        ("0.2", &["0.15"]),
        ("2.68", &["2.675"]),
        ("1.01", &["1.005"]),
        ("1.00", &[]),
        ("-0.1", &["-0.15"]),
        ("0.0", &["-0.05"]),
        ("5.40", &["5.4"]),
    ];
    for (number, expected) in cases {
        assert_eq!(fixture.ids("Observation", &format!("value-quantity={number}")), *expected, "{number}");
        let others: Vec<&str> = values.into_iter().filter(|value| !expected.contains(value)).collect();
        assert_eq!(fixture.ids("Observation", &format!("value-quantity=ne{number}")), others, "ne{number}");
    }
}

#[test]
fn a_concept_of_text_alone_and_a_reference_by_identifier_were_said_to_be_missing() {
    let fixture = fixture();
    let put = |id: &str, rest: &str| {
        fixture.put(id, 1, 1, &format!(r#"{{"resourceType":"Observation","status":"final"{rest}}}"#));
    };
    put("coded", r#","code":{"coding":[{"code":"x"}]},"subject":{"reference":"Patient/p1"}"#);
    put("said", r#","code":{"text":"a word"},"subject":{"identifier":{"value":"1"}}"#);
    put("bare", "");
    let cases: &[(&str, &[&str])] = &[
        ("code:missing=true", &["bare"]),
        ("code:missing=false", &["coded", "said"]),
        ("subject:missing=true", &["bare"]),
        ("subject:missing=false", &["coded", "said"]),
        ("code:missing=false&subject:missing=true", &[]),
        ("performer:missing=true", &["coded", "said", "bare"]),
        ("combo-code:missing=true", &["bare"]),
    ];
    for (query, expected) in cases {
        assert_eq!(fixture.ids("Observation", query), *expected, "{query}");
    }
}

#[test]
fn accents_that_were_on_no_list_or_written_apart_kept_a_name_from_being_found() {
    let fixture = fixture();
    let names = ["Mu\u{308}ller", "Ștefănescu", "Nguyễn", "Groß", "Þór", "Ελένη", "Ёлкин", "ガルシア", "की", "한글"];
    for (at, name) in names.iter().enumerate() {
        let patient = format!(r#"{{"resourceType":"Patient","name":[{{"family":"{name}"}}]}}"#);
        fixture.put(&format!("p{at}"), 1, 1, &patient);
    }
    let cases: &[(&str, &[&str])] = &[
        ("family=Müller", &["p0"]),
        ("family=muller", &["p0"]),
        ("family=MU\u{308}L", &["p0"]),
        ("family:exact=Müller", &[]),
        ("family=stefanescu", &["p1"]),
        ("family=Şte", &["p1"]),
        ("family=nguyen", &["p2"]),
        ("family:contains=YÊ", &["p2"]),
        ("family=gross", &["p3"]),
        ("family=þor", &["p4"]),
        ("family=ελενη", &["p5"]),
        ("family=елкин", &["p6"]),
        // Marks that are no accents tell letters apart, and a syllable is one letter.
        ("family=カ", &[]),
        ("family=ガル", &["p7"]),
        ("family=का", &[]),
        ("family=की", &["p8"]),
        ("family=하", &[]),
        ("family=한", &["p9"]),
    ];
    for (query, expected) in cases {
        assert_eq!(fixture.ids("Patient", query), *expected, "{query}");
    }
}

#[test]
fn what_ends_with_the_last_year_was_not_found() {
    let fixture = fixture();
    for (id, end) in [("day", "9999-12-31"), ("year", "9999"), ("other", "2020")] {
        let encounter = format!(r#"{{"resourceType":"Encounter","status":"planned","period":{{"end":"{end}"}}}}"#);
        fixture.put(id, 1, 1, &encounter);
        fixture.put(&format!("p-{id}"), 1, 1, &format!(r#"{{"resourceType":"Patient","birthDate":"{end}"}}"#));
    }
    let cases: &[(&str, &str, &[&str])] = &[
        ("Encounter", "date=gt9998", &["day", "year"]),
        ("Encounter", "date=ge9999-06", &["day", "year"]),
        ("Encounter", "date=le9999-12-31", &["day", "year", "other"]),
        ("Encounter", "date:missing=true", &[]),
        ("Patient", "birthdate=9999-12-31", &["p-day"]),
        ("Patient", "birthdate=9999", &["p-day", "p-year"]),
        ("Patient", "birthdate=ge9999-01-01", &["p-day", "p-year"]),
        ("Patient", "birthdate=lt9999", &["p-other"]),
        ("Patient", "birthdate=gt9999-12-31", &[]),
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
    assert_eq!(fixture.ids("Patient", &ask("name", "STRASSE xxx")), ["p1", "p2"]);
    assert_eq!(fixture.ids("Patient", &ask("name", "STRAßE xxx")), ["p1", "p2"]);
    assert_eq!(fixture.ids("Patient", &ask("name", &name)), ["p1"]);
    assert_eq!(fixture.ids("Patient", &ask("name", &name[..8_000])), ["p1", "p2"]);
    assert_eq!(fixture.ids("Patient", &ask("identifier", &format!("{uri}|{other}"))), ["p2"]);
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
