//! `/.well-known/smart-configuration` and the token endpoint (RFC 6749 section 4.4 with the
//! client authentication of RFC 7523). Errors here are OAuth's, not OperationOutcomes.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
};
use serde_json::json;

use super::{
    Authority, Caller, Client,
    assertion::{self, AssertionError},
    clock,
    scopes::Scopes,
};
use crate::outcome::Refusal;

/// `client_assertion_type` of RFC 7523.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Member of `smart-configuration` that names this process's token endpoint where another is announced.
pub const BACKEND_TOKEN_ENDPOINT: &str = "careledger_backend_token_endpoint";
/// Scopes to begin with: every other of their form is supported, too. Those with search parameters are US Core's.
const SCOPES: &[&str] = &[
    "system/*.cruds",
    "system/*.rs",
    "system/*.read",
    "system/*.write",
    "patient/*.rs",
    "patient/Condition.rs?category=http://terminology.hl7.org/CodeSystem/condition-category|encounter-diagnosis",
    "patient/Condition.rs?category=http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item",
    "patient/Condition.rs?category=http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern",
    "patient/DocumentReference.rs?category=http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category|clinical-note",
    "patient/Observation.rs?category=http://hl7.org/fhir/us/core/CodeSystem/us-core-category|sdoh",
    "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
    "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|social-history",
    "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|survey",
    "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|vital-signs",
];
/// Scopes of apps that are sent to an issuer, besides those.
const SCOPES_OF_APPS: &[&str] = &["openid", "fhirUser", "launch/patient", "user/*.rs"];
/// Largest body of a token request.
pub const TOKEN_REQUEST_BYTES_MAX: usize = 32 * 1024;

/// Seconds to wait while as many assertions as may be are remembered: some of them expire.
const SEEN_RETRY_SECONDS: u64 = 10;

/// An error of RFC 6749 section 5.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: String,
    /// Seconds after which to try again, where that helps.
    retry_after: Option<u64>,
}

impl OAuthError {
    fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        Self { status, error, description: description.into(), retry_after: None }
    }

    /// Too many requests for now.
    fn busy(retry_after: u64) -> Self {
        let busy =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", AssertionError::Busy.to_string());
        Self { retry_after: Some(retry_after), ..busy }
    }

    /// A request that is not one for a token.
    pub fn invalid_request(description: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// The error's code, such as `invalid_client`.
    pub fn code(&self) -> &'static str {
        self.error
    }

    /// The error as an answer.
    pub fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        response.json(json!({"error": self.error, "error_description": self.description}))
    }
}

impl From<AssertionError> for OAuthError {
    fn from(error: AssertionError) -> Self {
        match error {
            AssertionError::Busy => Self::busy(SEEN_RETRY_SECONDS),
            // SMART Backend Services: 400 or 401 for an assertion that does not hold.
            _ => Self::new(StatusCode::BAD_REQUEST, "invalid_client", error.to_string()),
        }
    }
}

/// A token as it is issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The access token.
    pub access_token: String,
    /// What it allows, which may be less than was asked for.
    pub scopes: Scopes,
    /// Seconds until it expires.
    pub expires_in: i64,
}

impl Authority {
    /// `GET /{organization}/fhir/.well-known/smart-configuration`. Where an issuer is announced, apps are
    /// sent to it, and backend services find this process's endpoint beside.
    ///
    /// # Errors
    /// [`Refusal::IssuerUnavailable`] where the announced issuer does not say where its endpoints are.
    pub async fn smart_configuration(&self) -> Result<HttpResponse, Refusal> {
        let mut configuration = json!({
            "token_endpoint": self.token_url(),
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES384", "RS384"],
            "grant_types_supported": ["client_credentials"],
            "code_challenge_methods_supported": ["S256"],
            "introspection_endpoint": self.introspection_url(),
            "scopes_supported": SCOPES,
            "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2", "permission-patient"],
        });
        if let Some(issuer) = self.announced.as_ref().and_then(|name| self.issuers.get(name)) {
            let metadata = issuer.metadata().await?;
            let (Some(authorization), Some(token)) = (metadata.authorization_endpoint, metadata.token_endpoint) else {
                return Err(Refusal::IssuerUnavailable);
            };
            configuration[BACKEND_TOKEN_ENDPOINT] = json!(self.token_url());
            configuration["issuer"] = json!(metadata.issuer);
            configuration["jwks_uri"] = json!(metadata.jwks_uri);
            configuration["authorization_endpoint"] = json!(authorization);
            configuration["token_endpoint"] = json!(token);
            configuration["grant_types_supported"] = json!(["authorization_code", "client_credentials"]);
            configuration["response_types_supported"] = json!(["code"]);
            configuration["scopes_supported"] = json!([SCOPES, SCOPES_OF_APPS].concat());
            configuration["capabilities"] = json!([
                "launch-standalone",
                "context-standalone-patient",
                "client-public",
                "client-confidential-asymmetric",
                "permission-v1",
                "permission-v2",
                "permission-patient",
                "permission-user",
            ]);
        }
        Ok(HttpResponse::Ok().json(configuration))
    }

    /// `POST /{organization}/auth/token` with a form as its body.
    pub async fn token(&self, request: &HttpRequest, body: &[u8]) -> HttpResponse {
        if let Err(error) = self.within_rate(request) {
            return error.response();
        }
        match self.issue(body, clock()).await {
            Ok(issued) => HttpResponse::Ok()
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .insert_header((header::PRAGMA, "no-cache"))
                .json(json!({
                    "access_token": issued.access_token,
                    "token_type": "bearer",
                    "expires_in": issued.expires_in,
                    "scope": issued.scopes.to_string(),
                })),
            Err(error) => {
                tracing::info!(error = error.error, reason = error.description, "token refused");
                error.response()
            }
        }
    }

    /// Refuses a network address that asks too often.
    pub(super) fn within_rate(&self, request: &HttpRequest) -> Result<(), OAuthError> {
        // The address of the connection: a header could be anybody's.
        let peer = request.peer_addr().map_or_else(String::new, |address| address.ip().to_string());
        self.token_rates.check(&peer).map_err(|refusal| {
            OAuthError::busy(if let Refusal::TooMany { retry_after } = refusal { retry_after } else { 1 })
        })
    }

    /// Answers one token request: the body is `application/x-www-form-urlencoded`, of at most
    /// [`TOKEN_REQUEST_BYTES_MAX`]. `now` in Unix seconds.
    pub async fn issue(&self, body: &[u8], now: i64) -> Result<Issued, OAuthError> {
        let form = Form::parse(body)?;
        if form.grant_type != "client_credentials" {
            return Err(OAuthError::new(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "grant_type must be client_credentials",
            ));
        }
        let client = self.proven(&form.assertion_type, &form.assertion, now).await?;
        let invalid = |description: &str| OAuthError::new(StatusCode::BAD_REQUEST, "invalid_scope", description);
        let scopes = Scopes::granted(&client.scopes, &form.scope).map_err(|error| invalid(&error.to_string()))?;
        if scopes.is_empty() {
            return Err(invalid("none of the scopes asked for is registered for the client"));
        }
        let (patient, expires_at) = (client.patient.clone(), now + self.token_seconds);
        let caller = Caller { client: client.id.clone(), scopes, patient, expires_at, person: None };
        let access_token = self.token_key.seal(&caller);
        Ok(Issued { access_token, scopes: caller.scopes, expires_in: self.token_seconds })
    }

    /// The client that an assertion proves, once.
    pub(super) async fn proven(&self, kind: &str, assertion: &str, now: i64) -> Result<&Client, OAuthError> {
        if kind != ASSERTION_TYPE {
            return Err(OAuthError::invalid_request("client_assertion_type must be that of RFC 7523, a JWT bearer"));
        }
        let claimed = assertion::claimed_client(assertion)?;
        let client = self.clients.get(&claimed).ok_or(AssertionError::Signature)?;
        let verified = assertion::verify(assertion, &client.id, &client.keys, &self.token_url, now)?;
        let first = self.seen.first_time(&verified, now).await;
        first.map_err(|_| {
            OAuthError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "the request cannot be remembered now",
            )
        })??;
        Ok(client)
    }
}

/// The value of a field of a form, there exactly once.
pub(super) fn field(pairs: &[(String, String)], name: &str) -> Result<String, OAuthError> {
    let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone());
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(OAuthError::invalid_request(&format!("{name} is missing"))),
        _ => Err(OAuthError::invalid_request(&format!("{name} is there more than once"))),
    }
}

struct Form {
    grant_type: String,
    scope: String,
    assertion_type: String,
    assertion: String,
}

impl Form {
    fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
        let field = |name: &str| field(&pairs, name);
        Ok(Self {
            grant_type: field("grant_type")?,
            scope: field("scope")?,
            assertion_type: field("client_assertion_type")?,
            assertion: field("client_assertion")?,
        })
    }
}
