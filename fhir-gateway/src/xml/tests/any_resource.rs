//! Any resource that the tables allow: it is valid, and the same after it was XML.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::resources::elements::{Definition, Element, Kind, Primitive, definition, definitions};

/// Deepest nesting of what is made up.
const DEPTH_MAX: usize = 4;

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).expect("small")).expect("below a usize")
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

fn resource(random: &mut Random, name: &str) -> Value {
    let found = definition(name).expect("a type");
    let mut members = Map::new();
    members.insert("resourceType".to_owned(), json!(name));
    fill(random, found, &mut members, 0);
    Value::Object(members)
}

fn fill(random: &mut Random, found: &'static Definition, members: &mut Map<String, Value>, depth: usize) {
    let mut chosen = Vec::new();
    for element in &found.elements {
        // Of a choice one at most: its first name always, where one must be there.
        let is_taken = element.choice.is_some_and(|choice| chosen.contains(&choice));
        let is_wanted = element.required || (depth < DEPTH_MAX && random.below(4) == 0);
        if is_taken || !is_wanted || APART.contains(&element.name) {
            continue;
        }
        chosen.extend(element.choice);
        let count = if element.repeats { 1 + random.below(2) } else { 1 };
        let (mut values, mut shadows) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (value, shadow) = one(random, element, depth);
            values.push(value);
            shadows.push(shadow);
        }
        let mut put = |name: String, mut all: Vec<Value>| {
            if all.iter().any(|value| !value.is_null()) {
                let value = if element.repeats { Value::Array(all) } else { all.remove(0) };
                members.insert(name, value);
            }
        };
        put(element.name.to_owned(), values);
        put(format!("_{}", element.name), shadows);
    }
}

/// What depends on what stands elsewhere.
const APART: &[&str] = &["contained", "extension", "modifierExtension"];

/// A value, and what stands beside it.
fn one(random: &mut Random, element: &Element, depth: usize) -> (Value, Value) {
    match element.kind {
        Kind::Primitive(Primitive::Xhtml) => {
            (json!("<div xmlns=\"http://www.w3.org/1999/xhtml\">a &amp;\r\n<b>b</b></div>"), Value::Null)
        }
        Kind::Primitive(kind) => {
            let value = primitive(random, kind, element);
            let extension = json!([{"url": "urn:x", "valueDecimal": primitive(random, Primitive::Decimal, element)}]);
            // An id of a resource and an attribute have nothing beside them in XML.
            let is_bare = element.is_attribute || element.name == "id";
            match random.below(6) {
                0 if !is_bare => (value, json!({"id": "i", "extension": extension})),
                1 if !is_bare => (Value::Null, json!({"extension": extension})),
                2 if !is_bare => (value, json!({"id": "i"})),
                _ => (value, Value::Null),
            }
        }
        Kind::Complex("Reference") => {
            let target = random.one_of(element.targets.unwrap_or(&["Patient", "Group"]));
            (json!({"reference": format!("{target}/1"), "display": "a"}), Value::Null)
        }
        Kind::Complex("CodeableConcept") if element.codes.is_some() => {
            let (system, code) =
                random.one_of(element.codes.unwrap_or_default()).split_once('|').expect("with its system");
            (json!({"coding": [{"system": system, "code": code}]}), Value::Null)
        }
        Kind::Complex(name) => {
            let mut members = Map::new();
            fill(random, definition(name).expect("a type"), &mut members, depth + 1);
            if !members.keys().any(|key| key != "id") {
                members.insert("extension".to_owned(), json!([{"url": "urn:x", "valueBoolean": true}]));
            }
            if name == "Extension" {
                members = Map::from_iter([("url".to_owned(), json!("urn:x")), ("valueCode".to_owned(), json!("a"))]);
            }
            (Value::Object(members), Value::Null)
        }
        Kind::Resource => (json!({"resourceType": "Patient", "active": true}), Value::Null),
    }
}

fn primitive(random: &mut Random, kind: Primitive, element: &Element) -> Value {
    if let Some(codes) = element.codes.filter(|_| kind == Primitive::Code) {
        return json!(random.one_of(codes));
    }
    let number = |digits: &str| serde_json::from_str(digits).expect("a number");
    match kind {
        Primitive::Boolean => json!(random.below(2) == 0),
        Primitive::Decimal => {
            number(random.one_of(&["0", "-0.00", "1.50", "1e-7", "-12.30E+4", "123456789012345678901234567890.10"]))
        }
        Primitive::Integer => number(random.one_of(&["0", "-2147483648", "2147483647"])),
        Primitive::UnsignedInt => number(random.one_of(&["0", "2147483647"])),
        Primitive::PositiveInt => number("1"),
        Primitive::Base64Binary => json!(random.one_of(&["AAAA", "QQ==", "AAAA\nAAA="])),
        Primitive::Code => json!(random.one_of(&["a", "a b"])),
        Primitive::Date => json!(random.one_of(&["1970", "1970-01", "2024-02-29"])),
        Primitive::DateTime => json!(random.one_of(&["1970", "2024-02-29T23:59:60.123-14:00"])),
        Primitive::Instant => json!("2024-02-29T00:00:00.1Z"),
        Primitive::Time => json!("23:59:59.999"),
        Primitive::Id => json!("A-1.b"),
        Primitive::Oid => json!("urn:oid:1.2.0"),
        Primitive::Uuid => json!("urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
        Primitive::Uri | Primitive::Url | Primitive::Canonical => {
            json!(random.one_of(&["urn:a", "http://a/b?c=d&e=%20#f", "é"]))
        }
        Primitive::String | Primitive::Markdown | Primitive::Xhtml => {
            json!(random.one_of(&["a", " ", "\t a\r\n\u{a0}<b>&amp;\"'\u{1f600}", "]]>", "--"]))
        }
    }
}

proptest! {
    #[test]
    fn what_the_tables_allow_is_valid_and_the_same_after_xml(seed in any::<u64>()) {
        let mut random = Random(seed);
        let mut names: Vec<&str> = definitions().filter(|(_, found)| found.is_resource).map(|(name, _)| name).collect();
        names.sort_unstable();
        let name = random.one_of(&names);
        let made = resource(&mut random, name);
        let document = Document::parse(made.to_string()).expect("JSON");
        let problems: Vec<String> = validate::findings(&document).iter().map(ToString::to_string).collect();
        prop_assert!(problems.is_empty(), "{made}: {problems:?}");
        let written = write(&document).expect("what is valid has an XML form");
        let again = read(&written.into()).expect("it is XML").to_value();
        prop_assert_eq!(again, made);
    }
}
