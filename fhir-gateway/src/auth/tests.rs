use std::path::PathBuf;

use actix_web::test::TestRequest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

use super::{routes::OAuthError, scopes::ScopeError, *};
use crate::vault::local::LocalStore;

const URL: &str = "http://127.0.0.1:8080/riverside/auth/token";
const NOW: i64 = 1_800_000_000;

/// Test keys, made with OpenSSL for these tests only.
const P384: &[u8] = include_bytes!("testdata/p384.pem");
const OTHER_P384: &[u8] = include_bytes!("testdata/other-p384.pem");
const RSA: &[u8] = include_bytes!("testdata/rsa.pem");

fn signing_keys() -> [(Algorithm, EncodingKey); 2] {
    [
        (Algorithm::ES384, EncodingKey::from_ec_pem(P384).unwrap()),
        (Algorithm::RS384, EncodingKey::from_rsa_pem(RSA).unwrap()),
    ]
}

fn jwks() -> String {
    let keys = signing_keys().map(|(algorithm, key)| {
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        jwk.common.key_id = Some(format!("{algorithm:?}"));
        jwk
    });
    json!({"keys": keys}).to_string()
}

struct World {
    folder: tempfile::TempDir,
    keys: OrganizationKeys,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("jwks.json"), jwks()).unwrap();
        Self { folder, keys: OrganizationKeys::random() }
    }

    fn authority(&self) -> Authority {
        self.authority_at(URL)
    }

    fn authority_at(&self, url: &str) -> Authority {
        let client = |id: &str, scopes: &str, patient: Option<&str>| config::Client {
            id: id.to_owned(),
            jwks: self.folder.path().join("jwks.json"),
            scopes: scopes.to_owned(),
            patient: patient.map(str::to_owned),
        };
        let clients =
            [client("ehr", "system/*.cruds", None), client("app", "patient/*.rs system/Practitioner.r", Some("p1"))];
        let settings = config::Auth {
            token_seconds: 300,
            requests_per_second: 5,
            request_burst: 5,
            token_requests_per_second: 1000,
        };
        let store = Arc::new(LocalStore::open(&self.folder.path().join("vault")).unwrap());
        let organization = config::Organization {
            name: "riverside".to_owned(),
            keystore: PathBuf::new(),
            passphrase_file: PathBuf::new(),
            data: PathBuf::new(),
            postgres: None,
            clients: clients.to_vec(),
            issuers: Vec::new(),
        };
        Authority::open(&organization, &settings, url.to_owned(), &Trust::default(), &self.keys, store).unwrap()
    }
}

fn claims() -> Value {
    json!({"iss": "ehr", "sub": "ehr", "aud": URL, "exp": NOW + 240, "iat": NOW, "nbf": NOW, "jti": "one"})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

fn signed(claims: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    let header = Header { kid: Some(format!("{algorithm:?}")), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

fn es384(claims: &Value) -> String {
    signed(claims, Algorithm::ES384, &EncodingKey::from_ec_pem(P384).unwrap())
}

fn form(assertion: &str, scope: &str) -> Vec<u8> {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("scope", scope)
        .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        .append_pair("client_assertion", assertion)
        .finish()
        .into_bytes()
}

async fn issue(authority: &Authority, assertion: &str) -> Result<routes::Issued, OAuthError> {
    authority.issue(&form(assertion, "system/*.cruds"), NOW).await
}

#[tokio::test]
async fn both_algorithms_get_a_token_that_names_its_caller() {
    let world = World::new();
    let authority = world.authority();
    for (number, (algorithm, key)) in signing_keys().into_iter().enumerate() {
        let assertion = signed(&with("jti", json!(number.to_string())), algorithm, &key);
        let issued = issue(&authority, &assertion).await.unwrap();
        assert_eq!(issued.expires_in, 300);
        let caller = authority.caller(&issued.access_token, NOW + 299).unwrap();
        assert_eq!((caller.client.as_str(), caller.scopes.to_string().as_str()), ("ehr", "system/*.cruds"));
        assert_eq!(
            authority.caller(&issued.access_token, NOW + 300),
            Err(Refusal::Unauthorized("the access token has expired"))
        );
    }
}

#[tokio::test]
async fn assertions_that_do_not_hold_are_refused() {
    let world = World::new();
    let authority = world.authority();
    let stranger = EncodingKey::from_ec_pem(OTHER_P384).unwrap();
    let secret = EncodingKey::from_secret(jwks().as_bytes());
    let unsigned = |header: Value| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&header), part(&claims()))
    };
    let mut tampered = es384(&claims());
    tampered.replace_range(tampered.len() - 4.., "AAAA");
    let refused = [
        (es384(&with("aud", json!("http://elsewhere/token"))), "audience"),
        (es384(&with("aud", Value::Null)), "not a JSON Web Token"),
        (es384(&with("exp", json!(NOW - 11))), "expired"),
        (es384(&with("exp", json!(NOW + 311))), "five minutes"),
        (es384(&with("exp", json!("soon"))), "not a JSON Web Token"),
        (es384(&with("exp", Value::Null)), "not a JSON Web Token"),
        (es384(&with("iat", json!(NOW + 60))), "future"),
        (es384(&with("nbf", json!(NOW + 60))), "future"),
        (es384(&with("jti", Value::Null)), "not a JSON Web Token"),
        (es384(&with("jti", json!(""))), "not a JSON Web Token"),
        (es384(&with("jti", json!("x".repeat(300)))), "not a JSON Web Token"),
        (es384(&with("sub", json!("other"))), "iss and sub"),
        (es384(&with("iss", json!("nobody"))), "not registered"),
        (signed(&claims(), Algorithm::ES384, &stranger), "not registered"),
        (signed(&claims(), Algorithm::HS256, &secret), "ES384 or RS384"),
        (signed(&claims(), Algorithm::HS384, &secret), "ES384 or RS384"),
        (unsigned(json!({"alg": "none"})), "ES384 or RS384"),
        (unsigned(json!({"alg": "ES384", "kid": "ES384"})), "not registered"),
        (tampered, "not registered"),
        ("x.y.z".to_owned(), "not a JSON Web Token"),
        ("x".repeat(20_000), "not a JSON Web Token"),
    ];
    for (assertion, expected) in refused {
        let error = issue(&authority, &assertion).await.unwrap_err();
        assert_eq!(error.code(), "invalid_client");
        assert!(format!("{error:?}").contains(expected), "{expected}: {error:?}");
    }
    // None of them used up the jti.
    issue(&authority, &es384(&claims())).await.unwrap();
}

#[tokio::test]
async fn an_assertion_is_used_once_also_across_a_restart() {
    let world = World::new();
    let assertion = es384(&claims());
    {
        let authority = world.authority();
        let both = futures::future::join(issue(&authority, &assertion), issue(&authority, &assertion)).await;
        assert!(both.0.is_ok() != both.1.is_ok(), "one of two at the same time");
    }
    let authority = world.authority();
    let error = issue(&authority, &assertion).await.unwrap_err();
    assert!(format!("{error:?}").contains("used before"), "{error:?}");
    issue(&authority, &es384(&with("jti", json!("two")))).await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_no_token_request_is_refused_by_name() {
    let world = World::new();
    let authority = world.authority();
    let good = String::from_utf8(form(&es384(&claims()), "system/*.cruds")).unwrap();
    let cases = [
        (good.replace("client_credentials", "password"), "unsupported_grant_type"),
        (good.replace("jwt-bearer", "saml2-bearer"), "invalid_request"),
        (good.replace("&scope=", "&other="), "invalid_request"),
        (format!("{good}&scope=system%2F*.rs"), "invalid_request"),
        (good.replace("system%2F*.cruds", "user%2F*.rs"), "invalid_scope"),
        ("a".repeat(40_000), "invalid_request"),
    ];
    for (body, expected) in cases {
        assert_ne!(body, good);
        let fresh = body.replace(&es384(&claims()), &es384(&with("jti", json!(expected))));
        assert_eq!(authority.issue(fresh.as_bytes(), NOW).await.unwrap_err().code(), expected);
    }
}

#[tokio::test]
async fn a_token_is_good_at_its_organization_only() {
    let world = World::new();
    let authority = world.authority();
    let token = issue(&authority, &es384(&claims())).await.unwrap().access_token;
    drop(authority);
    world.authority().caller(&token, NOW).unwrap();
    assert!(world.authority_at("http://127.0.0.1:8080/lakeside/auth/token").caller(&token, NOW).is_err());
    let stranger = World::new();
    assert!(stranger.authority().caller(&token, NOW).is_err());
    for changed in [token[1..].to_owned(), format!("{token}A"), String::new(), "x".repeat(10_000)] {
        assert!(world.authority().caller(&changed, NOW).is_err());
    }
}

#[actix_web::test]
async fn a_request_needs_its_bearer_token() {
    let world = World::new();
    let authority = world.authority();
    let assertion = es384(&with("exp", json!(clock() + 200)));
    let assertion = {
        // The real clock, because `authenticate` uses it.
        let _ = assertion;
        let now = clock();
        es384(&json!({"iss": "ehr", "sub": "ehr", "aud": URL, "exp": now + 200, "jti": "real"}))
    };
    let issued = authority.issue(&form(&assertion, "system/Patient.rs"), clock()).await.unwrap();
    let with = async |value: Option<String>| {
        let request = TestRequest::default();
        let request = value.into_iter().fold(request, |request, value| request.insert_header(("Authorization", value)));
        authority.authenticate(&request.to_http_request()).await
    };
    let bearer = || Some(format!("Bearer {}", issued.access_token));
    assert_eq!(with(bearer()).await.unwrap().client, "ehr");
    for refused in
        [None, Some("Bearer".to_owned()), Some(format!("Basic {}", issued.access_token)), Some("Bearer x".to_owned())]
    {
        assert!(matches!(with(refused).await, Err(Refusal::Unauthorized(_))));
    }
    // Five at once, then no more for a while.
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        outcomes.push(with(bearer()).await);
    }
    assert!(matches!(outcomes.last(), Some(Err(Refusal::TooMany { retry_after: 1.. }))), "{outcomes:?}");
}

#[tokio::test]
async fn introspection_tells_a_client_that_proves_itself_what_a_token_of_ours_allows_and_of_others_nothing() {
    let world = World::new();
    let authority = world.authority();
    let token = issue(&authority, &es384(&claims())).await.unwrap().access_token;
    let app = json!({"iss": "app", "sub": "app", "aud": URL, "exp": NOW + 240, "jti": "app"});
    let of_app = authority.issue(&form(&es384(&app), "patient/*.r"), NOW).await.unwrap().access_token;
    let ask = async |token: &str, jti: &str, now: i64| {
        let assertion = es384(&with("jti", json!(jti)));
        let form = String::from_utf8(form(&assertion, "")).unwrap() + "&token=" + token;
        authority.introspected(form.as_bytes(), now).await
    };
    let active = json!({
        "active": true, "client_id": "ehr", "scope": "system/*.cruds", "token_type": "bearer", "exp": NOW + 300,
    });
    assert_eq!(ask(&token, "a", NOW).await, Ok(active));
    assert_eq!(ask(&of_app, "b", NOW).await.unwrap()["patient"], "p1");
    let inactive = json!({"active": false});
    for (at, unknown) in ["x", "a.b.c", &token[1..]].into_iter().enumerate() {
        assert_eq!(ask(unknown, &format!("c{at}"), NOW).await, Ok(inactive.clone()), "{unknown}");
    }
    let stranger = World::new();
    let elsewhere = issue(&stranger.authority(), &es384(&claims())).await.unwrap().access_token;
    assert_eq!(ask(&elsewhere, "d", NOW).await, Ok(inactive.clone()));
    assert_eq!(ask(&token, "a", NOW).await.unwrap_err().code(), "invalid_client", "an assertion is used once");
    let nobody = format!("token={token}");
    assert_eq!(authority.introspected(nobody.as_bytes(), NOW).await.unwrap_err().code(), "invalid_request");
}

#[test]
fn scopes_allow_exactly_what_they_say() {
    use Interaction::{Create, Delete, Read, Search, Update};
    // scope, resource type, what it allows
    let matrix: [(&str, &str, &[Interaction]); 13] = [
        ("system/*.cruds", "Patient", &[Create, Read, Update, Delete, Search]),
        ("system/*.*", "Patient", &[Create, Read, Update, Delete, Search]),
        ("system/*.read", "Patient", &[Read, Search]),
        ("system/*.write", "Patient", &[Create, Update, Delete]),
        ("system/Patient.rs", "Patient", &[Read, Search]),
        ("system/Patient.rs", "Observation", &[]),
        ("system/Patient.read", "PatientX", &[]),
        ("system/Patient.c", "Patient", &[Create]),
        ("system/Patient.ud system/Patient.c", "Patient", &[Create, Update, Delete]),
        ("system/Observation.rs system/Patient.d", "Patient", &[Delete]),
        ("patient/*.rs", "Patient", &[]),
        ("patient/*.rs system/*.r", "Patient", &[Read]),
        ("", "Patient", &[]),
    ];
    for (text, resource_type, expected) in matrix {
        let scopes = Scopes::parse(text).unwrap();
        let caller = Caller { client: "ehr".to_owned(), scopes, patient: None, expires_at: NEVER, person: None };
        for interaction in Interaction::ALL {
            let allowed = caller.may(interaction, resource_type).is_ok();
            assert_eq!(allowed, expected.contains(&interaction), "{text} {resource_type} {interaction:?}");
        }
    }
    for refused in [
        "users/*.rs",
        "system/*",
        "system/.rs",
        "system/*.sr",
        "system/*.rr",
        "system/*.",
        "system/patient.rs",
        "launch",
        "system/Pat%69ent.rs",
        "/Patient.rs",
    ] {
        assert_eq!(Scopes::parse(refused), Err(ScopeError::Unknown(refused.to_owned())));
    }
    let refused = Scopes::parse("system/*.r system/Patient.rs?category=canary").unwrap_err().to_string();
    assert!(refused.starts_with("scope system/Patient.rs?…: ") && !refused.contains("canary"), "{refused}");
}

#[test]
fn a_token_gets_no_more_than_its_client_is_registered_for() {
    let cases = [
        ("system/*.rs", "system/*.cruds", "system/*.rs"),
        ("system/Patient.cruds", "system/*.read", "system/Patient.rs"),
        ("system/*.cruds", "system/Patient.r", "system/Patient.r"),
        ("system/Patient.rs", "system/Observation.rs", ""),
        ("system/*.c", "system/*.rs", ""),
        ("patient/*.rs", "system/*.rs", ""),
        ("system/*.rs", "openid system/*.s user/*.rs", "system/*.s"),
        ("system/*.rs system/Patient.u", "system/Patient.cruds", "system/Patient.rs system/Patient.u"),
    ];
    for (registered, requested, granted) in cases {
        let registered = Scopes::parse(registered).unwrap();
        assert_eq!(Scopes::granted(&registered, requested).unwrap().to_string(), granted, "{requested}");
    }
}

/// Each costs a comparison of every version that is read. There was no limit but the length of a token.
#[test]
fn a_token_has_at_most_sixteen_different_constraints_on_a_type() {
    let all = Scopes::parse("system/*.cruds patient/*.cruds").unwrap();
    let codes = |from: usize, to: usize, what: &str| -> String {
        let scope = |number| format!("system/{what}.rs?_tag=t{number} ");
        (from..to).map(scope).collect()
    };
    let refused = |text: String| Scopes::granted(&all, &text).err();
    let too_many = |what: &str| Some(ScopeError::TooManyConstraints(what.to_owned()));
    assert_eq!(refused(codes(0, 16, "Observation")), None);
    assert_eq!(refused(codes(0, 17, "Observation")), too_many("Observation"));
    assert_eq!(refused(codes(0, 17, "*")), too_many("*"));
    // Those on every type are on this one, too; those on another are not.
    assert_eq!(refused(codes(0, 9, "*") + &codes(9, 17, "Observation")), too_many("Observation"));
    assert_eq!(refused(codes(0, 16, "Condition") + &codes(0, 16, "Observation")), None);
    // What is said twice is one, whatever the letters and the level.
    let twice = codes(0, 16, "Observation") + &codes(0, 16, "Observation").replace("system", "patient");
    assert_eq!(refused(twice.clone() + &twice.replace("rs?", "u?")), None);
    // The product of what is registered and what is asked for counts.
    let registered = Scopes::parse(&codes(0, 5, "Observation")).unwrap();
    let crossed = Scopes::granted(&registered, &codes(5, 9, "Observation")).err();
    assert_eq!(crossed, too_many("Observation"));
    let said = crossed.unwrap().to_string();
    assert!(said.contains("16") && said.contains("Observation") && !said.contains("t7"), "{said}");
}

#[test]
fn a_patient_scope_reaches_one_compartment() {
    let scopes = Scopes::parse("patient/*.rs system/Practitioner.r").unwrap();
    let patient = Some("p1".to_owned());
    let caller = Caller { client: "app".to_owned(), scopes, patient, expires_at: NEVER, person: None };
    let own = |constraint| Part { patient: Some("p1"), constraint };
    for (resource_type, expected) in [
        ("Patient", Reach::Parts(vec![own(None)])),
        ("Observation", Reach::Parts(vec![own(None)])),
        ("Practitioner", Reach::Whole),
    ] {
        assert_eq!(caller.reach(Interaction::Read, resource_type), expected, "{resource_type}");
    }
    assert_eq!(caller.compartment(Interaction::Search, "Observation"), Some("p1"));
    assert_eq!(caller.compartment(Interaction::Read, "Practitioner"), None);
    assert!(caller.may(Interaction::Update, "Patient").is_err());
    assert_eq!(caller.reach(Interaction::Update, "Patient"), Reach::Parts(Vec::new()), "nothing");
}

#[test]
fn a_user_scope_reaches_something_for_an_enrolled_practitioner_only() {
    let account = Address::new([7; 20]);
    let scopes = Scopes::parse(
        "user/Observation.rs patient/Patient.r user/DocumentReference.r?status=current user/Practitioner.cruds",
    )
    .unwrap();
    let with =
        |person| Caller { client: "app".to_owned(), scopes: scopes.clone(), patient: None, expires_at: NEVER, person };
    for nobody in [with(None), with(Some(Person::Named("Practitioner/x".to_owned())))] {
        assert!(nobody.may(Interaction::Read, "Observation").is_err());
        assert_eq!(nobody.reach(Interaction::Read, "Observation"), Reach::Parts(Vec::new()));
        assert_eq!(nobody.on_behalf_of(Interaction::Read, "Observation"), None);
    }
    let doctor = with(Some(Person::Enrolled(account)));
    assert!(doctor.may(Interaction::Read, "Observation").is_ok());
    assert_eq!(doctor.reach(Interaction::Read, "Observation"), Reach::Whole);
    assert_eq!(doctor.reach(Interaction::Read, "DocumentReference").name(), "?status=current");
    assert!(doctor.may(Interaction::Read, "Patient").is_err(), "no patient was launched for");
    assert!(doctor.may(Interaction::Update, "Observation").is_err());
    assert_eq!(doctor.on_behalf_of(Interaction::Read, "DocumentReference"), Some(&account));
    assert_eq!(doctor.reach(Interaction::Search, "Practitioner"), Reach::Whole);
    for write in [Interaction::Create, Interaction::Update, Interaction::Delete] {
        assert!(doctor.may(write, "Practitioner").is_err(), "nobody enrols, renews or becomes somebody by own word");
        assert_eq!(doctor.reach(write, "Practitioner"), Reach::Parts(Vec::new()));
    }
    let both = Caller { scopes: Scopes::parse("user/*.r system/*.r").unwrap(), ..doctor };
    assert_eq!(both.on_behalf_of(Interaction::Read, "DocumentReference"), None);
}

#[test]
fn scopes_of_one_type_are_parts_of_what_is_reached_and_the_wider_takes_the_narrower_in() {
    let cases = [
        ("system/Observation.r?code=a", "?code=a"),
        ("system/Observation.r?status=b&code=a", "?code=a&status=b"),
        ("system/Observation.r?code=a system/Observation.r?code=b", "?code=a ?code=b"),
        ("system/Observation.r?code=a system/*.r", ""),
        ("patient/Observation.r?code=a patient/Observation.r", "p1"),
        ("patient/Observation.r patient/Observation.r?code=a", "p1"),
        ("patient/Observation.r?code=a system/Observation.r?code=a", "?code=a"),
        ("patient/Observation.r?code=a system/Observation.r?code=b", "?code=b p1?code=a"),
        ("patient/Observation.r system/Observation.r?code=b", "?code=b p1"),
        ("patient/Observation.r system/Observation.u", "p1"),
    ];
    for (text, expected) in cases {
        let scopes = Scopes::parse(text).unwrap();
        let caller = Caller {
            client: "app".to_owned(),
            scopes,
            patient: Some("p1".to_owned()),
            expires_at: NEVER,
            person: None,
        };
        assert_eq!(caller.reach(Interaction::Read, "Observation").name(), expected, "{text}");
    }
}

#[test]
fn whoever_is_told_to_wait_is_told_how_long() {
    let response = OAuthError::from(assertion::AssertionError::Busy).response();
    assert_eq!(response.status().as_u16(), 429);
    let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0));
}
