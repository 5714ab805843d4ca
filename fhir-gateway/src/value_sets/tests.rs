//! What ValueSets mean, and from which place they do not say it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::json::Document;

mod bounds;
mod including;
mod listing;
mod names;

/// ValueSets, by their names.
type Shelved<'a> = Vec<(&'a str, Value)>;

const BASE: &str = "http://here/fhir";

/// A shelf of ValueSets under `http://vs/NAME` and `ValueSet/NAME`.
fn shelf(sets: &[(&str, Value)]) -> Shelf {
    let mut shelf = Shelf::default();
    for (name, set) in sets {
        let mut resource = set.clone();
        resource["resourceType"] = json!("ValueSet");
        let pin = Pin { id: (*name).to_owned(), version: 1 };
        let document = Document::parse(resource.to_string()).expect("JSON");
        shelf.put(Named::Id((*name).to_owned()), pin.clone());
        shelf.put(named(&format!("http://vs/{name}")), pin.clone());
        shelf.open(pin, Volume::of(document, BASE));
    }
    shelf
}

fn named(text: &str) -> Named {
    Named::read(text, BASE).expect("a name")
}

/// `s|a`, `s|*` for all codes of a system, `s|*-a` for all but one; or `place: problem`.
fn told(sets: &[(&str, Value)]) -> String {
    told_for(sets, &mut Budget::default())
}

/// As [`told`], and what it cost.
fn told_for(sets: &[(&str, Value)], budget: &mut Budget) -> String {
    let (mut shelf, names) = (shelf(sets), [named("http://vs/one")]);
    shelf.answer(&names, BASE, budget);
    match shelf.sets(&names).members(&names[0]) {
        Ok(members) => written(&members),
        Err(refusal) => refusal.to_string(),
    }
}

fn written(members: &Members) -> String {
    let mut text = String::new();
    for (system, codes) in members.systems() {
        match codes {
            Codes::Only(codes) => codes.iter().for_each(|code| write!(text, "{system}|{code} ").expect("text")),
            Codes::AllBut(codes) => {
                write!(text, "{system}|*").expect("text");
                codes.iter().for_each(|code| write!(text, "-{code}").expect("text"));
                text.push(' ');
            }
        }
    }
    text.trim_end().to_owned()
}

fn concepts(system: &str, codes: &[&str]) -> Value {
    let concepts: Vec<Value> = codes.iter().map(|code| json!({"code": code, "display": "canary"})).collect();
    json!({"system": system, "concept": concepts})
}

fn include(parts: Value) -> Value {
    json!({"compose": {"include": parts}})
}

fn named_so(sets: &[(String, Value)]) -> Vec<(&str, Value)> {
    sets.iter().map(|(name, set)| (name.as_str(), set.clone())).collect()
}
