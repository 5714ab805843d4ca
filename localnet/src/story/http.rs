//! FHIR calls as an EHR makes them, shown as they are made.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body};

use super::Story;
use crate::failure::Failure;

/// How long one call may take: a write waits for its block.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// How much of an answer's body is read.
const BODY_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How much of an unexpected answer is shown.
const BODY_SHOWN_CHARACTERS_MAX: usize = 2_000;
/// How much of a refusal's reason is shown.
const REASON_CHARACTERS_MAX: usize = 160;

/// One client of one organization's FHIR endpoint.
#[derive(Debug)]
pub struct Fhir {
    base: String,
    token: String,
    agent: Agent,
    /// Everything that was sent to this endpoint and came back from it.
    transcript: RefCell<Vec<u8>>,
}

/// What an endpoint answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    response: Response<()>,
    body: Vec<u8>,
}

impl Fhir {
    /// A client of the endpoint at `base` (`http://…/hospital-a/fhir`) that shows `token`.
    pub fn new(base: impl Into<String>, token: impl Into<String>) -> Self {
        let agent = Agent::config_builder()
            .timeout_global(Some(CALL_TIME_MAX))
            // A refusal is an answer that the story checks.
            .http_status_as_error(false)
            .build()
            .new_agent();
        Self { base: base.into(), token: token.into(), agent, transcript: RefCell::default() }
    }

    /// The endpoint's base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The token that it shows.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether `text` stands in anything that was sent to this endpoint or came back from it.
    pub fn transcript_contains(&self, text: &str) -> bool {
        let transcript = self.transcript.borrow();
        transcript.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Reads or searches.
    pub fn get(&self, story: &Story, path: &str) -> Result<Answer, Failure> {
        self.send(story, Method::GET, path, "application/fhir+json", &[])
    }

    /// Creates, or posts a Bundle (`path` empty).
    pub fn post(&self, story: &Story, path: &str, resource: &Value) -> Result<Answer, Failure> {
        self.send(story, Method::POST, path, "application/fhir+json", resource.to_string().as_bytes())
    }

    /// Creates a Binary from its own bytes.
    pub fn post_bytes(&self, story: &Story, path: &str, kind: &str, bytes: &[u8]) -> Result<Answer, Failure> {
        self.send(story, Method::POST, path, kind, bytes)
    }

    /// Reads or searches without showing it: for what is awaited.
    pub fn look(&self, path: &str) -> Result<Answer, Failure> {
        self.exchange(Method::GET, &self.url(path), "application/fhir+json", &[])
    }

    fn url(&self, path: &str) -> String {
        match path {
            "" => self.base.clone(),
            _ => format!("{}/{path}", self.base),
        }
    }

    fn send(&self, story: &Story, method: Method, path: &str, kind: &str, body: &[u8]) -> Result<Answer, Failure> {
        let url = self.url(path);
        story.call(format!("{method} {url}"));
        let answer = self.exchange(method, &url, kind, body)?;
        story.answer(answer.summary());
        Ok(answer)
    }

    fn exchange(&self, method: Method, url: &str, kind: &str, body: &[u8]) -> Result<Answer, Failure> {
        let failed = |error: String| Failure::Check(format!("{method} {url}: {error}"));
        let request = Request::builder()
            .method(&method)
            .uri(url)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", kind)
            .body(body)
            .map_err(|error| failed(error.to_string()))?;
        let response = self.agent.run(request).map_err(|error| failed(error.to_string()))?;
        let answer = Answer::read(response).map_err(failed)?;
        self.transcript.borrow_mut().extend([url.as_bytes(), body, &answer.body].concat());
        Ok(answer)
    }
}

impl Answer {
    fn read(response: Response<Body>) -> Result<Self, String> {
        let (parts, mut body) = response.into_parts();
        let bytes = body.with_config().limit(BODY_BYTES_MAX).read_to_vec().map_err(|error| error.to_string())?;
        Ok(Self { status: parts.status.as_u16(), response: Response::from_parts(parts, ()), body: bytes })
    }

    /// The body as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The answer, where it has this status.
    pub fn expect(self, status: u16) -> Result<Self, Failure> {
        if self.status == status {
            return Ok(self);
        }
        let body = String::from_utf8_lossy(&self.body).chars().take(BODY_SHOWN_CHARACTERS_MAX).collect::<String>();
        Err(Failure::Check(format!("expected status {status}, got {}: {body}", self.status)))
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::Check(format!("the answer is no JSON: {error}")))
    }

    /// A header's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The id that a create gave, from its Location.
    pub fn created_id(&self) -> Result<String, Failure> {
        let location = self.header("location");
        let path = location.split("/_history/").next().unwrap_or_default();
        match path.rsplit('/').next() {
            Some(id) if self.status == 201 && !id.is_empty() => Ok(id.to_owned()),
            _ => Err(Failure::Check(format!("nothing was created: {}", self.summary()))),
        }
    }

    /// Status, and what an engineer looks at first: the place of what was created, or the reason of a refusal.
    fn summary(&self) -> String {
        let status = self.response.status();
        let location = self.header("location");
        if !location.is_empty() {
            return format!("{status}, Location {location}");
        }
        if self.status < 400 {
            return format!("{status}, {} bytes", self.body.len());
        }
        let outcome: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let issue = &outcome["issue"][0];
        let reason =
            issue["details"]["text"].as_str().or(issue["diagnostics"].as_str()).unwrap_or("no OperationOutcome");
        let reason: String = reason.chars().take(REASON_CHARACTERS_MAX).collect();
        format!("{status}: {reason}")
    }
}
