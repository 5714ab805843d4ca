//! `elements.txt`, `codes.txt` and `patterns.txt`, from StructureDefinitions and their value sets.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::package::Package;

/// One element of a type; of a choice, one of its names.
pub struct Element {
    /// JSON name.
    pub name: String,
    /// Type, or the path of a backbone element.
    pub kind: String,
    /// The choice that it belongs to.
    pub choice: Option<String>,
    line: String,
}

/// Every type that a resource or a data type has.
pub struct Types {
    /// Elements by type, in the order of the definition.
    pub by_name: BTreeMap<String, Vec<Element>>,
    resources: BTreeSet<String>,
    bindings: Vec<String>,
    patterns: String,
}

/// What of the package the elements are made from.
struct Source {
    definitions: BTreeMap<String, Value>,
    value_sets: HashMap<String, Value>,
    code_systems: HashMap<String, Value>,
}

impl Types {
    /// Reads them.
    pub fn read(package: &Package) -> Self {
        let structures = package.load("StructureDefinition");
        let by_url = |resource_type| {
            let url = |resource: &Value| text(resource, "url").to_owned();
            package.load(resource_type).into_iter().map(|resource| (url(&resource), resource)).collect()
        };
        let is_wanted = |found: &&Value| {
            text(found, "derivation") != "constraint"
                && ["resource", "complex-type"].contains(&text(found, "kind"))
                && found.get("snapshot").is_some()
        };
        let definitions =
            structures.iter().filter(is_wanted).map(|found| (text(found, "type").to_owned(), found.clone())).collect();
        let source = Source { definitions, value_sets: by_url("ValueSet"), code_systems: by_url("CodeSystem") };
        let concrete = source.definitions.iter().filter(|(_, found)| is_resource(found) && found["abstract"] != true);
        let mut types = Self {
            by_name: BTreeMap::new(),
            resources: concrete.map(|(name, _)| name.clone()).collect(),
            bindings: Vec::new(),
            patterns: patterns(&structures),
        };
        for (name, found) in &source.definitions {
            types.block(&source, name, items(&found["snapshot"], "element"));
        }
        types
    }

    /// The elements directly under `path`.
    fn block(&mut self, source: &Source, path: &str, elements: &[Value]) {
        let mut block = Vec::new();
        for element in elements {
            let here = text(element, "path");
            let Some((parent, name)) = here.rsplit_once('.') else { continue };
            if parent != path || text(element, "max") == "0" {
                continue;
            }
            let has_children = || elements.iter().any(|other| text(other, "path").starts_with(&format!("{here}.")));
            if let Some(reference) = element.get("contentReference").and_then(Value::as_str) {
                block.push(self.element(source, element, name, reference.trim_start_matches('#'), None));
                continue;
            }
            let kinds = items(element, "type");
            if let Some(stem) = name.strip_suffix("[x]") {
                for kind in kinds {
                    let code = type_code(kind);
                    let name = format!("{stem}{}", capitalized(code));
                    block.push(self.element(source, element, &name, code, Some((stem, kind))));
                }
                continue;
            }
            let code = kinds.first().map_or("string", type_code);
            if ["BackboneElement", "Element"].contains(&code) && has_children() {
                self.block(source, here, elements);
                block.push(self.element(source, element, name, here, None));
            } else if source.definitions.get(code).is_some_and(is_resource) {
                block.push(self.element(source, element, name, "Resource", None));
            } else if name == "id" && source.definitions.get(path).is_some_and(is_resource) {
                block.push(self.element(source, element, name, "id", None));
            } else {
                block.push(self.element(source, element, name, code, None));
            }
        }
        self.by_name.insert(path.to_owned(), block);
    }

    fn element(
        &mut self,
        source: &Source,
        element: &Value,
        name: &str,
        kind: &str,
        choice: Option<(&str, &Value)>,
    ) -> Element {
        let max = if text(element, "max") == "1" { "1" } else { "*" };
        let mut line = format!(" {name} {} {max} {kind}", element["min"]);
        if let Some((stem, _)) = choice {
            line += &format!(" choice={stem}");
        }
        if ["code", "CodeableConcept"].contains(&kind)
            && let Some(number) = self.binding(source, element, kind)
        {
            line += &format!(" codes={number}");
        }
        if kind == "Reference" {
            let of = choice.map(|(_, kind)| kind).or_else(|| items(element, "type").first());
            line += &of.map(targets).unwrap_or_default();
        }
        for (flag, word) in [("isSummary", " summary"), ("isModifier", " modifier")] {
            if element[flag] == true {
                line += word;
            }
        }
        if items(element, "representation").iter().any(|representation| representation == "xmlAttr") {
            line += " attribute";
        }
        Element { name: name.to_owned(), kind: kind.to_owned(), choice: choice.map(|(stem, _)| stem.to_owned()), line }
    }

    /// The number of the codes that an element requires; none where it requires none, or where the package
    /// does not list them.
    fn binding(&mut self, source: &Source, element: &Value, kind: &str) -> Option<usize> {
        let binding = element.get("binding").filter(|binding| text(binding, "strength") == "required")?;
        let mut codes = BTreeSet::new();
        source.expand(text(binding, "valueSet"), &mut codes)?;
        assert!(codes.iter().all(|(_, code)| !code.contains(' ')), "a code with a space needs another format");
        let line = if kind == "code" {
            let codes: BTreeSet<&str> = codes.iter().map(|(_, code)| code.as_str()).collect();
            codes.into_iter().collect::<Vec<_>>().join(" ")
        } else {
            let coded: Vec<String> = codes.iter().map(|(system, code)| format!("{system}|{code}")).collect();
            coded.join(" ")
        };
        Some(self.bindings.iter().position(|known| *known == line).unwrap_or_else(|| {
            self.bindings.push(line);
            self.bindings.len() - 1
        }))
    }

    /// `elements.txt`
    pub fn elements(&self) -> String {
        let mut out = String::new();
        for (name, elements) in &self.by_name {
            let resource = if self.resources.contains(name) { "resource " } else { "" };
            out += &format!("{resource}{name}\n");
            for element in elements {
                out += &format!("{}\n", element.line);
            }
        }
        out
    }

    /// `codes.txt`
    pub fn codes(&self) -> String {
        self.bindings.iter().enumerate().map(|(number, codes)| format!("{number} {codes}\n")).collect()
    }

    /// `patterns.txt`
    pub fn patterns(&self) -> &str {
        &self.patterns
    }
}

impl Source {
    /// Adds every (system, code) of a value set, or gives none where the package does not list them all.
    fn expand(&self, url: &str, codes: &mut BTreeSet<(String, String)>) -> Option<()> {
        let compose = &self.value_sets.get(url.split('|').next().unwrap_or_default())?["compose"];
        if compose.get("exclude").is_some() {
            return None;
        }
        for include in items(compose, "include") {
            if include.get("filter").is_some() {
                return None;
            }
            for other in items(include, "valueSet") {
                self.expand(other.as_str()?, codes)?;
            }
            let Some(system) = include.get("system").and_then(Value::as_str) else { continue };
            if include.get("concept").is_some() {
                let listed = items(include, "concept").iter();
                codes.extend(listed.map(|concept| (system.to_owned(), text(concept, "code").to_owned())));
            } else {
                let found = self.code_systems.get(system).filter(|found| found["content"] == "complete")?;
                concepts(system, items(found, "concept"), codes);
            }
        }
        (!codes.is_empty()).then_some(())
    }
}

fn concepts(system: &str, found: &[Value], codes: &mut BTreeSet<(String, String)>) {
    for concept in found {
        codes.insert((system.to_owned(), text(concept, "code").to_owned()));
        concepts(system, items(concept, "concept"), codes);
    }
}

/// ` to=…`: the resource types that a reference may point at; empty where it may point at any.
fn targets(kind: &Value) -> String {
    let names: Vec<&str> =
        items(kind, "targetProfile").iter().filter_map(|profile| profile.as_str()?.rsplit('/').next()).collect();
    if names.is_empty() || names.contains(&"Resource") { String::new() } else { format!(" to={}", names.join(",")) }
}

/// The pattern of every primitive type.
fn patterns(structures: &[Value]) -> String {
    let mut out = BTreeMap::new();
    for found in structures.iter().filter(|found| text(found, "kind") == "primitive-type") {
        let name = text(found, "type");
        let value = items(&found["snapshot"], "element")
            .iter()
            .find(|element| text(element, "path") == format!("{name}.value"));
        let kind = value.and_then(|value| items(value, "type").first());
        if let Some(pattern) = kind.and_then(|kind| extension(kind, "regex", "valueString")) {
            out.insert(name, pattern);
        }
    }
    out.into_iter().map(|(name, pattern)| format!("{name} {pattern}\n")).collect()
}

fn type_code(kind: &Value) -> &str {
    let code = text(kind, "code");
    if code.starts_with("http://hl7.org/fhirpath/System.") {
        return extension(kind, "structuredefinition-fhir-type", "valueUrl").unwrap_or("string");
    }
    code
}

fn extension<'a>(of: &'a Value, name: &str, value: &str) -> Option<&'a str> {
    let suffix = format!("/{name}");
    items(of, "extension").iter().find(|found| text(found, "url").ends_with(&suffix))?[value].as_str()
}

fn is_resource(found: &Value) -> bool {
    text(found, "kind") == "resource"
}

fn capitalized(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_ascii_uppercase() + rest
}

/// A string member; empty where there is none.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// An array member; empty where there is none.
pub fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
