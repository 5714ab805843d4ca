//! A lossless JSON tree over the bytes that were sent.
//!
//! A [`Document`] keeps the bytes and, beside them, a tree whose nodes know where they stand in
//! the bytes. A change is an [`Edit`] of a byte range, so every byte outside the edits stays what the
//! client sent (key order, digits of numbers, whitespace, escapes); where a client asks for changes
//! of elements or for some of them, it is a [`Tree`], which prints what it did not touch as it was.
//!
//! Stricter than RFC 8259 where two readers could disagree: duplicate keys, lone surrogates,
//! byte order marks and nesting deeper than [`DEPTH_MAX`] are refused.

mod outline;
mod parse;
mod position;
mod splice;
mod tree;

use std::{ops::Range, sync::Arc};

use actix_web::web::Bytes;

pub use parse::{DEPTH_MAX, is_number};
pub use position::Position;
pub use splice::{Edit, Serving, instant, quoted, served};
pub use tree::Tree;

use crate::{format::Format, outcome::Refusal};
use position::Origin;

/// JSON bytes and the tree that was read from them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Document {
    bytes: Bytes,
    root: Arc<Node>,
    origin: Origin,
}

/// One value and where it stands in the document's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// What the bytes say.
    pub value: Value,
}

/// A JSON value. Numbers keep their digits; strings are unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written.
    Number(Box<str>),
    /// A string without its escapes.
    String(Box<str>),
    /// An array.
    Array(Vec<Node>),
    /// An object: keys are distinct, in the order in which they were sent.
    Object(Vec<(Box<str>, Node)>),
}

impl Document {
    /// Reads `bytes`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] with the position of the first byte that is refused.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, Refusal> {
        let bytes = bytes.into();
        Self::read(bytes.clone(), Origin::Json { whole: bytes, from: 0 })
    }

    /// Reads an answer of this server: a resource, or a Bundle of resources that are as deep as any may be.
    ///
    /// # Errors
    /// [`Refusal::Internal`] where it is none.
    pub fn of_answer(bytes: impl Into<Bytes>) -> Result<Self, Refusal> {
        let bytes = bytes.into();
        let root = parse::parse_within(&bytes, DEPTH_MAX + parse::DEPTH_OF_BUNDLES);
        let root = Arc::new(root.map_err(|_| Refusal::Internal("an answer is not JSON"))?);
        Ok(Self { bytes: bytes.clone(), root, origin: Origin::Json { whole: bytes, from: 0 } })
    }

    /// Reads JSON that was made from XML. `places` are offsets in `bytes` and where in `xml` stands what
    /// begins there, in the order of the former.
    ///
    /// # Errors
    /// As [`Document::parse`], with the position in the XML.
    pub fn made_from_xml(bytes: impl Into<Bytes>, xml: Bytes, places: Vec<(usize, usize)>) -> Result<Self, Refusal> {
        Self::read(bytes.into(), Origin::Xml { whole: xml, places: places.into(), from: 0 })
    }

    fn read(bytes: Bytes, origin: Origin) -> Result<Self, Refusal> {
        match parse::parse(&bytes) {
            Ok(root) => Ok(Self { bytes, root: Arc::new(root), origin }),
            Err(fault) => {
                let format = if matches!(origin, Origin::Json { .. }) { Format::Json } else { Format::Xml };
                Err(Refusal::Malformed { format, problem: fault.problem, position: origin.position(fault.offset) })
            }
        }
    }

    /// Where in what was sent stands what stands at `offset` of the bytes.
    pub fn position(&self, offset: usize) -> Position {
        self.origin.position(offset)
    }

    /// The bytes that were sent.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The outermost value.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The bytes of one node as a document of its own, whose positions are still those of the whole.
    pub fn extract(&self, node: &Node) -> Result<Self, Refusal> {
        Self::read(self.bytes.slice(node.start..node.end), self.origin.within(node.start))
    }

    /// `resourceType`, if the document is an object that has one.
    pub fn resource_type(&self) -> Option<&str> {
        self.root.text("resourceType")
    }

    /// `id`, if the document is an object that has one.
    pub fn id(&self) -> Option<&str> {
        self.root.text("id")
    }

    /// The document as a `serde_json` value, for reading. Digits and key order are kept.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).expect("what the strict parser accepts is JSON within serde_json's depth")
    }
}

impl Node {
    /// The byte range.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The member `key` of an object.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.members().iter().find(|(name, _)| &**name == key).map(|(_, node)| node)
    }

    /// The string member `key` of an object.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A primitive as FHIR writes it: a string, the digits of a number, `true` or `false`.
    pub fn as_primitive(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) | Value::Number(text) => Some(text),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            _ => None,
        }
    }

    /// The members of an object; none for anything else.
    pub fn members(&self) -> &[(Box<str>, Node)] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of an array, or the value itself: FHIR's paths do not tell them apart.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Array(items) => items,
            _ => std::slice::from_ref(self),
        }
    }
}
