//! A custodian's resource as this gateway serves it: its id names the access request, its source names the
//! custodian, and those of its attachments that the custodian holds lead back here. Everything else stays as the custodian
//! accepted it, digit for digit.

use serde_json::{Value, json};

use super::names::Name;
use crate::mapping::attachment;

/// A resource of another custodian, as its id here names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteId {
    /// The access request that opens it.
    pub name: Name,
    /// Its id at the custodian.
    pub id: String,
}

impl RemoteId {
    /// Reads an id of the form `r.<16 hexadecimal digits>.<id>`; `None` for a local one.
    pub fn parse(id: &str) -> Option<Self> {
        let (name, id) = id.strip_prefix("r.")?.split_once('.')?;
        let name = Name::parse(name)?;
        (!id.is_empty()).then(|| Self { name, id: id.to_owned() })
    }

    /// The id here of the resource `id` that the access request `name` opens. It is 19 longer than `id`.
    pub fn of(name: &Name, id: &str) -> String {
        format!("r.{name}.{id}")
    }
}

/// What is known of a custodian's resource besides its content.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The access request that opens it.
    pub name: &'a Name,
    /// Local id of the Patient whom it is about.
    pub patient: &'a str,
    /// Base URL of the custodian's gateway, or its account where no address is known.
    pub source: &'a str,
    /// Base URL of the custodian's FHIR endpoint, as this gateway reaches it.
    pub base_url: &'a str,
    /// Version at the custodian.
    pub version: u32,
    /// Time of the version's block as a FHIR instant.
    pub last_updated: &'a str,
}

/// Rewrites `resource` in place.
pub fn rewrite(resource: &mut Value, origin: &Origin<'_>) {
    let Some(members) = resource.as_object_mut() else { return };
    if let Some(id) = members.get("id").and_then(Value::as_str) {
        let id = RemoteId::of(origin.name, id);
        members.insert("id".to_owned(), json!(id));
    }
    let meta = members.entry("meta").or_insert_with(|| json!({}));
    meta["versionId"] = json!(origin.version.to_string());
    meta["lastUpdated"] = json!(origin.last_updated);
    meta["source"] = json!(origin.source);
    for name in ["subject", "patient"] {
        if members.contains_key(name) {
            members.insert(name.to_owned(), json!({"reference": format!("Patient/{}", origin.patient)}));
        }
    }
    let contents = members.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten();
    for url in contents.filter_map(|content| content.pointer_mut("/attachment/url")) {
        if let Some(id) = url.as_str().and_then(|url| attachment::named(url, origin.base_url)) {
            *url = json!(format!("Binary/{}", RemoteId::of(origin.name, id)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_the_access_request_and_lead_back() {
        let name = Name::new([0xab; 8]);
        let id = RemoteId::of(&name, "doc-1");
        assert_eq!(id, "r.abababababababab.doc-1");
        let parsed = RemoteId::parse(&id).unwrap();
        assert_eq!((parsed.name, parsed.id.as_str()), (name, "doc-1"));
        for local in ["doc-1", "r.abc.doc", "r.ABABABABABABABAB.doc", "r.abababababababab.", "r.abababababababab"] {
            assert_eq!(RemoteId::parse(local), None, "{local}");
        }
    }

    #[test]
    fn only_what_leads_elsewhere_is_changed() {
        let text = r#"{"resourceType":"DocumentReference","id":"d","meta":{"security":[{"code":"N"}]},"subject":{"reference":"Patient/p","display":"Name at A"},"content":[{"attachment":{"url":"http://a/a/fhir/Binary/b/_history/2","size":1.00}},{"attachment":{"url":"Binary/c"}},{"attachment":{"url":"https://third.example.org/fhir/Binary/d"}},{"attachment":{"url":"/Binary/e"}}],"extra":1.50}"#;
        let mut resource: Value = serde_json::from_str(text).unwrap();
        let name = Name::new([1; 8]);
        let origin = Origin {
            name: &name,
            patient: "local",
            source: "urn:a",
            base_url: "http://a/a/fhir",
            version: 3,
            last_updated: "2026-01-01T00:00:00Z",
        };
        rewrite(&mut resource, &origin);
        let expected = r#"{"resourceType":"DocumentReference","id":"r.0101010101010101.d","meta":{"security":[{"code":"N"}],"versionId":"3","lastUpdated":"2026-01-01T00:00:00Z","source":"urn:a"},"subject":{"reference":"Patient/local"},"content":[{"attachment":{"url":"Binary/r.0101010101010101.b","size":1.00}},{"attachment":{"url":"Binary/r.0101010101010101.c"}},{"attachment":{"url":"https://third.example.org/fhir/Binary/d"}},{"attachment":{"url":"/Binary/e"}}],"extra":1.50}"#;
        assert_eq!(resource.to_string(), expected);
    }
}
