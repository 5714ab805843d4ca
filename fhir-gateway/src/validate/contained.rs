//! Contained resources: each has something that refers to it, and none contains another (FHIR R4,
//! DomainResource, dom-2 to dom-5).

use super::Walk;
use crate::json::Node;

/// A contained resource.
#[derive(Debug)]
pub(super) struct Contained<'a> {
    /// Its place, from 0.
    pub(super) at: usize,
    /// Itself.
    pub(super) node: &'a Node,
    id: Option<&'a str>,
    is_linked: bool,
}

/// The contained resources of one resource, and which of them were seen to be referred to.
#[derive(Debug, Default)]
pub(super) struct Scope<'a> {
    contained: Vec<Contained<'a>>,
    /// The one that is being walked.
    within: Option<usize>,
}

impl<'a> Scope<'a> {
    /// That of a resource.
    pub(super) fn of(resource: &'a Node) -> Self {
        let items = resource.get("contained").map_or(&[][..], Node::items).iter().enumerate();
        let contained = items.map(|(at, node)| Contained { at, node, id: node.text("id"), is_linked: false });
        Self { contained: contained.collect(), within: None }
    }

    /// Notes a value that may refer to a contained resource, `#id`, or from one to its container, `#`.
    pub(super) fn link(&mut self, text: &str) {
        let Some(id) = text.strip_prefix('#') else { return };
        let within = self.within.filter(|_| id.is_empty());
        for contained in &mut self.contained {
            contained.is_linked |= within == Some(contained.at) || (contained.id == Some(id) && !id.is_empty());
        }
    }

    /// The type of the contained resource of that id; none inside where it does not say.
    pub(super) fn type_of(&self, id: &str) -> Option<Option<&'a str>> {
        self.contained
            .iter()
            .find(|contained| contained.id == Some(id))
            .map(|contained| contained.node.text("resourceType"))
    }

    /// Contained resources that nothing was seen to refer to.
    pub(super) fn orphans(self) -> impl Iterator<Item = Contained<'a>> {
        self.contained.into_iter().filter(|contained| !contained.is_linked && contained.id.is_some())
    }
}

impl<'a> Walk<'a> {
    /// A contained resource.
    pub(super) fn contained(&mut self, node: &'a Node, at: usize) {
        if self.scope.within.is_some() {
            return self.find(node, "stands in a resource that is contained itself (dom-2)");
        }
        let Some(id) = node.text("id") else { return self.find(node, "must have an id, since it is contained") };
        if self.scope.contained[..at].iter().any(|before| before.id == Some(id)) {
            self.find(node, "has the id of another contained resource");
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
