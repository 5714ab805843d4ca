//! Writing Bundles (docs/api/search.md): resources go in as the bytes that they are.

use actix_web::http::StatusCode;
use careledger_wire::commitment;
use serde_json::{Value, json};

use super::Answer;
use crate::{
    json::{instant, quoted},
    outcome::Refusal,
};

/// Most bytes of one answer.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How large an answer is so far.
#[derive(Debug, Default)]
pub struct Size(usize);

impl Size {
    /// Counts another `bytes`.
    ///
    /// # Errors
    /// [`Refusal::AnswerTooLarge`] past [`ANSWER_BYTES_MAX`].
    pub fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.0 = self.0.saturating_add(bytes);
        if self.0 > ANSWER_BYTES_MAX { Err(Refusal::AnswerTooLarge { limit: ANSWER_BYTES_MAX }) } else { Ok(()) }
    }

    /// Counts links, which say again what was asked.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_links(&mut self, links: &[(&str, String)]) -> Result<(), Refusal> {
        links.iter().try_for_each(|(_, url)| self.add(url.len()))
    }
}

/// A Bundle being written.
pub struct Writer {
    bytes: Vec<u8>,
    entries: usize,
    is_full: bool,
}

impl Writer {
    /// A Bundle of that type.
    pub fn new(bundle_type: &str) -> Self {
        let head = format!("{{\"resourceType\":\"Bundle\",\"type\":{}", quoted(bundle_type));
        Self { bytes: head.into_bytes(), entries: 0, is_full: false }
    }

    /// Whether an answer did not fit into it any more: what is still to be read is read in vain.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// `Bundle.total`; before links and entries.
    pub fn total(&mut self, total: u64) {
        self.bytes.extend_from_slice(format!(",\"total\":{total}").as_bytes());
    }

    /// `Bundle.link`; before entries. A comma, of FHIR's lists, stays a comma: an address may hold it, and there are
    /// readers that take it for one only then (HAPI's validator of `_type`).
    pub fn links(&mut self, links: &[(&str, String)]) {
        let link = |(relation, url): &(&str, String)| json!({"relation": relation, "url": url.replace("%2C", ",")});
        let links: Vec<Value> = links.iter().map(link).collect();
        self.bytes.extend_from_slice(format!(",\"link\":{}", Value::from(links)).as_bytes());
    }

    /// One entry: its resource as bytes, and further members.
    pub fn entry(&mut self, full_url: Option<&str>, resource: Option<&[u8]>, members: &[(&str, Value)]) {
        self.bytes.extend_from_slice(if self.entries == 0 { b",\"entry\":[{" } else { b",{" });
        self.entries += 1;
        let mut separator: &[u8] = b"";
        let mut member = |bytes: &mut Vec<u8>, name: &str, value: &[u8]| {
            bytes.extend_from_slice(separator);
            bytes.extend_from_slice(format!("\"{name}\":").as_bytes());
            bytes.extend_from_slice(value);
            separator = b",";
        };
        if let Some(full_url) = full_url {
            member(&mut self.bytes, "fullUrl", quoted(full_url).as_bytes());
        }
        if let Some(resource) = resource {
            member(&mut self.bytes, "resource", resource);
        }
        for (name, value) in members {
            member(&mut self.bytes, name, value.to_string().as_bytes());
        }
        self.bytes.push(b'}');
    }

    /// An entry of a search that says something about the search. Its name follows from what it says and from its place, so
    /// that equal answers stay equal.
    pub fn outcome(&mut self, outcome: &Value) {
        let text = outcome.to_string();
        let place = u64::try_from(self.entries).unwrap_or(u64::MAX).to_be_bytes();
        let hash = commitment::hash("careledger/outcome-entry/1", &[text.as_bytes(), &place]);
        let name = uuid::Builder::from_random_bytes(*hash.first_chunk().expect("a hash has 32 bytes")).into_uuid();
        self.entry(Some(&name.urn().to_string()), Some(text.as_bytes()), &[("search", json!({"mode": "outcome"}))]);
    }

    /// An entry that shows `answer`, as transactions and batches do.
    pub fn answer(&mut self, full_url: Option<&str>, answer: &Answer) {
        let mut response = json!({"status": status_line(answer.status)});
        if let Some(location) = &answer.location {
            response["location"] = json!(location);
        }
        if let Some(version) = answer.version {
            response["etag"] = json!(format!("W/\"{version}\""));
        }
        if let Some(last_modified) = answer.last_modified {
            response["lastModified"] = json!(instant(last_modified));
        }
        let resource =
            answer.body.as_ref().filter(|body| body.content_type.is_none()).map(|body| body.bytes.as_slice());
        // What was done stays told; only what it is about does not fit any more.
        let fits = resource.is_none_or(|resource| self.bytes.len() + resource.len() <= ANSWER_BYTES_MAX);
        if !fits {
            self.is_full = true;
            response["outcome"] = Refusal::AnswerTooLarge { limit: ANSWER_BYTES_MAX }.outcome();
        }
        let resource = resource.filter(|_| fits);
        self.entry(full_url, resource, &[("response", response)]);
    }

    /// An entry that shows a refusal.
    pub fn refusal(&mut self, refusal: &Refusal) {
        let (status, _) = refusal.status_and_issue();
        let response = json!({"status": status_line(status), "outcome": refusal.outcome()});
        self.entry(None, None, &[("response", response)]);
    }

    /// The Bundle.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(if self.entries == 0 { b"}" } else { b"]}" });
        self.bytes
    }
}

fn status_line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_largest_size() {
        let mut size = Size::default();
        assert_eq!(size.add(ANSWER_BYTES_MAX), Ok(()));
        assert_eq!(size.add(1), Err(Refusal::AnswerTooLarge { limit: ANSWER_BYTES_MAX }));
        let mut bundle = Writer::new("batch-response");
        let large = Answer::fhir(StatusCode::OK, vec![b' '; ANSWER_BYTES_MAX]);
        assert!(!bundle.is_full());
        bundle.answer(None, &large);
        bundle.answer(None, &large);
        assert!(bundle.is_full());
        let bytes = bundle.finish();
        assert!(bytes.len() < ANSWER_BYTES_MAX);
        assert!(String::from_utf8(bytes).expect("UTF-8").contains("too-long"));
    }

    #[test]
    fn resources_go_in_byte_for_byte() {
        let mut bundle = Writer::new("searchset");
        bundle.total(2);
        bundle.links(&[("self", "http://here?a=\"&b=1%2C2".to_string())]);
        bundle.entry(Some("u"), Some(br#"{ "v" : 1.00 }"#), &[("search", json!({"mode": "match"}))]);
        bundle.entry(None, None, &[]);
        let expected = concat!(
            r#"{"resourceType":"Bundle","type":"searchset","total":2,"link":[{"relation":"self","url":"http://here?a=\"&b=1,2"}],"#,
            r#""entry":[{"fullUrl":"u","resource":{ "v" : 1.00 },"search":{"mode":"match"}},{}]}"#
        );
        assert_eq!(String::from_utf8(bundle.finish()).expect("UTF-8"), expected);
        assert_eq!(Writer::new("batch-response").finish(), br#"{"resourceType":"Bundle","type":"batch-response"}"#);
    }
}
