//! The one place where a failure becomes HTTP: a status, an OperationOutcome issue code and a
//! sentence that a hospital's engineer can act on.
//!
//! Absent on purpose: the content of resources. Element paths, parameter names, limits and codes
//! are all that a message may carry. "Denied" and "absent" are both [`Refusal::NotFound`].

mod resource;

use actix_web::{HttpResponse, http::StatusCode, http::header};
use fhir_sdk::r4b::codes::{IssueSeverity, IssueType};

pub use resource::{Issue, operation_outcome};

use crate::{
    format::{Format, Wanted},
    json::Position,
};

/// What is said of a body that is not FHIR.
pub const FHIR_WANTED: &str =
    "must be FHIR in JSON or XML: Content-Type application/fhir+json or application/fhir+xml, in UTF-8";

/// Encodings of bodies that are read.
const ENCODINGS: &str = "gzip, identity";

/// Methods at the address of a Bundle, whatever an entry was refused for.
const BUNDLE_METHODS: &str = "POST, OPTIONS";

/// Seconds after which a client should try again when the ledger does not answer.
const RETRY_AFTER_SECONDS: &str = "5";

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The resource does not exist, or the caller may not know that it does.
    #[error("no such resource")]
    NotFound,
    /// The resource was deleted.
    #[error("the resource was deleted")]
    Gone,
    /// Somebody else wrote the same resource at the same time.
    #[error("the resource was changed by another request at the same time; read it and try again")]
    VersionConflict,
    /// `If-Match`, `If-None-Match` or `If-None-Exist` does not hold.
    #[error("the precondition does not hold: {0}")]
    PreconditionFailed(&'static str),
    /// A condition that must name one resource names several.
    #[error("the condition matches more than one resource; make it narrower")]
    MultipleMatches,
    /// The body is not what its media type says, or is refused as a whole.
    #[error("the body is not acceptable {format}: {problem} ({position})")]
    Malformed {
        /// As what it was read.
        format: Format,
        /// What is wrong, without content.
        problem: &'static str,
        /// Where in the body.
        position: Position,
    },
    /// An element is not what FHIR R4 says it is.
    #[error("{path}: {problem}{}", position.map(|at| format!(" ({at})")).unwrap_or_default())]
    Invalid {
        /// FHIRPath-like path of the element, such as `Patient.name[0].family`.
        path: String,
        /// What is wrong with it, without content.
        problem: String,
        /// Where in the body, if it is one that was sent.
        position: Option<Position>,
    },
    /// The request is well formed and breaks a rule of CareLedger.
    #[error("{0}")]
    Rule(String),
    /// A header or a query parameter is wrong.
    #[error("{0}")]
    BadRequest(String),
    /// A value set that a search names has members that cannot be told here.
    #[error("{place}: {problem}")]
    NotListed {
        /// Path of the element of the ValueSet; of one that it includes, behind that of the element that does.
        place: String,
        /// What is wrong with it, and what to do; without content.
        problem: String,
    },
    /// What the value sets that a request names ask for is more work than one request may be.
    #[error("{}{problem}", place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default())]
    TooCostly {
        /// Path of the element of the ValueSet, as in [`Self::NotListed`]; none where it is what the request itself names.
        place: Option<String>,
        /// What is too much, and what to do; without content.
        problem: String,
    },
    /// The resource type is not one that this server keeps.
    #[error("this server does not keep that resource type; /metadata lists those it keeps")]
    UnsupportedResource,
    /// A search parameter that is not implemented, under `Prefer: handling=strict`.
    #[error("search parameter {0} is not supported here; /metadata lists those that are")]
    UnsupportedParameter(String),
    /// A value of a search parameter that FHIR knows and that is not implemented, under
    /// `Prefer: handling=strict`.
    #[error("{0}")]
    UnsupportedValue(String),
    /// An interaction or operation of FHIR that is not implemented.
    #[error("{0} is not supported here; /metadata lists what is")]
    Unsupported(&'static str),
    /// The interaction is not allowed on this address.
    #[error("the method is not allowed here; {allow} are")]
    MethodNotAllowed {
        /// The methods that are, as the header `Allow` lists them.
        allow: &'static str,
    },
    /// No media type in `Accept` can be produced.
    #[error("only application/fhir+json and application/fhir+xml can be produced here")]
    NotAcceptable,
    /// What was accepted once cannot be written as XML by the rules of today.
    #[error("this can be had as application/fhir+json only: {0}")]
    NotInXml(&'static str),
    /// The body's media type is not one that is read there.
    #[error("the body {0}")]
    UnsupportedMedia(&'static str),
    /// The body is packed in a way that is not read.
    #[error("the body has a Content-Encoding that is not supported; {ENCODINGS} are")]
    UnsupportedEncoding,
    /// The body is larger than the configured limit.
    #[error("the body is larger than {limit} bytes, the limit of this server")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The client takes too long to send the body.
    #[error("the body did not arrive in time; nothing of it was used")]
    TooSlow,
    /// The answer would be larger than any is.
    #[error("the answer would be larger than {limit} bytes; ask for less at once, for example with _count")]
    AnswerTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// No token, or one that is not valid.
    #[error("authentication is required: {0}")]
    Unauthorized(&'static str),
    /// The token's scopes do not allow the interaction.
    #[error("the token lacks the scope {0}")]
    Forbidden(String),
    /// The client sent too many requests.
    #[error("too many requests; wait and try again")]
    TooMany {
        /// Seconds to wait.
        retry_after: u64,
    },
    /// The ledger refused the transaction. The code is one of docs/reject-codes.md.
    #[error("the ledger refused (code {code}): {sentence}")]
    Ledger {
        /// Reject code; never reused.
        code: u32,
        /// The code's fixed sentence.
        sentence: String,
    },
    /// The ledger did not answer in time; what it was sent may still take effect.
    #[error(
        "the ledger did not answer in time, and a write may still take effect; a PUT or DELETE may be repeated, a \
         POST only with the Idempotency-Key that it carried: without one it may be stored twice"
    )]
    LedgerUnavailable,
    /// Other processes of the organization hold what the request needs.
    #[error("another process of this server holds what the request needs; nothing was done, wait and try again")]
    Busy,
    /// The organization that holds the document did not answer.
    #[error("the custodian of this document does not answer; a retry is safe")]
    CustodianUnavailable,
    /// The identity provider that issued the token did not answer.
    #[error("the identity provider that issued the token does not answer; wait and try again")]
    IssuerUnavailable,
    /// The disk is full; nothing was acknowledged.
    #[error("the storage is full; nothing was acknowledged")]
    StorageFull,
    /// A fault of this server. The log names it; the answer does not.
    #[error("the server failed; the request id names the log line")]
    Internal(&'static str),
    /// As that: what is kept of a version is missing or was changed, and no later request finds it.
    #[error("the server failed; the request id names the log line")]
    Lost(&'static str),
    /// One entry of a transaction was refused, and with it the whole.
    #[error("{refusal}")]
    Entry {
        /// Its place in the Bundle, from 0.
        at: usize,
        /// Why.
        refusal: Box<Self>,
    },
}

impl Refusal {
    /// An element that is not what it should be.
    pub fn invalid(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), problem: problem.into(), position: None }
    }

    /// The same refusal, which names the entry of the Bundle that was refused, where it was one. One
    /// that names an entry already stays what it is.
    #[must_use]
    pub fn of_entry(self, at: impl Into<Option<usize>>) -> Self {
        match (self, at.into()) {
            (invalid @ Self::Invalid { .. }, Some(_)) if invalid.names_an_entry() => invalid,
            (named @ Self::Entry { .. }, _) => named,
            (refusal, Some(at)) => Self::Entry { at, refusal: Box::new(refusal) },
            (refusal, None) => refusal,
        }
    }

    fn names_an_entry(&self) -> bool {
        matches!(self, Self::Invalid { path, .. } if path.starts_with("Bundle.entry["))
    }

    /// What was refused, whichever entry it was.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Entry { refusal, .. } => refusal.cause(),
            other => other,
        }
    }

    /// HTTP status and OperationOutcome issue code.
    pub fn status_and_issue(&self) -> (StatusCode, IssueType) {
        match self {
            Self::Entry { refusal, .. } => refusal.status_and_issue(),
            Self::NotFound => (StatusCode::NOT_FOUND, IssueType::NotFound),
            Self::Gone => (StatusCode::GONE, IssueType::Deleted),
            Self::VersionConflict => (StatusCode::CONFLICT, IssueType::Conflict),
            Self::PreconditionFailed(_) => (StatusCode::PRECONDITION_FAILED, IssueType::Conflict),
            Self::MultipleMatches => (StatusCode::PRECONDITION_FAILED, IssueType::MultipleMatches),
            Self::Malformed { .. } => (StatusCode::BAD_REQUEST, IssueType::Structure),
            Self::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, IssueType::Invalid),
            Self::Rule(_) => (StatusCode::UNPROCESSABLE_ENTITY, IssueType::BusinessRule),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, IssueType::Invalid),
            Self::NotListed { .. } => (StatusCode::BAD_REQUEST, IssueType::NotSupported),
            Self::TooCostly { .. } => (StatusCode::BAD_REQUEST, IssueType::TooCostly),
            Self::UnsupportedResource => (StatusCode::NOT_FOUND, IssueType::NotSupported),
            Self::Unsupported(_) => (StatusCode::NOT_FOUND, IssueType::NotSupported),
            Self::UnsupportedParameter(_) | Self::UnsupportedValue(_) => {
                (StatusCode::BAD_REQUEST, IssueType::NotSupported)
            }
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, IssueType::NotSupported),
            Self::NotAcceptable | Self::NotInXml(_) => (StatusCode::NOT_ACCEPTABLE, IssueType::NotSupported),
            Self::UnsupportedMedia(_) | Self::UnsupportedEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, IssueType::NotSupported)
            }
            Self::TooLarge { .. } | Self::AnswerTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, IssueType::TooLong),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, IssueType::Timeout),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, IssueType::Login),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, IssueType::Forbidden),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, IssueType::Throttled),
            Self::Ledger { .. } => (StatusCode::UNPROCESSABLE_ENTITY, IssueType::BusinessRule),
            Self::LedgerUnavailable => (StatusCode::SERVICE_UNAVAILABLE, IssueType::Transient),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, IssueType::LockError),
            Self::CustodianUnavailable | Self::IssuerUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, IssueType::Transient)
            }
            Self::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, IssueType::NoStore),
            Self::Internal(_) | Self::Lost(_) => (StatusCode::INTERNAL_SERVER_ERROR, IssueType::Exception),
        }
    }

    /// The OperationOutcome resource of this refusal.
    pub fn outcome(&self) -> serde_json::Value {
        operation_outcome([self.issue()])
    }

    /// Its one issue.
    pub fn issue(&self) -> Issue {
        let mut issue = Issue::new(IssueSeverity::Error, self.status_and_issue().1, self.to_string());
        let cause = self.cause();
        issue.expression = match (self, cause) {
            (Self::Entry { at, .. }, Self::Invalid { path, .. }) => Some(within_entry(*at, path)),
            (Self::Entry { at, .. }, _) => Some(format!("Bundle.entry[{at}]")),
            (_, Self::Invalid { path, .. }) => Some(path.clone()),
            (_, Self::NotListed { place, .. } | Self::TooCostly { place: Some(place), .. }) => {
                Some(innermost(place).to_owned())
            }
            _ => None,
        };
        match cause {
            Self::Ledger { code, .. } => issue.reject_code = Some(*code),
            Self::Invalid { position, .. } => issue.position = *position,
            Self::Malformed { position, .. } => issue.position = Some(*position),
            _ => {}
        }
        issue
    }

    /// The answer to a client that wants `wanted`.
    pub fn response(&self, wanted: Wanted) -> HttpResponse {
        let outcome = self.outcome().to_string().into_bytes();
        // What cannot be said in XML is said in JSON: that there is an error is worth more.
        let (wanted, body) = match wanted.written(outcome.clone()) {
            Ok(body) => (wanted, body),
            Err(_) => (Wanted::of(Format::Json), outcome),
        };
        let mut response = HttpResponse::build(self.status_and_issue().0);
        response
            .insert_header((header::CONTENT_TYPE, wanted.content_type()))
            .insert_header((header::CACHE_CONTROL, "no-store"));
        match self.cause() {
            Self::Unauthorized(_) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            Self::MethodNotAllowed { allow } => {
                let allow = if matches!(self, Self::Entry { .. }) { BUNDLE_METHODS } else { allow };
                response.insert_header((header::ALLOW, allow));
            }
            Self::UnsupportedEncoding => {
                response.insert_header((header::ACCEPT_ENCODING, ENCODINGS));
            }
            Self::LedgerUnavailable | Self::Busy | Self::CustodianUnavailable | Self::IssuerUnavailable => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
            }
            Self::TooMany { retry_after } => {
                response.insert_header((header::RETRY_AFTER, retry_after.to_string()));
            }
            Self::Internal(fault) | Self::Lost(fault) => tracing::error!(fault, "request failed"),
            _ => {}
        }
        response.body(body)
    }
}

/// The path of an element of a resource, such as `Coverage.class`, where the resource stands in an
/// entry.
fn within_entry(at: usize, path: &str) -> String {
    let element = path.split_once('.').map(|(_, element)| format!(".{element}"));
    format!("Bundle.entry[{at}].resource{}", element.unwrap_or_default())
}

/// The element that is at fault, of those that lead to it.
fn innermost(place: &str) -> &str {
    place.rsplit(" > ").next().unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json::Document, validate};

    fn content_type(answer: &HttpResponse) -> &str {
        answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    #[test]
    fn every_refusal_is_a_valid_outcome_for_two_readers() {
        let position = Position { line: 3, column: 1 };
        let refusals = [
            Refusal::NotFound,
            Refusal::Malformed { format: Format::Xml, problem: "it is not UTF-8", position },
            Refusal::invalid("Patient.name", "must be a JSON array"),
            Refusal::Invalid {
                path: "Patient.name".to_owned(),
                problem: "is required".to_owned(),
                position: Some(position),
            },
            Refusal::Ledger { code: 10, sentence: "organization is not registered".to_owned() },
            Refusal::NotListed { place: "ValueSet.compose.include[0].filter".to_owned(), problem: "is".to_owned() },
            Refusal::TooCostly { place: None, problem: "is".to_owned() },
            Refusal::TooMany { retry_after: 2 },
            Refusal::Busy,
            Refusal::Internal("search index"),
        ];
        for refusal in refusals {
            let outcome = refusal.outcome();
            let document = Document::parse(outcome.to_string()).expect("JSON");
            validate::resource(&document).expect("valid by the official definitions");
            let typed: Vec<fhir_sdk::r4b::resources::OperationOutcomeIssue> =
                serde_json::from_value(outcome["issue"].clone()).expect("valid for fhir-sdk");
            assert_eq!(serde_json::to_value(&typed).expect("serialises"), outcome["issue"]);
            let answer = refusal.response(Wanted::of(Format::Xml));
            assert_eq!(content_type(&answer), Wanted::of(Format::Xml).content_type());
        }
    }

    #[test]
    fn a_refusal_of_an_entry_names_it_and_is_answered_as_what_it_is() {
        let cases = [
            (Refusal::VersionConflict, 409, "Bundle.entry[3]"),
            (Refusal::LedgerUnavailable, 503, "Bundle.entry[3]"),
            (Refusal::invalid("Coverage.class", "is required"), 422, "Bundle.entry[3].resource.class"),
            (Refusal::invalid("Coverage", "is not it"), 422, "Bundle.entry[3].resource"),
            (Refusal::invalid("Bundle.entry[1].request.url", "is required"), 422, "Bundle.entry[1].request.url"),
            (Refusal::NotFound.of_entry(1), 404, "Bundle.entry[1]"),
        ];
        for (refusal, status, expression) in cases {
            let is_transient = refusal.status_and_issue().1 == IssueType::Transient;
            let refusal = refusal.of_entry(3);
            let response = refusal.response(Wanted::of(Format::Json));
            assert_eq!(response.status().as_u16(), status, "{expression}");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), is_transient, "{expression}");
            assert_eq!(refusal.outcome()["issue"][0]["expression"][0], expression);
        }
    }

    #[test]
    fn an_error_that_xml_cannot_say_is_said_in_json() {
        let answer = Refusal::BadRequest("\u{1} is no parameter".to_owned()).response(Wanted::of(Format::Xml));
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(content_type(&answer), Wanted::of(Format::Json).content_type());
    }

    #[test]
    fn an_internal_fault_is_not_told_to_clients() {
        assert!(!Refusal::Internal("search index").outcome().to_string().contains("index"));
        assert_eq!(Refusal::Lost("a body").outcome(), Refusal::Internal("search index").outcome());
    }
}
