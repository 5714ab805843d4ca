//! FHIR XML to JSON and back, by the tables of the definitions (FHIR R4, 2.6). What is stored is
//! always JSON: docs/adr/0023-xml-is-read-into-json.md
//!
//! Nothing is lost either way: digits stay digits, ids and extensions of primitives stand where
//! they stood, narrative is the same bytes. Not part of a resource, and so dropped: comments and
//! processing instructions outside narrative, `xsi:schemaLocation`, whitespace between elements.
//!
//! Refused: document types (and with them every entity but XML's own five), encodings other than
//! UTF-8, prefixes of namespaces, elements out of order.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::read;
pub use write::write;

/// The namespace of every element but those of narrative.
pub const NAMESPACE: &str = "http://hl7.org/fhir";
