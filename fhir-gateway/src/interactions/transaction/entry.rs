//! One entry of a transaction or batch.

use super::resolve::Edits;
use crate::{
    audit::Action,
    index::range,
    interactions::{self, Context, Incoming, condition, subset, update::Preconditions},
    json::{Document, Edit, Node},
    outcome::Refusal,
};

/// What is wrong with an address that no entry can have.
const NO_TARGET: &str =
    "is not Type, Type/id or Type?query, and what stands beside the types, as metadata does, is read alone";

/// `request.url`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Resource type.
    pub resource_type: String,
    /// Id, if the address has one.
    pub id: Option<String>,
    /// Version of a vread.
    pub version: Option<String>,
    /// What follows type and id of other reads: `_history`, `$operation`, a type or `*`.
    pub below: Option<String>,
    /// What follows the question mark.
    pub query: Option<String>,
}

/// An entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place in the Bundle.
    pub at: usize,
    /// `fullUrl`
    pub full_url: Option<String>,
    /// `request.method`
    pub method: String,
    /// `request.url`
    pub target: Target,
    /// `request.ifNoneExist`
    pub if_none_exist: Option<String>,
    /// Version of `request.ifMatch`
    pub if_match: Option<u32>,
    /// `request.ifNoneMatch`
    pub if_none_match: Option<String>,
    /// `request.ifModifiedSince`, Unix seconds
    pub if_modified_since: Option<i64>,
    resource: Option<Node>,
}

impl Entry {
    /// Reads the entry at place `at`.
    pub fn read(at: usize, node: &Node) -> Result<Self, Refusal> {
        let refuse = |path: &str, problem: &str| Refusal::invalid(format!("Bundle.entry[{at}]{path}"), problem);
        let request = node.get("request").ok_or_else(|| refuse(".request", "is required"))?;
        let method = request.text("method").ok_or_else(|| refuse(".request.method", "is required"))?;
        let url = request.text("url").ok_or_else(|| refuse(".request.url", "is required"))?;
        let target = Target::read(url).ok_or_else(|| refuse(".request.url", NO_TARGET))?;
        if let Some(problem) = misfit(method, &target) {
            return Err(refuse(".request.url", problem));
        }
        let resource = node.get("resource").cloned();
        if method == "PATCH" {
            let patch = resource.as_ref().and_then(|resource| resource.text("resourceType"));
            if !matches!(patch, Some("Parameters" | "Binary")) {
                return Err(refuse(".resource", "must be a Parameters or a Binary that holds a patch"));
            }
        }
        if matches!(method, "POST" | "PUT") {
            let resource = resource.as_ref().ok_or_else(|| refuse(".resource", "is required"))?;
            if resource.text("resourceType") != Some(&target.resource_type) {
                return Err(refuse(".resource", "resourceType is not that of request.url"));
            }
            let id = resource.text("id");
            if method == "PUT" && target.id.is_some() && id != target.id.as_deref() {
                return Err(refuse(".resource.id", "must be the id of request.url"));
            }
        }
        let version = |name: &str| match request.text(name).map(version_of) {
            Some(None) => Err(refuse(&format!(".request.{name}"), "is not a version: W/\"1\"")),
            Some(found) => Ok(found),
            None => Ok(None),
        };
        let if_none_exist = request.text("ifNoneExist").map(|text| condition::criteria(&target.resource_type, text));
        let if_none_exist =
            if_none_exist.transpose().map_err(|_| refuse(".request.ifNoneExist", "is on another type"))?;
        Ok(Self {
            at,
            full_url: node.text("fullUrl").map(str::to_string),
            method: method.to_string(),
            if_none_exist: if_none_exist.map(str::to_string),
            if_match: version("ifMatch")?,
            if_none_match: request.text("ifNoneMatch").map(str::to_string),
            if_modified_since: request.text("ifModifiedSince").and_then(range::date).map(|range| range.low / 1000),
            target,
            resource,
        })
    }

    /// Logs that the entry was refused for who asks, and gives the refusal back.
    pub async fn refused(&self, context: &Context<'_>, refusal: Refusal) -> Refusal {
        let Target { resource_type, id, query, below, .. } = &self.target;
        let action = match self.method.as_str() {
            "POST" => Action::Create,
            "PUT" | "PATCH" => Action::Update,
            "DELETE" => Action::Delete,
            _ if query.is_some() || below.is_some() || id.is_none() => Action::Execute,
            _ => Action::Read,
        };
        interactions::refused(context, action, resource_type, id.as_deref(), refusal).await
    }

    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        is_read(&self.method)
    }

    /// The type that `request.url` names.
    pub fn resource_type(&self) -> &str {
        &self.target.resource_type
    }

    /// The condition that names what the entry is about, with its type.
    pub fn condition(&self) -> Option<(&str, &str)> {
        let condition = match self.method.as_str() {
            "POST" => self.if_none_exist.as_deref(),
            "PUT" | "PATCH" | "DELETE" => self.target.query.as_deref(),
            _ => None,
        };
        condition.map(|condition| (self.target.resource_type.as_str(), condition))
    }

    /// What must hold before the resource is replaced.
    pub fn preconditions(&self) -> Preconditions {
        let must_be_absent = self.if_none_match.as_deref().map(str::trim) == Some("*");
        Preconditions { if_match: self.if_match, must_be_absent }
    }

    /// The id that a client chose: that of `request.url`, or of a body that is put by condition.
    pub fn address(&self) -> Option<&str> {
        let of_body = self.resource_id().filter(|_| self.method == "PUT");
        self.target.id.as_deref().or(of_body)
    }

    /// The id that the resource of the entry names.
    pub fn resource_id(&self) -> Option<&str> {
        self.resource.as_ref()?.text("id")
    }

    /// The version that the resource of the entry says that it is.
    pub fn resource_version(&self) -> Option<&str> {
        self.resource.as_ref()?.get("meta")?.text("versionId")
    }

    /// Refuses a resource that says of itself that it is a part.
    pub fn must_be_whole(&self, bundle: &Document) -> Result<(), Refusal> {
        let checked = self.resource.as_ref().map_or(Ok(()), |resource| subset::must_be_whole(bundle, resource));
        checked.map_err(|refusal| refusal.of_entry(self.at))
    }

    /// The resource as it was sent.
    pub fn document(&self, bundle: &Document) -> Result<Document, Refusal> {
        bundle.extract(self.resource()?)
    }

    fn resource(&self) -> Result<&Node, Refusal> {
        self.resource.as_ref().ok_or(Refusal::BadRequest("an entry has no resource".to_string()))
    }

    /// The resource with its references resolved.
    pub fn rewritten(&self, bundle: &Document, edits: &Edits) -> Result<Incoming, Refusal> {
        let (node, document) = (self.resource()?, self.document(bundle)?);
        let within: Vec<Edit> = edits
            .within(node.range())
            .map(|edit| Edit {
                range: edit.range.start - node.start..edit.range.end - node.start,
                text: edit.text.clone(),
            })
            .collect();
        if within.is_empty() {
            return Ok(Incoming::Json(document));
        }
        Ok(Incoming::Json(Document::parse(document.edited(within))?))
    }
}

impl Target {
    /// Reads `Type`, `Type/id`, `Type/id/_history/version` or `Type?query`, and what else may be read.
    pub fn read(url: &str) -> Option<Self> {
        let (path, query) = match url.split_once('?') {
            Some((path, query)) => (path, Some(query.to_string())),
            None => (url, None),
        };
        let mut target = Self { query, ..Self::default() };
        let is_below = |name: &str| {
            let is_type = name.starts_with(|first: char| first.is_ascii_uppercase());
            is_type || name == "*" || name == "_history" || name.starts_with('$')
        };
        match *path.trim_start_matches('/').split('/').collect::<Vec<_>>().as_slice() {
            ["_history"] => {
                target.below = Some("_history".to_string());
                return Some(target);
            }
            [resource_type, name] if name == "_history" || name.starts_with('$') => {
                target.resource_type = resource_type.to_string();
                target.below = Some(name.to_string());
            }
            [resource_type, id, name] if is_below(name) => {
                target.resource_type = resource_type.to_string();
                target.id = Some(id.to_string());
                target.below = Some(name.to_string());
            }
            [resource_type] => target.resource_type = resource_type.to_string(),
            [resource_type, id] => {
                target.resource_type = resource_type.to_string();
                target.id = Some(id.to_string());
            }
            [resource_type, id, "_history", version] => {
                target.resource_type = resource_type.to_string();
                target.id = Some(id.to_string());
                target.version = Some(version.to_string());
            }
            _ => return None,
        }
        let is_type = target.resource_type.starts_with(|first: char| first.is_ascii_uppercase());
        is_type.then_some(target)
    }
}

fn is_read(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

/// Why `method` does nothing at an address.
fn misfit(method: &str, target: &Target) -> Option<&'static str> {
    let below = target.below.as_deref();
    let is_fit = match method {
        _ if is_read(method) => true,
        "POST" if below.is_some_and(|below| below.starts_with('$')) => {
            return Some("names an operation: a Bundle asks by GET for those that only read, and others stand alone");
        }
        "POST" if target.id.as_deref().or(below) == Some("_search") => {
            return Some("names a search: a Bundle asks for it by GET, as Type?query");
        }
        "POST" => target.id.is_none() && target.query.is_none() && below.is_none(),
        _ => below.is_none() && target.version.is_none() && target.id.is_some() != target.query.is_some(),
    };
    (!is_fit).then_some("does not fit request.method")
}

/// The version of an entity tag: `W/"3"` or `"3"`.
pub fn version_of(tag: &str) -> Option<u32> {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let target = |url: &str| Target::read(url).map(|t| (t.resource_type, t.id, t.version, t.query));
        let some = |text: &str| Some(text.to_string());
        assert_eq!(target("Patient"), Some(("Patient".into(), None, None, None)));
        assert_eq!(target("/Patient/1"), Some(("Patient".into(), some("1"), None, None)));
        assert_eq!(target("Patient?a=b"), Some(("Patient".into(), None, None, some("a=b"))));
        assert_eq!(target("Patient/1/_history/2"), Some(("Patient".into(), some("1"), some("2"), None)));
        assert_eq!(target("metadata"), None);
        assert_eq!(target("Patient/1/2"), None);
        let below = |url: &str| Target::read(url).and_then(|target| target.below);
        for (url, name) in [
            ("_history", "_history"),
            ("Patient/1/_history", "_history"),
            ("Patient/1/*", "*"),
            ("Patient/1/$everything?_count=1", "$everything"),
            ("DocumentReference/$docref", "$docref"),
        ] {
            assert_eq!(below(url), some(name), "{url}");
        }
    }

    #[test]
    fn entity_tags_are_versions() {
        assert_eq!(version_of("W/\"3\""), Some(3));
        assert_eq!(version_of("\"3\""), Some(3));
        assert_eq!(version_of("3"), None);
        assert_eq!(version_of("W/\"x\""), None);
    }
}
