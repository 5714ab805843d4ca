//! What is refused before anything is stored: elements that FHIR R4 does not know, wrong JSON
//! types, missing required elements, two values for one choice, codes outside required bindings,
//! primitives that do not match their pattern. Errors name the element, never its value.
//!
//! The same walk collects the [`Link`]s of a resource, so that a transaction can rewrite them.

mod primitive;

pub use primitive::{is_id, is_instant};

use crate::{
    json::{Document, Node, Value},
    outcome::Refusal,
    resources::elements::{Definition, Element, Kind, Primitive, definition},
};

/// A value that may name another resource: `Reference.reference`, uri, url, canonical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where the value stands.
    pub node: Node,
    /// Element path.
    pub path: String,
    /// Is a `Reference.reference`, which may be conditional.
    pub is_reference: bool,
}

/// Checks a resource against the definitions.
///
/// # Errors
/// The first element that is refused, by path.
pub fn resource(document: &Document) -> Result<Vec<Link>, Refusal> {
    let mut walk = Walk { links: Vec::new() };
    walk.resource(document.root(), "")?;
    Ok(walk.links)
}

struct Walk {
    links: Vec<Link>,
}

impl Walk {
    fn resource(&mut self, node: &Node, path: &str) -> Result<(), Refusal> {
        // Every resource is a `Resource`, also to FHIRPath.
        let at = if path.is_empty() { "Resource" } else { path };
        if !matches!(node.value, Value::Object(_)) {
            return Err(Refusal::invalid(at, "must be a JSON object"));
        }
        let Some(name) = node.text("resourceType") else {
            return Err(Refusal::invalid(at, "resourceType is required"));
        };
        let Some(found) = definition(name).filter(|found| found.is_resource) else {
            return Err(Refusal::invalid(at, "resourceType is not one of FHIR R4"));
        };
        let path = if path.is_empty() { name } else { path };
        self.object(node, found, path)
    }

    fn object(&mut self, node: &Node, found: &Definition, path: &str) -> Result<(), Refusal> {
        let Value::Object(members) = &node.value else {
            return Err(Refusal::invalid(path, "must be a JSON object"));
        };
        if members.is_empty() {
            return Err(Refusal::invalid(path, "must not be empty"));
        }
        for (key, child) in members {
            if found.is_resource && &**key == "resourceType" {
                continue;
            }
            let (name, is_shadow) = match key.strip_prefix('_') {
                Some(name) => (name, true),
                None => (&**key, false),
            };
            let path = format!("{path}.{}", printable(key));
            let Some(element) = found.element(name) else {
                return Err(Refusal::invalid(path, "is not an element of FHIR R4"));
            };
            match (is_shadow, element.kind) {
                (true, Kind::Primitive(_)) => self.shadow(child, element, &path)?,
                (true, _) => return Err(Refusal::invalid(path, "only primitive elements have a name with _")),
                (false, _) => self.element(child, element, node.get(&format!("_{name}")), &path)?,
            }
        }
        presence(node, found, path)
    }

    fn element(&mut self, node: &Node, element: &Element, shadow: Option<&Node>, path: &str) -> Result<(), Refusal> {
        if !element.repeats {
            return self.one(node, element, path);
        }
        let Value::Array(items) = &node.value else {
            return Err(Refusal::invalid(path, "must be a JSON array"));
        };
        if items.is_empty() {
            return Err(Refusal::invalid(path, "must not be empty"));
        }
        for (at, item) in items.iter().enumerate() {
            let path = format!("{path}[{at}]");
            let stands_for_shadow = item.value == Value::Null
                && shadow.is_some_and(|shadow| shadow.items().get(at).is_some_and(|item| item.value != Value::Null));
            if !stands_for_shadow {
                self.one(item, element, &path)?;
            }
        }
        Ok(())
    }

    fn one(&mut self, node: &Node, element: &Element, path: &str) -> Result<(), Refusal> {
        match element.kind {
            Kind::Resource => self.resource(node, path),
            Kind::Complex(name) => {
                let found = definition(name).expect("a test holds that every element has a known type");
                self.object(node, found, path)?;
                if name == "Reference" {
                    self.reference(node, path)?;
                }
                Ok(())
            }
            Kind::Primitive(kind) => {
                primitive::check(node, kind, path)?;
                if let (Some(codes), Some(code)) = (element.codes, node.as_str())
                    && !codes.contains(&code)
                {
                    return Err(Refusal::invalid(path, "is not one of the codes that FHIR R4 requires here"));
                }
                if matches!(kind, Primitive::Uri | Primitive::Url | Primitive::Canonical) {
                    self.links.push(Link { node: node.clone(), path: path.to_string(), is_reference: false });
                }
                Ok(())
            }
        }
    }

    fn reference(&mut self, node: &Node, path: &str) -> Result<(), Refusal> {
        let Some(reference) = node.get("reference") else { return Ok(()) };
        let path = format!("{path}.reference");
        if !reference.as_str().is_some_and(primitive::is_reference) {
            return Err(Refusal::invalid(path, "is not a reference: Type/id, #id, a URL, a URN or Type?query"));
        }
        self.links.push(Link { node: reference.clone(), path, is_reference: true });
        Ok(())
    }

    /// `_name`: ids and extensions of a primitive, in an array as long as the values.
    fn shadow(&mut self, node: &Node, element: &Element, path: &str) -> Result<(), Refusal> {
        let found = definition("Element").expect("every data type is one");
        if !element.repeats {
            return self.object(node, found, path);
        }
        let Value::Array(items) = &node.value else {
            return Err(Refusal::invalid(path, "must be a JSON array"));
        };
        for (at, item) in items.iter().enumerate().filter(|(_, item)| item.value != Value::Null) {
            self.object(item, found, &format!("{path}[{at}]"))?;
        }
        Ok(())
    }
}

/// Required elements are there; of a choice, one at most.
fn presence(node: &Node, found: &Definition, path: &str) -> Result<(), Refusal> {
    let is_there = |name: &str| node.get(name).is_some() || node.get(&format!("_{name}")).is_some();
    let mut chosen: Vec<&str> = Vec::new();
    for element in &found.elements {
        match element.choice {
            Some(choice) if is_there(element.name) => {
                if chosen.contains(&choice) {
                    return Err(Refusal::invalid(format!("{path}.{choice}[x]"), "has more than one value"));
                }
                chosen.push(choice);
            }
            None if element.required && !is_there(element.name) => {
                return Err(Refusal::invalid(format!("{path}.{}", element.name), "is required"));
            }
            _ => {}
        }
    }
    let missing = found
        .elements
        .iter()
        .filter(|element| element.required)
        .find_map(|element| element.choice.filter(|choice| !chosen.contains(choice)));
    match missing {
        Some(choice) => Err(Refusal::invalid(format!("{path}.{choice}[x]"), "is required")),
        None => Ok(()),
    }
}

/// A key for an error message. Keys are no data unless somebody makes them so.
fn printable(key: &str) -> &str {
    const NAME_MAX: usize = 64;
    let is_name = key.len() <= NAME_MAX && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name { key } else { "(a key that is no name)" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<(String, String)> {
        match resource(&Document::parse(text.as_bytes().to_vec()).expect("JSON")) {
            Ok(_) => None,
            Err(Refusal::Invalid { path, problem }) => Some((path, problem)),
            Err(other) => panic!("{text}: {other}"),
        }
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
            r##"{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"#p"}}"##,
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
        let text = r#"{"resourceType":"DocumentReference","status":"current","subject":{"reference":"urn:uuid:1"},
            "content":[{"attachment":{"url":"urn:uuid:2"}}],"contained":[{"resourceType":"Patient",
            "link":[{"type":"refer","other":{"reference":"Patient?identifier=a|b"}}]}]}"#;
        let links = resource(&Document::parse(text.as_bytes().to_vec()).expect("JSON")).expect("valid");
        let found: Vec<_> = links.iter().map(|link| (link.node.as_str().expect("text"), link.is_reference)).collect();
        assert_eq!(found, [("urn:uuid:1", true), ("urn:uuid:2", false), ("Patient?identifier=a|b", true)]);
    }
}
