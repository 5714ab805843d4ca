//! `token`: what a SMART Backend Services client does to get an access token.

use std::{fs, path::PathBuf};

use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, ThumbprintHash},
};
use serde_json::{Value, json};

use super::Failure;
use crate::{
    auth::{clock, routes::BACKEND_TOKEN_ENDPOINT},
    http_client::{self, Trust},
    keys::random,
};

/// Seconds for which the assertion is valid.
const ASSERTION_SECONDS: i64 = 60;

/// Prints an access token.
#[derive(Debug, clap::Args)]
pub struct Token {
    /// The client's id, as the gateway's configuration has it.
    #[arg(long, value_name = "ID")]
    client: String,
    /// The client's private key: PEM (PKCS #8), P-384 for ES384 or RSA for RS384.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The organization at the gateway, for example http://127.0.0.1:8080/riverside
    #[arg(long, value_name = "URL")]
    url: String,
    /// What to ask for.
    #[arg(long, value_name = "SCOPES", default_value = "system/*.cruds")]
    scope: String,
    /// Id of the key in the client's key set. By default its RFC 7638 thumbprint, as `init` names
    /// keys.
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
}

impl Token {
    pub fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let token = runtime.block_on(self.exchange())?;
        println!("{token}");
        Ok(())
    }

    /// The organization's address, without a slash at its end.
    pub(super) fn base_url(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    /// Discovery, assertion, token.
    pub(super) async fn exchange(&self) -> Result<String, Failure> {
        let http = http_client::build(reqwest::Client::builder, &Trust::default())?;
        let discovery = format!("{}/fhir/.well-known/smart-configuration", self.base_url());
        let unreachable = |error: reqwest::Error| format!("{discovery}: {error}");
        let answer = http.get(&discovery).send().await.map_err(unreachable)?;
        let answer = answer.error_for_status().map_err(unreachable)?;
        let configuration: Value = answer.json().await.map_err(unreachable)?;
        let own = configuration[BACKEND_TOKEN_ENDPOINT].as_str();
        let endpoint = own.or(configuration["token_endpoint"].as_str()).ok_or("the server names no token endpoint")?;
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", &self.scope)
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_assertion", &self.assertion(endpoint)?)
            .finish();
        let request = http.post(endpoint).header("Content-Type", "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.map_err(|error| format!("{endpoint}: {error}"))?;
        let answer: Value = answer.json().await.map_err(|error| format!("{endpoint}: {error}"))?;
        match answer["access_token"].as_str() {
            Some(token) => Ok(token.to_owned()),
            None => {
                let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
                Err(format!("no token: {} ({})", text("error_description"), text("error")).into())
            }
        }
    }

    fn assertion(&self, audience: &str) -> Result<String, Failure> {
        let shown = self.key.display();
        let pem = fs::read(&self.key).map_err(|error| format!("key {shown}: {error}"))?;
        let (algorithm, key) = EncodingKey::from_ec_pem(&pem)
            .map(|key| (Algorithm::ES384, key))
            .or_else(|_| EncodingKey::from_rsa_pem(&pem).map(|key| (Algorithm::RS384, key)))
            .map_err(|_| format!("key {shown} is no P-384 or RSA private key in PEM"))?;
        let kid = match &self.kid {
            Some(kid) => kid.clone(),
            None => Jwk::from_encoding_key(&key, algorithm)?.thumbprint(ThumbprintHash::SHA256)?,
        };
        let now = clock();
        let claims = json!({
            "iss": self.client,
            "sub": self.client,
            "aud": audience,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": hex::encode(random::<16>()),
        });
        let header = Header { kid: Some(kid), ..Header::new(algorithm) };
        Ok(jsonwebtoken::encode(&header, &claims, &key)?)
    }
}
