//! Access tokens: what the caller may do and until when, sealed under a key that only this
//! gateway has. Opaque to clients; valid at the organization that issued it and after a restart;
//! nothing is stored.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{Caller, scopes::Scopes};
use crate::{envelope::ValueKey, keys::OrganizationKeys, outcome::Refusal};

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Seals and opens the tokens of one organization.
pub struct TokenKey {
    key: ValueKey,
    /// Authenticated with each token: a token opens at the endpoint that issued it only.
    issuer: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    client: String,
    scopes: String,
    patient: Option<String>,
    expires_at: i64,
}

impl TokenKey {
    /// The key of the organization's tokens.
    pub fn new(keys: &OrganizationKeys, issuer: &str) -> Self {
        Self { key: ValueKey::of(&keys.storage.derive("careledger/access-token/1")), issuer: issuer.to_owned() }
    }

    /// A token for `caller`, valid before its `expires_at`.
    pub fn seal(&self, caller: &Caller) -> String {
        let content = Content {
            client: caller.client.clone(),
            scopes: caller.scopes.to_string(),
            patient: caller.patient.clone(),
            expires_at: caller.expires_at,
        };
        let json = serde_json::to_vec(&content).expect("text always serialises");
        URL_SAFE_NO_PAD.encode(self.key.seal(&json, self.issuer.as_bytes()))
    }

    /// The caller of a token.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`].
    pub fn open(&self, token: &str, now: i64) -> Result<Caller, Refusal> {
        let refused = Refusal::Unauthorized("the access token is not one of this server");
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refused);
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused.clone())?;
        let json = self.key.open(&sealed, self.issuer.as_bytes()).map_err(|_| refused.clone())?;
        let content: Content = serde_json::from_slice(&json).map_err(|_| refused.clone())?;
        if now >= content.expires_at {
            return Err(Refusal::Unauthorized("the access token has expired"));
        }
        let scopes = Scopes::parse(&content.scopes).map_err(|_| refused)?;
        let Content { client, patient, expires_at, .. } = content;
        Ok(Caller { client, scopes, patient, expires_at, person: None })
    }
}
