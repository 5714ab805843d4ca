//! `search.txt`, from SearchParameters: their expressions, resolved to paths of JSON names.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::{
    composite::composite,
    elements::{Types, items, text},
    package::Package,
};

/// Parameters that the server answers itself, or does not have.
const APART: &[&str] = &["_id", "_lastUpdated", "_query", "_text", "_content", "_has", "_filter", "_type", "_list"];

/// What an expression reads: `Patient.telecom.where(system='phone')` and its like.
struct Part {
    steps: Vec<String>,
    cast: Option<String>,
    target: Option<String>,
}

/// The table for the resource types in `kept`.
pub fn search(package: &Package, types: &Types, kept: &BTreeSet<&str>) -> String {
    let mut parameters: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    let all = package.load("SearchParameter");
    let by_url: HashMap<&str, &Value> = all.iter().map(|parameter| (text(parameter, "url"), parameter)).collect();
    for parameter in &all {
        let (code, kind) = (text(parameter, "code"), text(parameter, "type"));
        let Some(expression) = parameter.get("expression").and_then(Value::as_str) else { continue };
        if kind == "composite" {
            for resource in items(parameter, "base").iter().filter_map(Value::as_str) {
                let found =
                    kept.get(resource).and_then(|name| Some((name, composite(types, name, parameter, &by_url)?)));
                if let Some((name, pairs)) = found {
                    let line = format!(" {code} composite {pairs}\n");
                    parameters.entry(name).or_default().insert(code.to_owned(), line);
                }
            }
            continue;
        }
        let Some(leaves) = leaves_of(kind).filter(|_| !APART.contains(&code)) else { continue };
        for base in items(parameter, "base").iter().filter_map(Value::as_str) {
            let is_of_all = ["Resource", "DomainResource"].contains(&base);
            for resource in kept.iter().filter(|name| is_of_all || **name == base) {
                let paths = paths(types, resource, code, expression, leaves);
                if !paths.is_empty() {
                    let line = format!(" {code} {kind} {}\n", paths.join(" "));
                    parameters.entry(resource).or_default().insert(code.to_owned(), line);
                }
            }
        }
    }
    let table = parameters.into_iter().map(|(resource, lines)| {
        let lines: String = lines.into_values().collect();
        format!("{resource}\n{lines}")
    });
    table.collect()
}

/// Types of the values that a kind of parameter searches.
pub fn leaves_of(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "token" => {
            &["Coding", "CodeableConcept", "Identifier", "code", "boolean", "ContactPoint", "string", "uri", "id"]
        }
        "date" => &["date", "dateTime", "instant", "Period", "Timing"],
        "reference" => &["Reference", "canonical", "uri"],
        "string" => &["string", "HumanName", "Address", "markdown"],
        "quantity" => &["Quantity", "Money", "Age", "Duration", "Range"],
        "number" => &["integer", "decimal", "positiveInt", "unsignedInt"],
        "uri" => &["uri", "url", "canonical", "oid", "uuid"],
        // Where a Location is: `near`, the only one of its kind.
        "special" => &["Location.position"],
        _ => return None,
    })
}

fn paths(types: &Types, resource: &str, code: &str, expression: &str, leaves: &[&str]) -> Vec<String> {
    // The one expression that is not made of paths: `deceased.exists() and deceased != false`, which is false of whoever
    // has no such element.
    if (resource, code) == ("Patient", "deceased") {
        return ["deceasedBoolean:boolean", "deceasedDateTime:dateTime", "=false"].map(str::to_owned).into();
    }
    let mut found: Vec<String> = Vec::new();
    for path in expression.split('|').flat_map(|part| of_part(types, resource, part, leaves)) {
        if !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// What one part of an expression reads from the type `start`.
pub fn of_part(types: &Types, start: &str, part: &str, leaves: &[&str]) -> Vec<String> {
    let Some(Part { steps, cast, target }) = read(start, part) else { return Vec::new() };
    let target = target.map(|target| format!("->{target}")).unwrap_or_default();
    // `DateTime` is what one expression calls dateTime.
    let is_cast = |leaf: &str| cast.as_ref().is_none_or(|cast| cast.eq_ignore_ascii_case(leaf));
    let found = resolve(types, start, &steps).into_iter();
    found
        .filter(|(_, leaf)| leaves.contains(&leaf.as_str()) && is_cast(leaf))
        .map(|(path, leaf)| format!("{path}:{leaf}{target}"))
        .collect()
}

fn read(resource: &str, part: &str) -> Option<Part> {
    let mut part = part.trim().trim_matches(['(', ')']).trim().to_owned();
    let mut target = None;
    if let Some((before, after)) = part.split_once(".where(resolve() is ") {
        target = Some(after.trim_end_matches(')').to_owned());
        part = before.to_owned();
    }
    let mut cast = None;
    let split = part.split_once(" as ").or_else(|| part.split_once(".as("));
    if let Some((before, after)) = split {
        cast = Some(after.trim_end_matches(')').to_owned());
        part = before.trim_matches(['(', ')']).to_owned();
    }
    let part = filters(&part);
    // InsurancePlan's `name` names its elements without the type.
    let is_bare = !part.contains('.') && part.starts_with(|first: char| first.is_ascii_lowercase());
    let part = if is_bare { format!("{resource}.{part}") } else { part };
    let own = part.strip_prefix(resource).and_then(|rest| rest.strip_prefix('.')).map(|path| (resource, path));
    let (head, path) = own.or_else(|| part.split_once('.'))?;
    let is_path = |byte: u8| byte.is_ascii_alphabetic() || b".[]=_-".contains(&byte);
    let is_own = [resource, "Resource", "DomainResource"].contains(&head);
    let steps = || path.split('.').map(str::to_owned).collect();
    (is_own && path.bytes().all(is_path)).then(|| Part { steps: steps(), cast, target })
}

/// `.where(system='phone')` as `[system=phone]`.
fn filters(part: &str) -> String {
    let Some((before, after)) = part.split_once(".where(") else { return part.to_owned() };
    let (condition, rest) = after.split_once("')").unwrap_or((after.trim_end_matches('\''), ""));
    let condition = condition.replacen("='", "=", 1);
    format!("{before}[{condition}]{rest}")
}

/// JSON paths and leaf types below the type `start`.
pub fn resolve(types: &Types, start: &str, steps: &[String]) -> Vec<(String, String)> {
    let Some((step, rest)) = steps.split_first() else { return vec![(String::new(), start.to_owned())] };
    let (name, filter) = match step.split_once('[') {
        Some((name, _)) => (name, &step[name.len()..]),
        None => (step.as_str(), ""),
    };
    let elements = types.by_name.get(start).map_or(&[][..], Vec::as_slice);
    let named = elements.iter().filter(|element| element.name == name || element.choice.as_deref() == Some(name));
    let below = named.flat_map(|element| {
        resolve(types, &element.kind, rest).into_iter().map(move |(path, leaf)| {
            let dot = if path.is_empty() { "" } else { "." };
            (format!("{}{filter}{dot}{path}", element.name), leaf)
        })
    });
    below.collect()
}
