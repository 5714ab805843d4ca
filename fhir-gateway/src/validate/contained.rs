//! Contained resources: each has something that refers to it, and none contains another (FHIR R4,
//! DomainResource, dom-2 to dom-5).

use std::collections::HashMap;

use super::Walk;
use crate::json::Node;

/// A contained resource.
#[derive(Debug)]
pub(super) struct Contained<'a> {
    /// Its place, from 0.
    pub(super) at: usize,
    /// Itself.
    pub(super) node: &'a Node,
    is_linked: bool,
}

/// The contained resources of one resource, and which of them were seen to be referred to.
#[derive(Debug, Default)]
pub(super) struct Scope<'a> {
    contained: Vec<Contained<'a>>,
    /// The first of each id: there may be many, and many references to them.
    by_id: HashMap<&'a str, usize>,
    /// The one that is being walked.
    within: Option<usize>,
}

impl<'a> Scope<'a> {
    /// That of a resource.
    pub(super) fn of(resource: &'a Node) -> Self {
        let mut scope = Self::default();
        for (at, node) in resource.get("contained").map_or(&[][..], Node::items).iter().enumerate() {
            scope.contained.push(Contained { at, node, is_linked: false });
            if let Some(id) = node.text("id") {
                scope.by_id.entry(id).or_insert(at);
            }
        }
        scope
    }

    /// Notes a value that may refer to a contained resource, `#id`, or from one to its container, `#`.
    pub(super) fn link(&mut self, text: &str) {
        let Some(id) = text.strip_prefix('#') else { return };
        let meant = if id.is_empty() { self.within } else { self.by_id.get(id).copied() };
        if let Some(meant) = meant {
            self.contained[meant].is_linked = true;
        }
    }

    /// The type of the contained resource of that id; none inside where it does not say.
    pub(super) fn type_of(&self, id: &str) -> Option<Option<&'a str>> {
        self.by_id.get(id).map(|at| self.contained[*at].node.text("resourceType"))
    }

    /// Contained resources that nothing was seen to refer to. One without an id is refused as such.
    pub(super) fn orphans(self) -> impl Iterator<Item = Contained<'a>> {
        self.contained.into_iter().filter(|contained| !contained.is_linked && contained.node.get("id").is_some())
    }
}

impl<'a> Walk<'a> {
    /// A contained resource.
    pub(super) fn contained(&mut self, node: &'a Node, at: usize) {
        if self.scope.within.is_some() {
            return self.find(node, "stands in a resource that is contained itself (dom-2)");
        }
        let Some(id) = node.text("id") else { return self.find(node, "must have an id, since it is contained") };
        if self.scope.by_id.get(id) != Some(&at) {
            return self.find(node, "has the id of another contained resource");
        }
        if let Some(meta) = node.get("meta")
            && ["versionId", "lastUpdated", "security"].iter().any(|name| meta.get(name).is_some())
        {
            self.find(
                meta,
                "has a version, a time or a label of its own, which a contained resource has not (dom-4, dom-5)",
            );
        }
        self.scope.within = Some(at);
        self.resource(node);
        self.scope.within = None;
    }
}
