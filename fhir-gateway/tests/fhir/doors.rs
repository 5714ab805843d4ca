//! Consent has no side doors: every door × every type in a patient's compartment × (permitted,
//! denied, absent). Denied and absent are one answer: status, headers and body.

use careledger_gateway::resources::{
    Access, Resource,
    elements::{self, Definition, Kind, Primitive, definition},
    parameters::SearchType,
    resources,
};
use serde_json::{Map, Value, json};

use super::{
    shown,
    support::{Client, Got, world},
};

/// The least resource of a type that is valid, about nobody.
fn least(name: &'static str, found: &'static Definition, depth: usize) -> Value {
    let mut members = Map::new();
    let mut chosen = Vec::new();
    for element in found.elements.iter().filter(|element| element.required) {
        if let Some(choice) = element.choice {
            if chosen.contains(&choice) {
                continue;
            }
            chosen.push(choice);
        }
        let value = value(element, depth);
        members.insert(element.name.to_owned(), if element.repeats { json!([value]) } else { value });
    }
    if members.is_empty() && !found.is_resource {
        // No data type may be empty.
        let is_plain = |element: &&elements::Element| {
            matches!(element.kind, Kind::Primitive(_)) && element.name != "id" && element.codes.is_none()
        };
        let any = found.elements.iter().find(is_plain).unwrap_or_else(|| panic!("{name} has no plain element"));
        let value = value(any, depth);
        members.insert(any.name.to_owned(), if any.repeats { json!([value]) } else { value });
    }
    Value::Object(members)
}

fn value(element: &'static elements::Element, depth: usize) -> Value {
    assert!(depth < 8, "{} requires itself", element.name);
    if let Some(code) = element.codes.and_then(|codes| codes.first()) {
        return match code.split_once('|') {
            Some((system, code)) => json!({"coding": [{"system": system, "code": code}]}),
            None => json!(code),
        };
    }
    match element.kind {
        Kind::Primitive(primitive) => match primitive {
            Primitive::Boolean => json!(true),
            Primitive::Decimal | Primitive::Integer | Primitive::PositiveInt | Primitive::UnsignedInt => json!(1),
            Primitive::Date | Primitive::DateTime => json!("2020-01-01"),
            Primitive::Instant => json!("2020-01-01T00:00:00Z"),
            Primitive::Time => json!("12:00:00"),
            Primitive::Base64Binary => json!("QUJD"),
            Primitive::Uri | Primitive::Url | Primitive::Canonical => json!("http://example.org/x"),
            Primitive::Oid => json!("urn:oid:1.2.3"),
            Primitive::Uuid => json!("urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
            Primitive::Xhtml => json!("<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"),
            Primitive::Code | Primitive::Id | Primitive::Markdown | Primitive::String => json!("x"),
        },
        Kind::Complex("Reference") => json!({"display": "x"}),
        Kind::Complex(name) => least(name, definition(name).unwrap(), depth + 1),
        Kind::Resource => json!({"resourceType": "Basic", "code": {"text": "x"}}),
    }
}

/// A resource about a patient, by the parameter that says so.
fn about(kind: &'static Resource, id: &str, patient: &str) -> Value {
    let found = definition(kind.name).unwrap();
    let mut resource = least(kind.name, found, 0);
    resource["resourceType"] = json!(kind.name);
    resource["id"] = json!(id);
    // What an active one of these does on the ledger needs more than what is tested here.
    if kind.name == "Consent" {
        resource["status"] = json!("proposed");
    }
    let parameter = kind.parameter("patient").or_else(|| kind.parameter("subject"));
    let by_code = || kind.compartment.iter().find_map(|code| kind.parameter(code));
    let parameter = parameter.or_else(by_code).unwrap();
    let path = parameter.paths.iter().find(|path| path.leaf == "Reference").unwrap();
    let (mut place, mut of) = (&mut resource, found);
    for (at, step) in path.steps.iter().enumerate() {
        let element = of.element(step.name).unwrap();
        let is_last = at + 1 == path.steps.len();
        let inner = if is_last {
            json!({"reference": format!("Patient/{patient}")})
        } else {
            match element.kind {
                Kind::Complex(name) => least(name, definition(name).unwrap(), 0),
                _ => unreachable!("a path leads through objects"),
            }
        };
        if is_last || place[step.name].is_null() {
            place[step.name] = if element.repeats { json!([inner]) } else { inner };
        }
        let next = &mut place[step.name];
        place = if element.repeats { &mut next[0] } else { next };
        if let Kind::Complex(name) = element.kind {
            of = definition(name).unwrap();
        }
    }
    resource
}

/// Every door of a type: method, path and body; `{id}` is the resource, `{patient}` whom it is about.
fn doors(kind: &'static Resource) -> Vec<(&'static str, String, String)> {
    let name = kind.name;
    let get = |path: String| ("GET", path, String::new());
    let mut doors = vec![
        get(format!("/{name}/{{id}}")),
        get(format!("/{name}/{{id}}/_history")),
        get(format!("/{name}/{{id}}/_history/1")),
        get(format!("/{name}/{{id}}/_history/2")),
        get(format!("/{name}/_history?_cursor={name}/{{id}}/1")),
        get(format!("/{name}?_id={{id}}")),
        get(format!("/{name}?_id={{id}}&_summary=count")),
        get(format!("/{name}?_id={{id}}&_summary=true&_elements=id")),
        get(format!("/{name}?_id={{id}}&_include=*&_revinclude=*&_include:iterate=*")),
        get(format!("/{name}?_id={{id}}&_sort=_lastUpdated&_count=1")),
        get(format!("/Patient/{{patient}}/{name}")),
        get(format!("/Patient/{{patient}}/*?_type={name}")),
        get(format!("/Patient/{{patient}}/$everything?_type={name}")),
        ("DELETE", format!("/{name}?_id={{id}}"), String::new()),
        ("DELETE", format!("/{name}/{{id}}"), String::new()),
        ("PATCH", format!("/{name}/{{id}}"), r#"{"language":"en"}"#.to_owned()),
        ("PATCH", format!("/{name}?_id={{id}}"), r#"{"language":"en"}"#.to_owned()),
        ("PUT", format!("/{name}/{{id}}"), about(kind, "{id}", "p1").to_string()),
        ("PUT", format!("/{name}?_id={{id}}"), about(kind, "{id}", "p1").to_string()),
    ];
    for code in kind.compartment.iter().filter(|code| kind.parameter(code).is_some()) {
        doors.push(get(format!("/{name}?{code}=Patient/{{patient}}")));
        doors.push(get(format!("/{name}?{code}:Patient._id={{patient}}")));
        doors.push(get(format!("/{name}?{code}:Patient.identifier=mrn-{{patient}}")));
        doors.push(get(format!("/Patient?_has:{name}:{code}:_id={{id}}")));
        doors.push(get(format!("/{name}?{code}:Patient._has:{name}:{code}:_id={{id}}")));
    }
    let bundle = |kind: &str, method: &str, url: String| {
        let entry = json!({"request": {"method": method, "url": url}});
        json!({"resourceType": "Bundle", "type": kind, "entry": [entry]}).to_string()
    };
    for kind in ["batch", "transaction"] {
        doors.push(("POST", "/".to_owned(), bundle(kind, "GET", format!("{name}/{{id}}"))));
        doors.push(("POST", "/".to_owned(), bundle(kind, "DELETE", format!("{name}/{{id}}"))));
        doors.push(("POST", "/".to_owned(), bundle(kind, "DELETE", format!("{name}?_id={{id}}"))));
    }
    doors
}

/// Goes through a door as the portal, for a resource and its patient.
async fn through(portal: &Client, door: &(&'static str, String, String), id: &str, patient: &str) -> Got {
    let filled = |text: &str| text.replace("{id}", id).replace("{patient}", patient);
    let headers: &[(&str, &str)] = if door.0 == "PATCH" { &[("content-type", "application/json")] } else { &[] };
    portal.send(door.0, &filled(&door.1), headers, filled(&door.2)).await
}

/// What is left of an answer when what was asked is taken out of it.
fn comparable(got: &Got, id: &str, patient: &str) -> (u16, Vec<(String, String)>, String) {
    let (status, mut headers, text) = shown(got);
    // Both ids are as long, so that lengths compare.
    for (_, value) in &mut headers {
        *value = value.replace(id, "{id}").replace(patient, "{patient}");
    }
    (status, headers, text.replace(id, "{id}").replace(patient, "{patient}"))
}

#[actix_web::test]
async fn no_door_tells_what_is_denied_from_what_is_absent() {
    let world = world().await;
    let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
    for patient in ["p1", "p2"] {
        let body =
            json!({"resourceType": "Patient", "id": patient, "identifier": [{"value": format!("mrn-{patient}")}]});
        ehr.send("PUT", &format!("/Patient/{patient}"), &[], body.to_string()).await.expect(201);
    }
    let kinds = resources()
        .filter(|kind| kind.access == Access::Full && kind.name != "Patient" && !kind.compartment.is_empty());
    let (mut types, mut compared) = (0, 0);
    for kind in kinds {
        let is_about =
            |parameter: &str| kind.parameter(parameter).is_some_and(|found| found.search_type == SearchType::Reference);
        for (id, patient) in [("denied", "p2"), ("mine-1", "p1")] {
            let body = about(kind, id, patient).to_string();
            ehr.send("PUT", &format!("/{}/{id}", kind.name), &[], body).await.expect(201);
        }
        // Whom a type's resources are about is known by its parameter `patient`; others are nobody's.
        let is_mine = is_about("patient");
        for door in doors(kind) {
            let of_denied = through(&portal, &door, "denied", "p2").await;
            let of_absent = through(&portal, &door, "absent", "p9").await;
            let same = (comparable(&of_denied, "denied", "p2"), comparable(&of_absent, "absent", "p9"));
            assert_eq!(same.0, same.1, "{} {} {}", door.0, door.1, door.2);
            compared += 1;
        }
        let permitted = portal.get(&format!("/{}/mine-1", kind.name)).await;
        assert_eq!(permitted.status, if is_mine { 200 } else { 404 }, "{}: {}", kind.name, permitted.text());
        let name = kind.name;
        for path in [
            format!("/{name}?_id=mine-1"),
            format!("/{name}?_id=denied,mine-1,absent&_sort=-_id&_total=accurate"),
            format!("/Patient/p1/{name}"),
            format!("/Patient/p1/*?_type={name}"),
            format!("/Patient/p1/$everything?_type={name}"),
            format!("/{name}/_history"),
        ] {
            let found = portal.get(&path).await.expect(200).json();
            let entries = found["entry"].as_array().cloned().unwrap_or_default();
            let ids: Vec<&str> = entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap()).collect();
            let expected = if is_mine { vec!["mine-1"] } else { Vec::new() };
            assert_eq!((&ids, &found["total"]), (&expected, &json!(expected.len())), "{path}");
        }
        let kept = ehr.get(&format!("/{}/denied", kind.name)).await.expect(200).json();
        assert_eq!(kept["meta"]["versionId"], "1", "{}", kind.name);
        types += 1;
    }
    assert!(types > 30 && compared > 900, "{types} types, {compared} doors");
}
