//! `compartments.txt`, from the CompartmentDefinition of Patients.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    elements::{items, text},
    package::Package,
};

/// The table for the resource types in `kept`.
pub fn compartments(package: &Package, kept: &BTreeSet<&str>) -> String {
    let all = package.load("CompartmentDefinition");
    let patients = all.iter().find(|found| text(found, "code") == "Patient").expect("the package has it");
    let mut lines = BTreeMap::new();
    for resource in items(patients, "resource") {
        let parameters: BTreeSet<&str> = items(resource, "param").iter().filter_map(Value::as_str).collect();
        if kept.contains(text(resource, "code")) && !parameters.is_empty() {
            let parameters: Vec<&str> = parameters.into_iter().collect();
            lines.insert(text(resource, "code"), parameters.join(" "));
        }
    }
    lines.into_iter().map(|(name, parameters)| format!("{name} {parameters}\n")).collect()
}
