//! FHIR calls as an EHR makes them.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use crate::home::Home;

/// Longer than a gateway waits for its ledger.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);

/// An organization's endpoint.
pub struct Fhir {
    base: String,
    token: String,
    agent: Agent,
}

impl Fhir {
    /// The endpoint of an organization, with a fresh token.
    pub fn new(home: &Home, organization: &str) -> Self {
        let agent = Agent::config_builder().timeout_global(Some(CALL_TIME_MAX)).http_status_as_error(false).build();
        Self {
            base: home.variable(&format!("{}_BASE_URL", organization.to_uppercase())),
            token: home.token(organization),
            agent: agent.new_agent(),
        }
    }

    /// Creates a resource; the status and the answer's body.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn create(&self, resource: &Value) -> Result<(u16, Value), ureq::Error> {
        let url = format!("{}/{}", self.base, resource["resourceType"].as_str().unwrap());
        let request = self.agent.post(url).header("authorization", format!("Bearer {}", self.token));
        let mut response = request.content_type("application/fhir+json").send(resource.to_string())?;
        let body = response.body_mut().read_to_string()?;
        Ok((response.status().as_u16(), serde_json::from_str(&body).unwrap_or_default()))
    }

    /// Creates a resource that must be accepted; its id.
    pub fn created(&self, resource: &Value) -> String {
        let (status, body) = self.create(resource).unwrap();
        assert_eq!(status, 201, "{body}");
        body["id"].as_str().unwrap().to_owned()
    }

    /// Reads or searches; the status and the body.
    pub fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let request = self.agent.get(format!("{}/{path}", self.base));
        let mut response = request.header("authorization", format!("Bearer {}", self.token)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_vec().unwrap())
    }
}
