//! Resources of every type, made from the definitions.

use careledger_gateway::resources::{
    Resource,
    elements::{self, Definition, Kind, Primitive, definition},
};
use serde_json::{Map, Value, json};

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

/// A resource about a patient, by the parameter that says so; about nobody where its type has none.
pub fn about(kind: &'static Resource, id: &str, patient: &str) -> Value {
    let found = definition(kind.name).unwrap();
    let mut resource = least(kind.name, found, 0);
    resource["resourceType"] = json!(kind.name);
    resource["id"] = json!(id);
    // What an active one of these does on the ledger needs more than what is tested here.
    if kind.name == "Consent" {
        resource["status"] = json!("proposed");
    }
    if kind.name == "Patient" {
        resource["identifier"] = json!([{"value": format!("mrn-{id}")}]);
        return resource;
    }
    if kind.name == "Binary" {
        resource["securityContext"] = json!({"reference": format!("Patient/{patient}")});
        return resource;
    }
    let parameter = kind.parameter("patient").or_else(|| kind.parameter("subject"));
    let by_code = || kind.compartment.iter().find_map(|code| kind.parameter(code));
    let Some(parameter) = parameter.or_else(by_code) else { return resource };
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
