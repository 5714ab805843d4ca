//! How Subscriptions are notified.

use serde::{Deserialize, Serialize};
use url::Url;

use super::ConfigError;

/// `[subscriptions]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Subscriptions {
    /// Subscriptions that one client may have.
    pub per_client_max: u32,
    /// Seconds that an endpoint may take for one notification.
    pub delivery_seconds: u32,
    /// Bytes of notifications that are on their way at the same time, of all Subscriptions together.
    pub bytes_in_flight_max: u32,
    /// Milliseconds until a notification that failed is tried again; they double with each attempt.
    pub retry_milliseconds: u32,
    /// Longest pause between two attempts, in seconds.
    pub retry_seconds_max: u32,
    /// Attempts at one notification before its Subscription is `off`.
    pub attempts_max: u32,
    /// Origins that may be called although they are in plain HTTP, or within the organization's own network.
    pub trusted_endpoints: Vec<String>,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            per_client_max: 20,
            delivery_seconds: 10,
            bytes_in_flight_max: 64 * 1024 * 1024,
            retry_milliseconds: 1_000,
            retry_seconds_max: 3_600,
            attempts_max: 36,
            trusted_endpoints: Vec::new(),
        }
    }
}

impl Subscriptions {
    /// Numbers must be above 0, and what is trusted must be an origin.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let numbers = [
            self.per_client_max,
            self.delivery_seconds,
            self.bytes_in_flight_max,
            self.retry_milliseconds,
            self.retry_seconds_max,
            self.attempts_max,
        ];
        if numbers.contains(&0) {
            return Err(ConfigError::Rule("every number in [subscriptions] must be above 0".to_owned()));
        }
        let is_origin = |origin: &&String| {
            Url::parse(origin).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == **origin
            })
        };
        match self.trusted_endpoints.iter().find(|origin| !is_origin(origin)) {
            Some(wrong) => Err(ConfigError::Rule(format!(
                "{wrong} in trusted_endpoints is no origin such as https://ehr.example.org:8443"
            ))),
            None => Ok(()),
        }
    }
}
