//! Links: what may name another resource, and so is rewritten in a transaction (FHIR R4, transaction processing rules).

use super::{Walk, narrative};
use crate::{
    json::{Node, Value},
    resources::elements::Primitive,
};

/// A value that may name another resource: `Reference.reference`; what is a uri, url, oid or uuid, but for elements
/// `system` and the `url` by which a thing says what it is; links and images of narrative. What is canonical names the
/// same everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The value, and where it stands; of narrative, the address only.
    pub node: Node,
    /// Element path.
    pub path: String,
    /// What kind of value.
    pub kind: LinkKind,
}

/// What kind of value may name another resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// `Reference.reference`, which may be conditional.
    Reference,
    /// A primitive.
    Address,
    /// A part of a narrative.
    Narrative,
}

impl<'a> Walk<'a> {
    /// The links that a primitive in the element `name` is or has.
    pub(super) fn link(&mut self, node: &'a Node, kind: Primitive, name: &str, text: &str) {
        if matches!(kind, Primitive::Uri | Primitive::Url | Primitive::Canonical) {
            self.scope.link(text);
        }
        match kind {
            // Names of code systems, of extensions, and of the resource itself.
            Primitive::Uri if ["system", "url"].contains(&name) => {}
            Primitive::Uri | Primitive::Url | Primitive::Oid | Primitive::Uuid => {
                self.links.push(Link { node: node.clone(), path: self.path.to_string(), kind: LinkKind::Address });
            }
            Primitive::Xhtml => self.narrative(node, text),
            _ => {}
        }
    }

    fn narrative(&mut self, node: &Node, text: &str) {
        let addresses = narrative::addresses(text);
        let places = self.document.parts_of_string(node, &addresses);
        for (place, within) in places.into_iter().zip(addresses) {
            let node = Node { start: place.start, end: place.end, value: Value::String(text[within].into()) };
            self.links.push(Link { node, path: self.path.to_string(), kind: LinkKind::Narrative });
        }
    }
}
