//! Tokens of an identity provider that we did not write (npm `oidc-provider`, unmodified), got as an app gets
//! them: discovery, authorization code with PKCE, and used against the gateway.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use careledger_gateway::config;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    condition, node_project,
    support::{Client, World, world_that_trusts},
};

/// The Node.js project of the provider.
const PROJECT: &str = "../tests/clients/oidc-provider";
const AUDIENCE: &str = "http://localhost/hospital/fhir";
/// Where nobody listens: the code is in the address that the browser would be sent to.
const REDIRECT: &str = "http://127.0.0.1:9/callback";
const VERIFIER: &str = "a-verifier-that-only-this-app-knows-and-that-is-long-enough";
const SCOPE: &str = "openid launch/patient patient/*.rs";
/// Redirects between sign-in and consent.
const STEPS_MAX: usize = 12;

/// The provider's process. Ends with its standard input, also where the test fails.
struct Provider {
    issuer: String,
    process: Child,
    commands: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
}

impl Provider {
    fn start() -> Self {
        let mut process = Command::new("node")
            .arg("provider.mjs")
            .current_dir(node_project::installed(Path::new(env!("CARGO_MANIFEST_DIR")).join(PROJECT)))
            .env("AUDIENCE", AUDIENCE)
            .env("SCOPES", "launch/patient patient/*.rs patient/*.cruds")
            .env("PATIENT", "p1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts: install Node.js 20 or newer");
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let issuer = said_of(&mut said, "http://");
        Self { issuer, commands: process.stdin.take(), process, said }
    }

    /// Gives the provider new keys in place of the old ones.
    fn rotate(&mut self) {
        writeln!(self.commands.as_mut().unwrap(), "rotate").unwrap();
        said_of(&mut self.said, "rotated");
    }

    fn trusted(&self, audience: &str) -> config::Issuer {
        config::Issuer {
            issuer: self.issuer.clone(),
            audience: audience.to_owned(),
            scopes: "patient/*.rs".to_owned(),
            keys_seconds: 300,
            announced: true,
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.commands.take());
        // One that has ended needs no more.
        let _ = self.process.wait();
    }
}

/// The next line that begins so: what the library says about its settings is passed over.
fn said_of(said: &mut Lines<BufReader<ChildStdout>>, beginning: &str) -> String {
    let mut lines = said.map(|line| line.expect("the provider writes text"));
    lines.find(|line| line.starts_with(beginning)).expect("the provider runs")
}

/// A browser: it keeps cookies and says where it is sent.
struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new() -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        Self { http: http.tls_certs_only([]).build().unwrap(), cookies: BTreeMap::new() }
    }

    /// Where it is sent; the page where it is sent nowhere.
    async fn go(&mut self, request: reqwest::RequestBuilder) -> Result<String, String> {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header("cookie", cookies.join("; ")).send().await.unwrap();
        for cookie in answer.headers().get_all("set-cookie") {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        match answer.headers().get("location") {
            Some(location) => Ok(location.to_str().unwrap().to_owned()),
            None => Err(answer.text().await.unwrap()),
        }
    }

    fn post(&self, address: &str, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.http.post(address).header("content-type", "application/x-www-form-urlencoded").body(form)
    }
}

/// What an app gets for its person: the token endpoint's answer.
async fn signed_in(discovered: &Value, client: &str) -> Value {
    let mut browser = Browser::new();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("response_type", "code"), ("client_id", client), ("redirect_uri", REDIRECT)])
        .extend_pairs([("scope", SCOPE), ("state", "s"), ("aud", AUDIENCE)])
        .extend_pairs([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")])
        .finish();
    let mut address = format!("{}?{query}", discovered["authorization_endpoint"].as_str().unwrap());
    for _ in 0..STEPS_MAX {
        if address.starts_with(REDIRECT) {
            break;
        }
        let page = browser.http.get(&address);
        let next = match browser.go(page).await {
            Ok(next) => next,
            Err(page) => {
                let prompt = if page.contains("value=\"login\"") { "login" } else { "consent" };
                let form = browser.post(&address, &[("prompt", prompt), ("login", "alice"), ("password", "any")]);
                browser.go(form).await.expect("the form leads on")
            }
        };
        // What is sent may be relative to where it is sent from.
        address = url::Url::parse(&address).unwrap().join(&next).unwrap().into();
    }
    let address: url::Url = address.parse().unwrap();
    let code = address.query_pairs().find(|(name, _)| name == "code").expect("the app gets a code").1.into_owned();
    let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", REDIRECT)];
    let form = [&form[..], &[("client_id", client), ("code_verifier", VERIFIER)]].concat();
    let answer = browser.post(discovered["token_endpoint"].as_str().unwrap(), &form).send().await.unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

async fn access_token(discovered: &Value, client: &str) -> String {
    let answer = signed_in(discovered, client).await;
    answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Two patients with a Condition each.
async fn fill(ehr: &Client) {
    for patient in ["p1", "p2"] {
        let body = json!({"resourceType": "Patient", "id": patient});
        ehr.send("PUT", &format!("/Patient/{patient}"), &[], body.to_string()).await.expect(201);
        let id = format!("c-{patient}");
        ehr.send("PUT", &format!("/Condition/{id}"), &[], condition(&id, patient)).await.expect(201);
    }
}

async fn app(world: &World, token: &str) -> Client {
    world.client("reader").await.with_token(token)
}

#[actix_web::test]
async fn an_app_that_a_real_identity_provider_vouches_for_sees_its_patient_and_no_more() {
    let provider = Provider::start();
    let world = world_that_trusts(vec![provider.trusted(AUDIENCE)]).await;
    let ehr = world.client("ehr").await;
    fill(&ehr).await;
    let discovered = ehr.get("/.well-known/smart-configuration").await.expect(200).json();
    assert_eq!(discovered["issuer"], provider.issuer.as_str());
    assert_eq!(discovered["code_challenge_methods_supported"], json!(["S256"]));
    assert!(discovered["careledger_backend_token_endpoint"].as_str().unwrap().ends_with("/hospital/auth/token"));
    for client in ["app-rs256", "app-es384", "app-es256"] {
        let answer = signed_in(&discovered, client).await;
        let app = app(&world, answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}"))).await;
        assert_eq!(app.get("/Patient/p1").await.expect(200).id(), "p1");
        app.get("/Patient/p2").await.expect(404);
        app.get("/Condition/c-p2").await.expect(404);
        assert_eq!(app.get("/Condition").await.expect(200).json()["total"], 1);
        app.send("PUT", "/Condition/c-p1", &[], condition("c-p1", "p1")).await.expect(403);
        // What tells the app who signed in is no key to anything here.
        let identity = answer["id_token"].as_str().unwrap_or_else(|| panic!("{answer}"));
        app.with_token(identity).get("/Patient/p1").await.expect(401);
        let events = ehr.get("/AuditEvent?patient=p1&_count=500").await.expect(200).text();
        let who = format!("{}#client={client}&user=alice", provider.issuer);
        assert!(events.contains(&who), "the access log names {who}");
    }
    let elsewhere = world_that_trusts(vec![provider.trusted("https://elsewhere.example.org/fhir")]).await;
    let token = access_token(&discovered, "app-rs256").await;
    app(&elsewhere, &token).await.get("/Patient/p1").await.expect(401);
    let trusting_nobody = world_that_trusts(Vec::new()).await;
    app(&trusting_nobody, &token).await.get("/Patient/p1").await.expect(401);
}

#[actix_web::test]
async fn when_a_real_identity_provider_changes_its_keys_new_tokens_work_and_old_ones_do_not() {
    let mut provider = Provider::start();
    let world = world_that_trusts(vec![provider.trusted(AUDIENCE)]).await;
    let ehr = world.client("ehr").await;
    fill(&ehr).await;
    let discovered = ehr.get("/.well-known/smart-configuration").await.expect(200).json();
    let old = access_token(&discovered, "app-es384").await;
    app(&world, &old).await.get("/Patient/p1").await.expect(200);
    provider.rotate();
    let new = access_token(&discovered, "app-es384").await;
    app(&world, &new).await.get("/Patient/p1").await.expect(200);
    let refused = app(&world, &old).await.get("/Patient/p1").await.expect(401);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    drop(provider);
    app(&world, &new).await.get("/Patient/p1").await.expect(200);
}
