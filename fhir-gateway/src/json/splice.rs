//! Changing a document by replacing byte ranges. All other bytes stay.

use std::{ops::Range, sync::Arc};

use actix_web::web::Bytes;

use super::{Document, Node, Value, outline::outline, position::Origin};
use crate::outcome::Refusal;

/// Bytes to put in place of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which bytes go; empty to insert.
    pub range: Range<usize>,
    /// What comes in their place.
    pub text: String,
}

/// What the server says about a version when it serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving<'a> {
    /// `meta.versionId`.
    pub version: u32,
    /// `meta.lastUpdated`, Unix seconds.
    pub last_updated: i64,
    /// `meta.source`, where another custodian holds the resource.
    pub source: Option<&'a str>,
}

impl Edit {
    /// Puts the JSON string `text` in place of `node`.
    pub fn string(node: &Node, text: &str) -> Self {
        Self { range: node.range(), text: quoted(text) }
    }

    /// Puts `text` in place of a part of a JSON string: [`Document::parts_of_string`].
    pub fn within_string(range: Range<usize>, text: &str) -> Self {
        let quoted = quoted(text);
        Self { range, text: quoted[1..quoted.len() - 1].to_owned() }
    }
}

impl Document {
    /// The bytes after `edits`, which must not overlap; their order does not matter.
    pub fn edited(&self, mut edits: Vec<Edit>) -> Vec<u8> {
        edits.sort_by_key(|edit| edit.range.start);
        let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
        let mut bytes = Vec::with_capacity(self.bytes.len() + added);
        let mut copied = 0;
        for edit in edits {
            bytes.extend_from_slice(&self.bytes[copied..edit.range.start]);
            bytes.extend_from_slice(edit.text.as_bytes());
            copied = edit.range.end;
        }
        bytes.extend_from_slice(&self.bytes[copied..]);
        bytes
    }

    /// Where parts of a string, in order and by offsets of what it says, stand in the bytes: escapes are longer than
    /// what they stand for.
    pub fn parts_of_string(&self, node: &Node, parts: &[Range<usize>]) -> Vec<Range<usize>> {
        let (mut at, mut said) = (node.start + 1, 0);
        let mut to = |offset: usize| {
            while said < offset {
                let (length, stands_for) = next_of_string(&self.bytes[at..]);
                at += length;
                said += stands_for;
            }
            at
        };
        parts.iter().map(|part| to(part.start)..to(part.end)).collect()
    }

    /// The edit that gives the resource the id `id`. None if it has it, or is no resource.
    pub fn id_edit(&self, id: &str) -> Option<Edit> {
        match self.root.get("id") {
            Some(node) if node.as_str() == Some(id) => None,
            Some(node) => Some(Edit::string(node, id)),
            None => {
                let after = self.root.get("resourceType")?.end;
                Some(Edit { range: after..after, text: format!(",\"id\":{}", quoted(id)) })
            }
        }
    }

    /// The edits that put `serving` into `meta`; other elements of `meta` stay.
    pub fn meta_edits(&self, serving: &Serving<'_>) -> Vec<Edit> {
        let mut wanted = vec![
            ("versionId", quoted(&serving.version.to_string())),
            ("lastUpdated", quoted(&instant(serving.last_updated))),
        ];
        if let Some(source) = serving.source {
            wanted.push(("source", quoted(source)));
        }
        match self.root.get("meta") {
            Some(meta) if matches!(meta.value, Value::Object(_)) => edits_within(meta, wanted),
            _ => {
                let Some(after) = self.root.get("id").or_else(|| self.root.get("resourceType")) else {
                    return Vec::new();
                };
                let text = format!(",\"meta\":{{{}}}", members(&wanted));
                vec![Edit { range: after.end..after.end, text }]
            }
        }
    }

    /// The bytes to serve.
    pub fn served(&self, serving: &Serving<'_>) -> Vec<u8> {
        self.edited(self.meta_edits(serving))
    }
}

/// What [`Document::served`] gives of a document of `bytes`, which were parsed when they were accepted.
///
/// # Errors
/// [`Refusal::Internal`] where they are no object.
pub fn served(bytes: &Bytes, serving: &Serving<'_>) -> Result<Vec<u8>, Refusal> {
    let root = outline(bytes, &["resourceType", "id", "meta"]);
    let root = root.map_err(|_| Refusal::Internal("a stored resource is no JSON object"))?;
    let origin = Origin::Json { whole: bytes.clone(), from: 0 };
    Ok(Document { bytes: bytes.clone(), root: Arc::new(root), origin }.served(serving))
}

/// Unix seconds as a FHIR instant in UTC.
pub fn instant(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .expect("block times are within the years 0000 to 9999")
}

fn edits_within(meta: &Node, wanted: Vec<(&str, String)>) -> Vec<Edit> {
    let (present, missing): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(key, _)| meta.get(key).is_some());
    let mut edits: Vec<Edit> = present
        .into_iter()
        .filter_map(|(key, text)| meta.get(key).map(|node| Edit { range: node.range(), text }))
        .collect();
    if !missing.is_empty() {
        let comma = if meta.members().is_empty() { "" } else { "," };
        let at = meta.start + 1;
        edits.push(Edit { range: at..at, text: members(&missing) + comma });
    }
    edits
}

fn members(members: &[(&str, String)]) -> String {
    members.iter().map(|(key, text)| format!("\"{key}\":{text}")).collect::<Vec<_>>().join(",")
}

/// How many bytes the next part of a string has, and how many bytes of what it says it stands for.
fn next_of_string(bytes: &[u8]) -> (usize, usize) {
    let unit = || u32::from_str_radix(std::str::from_utf8(bytes.get(2..6)?).ok()?, 16).ok();
    match bytes {
        [b'\\', b'u', ..] => match unit().and_then(char::from_u32) {
            Some(character) => (6, character.len_utf8()),
            // The first of two surrogates: the parser refuses one alone.
            None => (12, 4),
        },
        [b'\\', ..] => (2, 1),
        _ => (1, 1),
    }
}

/// `text` as a JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SERVING: Serving<'_> = Serving { version: 3, last_updated: 1_700_000_000, source: None };

    fn served(text: &str, id: &str) -> String {
        let document = Document::parse(text.as_bytes().to_vec()).expect("JSON");
        let accepted = document.edited(document.id_edit(id).into_iter().collect());
        let document = Document::parse(accepted).expect("splicing keeps it JSON");
        let whole = document.served(&SERVING);
        assert_eq!(super::served(document.bytes(), &SERVING), Ok(whole.clone()), "without a tree of all of it");
        String::from_utf8(whole).expect("UTF-8")
    }

    #[test]
    fn id_and_meta_are_spliced_and_all_else_stays() {
        const META: &str = r#""versionId":"3","lastUpdated":"2023-11-14T22:13:20Z""#;
        for (sent, expected) in [
            (r#"{"resourceType":"X"}"#, format!(r#"{{"resourceType":"X","id":"a","meta":{{{META}}}}}"#)),
            (
                "{ \"v\" : 1.00 ,\n \"resourceType\" : \"X\" }",
                format!("{{ \"v\" : 1.00 ,\n \"resourceType\" : \"X\",\"id\":\"a\",\"meta\":{{{META}}} }}"),
            ),
            (r#"{"id":"b","resourceType":"X"}"#, format!(r#"{{"id":"a","meta":{{{META}}},"resourceType":"X"}}"#)),
            (
                r#"{"resourceType":"X","id":"a","meta":{ "tag":[{"code":"t"}] }}"#,
                format!(r#"{{"resourceType":"X","id":"a","meta":{{{META}, "tag":[{{"code":"t"}}] }}}}"#),
            ),
            (
                r#"{"resourceType":"X","meta":{"lastUpdated":"1999-01-01T00:00:00Z","source":"s"},"id":"a"}"#,
                concat!(
                    r#"{"resourceType":"X","meta":{"versionId":"3","#,
                    r#""lastUpdated":"2023-11-14T22:13:20Z","source":"s"},"id":"a"}"#
                )
                .to_string(),
            ),
        ] {
            assert_eq!(served(sent, "a"), expected);
        }
    }

    #[test]
    fn meta_source_is_set_when_another_custodian_holds_it() {
        let document = Document::parse(r#"{"resourceType":"X","id":"a","meta":{"source":"urn:old"}}"#).expect("JSON");
        let served = document.served(&Serving { source: Some("https://a.example/fhir"), ..SERVING });
        let served = Document::parse(served).expect("JSON");
        assert_eq!(served.root().get("meta").and_then(|meta| meta.text("source")), Some("https://a.example/fhir"));
    }

    proptest! {
        #[test]
        fn without_what_was_spliced_the_bytes_are_those_sent(
            number in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?",
            text in "[^\"\\\\\\x00-\\x1f]{0,40}",
            space in "[ \t\r\n]{0,5}",
        ) {
            let sent = format!("{{{space}\"resourceType\"{space}:{space}\"X\"{space},\"v\":{number},\"t\":\"{text}\"{space}}}");
            let inserted = r#","id":"a","meta":{"versionId":"3","lastUpdated":"2023-11-14T22:13:20Z"}"#;
            let served = served(&sent, "a");
            prop_assert!(served.contains(inserted));
            prop_assert_eq!(served.replacen(inserted, "", 1), sent);
        }
    }
}
