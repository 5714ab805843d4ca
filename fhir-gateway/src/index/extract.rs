//! What search parameters find in a resource.

use std::collections::BTreeSet;

use super::{
    letters::sound,
    range::{self, Range},
};
use crate::{
    json::{Document, Node, Value},
    mapping::attachment,
    resources::{
        Resource,
        parameters::{Parameter, Path, SearchType, Step},
        resource,
    },
};

/// System of a token whose element has its system by binding, such as `Patient.gender`: a
/// search with any system finds it.
pub const SYSTEM_BY_BINDING: &str = "\u{1}";

/// One value that a parameter found.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// A code or an identifier; the system is empty where there is none.
    Token {
        /// System, or empty, or [`SYSTEM_BY_BINDING`].
        system: String,
        /// Code or value.
        code: String,
    },
    /// A time, as a range.
    Period(Range),
    /// A reference: to a local resource by type and id, to anything else by URL with no type.
    Reference {
        /// Resource type, or empty.
        resource_type: String,
        /// Id or URL.
        target: String,
    },
    /// Text as it stands.
    Text(String),
    /// A number with a unit, or without; or all numbers of a range.
    Amount {
        /// The least; [`f64::MIN`] when open.
        lowest: f64,
        /// The greatest; [`f64::MAX`] when open.
        highest: f64,
        /// System of the unit's code, or empty.
        system: String,
        /// The unit's code, or empty.
        code: String,
        /// The unit as people read it, or empty.
        unit: String,
    },
    /// A URI.
    Uri(String),
    /// A place, in degrees north and east.
    Place {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
    },
    /// Both halves of a composite.
    Pair(Box<Term>, Box<Term>),
}

/// Everything that the parameters of `resource` find, with the parameter's number.
pub fn terms(document: &Document, resource: &Resource, base_url: &str) -> Vec<(i64, Term)> {
    let mut found = Vec::new();
    for parameter in &resource.parameters {
        let mut terms = of_parameter(document, parameter, base_url);
        found.extend(terms.drain(..).map(|term| (parameter.number, term)));
    }
    of_contained(document, resource, base_url, &mut found);
    found
}

/// What a chain into contained resources asks for: a resource that is contained is found by no
/// search of its own (FHIR R4, 3.1.1.4.17), but a chain looks into it.
fn of_contained(document: &Document, resource: &Resource, base_url: &str, found: &mut Vec<(i64, Term)>) {
    let Some(contained) = document.root().get("contained") else { return };
    let of_id = |id: &str| contained.items().iter().find(|inner| inner.text("id") == Some(id));
    for parameter in resource.parameters.iter().filter(|found| found.search_type == SearchType::Reference) {
        let mut seen = BTreeSet::new();
        for path in &parameter.paths {
            walk(document.root(), &path.steps, &mut |node| {
                let id = node.text("reference").and_then(|reference| reference.strip_prefix('#'));
                let Some(inner) = id.filter(|id| seen.insert((*id).to_owned())).and_then(of_id) else { return };
                let Some(kind) = inner.text("resourceType").and_then(self::resource) else { return };
                if path.target.is_some_and(|target| target != kind.name) {
                    return;
                }
                for sought in &kind.parameters {
                    let terms = of_node(inner, sought, base_url);
                    found.extend(terms.into_iter().map(|term| (parameter.into_contained(sought), term)));
                }
            });
        }
    }
}

/// What one parameter finds.
pub fn of_parameter(document: &Document, parameter: &Parameter, base_url: &str) -> Vec<Term> {
    of_node(document.root(), parameter, base_url)
}

fn of_node(root: &Node, parameter: &Parameter, base_url: &str) -> Vec<Term> {
    let mut terms = of_paths(root, &parameter.paths, parameter.search_type, base_url);
    if let Some(code) = parameter.otherwise.filter(|_| !parameter.paths.iter().any(|path| is_there(root, path))) {
        terms.push(Term::Token { system: String::new(), code: code.to_owned() });
    }
    if parameter.is_phonetic() {
        let sounds = |term: &Term| match term {
            Term::Text(text) => text.split_whitespace().filter_map(sound).map(Term::Text).collect(),
            _ => Vec::new(),
        };
        return terms.iter().flat_map(sounds).collect();
    }
    if let Some(composite) = &parameter.composite {
        for part in &composite.parts {
            walk(root, &part.base, &mut |node| {
                let [first, second] = composite.types;
                let seconds = of_paths(node, &part.second, second, base_url);
                for first in of_paths(node, &part.first, first, base_url) {
                    let pair = |second: &Term| Term::Pair(Box::new(first.clone()), Box::new(second.clone()));
                    terms.extend(seconds.iter().map(pair));
                }
            });
        }
    }
    terms
}

fn of_paths(node: &Node, paths: &[Path], search_type: SearchType, base_url: &str) -> Vec<Term> {
    let mut terms = Vec::new();
    for path in paths {
        walk(node, &path.steps, &mut |node| read(node, path, search_type, base_url, &mut terms));
    }
    terms
}

/// System of the token by which an identifier is found with its type.
pub fn system_of_type(system: &str, code: &str) -> String {
    format!("\u{2}{system}|{code}")
}

/// The local resource that a reference names, if it does: type and id.
pub fn local_reference<'a>(reference: &'a str, base_url: &str) -> Option<(&'a str, &'a str)> {
    let relative = match reference.strip_prefix(base_url) {
        Some(rest) => rest.strip_prefix('/')?,
        None => reference,
    };
    let mut parts = relative.split('/');
    let (resource_type, id) = (parts.next()?, parts.next()?);
    let is_whole = matches!((parts.next(), parts.next(), parts.next()), (None, ..) | (Some("_history"), Some(_), None));
    let is_type = resource_type.starts_with(|first: char| first.is_ascii_uppercase());
    (is_whole && is_type && !id.is_empty()).then_some((resource_type, id))
}

/// Whether an element of a resource is there, be it with nothing but an extension: then nobody says that it is not so.
fn is_there(root: &Node, path: &Path) -> bool {
    let is_it = |key: &str| path.steps.first().is_some_and(|step| key.strip_prefix('_').unwrap_or(key) == step.name);
    root.members().iter().any(|(key, _)| is_it(key))
}

fn walk(node: &Node, steps: &[Step], visit: &mut impl FnMut(&Node)) {
    let Some((step, rest)) = steps.split_first() else {
        return visit(node);
    };
    let Some(child) = node.get(step.name) else { return };
    for item in child.items() {
        if step.only.is_none_or(|(key, value)| item.text(key) == Some(value)) {
            walk(item, rest, visit);
        }
    }
}

fn read(node: &Node, path: &Path, search_type: SearchType, base_url: &str, terms: &mut Vec<Term>) {
    if node.value == Value::Null {
        return;
    }
    match search_type {
        SearchType::Token => tokens(node, path.leaf, terms),
        SearchType::Date => terms.extend(period(node, path.leaf).map(Term::Period)),
        SearchType::Reference => references(node, path, base_url, terms),
        SearchType::String => texts(node, terms),
        SearchType::Quantity => terms.extend(quantity(node, path.leaf)),
        SearchType::Number => {
            let number = node.as_primitive().and_then(range::number);
            terms.extend(number.map(|number| amount(number, number, None)));
        }
        SearchType::Uri => uris(node, path, base_url, terms),
        SearchType::Special => {
            let degrees = |key: &str| range::number(node.get(key)?.as_primitive()?);
            if let (Some(latitude), Some(longitude)) = (degrees("latitude"), degrees("longitude")) {
                terms.push(Term::Place { latitude, longitude });
            }
        }
        // Its halves are read one by one.
        SearchType::Composite => {}
    }
}

/// A URI as it stands; of an attachment besides what else it may name here.
fn uris(node: &Node, path: &Path, base_url: &str, terms: &mut Vec<Term>) {
    let Some(uri) = node.as_str() else { return };
    terms.push(Term::Uri(uri.to_string()));
    if path.steps.iter().any(|step| step.name == "attachment") {
        let certain = attachment::named(uri, base_url);
        let possible = attachment::possible(uri).into_iter().filter(|id| certain != Some(id.as_str()));
        terms.extend(possible.map(|id| Term::Uri(possible_binary(&id))));
    }
}

/// The URI by which an attachment is found that may name a Binary of this server, and does not for certain.
pub fn possible_binary(id: &str) -> String {
    format!("\u{1}Binary/{id}")
}

fn tokens(node: &Node, leaf: &str, terms: &mut Vec<Term>) {
    let text = |key: &str| node.text(key).unwrap_or_default().to_string();
    match leaf {
        "CodeableConcept" => {
            for coding in node.get("coding").map_or(&[][..], Node::items) {
                tokens(coding, "Coding", terms);
            }
            terms.extend(node.text("text").map(|text| Term::Text(text.to_string())));
        }
        "Coding" => {
            if node.text("code").is_some() {
                terms.push(Term::Token { system: text("system"), code: text("code") });
            }
            terms.extend(node.text("display").map(|text| Term::Text(text.to_string())));
        }
        "Identifier" => {
            let identifier_type = node.get("type");
            if node.text("value").is_some() {
                terms.push(Term::Token { system: text("system"), code: text("value") });
                let codings = identifier_type.and_then(|found| found.get("coding")).map_or(&[][..], Node::items);
                terms.extend(codings.iter().filter_map(|coding| {
                    let system = system_of_type(coding.text("system").unwrap_or_default(), coding.text("code")?);
                    Some(Term::Token { system, code: text("value") })
                }));
            }
            let said = identifier_type.and_then(|found| found.text("text"));
            terms.extend(said.map(|text| Term::Text(text.to_string())));
        }
        "ContactPoint" if node.text("value").is_some() => {
            terms.push(Term::Token { system: String::new(), code: text("value") });
        }
        // Only Patient.deceased reads a time as a token: whoever has died is `true`.
        "dateTime" => terms.push(Term::Token { system: String::new(), code: "true".to_string() }),
        "code" => terms.extend(
            node.as_str().map(|code| Term::Token { system: SYSTEM_BY_BINDING.to_string(), code: code.to_string() }),
        ),
        _ => {
            terms.extend(node.as_primitive().map(|code| Term::Token { system: String::new(), code: code.to_string() }))
        }
    }
}

fn period(node: &Node, leaf: &str) -> Option<Range> {
    match leaf {
        "Period" => {
            let end = |key: &str| node.text(key).and_then(range::date);
            let (start, end) = (end("start"), end("end"));
            (start.is_some() || end.is_some()).then(|| Range {
                low: start.map_or(i64::MIN, |range| range.low),
                high: end.map_or(i64::MAX, |range| range.high),
            })
        }
        "Timing" => {
            let events = node.get("event").map_or(&[][..], Node::items);
            let mut ranges: Vec<Range> = events.iter().filter_map(|event| range::date(event.as_str()?)).collect();
            let bounds = node.get("repeat").and_then(|repeat| repeat.get("boundsPeriod"));
            ranges.extend(bounds.and_then(|bounds| period(bounds, "Period")));
            let low = ranges.iter().map(|range| range.low).min()?;
            let high = ranges.iter().map(|range| range.high).max()?;
            Some(Range { low, high })
        }
        _ => range::date(node.as_str()?),
    }
}

fn references(node: &Node, path: &Path, base_url: &str, terms: &mut Vec<Term>) {
    let reference = if path.leaf == "Reference" { node.text("reference") } else { node.as_str() };
    if let Some(reference) = reference {
        let term = match local_reference(reference, base_url) {
            Some((resource_type, id)) => Term::Reference { resource_type: resource_type.into(), target: id.into() },
            None => Term::Reference { resource_type: String::new(), target: reference.into() },
        };
        let is_wanted = |term: &Term| match (path.target, term) {
            (Some(target), Term::Reference { resource_type, .. }) => resource_type == target,
            _ => true,
        };
        terms.extend(Some(term).filter(is_wanted));
    }
    let type_is_wanted = path.target.is_none_or(|target| node.text("type").is_none_or(|found| found == target));
    if let Some(identifier) = node.get("identifier").filter(|_| path.leaf == "Reference" && type_is_wanted) {
        tokens(identifier, "Identifier", terms);
    }
}

/// A string; of a HumanName or an Address, every string in it but codes.
fn texts(node: &Node, terms: &mut Vec<Term>) {
    const NOT_SEARCHED: &[&str] = &["use", "type", "id", "extension", "period"];
    match &node.value {
        Value::String(text) => terms.push(Term::Text(text.to_string())),
        Value::Object(members) => {
            for (key, child) in members.iter().filter(|(key, _)| !NOT_SEARCHED.contains(&&**key)) {
                if !key.starts_with('_') {
                    child.items().iter().for_each(|item| texts(item, terms));
                }
            }
        }
        _ => {}
    }
}

fn quantity(node: &Node, leaf: &str) -> Option<Term> {
    let value = |node: &Node| range::number(node.get("value")?.as_primitive()?);
    if leaf != "Range" {
        return value(node).map(|value| amount(value, value, Some(node)));
    }
    let (low, high) = (node.get("low"), node.get("high"));
    let (lowest, highest) = (low.and_then(value), high.and_then(value));
    // Both ends have the same unit.
    let unit = if lowest.is_some() { low } else { high };
    let is_one = lowest.is_some() || highest.is_some();
    is_one.then(|| amount(lowest.unwrap_or(f64::MIN), highest.unwrap_or(f64::MAX), unit))
}

fn amount(lowest: f64, highest: f64, unit: Option<&Node>) -> Term {
    let text = |key: &str| unit.and_then(|node| node.text(key)).unwrap_or_default().to_string();
    match unit.and_then(|node| node.text("currency")) {
        Some(currency) => {
            let (system, code) = ("urn:iso:std:iso:4217".into(), currency.into());
            Term::Amount { lowest, highest, system, code, unit: String::new() }
        }
        None => Term::Amount { lowest, highest, system: text("system"), code: text("code"), unit: text("unit") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::letters::folded;

    fn found(text: &str, code: &str) -> Vec<Term> {
        let document = Document::parse(text.as_bytes().to_vec()).expect("JSON");
        let resource = resource(document.resource_type().expect("typed")).expect("kept");
        of_parameter(&document, resource.parameter(code).expect("in the table"), "http://here/fhir")
    }

    fn token(system: &str, code: &str) -> Term {
        Term::Token { system: system.into(), code: code.into() }
    }

    #[test]
    fn words_sound_as_american_soundex_says() {
        for (word, expected) in [
            ("Robert", "r163"),
            ("Rupert", "r163"),
            ("Ashcraft", "a261"),
            ("Tymczak", "t522"),
            ("Pfister", "p236"),
            ("Honeyman", "h555"),
            ("Müller", "m460"),
            ("O'Brien", "o165"),
            ("Lee", "l000"),
        ] {
            assert_eq!(sound(word).as_deref(), Some(expected), "{word}");
        }
        assert_eq!(sound("王"), None);
    }

    #[test]
    fn parameters_find_their_values() {
        let patient = r#"{"resourceType":"Patient","identifier":[{"system":"s","value":"1"},{"value":"2"}],"gender":"male",
            "telecom":[{"system":"email","value":"a@b"},{"system":"phone","value":"1"}],"deceasedDateTime":"2020",
            "name":[{"use":"official","family":"Łê","given":["A","B"]}]}"#;
        assert_eq!(found(patient, "identifier"), [token("s", "1"), token("", "2")]);
        assert_eq!(found(patient, "gender"), [token(SYSTEM_BY_BINDING, "male")]);
        assert_eq!(found(patient, "email"), [token("", "a@b")]);
        assert_eq!(found(patient, "deceased"), [token("", "true")]);
        assert_eq!(found(patient, "name"), ["Łê", "A", "B"].map(|text| Term::Text(text.into())));
        assert_eq!(folded("Łê"), "le");
        let deceased = |rest: &str| found(&format!(r#"{{"resourceType":"Patient"{rest}}}"#), "deceased");
        for rest in ["", r#","deceasedBoolean":false"#] {
            assert_eq!(deceased(rest), [token("", "false")], "{rest}");
        }
        assert_eq!(deceased(r#","_deceasedBoolean":{"extension":[{"url":"u","valueCode":"unknown"}]}"#), []);
        let observation = r#"{"resourceType":"Observation","subject":{"reference":"http://here/fhir/Patient/p"},
            "performer":[{"reference":"http://there/Practitioner/1"},{"identifier":{"system":"npi","value":"9"}}],
            "effectivePeriod":{"start":"1970-01-01"},"valueQuantity":{"value":5.40,"unit":"mg","code":"mg"}}"#;
        let local = Term::Reference { resource_type: "Patient".into(), target: "p".into() };
        assert_eq!(found(observation, "patient"), std::slice::from_ref(&local));
        assert_eq!(found(observation, "subject"), [local]);
        let remote = Term::Reference { resource_type: String::new(), target: "http://there/Practitioner/1".into() };
        assert_eq!(found(observation, "performer"), [remote, token("npi", "9")]);
        assert_eq!(found(observation, "date"), [Term::Period(Range { low: 0, high: i64::MAX })]);
        let amount = |lowest, highest, code: &str| Term::Amount {
            lowest,
            highest,
            system: String::new(),
            code: code.into(),
            unit: code.into(),
        };
        assert_eq!(found(observation, "value-quantity"), [amount(5.4, 5.4, "mg")]);
        let onset =
            |range: &str| found(&format!(r#"{{"resourceType":"Condition","onsetRange":{range}}}"#), "onset-age");
        let low = r#""low":{"value":40,"unit":"a","code":"a"}"#;
        let high = low.replace("low", "high").replace("40", "45");
        assert_eq!(onset(&format!("{{{low},{high}}}")), [amount(40.0, 45.0, "a")]);
        assert_eq!(onset(&format!("{{{low}}}")), [amount(40.0, f64::MAX, "a")]);
        assert_eq!(onset(&format!("{{{high}}}")), [amount(f64::MIN, 45.0, "a")]);
        assert_eq!(onset(r#"{"low":{"unit":"a"}}"#), []);
    }
}
