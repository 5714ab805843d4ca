//! Every official example: accepted, or refused for a reason that the definitions give.

use std::collections::BTreeMap;

use careledger_gateway::{
    json::{Document, Node, Value},
    validate, xml,
};

use super::package::Package;

/// Where the refused ones are listed, with the reason.
const REFUSED: &str = include_str!("../../definitions/refused.txt");

/// Every example and definition is accepted, or refused as the list says; what is accepted becomes XML and
/// comes back the same.
pub fn examples(package: &Package) -> Result<(), String> {
    let mut refused = String::new();
    let (mut accepted, mut altered) = (0, Vec::new());
    for name in
        package.names().iter().filter(|name| !["package.json", ".index.json", "ig-r4.json"].contains(&name.as_str()))
    {
        match verdict(package.read(name)) {
            Ok(()) => accepted += 1,
            Err(Verdict::Refused(why)) => refused += &format!("{name} {why}\n"),
            Err(Verdict::Altered(why)) => altered.push(format!("{name} {why}")),
        }
    }
    println!(
        "{accepted} accepted and the same after XML, {} refused, {} altered",
        refused.lines().count(),
        altered.len()
    );
    if !altered.is_empty() {
        return Err(altered.join("\n"));
    }
    if refused == REFUSED { Ok(()) } else { Err(format!("definitions/refused.txt should be:\n{refused}")) }
}

/// What is said against a resource.
pub enum Verdict {
    /// It is not accepted.
    Refused(String),
    /// It is accepted, and not what it was after it was XML.
    Altered(String),
}

/// Validates a resource, and turns it into XML and back.
pub fn verdict(bytes: Vec<u8>) -> Result<(), Verdict> {
    let document = Document::parse(bytes).map_err(|refusal| Verdict::Refused(refusal.to_string()))?;
    if let Some(first) = validate::findings(&document).first() {
        return Err(Verdict::Refused(first.to_string()));
    }
    let altered = |what: String| Verdict::Altered(what);
    let written = xml::write(&document).map_err(|refusal| altered(refusal.to_string()))?;
    let again = xml::read(&written.into()).map_err(|refusal| altered(refusal.to_string()))?;
    if let Some(refusal) = validate::findings(&again).first() {
        return Err(altered(refusal.to_string()));
    }
    if same(document.root(), again.root()) { Ok(()) } else { Err(altered("differs".to_owned())) }
}

/// Whether two trees say the same: digits and texts, and the order of everything but members.
fn same(left: &Node, right: &Node) -> bool {
    match (&left.value, &right.value) {
        (Value::Object(left), Value::Object(right)) => {
            let of = |members: &[(Box<str>, Node)]| -> BTreeMap<String, Node> {
                members.iter().map(|(key, node)| (key.to_string(), node.clone())).collect()
            };
            let (left, right) = (of(left), of(right));
            left.len() == right.len()
                && left.iter().zip(&right).all(|(left, right)| left.0 == right.0 && same(left.1, right.1))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (left, right) => left == right,
    }
}
