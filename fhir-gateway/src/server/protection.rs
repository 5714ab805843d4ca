//! Headers that every answer has: what browsers may do with it, and pages of which other origins may read it
//! (Fetch standard, section 3.3).
//!
//! Absent on purpose: cookies and other credentials that a browser adds by itself. A page of an allowed origin
//! needs a token like everybody else.

use actix_web::{
    HttpRequest,
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};

use super::headers;

/// What a page may send.
const REQUEST_HEADERS: &str = "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-Modified-Since, \
                               If-None-Exist, If-None-Match, Prefer, X-Request-Id, X-Security-Context";
/// What a page may read.
const ANSWER_HEADERS: &str =
    "Content-Location, ETag, Last-Modified, Location, Retry-After, X-Request-Id, X-Security-Context";
/// Seconds for which a browser need not ask again.
const PREFLIGHT_SECONDS: &str = "600";
/// A file that a browser shows runs nothing and loads nothing, whatever it is.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";
/// Two years: the address is never asked in plain HTTP again.
const TRANSPORT_SECURITY: &str = "max-age=63072000";

/// What protects the answers of a gateway.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    /// Origins whose pages may call.
    pub origins: Vec<String>,
    /// Whether clients reach the gateway by https.
    pub is_https: bool,
}

impl Protection {
    /// Adds the headers to the answer to `request`.
    pub fn add(&self, request: &HttpRequest, headers: &mut HeaderMap) {
        let mut set = |name: HeaderName, value: &'static str| {
            if !headers.contains_key(&name) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        };
        set(header::CACHE_CONTROL, "no-store");
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
        set(header::REFERRER_POLICY, "no-referrer");
        set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
        if self.is_https {
            set(header::STRICT_TRANSPORT_SECURITY, TRANSPORT_SECURITY);
        }
        if !self.origins.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            self.share(request, headers);
        }
    }

    /// Lets a page of an allowed origin read the answer, and tells its browser what it may ask.
    fn share(&self, request: &HttpRequest, headers: &mut HeaderMap) {
        let Some(origin) = request.headers().get(header::ORIGIN) else { return };
        if !self.origins.iter().any(|allowed| origin == allowed.as_str()) {
            return;
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let is_preflight = request.method() == Method::OPTIONS
            && headers::text(request, header::ACCESS_CONTROL_REQUEST_METHOD.as_str()).is_some();
        if !is_preflight {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_HEADERS));
            return;
        }
        if let Some(methods) = headers.get(header::ALLOW).cloned() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
    }
}
