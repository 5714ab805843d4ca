//! Patches: what a client wants changed in a resource, in one of three forms. docs/api/patch.md
//!
//! - JSON Patch (RFC 6902), an array of operations on JSON pointers;
//! - FHIRPath Patch (FHIR R4, 3.1.0.8.1), a Parameters resource of operations on elements;
//! - JSON Merge Patch (RFC 7386), an object with what is to be different.
//!
//! All work on [`Tree`](crate::json::Tree)s, so whatever a patch does not name keeps its bytes. What comes out
//! is checked like any resource before it is stored.

mod fhirpath;
mod json_patch;
mod merge;
mod path;
mod place;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    json::{Document, Value},
    outcome::Refusal,
};

/// Most operations of one patch.
pub const OPERATIONS_MAX: usize = 1_000;
/// Most bytes that the copies of one patch add.
pub const COPIED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is said of a body that is no patch.
pub const PATCH_WANTED: &str = "must be a patch: Content-Type application/json-patch+json, \
    application/merge-patch+json, or application/fhir+json or application/fhir+xml with a Parameters resource";

/// A patch, read and not yet applied.
#[derive(Debug, Clone)]
pub enum Patch {
    /// RFC 6902.
    Json(Document),
    /// FHIRPath Patch.
    FhirPath(Document),
    /// RFC 7386.
    Merge(Document),
}

impl Patch {
    /// Reads a body by its media type, given without parameters. Plain JSON is what it looks like:
    /// an array of operations, a Parameters resource, or else an object to merge.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedMedia`] for another type; [`Refusal::Malformed`].
    pub fn read(content_type: &str, bytes: impl Into<actix_web::web::Bytes>) -> Result<Self, Refusal> {
        match content_type {
            "application/json-patch+json" => Document::parse(bytes).map(Self::Json),
            "application/merge-patch+json" => Document::parse(bytes).map(Self::Merge),
            "application/fhir+json" | "application/json+fhir" => Self::of_parameters(Document::parse(bytes)?),
            "application/json" | "text/json" => {
                let document = Document::parse(bytes)?;
                Ok(match &document.root().value {
                    Value::Array(_) => Self::Json(document),
                    _ if document.resource_type() == Some("Parameters") => Self::FhirPath(document),
                    _ => Self::Merge(document),
                })
            }
            _ => Err(Refusal::UnsupportedMedia(PATCH_WANTED)),
        }
    }

    /// A FHIRPath Patch, in whatever format it came.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedMedia`] for another resource.
    pub fn of_parameters(document: Document) -> Result<Self, Refusal> {
        match document.resource_type() {
            Some("Parameters") => Ok(Self::FhirPath(document)),
            _ => Err(Refusal::UnsupportedMedia(PATCH_WANTED)),
        }
    }

    /// Reads the resource of a Bundle's entry: Parameters, or a Binary that holds any other patch.
    ///
    /// # Errors
    /// As [`Patch::read`]; [`Refusal::Invalid`] for another resource, or a Binary without a patch.
    pub fn of_resource(resource: Document) -> Result<Self, Refusal> {
        match resource.resource_type() {
            Some("Parameters") => Ok(Self::FhirPath(resource)),
            Some("Binary") => {
                let data: String = resource.root().text("data").unwrap_or_default().split_ascii_whitespace().collect();
                let bytes = STANDARD.decode(data).map_err(|_| Refusal::invalid("Binary.data", "is not base64"))?;
                let content_type = resource.root().text("contentType").unwrap_or_default();
                let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                Self::read(&essence, bytes).map_err(|refusal| match refusal {
                    Refusal::UnsupportedMedia(_) => Refusal::invalid("Binary.contentType", "is not that of a patch"),
                    Refusal::Malformed { .. } => Refusal::invalid("Binary.data", "is not acceptable JSON"),
                    other => other,
                })
            }
            _ => Err(Refusal::invalid("Resource", "must be a Parameters or a Binary that holds a patch")),
        }
    }

    /// The bytes of `target` after the patch. Arrays and objects that it leaves empty are left
    /// out, since FHIR has none.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] that names the operation which cannot be done; then none is.
    pub fn apply(&self, target: &Document) -> Result<Vec<u8>, Refusal> {
        let tree = match self {
            Self::Json(patch) => json_patch::apply(target, patch)?,
            Self::FhirPath(parameters) => fhirpath::apply(target, parameters)?,
            Self::Merge(patch) => merge::apply(target, patch),
        };
        Ok(tree.pruned().map(|tree| tree.print()).unwrap_or_else(|| b"{}".to_vec()))
    }
}

#[cfg(test)]
mod tests;
