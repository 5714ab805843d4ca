//! References: their form, and that what they name may stand there.

use std::collections::HashMap;

use super::{Link, LinkKind, Walk, primitive};
use crate::{json::Node, resources::elements::definition};

/// What the entries of a Bundle are, by `fullUrl`: what `urn:uuid:…` means within it.
pub(super) fn entries(root: &Node) -> HashMap<&str, &str> {
    let entries = root.get("entry").filter(|_| root.text("resourceType") == Some("Bundle"));
    let named = |entry| Some((Node::text(entry, "fullUrl")?, entry.get("resource")?.text("resourceType")?));
    // The resource of a PATCH says how another one is to be changed.
    let is_patch = |entry: &&Node| entry.get("request").and_then(|request| request.text("method")) == Some("PATCH");
    entries.map_or(&[][..], Node::items).iter().filter(|entry| !is_patch(entry)).filter_map(named).collect()
}

impl<'a> Walk<'a> {
    /// A Reference that may point at `targets`; at anything where there are none.
    pub(super) fn reference(&mut self, node: &'a Node, targets: Option<&'static [&'static str]>) {
        let said = node.get("type").and_then(|said| Some((said, said.as_str()?)));
        let said = said
            .map(|(node, name)| (node, name.strip_prefix("http://hl7.org/fhir/StructureDefinition/").unwrap_or(name)));
        if let Some((node, name)) = said {
            self.path.enter("type");
            self.target(node, name, targets);
            self.path.leave();
        }
        let Some((reference, text)) = node.get("reference").and_then(|found| Some((found, found.as_str()?))) else {
            return;
        };
        self.path.enter("reference");
        if primitive::is_reference(text) {
            let found = self.type_of(reference, text);
            if let Some(name) = found {
                self.target(reference, name, targets);
            }
            if said.zip(found).is_some_and(|((_, said), found)| said != found && definition(said).is_some()) {
                self.find(reference, "names another type than Reference.type says");
            }
        } else {
            self.find(reference, "is not a reference: Type/id, #id, a URL, a URN or Type?query");
        }
        self.links.push(Link { node: reference.clone(), path: self.path.to_string(), kind: LinkKind::Reference });
        self.path.leave();
    }

    /// The resource type that a reference names, as far as it can be told without reading it.
    fn type_of(&mut self, node: &'a Node, text: &'a str) -> Option<&'a str> {
        if let Some(id) = text.strip_prefix('#') {
            self.scope.link(text);
            let found = self.scope.type_of(id);
            if found.is_none() && !id.is_empty() {
                self.find(node, "names a contained resource that is not there (ref-1)");
            }
            return found.flatten();
        }
        if let Some(found) = self.entries.get(text) {
            return Some(found);
        }
        if text.starts_with("urn:") {
            return None;
        }
        let (path, _) = text.split_once(['?', '#']).unwrap_or((text, ""));
        let segments: Vec<&str> = path.rsplit('/').take(4).collect();
        let is_absolute = text.starts_with("http");
        let name = match *segments.as_slice() {
            [_, "_history", _, name] | [_, name, ..] if !is_absolute || is_resource(name) => name,
            [name] if !is_absolute => name,
            _ => return None,
        };
        Some(name)
    }

    fn target(&mut self, node: &Node, name: &str, targets: Option<&'static [&'static str]>) {
        // A logical model is named by a URL of its own.
        if name.contains(':') {
            return;
        }
        if !is_resource(name) {
            return self.find(node, "names no resource type of FHIR R4");
        }
        if let Some(targets) = targets
            && !targets.contains(&name)
        {
            self.find(node, format!("must name one of {}", targets.join(", ")));
        }
    }
}

/// Whether FHIR R4 has a resource type of that name.
pub(super) fn is_resource(name: &str) -> bool {
    definition(name).is_some_and(|found| found.is_resource)
}
