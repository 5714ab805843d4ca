//! What commands share that are clients of a running gateway: a token that stays fresh, and when to try again.

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::{Failure, token::Token};
use crate::http_client;

/// Tries of one request that the server or the network did not answer for good.
pub const TRIES: u32 = 6;
/// Pause after the first of them; twice as long after each.
pub const PAUSE: Duration = Duration::from_millis(500);
/// A token is asked for again after this time: well before the five minutes that it lives by default.
const TOKEN_AGE_MAX: Duration = Duration::from_secs(120);

/// A client of one organization at a running gateway.
pub struct Session<'a> {
    access: &'a Token,
    /// Makes requests.
    pub http: Client,
    token: tokio::sync::Mutex<Option<(String, Instant)>>,
}

impl<'a> Session<'a> {
    /// A session that has not asked for anything yet.
    pub fn new(access: &'a Token) -> Result<Self, Failure> {
        Ok(Self {
            access,
            http: http_client::build(Client::builder, &http_client::Trust::default())?,
            token: tokio::sync::Mutex::new(None),
        })
    }

    /// The organization's FHIR endpoint, without a slash at its end.
    pub fn fhir_url(&self) -> String {
        format!("{}/fhir", self.access.base_url())
    }

    /// A token that is good for a while.
    pub async fn token(&self) -> Result<String, Failure> {
        let mut held = self.token.lock().await;
        if let Some((token, _)) = held.as_ref().filter(|(_, since)| since.elapsed() < TOKEN_AGE_MAX) {
            return Ok(token.clone());
        }
        let token = self.access.exchange().await?;
        *held = Some((token.clone(), Instant::now()));
        Ok(token)
    }

    /// Has the next request ask for a token of its own: one that lives as long as tokens live here.
    pub async fn renew(&self) {
        *self.token.lock().await = None;
    }

    /// Whether the same request may be answered otherwise later. A token that is refused is not used again.
    pub async fn is_passing(&self, status: StatusCode) -> bool {
        if status == StatusCode::UNAUTHORIZED {
            self.renew().await;
        }
        is_passing(status)
    }
}

fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::UNAUTHORIZED
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// What an OperationOutcome says.
pub fn diagnostics(body: &str) -> String {
    let outcome: Value = serde_json::from_str(body).unwrap_or_default();
    let issues = outcome["issue"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said: Vec<&str> = issues.iter().filter_map(|issue| issue["diagnostics"].as_str()).collect();
    said.join("; ")
}
