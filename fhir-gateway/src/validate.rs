//! What is refused before anything is stored: elements that FHIR R4 does not know, wrong JSON
//! types, missing required elements, two values for one choice, codes outside required bindings,
//! primitives that do not match their pattern, references to what may not stand there, narrative
//! that is none, contained resources that nothing refers to. Errors name the element and where it
//! stands, never its value. docs/adr/0022-validation-by-the-official-definitions.md
//!
//! The same walk collects the [`Link`]s of a resource, so that a transaction can rewrite them.

mod contained;
mod link;
pub mod narrative;
pub(crate) mod path;
mod primitive;
mod reference;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::HashMap};

pub use link::{Link, LinkKind};
pub use primitive::{is_id, is_instant};

use crate::{
    json::{Document, Node, Value},
    outcome::Refusal,
    resources::elements::{Definition, Element, Kind, Primitive, definition},
};
use contained::Scope;
use path::Path;

/// Most findings of one validation: who made that many mistakes has enough to go on.
pub const FINDINGS_MAX: usize = 100;

/// Checks a resource against the definitions.
///
/// # Errors
/// The first element that is refused, by path and position.
pub fn resource(document: &Document) -> Result<Vec<Link>, Refusal> {
    let walk = Walk::over(document, 1);
    match walk.findings.into_iter().next() {
        None => Ok(walk.links),
        Some(finding) => Err(finding.refusal(document)),
    }
}

/// Everything that is wrong with a resource, up to [`FINDINGS_MAX`].
pub fn findings(document: &Document) -> Vec<Refusal> {
    let walk = Walk::over(document, FINDINGS_MAX);
    walk.findings.into_iter().map(|finding| finding.refusal(document)).collect()
}

/// Most flaws of a Bundle's own elements that are told apart by entry.
const ENVELOPE_FINDINGS_MAX: usize = 10_000;

/// What is wrong with a Bundle itself, and with its entries but for the resources in them: by entry, or
/// with none where the whole cannot be taken.
pub fn envelope(bundle: &Document) -> Vec<(Option<usize>, Refusal)> {
    let walk = Walk::of(bundle, ENVELOPE_FINDINGS_MAX, Resources::PassedOver);
    // What comes after so many was not looked at.
    let is_cut = walk.is_full();
    let by_entry = |(at, finding): (usize, Finding)| {
        let entry = finding.path.strip_prefix("Bundle.entry[").and_then(|rest| rest.split_once(']')?.0.parse().ok());
        // To find a position is to read all that stands before it.
        let refusal = if at < FINDINGS_MAX { finding.refusal(bundle) } else { finding.refusal_without_position() };
        (entry.filter(|_| !is_cut), refusal)
    };
    walk.findings.into_iter().enumerate().map(by_entry).collect()
}

/// What is done with the resources within a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resources {
    /// They are checked too.
    Checked,
    /// Somebody else checks them.
    PassedOver,
}

/// One thing that is wrong.
struct Finding {
    path: String,
    problem: Cow<'static, str>,
    /// First byte of what is wrong, or of what lacks something.
    offset: usize,
}

impl Finding {
    fn refusal(self, document: &Document) -> Refusal {
        let position = Some(document.position(self.offset));
        Refusal::Invalid { path: self.path, problem: self.problem.into_owned(), position }
    }

    fn refusal_without_position(self) -> Refusal {
        Refusal::Invalid { path: self.path, problem: self.problem.into_owned(), position: None }
    }
}

struct Walk<'a> {
    document: &'a Document,
    path: Path<'a>,
    links: Vec<Link>,
    findings: Vec<Finding>,
    findings_max: usize,
    within: Resources,
    /// What a Bundle's entries are, by `fullUrl`.
    entries: HashMap<&'a str, &'a str>,
    /// The contained resources of the outermost resource that is being walked.
    scope: Scope<'a>,
}

impl<'a> Walk<'a> {
    fn over(document: &'a Document, findings_max: usize) -> Self {
        Self::of(document, findings_max, Resources::Checked)
    }

    fn of(document: &'a Document, findings_max: usize, within: Resources) -> Self {
        let mut walk = Self {
            document,
            path: Path::default(),
            links: Vec::new(),
            findings: Vec::new(),
            findings_max,
            within,
            entries: reference::entries(document.root()),
            scope: Scope::default(),
        };
        walk.outer(document.root());
        walk
    }

    /// Notes what is wrong with `node`, which stands at the path.
    fn find(&mut self, node: &Node, problem: impl Into<Cow<'static, str>>) {
        if !self.is_full() {
            // Every resource is a `Resource`, also to FHIRPath.
            let path = if self.path.is_empty() { "Resource".to_owned() } else { self.path.to_string() };
            self.findings.push(Finding { path, problem: problem.into(), offset: node.start });
        }
    }

    /// As [`Self::find`], for the element `name` of `node`.
    fn find_in(&mut self, node: &Node, name: &'a str, problem: impl Into<Cow<'static, str>>) {
        self.path.enter(name);
        self.find(node, problem);
        self.path.leave();
    }

    fn is_full(&self) -> bool {
        self.findings.len() >= self.findings_max
    }

    /// A resource that stands for itself: not one that is contained.
    fn outer(&mut self, node: &'a Node) {
        if self.path.is_empty()
            && let Some(name) = node.text("resourceType").filter(|name| reference::is_resource(name))
        {
            self.path.enter(name);
        }
        let outside = std::mem::replace(&mut self.scope, Scope::of(node));
        self.resource(node);
        let scope = std::mem::replace(&mut self.scope, outside);
        for orphan in scope.orphans() {
            self.path.enter("contained");
            self.path.enter_item(orphan.at);
            self.find(orphan.node, "is contained, and nothing refers to it (dom-3)");
            self.path.leave();
            self.path.leave();
        }
    }

    fn resource(&mut self, node: &'a Node) {
        if !matches!(node.value, Value::Object(_)) {
            return self.find(node, "must be a JSON object");
        }
        let Some(name) = node.text("resourceType") else { return self.find(node, "resourceType is required") };
        match definition(name).filter(|found| found.is_resource) {
            Some(found) => self.object(node, found),
            None => self.find(node, "resourceType is not one of FHIR R4"),
        }
    }

    fn object(&mut self, node: &'a Node, found: &'static Definition) {
        let Value::Object(members) = &node.value else { return self.find(node, "must be a JSON object") };
        if members.is_empty() {
            return self.find(node, "must not be empty");
        }
        for (key, child) in members {
            if self.is_full() {
                return;
            }
            if !(found.is_resource && &**key == "resourceType") {
                self.path.enter(key);
                self.member(node, key, child, found);
                self.path.leave();
            }
        }
        self.presence(node, found);
    }

    fn more_than_an_id(&mut self, node: &Node) {
        if matches!(node.members(), [(key, _)] if &**key == "id") {
            self.find(node, "must have more than an id (ele-1)");
        }
    }

    fn member(&mut self, node: &'a Node, key: &'a str, child: &'a Node, found: &'static Definition) {
        let (name, is_shadow) = match key.strip_prefix('_') {
            Some(name) => (name, true),
            None => (key, false),
        };
        let Some(element) = found.element(name) else { return self.find(child, "is not an element of FHIR R4") };
        match (is_shadow, element.kind) {
            (true, Kind::Primitive(Primitive::Xhtml)) => self.find(child, "narrative has no extensions"),
            (true, Kind::Primitive(_)) => self.shadow(child, element, node.get(name)),
            (true, _) => self.find(child, "only primitive elements have a name with _"),
            (false, _) => self.element(child, element, node.get(&format!("_{name}"))),
        }
    }

    fn element(&mut self, node: &'a Node, element: &'static Element, shadow: Option<&'a Node>) {
        if !element.repeats {
            return self.one(node, element, None);
        }
        let Value::Array(items) = &node.value else { return self.find(node, "must be a JSON array") };
        if items.is_empty() {
            return self.find(node, "must not be empty");
        }
        for (at, item) in items.iter().enumerate() {
            let stands_for_shadow = item.value == Value::Null
                && shadow.is_some_and(|shadow| shadow.items().get(at).is_some_and(|item| item.value != Value::Null));
            if !stands_for_shadow {
                self.path.enter_item(at);
                self.one(item, element, Some(at));
                self.path.leave();
            }
        }
    }

    fn one(&mut self, node: &'a Node, element: &'static Element, at: Option<usize>) {
        match element.kind {
            Kind::Resource if element.name == "contained" => self.contained(node, at.unwrap_or_default()),
            Kind::Resource if self.within == Resources::PassedOver => {}
            Kind::Resource => self.outer(node),
            Kind::Complex(name) => {
                let found = definition(name).expect("a test holds that every element has a known type");
                self.object(node, found);
                self.more_than_an_id(node);
                match name {
                    "Reference" => self.reference(node, element.targets),
                    "CodeableConcept" => self.concept(node, element),
                    "Extension" => self.extension(node),
                    _ => {}
                }
            }
            Kind::Primitive(kind) => self.primitive(node, kind, element),
        }
    }

    fn primitive(&mut self, node: &'a Node, kind: Primitive, element: &'static Element) {
        if let Some(problem) = primitive::problem(node, kind) {
            return self.find(node, problem);
        }
        let Some(text) = node.as_str() else { return };
        if element.codes.is_some_and(|codes| codes.binary_search(&text).is_err()) {
            self.find(node, "is not one of the codes that FHIR R4 requires here");
        }
        self.link(node, kind, element.name, text);
    }

    /// A concept whose codes are required has one of them.
    fn concept(&mut self, node: &'a Node, element: &'static Element) {
        let Some(codes) = element.codes else { return };
        let coded = node.get("coding").map_or(&[][..], Node::items).iter().any(|coding| {
            let (system, code) = (coding.text("system").unwrap_or_default(), coding.text("code").unwrap_or_default());
            codes.binary_search(&format!("{system}|{code}").as_str()).is_ok()
        });
        if !coded {
            self.find(node, "must have a coding with one of the codes that FHIR R4 requires here");
        }
    }

    fn extension(&mut self, node: &'a Node) {
        let is_value = |key: &str| key.starts_with("value") || key.starts_with("_value");
        let has_value = node.members().iter().any(|(key, _)| is_value(key));
        if has_value == node.get("extension").is_some() {
            self.find(node, "must have either a value or extensions (ext-1)");
        }
    }

    /// `_name`: ids and extensions of a primitive, in an array as long as the values.
    fn shadow(&mut self, node: &'a Node, element: &'static Element, values: Option<&'a Node>) {
        if !element.repeats {
            return self.beside(node, values);
        }
        let Value::Array(items) = &node.value else { return self.find(node, "must be a JSON array") };
        let has_as_many = values.is_none_or(|values| values.items().len() == items.len());
        if items.is_empty() || !has_as_many {
            return self.find(node, "must have as many items as the values that it stands beside");
        }
        for (at, item) in items.iter().enumerate() {
            self.path.enter_item(at);
            match (&item.value, values) {
                (Value::Null, Some(_)) => {}
                (Value::Null, None) => self.find(item, "has neither a value nor an extension"),
                (_, values) => self.beside(item, values.map(|values| &values.items()[at])),
            }
            self.path.leave();
        }
    }

    /// What stands beside one value, or in its place.
    fn beside(&mut self, node: &'a Node, value: Option<&'a Node>) {
        self.object(node, definition("Element").expect("every data type is one"));
        if value.is_none_or(|value| value.value == Value::Null) {
            self.more_than_an_id(node);
        }
    }

    /// Required elements are there; of a choice, one at most.
    fn presence(&mut self, node: &'a Node, found: &'static Definition) {
        let is_there = |name: &str| {
            node.members().iter().any(|(key, _)| &**key == name || key.strip_prefix('_').is_some_and(|key| key == name))
        };
        let mut chosen: Option<&str> = None;
        for (at, element) in found.elements.iter().enumerate() {
            let Some(choice) = element.choice else {
                if element.required && !is_there(element.name) {
                    self.find_in(node, element.name, "is required");
                }
                continue;
            };
            if is_there(element.name) {
                if chosen == Some(choice) {
                    self.find_choice(node, choice, "has more than one value");
                }
                chosen = Some(choice);
            }
            // The names of a choice stand next to each other: a test holds it.
            let is_last = found.elements.get(at + 1).is_none_or(|next| next.choice != Some(choice));
            if is_last && element.required && chosen != Some(choice) {
                self.find_choice(node, choice, "is required");
            }
        }
    }

    fn find_choice(&mut self, node: &Node, choice: &'static str, problem: &'static str) {
        self.path.enter_choice(choice);
        self.find(node, problem);
        self.path.leave();
    }
}
