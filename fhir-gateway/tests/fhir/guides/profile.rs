//! A resource against the differential of a profile: cardinalities, fixed values, required bindings, and
//! slices by the value of a type. It knows what IHE BALP's profiles use and refuses the rest.

use std::collections::BTreeMap;

use serde_json::Value;

use super::example;

/// What is wrong with `resource` by the profile in `tests/guides/balp/{name}.json` and those it is based on.
pub fn findings(resource: &Value, name: &str) -> Vec<String> {
    let profile = example(&format!("balp/{name}.json"));
    let base = profile["baseDefinition"].as_str().unwrap();
    let mut findings = match base.strip_prefix("https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.")
    {
        Some(base) => findings(resource, base),
        None => Vec::new(),
    };
    let elements = profile["differential"]["element"].as_array().unwrap();
    let by_id: BTreeMap<&str, &Value> =
        elements.iter().map(|element| (element["id"].as_str().unwrap(), element)).collect();
    for (id, element) in &by_id {
        for (path, values) in at(resource, id, &by_id) {
            check(element, &path, &values, &mut findings);
        }
    }
    for (id, slicing) in by_id.iter().filter(|(_, element)| element["slicing"]["rules"] == "closed") {
        let slices: Vec<&&str> =
            by_id.keys().filter(|slice| slice.starts_with(&format!("{id}:")) && !tail(slice).contains('.')).collect();
        let all = at(resource, id, &by_id).into_iter().flat_map(|(_, values)| values);
        let outside = all.filter(|value| !slices.iter().any(|slice| is_in(value, slice, &by_id))).count();
        if outside > 0 {
            findings.push(format!("{id}: {outside} in no slice of {}", slicing["slicing"]));
        }
    }
    findings
}

fn tail(id: &str) -> &str {
    id.rsplit_once(':').map_or(id, |(_, tail)| tail)
}

/// The values at an id, one list for each place that has them: `AuditEvent.agent:client.who`.
fn at<'a>(resource: &'a Value, id: &str, by_id: &BTreeMap<&str, &Value>) -> Vec<(String, Vec<&'a Value>)> {
    let mut places: Vec<&Value> = vec![resource];
    let mut whole = "AuditEvent".to_owned();
    let steps: Vec<&str> = id.split('.').skip(1).collect();
    for (depth, step) in steps.iter().enumerate() {
        let (name, slice) = step.split_once(':').map_or((*step, None), |(name, slice)| (name, Some(slice)));
        whole = format!("{whole}.{step}");
        let is_last = depth + 1 == steps.len();
        let lists = places.iter().map(|place| {
            let values = match &place[name] {
                Value::Array(items) => items.iter().collect(),
                Value::Null => Vec::new(),
                one => vec![one],
            };
            let is_wanted = |value: &&Value| slice.is_none() || is_in(value, &whole, by_id);
            values.into_iter().filter(is_wanted).collect::<Vec<_>>()
        });
        let lists: Vec<Vec<&Value>> = lists.collect();
        if is_last {
            return lists.into_iter().map(|values| (whole.clone(), values)).collect();
        }
        places = lists.into_iter().flatten().collect();
    }
    vec![(whole, vec![resource])]
}

/// Whether a value is in a slice: by its `type`, or by itself.
fn is_in(value: &Value, slice: &str, by_id: &BTreeMap<&str, &Value>) -> bool {
    let (own, kind) = (by_id.get(slice), by_id.get(format!("{slice}.type").as_str()));
    match (kind, own) {
        (Some(kind), _) => holds(kind, &value["type"]),
        (None, Some(own)) => holds(own, value),
        (None, None) => false,
    }
}

fn holds(element: &Value, value: &Value) -> bool {
    let pattern = element.as_object().unwrap().iter().find(|(name, _)| name.starts_with("pattern"));
    let is_bound = || match element["binding"]["strength"].as_str() {
        Some("required") => is_member(value, element["binding"]["valueSet"].as_str().unwrap()),
        _ => true,
    };
    pattern.is_none_or(|(_, pattern)| has(value, pattern)) && is_bound()
}

/// Whether a value has everything that a pattern has (FHIR R4, ElementDefinition.pattern).
fn has(value: &Value, pattern: &Value) -> bool {
    match pattern {
        Value::Object(members) => members.iter().all(|(name, inner)| has(&value[name], inner)),
        Value::Array(items) => {
            let found = value.as_array().map(Vec::as_slice).unwrap_or_default();
            items.iter().all(|item| found.iter().any(|value| has(value, item)))
        }
        _ => value == pattern,
    }
}

fn is_member(value: &Value, value_set: &str) -> bool {
    let set = example(&format!("balp/{}.json", value_set.rsplit('/').next().unwrap()));
    let codings = value["coding"].as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let includes = set["compose"]["include"].as_array().unwrap();
    codings.iter().any(|coding| {
        includes.iter().filter(|include| include["system"] == coding["system"]).any(|include| match &include["concept"]
        {
            Value::Array(concepts) => concepts.iter().any(|concept| concept["code"] == coding["code"]),
            // All codes of the system.
            _ => true,
        })
    })
}

fn check(element: &Value, path: &str, values: &[&Value], findings: &mut Vec<String>) {
    let (least, most) = (element["min"].as_u64().unwrap_or(0), element["max"].as_str());
    let count = values.len() as u64;
    if count < least || most.and_then(|most| most.parse().ok()).is_some_and(|most: u64| count > most) {
        findings.push(format!("{path}: {count} of them, not {least}..{}", most.unwrap_or("*")));
    }
    if let Some(bad) = values.iter().find(|value| !holds(element, value)) {
        findings.push(format!("{path}: {bad} is not as the profile says"));
    }
}
