//! Access tokens of an identity provider that the organization trusts: signed JSON Web Tokens (RFC 9068),
//! by issuers that the configuration names, with the launch context of SMART App Launch 2.2.
//!
//! A token is its issuer's, for this endpoint, in its time, and signed with a key that the issuer
//! publishes now ([`keys`]). What it allows is what it says *and* what the issuer is configured for.
//!
//! Absent on purpose: any issuer that the configuration does not name, `none` and secrets as keys,
//! and key addresses that a token names.

pub mod keys;

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{CLOCK_SKEW_SECONDS, Caller, Person, scopes::Scopes};
use crate::{config, http_client::Trust, outcome::Refusal, validate::is_id};
use keys::{IssuerKeys, Metadata};

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Furthest that a token may expire in the future, in seconds: what is leaked ends some day.
const TOKEN_SECONDS_MAX: i64 = 86_400;
/// Longest name of a client or a person.
const NAME_BYTES_MAX: usize = 256;
/// Signatures that are accepted.
const ALGORITHMS: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::ES256, Algorithm::ES384];

/// What is said of every token that does not hold: which check it failed is in the log.
const REFUSED: Refusal = Refusal::Unauthorized("the access token is not one of an issuer that is trusted here");

/// What is said of a token that holds, but for a scope that cannot be enforced as it stands.
const SCOPE_REFUSED: Refusal = Refusal::Unauthorized(
    "the access token has scopes with search parameters that cannot be enforced here, or too many of them",
);

/// Why a token was refused, for the log. Nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Flaw {
    Malformed,
    Algorithm,
    Key,
    Signature,
    Issuer,
    Audience,
    Expired,
    TooLong,
    Future,
    Patient,
    Scope,
}

/// An issuer whose tokens are accepted.
pub struct Issuer {
    name: String,
    audience: String,
    scopes: Scopes,
    keys: Arc<IssuerKeys>,
}

/// What a token says. Members that are not named are nothing to us.
#[derive(Debug, Deserialize)]
struct Claims {
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    azp: Option<String>,
    /// A list, or text with spaces between.
    #[serde(default, alias = "scp")]
    scope: Value,
    #[serde(default)]
    patient: Option<String>,
    /// The person, as a resource (SMART App Launch 2.2, "Scopes for requesting identity data").
    #[serde(default, rename = "fhirUser")]
    fhir_user: Option<String>,
}

impl Claims {
    fn scopes(&self) -> String {
        match &self.scope {
            Value::String(text) => text.clone(),
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            _ => String::new(),
        }
    }

    fn flaw_in_time(&self, now: i64) -> Option<Flaw> {
        let future = |time: Option<i64>| time.is_some_and(|time| time > now.saturating_add(CLOCK_SKEW_SECONDS));
        if now >= self.exp.saturating_add(CLOCK_SKEW_SECONDS) {
            Some(Flaw::Expired)
        } else if self.exp > now.saturating_add(TOKEN_SECONDS_MAX + CLOCK_SKEW_SECONDS) {
            Some(Flaw::TooLong)
        } else {
            (future(self.iat) || future(self.nbf)).then_some(Flaw::Future)
        }
    }
}

impl Issuer {
    /// An issuer as it is configured. Nothing is fetched before the first token comes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(settings: &config::Issuer, trust: &Trust) -> Result<Self, String> {
        let scopes = Scopes::parse(&settings.scopes).map_err(|error| error.to_string())?;
        let url = Url::parse(&settings.issuer).map_err(|error| format!("issuer: {error}"))?;
        if !is_private(&url) {
            return Err("issuer must be an https address: whoever can alter its keys on the way can sign".to_owned());
        }
        Ok(Self {
            name: settings.issuer.clone(),
            audience: settings.audience.clone(),
            scopes,
            keys: Arc::new(IssuerKeys::new(&settings.issuer, settings.keys_seconds, trust)?),
        })
    }

    /// Its name, as `iss` of its tokens is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself, for apps that are sent to it.
    ///
    /// # Errors
    /// [`Refusal::IssuerUnavailable`].
    pub async fn metadata(&self) -> Result<Metadata, Refusal> {
        self.keys.metadata().await
    }

    /// The caller of a token that is this issuer's. `now` in Unix seconds.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`] whatever does not hold; [`Refusal::IssuerUnavailable`] where its keys
    /// cannot be had.
    pub async fn caller(&self, token: &str, now: i64) -> Result<Caller, Refusal> {
        self.verified(token, now).await?.map_err(|flaw| {
            tracing::info!(issuer = self.name, ?flaw, "access token refused");
            // Said aloud: it is the issuer's own token, and its app can ask for another.
            if flaw == Flaw::Scope { SCOPE_REFUSED } else { REFUSED }
        })
    }

    async fn verified(&self, token: &str, now: i64) -> Result<Result<Caller, Flaw>, Refusal> {
        let header = match jsonwebtoken::decode_header(token) {
            Ok(header) if ALGORITHMS.contains(&header.alg) => header,
            Ok(_) => return Ok(Err(Flaw::Algorithm)),
            Err(error) => {
                // `none` and other unknown names do not even parse.
                let is_name = matches!(error.kind(), ErrorKind::Json(_) | ErrorKind::InvalidAlgorithmName);
                return Ok(Err(if is_name { Flaw::Algorithm } else { Flaw::Malformed }));
            }
        };
        let keys = self.keys.find(header.kid.as_deref(), header.alg).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[&self.audience]);
        validation.set_issuer(&[&self.name]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // Times are checked below, against the time that was passed in.
        validation.validate_exp = false;
        let mut flaw = Flaw::Key;
        for key in keys {
            match jsonwebtoken::decode::<Claims>(token, &key, &validation) {
                Ok(found) => return Ok(self.permitted(&found.claims, now)),
                Err(error) => {
                    flaw = match error.kind() {
                        ErrorKind::InvalidSignature => Flaw::Signature,
                        ErrorKind::InvalidAudience => Flaw::Audience,
                        ErrorKind::InvalidIssuer => Flaw::Issuer,
                        _ => Flaw::Malformed,
                    };
                }
            }
            if flaw != Flaw::Signature {
                break;
            }
        }
        Ok(Err(flaw))
    }

    fn permitted(&self, claims: &Claims, now: i64) -> Result<Caller, Flaw> {
        if let Some(flaw) = claims.flaw_in_time(now) {
            return Err(flaw);
        }
        if claims.patient.as_deref().is_some_and(|patient| !is_id(patient)) {
            return Err(Flaw::Patient);
        }
        let client = claims.client_id.as_deref().or(claims.azp.as_deref()).unwrap_or_default();
        let user = claims.sub.as_deref().unwrap_or_default();
        if client.len() > NAME_BYTES_MAX || user.len() > NAME_BYTES_MAX || (client.is_empty() && user.is_empty()) {
            return Err(Flaw::Malformed);
        }
        Ok(Caller {
            client: named(&self.name, client, user),
            scopes: Scopes::granted(&self.scopes, &claims.scopes()).map_err(|_| Flaw::Scope)?,
            patient: claims.patient.clone(),
            expires_at: claims.exp,
            person: claims.fhir_user.clone().map(Person::Named),
        })
    }
}

/// Who calls, as the access log, rates and cursors name them: no registered client is called so.
fn named(issuer: &str, client: &str, user: &str) -> String {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("client", client), ("user", user)] {
        if !value.is_empty() {
            pairs.append_pair(name, value);
        }
    }
    format!("{issuer}#{}", pairs.finish())
}

/// The issuer that a token claims to be from, before anything is checked; none where the token is no
/// JSON Web Token.
pub fn claimed(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        iss: String,
    }
    if token.len() > TOKEN_BYTES_MAX || token.split('.').count() != 3 {
        return None;
    }
    jsonwebtoken::dangerous::insecure_decode_claims::<Claimed>(token).ok().map(|claimed| claimed.iss)
}

/// Whether nobody between here and there can alter what is said: TLS, or this machine.
pub fn is_private(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

#[cfg(test)]
mod tests;
