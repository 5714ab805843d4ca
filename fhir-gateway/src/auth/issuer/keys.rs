//! The keys that an issuer publishes: found by OpenID Connect Discovery 1.0, kept for a while, and
//! fetched again when they are old or a token names one that is not among them.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use parking_lot::RwLock;
use reqwest::{Client, redirect};
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use super::is_private;
use crate::{
    http_client::{self, Trust},
    outcome::Refusal,
};

/// Longest answer of an issuer.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Most keys of an issuer.
const KEYS_MAX: usize = 64;
/// Smallest RSA modulus, in bytes.
const RSA_MODULUS_BYTES_MIN: usize = 256;
/// How long an issuer may take for one answer.
const FETCH_DEADLINE: Duration = Duration::from_secs(5);
/// How long an issuer that did not answer is not asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long keys stay good while the issuer cannot be reached to say otherwise, times their age.
const STALE_FACTOR: u32 = 12;
/// A token can name any key: for those that are unknown the issuer is asked this often at once, and once
/// in this time after that.
const UNKNOWN_AT_ONCE: NonZeroU32 = NonZeroU32::new(3).expect("above zero");
const UNKNOWN_INTERVAL: Duration = Duration::from_secs(10);
/// How long a token waits whose key is unknown.
const UNKNOWN_DEADLINE: Duration = Duration::from_secs(5);

/// One key.
#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// What an issuer published at some time.
#[derive(Clone)]
pub(super) struct Published {
    metadata: Metadata,
    keys: Vec<Key>,
    pub(super) fetched: Instant,
}

impl Published {
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let fits = |key: &&Key| key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id);
        self.keys.iter().filter(fits).map(|key| key.key.clone()).collect()
    }
}

/// What discovery says (OpenID Connect Discovery 1.0, section 3).
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// Must be the issuer's name.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where people sign in.
    #[serde(default)]
    pub authorization_endpoint: Option<String>,
    /// Where apps get their tokens.
    #[serde(default)]
    pub token_endpoint: Option<String>,
}

/// An issuer's keys.
pub struct IssuerKeys {
    issuer: String,
    http: Client,
    good_for: Duration,
    pub(super) published: RwLock<Option<Arc<Published>>>,
    /// Held by the task that fetches, for others to wait for.
    fetching: Arc<tokio::sync::Mutex<()>>,
    unknown: DefaultDirectRateLimiter,
    /// When it was last asked in vain.
    failed: RwLock<Option<Instant>>,
}

impl IssuerKeys {
    /// The keys of the issuer of that name, each time good for `good_for_seconds`.
    ///
    /// # Errors
    /// Where no HTTP client can be made.
    pub fn new(issuer: &str, good_for_seconds: u32, trust: &Trust) -> Result<Self, String> {
        // What the issuer says is said at its own address.
        let client = || Client::builder().redirect(redirect::Policy::none()).timeout(FETCH_DEADLINE);
        let http = http_client::build(client, trust).map_err(|error| error.to_string())?;
        let quota = Quota::with_period(UNKNOWN_INTERVAL).ok_or("the interval is above zero")?;
        Ok(Self {
            issuer: issuer.to_owned(),
            http,
            good_for: Duration::from_secs(good_for_seconds.into()),
            published: RwLock::new(None),
            fetching: Arc::default(),
            unknown: RateLimiter::direct(quota.allow_burst(UNKNOWN_AT_ONCE)),
            failed: RwLock::new(None),
        })
    }

    /// The keys that a token of this header may be signed with; empty where the issuer has none such. Who names a key
    /// that is known does not wait for the issuer, whatever it does; who names another one waits a while, now and then.
    ///
    /// # Errors
    /// [`Refusal::IssuerUnavailable`] where the issuer does not answer and what it said is too old.
    pub async fn find(self: &Arc<Self>, id: Option<&str>, algorithm: Algorithm) -> Result<Vec<DecodingKey>, Refusal> {
        let asked = Instant::now();
        let known = self.published().await?;
        let found = known.find(id, algorithm);
        // An issuer that changed its keys is asked at once; a stranger cannot make us ask for ever.
        if found.is_empty() && known.fetched < asked && self.unknown.check().is_ok() {
            let newer = timeout(UNKNOWN_DEADLINE, self.fetched_since(Some(known.fetched))).await;
            // Where it takes longer, what is known is all there is.
            return newer.map_or(Ok(found), |newer| Ok(newer?.find(id, algorithm)));
        }
        Ok(found)
    }

    /// What the issuer says of itself.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn metadata(self: &Arc<Self>) -> Result<Metadata, Refusal> {
        self.published().await.map(|published| published.metadata.clone())
    }

    /// What is known and not too old. What is old is fetched again meanwhile.
    async fn published(self: &Arc<Self>) -> Result<Arc<Published>, Refusal> {
        let known = self.published.read().clone();
        let before = known.as_ref().map(|known| known.fetched);
        match known {
            Some(known) if known.fetched.elapsed() < self.good_for => Ok(known),
            Some(known) if self.is_usable(&known) => {
                self.refresh();
                Ok(known)
            }
            _ => self.fetched_since(before).await,
        }
    }

    /// What the issuer says now, or what another request learned since `before`.
    async fn fetched_since(self: &Arc<Self>, before: Option<Instant>) -> Result<Arc<Published>, Refusal> {
        self.refresh();
        // Held as long as somebody asks the issuer.
        drop(self.fetching.lock().await);
        let known = self.published.read().clone();
        match known {
            Some(known) if Some(known.fetched) != before || self.is_usable(&known) => Ok(known),
            _ => Err(Refusal::IssuerUnavailable),
        }
    }

    /// Asks the issuer in a task of its own, where none does, and it was not in vain a moment ago: whoever waits for
    /// an issuer that hangs would each ask it again, and strangers can come without end.
    fn refresh(self: &Arc<Self>) {
        if self.failed_lately() {
            return;
        }
        let Ok(fetching) = Arc::clone(&self.fetching).try_lock_owned() else { return };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            match this.fetch().await {
                Ok((metadata, keys)) => {
                    *this.failed.write() = None;
                    *this.published.write() = Some(Arc::new(Published { metadata, keys, fetched: Instant::now() }));
                }
                Err(reason) => {
                    tracing::warn!(issuer = this.issuer, reason, "the keys of the issuer cannot be fetched");
                    *this.failed.write() = Some(Instant::now());
                }
            }
            drop(fetching);
        });
    }

    fn failed_lately(&self) -> bool {
        self.failed.read().is_some_and(|failed| failed.elapsed() < RETRY_INTERVAL)
    }

    /// Whether it may be used while the issuer is not heard.
    fn is_usable(&self, known: &Published) -> bool {
        known.fetched.elapsed() < self.good_for * STALE_FACTOR
    }

    async fn fetch(&self) -> Result<(Metadata, Vec<Key>), String> {
        let discovery = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let metadata: Metadata = self.get(&discovery).await?;
        if metadata.issuer != self.issuer {
            return Err(format!("{discovery} is about another issuer"));
        }
        let set: JwkSet = self.get(&metadata.jwks_uri).await?;
        let keys: Vec<Key> = set.keys.iter().take(KEYS_MAX).filter_map(signing_key).collect();
        if keys.is_empty() {
            return Err(format!("{} has no key that is used here", metadata.jwks_uri));
        }
        Ok((metadata, keys))
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, address: &str) -> Result<T, String> {
        let url = Url::parse(address).map_err(|error| format!("{address}: {error}"))?;
        if !is_private(&url) {
            return Err(format!("{address} is not https"));
        }
        let unread = |error: reqwest::Error| format!("{address}: {error}");
        let mut answer = self.http.get(url).header("accept", "application/json").send().await.map_err(unread)?;
        if !answer.status().is_success() {
            return Err(format!("{address}: {}", answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unread)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(format!("{address}: more than {ANSWER_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| format!("{address}: {error}"))
    }
}

/// A public key and what it may sign. Keys for anything else are passed over.
fn signing_key(jwk: &Jwk) -> Option<Key> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let able = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P256 => {
            vec![Algorithm::ES256]
        }
        AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P384 => {
            vec![Algorithm::ES384]
        }
        AlgorithmParameters::RSA(parameters) => {
            // Base64 of the modulus: four characters for three bytes.
            let bytes = parameters.n.trim_end_matches('=').len() * 3 / 4;
            if bytes < RSA_MODULUS_BYTES_MIN {
                return None;
            }
            vec![Algorithm::RS256, Algorithm::RS384]
        }
        _ => return None,
    };
    let only = match jwk.common.key_algorithm {
        None => None,
        Some(KeyAlgorithm::RS256) => Some(Algorithm::RS256),
        Some(KeyAlgorithm::RS384) => Some(Algorithm::RS384),
        Some(KeyAlgorithm::ES256) => Some(Algorithm::ES256),
        Some(KeyAlgorithm::ES384) => Some(Algorithm::ES384),
        Some(_) => return None,
    };
    let algorithms: Vec<Algorithm> =
        able.into_iter().filter(|algorithm| only.is_none_or(|only| only == *algorithm)).collect();
    let key = DecodingKey::from_jwk(jwk).ok().filter(|_| !algorithms.is_empty())?;
    Some(Key { id: jwk.common.key_id.clone(), algorithms, key })
}
