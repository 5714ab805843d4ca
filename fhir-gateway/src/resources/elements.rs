//! The elements of every FHIR R4 type, read from `definitions/elements.txt` and `codes.txt`.

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
    /// The codes of its required binding.
    pub codes: Option<&'static [&'static str]>,
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
    /// The element of that JSON name.
    pub fn element(&self, name: &str) -> Option<&Element> {
        self.by_name.get(name).map(|at| &self.elements[*at])
    }
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
    let mut element =
        Element { name, required: min != "0", repeats: max == "*", kind: read_kind(kind), choice: None, codes: None };
    for extra in words {
        if let Some(choice) = extra.strip_prefix("choice=") {
            element.choice = Some(choice);
        } else if let Some(number) = extra.strip_prefix("codes=") {
            element.codes = codes.get(number.parse::<usize>().ok()?).copied();
        }
    }
    Some(element)
}

fn read_kind(name: &'static str) -> Kind {
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
