//! JSON to XML: the elements of a resource in the order of its definition.

use super::NAMESPACE;
use crate::{
    json::{Document, Node, Value},
    outcome::Refusal,
    resources::elements::{Definition, Element, Kind, Primitive, definition},
    validate::narrative,
};

/// Why something has no XML form.
type Lacking = &'static str;

/// Writes a resource.
///
/// # Errors
/// [`Refusal::NotInXml`] where it holds what FHIR R4 does not know: it was accepted by other rules.
pub fn write(document: &Document) -> Result<Vec<u8>, Refusal> {
    let mut out = String::with_capacity(document.bytes().len() * 3 / 2);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    resource(document.root(), &mut out, true).map_err(Refusal::NotInXml)?;
    Ok(out.into_bytes())
}

fn resource(node: &Node, out: &mut String, is_root: bool) -> Result<(), Lacking> {
    let name = node.text("resourceType").ok_or("it has no resourceType")?;
    let found = definition(name).filter(|found| found.is_resource).ok_or("its type is not one of FHIR R4")?;
    out.push('<');
    out.push_str(name);
    if is_root {
        attribute("xmlns", NAMESPACE, out)?;
    }
    out.push('>');
    members(node, found, out)?;
    end(name, out);
    Ok(())
}

/// The elements of an object, those that are attributes excepted.
fn members(node: &Node, found: &Definition, out: &mut String) -> Result<(), Lacking> {
    // `resourceType` is the name of the element around these.
    let mut written = usize::from(found.is_resource);
    for one in &found.elements {
        let shadow_name = matches!(one.kind, Kind::Primitive(_)).then(|| format!("_{}", one.name));
        let (value, shadow) = (node.get(one.name), shadow_name.and_then(|name| node.get(&name)));
        written += usize::from(value.is_some()) + usize::from(shadow.is_some());
        if !one.is_attribute && (value.is_some() || shadow.is_some()) {
            element(one, value, shadow, out)?;
        }
    }
    if written == node.members().len() { Ok(()) } else { Err("it holds an element that FHIR R4 does not know") }
}

fn element(element: &Element, value: Option<&Node>, shadow: Option<&Node>, out: &mut String) -> Result<(), Lacking> {
    let (values, shadows) = (value.map_or(&[][..], Node::items), shadow.map_or(&[][..], Node::items));
    for at in 0..values.len().max(shadows.len()) {
        let is_there = |node: &&Node| node.value != Value::Null;
        let (value, shadow) = (values.get(at).filter(is_there), shadows.get(at).filter(is_there));
        match (element.kind, value) {
            (Kind::Primitive(Primitive::Xhtml), Some(value)) => {
                let text = value.as_str().filter(|text| narrative::problem(text).is_none());
                out.push_str(text.ok_or("its narrative is none that FHIR R4 allows")?);
            }
            (Kind::Primitive(_), value) => primitive(element.name, value, shadow, out)?,
            (Kind::Complex(name), Some(value)) => {
                let found = definition(name).expect("a test holds that every element has a known type");
                object(element.name, value, found, out)?;
            }
            (Kind::Resource, Some(value)) => {
                begin(element.name, out);
                out.push('>');
                resource(value, out, false)?;
                end(element.name, out);
            }
            (Kind::Complex(_) | Kind::Resource, None) => return Err("it holds null where an element should stand"),
        }
    }
    Ok(())
}

fn object(name: &str, node: &Node, found: &Definition, out: &mut String) -> Result<(), Lacking> {
    begin(name, out);
    for one in found.elements.iter().filter(|one| one.is_attribute) {
        if let Some(value) = node.get(one.name) {
            attribute(one.name, value.as_str().ok_or("an attribute is no text")?, out)?;
        }
    }
    out.push('>');
    members(node, found, out)?;
    end(name, out);
    Ok(())
}

fn primitive(name: &str, value: Option<&Node>, shadow: Option<&Node>, out: &mut String) -> Result<(), Lacking> {
    begin(name, out);
    if let Some(id) = shadow.and_then(|shadow| shadow.get("id")) {
        attribute("id", id.as_str().ok_or("an id is no text")?, out)?;
    }
    if let Some(value) = value {
        attribute("value", value.as_primitive().ok_or("a primitive is an array or an object")?, out)?;
    }
    match shadow {
        Some(shadow) if shadow.get("extension").is_some() => {
            let found = definition("Element").expect("every data type is one");
            out.push('>');
            members(shadow, found, out)?;
            end(name, out);
        }
        _ => out.push_str("/>"),
    }
    Ok(())
}

fn begin(name: &str, out: &mut String) {
    out.push('<');
    out.push_str(name);
}

fn end(name: &str, out: &mut String) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// ` name="value"`. White space but the space itself is escaped: a reader would take it for spaces.
fn attribute(name: &str, value: &str, out: &mut String) -> Result<(), Lacking> {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    for character in value.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            _ if narrative::is_character(character) => out.push(character),
            _ => return Err("it holds a character that XML does not have"),
        }
    }
    out.push('"');
    Ok(())
}
