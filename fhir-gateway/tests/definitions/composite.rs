//! Composite parameters: pairs of values that stand together, such as a code and what was measured.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    elements::{Types, items, text},
    search::{leaves_of, of_part, resolve},
};

/// What follows `composite` in a parameter's line; none where a half finds nothing.
pub fn composite(types: &Types, resource: &str, parameter: &Value, by_url: &HashMap<&str, &Value>) -> Option<String> {
    let [first, second] = items(parameter, "component") else { return None };
    let halves = [Half::read(first, by_url)?, Half::read(second, by_url)?];
    let mut parts = Vec::new();
    for base in text(parameter, "expression").split('|').map(str::trim) {
        let steps: Vec<String> = base.split('.').skip(1).map(str::to_owned).collect();
        for (path, kind) in resolve(types, resource, &steps) {
            let [first, second] = [halves[0].paths(types, &kind, base), halves[1].paths(types, &kind, base)];
            if !first.is_empty() && !second.is_empty() {
                let base = if path.is_empty() { "." } else { &path };
                let part = format!("{base};{};{}", first.join(","), second.join(","));
                // A parameter of many types names the same place once for each.
                if !parts.contains(&part) {
                    parts.push(part);
                }
            }
        }
    }
    let kinds = format!("{} {}", halves[0].kind, halves[1].kind);
    (!parts.is_empty()).then(|| format!("{kinds} {}", parts.join(" ")))
}

struct Half<'a> {
    kind: &'a str,
    /// From the place of the pair.
    expression: &'a str,
    /// From the resource: what the parameter of which it is a part says.
    whole: &'a str,
}

impl<'a> Half<'a> {
    fn read(component: &'a Value, by_url: &HashMap<&str, &'a Value>) -> Option<Self> {
        let named = by_url.get(text(component, "definition"))?;
        let (kind, whole) = (text(named, "type"), text(named, "expression"));
        Some(Self { kind, expression: text(component, "expression"), whole })
    }

    /// Paths below an object of type `kind`.
    fn paths(&self, types: &Types, kind: &str, base: &str) -> Vec<String> {
        let Some(leaves) = leaves_of(self.kind) else { return Vec::new() };
        let below = |expression: &str| -> Vec<String> {
            let parts = expression.split('|').map(str::trim);
            let mut found: Vec<String> =
                parts.flat_map(|part| of_part(types, kind, &format!("{kind}.{part}"), leaves)).collect();
            found.dedup();
            found
        };
        let found = below(self.expression);
        if !found.is_empty() {
            return found;
        }
        // DocumentReference's `relationship` has the expressions of its halves in each other's place.
        let own = self.whole.split('|').map(str::trim).filter_map(|part| part.strip_prefix(base)?.strip_prefix('.'));
        own.flat_map(below).collect()
    }
}
