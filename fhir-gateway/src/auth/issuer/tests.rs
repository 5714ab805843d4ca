use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use jsonwebtoken::{EncodingKey, Header, jwk::Jwk};
use parking_lot::Mutex;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    sync::watch,
};

use super::*;
use crate::auth::scopes::{Interaction, Level};

const NOW: i64 = 1_800_000_000;
const AUDIENCE: &str = "https://fhir.example.org/riverside/fhir";

/// Test keys, made with OpenSSL for these tests only.
const P384: &[u8] = include_bytes!("../testdata/p384.pem");
const OTHER_P384: &[u8] = include_bytes!("../testdata/other-p384.pem");
const RSA: &[u8] = include_bytes!("../testdata/rsa.pem");

/// What an issuer answers, by path, and how often it was asked.
#[derive(Default)]
struct Answers {
    bodies: HashMap<String, String>,
    asked: HashMap<String, u32>,
}

/// An issuer's web server: discovery and keys, as they are set.
struct Site {
    name: String,
    answers: Arc<Mutex<Answers>>,
    /// While it is told to, it answers nobody.
    hangs: watch::Sender<bool>,
}

impl Site {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(Answers::default()));
        let shared = Arc::clone(&answers);
        let (hangs, hanging) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut lines = BufReader::new(&mut connection).lines();
                let first = lines.next_line().await.unwrap().unwrap_or_default();
                while lines.next_line().await.unwrap().is_some_and(|line| !line.is_empty()) {}
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                *shared.lock().asked.entry(path.clone()).or_default() += 1;
                // A site that is gone hangs no more.
                let _ = hanging.clone().wait_for(|hangs| !hangs).await;
                let body = shared.lock().bodies.get(&path).cloned();
                let (status, body) = body.map_or((404, String::new()), |body| (200, body));
                let head =
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                // One that does not wait for its answer needs none.
                let _ = connection.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
                let _ = connection.read(&mut [0; 1]).await;
            }
        });
        let site = Self { name, answers, hangs };
        site.says("/.well-known/openid-configuration", json!({"issuer": site.name, "jwks_uri": site.address("/keys")}));
        site
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.name)
    }

    fn says(&self, path: &str, body: Value) {
        self.answers.lock().bodies.insert(path.to_owned(), body.to_string());
    }

    fn publishes(&self, keys: &[(&str, Algorithm, &EncodingKey)]) {
        let keys: Vec<Jwk> = keys.iter().map(|(id, algorithm, key)| jwk(id, *algorithm, key)).collect();
        self.says("/keys", json!({"keys": keys}));
    }

    fn asked(&self, path: &str) -> u32 {
        self.answers.lock().asked.get(path).copied().unwrap_or_default()
    }

    fn issuer(&self) -> Issuer {
        Issuer::open(&self.settings(), &Trust::default()).unwrap()
    }

    fn settings(&self) -> config::Issuer {
        config::Issuer {
            issuer: self.name.clone(),
            audience: AUDIENCE.to_owned(),
            scopes: "patient/*.rs system/Practitioner.r".to_owned(),
            keys_seconds: 3600,
            announced: false,
        }
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.name, "aud": AUDIENCE, "exp": NOW + 240, "iat": NOW, "nbf": NOW,
            "sub": "alice", "client_id": "app", "scope": "openid launch/patient patient/*.cruds", "patient": "p1",
        })
    }
}

fn jwk(id: &str, algorithm: Algorithm, key: &EncodingKey) -> Jwk {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
    jwk.common.key_id = Some(id.to_owned());
    jwk
}

fn ec(pem: &[u8]) -> EncodingKey {
    EncodingKey::from_ec_pem(pem).unwrap()
}

fn signed(claims: &Value, id: Option<&str>, algorithm: Algorithm, key: &EncodingKey) -> String {
    let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

fn changed(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_names_its_client_its_person_and_its_patient() {
    let site = Site::start().await;
    site.publishes(&[("one", Algorithm::ES384, &ec(P384))]);
    let issuer = site.issuer();
    let caller = issuer.caller(&signed(&site.claims(), Some("one"), Algorithm::ES384, &ec(P384)), NOW).await.unwrap();
    assert_eq!(caller.client, format!("{}#client=app&user=alice", site.name));
    assert_eq!(caller.patient.as_deref(), Some("p1"));
    // What was asked for is more than the issuer is trusted with.
    assert_eq!(caller.scopes.to_string(), "patient/*.rs");
    assert!(caller.may(Interaction::Read, "Observation").is_ok());
    assert!(caller.may(Interaction::Update, "Observation").is_err());
    let list = changed(&site.claims(), "scope", json!(["patient/Observation.rs", "system/*.rs"]));
    let caller = issuer.caller(&signed(&list, None, Algorithm::ES384, &ec(P384)), NOW).await.unwrap();
    assert_eq!(caller.scopes.to_string(), "patient/Observation.rs system/Practitioner.r");
    // Without a patient its scopes about one reach nothing.
    let nobody = changed(&site.claims(), "patient", Value::Null);
    let caller = issuer.caller(&signed(&nobody, Some("one"), Algorithm::ES384, &ec(P384)), NOW).await.unwrap();
    assert!(caller.scopes.has_level(Level::Patient) && caller.may(Interaction::Read, "Observation").is_err());
    assert_eq!(site.asked("/keys"), 1, "keys are kept");
}

#[tokio::test]
async fn tokens_that_do_not_hold_are_refused_and_none_says_why() {
    let site = Site::start().await;
    let rsa = EncodingKey::from_rsa_pem(RSA).unwrap();
    site.publishes(&[("one", Algorithm::ES384, &ec(P384)), ("two", Algorithm::RS256, &rsa)]);
    let issuer = site.issuer();
    let claims = site.claims();
    let public = serde_json::to_vec(&jwk("one", Algorithm::ES384, &ec(P384))).unwrap();
    let es384 = |claims: &Value| signed(claims, Some("one"), Algorithm::ES384, &ec(P384));
    let mut tampered = es384(&claims);
    tampered.replace_range(tampered.len() - 4.., "AAAA");
    let unsigned = {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&json!({"alg": "none", "kid": "one"})), part(&claims))
    };
    let with = |name: &str, value: Value| es384(&changed(&claims, name, value));
    let cases = [
        (with("aud", json!("https://elsewhere.example.org/fhir")), Flaw::Audience),
        (with("aud", Value::Null), Flaw::Malformed),
        (with("iss", json!("https://elsewhere.example.org")), Flaw::Issuer),
        (with("exp", json!(NOW - 11)), Flaw::Expired),
        (with("exp", json!("soon")), Flaw::Malformed),
        (with("exp", Value::Null), Flaw::Malformed),
        (with("exp", json!(NOW + 2 * 86_400)), Flaw::TooLong),
        (with("nbf", json!(NOW + 60)), Flaw::Future),
        (with("iat", json!(NOW + 60)), Flaw::Future),
        (with("patient", json!("../p2")), Flaw::Patient),
        (with("patient", json!(["p1", "p2"])), Flaw::Malformed),
        (es384(&changed(&changed(&claims, "sub", Value::Null), "client_id", Value::Null)), Flaw::Malformed),
        (signed(&claims, Some("one"), Algorithm::ES384, &ec(OTHER_P384)), Flaw::Signature),
        (signed(&claims, Some("other"), Algorithm::ES384, &ec(OTHER_P384)), Flaw::Key),
        (signed(&claims, Some("two"), Algorithm::RS384, &rsa), Flaw::Key),
        (signed(&claims, Some("two"), Algorithm::PS256, &rsa), Flaw::Algorithm),
        (signed(&claims, Some("one"), Algorithm::HS256, &EncodingKey::from_secret(&public)), Flaw::Algorithm),
        (unsigned, Flaw::Algorithm),
        (tampered, Flaw::Signature),
        ("a.b.c".to_owned(), Flaw::Malformed),
    ];
    for (token, flaw) in cases {
        assert_eq!(issuer.verified(&token, NOW).await, Ok(Err(flaw)), "{token}");
        assert_eq!(issuer.caller(&token, NOW).await, Err(REFUSED));
    }
    assert!(issuer.caller(&es384(&claims), NOW).await.is_ok());
    assert!(issuer.caller(&signed(&claims, Some("two"), Algorithm::RS256, &rsa), NOW).await.is_ok());
}

#[tokio::test]
async fn a_new_key_is_fetched_at_once_the_old_one_works_no_longer_and_unknown_ones_are_no_flood() {
    let site = Site::start().await;
    site.publishes(&[("one", Algorithm::ES384, &ec(P384))]);
    let issuer = site.issuer();
    let old = signed(&site.claims(), Some("one"), Algorithm::ES384, &ec(P384));
    let new = signed(&site.claims(), Some("two"), Algorithm::ES384, &ec(OTHER_P384));
    assert!(issuer.caller(&old, NOW).await.is_ok());
    site.publishes(&[("two", Algorithm::ES384, &ec(OTHER_P384))]);
    assert!(issuer.caller(&old, NOW).await.is_ok(), "what is known is good for an hour");
    assert!(issuer.caller(&new, NOW).await.is_ok());
    assert_eq!(issuer.caller(&old, NOW).await, Err(REFUSED));
    for number in 0..100 {
        let unknown = signed(&site.claims(), Some(&number.to_string()), Algorithm::ES384, &ec(P384));
        assert_eq!(issuer.caller(&unknown, NOW).await, Err(REFUSED));
    }
    assert!(site.asked("/keys") <= 5, "asked {} times", site.asked("/keys"));
    assert!(issuer.caller(&new, NOW).await.is_ok());
}

#[tokio::test]
async fn old_keys_are_fetched_again_and_outlive_a_short_silence_of_the_issuer() {
    let site = Site::start().await;
    site.publishes(&[("one", Algorithm::ES384, &ec(P384))]);
    let keys = Arc::new(IssuerKeys::new(&site.name, 0, &Trust::default()).unwrap());
    let issuer = Issuer { keys, ..site.issuer() };
    let token = signed(&site.claims(), Some("one"), Algorithm::ES384, &ec(P384));
    assert!(issuer.caller(&token, NOW).await.is_ok());
    assert!(issuer.caller(&token, NOW).await.is_ok());
    assert_eq!(site.asked("/keys"), 2, "keys that are good for no time are fetched each time");
    // Twelve times nothing is nothing: these are too old at once, those of an hour are not.
    site.answers.lock().bodies.clear();
    assert_eq!(issuer.caller(&token, NOW).await, Err(Refusal::IssuerUnavailable));
    // Whoever comes next is answered at once: the issuer is not asked by each of them.
    let discovered = site.asked("/.well-known/openid-configuration");
    assert_eq!(issuer.caller(&token, NOW).await, Err(Refusal::IssuerUnavailable));
    assert_eq!(site.asked("/.well-known/openid-configuration"), discovered);
    let site = Site::start().await;
    site.publishes(&[("one", Algorithm::ES384, &ec(P384))]);
    let issuer = site.issuer();
    let token = signed(&site.claims(), Some("one"), Algorithm::ES384, &ec(P384));
    assert!(issuer.caller(&token, NOW).await.is_ok());
    site.answers.lock().bodies.clear();
    let unknown = signed(&site.claims(), Some("two"), Algorithm::ES384, &ec(OTHER_P384));
    assert_eq!(issuer.caller(&unknown, NOW).await, Err(REFUSED));
    assert!(issuer.caller(&token, NOW).await.is_ok());
}

/// Whose keys were an hour old waited for an issuer that hung, with all who came after.
#[tokio::test]
async fn an_issuer_that_hangs_delays_nobody_whose_key_is_known() {
    let site = Site::start().await;
    site.publishes(&[("one", Algorithm::ES384, &ec(P384))]);
    let issuer = site.issuer();
    let token = signed(&site.claims(), Some("one"), Algorithm::ES384, &ec(P384));
    let new = signed(&site.claims(), Some("two"), Algorithm::ES384, &ec(OTHER_P384));
    assert!(issuer.caller(&token, NOW).await.is_ok());
    let mut known = issuer.keys.published.read().as_deref().cloned().unwrap();
    known.fetched = Instant::now().checked_sub(Duration::from_secs(2 * 3600)).unwrap();
    *issuer.keys.published.write() = Some(Arc::new(known));
    site.hangs.send_replace(true);
    let at_once = || issuer.caller(&token, NOW).now_or_never().is_some_and(|caller| caller.is_ok());
    assert!(at_once() && at_once());
    let mut waiting = Box::pin(issuer.caller(&new, NOW));
    // It is really asked meanwhile.
    while site.asked("/.well-known/openid-configuration") < 2 {
        assert!((&mut waiting).now_or_never().is_none(), "a key that is unknown may be new");
        assert!(at_once());
        tokio::task::yield_now().await;
    }
    site.publishes(&[("two", Algorithm::ES384, &ec(OTHER_P384))]);
    site.hangs.send_replace(false);
    assert!(waiting.await.is_ok());
    assert_eq!(site.asked("/keys"), 2, "one asked for all of them");
    assert_eq!(issuer.caller(&token, NOW).await, Err(REFUSED), "what was published since counts");
}

#[tokio::test]
async fn an_issuer_that_speaks_for_another_or_not_by_its_own_means_is_not_believed() {
    let site = Site::start().await;
    site.publishes(&[("one", Algorithm::ES384, &ec(P384))]);
    let token = signed(&site.claims(), Some("one"), Algorithm::ES384, &ec(P384));
    let discoveries = [
        json!({"issuer": "https://elsewhere.example.org", "jwks_uri": site.address("/keys")}),
        json!({"issuer": format!("{}/", site.name), "jwks_uri": site.address("/keys")}),
        json!({"issuer": site.name, "jwks_uri": "http://192.0.2.1/keys"}),
        json!({"issuer": site.name, "jwks_uri": "file:///etc/keys"}),
        json!({"issuer": site.name, "jwks_uri": site.address("/none")}),
        json!({"issuer": site.name, "jwks_uri": site.address("/empty")}),
        json!({"issuer": site.name, "jwks_uri": site.address("/large")}),
        json!("nothing"),
    ];
    site.says("/empty", json!({"keys": []}));
    site.says("/large", json!({"keys": [], "more": "x".repeat(300_000)}));
    for discovery in discoveries {
        site.says("/.well-known/openid-configuration", discovery.clone());
        assert_eq!(site.issuer().caller(&token, NOW).await, Err(Refusal::IssuerUnavailable), "{discovery}");
    }
    for name in ["http://login.example.org", "http://localhost.example.org", "login", "ftp://127.0.0.1"] {
        let settings = config::Issuer { issuer: name.to_owned(), ..site.settings() };
        assert!(Issuer::open(&settings, &Trust::default()).is_err(), "{name}");
    }
    let settings = config::Issuer { scopes: "users/*.rs".to_owned(), ..site.settings() };
    assert!(Issuer::open(&settings, &Trust::default()).is_err_and(|problem| problem.contains("users/*.rs")));
}

#[test]
fn a_token_claims_an_issuer_only_where_it_is_a_json_web_token() {
    let token = signed(&json!({"iss": "https://a", "exp": 1}), None, Algorithm::ES384, &ec(P384));
    assert_eq!(claimed(&token).as_deref(), Some("https://a"));
    let without = signed(&json!({"exp": 1}), None, Algorithm::ES384, &ec(P384));
    for none in [without.as_str(), "", "a.b", "a.b.c", "a.b.c.d", &format!("{token}{}", "x".repeat(20_000))] {
        assert_eq!(claimed(none), None);
    }
}
