//! What a client proves itself with: a signed JSON Web Token (RFC 7523), as SMART's asymmetric
//! client authentication profiles it. ES384 or RS384, for this token endpoint, at most five
//! minutes long, and once.

use std::{collections::HashMap, sync::Arc};

use careledger_wire::commitment;
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet},
};
use parking_lot::Mutex;
use serde::Deserialize;

use super::CLOCK_SKEW_SECONDS;
use crate::vault::{Batch, Durability, Space, Store, StoreError};

/// Longest assertion that is looked at.
pub const ASSERTION_BYTES_MAX: usize = 16 * 1024;
/// Furthest that an assertion may expire in the future, in seconds.
const ASSERTION_SECONDS_MAX: i64 = 300;
/// Longest `jti`.
const JTI_BYTES_MAX: usize = 256;
/// Assertions that are remembered at once. More are refused, rather than one forgotten.
const SEEN_MAX: usize = 200_000;
/// Smallest RSA modulus, in bytes.
const RSA_MODULUS_BYTES_MIN: usize = 256;
/// Prefix of the remembered assertions in [`Space::State`].
const SEEN_PREFIX: &[u8] = b"jti/";
/// Remembered assertions that are read at once.
const SEEN_PER_PAGE: usize = 1000;

/// Why an assertion was refused. None of these says whether the client exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// Not a JWT, or claims of the wrong types.
    #[error("the client assertion is not a JSON Web Token with iss, sub, aud, exp and jti")]
    Malformed,
    /// `alg` other than ES384 and RS384.
    #[error("the client assertion must be signed with ES384 or RS384")]
    Algorithm,
    /// No such client, no such key, or not its signature.
    #[error("the client is not registered, or the assertion is not signed with its key")]
    Signature,
    /// `aud` is not this token endpoint.
    #[error("the audience (aud) of the client assertion is not this token endpoint")]
    Audience,
    /// `iss` and `sub` are not both the client's id.
    #[error("iss and sub of the client assertion must both be the client's id")]
    Issuer,
    /// Past its `exp`.
    #[error("the client assertion has expired")]
    Expired,
    /// `exp` too far ahead.
    #[error("the client assertion expires more than five minutes ahead")]
    TooLong,
    /// `iat` or `nbf` in the future.
    #[error("the client assertion is dated in the future: check the clock")]
    Future,
    /// Seen before.
    #[error("the client assertion was used before: make a new one, with a new jti, for each token")]
    Replayed,
    /// Too many assertions are remembered.
    #[error("too many token requests; wait and try again")]
    Busy,
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    jti: String,
    exp: i64,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    nbf: Option<i64>,
}

/// The public keys of one client.
#[derive(Debug, Clone)]
pub struct ClientKeys(Vec<(Option<String>, Algorithm, DecodingKey)>);

impl ClientKeys {
    /// Reads a JSON Web Key Set. Keys for other uses are passed over; P-384 keys sign ES384, RSA
    /// keys of at least 2048 bits sign RS384.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
        let keys: Vec<_> = set.keys.iter().filter_map(signing_key).collect();
        if keys.is_empty() {
            return Err("no key in the set is a P-384 or RSA (2048 bits or more) public key".to_owned());
        }
        Ok(Self(keys))
    }
}

fn signing_key(jwk: &Jwk) -> Option<(Option<String>, Algorithm, DecodingKey)> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P384 => Algorithm::ES384,
        AlgorithmParameters::RSA(parameters) => {
            // Base64 of the modulus: four characters for three bytes.
            let bytes = parameters.n.trim_end_matches('=').len() * 3 / 4;
            (bytes >= RSA_MODULUS_BYTES_MIN).then_some(Algorithm::RS384)?
        }
        _ => return None,
    };
    Some((jwk.common.key_id.clone(), algorithm, DecodingKey::from_jwk(jwk).ok()?))
}

/// The client that an assertion claims to be from, before anything is checked.
pub fn claimed_client(assertion: &str) -> Result<String, AssertionError> {
    if assertion.len() > ASSERTION_BYTES_MAX {
        return Err(AssertionError::Malformed);
    }
    let claims: Claims =
        jsonwebtoken::dangerous::insecure_decode_claims(assertion).map_err(|_| AssertionError::Malformed)?;
    Ok(claims.iss)
}

/// An assertion that is the client's. It still has to be new: see [`SeenAssertions::first_time`].
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// Names the assertion among all of this organization's.
    pub name: [u8; 32],
    /// When it need not be remembered any longer, Unix seconds.
    pub forget_at: i64,
}

/// Checks everything about an assertion but whether it was used before. `now` in Unix seconds.
pub fn verify(
    assertion: &str,
    client: &str,
    keys: &ClientKeys,
    audience: &str,
    now: i64,
) -> Result<Verified, AssertionError> {
    let header = jsonwebtoken::decode_header(assertion).map_err(|error| match error.kind() {
        // `none` and other unknown names do not even parse.
        ErrorKind::Json(_) | ErrorKind::InvalidAlgorithmName => AssertionError::Algorithm,
        _ => AssertionError::Malformed,
    })?;
    if !matches!(header.alg, Algorithm::ES384 | Algorithm::RS384) {
        return Err(AssertionError::Algorithm);
    }
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
    // Times are checked below, against the time that was passed in.
    validation.validate_exp = false;
    let named = |key: &Option<String>| header.kid.is_none() || *key == header.kid;
    let candidates = keys.0.iter().filter(|(id, algorithm, _)| *algorithm == header.alg && named(id));
    let mut outcome = Err(AssertionError::Signature);
    for (_, _, key) in candidates {
        outcome = jsonwebtoken::decode::<Claims>(assertion, key, &validation).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => AssertionError::Signature,
            ErrorKind::InvalidAudience => AssertionError::Audience,
            _ => AssertionError::Malformed,
        });
        if outcome.as_ref().err() != Some(&AssertionError::Signature) {
            break;
        }
    }
    let claims = outcome?.claims;
    if claims.iss != client || claims.sub != client {
        return Err(AssertionError::Issuer);
    }
    check_times(&claims, now)?;
    if claims.jti.is_empty() || claims.jti.len() > JTI_BYTES_MAX {
        return Err(AssertionError::Malformed);
    }
    let name = commitment::hash("careledger/jti/1", &[client.as_bytes(), claims.jti.as_bytes()]);
    Ok(Verified { name, forget_at: claims.exp.saturating_add(CLOCK_SKEW_SECONDS) })
}

fn check_times(claims: &Claims, now: i64) -> Result<(), AssertionError> {
    if now >= claims.exp.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(AssertionError::Expired);
    }
    if claims.exp > now + ASSERTION_SECONDS_MAX + CLOCK_SKEW_SECONDS {
        return Err(AssertionError::TooLong);
    }
    let future = |time: Option<i64>| time.is_some_and(|time| time > now + CLOCK_SKEW_SECONDS);
    if future(claims.iat) || future(claims.nbf) {
        return Err(AssertionError::Future);
    }
    Ok(())
}

/// Assertions that were used and are not yet expired, remembered across restarts.
pub struct SeenAssertions {
    store: Arc<dyn Store>,
    seen: Mutex<HashMap<[u8; 32], i64>>,
}

impl SeenAssertions {
    /// Reads what is remembered.
    pub fn open(store: Arc<dyn Store>, now: i64) -> Result<Self, StoreError> {
        let mut seen = HashMap::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store.scan(Space::State, SEEN_PREFIX, after.as_deref(), SEEN_PER_PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, value) in page {
                let name: Option<[u8; 32]> = key.get(SEEN_PREFIX.len()..).and_then(|name| name.try_into().ok());
                let forget_at = value.as_slice().try_into().map(i64::from_be_bytes);
                if let (Some(name), Ok(forget_at)) = (name, forget_at)
                    && forget_at > now
                {
                    seen.insert(name, forget_at);
                }
            }
        }
        Ok(Self { store, seen: Mutex::new(seen) })
    }

    /// Remembers an assertion durably; refuses it when it was there already. One of two that come
    /// at the same time is refused.
    pub async fn first_time(&self, verified: &Verified, now: i64) -> Result<Result<(), AssertionError>, StoreError> {
        let mut batch = Batch::default();
        {
            let mut seen = self.seen.lock();
            if seen.contains_key(&verified.name) {
                return Ok(Err(AssertionError::Replayed));
            }
            seen.retain(|name, forget_at| {
                let keep = *forget_at > now;
                if !keep {
                    batch.delete(Space::State, key(name));
                }
                keep
            });
            if seen.len() >= SEEN_MAX {
                return Ok(Err(AssertionError::Busy));
            }
            seen.insert(verified.name, verified.forget_at);
        }
        if self.store.is_shared() {
            // Another process may have seen it.
            batch.put_new(Space::State, key(&verified.name), verified.forget_at.to_be_bytes());
        } else {
            batch.put(Space::State, key(&verified.name), verified.forget_at.to_be_bytes());
        }
        match self.store.commit(batch, Durability::Synced).await {
            Ok(()) => Ok(Ok(())),
            Err(StoreError::Taken) => Ok(Err(AssertionError::Replayed)),
            Err(error) => Err(error),
        }
    }
}

fn key(name: &[u8; 32]) -> Vec<u8> {
    [SEEN_PREFIX, name].concat()
}
