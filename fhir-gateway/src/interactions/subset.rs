//! `_elements` and `_summary`: a part of a resource, marked as such (docs/api/search.md), and taken for the whole by nobody
//! (docs/api/update.md).
//!
//! What is left keeps its bytes, and what must be there stays.

use crate::{
    json::{Document, Node, Tree},
    outcome::Refusal,
    resources::elements::{Definition, Element, Kind, definition},
    search::{Shape, Summary},
};

/// The system of [`SUBSETTED`].
const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
/// Marks what is not the whole resource (FHIR R4, 3.1.1.5.8).
const SUBSETTED: &str = "SUBSETTED";

/// Refuses a resource of `document` that says of itself that it is a part: put in the place of the whole, it would take
/// away what it leaves out.
///
/// # Errors
/// [`Refusal::Invalid`], with the place of the tag.
pub fn must_be_whole(document: &Document, resource: &Node) -> Result<(), Refusal> {
    let tags = resource.get("meta").and_then(|meta| meta.get("tag")).map_or(&[][..], Node::items);
    let marks = |tag: &Node| tag.text("system") == Some(SYSTEM) && tag.text("code") == Some(SUBSETTED);
    let Some(at) = tags.iter().position(marks) else { return Ok(()) };
    Err(Refusal::Invalid {
        path: format!("{}.meta.tag[{at}]", resource.text("resourceType").unwrap_or("Resource")),
        problem: "says that this is a part of a resource (SUBSETTED); send the whole, without the tag".to_owned(),
        position: Some(document.position(tags[at].start)),
    })
}

/// A resource in the shape that is wanted; `is_match` where it is what was searched for, and not
/// beside it.
pub fn shaped(bytes: Vec<u8>, shape: &Shape, is_match: bool) -> Result<Vec<u8>, Refusal> {
    if shape.is_whole() {
        return Ok(bytes);
    }
    let document = Document::parse(bytes)?;
    let Some(name) = document.resource_type() else { return Ok(document.bytes().to_vec()) };
    let Some(found) = definition(name) else { return Ok(document.bytes().to_vec()) };
    let mut tree = Tree::of(&document);
    match shape.summary {
        Summary::True => summarize(&mut tree, found),
        Summary::Text => keep(&mut tree, found, |element| element.name == "text" || element.required),
        Summary::Data => keep(&mut tree, found, |element| element.name != "text"),
        Summary::False => {}
    }
    let wanted: Vec<&str> = wanted(shape, name, is_match);
    if !wanted.is_empty() {
        let is_wanted = |element: &Element| wanted.contains(&element.choice.unwrap_or(element.name));
        keep(&mut tree, found, |element| element.required || is_wanted(element));
    } else if shape.summary == Summary::False {
        return Ok(document.bytes().to_vec());
    }
    mark(&mut tree);
    Ok(tree.pruned().map(|tree| tree.print()).unwrap_or_default())
}

/// The elements that are wanted of a type: a name without a type is one of matches.
fn wanted<'a>(shape: &'a Shape, resource_type: &str, is_match: bool) -> Vec<&'a str> {
    let of_type = |name: &'a String| match name.split_once('.') {
        Some((named, element)) => (named == resource_type).then_some(element),
        None => is_match.then_some(name.as_str()),
    };
    shape.elements.iter().filter_map(of_type).collect()
}

/// Takes away every member of a resource whose element is not to be kept.
fn keep(tree: &mut Tree<'_>, found: &Definition, is_kept: impl Fn(&Element) -> bool) {
    let Some(members) = tree.members_mut() else { return };
    members.retain(|(key, _)| {
        let name = key.strip_prefix('_').unwrap_or(key);
        // A server's own words about the resource are always there.
        ["resourceType", "id", "meta"].contains(&name) || found.element(name).is_some_and(&is_kept)
    });
}

/// Takes away what the definitions do not mark as part of a summary, however deep it stands.
fn summarize(tree: &mut Tree<'_>, found: &Definition) {
    keep(tree, found, |element| element.is_summary || element.required);
    let Some(members) = tree.members_mut() else { return };
    for (key, value) in members {
        // What else `meta` has is in a summary by itself.
        let Some(Element { kind: Kind::Complex(inner), .. }) = found.element(key).filter(|_| &**key != "meta") else {
            continue;
        };
        let Some(inner) = definition(inner) else { continue };
        if value.is_object() {
            summarize(value, inner);
        } else if let Some(items) = value.items_mut() {
            items.iter_mut().for_each(|item| summarize(item, inner));
        }
    }
}

/// Puts the tag into `meta`.
fn mark(tree: &mut Tree<'_>) {
    if tree.get("meta").is_none() {
        tree.set("meta", Tree::Object(Vec::new()));
    }
    let Some(meta) = tree.get_mut("meta") else { return };
    if meta.get("tag").is_none() {
        meta.set("tag", Tree::Array(Vec::new()));
    }
    if let Some(tags) = meta.get_mut("tag").and_then(Tree::items_mut) {
        tags.push(Tree::Made(format!(r#"{{"system":"{SYSTEM}","code":"{SUBSETTED}"}}"#)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENT: &str = r#"{"resourceType":"Patient","id":"a","meta":{"versionId":"1"},"text":{"status":"empty","div":"x"},
        "active":true,"_active":{"id":"i"},"name":[{"family":"F","extension":[{"url":"u","valueDecimal":1.00}]}],
        "contact":[{"name":{"text":"C"}}],"deceasedBoolean":false}"#;
    const TAG: &str = r#""meta":{"versionId":"1","tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]}"#;

    fn shaped_as(text: &str, summary: Summary, elements: &[&str], is_match: bool) -> String {
        let shape = Shape { summary, elements: elements.iter().map(|name| (*name).to_owned()).collect() };
        let bytes = shaped(text.as_bytes().to_vec(), &shape, is_match).expect("JSON");
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn elements_are_those_that_are_named_and_those_that_must_be_there() {
        let shaped = shaped_as(PATIENT, Summary::False, &["active", "deceased", "Observation.code"], true);
        let expected = format!(
            r#"{{"resourceType":"Patient","id":"a",{TAG},"active":true,"_active":{{"id":"i"}},"deceasedBoolean":false}}"#
        );
        assert_eq!(shaped, expected);
        assert_eq!(shaped_as(PATIENT, Summary::False, &["active"], false), PATIENT, "beside a match");
        let observation =
            r#"{"resourceType":"Observation","id":"o","status":"final","code":{"text":"c"},"valueInteger":1}"#;
        let shaped = shaped_as(observation, Summary::False, &["value"], true);
        assert!(shaped.contains(r#""status":"final","code":{"text":"c"},"valueInteger":1"#), "{shaped}");
    }

    #[test]
    fn a_summary_has_what_the_definitions_say() {
        let whole = shaped_as(PATIENT, Summary::True, &[], true);
        assert!(whole.contains(r#""name":[{"family":"F"}]"#) && !whole.contains("contact"), "{whole}");
        assert!(!whole.contains("\"text\"") && whole.contains(TAG), "{whole}");
        let text = shaped_as(PATIENT, Summary::Text, &[], true);
        assert_eq!(
            text,
            format!(r#"{{"resourceType":"Patient","id":"a",{TAG},"text":{{"status":"empty","div":"x"}}}}"#)
        );
        let data = shaped_as(PATIENT, Summary::Data, &[], true);
        assert!(!data.contains("\"div\"") && data.contains("1.00") && data.contains("contact"), "{data}");
        assert_eq!(shaped_as(PATIENT, Summary::False, &[], true), PATIENT);
    }
}
