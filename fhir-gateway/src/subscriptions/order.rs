//! What a Subscription asks for, read from its resource. docs/api/subscriptions.md

use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName,
    HeaderValue, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use url::Url;

use super::address;
use crate::{
    export::job::pairs,
    format::{FHIR_JSON, FHIR_XML, Format},
    index::range,
    json::{Document, Node},
    outcome::Refusal,
    resources::{Access, Resource, resource},
    search::{Handling, Query, Subject, is_about_answers},
};

/// Most lines of `channel.header`.
const HEADERS_MAX: usize = 16;
/// Longest of them, in bytes.
const HEADER_BYTES_MAX: usize = 4_096;
/// Longest criteria, in bytes.
const CRITERIA_BYTES_MAX: usize = 4_096;
/// Headers that are about the connection, or that this server sets.
const NOT_FREE: [HeaderName; 12] = [
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What is asked for.
#[derive(Debug)]
pub struct Order {
    /// The search that a resource must meet.
    pub query: Query,
    /// Where to tell it.
    pub endpoint: Url,
    /// As what the resource is sent; none where it is not.
    pub payload: Option<Format>,
    /// What goes with each request. May hold secrets.
    pub headers: HeaderMap,
    /// When it is removed, Unix seconds.
    pub end: Option<i64>,
    /// Whether its owner switched it off.
    pub is_off: bool,
}

impl Order {
    /// Reads a valid Subscription.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] with the element that asks for what cannot be done.
    pub fn read(document: &Document, trusted: &[String], base_url: &str) -> Result<Self, Refusal> {
        let root = document.root();
        let channel = root.get("channel").ok_or_else(|| wrong("channel", "is required"))?;
        if channel.text("type") != Some("rest-hook") {
            return Err(wrong("channel.type", "must be rest-hook: no other channel is supported here"));
        }
        let endpoint =
            channel.text("endpoint").ok_or_else(|| wrong("channel.endpoint", "is required by a rest-hook"))?;
        let payload = match channel.text("payload") {
            None | Some("") => None,
            Some(FHIR_JSON) => Some(Format::Json),
            Some(FHIR_XML) => Some(Format::Xml),
            Some(_) => {
                let problem = format!("must be {FHIR_JSON}, {FHIR_XML}, or absent for a notification without content");
                return Err(wrong("channel.payload", problem));
            }
        };
        Ok(Self {
            query: query(root.text("criteria").unwrap_or_default(), base_url)?,
            endpoint: address::read(endpoint, trusted).map_err(|problem| wrong("channel.endpoint", problem))?,
            payload,
            headers: headers(channel)?,
            end: end(document)?,
            is_off: root.text("status") == Some("off"),
        })
    }

    /// The type of which it is told.
    pub fn kind(&self) -> &'static Resource {
        self.query.resource
    }
}

/// When a Subscription is removed, Unix seconds.
fn end(document: &Document) -> Result<Option<i64>, Refusal> {
    let Some(text) = document.root().text("end") else { return Ok(None) };
    let range = range::date(text).ok_or_else(|| wrong("end", "is no instant"))?;
    Ok(Some(range.low.div_euclid(1_000)))
}

fn wrong(element: &str, problem: impl Into<String>) -> Refusal {
    Refusal::invalid(format!("Subscription.{element}"), problem)
}

/// `Type` or `Type?search`, by the code that reads every search.
fn query(text: &str, base_url: &str) -> Result<Query, Refusal> {
    let wrong = |problem: &str| wrong("criteria", problem);
    if text.len() > CRITERIA_BYTES_MAX {
        return Err(wrong(&format!("is longer than {CRITERIA_BYTES_MAX} bytes")));
    }
    let (name, query) = text.split_once('?').unwrap_or((text, ""));
    let kind = resource(name).filter(|kind| kind.access == Access::Full && kind.name != "Binary");
    let kind = kind.ok_or_else(|| {
        wrong("must be a resource type of whose changes this server tells (not AuditEvent, Binary, Subscription), or such a type, ? and a search")
    })?;
    let pairs = pairs(query);
    if pairs.iter().any(|(name, _)| is_about_answers(name)) {
        return Err(wrong("has parameters that are about answers, and not about resources"));
    }
    let query =
        Query::parse(kind, &pairs, Handling::Strict, base_url).map_err(|refusal| wrong(&refusal.to_string()))?;
    // A resource is looked at by itself: what others say may have changed by then, or be for others only.
    let looks_elsewhere = query
        .criteria
        .iter()
        .any(|criterion| !criterion.links.is_empty() || matches!(criterion.subject, Subject::Reverse(_)));
    if looks_elsewhere {
        return Err(wrong("has a chain or _has; only what a resource itself says is compared"));
    }
    Ok(query)
}

/// Lines of the form `Name: value`. No refusal says what is in one.
fn headers(channel: &Node) -> Result<HeaderMap, Refusal> {
    let lines = channel.get("header").map_or(&[][..], Node::items);
    if lines.len() > HEADERS_MAX {
        return Err(wrong("channel.header", format!("has more than {HEADERS_MAX} lines")));
    }
    let mut headers = HeaderMap::new();
    for (at, line) in lines.iter().enumerate() {
        let wrong = |problem: &str| wrong(&format!("channel.header[{at}]"), problem);
        let text = line.as_str().filter(|text| text.len() <= HEADER_BYTES_MAX);
        let text = text.ok_or_else(|| wrong("must be a string of at most 4096 bytes"))?;
        let (name, value) = text.split_once(':').ok_or_else(|| wrong("must be Name: value"))?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong("has no header's name"))?;
        if NOT_FREE.contains(&name) || name.as_str() == "keep-alive" {
            return Err(wrong("names a header that this server sets, or that is about the connection"));
        }
        let mut value =
            HeaderValue::from_str(value.trim()).map_err(|_| wrong("has a value that no header may have"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(change: impl FnOnce(&mut Value)) -> Result<Order, String> {
        let mut subscription = json!({
            "resourceType": "Subscription", "status": "requested", "reason": "r", "criteria": "Observation?code=a",
            "channel": {"type": "rest-hook", "endpoint": "https://example.org/hook"},
        });
        change(&mut subscription);
        let document = Document::parse(subscription.to_string()).unwrap();
        Order::read(&document, &[], "http://here/fhir").map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_element_that_asks_for_it() {
        let order = read(|_| {}).unwrap();
        assert_eq!((order.kind().name, order.payload, order.is_off, order.end), ("Observation", None, false, None));
        let cases: [(&str, Value, &str); 23] = [
            ("/channel/type", json!("websocket"), "Subscription.channel.type"),
            ("/channel/type", json!("email"), "Subscription.channel.type"),
            ("/channel/endpoint", Value::Null, "Subscription.channel.endpoint"),
            ("/channel/endpoint", json!("http://example.org/hook"), "Subscription.channel.endpoint"),
            ("/channel/endpoint", json!("https://127.0.0.1/hook"), "Subscription.channel.endpoint"),
            ("/channel/payload", json!("text/plain"), "Subscription.channel.payload"),
            ("/channel/header", json!(["canary"]), "Subscription.channel.header[0]"),
            ("/channel/header", json!(["a: b", "Host: canary"]), "Subscription.channel.header[1]"),
            ("/channel/header", json!(["content-length: 1"]), "Subscription.channel.header[0]"),
            ("/channel/header", json!(["Transfer-Encoding: chunked"]), "Subscription.channel.header[0]"),
            ("/channel/header", json!(["a: b\r\nHost: canary"]), "Subscription.channel.header[0]"),
            ("/channel/header", json!(["a b: c"]), "Subscription.channel.header[0]"),
            ("/channel/header", json!(vec!["a: b"; 17]), "Subscription.channel.header"),
            ("/criteria", json!("Observation?color=red"), "color"),
            ("/criteria", json!("Observation?code:nonsense=red"), "Subscription.criteria"),
            ("/criteria", json!("Observation?date=never"), "Subscription.criteria"),
            ("/criteria", json!("Observation?code:in=http://example.org/canary"), "value set could change"),
            ("/criteria", json!("Observation?_count=1"), "Subscription.criteria"),
            ("/criteria", json!("Observation?subject:Patient.name=a"), "chain"),
            ("/criteria", json!("Patient?_has:Observation:patient:code=a"), "chain"),
            ("/criteria", json!("AuditEvent"), "Subscription.criteria"),
            ("/criteria", json!("Spaceship?a=b"), "Subscription.criteria"),
            ("/criteria", json!(""), "Subscription.criteria"),
        ];
        for (place, value, expected) in cases {
            let problem = read(|subscription| {
                let (parent, name) = place.rsplit_once('/').unwrap();
                subscription.pointer_mut(parent).unwrap()[name] = value.clone();
            });
            let problem = problem.map(drop).expect_err(&format!("{place} {value}"));
            assert!(problem.contains(expected) && problem.starts_with("Subscription."), "{place} {value}: {problem}");
            assert!(!problem.contains("canary"), "{problem}");
        }
    }

    #[test]
    fn headers_are_kept_and_shown_to_nobody() {
        let order = read(|subscription| {
            subscription["channel"]["header"] = json!(["Authorization: Bearer canary", "X-Two:  2 ", "x-two: 3"]);
        });
        let order = order.unwrap();
        assert_eq!(order.headers["authorization"], "Bearer canary");
        let two: Vec<_> = order.headers.get_all("x-two").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(two, ["2", "3"]);
        assert!(!format!("{order:?}").contains("canary"));
    }
}
