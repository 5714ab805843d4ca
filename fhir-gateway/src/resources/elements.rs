//! The elements of every FHIR R4 type, read from `definitions/elements.txt` and `codes.txt`, in the
//! order of the definitions, which is the order of XML.

use std::{collections::HashMap, sync::LazyLock};

const ELEMENTS: &str = include_str!("../../definitions/elements.txt");
const CODES: &str = include_str!("../../definitions/codes.txt");

/// A primitive type of FHIR R4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub enum Primitive {
    Base64Binary,
    Boolean,
    Canonical,
    Code,
    Date,
    DateTime,
    Decimal,
    Id,
    Instant,
    Integer,
    Markdown,
    Oid,
    PositiveInt,
    String,
    Time,
    UnsignedInt,
    Uri,
    Url,
    Uuid,
    Xhtml,
}

/// What stands in an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A primitive.
    Primitive(Primitive),
    /// A data type, or a backbone element named by its path.
    Complex(&'static str),
    /// Any resource.
    Resource,
}

/// One element of a type.
#[derive(Debug)]
pub struct Element {
    /// JSON name; of a choice, with its type.
    pub name: &'static str,
    /// Must be present; of a choice, one of its names must be.
    pub required: bool,
    /// An array in JSON.
    pub repeats: bool,
    /// What stands in it.
    pub kind: Kind,
    /// The choice that it belongs to, such as `value` of `valueString`.
    pub choice: Option<&'static str>,
    /// The codes of its required binding, sorted; of a CodeableConcept, `system|code`. None where it has
    /// no such binding, or where the definitions do not list the codes (currencies, media types, UCUM).
    pub codes: Option<&'static [&'static str]>,
    /// The resource types that a Reference may point at; none where it may point at any.
    pub targets: Option<&'static [&'static str]>,
    /// Is part of a summary (`_summary=true`).
    pub is_summary: bool,
    /// May change the meaning of what stands around it.
    pub is_modifier: bool,
    /// Is an attribute in XML.
    pub is_attribute: bool,
}

/// One type.
#[derive(Debug, Default)]
pub struct Definition {
    /// Is a resource, which may stand on its own.
    pub is_resource: bool,
    /// Its elements, inherited ones too.
    pub elements: Vec<Element>,
    by_name: HashMap<&'static str, usize>,
}

impl Definition {
    /// The place of the element of that JSON name among the elements.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The element of that JSON name.
    pub fn element(&self, name: &str) -> Option<&Element> {
        self.by_name.get(name).map(|at| &self.elements[*at])
    }
}

/// The element that JSON names lead to from a type.
pub fn at(start: &str, names: impl IntoIterator<Item = &'static str>) -> Option<&'static Element> {
    let mut names = names.into_iter();
    let mut element = definition(start)?.element(names.next()?)?;
    for name in names {
        let Kind::Complex(inner) = element.kind else { return None };
        element = definition(inner)?.element(name)?;
    }
    Some(element)
}

static DEFINITIONS: LazyLock<HashMap<&'static str, Definition>> = LazyLock::new(read);

/// The type of that name.
pub fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.get(name)
}

/// Every type.
pub fn definitions() -> impl Iterator<Item = (&'static str, &'static Definition)> {
    DEFINITIONS.iter().map(|(name, definition)| (*name, definition))
}

fn read() -> HashMap<&'static str, Definition> {
    let codes: Vec<&'static [&'static str]> =
        CODES.lines().map(|line| &*line.split(' ').skip(1).collect::<Vec<_>>().leak()).collect();
    let mut definitions: HashMap<&'static str, Definition> = HashMap::new();
    let mut current = "";
    for line in ELEMENTS.lines() {
        if let Some(element) = line.strip_prefix(' ') {
            let definition = definitions.get_mut(current).expect("a type stands before its elements");
            let element = read_element(element, &codes).expect("the generator writes whole lines");
            definition.by_name.insert(element.name, definition.elements.len());
            definition.elements.push(element);
        } else {
            let name = line.strip_prefix("resource ");
            current = name.unwrap_or(line);
            definitions.insert(current, Definition { is_resource: name.is_some(), ..Definition::default() });
        }
    }
    definitions
}

fn read_element(line: &'static str, codes: &[&'static [&'static str]]) -> Option<Element> {
    let mut words = line.split(' ');
    let (name, min, max, kind) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let mut element = Element {
        name,
        required: min != "0",
        repeats: max == "*",
        kind: kind_of(kind),
        choice: None,
        codes: None,
        targets: None,
        is_summary: false,
        is_modifier: false,
        is_attribute: false,
    };
    for extra in words {
        match extra.split_once('=') {
            Some(("choice", choice)) => element.choice = Some(choice),
            Some(("codes", number)) => element.codes = Some(codes.get(number.parse::<usize>().ok()?)?),
            Some(("to", targets)) => element.targets = Some(targets.split(',').collect::<Vec<_>>().leak()),
            None if extra == "summary" => element.is_summary = true,
            None if extra == "modifier" => element.is_modifier = true,
            None if extra == "attribute" => element.is_attribute = true,
            _ => return None,
        }
    }
    Some(element)
}

/// The kind of that name.
pub(crate) fn kind_of(name: &'static str) -> Kind {
    Kind::Primitive(match name {
        "base64Binary" => Primitive::Base64Binary,
        "boolean" => Primitive::Boolean,
        "canonical" => Primitive::Canonical,
        "code" => Primitive::Code,
        "date" => Primitive::Date,
        "dateTime" => Primitive::DateTime,
        "decimal" => Primitive::Decimal,
        "id" => Primitive::Id,
        "instant" => Primitive::Instant,
        "integer" => Primitive::Integer,
        "markdown" => Primitive::Markdown,
        "oid" => Primitive::Oid,
        "positiveInt" => Primitive::PositiveInt,
        "string" => Primitive::String,
        "time" => Primitive::Time,
        "unsignedInt" => Primitive::UnsignedInt,
        "uri" => Primitive::Uri,
        "url" => Primitive::Url,
        "uuid" => Primitive::Uuid,
        "xhtml" => Primitive::Xhtml,
        "Resource" => return Kind::Resource,
        complex => return Kind::Complex(complex),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(of: &str, name: &str) -> &'static Element {
        definition(of).and_then(|found| found.element(name)).expect("in the tables")
    }

    #[test]
    fn elements_say_what_the_definitions_say() {
        let subject = element("Observation", "subject");
        assert_eq!(subject.targets, Some(&["Patient", "Group", "Device", "Location"][..]));
        assert!(subject.is_summary && !subject.is_modifier && !subject.is_attribute && !subject.required);
        assert_eq!(element("Observation", "focus").targets, None);
        assert_eq!(element("Observation", "valueQuantity").choice, Some("value"));
        let status = element("Observation", "status");
        assert!(status.is_modifier && status.required && status.codes.is_some_and(|codes| codes.contains(&"final")));
        assert!(element("Extension", "url").is_attribute && element("HumanName", "id").is_attribute);
        assert!(!element("Patient", "id").is_attribute);
        let clinical = element("Condition", "clinicalStatus").codes.expect("bound");
        assert!(clinical.contains(&"http://terminology.hl7.org/CodeSystem/condition-clinical|active"));
        assert_eq!(element("Money", "currency").codes, None);
    }

    #[test]
    fn codes_are_sorted_so_that_they_can_be_searched() {
        for (name, definition) in definitions() {
            for element in &definition.elements {
                let codes = element.codes.unwrap_or_default();
                assert!(codes.is_sorted() && codes.iter().all(|code| !code.is_empty()), "{name}.{}", element.name);
            }
        }
    }

    #[test]
    fn names_of_a_choice_stand_next_to_each_other() {
        for (name, definition) in definitions() {
            let choices: Vec<_> = definition.elements.iter().map(|element| element.choice).collect();
            for choice in choices.iter().flatten() {
                let first = choices.iter().position(|found| *found == Some(choice)).expect("it is there");
                let count = choices.iter().filter(|found| **found == Some(choice)).count();
                assert!(choices[first..first + count].iter().all(|found| *found == Some(choice)), "{name}.{choice}");
            }
        }
    }
}
